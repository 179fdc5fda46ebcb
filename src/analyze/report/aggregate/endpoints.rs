//! Transactions by endpoint.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};

use super::cache::Cache;
use super::detail::EndpointSums;
use super::groups::Sort;
use super::rows::{RowId, Rows};
use super::stats::{Facts, Stats};
use super::wide::Wide;
use crate::analyze::report::Item;
use crate::analyze::report::fold::{PATH_BYTES, fold, split_absolute, without_query};
use crate::analyze::report::model::Endpoint;
use crate::analyze::report::route::{Routes, is_graphql, operation};
use crate::analyze::report::write::text_of;
use crate::analyze::transaction::Transaction;

/// Endpoints told apart in each of the shards. A service has tens; past it
/// paths have parts that folding does not know, or a scanner is at work.
pub const ENDPOINTS: usize = 512;
/// Rows that looking for names that are data has to free, to be worth another
/// look.
const ROOM: usize = ENDPOINTS / 4;
/// Bytes of a host, method or service that are kept.
const NAME_BYTES: usize = 256;

/// Host, method and path, or gRPC service and method: borrowed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyRef<'a> {
    pub protocol: &'static str,
    pub grpc: bool,
    pub parts: [Option<&'a [u8]>; 3],
}

/// A request as sent: before its path is cut at the query and folded.
pub struct Raw<'a> {
    pub key: KeyRef<'a>,
    /// Whether the path stays as it is: those of gRPC do, and the authority
    /// that CONNECT names.
    pub verbatim: bool,
}

impl<'a> Raw<'a> {
    #[inline]
    fn of(transaction: &'a Transaction) -> Self {
        let protocol = transaction.protocol;
        if let Some(service) = transaction.service() {
            let parts = [Some(service), transaction.rpc_method(), None];
            return Self { key: KeyRef { protocol, grpc: true, parts }, verbatim: true };
        }
        let parts = match &transaction.request {
            Some(request) => [
                request.text(request.authority),
                request.text(request.method),
                request.text(request.path),
            ],
            None => [None; 3],
        };
        let [_, method, _] = parts;
        let verbatim = transaction.grpc.is_some() || method == Some(b"CONNECT");
        Self { key: KeyRef { protocol, grpc: false, parts }, verbatim }
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The lengths separate the parts; the protocol is left to equality,
        // as hardly two of them share the rest.
        let mut lens = 0_u64;
        for part in self.parts {
            let len = part.map_or(0, |part| part.len() as u64 + 1);
            lens = (lens << 20) ^ len;
            state.write(part.unwrap_or_default());
        }
        state.write_u64(lens);
    }
}

/// [`KeyRef`], owned.
struct Key {
    protocol: &'static str,
    grpc: bool,
    text: Box<[u8]>,
    /// Length of each part; None where it was not seen.
    lens: [Option<u32>; 3],
}

impl Key {
    fn new(key: &KeyRef<'_>) -> Self {
        let mut text = Vec::with_capacity(key.parts.iter().flatten().map(|part| part.len()).sum());
        key.parts.iter().flatten().for_each(|part| text.extend_from_slice(part));
        let lens = key.parts.map(|part| part.map(|part| part.len() as u32));
        Self { protocol: key.protocol, grpc: key.grpc, text: text.into_boxed_slice(), lens }
    }

    fn borrow(&self) -> KeyRef<'_> {
        let mut rest = &*self.text;
        let parts = self.lens.map(|len| {
            len.map(|len| {
                let (part, tail) = rest.split_at(rest.len().min(len as usize));
                rest = tail;
                part
            })
        });
        KeyRef { protocol: self.protocol, grpc: self.grpc, parts }
    }

    fn is(&self, other: &KeyRef<'_>) -> bool {
        self.borrow() == *other
    }
}

/// What an endpoint adds up to.
#[derive(Default)]
struct Sum {
    stats: Stats,
    /// Where a page is asked for.
    detail: Option<Box<EndpointSums>>,
}

impl Sum {
    fn merge(&mut self, other: Self) {
        self.stats.merge(&other.stats);
        if let Some(theirs) = other.detail {
            match &mut self.detail {
                Some(ours) => ours.merge(*theirs),
                None => self.detail = Some(theirs),
            }
        }
    }
}

/// Rows by endpoint, and a cache from raw requests to them.
pub struct Endpoints {
    rows: Rows<Key, Sum>,
    cache: Cache,
    /// Host, method and path of the request at hand, folded.
    scratch: [Vec<u8>; 3],
    /// Where paths have names that are data.
    wide: Wide,
    /// Paths that the user has named.
    routes: Routes,
    /// Whether whole numbers in paths may be told apart.
    numbers: bool,
    /// Whether it is full and nothing could be done about it.
    is_full: bool,
    /// Whether the report has latencies by class.
    pub compared: bool,
}

