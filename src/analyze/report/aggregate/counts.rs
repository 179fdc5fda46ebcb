//! Counts by name, of which there are few.

use std::collections::BTreeMap;

use super::stats::add;
use crate::analyze::report::model::Named;

/// Whether two names are equal: mostly they are one constant, and its address
/// says so at once.
#[inline]
pub fn same_name(a: &'static str, b: &'static str) -> bool {
    std::ptr::eq(a, b) || a == b
}

/// Counts a name, of which there are few.
#[inline]
pub fn count_name(counts: &mut Vec<(&'static str, u64)>, name: &'static str, times: u64) {
    match counts.iter_mut().find(|(known, _)| same_name(known, name)) {
        Some((_, count)) => *count += times,
        None => counts.push((name, times)),
    }
}

/// Counts one at this index.
pub fn bump<const N: usize>(counts: &mut [u64; N], index: usize) {
    if let Some(count) = counts.get_mut(index) {
        *count += 1;
    }
}

/// Counts with their names.
pub fn named<const N: usize>(names: [&'static str; N], counts: [u64; N]) -> Vec<Named> {
    names.into_iter().zip(counts).map(|(name, count)| Named::new(name, count)).collect()
}

/// Most frequent first, the same count by name; names that come twice are
/// added up.
pub fn ranked<S: Into<String>>(counts: impl IntoIterator<Item = (S, u64)>) -> Vec<Named> {
    let mut sums = BTreeMap::new();
    for (name, count) in counts {
        add(sums.entry(name.into()).or_default(), count);
    }
    let mut list: Vec<_> = sums.into_iter().map(|(name, count)| Named { name, count }).collect();
    // Stable: the same count stays in the order of names.
    list.sort_by_key(|named| std::cmp::Reverse(named.count));
    list
}
