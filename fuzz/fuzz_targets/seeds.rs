//! Writes the corpora to begin with: `seeds FOLDER [CAPTURE …]`.
//!
//! A target in form only, because the flags of the fuzzer's build want the
//! fuzzer's runtime in every program.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(
    init: {
        let mut args = std::env::args_os().skip(1);
        let folder = args.next().expect("usage: seeds FOLDER [CAPTURE …]");
        match perisco_fuzz::seeds::write(folder.as_ref(), args) {
            Ok(()) => std::process::exit(0),
            Err(error) => {
                eprintln!("seeds: {error}");
                std::process::exit(1);
            }
        }
    },
    |_input: &[u8]| ()
);
