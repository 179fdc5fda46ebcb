//! Kept body bytes to what a person reads.
//!
//! [`decode`] takes content codings off, [`render`] makes lines of what is
//! beneath, [`grpc::messages`] takes a gRPC body apart, and
//! [`proto::status_details`] shows `grpc-status-details-bin`. All are pure functions of their
//! arguments: nothing here knows files, packets or flows, but for
//! [`Schemas::load`], which reads `.proto` files.
//!
//! The bytes are hostile. Nothing here fails or panics for them: what could not be read
//! is said in the state or in a note, and shown in another way. Time and memory
//! are bounded by [`Limits`], lines hold no control characters.

mod coding;
pub mod grpc;
mod hex;
mod json;
mod lines;
mod multipart;
pub mod proto;
mod render;
mod text;

pub use coding::{Decoded, State, decode};
pub use proto::{MessageType, SchemaError, Schemas, Sources};
pub use render::{Context, Kind, Rendered, render};

/// Bytes that a body may have when its codings are off. Text that a person looks at
/// is smaller; what a bomb holds is not looked at.
pub const DECODED_BYTES: usize = 4 << 20;

/// Content codings of one body that are taken off. One is usual, two are a
/// mistake of a proxy, more multiply what a bomb costs.
pub const CODINGS: usize = 4;

/// Lines of one body. 20,000 are 400 screens.
pub const LINES: usize = 20_000;

/// Characters of one line, indentation not counted. Some hundred screen lines: tokens and
/// keys in a JSON string are far shorter, minified scripts are not read.
pub const COLUMNS: usize = 16_384;

/// Bytes that are shown as a hex dump: 256 lines.
pub const HEX_BYTES: usize = 4096;

/// Levels of JSON, and of messages within messages. protobuf's own parsers refuse
/// more than 100, serde_json more than 128.
pub const DEPTH: usize = 100;

/// Parts of a multipart body.
pub const PARTS: usize = 256;

/// How much of a body is decoded and shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes after each content coding ([`DECODED_BYTES`]).
    pub decoded: usize,
    /// Content codings taken off ([`CODINGS`]).
    pub codings: usize,
    /// Lines ([`LINES`]); one more says what is left out.
    pub lines: usize,
    /// Characters of a line without its indentation ([`COLUMNS`]).
    pub columns: usize,
    /// Bytes of a hex dump ([`HEX_BYTES`]).
    pub hex: usize,
    /// Levels of JSON and protobuf ([`DEPTH`]).
    pub depth: usize,
    /// Parts of a multipart body ([`PARTS`]).
    pub parts: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            decoded: DECODED_BYTES,
            codings: CODINGS,
            lines: LINES,
            columns: COLUMNS,
            hex: HEX_BYTES,
            depth: DEPTH,
            parts: PARTS,
        }
    }
}
