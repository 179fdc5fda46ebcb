//! `--route`: paths that the user names himself, and names of GraphQL operations.

use std::str::FromStr;
use std::sync::Arc;

use super::fold::{split_absolute, without_query};

/// A pattern of paths, in the manner of Go's `ServeMux`: `/users/{id}`, where
/// `{id}` is one segment, and `/files/{path...}`, where the last is all that is
/// left. All else is as it stands in the path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    text: String,
    parts: Vec<Part>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Name(Vec<u8>),
    One,
    Rest,
}

/// A text that is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no route: write /users/{{id}}, where {{id}} is any one segment, or \
     /files/{{path...}}, where the last is all that is left"
)]
pub struct NoRoute(String);

impl FromStr for Route {
    type Err = NoRoute;

    fn from_str(text: &str) -> Result<Self, NoRoute> {
        let no = || NoRoute(text.to_owned());
        let path = text.strip_prefix('/').ok_or_else(no)?;
        let part = |segment: &str| {
            let named = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'));
            match named {
                Some(name) if name.contains(['{', '}']) => None,
                Some(name) if name.ends_with("...") => Some(Part::Rest),
                Some(_) => Some(Part::One),
                None if segment.contains(['{', '}']) => None,
                None => Some(Part::Name(segment.as_bytes().to_vec())),
            }
        };
        let parts: Option<Vec<_>> = path.split('/').map(part).collect();
        let parts = parts.ok_or_else(no)?;
        let early = parts.iter().rev().skip(1).any(|part| *part == Part::Rest);
        if early || text.contains(['?', '#']) || text.chars().any(char::is_control) {
            return Err(no());
        }
        Ok(Self { text: text.to_owned(), parts })
    }
}

impl Route {
    fn takes(&self, path: &[u8]) -> bool {
        let Some(path) = path.strip_prefix(b"/") else { return false };
        let mut segments = path.split(|byte| *byte == b'/');
        for part in &self.parts {
            match (part, segments.next()) {
                (Part::Rest, Some(_)) => return true,
                (Part::One, Some(segment)) if !segment.is_empty() => {}
                (Part::Name(name), Some(segment)) if name == segment => {}
                _ => return false,
            }
        }
        segments.next().is_none()
    }
}

/// Routes in the order in which they are tried.
#[derive(Clone, Debug, Default)]
pub struct Routes(Option<Arc<[Route]>>);

impl FromIterator<Route> for Routes {
    fn from_iter<I: IntoIterator<Item = Route>>(routes: I) -> Self {
        let routes: Arc<[Route]> = routes.into_iter().collect();
        Self((!routes.is_empty()).then_some(routes))
    }
}

impl Routes {
    fn all(&self) -> &[Route] {
        self.0.as_deref().unwrap_or_default()
    }

    /// The first route that takes this path (with or without query), as the
    /// user wrote it.
    pub fn find(&self, path: &[u8]) -> Option<&[u8]> {
        self.0.as_ref()?;
        let path = without_query(split_absolute(path).1);
        self.all().iter().find(|route| route.takes(path)).map(|route| route.text.as_bytes())
    }

    /// Whether a path is one of them as written.
    pub fn has(&self, text: &[u8]) -> bool {
        self.all().iter().any(|route| route.text.as_bytes() == text)
    }

    /// Whether one of them tells numbers apart.
    pub fn names_numbers(&self) -> bool {
        let number = |part: &Part| match part {
            Part::Name(name) => !name.is_empty() && name.iter().all(u8::is_ascii_digit),
            Part::One | Part::Rest => false,
        };
        self.all().iter().any(|route| route.parts.iter().any(number))
    }
}

/// Bytes of the name of an operation. Real ones are shorter.
const OPERATION_BYTES: usize = 128;
/// Bytes of a query document that are looked at for its name, which stands at
/// its beginning.
const DOCUMENT_BYTES: usize = 256;

/// Whether a path may carry GraphQL: its last segment says so.
#[inline]
pub fn is_graphql(path: &[u8]) -> bool {
    without_query(path).ends_with(b"graphql")
}

