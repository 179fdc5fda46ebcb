//! Header blocks seen before.
//!
//! Peers repeat themselves: most blocks are, byte for byte, like earlier ones
//! of the same or another connection. What a block says depends on nothing but
//! its bytes and the entries of the dynamic table that it refers to; what it
//! does to the table, on its bytes alone where it refers to none. So the
//! blocks that do one or the other are remembered with the entries that they
//! referred to, or inserted, and are not decoded again where those are the
//! same. This changes nothing but speed; each thread has its own.

use std::cell::RefCell;
use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use crate::analyze::decode::http2::block::Decoded;
use crate::analyze::decode::http2::hpack::Decoder;
use crate::analyze::decode::http2::hpack::table::{Lens, Table};
use crate::analyze::fields::Fields;
use crate::analyze::transaction::Message;

/// Sets of two blocks each that a thread remembers.
const SETS: usize = 256;
/// Longest block that is remembered, longest text of table entries with it,
/// and most memory of the fields that it says. With [`SETS`] they bound a
/// thread to less than 1.5 MB.
const BLOCK_BYTES: usize = 512;
const TEXT_BYTES: usize = 1024;
const HEAD_BYTES: usize = 1024;

thread_local! {
    /// None of them until the first is needed.
    static SEEN: RefCell<Memo> = const { RefCell::new(Memo { sets: Vec::new(), hasher: None }) };
}

struct Memo {
    sets: Vec<Set>,
    hasher: Option<RandomState>,
}

/// Blocks whose hashes share a place.
#[derive(Default)]
struct Set {
    /// Hash of the last block that was not remembered: one is kept when it
    /// comes again, so that a stream of ever new ones costs little.
    missed: u64,
    /// Which of the two goes next.
    oldest: usize,
    hashes: [u64; 2],
    known: [Option<Box<Known>>; 2],
}

/// A block that was decoded before.
struct Known {
    block: Box<[u8]>,
    /// Whether all fields were kept of it.
    keep_all: bool,
    /// Entries that it refers to, by dynamic index.
    refs: Box<[(u32, Lens)]>,
    /// Entries that it inserts, and their size; none where it refers to any.
    inserts: Box<[Lens]>,
    size: usize,
    /// Names and values of those entries.
    text: Box<[u8]>,
    decoded: Decoded,
}

/// What is asked for: how fields are kept, and how many bytes of them.
#[derive(Clone, Copy)]
pub struct Ask {
    /// All fields.
    pub keep_all: bool,
    /// See [`crate::analyze::limits::HEAD_BYTES`].
    pub room: usize,
}

/// Decodes a block that was seen before into `decoded`, of which nothing is
/// set but an empty list of fields; false where all is still to be done.
#[inline]
pub fn recall(decoder: &mut Decoder, block: &[u8], ask: Ask, decoded: &mut Decoded) -> bool {
    SEEN.with_borrow_mut(|memo| match memo.find(block) {
        Some(known) if known.again(&mut decoder.table, block, ask) => {
            known.say(decoded);
            true
        }
        _ => false,
    })
}

impl Memo {
    /// What may be the block.
    #[inline]
    fn find(&self, block: &[u8]) -> Option<&Known> {
        let hash = self.hasher.as_ref()?.hash_one(block);
        let set = self.sets.get(hash as usize % SETS)?;
        let at = set.hashes.iter().position(|known| *known == hash)?;
        set.known.get(at)?.as_deref()
    }
}

impl Known {
    /// Whether the block says the same again; then the table is as it leaves it.
    #[inline]
    fn again(&self, table: &mut Table, block: &[u8], ask: Ask) -> bool {
        if *self.block != *block || self.keep_all != ask.keep_all || self.decoded.cost > ask.room {
            return false;
        }
        if !self.inserts.is_empty() {
            return table.insert_all(&self.text, &self.inserts, self.size);
        }
        let mut rest = &*self.text;
        self.refs.iter().all(|(at, lens)| {
            let Some((text, after)) = rest.split_at_checked(lens.bytes()) else { return false };
            rest = after;
            table.known(*at as usize).is_some_and(|(known, its)| its == *lens && known == text)
        })
    }

