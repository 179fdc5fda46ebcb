//! Segments of one connection in any order, with copies, overlaps and holes:
//! what is delivered must be the bytes sent, and every hole an exact gap.
//!
//! Input: limits and sequence numbers, then eight bytes a segment.
#![no_main]

use libfuzzer_sys::fuzz_target;
use perisco_fuzz::flow;

fuzz_target!(|input: &[u8]| flow::run(input));
