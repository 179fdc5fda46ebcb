//! HTTP/2 (stub).
use crate::analyze::decode::{Chunk, Decoder, Direction, Late, Probe, Protocol, Sink};
use crate::analyze::transaction::Message;
use crate::time::Timestamp;
/// HTTP/2 in cleartext.
pub const PROTOCOL: Protocol = Protocol { name: "http/2", probe, decoder };
fn probe(_bytes: &[u8], _late: bool) -> Probe {
    Probe::No
}
fn decoder(_late: Late) -> Box<dyn Decoder> {
    Box::new(Http2 {})
}
/// A decoder for a connection that HTTP/1.1 upgraded to h2c (RFC 7540
/// section 3.2): `request` becomes stream 1, half-closed by the client;
/// `settings` is the value of HTTP2-Settings (base64url).
pub fn upgraded(_request: Message, _settings: Option<&[u8]>, late: Late) -> Box<dyn Decoder> {
    decoder(late)
}
struct Http2 {}
impl Decoder for Http2 {
    fn push(&mut self, _direction: Direction, _chunk: Chunk<'_>, _out: &mut Sink<'_>) {}
    fn oldest_open(&self) -> Option<Timestamp> {
        None
    }
    fn memory(&self) -> usize {
        0
    }
}
mod hpack;
