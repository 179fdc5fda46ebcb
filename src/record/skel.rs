//! The generated skeleton of `bpf/record.bpf.c`: the only `include!` of
//! generated code. `build.rs` writes it; `backend` is all that uses it.

// Generated: names, docs and unsafe blocks are not ours to mend.
#![allow(clippy::all, clippy::pedantic, clippy::undocumented_unsafe_blocks)]
#![allow(
    missing_docs,
    unsafe_code,
    dead_code,
    unused_imports,
    non_camel_case_types,
    non_snake_case
)]

include!(concat!(env!("OUT_DIR"), "/record.skel.rs"));
