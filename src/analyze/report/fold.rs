//! Paths to endpoints: variable parts folded, so that one endpoint is one row.
//!
//! Works on bytes as they were on the wire: percent-encodings stay. The rules,
//! in the order in which they are tried, are on [`fold`]. They only group
//! rows of a report; transactions always show the path as sent.

/// Bytes of a folded path that are kept. Longer ones end with `…`: past it
/// paths differ by data, not by endpoint.
pub const PATH_BYTES: usize = 256;

/// The shortest run of hexadecimal digits (with at least one digit and one
/// letter) that is taken for a hash: build tools cut theirs to 8.
const HEX: usize = 8;
/// The shortest run of letters and at least two digits that is taken for an id.
const LONG: usize = 16;
/// The shortest run in which letters and digits alternate that is taken for
/// an id: Stripe's have 14, YouTube's 11.
const MIXED: usize = 10;
/// How often letters and digits must alternate in such a run.
const CHANGES: usize = 4;
/// The shortest number within a longer segment that is folded. Shorter ones
/// are versions, regions and sizes more often than ids.
const NUMBER: usize = 3;

/// Appends `path` without its query and fragment, and with variable parts
/// folded. A segment between slashes is
/// 1. `{n}` where it is a number (`42`, `-12.345`, `1,2,3` gives `{n},{n},{n}`),
/// 2. `{ip}` where it is an IPv4 address,
/// 3. `{id}` where it is a random id in base64url (`V1StGXR8_Z5jdHi6B-myT`),
/// 4. `{email}` where it is an email address,
/// 5. otherwise looked at word by word, where words are runs of letters and
///    digits: UUIDs give `{uuid}`, `2024-05-01` (with a time or without)
///    `{date}`, hex hashes and long or mixed ids `{id}`, numbers of three or
///    more digits `{n}`; all else stays (`v1`, `api2`, `app.min.js`).
///
/// The scheme and authority of an absolute target (`http://host/path`, as
/// sent to proxies) are dropped.
pub fn fold(path: &[u8], out: &mut Vec<u8>) {
    let from = out.len();
    let (authority, path) = split_absolute(path);
    let path = match without_query(path) {
        b"" if authority.is_some() => b"/",
        path => path,
    };
    for (index, segment) in path.split(|byte| *byte == b'/').enumerate() {
        if index > 0 {
            out.push(b'/');
        }
        fold_segment(segment, out);
        if out.len() - from > PATH_BYTES {
            out.truncate(from + char_floor(out.get(from..).unwrap_or_default(), PATH_BYTES));
            out.extend_from_slice("…".as_bytes());
            return;
        }
    }
}

/// Writes a path that begins with a slash, without its query and fragment and
/// with rule 1 of [`fold`] applied to segments that are digits only. Returns
/// its length; None where it does not fit. It is much cheaper than `fold`,
/// which gives the same for the result as for the path.
pub fn fold_whole_numbers(path: &[u8], out: &mut [u8]) -> Option<usize> {
    let mut len = 0;
    // Where the segment at hand begins in `out`, and whether it is digits so far.
    let (mut start, mut digits) = (0, false);
    for byte in path {
        match byte {
            // Letters first: they are most of it.
            b'@'.. => digits = false,
            b'0'..=b'9' => {}
            b'/' | b'?' | b'#' => {
                if digits && len > start {
                    len = put_number(start, out)?;
                }
                if *byte != b'/' {
                    return Some(len);
                }
                (start, digits) = (len + 1, true);
            }
            _ => digits = false,
        }
        *out.get_mut(len)? = *byte;
        len += 1;
    }
    if digits && len > start { put_number(start, out) } else { Some(len) }
}

/// Whether [`fold_whole_numbers`] gives `folded`, which it gave for some path,
/// for this path too. It is cheaper still, as nothing is written.
#[inline]
pub fn has_whole_numbers_folded(path: &[u8], folded: &[u8]) -> bool {
    let (mut path, mut folded) = (path, folded);
    loop {
        let same = path.iter().zip(folded).take_while(|(a, b)| a == b).count();
        let segment = folded.get(..same).is_some_and(|same| same.ends_with(b"/"));
        (path, folded) =
            (path.get(same..).unwrap_or_default(), folded.get(same..).unwrap_or_default());
        if matches!(path, [] | [b'?' | b'#', ..]) {
            return folded.is_empty();
        }
        let digits = path.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (Some(after), true) = (folded.strip_prefix(b"{n}"), digits > 0 && segment) else {
            return false;
        };
        (path, folded) = (path.get(digits..).unwrap_or_default(), after);
        if !matches!(path, [] | [b'/' | b'?' | b'#', ..]) {
            return false;
        }
    }
}

