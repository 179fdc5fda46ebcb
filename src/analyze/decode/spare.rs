//! Decoders that have done their work, to be used again for another
//! connection: where connections are short, making them anew is much of what
//! they cost, and what one thread allocates another would free.

use crate::analyze::decode::{Decoder, Late};

/// The kind of decoder that a connection begins with.
pub const FIRST: &str = "first";

/// Decoders kept of each kind: more than a shard frees or needs in a round.
const KEPT: usize = 64;

/// Decoders kept, by the name of their kind ([`Decoder::kind`]).
#[derive(Default)]
pub struct Spares {
    kinds: Vec<(&'static str, Vec<Box<dyn Decoder>>)>,
}

impl std::fmt::Debug for Spares {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.kinds.iter().map(|(kind, kept)| (kind, kept.len()))).finish()
    }
}

impl Spares {
    /// Keeps a decoder, if it can be used again, as one that has seen nothing.
    pub fn keep(&mut self, mut decoder: Box<dyn Decoder>) {
        let Some(kind) = decoder.kind() else { return };
        let at = self.kinds.iter().position(|(known, _)| *known == kind);
        let at = at.unwrap_or_else(|| {
            self.kinds.push((kind, Vec::new()));
            self.kinds.len() - 1
        });
        if let Some((_, kept)) = self.kinds.get_mut(at)
            && kept.len() < KEPT
        {
            decoder.renew(Late::default());
            kept.push(decoder);
        }
    }

    /// A decoder of a kind, as if it were new.
    pub fn take(&mut self, kind: &'static str, late: Late) -> Option<Box<dyn Decoder>> {
        let (_, kept) = self.kinds.iter_mut().find(|(known, _)| *known == kind)?;
        let mut decoder = kept.pop()?;
        if late.any() {
            decoder.renew(late);
        }
        Some(decoder)
    }
}
