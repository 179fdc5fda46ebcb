//! What the kernel says of a loaded program to whoever holds it open. To walk
//! over all programs (`bpf_prog_get_next_id`) takes CAP_SYS_ADMIN, which a
//! recorder need not have, and without it nothing is found and no error is told.

// libbpf-rs asks by number only.
#![allow(unsafe_code)]

use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use libbpf_rs::libbpf_sys;

/// A program that is open.
#[derive(Debug)]
pub(super) struct Held {
    program: OwnedFd,
    /// One of those that do another's work where that is left out (`_again` in
    /// bpf/socket.bpf.c), or have such.
    pub twin: bool,
}

impl Held {
    /// A handle of its own; None without file descriptors.
    pub fn new(program: impl AsFd, name: &str) -> Option<Self> {
        let program = program.as_fd().try_clone_to_owned().ok()?;
        Some(Self { program, twin: name.starts_with("message_") })
    }

    /// Runs that the kernel left out; 0 before Linux 5.12.
    pub fn missed_runs(&self) -> u64 {
        info(&self.program).map_or(0, |info| info.recursion_misses)
    }
}

/// Instructions that the verifier went through; None before Linux 5.16.
pub(super) fn verified(program: impl AsFd) -> Option<u32> {
    info(program).map(|info| info.verified_insns).filter(|&count| count > 0)
}

fn info(program: impl AsFd) -> Option<libbpf_sys::bpf_prog_info> {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut length = size_of::<libbpf_sys::bpf_prog_info>() as u32;
    let program = program.as_fd().as_raw_fd();
    // SAFETY: both pointers are to locals that outlive the call; `length` is the size of the first,
    // and zeros in it mean that no buffers are to be filled.
    let failed = unsafe { libbpf_sys::bpf_prog_get_info_by_fd(program, &mut info, &mut length) };
    (failed == 0).then_some(info)
}
