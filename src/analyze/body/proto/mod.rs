//! protobuf bodies, with `.proto` files or by field numbers alone.

mod printer;
mod schemas;
mod status;
#[cfg(test)]
mod tests;
#[cfg(feature = "proto")]
mod typed;
mod wire;

use std::path::PathBuf;

use super::Context;
use super::lines::Lines;
use printer::{Place, Printer};
pub use schemas::{MessageType, Schemas};
pub use status::status_details;

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

/// Writes a message, by its type if the context has one.
pub(super) fn print(bytes: &[u8], ctx: &Context<'_>, level: usize, lines: &mut Lines) {
    let place = Place { base: 0, level, depth: 0 };
    Printer { ctx, lines }.message(bytes, ctx.message.as_ref(), place);
}
