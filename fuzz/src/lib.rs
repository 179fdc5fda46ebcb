//! What the fuzz targets share.
//!
//! A target turns bytes into the input of one stage and checks what comes out
//! against what perisco promises: no byte made up, unknown never reported as
//! OK, every hole an exact gap, bounded memory.

pub mod bytes;
pub mod check;
pub mod flow;
pub mod run;
pub mod seeds;
pub mod steps;

use std::sync::OnceLock;

/// Whether broken promises fail a target too, and not only panics, hangs and
/// memory. CI looks for the latter only (`PERISCO_FUZZ_LENIENT`): what random
/// inputs bring to light about the former is found and mended at a desk.
pub fn strict() -> bool {
    static STRICT: OnceLock<bool> = OnceLock::new();
    *STRICT.get_or_init(|| std::env::var_os("PERISCO_FUZZ_LENIENT").is_none())
}
