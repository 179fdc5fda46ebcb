//! HTTP/1 (stub).
use crate::analyze::decode::{Chunk, Decoder, Direction, Late, Probe, Protocol, Sink};
use crate::time::Timestamp;
/// HTTP/1.0 and HTTP/1.1.
pub const PROTOCOL: Protocol = Protocol { name: "http/1", probe, decoder };
fn probe(_bytes: &[u8], _late: bool) -> Probe {
    Probe::No
}
fn decoder(_late: Late) -> Box<dyn Decoder> {
    Box::new(Http1 {})
}
struct Http1 {}
impl Decoder for Http1 {
    fn push(&mut self, _direction: Direction, _chunk: Chunk<'_>, _out: &mut Sink<'_>) {}
    fn oldest_open(&self) -> Option<Timestamp> {
        None
    }
    fn memory(&self) -> usize {
        0
    }
}
