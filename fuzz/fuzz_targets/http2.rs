//! The HTTP/2 decoder over any chunks, gaps and ends.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perisco::analyze::decode::http2;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fuzz_target!(|input: &[u8]| perisco_fuzz::run::decoder(&http2::PROTOCOL, PREFACE, input));
