//! The ends of a connection as JSON.
//!
//! A connection has many transactions, and its addresses are dear to print: what
//! they came to is remembered. This changes nothing but speed; each thread has
//! its own.

use std::cell::RefCell;
use std::net::SocketAddr;

use crate::analyze::report::Item;
use crate::analyze::report::write::{push_address, push_u64};

/// Connections that a thread remembers; each takes some 250 bytes.
const SLOTS: usize = 256;

thread_local! {
    /// None of them until the first is needed.
    static SEEN: RefCell<Vec<Option<Ends>>> = const { RefCell::new(Vec::new()) };
}

struct Ends {
    client: SocketAddr,
    server: SocketAddr,
    connection: u64,
    json: Vec<u8>,
}

/// Appends client, server and connection: from the quote that ends the protocol
/// to the colon before the stream.
#[inline]
pub fn write(item: &Item<'_>, out: &mut Vec<u8>) {
    SEEN.with_borrow_mut(|seen| {
        let Some(place) = seen.get_mut(item.connection as usize % SLOTS) else {
            seen.resize_with(SLOTS, || None);
            return print(item, out);
        };
        match place {
            Some(ends) if ends.are_of(item) => out.extend_from_slice(&ends.json),
            place => remember(place, item, out),
        }
    });
}

#[inline(never)]
fn remember(place: &mut Option<Ends>, item: &Item<'_>, out: &mut Vec<u8>) {
    let begin = out.len();
    print(item, out);
    let mut json = place.take().map(|ends| ends.json).unwrap_or_default();
    json.clear();
    json.extend_from_slice(out.get(begin..).unwrap_or_default());
    let Item { client, server, connection, .. } = *item;
    *place = Some(Ends { client, server, connection, json });
}

fn print(item: &Item<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"\",\"client\":\"");
    push_address(out, item.client);
    out.extend_from_slice(b"\",\"server\":\"");
    push_address(out, item.server);
    out.extend_from_slice(b"\",\"connection\":");
    push_u64(out, item.connection);
    out.extend_from_slice(b",\"stream\":");
}

impl Ends {
    /// Numbers of connections are those of one run; a thread may see several.
    #[inline]
    fn are_of(&self, item: &Item<'_>) -> bool {
        self.connection == item.connection
            && self.client == item.client
            && self.server == item.server
    }
}
