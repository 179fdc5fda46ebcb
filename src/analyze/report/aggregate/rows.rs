//! A hash table of rows with a limit, past which everything is added to one
//! row for the rest.

use std::hash::{BuildHasher, Hash};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

/// Number of a row: of one in the table, or of the one for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowId(u32);

/// The row past the limit.
const REST: RowId = RowId(u32::MAX);

struct Row<K, V> {
    hash: u64,
    key: K,
    value: V,
}

/// Rows by key, in the order in which they were first seen.
pub struct Rows<K, V> {
    index: HashTable<u32>,
    rows: Vec<Row<K, V>>,
    hasher: RandomState,
    limit: usize,
    /// What was added past the limit.
    pub rest: V,
}

impl<K, V: Default> Rows<K, V> {
    /// No rows yet, and at most `limit`.
    pub fn new(limit: usize) -> Self {
        Self {
            index: HashTable::new(),
            rows: Vec::new(),
            hasher: RandomState::default(),
            limit,
            rest: V::default(),
        }
    }

    /// The hash that goes with a key, owned or borrowed.
    pub fn hash(&self, key: impl Hash) -> u64 {
        self.hasher.hash_one(key)
    }

    /// The row whose key has this hash and is accepted by `is`.
    pub fn find(&self, hash: u64, is: impl Fn(&K) -> bool) -> Option<RowId> {
        let row = |id: &u32| self.rows.get(*id as usize);
        self.index.find(hash, |id| row(id).is_some_and(|row| is(&row.key))).copied().map(RowId)
    }

    /// A new row for a key that is not in the table, unless that is full.
    pub fn insert(&mut self, hash: u64, key: K) -> RowId {
        if self.rows.len() >= self.limit {
            return REST;
        }
        self.insert_value(hash, key, V::default())
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// A new row, full or not: merging is bounded by what is merged.
    pub fn insert_value(&mut self, hash: u64, key: K, value: V) -> RowId {
        let id = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
        self.rows.push(Row { hash, key, value });
        let rows = &self.rows;
        let hash_of = |id: &u32| rows.get(*id as usize).map_or(0, |row| row.hash);
        self.index.insert_unique(hash, id, hash_of);
        RowId(id)
    }

    /// The value of a row.
    #[inline]
    pub fn value(&mut self, id: RowId) -> &mut V {
        match self.rows.get_mut(id.0 as usize) {
            Some(row) => &mut row.value,
            None => &mut self.rest,
        }
    }

    /// All values, that of the rest among them.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.rows.iter().map(|row| &row.value).chain([&self.rest])
    }

    /// All rows but the rest.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.iter().map(|row| (&row.key, &row.value))
    }

    /// All rows and the rest.
    pub fn into_rows(self) -> (impl Iterator<Item = (K, V)>, V) {
        (self.rows.into_iter().map(|row| (row.key, row.value)), self.rest)
    }
}
