//! The ring buffer → [`Event`]s, in order. The kernel wakes the reader only
//! once for each 256 KB queued (`bpf/sock.h`), so whoever polls must come by
//! on a timer too: [`POLL_INTERVAL`].

// The callback of libbpf has no lifetime by which to lend it a closure.
#![allow(unsafe_code)]

use std::io;
use std::mem::transmute;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libbpf_rs::{AsRawLibbpf, MapCore, RingBuffer, RingBufferBuilder, libbpf_sys};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use super::backend::io_error;
use super::event::Event;

/// How often to look at the ring buffer when nothing wakes the reader: waking
/// for each event tripled the cost of recording, and nobody waits for 20 ms.
pub const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Events that one [`Ring::poll`] hands over at most, so that a caller that has
/// more to do (signals, the time) comes to it under any load.
const EVENTS_PER_POLL: usize = 65_536;

/// What each event is handed to.
pub type On<'on> = dyn FnMut(Event<'_>) + 'on;

/// The reader's side of the ring buffer.
pub struct Ring {
    ring: RingBuffer<'static>,
    wake: OwnedFd,
    sink: Arc<Mutex<Sink>>,
}

#[derive(Default)]
struct Sink {
    /// Set only while [`Ring::consume`] runs.
    on: Option<Lent>,
    events: usize,
    malformed: u64,
}

/// The closure of a caller that waits for [`Ring::consume`] to return.
struct Lent(&'static mut On<'static>);

// SAFETY: only used on the thread that lent it, within its call of `consume`;
// the mutex that holds it is there because libbpf-rs says RingBuffer is Send.
unsafe impl Send for Lent {}

impl Ring {
    /// Of the map `events`.
    ///
    /// # Errors
    ///
    /// The map can't be mapped or waited for.
    pub fn new(events: &dyn MapCore) -> io::Result<Self> {
        let sink = Arc::new(Mutex::new(Sink::default()));
        let to = Arc::clone(&sink);
        let mut builder = RingBufferBuilder::new();
        builder.add(events, move |bytes| take(&to, bytes)).map_err(|error| io_error(&error))?;
        let ring = builder.build().map_err(|error| io_error(&error))?;
        // Edge-triggered: a ring buffer with anything in it is readable, so that
        // waiting for that would never wait, and hand over events one by one.
        let wake = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
        epoll::add(&wake, events.as_fd(), epoll::EventData::new_u64(0), flags)?;
        Ok(Self { ring, wake, sink })
    }

    /// Waits until much is queued, `timeout` is over or a signal came, then
    /// hands over what is queued. Returns how many events that was.
    ///
    /// # Errors
    ///
    /// Waiting failed; the ring buffer is as it was.
    pub fn poll(&mut self, timeout: Duration, on: &mut On<'_>) -> io::Result<usize> {
        // Whole milliseconds: finer ones need epoll_pwait2 of Linux 5.11.
        let millis = timeout.as_millis().min(u128::from(u32::MAX)) as i64;
        let limit = Timespec { tv_sec: millis / 1000, tv_nsec: millis % 1000 * 1_000_000 };
        let mut woken = [epoll::Event {
            flags: epoll::EventFlags::empty(),
            data: epoll::EventData::new_u64(0),
        }];
        match epoll::wait(&self.wake, &mut woken, Some(&limit)) {
            Ok(_) | Err(Errno::INTR) => self.consume(on),
            Err(error) => Err(error.into()),
        }
    }

    /// Hands over what is queued now.
    ///
    /// # Errors
    ///
    /// libbpf refuses; not known to happen.
    pub fn consume(&mut self, on: &mut On<'_>) -> io::Result<usize> {
        // SAFETY: only the lifetime changes. The reference is taken back below,
        // before the borrow `on` ends; a panic of `on` can't pass the C frames
        // in between and ends the process, so there is no other way out.
        let lent = Lent(unsafe { transmute::<&mut On<'_>, &'static mut On<'static>>(on) });
        self.sink().on = Some(lent);
        let result = self.ring.consume_raw_n(EVENTS_PER_POLL);
        let mut sink = self.sink();
        sink.on = None;
        let events = std::mem::take(&mut sink.events);
        if result < 0 { Err(io::Error::from_raw_os_error(-result)) } else { Ok(events) }
    }

    /// Bytes that are in the ring now, heads of records included.
    pub fn used(&self) -> u64 {
        let all = self.ring.as_libbpf_object();
        // SAFETY: the ring buffer lives as long as `self.ring`, and `new` made
        // it of one map, which is its ring 0; null is looked for all the same.
        // The call reads the positions of both sides, as `consume` does.
        unsafe {
            let ring = libbpf_sys::ring_buffer__ring(all.as_ptr(), 0);
            if ring.is_null() { 0 } else { libbpf_sys::ring__avail_data_size(ring) as u64 }
        }
    }

    /// Records that did not fit the layout so far.
    pub fn malformed(&self) -> u64 {
        self.sink().malformed
    }

    fn sink(&self) -> std::sync::MutexGuard<'_, Sink> {
        self.sink.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take(sink: &Mutex<Sink>, bytes: &[u8]) -> i32 {
    let mut sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
    match Event::parse(bytes) {
        Ok(event) => {
            sink.events += 1;
            if let Some(Lent(on)) = &mut sink.on {
                on(event);
            }
        }
        Err(_) => sink.malformed += 1,
    }
    0
}
