//! What is redacted, and what happens to bytes that cannot be read.

use hashbrown::HashMap;

/// Header fields whose values are redacted unless it is said otherwise.
pub const HEADERS: &[&str] = &[
    "authorization",
    "proxy-authorization",
    "cookie",
    "cookie2",
    "set-cookie",
    "set-cookie2",
    "authentication-info",
    "proxy-authentication-info",
    "api-key",
    "apikey",
    "x-api-key",
    "x-apikey",
    "x-api-token",
    "x-access-token",
    "x-auth-key",
    "x-auth-token",
    "x-authorization",
    "x-forwarded-access-token",
    "x-session-token",
    "x-secret",
    "x-token",
    "x-csrf-token",
    "x-csrftoken",
    "x-xsrf-token",
    "csrf-token",
    "x-amz-security-token",
    "x-goog-api-key",
    "x-goog-iam-authorization-token",
    "x-vault-token",
    "x-consul-token",
    "x-functions-key",
    "x-shopify-access-token",
    "ocp-apim-subscription-key",
    "private-token",
    "job-token",
    "x-gitlab-token",
];

/// Query parameters whose values are redacted unless it is said otherwise.
pub const PARAMETERS: &[&str] = &[
    "access_token",
    "accesstoken",
    "api_key",
    "api-key",
    "apikey",
    "api_token",
    "assertion",
    "auth",
    "auth_token",
    "authorization",
    "authtoken",
    "awsaccesskeyid",
    "client_assertion",
    "client_secret",
    "csrf_token",
    "id_token",
    "jsessionid",
    "jwt",
    "key",
    "passphrase",
    "passwd",
    "password",
    "private_token",
    "pwd",
    "refresh_token",
    "secret",
    "session",
    "session_id",
    "sessionid",
    "sid",
    "sig",
    "signature",
    "token",
    "x-amz-credential",
    "x-amz-security-token",
    "x-amz-signature",
    "x-goog-credential",
    "x-goog-signature",
];

/// Header fields that hold a URL or the end of one, in whose query parameters are
/// redacted. `:path` is HTTP/2's request target.
const URLS: &[&str] = &[
    ":path",
    "content-location",
    "location",
    "referer",
    "x-envoy-original-path",
    "x-forwarded-uri",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
];

/// Bytes of a name that are compared at most. A longer one is not redacted, and
/// cannot be asked for.
pub const NAME_BYTES: usize = 128;

/// What marks gRPC metadata of bytes, which is base64 on the wire.
const BINARY: &[u8] = b"-bin";

/// What becomes of bytes that cannot be read as HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unparsed {
    /// They stay as they are.
    Keep,
    /// They leave the capture: an exact gap.
    Drop,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Settings {
    /// More header fields, besides [`HEADERS`]; case does not matter.
    pub headers: Vec<String>,
    /// More query parameters, besides [`PARAMETERS`].
    pub parameters: Vec<String>,
    /// Nothing is redacted: for `headers_only` or `Unparsed::Drop` alone.
    pub none: bool,
    /// What becomes of bytes that cannot be read.
    pub unparsed: Unparsed,
    /// Bodies leave the capture.
    pub headers_only: bool,
}

impl Settings {
    /// The names above, and nothing else asked for.
    pub fn new(unparsed: Unparsed) -> Self {
        let (headers, parameters) = Default::default();
        Self { headers, parameters, none: false, unparsed, headers_only: false }
    }

    /// Whether anything at all is to be done.
    pub fn is_idle(&self) -> bool {
        self.none && self.unparsed == Unparsed::Keep && !self.headers_only
    }

    /// What the section header of a redacted capture says, one `key=value` each.
    pub fn comments(&self) -> Vec<String> {
        let mut said = Vec::new();
        if self.is_idle() {
            return said;
        }
        let what = if self.none { "nothing" } else { "headers,parameters" };
        said.push(format!("perisco.redacted={what}"));
        let unparsed = match self.unparsed {
            Unparsed::Keep => "keep",
            Unparsed::Drop => "drop",
        };
        said.push(format!("perisco.unparsed={unparsed}"));
        if self.headers_only {
            said.push("perisco.headers_only=true".to_owned());
        }
        said
    }
}

/// What is done with the value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// It stays.
    Plain,
    /// All of it is redacted; which name it was.
    Secret(u16),
    /// Parameters in it are redacted.
    Url,
    /// Its name is not known: redacted, since it may be any.
    Unknown,
}

/// The settings, made to be asked fast.
#[derive(Debug)]
pub struct Rules {
    /// See [`Settings`].
    pub unparsed: Unparsed,
    /// See [`Settings`].
    pub headers_only: bool,
    none: bool,
    headers: HashMap<Vec<u8>, Class, foldhash::fast::RandomState>,
    /// Whether any field has a name of this length with this last letter ([`mark`]).
    marks: Box<[bool; MARKS]>,
    parameters: HashMap<Vec<u8>, u16, foldhash::fast::RandomState>,
    names: Vec<String>,
}

