//! The name of a transaction: `CONNECTION.N`.
//!
//! A line of jsonl, a row of a table and an entry of an archive have it, and
//! `perisco show` takes it. It depends on the capture alone: not on filters,
//! formats or the number of threads.

use std::fmt;
use std::str::FromStr;

use super::Item;
use super::write::push_u64;

/// Which transaction it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Number of the connection, from 1, in the order of first packets.
    pub connection: u64,
    /// The HTTP/2 stream. Of HTTP/1 the place among the transactions of its
    /// connection, from 1, in the order in which they ended, which is that of
    /// the requests.
    pub nth: u64,
}

impl Id {
    /// Appends it to bytes.
    #[inline]
    pub fn push(self, out: &mut Vec<u8>) {
        push_u64(out, self.connection);
        out.push(b'.');
        push_u64(out, self.nth);
    }
}

impl Item<'_> {
    /// The name of the transaction. Those of one connection share one where a
    /// stream is used again, or where HTTP/1 became HTTP/2.
    #[inline]
    pub fn id(&self) -> Id {
        let stream = self.transaction.stream;
        Id { connection: self.connection, nth: stream.map_or(self.index, u64::from) }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.connection, self.nth)
    }
}

/// What is no [`Id`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the id of a transaction, such as 12.3: connection 12, stream or request 3")]
pub struct NoId(String);

impl FromStr for Id {
    type Err = NoId;

    fn from_str(text: &str) -> Result<Self, NoId> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|_| digits)
        };
        let id = text.split_once('.').and_then(|(connection, nth)| {
            Some(Self { connection: number(connection)?, nth: number(nth)? })
        });
        id.ok_or_else(|| NoId(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_read_as_it_is_written() {
        let id = Id { connection: 12, nth: 3 };
        assert_eq!(id.to_string(), "12.3");
        let mut bytes = Vec::new();
        id.push(&mut bytes);
        assert_eq!(bytes, b"12.3");
        assert_eq!("12.3".parse(), Ok(id));
        for wrong in ["", "12", "12.", ".3", "1.2.3", "+1.2", "1.-2", "a.b", "1. 2"] {
            assert!(wrong.parse::<Id>().is_err(), "{wrong}");
        }
    }
}
