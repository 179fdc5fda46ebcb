//! The open streams of a connection, by id and in the order of opening.
//!
//! A stream is large: it stays where it was opened, and its place is used
//! again. The one found last is at hand, as frames of one stream often come
//! in a row.

use std::collections::{HashMap, VecDeque};

use foldhash::fast::RandomState;

use crate::analyze::decode::http2::stream::Stream;

/// Places that are kept when no stream is open: as many as servers commonly
/// allow at once.
const KEPT: usize = 128;

/// Streams by id.
#[derive(Debug, Default)]
pub struct Streams {
    index: HashMap<u32, u32, RandomState>,
    places: Vec<Stream>,
    free: Vec<u32>,
    /// Id and place of the one found last.
    last: Option<(u32, u32)>,
    /// Ids in the order of opening, some of them closed by now.
    order: VecDeque<u32>,
}

impl Streams {
    /// Where a stream is.
    #[inline]
    fn find(&mut self, id: u32) -> Option<u32> {
        match self.last {
            Some((last, place)) if last == id => Some(place),
            _ => {
                let place = *self.index.get(&id)?;
                self.last = Some((id, place));
                Some(place)
            }
        }
    }

    /// An open stream.
    #[inline]
    pub fn get(&mut self, id: u32) -> Option<&mut Stream> {
        let place = self.find(id)?;
        self.places.get_mut(place as usize)
    }

    /// Whether a stream is open.
    pub fn contains(&self, id: u32) -> bool {
        self.index.contains_key(&id)
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Opens a stream of an id that no open one has.
    pub fn open(&mut self, stream: Stream) {
        if self.index.is_empty() && self.places.len() > KEPT {
            (self.places, self.free) = Default::default();
        }
        let id = stream.id;
        let place = self.free.pop().unwrap_or(self.places.len() as u32);
        match self.places.get_mut(place as usize) {
            Some(old) => *old = stream,
            None => self.places.push(stream),
        }
        self.index.insert(id, place);
        self.last = Some((id, place));
        self.order.push_back(id);
        if self.order.len() > 2 * self.index.len() + 64 {
            self.order.retain(|id| self.index.contains_key(id));
        }
    }

    /// Closes a stream; what is taken from it until the next one is opened is
    /// all that is left of it.
    #[inline]
    pub fn close(&mut self, id: u32) -> Option<&mut Stream> {
        let place = self.index.remove(&id)?;
        self.last = None;
        self.free.push(place);
        self.places.get_mut(place as usize)
    }

    /// Takes an id off the front of those in the order of opening: it may be
    /// closed by now.
    pub fn pop_oldest(&mut self) -> Option<u32> {
        self.order.pop_front()
    }

    /// Ids of all that are open and that `is` says, ascending.
    pub fn ids(&self, is: impl Fn(&Stream) -> bool) -> Vec<u32> {
        let mut ids: Vec<u32> = self.values().filter(|stream| is(stream)).map(|s| s.id).collect();
        ids.sort_unstable();
        ids
    }

    /// All that are open, in no order.
    pub fn values(&self) -> impl Iterator<Item = &Stream> {
        self.index.values().filter_map(|place| self.places.get(*place as usize))
    }

    /// Changes all that are open, in no order.
    pub fn each(&mut self, mut change: impl FnMut(&mut Stream)) {
        for place in self.index.values() {
            if let Some(stream) = self.places.get_mut(*place as usize) {
                change(stream);
            }
        }
    }

    /// Bytes of memory held besides that of the open streams.
    pub fn memory(&self) -> usize {
        let unused = self.places.capacity() - self.index.len();
        unused * size_of::<Stream>() + self.order.capacity() * size_of::<u32>()
    }
}