/// The name of the GraphQL operation that a path asks for in its query: by
/// `operationName`, or else by the document in `query`, where it has a name
/// (GraphQL over HTTP, section 6.1; GraphQL, section 2.3).
pub fn operation(path: &[u8]) -> Option<String> {
    let query = path.get(without_query(path).len()..)?.strip_prefix(b"?")?;
    let query = query.split(|byte| *byte == b'#').next()?;
    let value = |name: &[u8]| {
        let mut pairs = query.split(|byte| *byte == b'&');
        pairs.find_map(|pair| pair.strip_prefix(name)?.strip_prefix(b"="))
    };
    if let Some(name) = value(b"operationName") {
        let name = decoded(name);
        return (is_name(&name)).then_some(name);
    }
    let document = decoded(value(b"query")?);
    let document = document.trim_start();
    let kinds = ["query", "mutation", "subscription"];
    let behind = kinds.iter().find_map(|kind| document.strip_prefix(kind))?;
    let named = behind.trim_start();
    if named.len() == behind.len() {
        return None;
    }
    let end = named.find(|c: char| !c.is_ascii_alphanumeric() && c != '_')?;
    let name = named.get(..end)?.to_owned();
    is_name(&name).then_some(name)
}

fn is_name(text: &str) -> bool {
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let rest = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    first && rest && text.len() <= OPERATION_BYTES
}

/// The beginning of a value of a query without its encoding (RFC 3986 section
/// 2.1, and `+` for a blank as forms have it).
fn decoded(value: &[u8]) -> String {
    let mut bytes = Vec::new();
    let mut rest = value;
    while let Some((byte, after)) = rest.split_first()
        && bytes.len() < DOCUMENT_BYTES
    {
        let hex = |at: usize| after.get(at).and_then(|digit| char::from(*digit).to_digit(16));
        rest = after;
        match (byte, hex(0), hex(1)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push((high << 4 | low) as u8);
                rest = after.get(2..).unwrap_or_default();
            }
            (b'+', ..) => bytes.push(b' '),
            _ => bytes.push(*byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_route_that_fits_names_the_path() {
        let routes = ["/users/me", "/users/{id}", "/files/{path...}", "/v/{a}/{b}", "/users/{id}/"];
        let routes: Routes = routes.iter().map(|text| text.parse::<Route>().unwrap()).collect();
        let find = |path: &str| {
            let found = routes.find(path.as_bytes());
            found.map(|text| String::from_utf8_lossy(text).into_owned())
        };
        for (path, route) in [
            ("/users/me", Some("/users/me")),
            ("/users/42?x=/y", Some("/users/{id}")),
            ("http://a.b/users/you#z", Some("/users/{id}")),
            ("/users/42/", Some("/users/{id}/")),
            ("/users/", None),
            ("/users/42/x", None),
            ("/files/a/b/c", Some("/files/{path...}")),
            ("/files/", Some("/files/{path...}")),
            ("/files", None),
            ("/v/1/2", Some("/v/{a}/{b}")),
            ("/v/1", None),
            ("*", None),
        ] {
            assert_eq!(find(path).as_deref(), route, "{path}");
        }
        assert!(!routes.names_numbers());
        for text in ["", "users", "/a{b}", "/{a", "/{a...}/b", "/a?b", "/{a{b}}", "/a\n"] {
            assert!(text.parse::<Route>().is_err(), "{text}");
        }
    }

    #[test]
    fn operations_are_named_where_the_query_does() {
        let name = |path: &str| operation(path.as_bytes());
        for (path, operation) in [
            ("/graphql?operationName=GetUser&query=x", Some("GetUser")),
            ("/graphql?query=query+GetUser(%24id:ID!)%7Buser%7D", Some("GetUser")),
            ("/graphql?query=%20mutation%20Pay%7Bpay%7D&x=1", Some("Pay")),
            ("/graphql?query=subscription%0AOn{x}", Some("On")),
            ("/graphql?query={user}", None),
            ("/graphql?query=query%7Buser%7D", None),
            ("/graphql?query=queryGetUser{x}", None),
            ("/graphql?query=fragment+F+on+User{x}", None),
            ("/graphql?operationName=%3Cscript%3E", None),
            ("/graphql?operationName=", None),
            ("/graphql", None),
            ("/graphql#?operationName=x", None),
        ] {
            assert_eq!(name(path).as_deref(), operation, "{path}");
        }
        assert_eq!(name(&format!("/graphql?operationName={}", "a".repeat(129))), None);
        assert!(is_graphql(b"/api/graphql?x") && !is_graphql(b"/graphql/x"));
    }
}
