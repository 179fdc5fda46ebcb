//! Message definitions by name and by gRPC method.
//!
//! `enabled` and `disabled` have the same functions, by the feature `proto`.

#[cfg(not(feature = "proto"))]
mod disabled;
#[cfg(feature = "proto")]
mod enabled;

#[cfg(not(feature = "proto"))]
pub use disabled::{MessageType, Schemas};
#[cfg(feature = "proto")]
pub use enabled::{MessageType, Schemas};
