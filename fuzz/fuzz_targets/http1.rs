//! The HTTP/1 decoder over any chunks, gaps and ends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perisco::analyze::decode::http1;

const PREFACE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

fuzz_target!(|input: &[u8]| perisco_fuzz::run::decoder(&http1::PROTOCOL, PREFACE, input));