    #[inline]
    fn say(&self, to: &mut Decoded) {
        let Decoded { message, pseudo, regular, count, cost, call, .. } = &self.decoded;
        to.message.head.copy_from(&message.head);
        to.message.method = message.method;
        to.message.scheme = message.scheme;
        to.message.authority = message.authority;
        to.message.path = message.path;
        to.message.status = message.status;
        (to.pseudo, to.regular, to.count) = (*pseudo, *regular, *count);
        (to.cost, to.call) = (*cost, *call);
    }
}

/// Remembers a block that was just decoded without a fault, where it comes
/// again and can be remembered.
#[inline(never)]
pub fn learn(decoder: &Decoder, block: &[u8], ask: Ask, decoded: &Decoded) {
    let trace = &decoder.trace;
    let mixed = trace.inserts > 0 && !trace.refs.is_empty();
    if block.len() > BLOCK_BYTES || trace.other || mixed {
        return;
    }
    SEEN.with_borrow_mut(|memo| {
        let hash = memo.hasher.get_or_insert_default().hash_one(block);
        if memo.sets.is_empty() {
            memo.sets.resize_with(SETS, Set::default);
        }
        let Some(set) = memo.sets.get_mut(hash as usize % SETS) else { return };
        if std::mem::replace(&mut set.missed, hash) != hash {
            return;
        }
        let Some(known) = Known::new(decoder, block, ask, decoded) else { return };
        // The same block may be known with other entries.
        let at = set.hashes.iter().position(|known| *known == hash);
        let oldest = set.oldest;
        let at = at.unwrap_or_else(|| {
            set.oldest = 1 - oldest;
            oldest
        });
        if let (Some(place), Some(slot)) = (set.hashes.get_mut(at), set.known.get_mut(at)) {
            (*place, *slot) = (hash, Some(Box::new(known)));
        }
    });
}

impl Known {
    fn new(decoder: &Decoder, block: &[u8], ask: Ask, decoded: &Decoded) -> Option<Self> {
        let Decoder { table, trace, .. } = decoder;
        let mut text = Vec::new();
        let mut refs = Vec::with_capacity(trace.refs.len());
        // A block that inserts nothing leaves the table as it was.
        for at in &trace.refs {
            let (known, lens) = table.known(*at as usize)?;
            text.extend_from_slice(known);
            refs.push((*at, lens));
        }
        let mut inserts = Vec::with_capacity(trace.inserts);
        for at in (0..trace.inserts).rev() {
            let (known, lens) = table.known(at)?;
            text.extend_from_slice(known);
            inserts.push(lens);
        }
        let small = text.len() <= TEXT_BYTES && decoded.message.head.memory() <= HEAD_BYTES;
        small.then(|| {
            let message = kept(&decoded.message, ask.keep_all);
            Self {
                block: block.into(),
                keep_all: ask.keep_all,
                refs: refs.into(),
                size: inserts.iter().map(|lens| lens.size()).sum(),
                inserts: inserts.into(),
                text: text.into(),
                decoded: Decoded { message, ..*decoded },
            }
        })
    }
}

/// A message as it is remembered: where all fields are kept, as lines if they can
/// be, since these are copied as one.
fn kept(message: &Message, keep_all: bool) -> Message {
    let mut head = Fields::default();
    let lines = keep_all.then(|| message.head.to_lines()).flatten();
    let Some(lines) = lines else {
        head.copy_from(&message.head);
        return Message { head, ..message.clone() };
    };
    let Message { method, scheme, authority, path, .. } = message;
    let [method, scheme, authority, path] = [method, scheme, authority, path]
        .map(|span| span.map(|span| head.store(message.head.text(span))));
    head.push_lines(&lines);
    Message { head, method, scheme, authority, path, ..message.clone() }
}
