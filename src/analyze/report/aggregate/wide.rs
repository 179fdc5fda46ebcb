//! Places in paths where so many names stand that they must be data: slugs,
//! user names, titles. Their shape does not tell, only how many there are.
//!
//! Which places those are is decided from rows: those of a shard when it has no
//! room for more, and those of all shards at the end. What a shard has is the
//! same for any number of threads, and all that shards have decided holds for
//! all rows in the end, so the report is the same too.

use std::collections::{BTreeMap, BTreeSet};

/// Names in one place beneath one prefix (of one host and method) that are
/// still told apart. Hardly a service has more resources beside each other, and
/// hardly a page shows more rows.
pub const NAMES: usize = 100;

/// Transactions that a name must have to be told apart all the same, besides
/// its share of 1 in [`NAMES`] of what stands in that place: an endpoint among
/// a scanner's guesses.
const FREQUENT: u64 = 10;

/// What stands for any name.
const ANY: &[u8] = b"{*}";

/// Protocol, host and method of a path.
type Scope = (&'static str, Option<Box<[u8]>>, Option<Box<[u8]>>);

/// Prefixes, each with the slash at its end, and the names behind it that are
/// told apart all the same.
type Places = BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>;

/// Prefixes behind which names are folded.
#[derive(Default)]
pub struct Wide {
    scopes: BTreeMap<Scope, Places>,
}

impl Wide {
    /// Whether there is no such place.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.scopes.is_empty()
    }

    /// Takes the places of another one, too. A name that one has folded is
    /// folded in all, or its row would not have all of its transactions.
    pub fn merge(&mut self, other: Self) {
        for (scope, places) in other.scopes {
            self.add(scope, places);
        }
    }

    fn add(&mut self, scope: Scope, places: Places) {
        let known = self.scopes.entry(scope).or_default();
        for (prefix, kept) in places {
            match known.get_mut(&prefix) {
                Some(known) => known.retain(|name| kept.contains(name)),
                None => {
                    known.insert(prefix, kept);
                }
            }
        }
    }

    /// The path with names folded; None where it stays as it is.
    pub fn fold(
        &self,
        protocol: &'static str,
        [host, method]: [Option<&[u8]>; 2],
        path: &[u8],
    ) -> Option<Vec<u8>> {
        let scope = (protocol, host.map(Box::from), method.map(Box::from));
        let places = self.scopes.get(&scope)?;
        let mut folded = Vec::with_capacity(path.len());
        for (index, segment) in path.split(|byte| *byte == b'/').enumerate() {
            if index > 0 {
                folded.push(b'/');
            }
            let place = places.get(&folded).filter(|_| is_name(segment));
            match place.is_some_and(|kept| !kept.contains(segment)) {
                true => folded.extend_from_slice(ANY),
                false => folded.extend_from_slice(segment),
            }
        }
        (folded != path).then_some(folded)
    }

    /// Looks for such places among the paths of one scope, each with the number
    /// of its transactions.
    pub fn look(
        &mut self,
        protocol: &'static str,
        [host, method]: [Option<&[u8]>; 2],
        paths: &[(&[u8], u64)],
    ) {
        let split = |path: &[u8]| -> Vec<Vec<u8>> {
            path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect()
        };
        let paths: Vec<_> = paths.iter().map(|(path, count)| (split(path), *count)).collect();
        let rests: Vec<_> = paths.iter().map(|(path, count)| (path.as_slice(), *count)).collect();
        let mut found = Places::new();
        look(&rests, &mut Vec::new(), &mut found);
        if !found.is_empty() {
            self.add((protocol, host.map(Box::from), method.map(Box::from)), found);
        }
    }
}

/// Whether a segment is a name rather than empty, folded by its shape, or the
/// name of an operation.
fn is_name(segment: &[u8]) -> bool {
    !segment.is_empty() && memchr::memchr2(b'{', b'?', segment).is_none()
}

/// What follows a prefix, and how often.
type Rest<'p> = (&'p [Vec<u8>], u64);