impl Rules {
    /// Makes them.
    pub fn new(settings: &Settings) -> Self {
        let mut rules = Self {
            unparsed: settings.unparsed,
            headers_only: settings.headers_only,
            none: settings.none,
            headers: HashMap::default(),
            marks: Box::new([false; MARKS]),
            parameters: HashMap::default(),
            names: Vec::new(),
        };
        if settings.none {
            return rules;
        }
        let asked = settings.headers.iter().map(String::as_str);
        for name in HEADERS.iter().copied().chain(asked) {
            let name = name.to_ascii_lowercase();
            let number = rules.number(&name);
            rules.headers.insert(name.into_bytes(), Class::Secret(number));
        }
        for name in URLS {
            rules.headers.entry(name.as_bytes().to_vec()).or_insert(Class::Url);
        }
        for name in rules.headers.keys() {
            rules.marks[mark(name)] = true;
            rules.marks[mark(&[name, BINARY].concat())] = true;
        }
        let asked = settings.parameters.iter().map(String::as_str);
        for name in PARAMETERS.iter().copied().chain(asked) {
            let name = name.to_ascii_lowercase();
            let number = rules.number(&format!("?{name}"));
            rules.parameters.insert(name.into_bytes(), number);
        }
        rules
    }

    fn number(&mut self, name: &str) -> u16 {
        let known = self.names.iter().position(|known| known == name);
        let place = known.unwrap_or_else(|| {
            self.names.push(name.to_owned());
            self.names.len() - 1
        });
        u16::try_from(place).unwrap_or(u16::MAX)
    }

    /// What is redacted, by its number; parameters begin with `?`.
    pub fn name(&self, number: u16) -> &str {
        self.names.get(usize::from(number)).map_or("others", String::as_str)
    }

    /// The class of a field, by its name in any case. `x-api-key-bin` goes with
    /// `x-api-key`.
    pub fn header(&self, name: &[u8]) -> Class {
        // Most names are none of these, and that is soon told.
        if !self.marks[mark(name)] {
            return Class::Plain;
        }
        let mut lower = [0; NAME_BYTES];
        let Some(lower) = lowered(name, &mut lower) else { return Class::Plain };
        let find = |name: &[u8]| self.headers.get(name).copied();
        let found = find(lower).or_else(|| find(lower.strip_suffix(BINARY)?));
        found.unwrap_or(Class::Plain)
    }

    /// The class of a field whose name is not known.
    pub fn unknown(&self) -> Class {
        if self.none { Class::Plain } else { Class::Unknown }
    }

    /// Whether the values of parameters of this name are redacted, and its number.
    pub fn parameter(&self, name: &[u8]) -> Option<u16> {
        let mut lower = [0; NAME_BYTES];
        self.parameters.get(lowered(name, &mut lower)?).copied()
    }
}

/// Marks of names: 128 lengths, 32 letters.
const MARKS: usize = NAME_BYTES * 32;

/// The mark of a name, the same in any case.
fn mark(name: &[u8]) -> usize {
    let letter = name.last().map_or(0, |byte| usize::from(byte & 31));
    name.len() % NAME_BYTES * 32 + letter
}

fn lowered<'a>(name: &[u8], into: &'a mut [u8; NAME_BYTES]) -> Option<&'a [u8]> {
    let into = into.get_mut(..name.len())?;
    into.copy_from_slice(name);
    into.make_ascii_lowercase();
    Some(into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_any_case() {
        let mut settings = Settings::new(Unparsed::Keep);
        settings.headers.push("X-Internal-Pass".to_owned());
        settings.parameters.push("PIN".to_owned());
        let rules = Rules::new(&settings);
        for name in ["Authorization", "x-API-key", "x-api-key-bin", "x-internal-PASS"] {
            assert!(matches!(rules.header(name.as_bytes()), Class::Secret(_)), "{name}");
        }
        assert_eq!(rules.header(b"Referer"), Class::Url);
        for name in ["accept", "authorization2", "", "-bin"] {
            assert_eq!(rules.header(name.as_bytes()), Class::Plain, "{name}");
        }
        assert!(rules.parameter(b"Pin").is_some());
        assert!(rules.parameter(b"page").is_none());
        let number = rules.parameter(b"TOKEN").map(|number| rules.name(number));
        assert_eq!(number, Some("?token"));
    }

    #[test]
    fn none_redacts_nothing() {
        let rules = Rules::new(&Settings { none: true, ..Settings::new(Unparsed::Drop) });
        assert_eq!(rules.header(b"authorization"), Class::Plain);
        assert_eq!(rules.header(b":path"), Class::Plain);
        assert_eq!(rules.unknown(), Class::Plain);
        assert_eq!(rules.parameter(b"token"), None);
    }
}
