//! Writes the corpora to begin with: `seeds FOLDER [CAPTURE …]`.
//!
//! A target in form only, because the flags of the fuzzer's build want the
//! fuzzer's runtime in every program.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(init: perisco_fuzz::seeds::main(), |_input: &[u8]| ());
