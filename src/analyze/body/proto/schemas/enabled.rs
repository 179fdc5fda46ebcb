//! With the feature `proto`: protox reads `.proto` files, prost-reflect holds what they say.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use prost_reflect::{DescriptorPool, MessageDescriptor, MethodDescriptor};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use super::super::{SchemaError, Sources};

/// Message definitions, loaded by [`Schemas::load`].
#[derive(Clone)]
pub struct Schemas {
    /// One for the `.proto` files and one for each descriptor set: they may hold
    /// other versions of the same file. The first that knows a name counts.
    pools: Vec<DescriptorPool>,
    /// Whether the user gave any.
    given: bool,
}

/// A message's definition.
#[derive(Clone, PartialEq, Eq)]
pub struct MessageType(pub(in super::super) MessageDescriptor);

// Names only: what prost-reflect derives has no end for a message that holds itself.
impl fmt::Debug for Schemas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.pools.iter().flat_map(|pool| pool.files().map(|f| f.name().to_owned()));
        f.debug_list().entries(files).finish()
    }
}

impl fmt::Debug for MessageType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MessageType").field(&self.name()).finish()
    }
}

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
        let given = !pools.is_empty();
        pools.extend(built_in());
        Ok(Self { pools, given })
    }

    /// What is built in: `google.rpc`'s status and details, `google.protobuf`'s well-known types.
    pub fn built_in() -> Self {
        Self { pools: built_in().into_iter().collect(), given: false }
    }

    /// Whether there are more than those that are built in.
    pub fn are_given(&self) -> bool {
        self.given
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
    let mut compiler = protox::Compiler::new(includes(sources)?).map_err(wrong)?;
    compiler.include_imports(true).open_files(&sources.protos).map_err(wrong)?;
    Ok(compiler.descriptor_pool())
}

/// Where files are looked for: where the user says, or here; and beside those
/// that are elsewhere, since who names a file need not name its folder too.
fn includes(sources: &Sources) -> Result<Vec<PathBuf>, SchemaError> {
    let mut includes = sources.proto_paths.clone();
    if includes.is_empty() {
        includes.push(PathBuf::from("."));
    }
    for file in &sources.protos {
        let within =
            |dir: &PathBuf| dir.join(file).exists() && file.is_relative() || file.starts_with(dir);
        if includes.iter().any(within) {
            continue;
        }
        let missing = |error| SchemaError::Proto(format!("{}: {error}", file.display()));
        std::fs::metadata(file).map_err(missing)?;
        includes.extend(file.parent().map(Path::to_owned));
    }
    Ok(includes)
}

fn decode(file: &Path) -> Result<DescriptorPool, SchemaError> {
    let wrong = |what: String| SchemaError::DescriptorSet { file: file.to_owned(), what };
    let bytes = std::fs::read(file).map_err(|error| wrong(error.to_string()))?;
    DescriptorPool::decode(&*bytes).map_err(|error| wrong(error.to_string()))
}

/// Compiled once, when it is asked for; a test holds that it compiles.
fn built_in() -> Option<DescriptorPool> {
    static POOL: OnceLock<Option<DescriptorPool>> = OnceLock::new();
    POOL.get_or_init(|| compile_built_in().ok()).clone()
}

fn compile_built_in() -> Result<DescriptorPool, protox::Error> {
    let mut resolver = ChainFileResolver::new();
    resolver.add(BuiltIn);
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file(BuiltIn::NAME)?;
    Ok(compiler.descriptor_pool())
}

/// The one file that is part of the program.
struct BuiltIn;

impl BuiltIn {
    const NAME: &str = "perisco/error_details.proto";
}

impl FileResolver for BuiltIn {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name != Self::NAME {
            return Err(protox::Error::file_not_found(name));
        }
        File::from_source(name, include_str!("error_details.proto"))
    }
}
