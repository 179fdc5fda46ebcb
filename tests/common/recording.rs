//! Captures as perisco's recorder writes them: pcapng with an interface per
//! process, owners in comments. Written by hand from the description of the
//! format, so that recorder and analyzer are not tested against themselves.

use super::model::Packet;

/// How a packet passed its interface (`epb_flags`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Inbound = 1,
    Outbound = 2,
}

/// A pcapng file, little-endian, times in nanoseconds.
#[derive(Clone, Default)]
pub struct Recording {
    pub bytes: Vec<u8>,
}

impl Recording {
    /// Begins with a section of perisco.
    pub fn new() -> Self {
        Self::by("perisco 0.1.0")
    }

    /// Begins with a section of perisco that says on which node it was recorded.
    pub fn of_node(node: &str, boot: &str) -> Self {
        let of = [format!("perisco.node={node}"), format!("perisco.boot={boot}")];
        Self::with("perisco 0.1.0", &of)
    }

    /// Begins with a section of another writer.
    pub fn by(application: &str) -> Self {
        Self::with(application, &[])
    }

    fn with(application: &str, comments: &[String]) -> Self {
        let mut new = Self::default();
        let mut body = 0x1a2b_3c4d_u32.to_le_bytes().to_vec();
        body.extend([1, 0, 0, 0]);
        body.extend(u64::MAX.to_le_bytes());
        body.extend(option(4, application.as_bytes()));
        body.extend(option(1, b"perisco.backend=cgroup"));
        comments.iter().for_each(|comment| body.extend(option(1, comment.as_bytes())));
        body.extend(option(0, b""));
        new.block(0x0a0d_0d0a, &body);
        new
    }

    fn block(&mut self, kind: u32, body: &[u8]) -> &mut Self {
        assert!(body.len().is_multiple_of(4));
        let length = (body.len() as u32 + 12).to_le_bytes();
        self.bytes.extend(kind.to_le_bytes());
        self.bytes.extend(length);
        self.bytes.extend(body);
        self.bytes.extend(length);
        self
    }

    /// Describes the next interface.
    pub fn interface(&mut self, name: &str, description: &str) -> &mut Self {
        let mut body = vec![1, 0, 0, 0];
        body.extend(262_144_u32.to_le_bytes());
        body.extend(option(2, name.as_bytes()));
        body.extend(option(3, description.as_bytes()));
        body.extend(option(9, &[9]));
        body.extend(option(0, b""));
        self.block(1, &body)
    }

    /// Appends a packet.
    pub fn packet(
        &mut self,
        interface: u32,
        packet: &Packet,
        way: Way,
        comments: &[&str],
    ) -> &mut Self {
        self.packet_after_loss(interface, packet, way, comments, 0)
    }

    /// As [`Recording::packet`], after so many events that were lost.
    pub fn packet_after_loss(
        &mut self,
        interface: u32,
        packet: &Packet,
        way: Way,
        comments: &[&str],
        lost: u64,
    ) -> &mut Self {
        let mut body = interface.to_le_bytes().to_vec();
        body.extend(((packet.at >> 32) as u32).to_le_bytes());
        body.extend((packet.at as u32).to_le_bytes());
        body.extend((packet.bytes.len() as u32).to_le_bytes());
        body.extend(packet.original.to_le_bytes());
        body.extend(&packet.bytes);
        body.resize(body.len().next_multiple_of(4), 0);
        body.extend(option(2, &(way as u32).to_le_bytes()));
        if lost > 0 {
            body.extend(option(4, &lost.to_le_bytes()));
        }
        for comment in comments {
            body.extend(option(1, comment.as_bytes()));
        }
        body.extend(option(0, b""));
        self.block(6, &body)
    }

    /// Names of addresses.
    pub fn names(&mut self, names: &[([u8; 4], &str)]) -> &mut Self {
        let mut body = Vec::new();
        for (address, name) in names {
            let record = [&address[..], name.as_bytes(), b"\0"].concat();
            body.extend(option(1, &record));
        }
        body.extend(option(0, b""));
        self.block(4, &body)
    }

    /// What was lost on an interface, in all.
    pub fn statistics(&mut self, interface: u32, drops: u64) -> &mut Self {
        let mut body = interface.to_le_bytes().to_vec();
        body.extend([0; 8]);
        body.extend(option(5, &drops.to_le_bytes()));
        body.extend(option(0, b""));
        self.block(5, &body)
    }
}

fn option(code: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = code.to_le_bytes().to_vec();
    bytes.extend((value.len() as u16).to_le_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Name and description of a client on the host.
pub const CURL: [&str; 2] = ["host/curl[812]", "pid=812 comm=curl exe=/usr/bin/curl uid=1000 "];

/// Name and description of a server in a container.
pub const NGINX: [&str; 2] = [
    "4f1c4f1c4f1c/nginx[33]",
    "pid=33 comm=nginx exe=/opt/a%20b/nginx uid=0 cgroup=/docker/x \
     container=4f1c4f1c4f1c4f1c4f1c4f1c4f1c4f1c4f1c4f1c4f1c4f1c4f1c4f1c4f1c4f1c \
     netns=4026531840 later=1 ",
];
