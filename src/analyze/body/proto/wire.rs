//! protobuf's wire format: fields one after the other, with their places.

/// Digits of a varint, in bytes: 64 bits, seven in each.
const VARINT: usize = 10;

/// The largest field number.
const LAST_NUMBER: u64 = (1 << 29) - 1;

/// A field as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Field<'a> {
    /// Where its tag begins, in bytes of the whole message.
    pub at: usize,
    /// Its number.
    pub number: u32,
    /// Its value.
    pub value: Value<'a>,
    /// Where the value begins: of a length-delimited one what is behind the length.
    pub value_at: usize,
}

/// A value by its wire type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2.
    Bytes(&'a [u8]),
    /// Wire types 3 and 4: all between them.
    Group(&'a [u8]),
    /// Wire type 5.
    Fixed32(u32),
}

/// Why there is no further field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where the field begins that cannot be read, in bytes of the whole message.
    pub at: usize,
    /// What is wrong.
    pub what: &'static str,
    /// The bytes only end too early: what is cut looks the same.
    pub early: bool,
}

/// Reads the fields of a message.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where `bytes` begin in the whole message.
    base: usize,
    over: bool,
}

impl<'a> Fields<'a> {
    /// Of a message that begins at byte `base` of the whole one.
    pub fn new(bytes: &'a [u8], base: usize) -> Self {
        Self { bytes, at: 0, base, over: false }
    }

    /// Whether the bytes are fields from end to end.
    pub fn are_whole(bytes: &'a [u8]) -> bool {
        Self::new(bytes, 0).all(|field| field.is_ok())
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn varint(&mut self) -> Result<u64, (&'static str, bool)> {
        let (value, len) = varint(self.rest())?;
        self.at += len;
        Ok(value)
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], (&'static str, bool)> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        let taken = self.rest().get(..len).ok_or(("a value that ends early", true))?;
        self.at += len;
        Ok(taken)
    }

    fn tag(&mut self) -> Result<(u32, u8), (&'static str, bool)> {
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number > LAST_NUMBER {
            return Err(("a field number that there is not", false));
        }
        Ok((number as u32, (tag & 7) as u8))
    }

    fn field(&mut self) -> Result<Field<'a>, (&'static str, bool)> {
        let at = self.base + self.at;
        let (number, wire) = self.tag()?;
        let mut value_at = self.base + self.at;
        let value = match wire {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(little(self.take(8)?)),
            2 => {
                let len = self.varint()?;
                value_at = self.base + self.at;
                Value::Bytes(self.take(len)?)
            }
            3 => Value::Group(self.group(number)?),
            4 => return Err(("the end of a group that did not begin", false)),
            5 => Value::Fixed32(little(self.take(4)?) as u32),
            _ => return Err(("a wire type that there is not", false)),
        };
        Ok(Field { at, number, value, value_at })
    }

    /// What is in a group, without going into what is in that.
    fn group(&mut self, number: u32) -> Result<&'a [u8], (&'static str, bool)> {
        let begin = self.at;
        let mut open = vec![number];
        while let Some(&innermost) = open.last() {
            let end = self.at;
            if self.rest().is_empty() {
                return Err(("a group that does not end", true));
            }
            let (number, wire) = self.tag()?;
            match wire {
                0 => drop(self.varint()?),
                1 => drop(self.take(8)?),
                2 => {
                    let len = self.varint()?;
                    self.take(len)?;
                }
                3 => open.push(number),
                4 if number != innermost => return Err(("the end of another group", false)),
                4 => {
                    open.pop();
                    if open.is_empty() {
                        return Ok(self.bytes.get(begin..end).unwrap_or_default());
                    }
                }
                5 => drop(self.take(4)?),
                _ => return Err(("a wire type that there is not", false)),
            }
        }
        Ok(&[])
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over || self.rest().is_empty() {
            return None;
        }
        let at = self.base + self.at;
        Some(self.field().map_err(|(what, early)| {
            self.over = true;
            Fault { at, what, early }
        }))
    }
}

/// A varint and its length.
pub fn varint(bytes: &[u8]) -> Result<(u64, usize), (&'static str, bool)> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(VARINT).enumerate() {
        // What does not fit into 64 bits is dropped, as parsers do.
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((value, index + 1));
        }
    }
    if bytes.len() < VARINT {
        return Err(("a number that ends early", true));
    }
    Err(("a number of more than ten bytes", false))
}

/// Up to eight bytes, the least one first.
pub fn little(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
}
