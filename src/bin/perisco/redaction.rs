//! The flags of redaction, which `redact` and `record` share.

use clap::{Args as ClapArgs, ValueEnum};
use perisco::redact::rules::NAME_BYTES;
use perisco::redact::{Settings, Unparsed};

/// What is redacted (docs/redaction.md).
#[derive(ClapArgs)]
#[group(id = "redaction")]
pub struct RedactionArgs {
    /// Redact these header fields, too: Authorization, Cookie, Set-Cookie, API keys and their like
    /// are without being asked
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = name)]
    redact: Vec<String>,

    /// Redact these query parameters, too: access_token, api_key, password and their like are
    #[arg(long, value_name = "NAME", value_delimiter = ',', value_parser = name)]
    redact_query: Vec<String>,

    /// Redact no value
    #[arg(long, conflicts_with_all = ["redact", "redact_query"])]
    redact_none: bool,

    /// What cannot be read (unknown protocols, heads behind a gap) stays or leaves as a gap
    /// [default: keep with record, drop with redact]
    #[arg(long, value_enum, value_name = "WHAT")]
    unparsed: Option<UnparsedArg>,

    /// Bodies leave as gaps, heads stay
    #[arg(long)]
    headers_only: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum UnparsedArg {
    /// It stays
    Keep,
    /// It leaves: an exact gap
    Drop,
}

impl RedactionArgs {
    /// The library's settings; `unparsed` is the default.
    pub fn settings(&self, unparsed: Unparsed) -> Settings {
        Settings {
            headers: self.redact.clone(),
            parameters: self.redact_query.clone(),
            none: self.redact_none,
            unparsed: match self.unparsed {
                None => unparsed,
                Some(UnparsedArg::Keep) => Unparsed::Keep,
                Some(UnparsedArg::Drop) => Unparsed::Drop,
            },
            headers_only: self.headers_only,
        }
    }
}

/// A name as it is compared.
fn name(text: &str) -> Result<String, String> {
    let fine = |byte: u8| byte.is_ascii_graphic() && byte != b':';
    match text.len() {
        0 => Err("a name is missing".to_owned()),
        1..=NAME_BYTES if text.bytes().all(fine) => Ok(text.to_owned()),
        1..=NAME_BYTES => Err("not a name: only visible ASCII, without a colon".to_owned()),
        _ => Err(format!("longer than {NAME_BYTES} bytes, which are compared")),
    }
}