/// Writes `{n}` and returns where it ends; None where it does not fit.
#[inline]
fn put_number(at: usize, out: &mut [u8]) -> Option<usize> {
    *out.get_mut(at..)?.first_chunk_mut()? = *b"{n}";
    Some(at + 3)
}

/// The longest prefix of at most `len` bytes that does not end inside a
/// UTF-8 character.
fn char_floor(text: &[u8], len: usize) -> usize {
    let continues = |at: &usize| text.get(*at).is_some_and(|byte| byte & 0xc0 == 0x80);
    (len.saturating_sub(3)..=len).rev().find(|at| !continues(at)).unwrap_or(len)
}

/// A path up to its query or fragment.
pub fn without_query(path: &[u8]) -> &[u8] {
    let end = memchr::memchr2(b'?', b'#', path).unwrap_or(path.len());
    path.get(..end).unwrap_or(path)
}

/// Authority and path of an absolute target; no authority for others
/// (RFC 9112 section 3.2.2: it takes the place of the Host field).
pub fn split_absolute(target: &[u8]) -> (Option<&[u8]>, &[u8]) {
    if target.first() == Some(&b'/') {
        return (None, target);
    }
    for scheme in [&b"http://"[..], b"https://"] {
        let head = target.get(..scheme.len()).unwrap_or_default();
        if head.eq_ignore_ascii_case(scheme) {
            let rest = target.get(scheme.len()..).unwrap_or_default();
            let end = memchr::memchr3(b'/', b'?', b'#', rest).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(end);
            return (Some(authority), path);
        }
    }
    (None, target)
}

fn fold_segment(segment: &[u8], out: &mut Vec<u8>) {
    // Most segments are words, whole numbers or UUIDs.
    let digits = segment.iter().filter(|byte| byte.is_ascii_digit()).count();
    if is_email(segment) {
        return out.extend_from_slice(b"{email}");
    }
    if digits == 0 {
        return out.extend_from_slice(segment);
    }
    if digits == segment.len() {
        return out.extend_from_slice(b"{n}");
    }
    if uuid(segment) == Some(segment.len()) {
        return out.extend_from_slice(b"{uuid}");
    }
    let shape = Shape::of(segment);
    if shape.numeric && fold_numbers(segment, out) {
        return;
    }
    if shape.numeric && is_ipv4(segment) {
        return out.extend_from_slice(b"{ip}");
    }
    if shape.is_base64url_id(segment) {
        return out.extend_from_slice(b"{id}");
    }
    fold_words(segment, out);
}

/// What kinds of bytes a segment has.
struct Shape {
    upper: bool,
    lower: bool,
    /// Only digits, dots, commas and signs.
    numeric: bool,
    /// Only letters, digits, `-`, `_` and `=`.
    base64url: bool,
    /// How often letters and digits alternate.
    changes: usize,
}

impl Shape {
    fn of(segment: &[u8]) -> Self {
        let mut shape =
            Self { upper: false, lower: false, numeric: true, base64url: true, changes: 0 };
        let mut before = b' ';
        for byte in segment {
            match byte {
                b'a'..=b'z' => (shape.lower, shape.numeric) = (true, false),
                b'A'..=b'Z' => (shape.upper, shape.numeric) = (true, false),
                b'0'..=b'9' | b'-' => {}
                b'.' | b',' | b'+' => shape.base64url = false,
                b'_' | b'=' => shape.numeric = false,
                _ => (shape.numeric, shape.base64url) = (false, false),
            }
            shape.changes += usize::from(alternates(before, *byte));
            before = *byte;
        }
        shape
    }

    fn is_base64url_id(&self, segment: &[u8]) -> bool {
        self.base64url
            && self.upper
            && self.lower
            && self.changes >= CHANGES
            && segment.len() >= LONG
    }
}

