//! With the feature `proto`: protox reads `.proto` files, prost-reflect holds what they say.

use std::path::Path;

use prost_reflect::{DescriptorPool, MessageDescriptor, MethodDescriptor};

use super::super::{SchemaError, Sources};

/// Message definitions, loaded by [`Schemas::load`].
#[derive(Clone, Debug)]
pub struct Schemas {
    /// One for the `.proto` files and one for each descriptor set: they may hold
    /// other versions of the same file. The first that knows a name counts.
    pools: Vec<DescriptorPool>,
}

/// A message's definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageType(pub(in super::super) MessageDescriptor);

impl Schemas {
    /// Loads definitions.
    ///
    /// # Errors
    ///
    /// [`SchemaError`] for the first file that cannot be read or is wrong.
    pub fn load(sources: &Sources) -> Result<Self, SchemaError> {
        let mut pools = Vec::new();
        if !sources.protos.is_empty() {
            pools.push(compile(sources)?);
        }
        for file in &sources.descriptor_sets {
            pools.push(decode(file)?);
        }
        Ok(Self { pools })
    }

    /// What is built in.
    pub fn built_in() -> Self {
        Self { pools: Vec::new() }
    }

    /// The type of requests of a gRPC path, `/package.Service/Method`.
    pub fn request(&self, path: &str) -> Option<MessageType> {
        self.method(path).map(|method| MessageType(method.input()))
    }

    /// The type of its responses.
    pub fn response(&self, path: &str) -> Option<MessageType> {
        self.method(path).map(|method| MessageType(method.output()))
    }

    /// A type by its full name, `package.Message`.
    pub fn message(&self, name: &str) -> Option<MessageType> {
        self.pools.iter().find_map(|pool| pool.get_message_by_name(name)).map(MessageType)
    }

    fn method(&self, path: &str) -> Option<MethodDescriptor> {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let (service, method) = path.strip_prefix('/')?.rsplit_once('/')?;
        let found = self.pools.iter().find_map(|pool| pool.get_service_by_name(service))?;
        found.methods().find(|known| known.name() == method)
    }
}

impl MessageType {
    /// Its full name, `package.Message`.
    pub fn name(&self) -> &str {
        self.0.full_name()
    }
}

fn compile(sources: &Sources) -> Result<DescriptorPool, SchemaError> {
    // The debug form says file, line and column, the other one does not.
    let wrong = |error: protox::Error| SchemaError::Proto(format!("{error:?}"));
    let here = [Path::new(".").to_owned()];
    let includes: &[_] = if sources.proto_paths.is_empty() { &here } else { &sources.proto_paths };
    let mut compiler = protox::Compiler::new(includes).map_err(wrong)?;
    compiler.include_imports(true).open_files(&sources.protos).map_err(wrong)?;
    Ok(compiler.descriptor_pool())
}

fn decode(file: &Path) -> Result<DescriptorPool, SchemaError> {
    let wrong = |what: String| SchemaError::DescriptorSet { file: file.to_owned(), what };
    let bytes = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
    DescriptorPool::decode(&*bytes).map_err(|error| wrong(error.to_string()))
}
