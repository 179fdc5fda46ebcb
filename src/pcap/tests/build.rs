//! Captures built byte by byte, for what no writer writes.

/// Builds pcapng blocks in one byte order.
#[derive(Clone)]
pub(super) struct Ng {
    pub(super) big: bool,
    pub(super) bytes: Vec<u8>,
}

impl Ng {
    /// Begins with a section header.
    pub(super) fn new(big: bool) -> Self {
        let mut new = Self { big, bytes: Vec::new() };
        new.section();
        new
    }

    pub(super) fn u16(&self, value: u16) -> Vec<u8> {
        if self.big { value.to_be_bytes().to_vec() } else { value.to_le_bytes().to_vec() }
    }

    pub(super) fn u32(&self, value: u32) -> Vec<u8> {
        if self.big { value.to_be_bytes().to_vec() } else { value.to_le_bytes().to_vec() }
    }

    pub(super) fn u64(&self, value: u64) -> Vec<u8> {
        if self.big { value.to_be_bytes().to_vec() } else { value.to_le_bytes().to_vec() }
    }

    /// A block of any type; pads the body.
    pub(super) fn block(&mut self, kind: u32, body: &[u8]) -> &mut Self {
        let padded = body.len().next_multiple_of(4);
        let length = self.u32((padded + 12) as u32);
        let head = [self.u32(kind), length.clone(), body.to_vec()].concat();
        self.bytes.extend(head);
        self.bytes.extend(vec![0; padded - body.len()]);
        self.bytes.extend(length);
        self
    }

    pub(super) fn section(&mut self) -> &mut Self {
        let body = [
            self.u32(0x1a2b_3c4d),
            self.u16(1),
            self.u16(0),
            self.u64(u64::MAX),
            self.option(4, b"a test"),
        ]
        .concat();
        self.block(0x0a0d_0d0a, &body)
    }

    pub(super) fn option(&self, code: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = [self.u16(code), self.u16(value.len() as u16), value.to_vec()].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    pub(super) fn interface(&mut self, link: u16, snaplen: u32, options: &[u8]) -> &mut Self {
        let body = [self.u16(link), self.u16(0), self.u32(snaplen), options.to_vec()].concat();
        self.block(1, &body)
    }

    pub(super) fn enhanced(
        &mut self,
        interface: u32,
        ticks: u64,
        data: &[u8],
        options: &[u8],
    ) -> &mut Self {
        let mut body = [interface, (ticks >> 32) as u32, ticks as u32, data.len() as u32]
            .map(|word| self.u32(word))
            .concat();
        body.extend(self.u32(data.len() as u32));
        body.extend(data);
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend(options);
        self.block(6, &body)
    }

    pub(super) fn simple(&mut self, original: u32, data: &[u8]) -> &mut Self {
        let body = [self.u32(original), data.to_vec()].concat();
        self.block(3, &body)
    }
}

/// A classic pcap file: packets are seconds, fraction, original length, data.
pub(super) fn pcap(
    magic: u32,
    big: bool,
    snaplen: u32,
    network: u32,
    packets: &[(u32, u32, u32, &[u8])],
) -> Vec<u8> {
    let word = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
    let version = if big { [0, 2, 0, 4] } else { [2, 0, 4, 0] };
    let mut bytes = word(magic).to_vec();
    bytes.extend(version);
    for value in [0, 0, snaplen, network] {
        bytes.extend(word(value));
    }
    for (seconds, fraction, original, data) in packets {
        for value in [*seconds, *fraction, data.len() as u32, *original] {
            bytes.extend(word(value));
        }
        if magic == 0xa1b2_cd34 {
            bytes.extend([7; 8]);
        }
        bytes.extend(*data);
    }
    bytes
}

/// A small capture with all that matters, for cutting and damaging: two
/// interfaces, packets of all kinds, options, other blocks, two sections.
pub(super) fn varied() -> Vec<u8> {
    let mut ng = Ng::new(false);
    let name = [ng.option(2, b"eth0"), ng.option(9, &[9]), ng.option(0, b"")].concat();
    ng.interface(1, 5, &name);
    ng.enhanced(0, 5, b"first packet", b"");
    let comment = ng.option(1, b"a comment");
    ng.enhanced(0, 6, b"second", &comment);
    ng.interface(101, 8, b"");
    ng.simple(40, b"three");
    ng.block(0x0000_0bad, b"custom");
    ng.enhanced(1, 7, b"fourth", b"");
    ng.big = true;
    ng.section();
    ng.interface(1, 0, b"");
    ng.enhanced(0, 1_000_000, b"fifth", b"");
    ng.bytes
}