fn alternates(a: u8, b: u8) -> bool {
    (a.is_ascii_digit() && b.is_ascii_alphabetic())
        || (a.is_ascii_alphabetic() && b.is_ascii_digit())
}

/// Folds a list of numbers; false where it is not one. `2.0` and `1.2.3` are
/// versions: only a longer fraction makes a decimal number.
fn fold_numbers(segment: &[u8], out: &mut Vec<u8>) -> bool {
    let mut parts = 0;
    for part in segment.split(|byte| *byte == b',') {
        parts += 1;
        if !is_number(part, segment.contains(&b',')) {
            return false;
        }
    }
    for index in 0..parts {
        out.extend_from_slice(if index > 0 { b",{n}" } else { b"{n}" });
    }
    true
}

fn is_number(text: &[u8], listed: bool) -> bool {
    let text = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    let mut halves = text.splitn(2, |byte| *byte == b'.');
    let digits = |half: &[u8]| !half.is_empty() && half.iter().all(u8::is_ascii_digit);
    let whole = halves.next().is_some_and(digits);
    whole && halves.next().is_none_or(|half| digits(half) && (listed || half.len() >= NUMBER))
}

/// Whether a segment is an address as people have them: a local part of plain
/// characters, an `@` or `%40`, and a domain with a dot before its last part,
/// which has no digits (`left-pad@1.3.0` is a version of a package).
fn is_email(segment: &[u8]) -> bool {
    let Some(at) = memchr::memchr2(b'@', b'%', segment) else { return false };
    let (local, rest) = segment.split_at(at);
    let domain = rest.strip_prefix(b"@").or(rest.strip_prefix(b"%40"));
    let Some((name, last)) = domain.and_then(|domain| {
        let dot = memchr::memrchr(b'.', domain)?;
        Some((domain.get(..dot)?, domain.get(dot + 1..)?))
    }) else {
        return false;
    };
    let is_local = |byte: &u8| byte.is_ascii_alphanumeric() || b"._+-~".contains(byte);
    let is_domain = |byte: &u8| byte.is_ascii_alphanumeric() || b".-".contains(byte);
    !local.is_empty()
        && local.iter().all(is_local)
        && name.first().is_some_and(u8::is_ascii_alphanumeric)
        && name.iter().all(is_domain)
        && last.len() > 1
        && last.iter().all(u8::is_ascii_alphabetic)
}

fn is_ipv4(text: &[u8]) -> bool {
    std::str::from_utf8(text).is_ok_and(|text| text.parse::<std::net::Ipv4Addr>().is_ok())
}

fn fold_words(segment: &[u8], out: &mut Vec<u8>) {
    let mut rest = segment;
    while let Some(first) = rest.first() {
        let (len, replacement) = match first {
            b'%' => (3, None),
            byte if !byte.is_ascii_alphanumeric() => (1, None),
            _ => next_word(rest),
        };
        let (head, tail) = rest.split_at(len.min(rest.len()));
        out.extend_from_slice(replacement.unwrap_or(head));
        rest = tail;
    }
}

/// Length of the word that `text` begins with, and what it folds to.
fn next_word(text: &[u8]) -> (usize, Option<&'static [u8]>) {
    if let Some(len) = uuid(text) {
        return (len, Some(b"{uuid}"));
    }
    if let Some(len) = date(text) {
        return (len, Some(b"{date}"));
    }
    let len = word(text);
    (len, kind(text.get(..len).unwrap_or_default()))
}

/// Length of the run of letters and digits that `text` begins with.
fn word(text: &[u8]) -> usize {
    text.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(text.len())
}

/// What a word folds to.
fn kind(word: &[u8]) -> Option<&'static [u8]> {
    let digits = word.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits == word.len() {
        return (digits >= NUMBER).then_some(b"{n}");
    }
    let hex = word.iter().all(u8::is_ascii_hexdigit);
    let changes = || word.windows(2).filter(|w| matches!(w, [a, b] if alternates(*a, *b))).count();
    let id = digits > 0 && hex && word.len() >= HEX
        || digits > 1 && word.len() >= LONG
        || digits > 0 && word.len() >= MIXED && changes() >= CHANGES;
    id.then_some(b"{id}")
}

