//! What libbpf and the kernel's verifier say: kept for `--verbose`, shown to
//! nobody otherwise ([`super::refusal`] says it in words).

use std::sync::{Mutex, Once, PoisonError};

use libbpf_rs::{PrintLevel, set_print};

/// Bytes kept: the end of a verifier's log, where the reason stands.
const KEEP: usize = 64 << 10;

static LOG: Mutex<String> = Mutex::new(String::new());

/// From now on libbpf writes to [`taken`], not to standard error.
pub(super) fn collect() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let level =
            if cfg!(feature = "record-events") { PrintLevel::Debug } else { PrintLevel::Info };
        set_print(Some((level, keep)));
    });
}

fn keep(level: PrintLevel, text: String) {
    if level == PrintLevel::Debug {
        #[cfg(feature = "record-events")]
        super::verified::note(&text);
        return;
    }
    let mut log = LOG.lock().unwrap_or_else(PoisonError::into_inner);
    log.push_str(&text);
    if log.len() > KEEP {
        let cut = log.ceil_char_boundary(log.len() - KEEP);
        log.drain(..cut);
    }
}

/// What was said since the last call.
pub(super) fn taken() -> String {
    std::mem::take(&mut *LOG.lock().unwrap_or_else(PoisonError::into_inner))
}
