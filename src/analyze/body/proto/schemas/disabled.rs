//! Without the feature `proto`: none can be loaded.

use super::super::{SchemaError, Sources};

/// Message definitions: none.
#[derive(Clone, Debug)]
pub struct Schemas(());

/// A message's definition: there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MessageType {}

impl Schemas {
    /// Loads definitions.
    ///
    /// # Errors
    ///
    /// Always: [`SchemaError::NotBuilt`].
    pub fn load(_sources: &Sources) -> Result<Self, SchemaError> {
        Err(SchemaError::NotBuilt)
    }

    /// What is built in: nothing.
    pub fn built_in() -> Self {
        Self(())
    }

    /// Whether there are more than those that are built in: no.
    pub fn are_given(&self) -> bool {
        false
    }

    /// The type of requests of a gRPC path: not known.
    pub fn request(&self, _path: &str) -> Option<MessageType> {
        None
    }

    /// The type of responses of a gRPC path: not known.
    pub fn response(&self, _path: &str) -> Option<MessageType> {
        None
    }

    /// A type by its full name: not known.
    pub fn message(&self, _name: &str) -> Option<MessageType> {
        None
    }
}

impl MessageType {
    /// Its full name.
    pub fn name(&self) -> &str {
        match *self {}
    }
}