/// Whether `text` begins with this pattern, in which `x` is a hexadecimal
/// digit, `9` a digit and all else itself.
fn matches_pattern(text: &[u8], pattern: &[u8]) -> bool {
    text.len() >= pattern.len()
        && pattern.iter().zip(text).all(|(want, byte)| match want {
            b'x' => byte.is_ascii_hexdigit(),
            b'9' => byte.is_ascii_digit(),
            want => want == byte,
        })
}

fn ends_word(text: &[u8], at: usize) -> bool {
    text.get(at).is_none_or(|byte| !byte.is_ascii_alphanumeric())
}

/// Length of the UUID (RFC 9562 section 4) that `text` begins with.
fn uuid(text: &[u8]) -> Option<usize> {
    const PATTERN: &[u8] = b"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    (matches_pattern(text, PATTERN) && ends_word(text, PATTERN.len())).then_some(PATTERN.len())
}

/// Length of the date, or date and time, that `text` begins with (RFC 3339
/// section 5.6, and without seconds or zone).
fn date(text: &[u8]) -> Option<usize> {
    const DATE: &[u8] = b"9999-99-99";
    if !matches_pattern(text, DATE) {
        return None;
    }
    let mut len = DATE.len();
    let rest = |len: usize| text.get(len..).unwrap_or_default();
    for time in [&b"T99:99:99"[..], b"T99:99"] {
        if matches_pattern(rest(len), time) {
            len += time.len();
            if rest(len).first() == Some(&b'.') {
                len += 1 + rest(len + 1).iter().take_while(|byte| byte.is_ascii_digit()).count();
            }
            for zone in [&b"Z"[..], b"+99:99", b"-99:99"] {
                if matches_pattern(rest(len), zone) {
                    len += zone.len();
                    break;
                }
            }
            break;
        }
    }
    ends_word(text, len).then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn folded(path: &str) -> String {
        let mut out = Vec::new();
        fold(path.as_bytes(), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn folds_what_varies() {
        for (path, endpoint) in [
            ("/users/42/orders/1", "/users/{n}/orders/{n}"),
            ("/users/42?full=1&x=/3", "/users/{n}"),
            ("/doc#part2", "/doc"),
            ("/o/6f1c2e9a-0b7d-4c53-9e55-2f1d7a1b3c4d", "/o/{uuid}"),
            ("/o/6F1C2E9A-0B7D-4C53-9E55-2F1D7A1B3C4D.json", "/o/{uuid}.json"),
            ("/blob/sha256:9f86d081884c7d659a2feaa0c55ad015", "/blob/sha256:{id}"),
            ("/static/app.3f2a9c1b.js", "/static/app.{id}.js"),
            ("/commit/da39a3ee5e6b4b0d3255bfef95601890afd80709", "/commit/{id}"),
            ("/mongo/507f1f77bcf86cd799439011", "/mongo/{id}"),
            ("/ulid/01ARZ3NDEKTSV4RRFFQ69G5FAV", "/ulid/{id}"),
            ("/charges/ch_3MmlLrLkdIwHu7ix0snN0B15", "/charges/{id}"),
            ("/cus/cus_9s6XKzkNRiz8i3", "/cus/{id}"),
            ("/in/in_9s6XKzk3i8", "/in/in_{id}"),
            ("/watch/dQw4w9WgXcQ", "/watch/{id}"),
            ("/n/V1StGXR8_Z5jdHi6B-myT", "/n/{id}"),
            ("/days/2024-05-01", "/days/{date}"),
            ("/at/2024-05-01T10:00:00.123Z/x", "/at/{date}/x"),
            ("/at/2024-05-01T10:00+02:00", "/at/{date}"),
            ("/reports/report-2024-05-01.csv", "/reports/report-{date}.csv"),
            ("/2024/05/01/title", "/{n}/{n}/{n}/title"),
            ("/img/photo-12345.jpg", "/img/photo-{n}.jpg"),
            ("/near/-122.4194,37.77", "/near/{n},{n}"),
            ("/temp/-12.345", "/temp/{n}"),
            ("/hosts/10.0.0.1/ping", "/hosts/{ip}/ping"),
            ("/page;jsessionid=1A2B3C4D5E6F7A8B", "/page;jsessionid={id}"),
            ("/a%20b/12345%2F678", "/a%20b/{n}%2F{n}"),
            ("http://api.example.com:8080/users/7?x", "/users/{n}"),
            ("HTTPS://api.example.com?x=1", "/"),
            ("/users/jo.doe+x@mail.example.com/cart", "/users/{email}/cart"),
            ("/users/jo%40example.org", "/users/{email}"),
            ("/users/j0@example.org", "/users/{email}"),
            ("http://api.example.com", "/"),
        ] {
            assert_eq!(folded(path), endpoint, "{path}");
        }
    }

    #[test]
    fn keeps_what_names_an_endpoint() {
        for path in [
            "/",
            "*",
            "",
            "/v1/api2/oauth2/token",
            "/v1.24/containers/json",
            "/api/2.0/things",
            "/jquery-3.6.0.min.js",
            "/eu-west-1/s3/h264/base64/sha256",
            "/api/v1beta1/namespaces/default/pods",
            "/my-first-post-about-http2-and-grpc",
            "/getUserProfileDetailsByAccountName",
            "/facade/decade/deadbeef",
            "/caf%C3%A9/%F0%9F%98%80",
            "/a//b/../c/",
            "/internationalization",
            "/@scope/package",
            "/left-pad@1.3.0",
            "/me@localhost",
            "/a%20b@example",
            "/@.example.org",
        ] {
            assert_eq!(folded(path), path);
        }
    }

    #[test]
    fn absolute_targets_give_their_host() {
        let split = |target: &'static str| split_absolute(target.as_bytes());
        assert_eq!(split("http://a.b:1/c?d"), (Some(&b"a.b:1"[..]), &b"/c?d"[..]));
        assert_eq!(split("/http://a/b"), (None, &b"/http://a/b"[..]));
        assert_eq!(split("example.com:443"), (None, &b"example.com:443"[..]));
    }

    #[test]
    fn long_paths_end_with_an_ellipsis_at_a_character() {
        for pad in 0..4 {
            let text = folded(&format!("/{}{}", "a".repeat(pad), "ü".repeat(400)));
            assert!(text.ends_with('…') && text.len() <= PATH_BYTES + 3, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_fold_to_something_bounded_without_query(path: Vec<u8>) {
            let mut out = Vec::new();
            fold(&path, &mut out);
            prop_assert!(out.len() <= PATH_BYTES + "…".len());
            prop_assert!(!out.contains(&b'?'));
        }

        /// So a cache may take the one for the other.
        #[test]
        fn whole_numbers_fold_first_or_last(path in "/([a-z0-9/{}n?#.-]|/[0-9]{1,3}){0,400}") {
            let mut numbers = vec![0; 2000];
            let len = fold_whole_numbers(path.as_bytes(), &mut numbers).unwrap();
            let numbers = std::str::from_utf8(&numbers[..len]).unwrap();
            prop_assert!(!numbers.contains(['?', '#']));
            prop_assert_eq!(folded(numbers), folded(&path));
            prop_assert_eq!(fold_whole_numbers(path.as_bytes(), &mut vec![0; len - 1]), None);
        }

        #[test]
        fn folded_numbers_are_recognised(
            paths in prop::collection::vec("(/([a-c0-1]{0,2}|[0-9]{1,12}|\\{n\\}|1?\\{n\\})){1,3}([?#].{0,3})?", 2),
        ) {
            let [mut one, mut two] = [vec![0; 200], vec![0; 200]];
            let len = fold_whole_numbers(paths[0].as_bytes(), &mut one).unwrap();
            let other = fold_whole_numbers(paths[1].as_bytes(), &mut two).unwrap();
            prop_assert!(has_whole_numbers_folded(paths[0].as_bytes(), &one[..len]));
            let same = has_whole_numbers_folded(paths[0].as_bytes(), &two[..other]);
            prop_assert_eq!(same, one[..len] == two[..other]);
        }

        #[test]
        fn ids_of_one_kind_are_one_endpoint(
            number: u64, hash in "[0-9]{1}[a-f]{1}[0-9a-f]{30}", bits: [u8; 16],
        ) {
            let hex: String = bits.iter().map(|byte| format!("{byte:02x}")).collect();
            let uuid = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-");
            let path = format!("/a/{number}/b-{uuid}/{hash}.css");
            prop_assert_eq!(folded(&path), "/a/{n}/b-{uuid}/{id}.css");
        }
    }
}
