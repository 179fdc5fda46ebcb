//! With feature `record`: compiles `bpf/` and writes the skeleton that
//! `src/record/skel.rs` includes. Without it: nothing, so that the analyzer
//! builds where there is neither clang nor libelf.

fn main() {
    #[cfg(feature = "record")]
    skeleton();
}

#[cfg(feature = "record")]
fn skeleton() {
    use std::{env, path::PathBuf};

    println!("cargo:rerun-if-changed=bpf");
    let out =
        PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("record.skel.rs");
    libbpf_cargo::SkeletonBuilder::new()
        .source("bpf/record.bpf.c")
        // -mcpu=v2: the jumps and atomics that every kernel from 5.10 accepts.
        .clang_args([
            "-I",
            "bpf",
            "-mcpu=v2",
            "-Wall",
            "-Wextra",
            "-Wno-unused-parameter",
            "-Werror",
        ])
        .build_and_generate(&out)
        .unwrap_or_else(|error| panic!("compiling bpf/record.bpf.c: {error:#}"));
}
