//! Parameters in the query and the fragment of a URL, read byte by byte.
//!
//! The name comes before the value, so each byte of a value is known to be secret
//! or not when it comes.

use super::rules::{NAME_BYTES, Rules};

/// Where in a URL the next byte is.
#[derive(Clone, Debug, Default)]
pub struct Query {
    place: Place,
    /// The name at hand, decoded.
    name: Vec<u8>,
    /// Digits of a percent-encoded byte: how many are to come, and what they are so far.
    percent: (u8, u8),
    /// Behind the first `?` or `#`.
    query: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Before the first `?` or `#`.
    #[default]
    Path,
    Name,
    Value,
    Secret,
}

/// What a byte of a URL is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Byte {
    /// It stays.
    Plain,
    /// It stays, and a value begins behind it that is secret: this number.
    Begins(u16),
    /// It is one of a secret value.
    Secret,
}

impl Query {
    /// What this byte is.
    pub fn next(&mut self, byte: u8, rules: &Rules) -> Byte {
        if self.ends(byte) {
            self.query |= matches!(byte, b'?' | b'#');
            let outside = !self.query && byte != b';';
            self.place = if outside { Place::Path } else { Place::Name };
            self.name.clear();
            self.percent = (0, 0);
            return Byte::Plain;
        }
        match (byte, self.place) {
            (b'=', Place::Name) => {
                let found = rules.parameter(&self.name);
                self.place = if found.is_some() { Place::Secret } else { Place::Value };
                found.map_or(Byte::Plain, Byte::Begins)
            }
            (_, Place::Name) => {
                self.named(byte);
                Byte::Plain
            }
            (_, Place::Secret) => Byte::Secret,
            _ => Byte::Plain,
        }
    }

    /// Whether what was at hand ends with this byte. Also behind `#`: that is where
    /// OAuth's implicit grant has its token (RFC 6749, section 4.2.2). A secret value goes
    /// as far as any server would read it.
    fn ends(&self, byte: u8) -> bool {
        match (byte, self.place, self.query) {
            (b'#', ..) => true,
            (b'&', _, query) => query,
            (b'?', Place::Secret, query) => !query,
            (b';', Place::Secret, query) => !query,
            (b'?' | b';', ..) => true,
            (b'/', Place::Name | Place::Value | Place::Secret, false) => true,
            _ => false,
        }
    }

    fn named(&mut self, byte: u8) {
        let (left, so_far) = self.percent;
        let digit = char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let decoded = match (left, digit) {
            (0, _) if byte == b'%' => {
                self.percent = (2, 0);
                return;
            }
            (2, Some(digit)) => {
                self.percent = (1, digit);
                return;
            }
            (1, Some(digit)) => {
                self.percent = (0, 0);
                so_far << 4 | digit
            }
            _ => {
                self.percent = (0, 0);
                byte
            }
        };
        // One byte more than can be compared: then it is none of those.
        if self.name.len() <= NAME_BYTES {
            self.name.push(decoded);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::rules::{Settings, Unparsed};
    use super::*;

    fn redacted(url: &str) -> String {
        let rules = Rules::new(&Settings::new(Unparsed::Keep));
        let mut query = Query::default();
        let byte = |b| if query.next(b, &rules) == Byte::Secret { '*' } else { char::from(b) };
        url.bytes().map(byte).collect()
    }

    #[test]
    fn values_of_parameters() {
        for (url, expected) in [
            ("/a?token=abc&page=2", "/a?token=***&page=2"),
            ("/token=abc", "/token=abc"),
            ("/a?x=1&API_key=a=b", "/a?x=1&API_key=***"),
            ("/a?t%6Fken=abc", "/a?t%6Fken=***"),
            ("/a?%74oken=abc#frag", "/a?%74oken=***#frag"),
            ("http://h/cb#access_token=s3&state=1", "http://h/cb#access_token=**&state=1"),
            ("/a?next=/b?token=abc", "/a?next=/b?token=***"),
            ("/a;jsessionid=abc?x=1", "/a;jsessionid=***?x=1"),
            ("/a;sid=abc/b;x=1", "/a;sid=***/b;x=1"),
            ("/a?token", "/a?token"),
            ("/a?token=", "/a?token="),
            ("/a&token=b", "/a&token=b"),
            ("/a?password=p;q?r=1", "/a?password=*******"),
            ("/a?x;token=b", "/a?x;token=*"),
        ] {
            assert_eq!(redacted(url).len(), expected.len(), "{url}");
            assert_eq!(redacted(url), expected, "{url}");
        }
    }
}
