//! protobuf bodies, with `.proto` files or by field numbers alone.

mod schemas;

use super::{Context, Rendered};
pub use schemas::{MessageType, Schemas};

use std::path::PathBuf;

/// Where message definitions come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    /// `.proto` files (`--proto`), found as they are or in one of `proto_paths`.
    pub protos: Vec<PathBuf>,
    /// Folders that imports are looked for in (`--proto-path`), in this order; without
    /// any, the working directory. `google/protobuf/*.proto` are built in.
    pub proto_paths: Vec<PathBuf>,
    /// Files that `protoc --descriptor_set_out` wrote, with `--include_imports`
    /// (`--descriptor-set`).
    pub descriptor_sets: Vec<PathBuf>,
}

impl Sources {
    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        self.protos.is_empty() && self.descriptor_sets.is_empty()
    }
}

/// Why message definitions cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// A `.proto` file that cannot be read or is wrong: file, line, column and what.
    #[error("{0}")]
    Proto(String),
    /// A descriptor set that cannot be read or is none.
    #[error("{}: {what}", .file.display())]
    DescriptorSet {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// This perisco was built without the feature `proto`.
    #[error(
        "this perisco was built without protobuf definitions: \
         build it with `cargo build --release --features proto`"
    )]
    NotBuilt,
}

/// The value of `grpc-status-details-bin` as lines: a `google.rpc.Status` with its details,
/// base64 with or without padding. `bytes` is the field's value.
pub fn status_details(value: &[u8], ctx: &Context<'_>) -> Rendered {
    super::render(value, None, ctx)
}

/// Writes a protobuf message.
pub fn print(bytes: &[u8], ctx: &Context<'_>, level: usize, lines: &mut super::lines::Lines) {
    super::hex::dump(bytes, 0, level, &ctx.limits, lines);
}
