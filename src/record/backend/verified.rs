//! For `scripts/kernels`: how many instructions the verifier processed for each
//! program. The kernel tells since 5.16; its log does so on all.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// `BPF_LOG_STATS` of the kernel.
pub(super) const STATISTICS: u32 = 4;

static VERIFIED: Mutex<BTreeMap<String, u32>> = Mutex::new(BTreeMap::new());

/// Takes what libbpf says of a program that was loaded: `prog 'name': -- BEGIN
/// PROG LOAD LOG --` and the log, a line of which is `processed 123 insns …`.
pub(super) fn note(text: &str) {
    let name = text.strip_prefix("libbpf: ").unwrap_or(text).strip_prefix("prog '");
    let name = name.and_then(|rest| rest.split_once('\'')).map(|(name, _)| name);
    let count = text.lines().find_map(|line| line.strip_prefix("processed ")?.split(' ').next());
    if let (Some(name), Some(Ok(count))) = (name, count.map(str::parse)) {
        let mut verified = VERIFIED.lock().unwrap_or_else(PoisonError::into_inner);
        verified.insert(name.to_owned(), count);
    }
}

/// Instructions that the verifier processed, by program, of all loaded so far.
pub fn verified() -> BTreeMap<String, u32> {
    VERIFIED.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