impl Endpoints {
    /// No endpoints yet.
    pub fn new() -> Self {
        Self {
            rows: Rows::new(ENDPOINTS),
            cache: Cache::default(),
            scratch: Default::default(),
            wide: Wide::default(),
            routes: Routes::default(),
            numbers: false,
            is_full: false,
            compared: false,
        }
    }

    /// The same with paths that the user has named.
    pub fn routed(self, routes: Routes) -> Self {
        Self { numbers: routes.names_numbers(), routes, ..self }
    }

    /// Adds a transaction, and returns its endpoint.
    #[inline]
    pub fn add(&mut self, item: &Item<'_>, facts: &Facts) -> RowId {
        let row = self.row(item);
        self.rows.value(row).stats.add(facts);
        row
    }

    /// What a page shows of an endpoint.
    pub fn detail(&mut self, row: RowId) -> &mut EndpointSums {
        self.rows.value(row).detail.get_or_insert_default()
    }

    #[inline]
    fn row(&mut self, item: &Item<'_>) -> RowId {
        let raw = Raw::of(item.transaction);
        match self.cache.get(&raw) {
            Some(row) => row,
            None => self.new_row(&raw),
        }
    }

    /// The row of a request that the cache does not know. Kept out of line,
    /// as are all that it calls.
    #[inline(never)]
    fn new_row(&mut self, raw: &Raw<'_>) -> RowId {
        let row = match raw.key.grpc {
            true => self.endpoint(&raw.key),
            false => self.folded(raw),
        };
        // What the cache takes for one request must be one endpoint.
        let told_apart = self.numbers || raw.key.parts[2].is_some_and(is_graphql);
        if raw.key.grpc || !told_apart {
            self.cache.put(row);
        }
        row
    }

    /// All endpoints together.
    pub fn total(&self) -> Stats {
        let mut total = Stats::default();
        self.rows.values().for_each(|sum| total.merge(&sum.stats));
        total
    }

    /// The endpoint of a request that is not of gRPC.
    fn folded(&mut self, raw: &Raw<'_>) -> RowId {
        let [host, method, path] = raw.key.parts;
        let operation = match raw.verbatim {
            false => path.filter(|path| is_graphql(path)).and_then(operation),
            true => None,
        };
        let path = path.map(without_query);
        let mut scratch = std::mem::take(&mut self.scratch);
        for part in &mut scratch {
            part.clear();
        }
        let [host_text, method_text, path_text] = &mut scratch;
        let target = path.and_then(|path| split_absolute(path).0);
        let host = target.or(host).map(|host| {
            push_bounded(host, host_text);
            host_text.make_ascii_lowercase();
            &host_text[..]
        });
        let method = method.map(|method| {
            push_bounded(method, method_text);
            &method_text[..]
        });
        let path = path.map(|path| {
            match (raw.verbatim, self.routes.find(path)) {
                (true, _) => push_bounded(path, path_text),
                (false, Some(route)) => push_bounded(route, path_text),
                (false, None) => fold(path, path_text),
            }
            if let Some(operation) = &operation {
                path_text.extend_from_slice(b"?operationName=");
                path_text.extend_from_slice(operation.as_bytes());
            }
            let scope = [host, method];
            let wide = (!raw.verbatim).then(|| self.folds_wide(raw.key.protocol, scope, path_text));
            if let Some(wide) = wide.flatten() {
                *path_text = wide;
            }
            &path_text[..]
        });
        let parts = [host, method, path];
        let row = self.endpoint(&KeyRef { protocol: raw.key.protocol, grpc: false, parts });
        self.scratch = scratch;
        row
    }

    fn endpoint(&mut self, key: &KeyRef<'_>) -> RowId {
        let hash = self.rows.hash(key);
        if let Some(row) = self.rows.find(hash, |known| known.is(key)) {
            return row;
        }
        let long = |part: &[u8]| part.len() > PATH_BYTES + "…".len();
        if key.parts.iter().flatten().any(|part| long(part)) {
            return self.cut(key);
        }
        if self.rows.len() == ENDPOINTS && !self.is_full {
            return self.make_room(key);
        }
        self.rows.insert(hash, Key::new(key))
    }

    /// The endpoint of a key for which there is no room, once names that are
    /// data are one.
    #[cold]
    fn make_room(&mut self, key: &KeyRef<'_>) -> RowId {
        self.widen();
        // Looking again for each path to come would be dear.
        self.is_full = self.rows.len() > ENDPOINTS - ROOM;
        let KeyRef { protocol, parts: [host, method, path], .. } = *key;
        let wide = path.and_then(|path| self.folds_wide(protocol, [host, method], path));
        let parts = [host, method, wide.as_deref().or(path)];
        self.endpoint(&KeyRef { parts, ..*key })
    }