/// Looks behind a prefix. As deep as paths have segments, which the bytes that
/// are kept of them bound.
fn look(rests: &[Rest<'_>], prefix: &mut Vec<u8>, found: &mut Places) {
    if rests.len() <= NAMES {
        return;
    }
    let mut by_name: BTreeMap<&[u8], Vec<Rest<'_>>> = BTreeMap::new();
    for (rest, count) in rests {
        if let Some((name, behind)) = rest.split_first() {
            by_name.entry(name).or_default().push((behind, *count));
        }
    }
    if by_name.keys().filter(|name| is_name(name)).count() > NAMES {
        let count = |rests: &[Rest<'_>]| rests.iter().map(|(_, count)| count).sum::<u64>();
        let least = (count(rests) / NAMES as u64).max(FREQUENT);
        let mut folded: BTreeMap<&[u8], Vec<Rest<'_>>> = BTreeMap::new();
        let mut kept = BTreeSet::new();
        for (name, behind) in by_name {
            let stays = !is_name(name) || count(&behind) >= least;
            if stays && is_name(name) {
                kept.insert(name.to_vec());
            }
            folded.entry(if stays { name } else { ANY }).or_default().extend(behind);
        }
        found.insert(prefix.clone(), kept);
        by_name = folded;
    }
    for (name, behind) in by_name {
        let len = prefix.len();
        prefix.extend_from_slice(name);
        prefix.push(b'/');
        look(&behind, prefix, found);
        prefix.truncate(len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope() -> [Option<&'static [u8]>; 2] {
        [Some(b"h"), Some(b"GET")]
    }

    fn looked(paths: impl IntoIterator<Item = String>) -> (Wide, Vec<String>) {
        let paths: Vec<_> = paths.into_iter().collect();
        let bytes: Vec<_> = paths.iter().map(|path| (path.as_bytes(), 1)).collect();
        let mut wide = Wide::default();
        wide.look("http/1.1", scope(), &bytes);
        let fold = |path: &String| match wide.fold("http/1.1", scope(), path.as_bytes()) {
            Some(folded) => String::from_utf8(folded).unwrap(),
            None => path.clone(),
        };
        let folded: BTreeSet<_> = paths.iter().map(fold).collect();
        let folded = folded.into_iter().collect();
        (wide, folded)
    }

    /// A name without digits.
    fn name(index: usize) -> String {
        format!("{index:04}").bytes().map(|byte| (byte + 49) as char).collect()
    }

    #[test]
    fn many_names_in_one_place_are_one() {
        let few = (0..NAMES).map(|index| format!("/users/{}", name(index)));
        assert_eq!(looked(few).1.len(), NAMES);
        let many = (0..=NAMES).map(|index| format!("/users/{}", name(index)));
        assert_eq!(looked(many).1, ["/users/{*}"]);
    }

    #[test]
    fn what_is_behind_stays_apart() {
        let paths = (0..300).flat_map(|index| {
            let user = name(index);
            [
                format!("/users/{user}"),
                format!("/users/{user}/cart"),
                format!("/users/{user}/posts/{}", name(index * 7)),
                "/users/{n}/cart".to_owned(),
                "/health".to_owned(),
            ]
        });
        let expected =
            ["/health", "/users/{*}", "/users/{*}/cart", "/users/{*}/posts/{*}", "/users/{n}/cart"];
        assert_eq!(looked(paths).1, expected);
    }

    #[test]
    fn what_many_ask_for_stays_apart_unless_a_shard_has_folded_it() {
        let guesses: Vec<_> = (0..300).map(|index| format!("/{}", name(index))).collect();
        let mut paths: Vec<_> = guesses.iter().map(|path| (path.as_bytes(), 1)).collect();
        paths.extend([(&b"/login"[..], 500), (b"/logout", 9), (b"/graphql?operationName=A", 1)]);
        let mut wide = Wide::default();
        wide.look("http/1.1", scope(), &paths);
        let fold = |wide: &Wide, path: &str| wide.fold("http/1.1", scope(), path.as_bytes());
        for path in ["/login", "/login/x", "/", "/{n}", "/graphql?operationName=B"] {
            assert_eq!(fold(&wide, path), None, "{path}");
        }
        for path in ["/logout", "/new"] {
            assert_eq!(fold(&wide, path).as_deref(), Some(ANY_PATH), "{path}");
        }
        let (other, _) = looked(guesses);
        wide.merge(other);
        assert_eq!(fold(&wide, "/login").as_deref(), Some(ANY_PATH));
    }

    const ANY_PATH: &[u8] = b"/{*}";

    #[test]
    fn other_hosts_and_methods_stay_as_they_are() {
        let (wide, _) = looked((0..300).map(|index| format!("/users/{}", name(index))));
        let fold = |protocol, scope| wide.fold(protocol, scope, b"/users/me");
        assert_eq!(fold("http/1.1", scope()).as_deref(), Some(&b"/users/{*}"[..]));
        assert_eq!(fold("http/2", scope()), None);
        assert_eq!(fold("http/1.1", [Some(b"h"), Some(b"PUT")]), None);
        assert_eq!(fold("http/1.1", [None, Some(b"GET")]), None);
    }
}
