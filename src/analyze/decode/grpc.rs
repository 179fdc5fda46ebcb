//! gRPC on top of HTTP transactions (stub of the contract).

use crate::analyze::decode::Direction;
use crate::analyze::transaction::{Message, Transaction};

/// Follows one gRPC call beside the HTTP stream that carries it.
#[derive(Debug, Default)]
pub struct Call {}

impl Call {
    /// A call where this request or response head says that it is one
    /// (content-type `application/grpc…`, or a `grpc-status` field).
    pub fn detect(_head: &Message) -> Option<Box<Self>> {
        None
    }

    /// Takes body bytes in order.
    pub fn data(&mut self, _direction: Direction, _data: &[u8]) {}

    /// That many body bytes are missing.
    pub fn gap(&mut self, _direction: Direction, _len: u64) {}

    /// Completes the transaction: sets its protocol, `grpc`, outcome.
    pub fn finish(self, _transaction: &mut Transaction) {}
}