    /// Looks for names that are data, and folds them in all rows.
    fn widen(&mut self) {
        let rows = std::mem::replace(&mut self.rows, Rows::new(ENDPOINTS));
        let (rows, rest) = rows.into_rows();
        let rows: Vec<_> = rows.collect();
        let mut scopes: BTreeMap<_, Vec<(&[u8], u64)>> = BTreeMap::new();
        for (key, sum) in &rows {
            let KeyRef { protocol, grpc, parts: [host, method, path] } = key.borrow();
            let path = path.filter(|path| path.starts_with(b"/") && !self.routes.has(path));
            if let (false, Some(path)) = (grpc, path) {
                scopes.entry((protocol, host, method)).or_default().push((path, sum.stats.count));
            }
        }
        for ((protocol, host, method), paths) in scopes {
            self.wide.look(protocol, [host, method], &paths);
        }
        for (key, sum) in rows {
            let KeyRef { protocol, grpc, parts: [host, method, path] } = key.borrow();
            let wide = path.filter(|_| !grpc);
            let wide = wide.and_then(|path| self.folds_wide(protocol, [host, method], path));
            let key = match &wide {
                None => key,
                wide => {
                    let parts = [host, method, wide.as_deref()];
                    Key::new(&KeyRef { protocol, grpc, parts })
                }
            };
            self.add_row(key, sum);
        }
        self.rows.rest.merge(rest);
        // It names rows by number.
        self.cache = Cache::default();
    }

    /// A path with names that are data folded, where it has some.
    #[inline]
    fn folds_wide(
        &self,
        protocol: &'static str,
        scope: [Option<&[u8]>; 2],
        path: &[u8],
    ) -> Option<Vec<u8>> {
        if self.wide.is_empty() || self.routes.has(path) {
            return None;
        }
        self.wide.fold(protocol, scope, path)
    }

    fn add_row(&mut self, key: Key, sum: Sum) {
        let hash = self.rows.hash(key.borrow());
        match self.rows.find(hash, |known| known.is(&key.borrow())) {
            Some(row) => self.rows.value(row).merge(sum),
            None => {
                self.rows.insert_value(hash, key, sum);
            }
        }
    }

    /// The endpoint of a key with parts longer than are kept.
    #[cold]
    fn cut(&mut self, key: &KeyRef<'_>) -> RowId {
        let cut = key.parts.map(|part| {
            part.map(|part| {
                let mut text = Vec::new();
                push_bounded(part, &mut text);
                text
            })
        });
        let parts = [0, 1, 2].map(|index: usize| cut.get(index).and_then(|part| part.as_deref()));
        self.endpoint(&KeyRef { parts, ..*key })
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: Self) {
        let (rows, rest) = other.rows.into_rows();
        for (key, sum) in rows {
            self.add_row(key, sum);
        }
        self.rows.rest.merge(rest);
        self.wide.merge(other.wide);
    }

    /// The rows of the report, and what went past the limit. `axis` is where the
    /// few steps of each begin, how long they are and how many.
    pub fn finish(
        mut self,
        span_ns: Option<u64>,
        sort: Sort,
        axis: (i64, i64, usize),
    ) -> (Vec<Endpoint>, Stats) {
        // What one shard has found holds for the rows of all.
        self.widen();
        let (rows, rest) = self.rows.into_rows();
        let mut endpoints: Vec<_> = rows
            .map(|(key, Sum { stats, detail })| {
                let detail = detail.map(|detail| Box::new(detail.finish(axis, stats.octaves())));
                let [host, method, path] = key.borrow().parts.map(|part| part.map(text_of));
                let (host, service) = if key.grpc { (None, host) } else { (host, None) };
                let protocol = key.protocol.to_owned();
                let latencies = if self.compared { stats.latencies() } else { Vec::new() };
                let figures = stats.figures(span_ns);
                Endpoint { protocol, host, service, method, path, figures, detail, latencies }
            })
            .collect();
        endpoints.sort_by(|a, b| {
            let names = |e: &Endpoint| {
                (e.service.clone(), e.host.clone(), e.path.clone(), e.method.clone())
            };
            let by_figures = sort.place(&a.figures).cmp(&sort.place(&b.figures));
            by_figures.then_with(|| (names(a), &a.protocol).cmp(&(names(b), &b.protocol)))
        });
        (endpoints, rest.stats)
    }
}

/// Appends a name, cut where it is longer than any real one.
pub fn push_bounded(text: &[u8], out: &mut Vec<u8>) {
    match text.get(..NAME_BYTES) {
        Some(head) if text.len() > NAME_BYTES => {
            out.extend_from_slice(head);
            out.extend_from_slice("…".as_bytes());
        }
        _ => out.extend_from_slice(text),
    }
}
