//! The capabilities of this process (capabilities(7)): told by name, dropped.
//!
//! All calls are about the calling thread; threads that it starts later
//! inherit what it has then.

use std::io;

use rustix::thread::{self, CapabilitySet, CapabilitySets};

/// Highest number of a capability that is tried: the kernel has 64 bits for them.
const LAST: u32 = 63;

/// `CAP_BPF, CAP_PERFMON`; `none` where there is none.
pub fn names(set: CapabilitySet) -> String {
    if set.is_empty() {
        return "none".to_owned();
    }
    let known = CapabilitySet::all();
    let mut names: Vec<String> = set.iter_names().map(|(name, _)| format!("CAP_{name}")).collect();
    if names.len() < set.bits().count_ones() as usize {
        let rest = (0..=LAST).filter(|bit| set.bits() >> bit & 1 == 1);
        let unknown = rest.filter(|bit| !known.iter_names().any(|(_, one)| one.bits() >> bit == 1));
        names.extend(unknown.map(|bit| format!("capability {bit}")));
    }
    names.join(", ")
}

/// What this thread has.
///
/// # Errors
///
/// None that is known (capget(2)).
pub fn current() -> io::Result<CapabilitySets> {
    Ok(thread::capabilities(None)?)
}

/// Makes `permitted` and `effective` what they say, and the inheritable and
/// ambient sets empty.
///
/// # Errors
///
/// More is asked for than is permitted.
pub fn set(permitted: CapabilitySet, effective: CapabilitySet) -> io::Result<()> {
    // Ambient capabilities end with the inheritable ones; said all the same, for seccomp filters
    // of others that know only one of the calls.
    let _ = thread::clear_ambient_capability_set();
    let sets = CapabilitySets { permitted, effective, inheritable: CapabilitySet::empty() };
    Ok(thread::set_capabilities(None, sets)?)
}

/// Empties the bounding set, for which CAP_SETPCAP must be effective. Returns
/// what is left of it. With no_new_privs that is nothing to be had either.
pub fn drop_bounding() -> CapabilitySet {
    let mut left = CapabilitySet::empty();
    for number in 0..=LAST {
        let one = CapabilitySet::from_bits_retain(1 << number);
        match thread::capability_is_in_bounding_set(one) {
            // The kernel knows no more.
            Err(_) => break,
            Ok(true) if thread::remove_capability_from_bounding_set(one).is_err() => left |= one,
            Ok(_) => {}
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_named_as_in_manuals() {
        assert_eq!(names(CapabilitySet::empty()), "none");
        assert_eq!(names(CapabilitySet::KILL), "CAP_KILL");
        let both = names(CapabilitySet::BPF | CapabilitySet::SYS_PTRACE);
        assert_eq!(both, "CAP_SYS_PTRACE, CAP_BPF");
        let new = CapabilitySet::KILL | CapabilitySet::from_bits_retain(1 << 50);
        assert_eq!(names(new), "CAP_KILL, capability 50");
    }
}
