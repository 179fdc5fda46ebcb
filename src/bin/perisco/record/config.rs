//! What `perisco record` is told in three places: flags, `PERISCO_…`
//! variables, and a TOML file. The same names everywhere; flags beat variables,
//! variables the file.
//!
//! Variables and file become defaults of the flags, so that clap reads, checks
//! and explains all of them alike. Only `record` is told so: a variable
//! `PERISCO_OUTPUT` made for a recorder would let `analyze` overwrite the
//! recording.

mod file;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches, Parser};
use perisco::record::confine::Lookup;

use crate::Cli;

/// The command that is configured so.
const RECORD: &str = "record";

/// What variables begin with.
const PREFIX: &str = "PERISCO_";

/// Flags that are for one call: neither keys nor, but for the file's own name,
/// variables.
const CALL_ONLY: [&str; 3] = ["help", "config", "print-config"];

/// A setting from a file or a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Setting {
    /// The long flag's name.
    key: String,
    /// As on the command line; of a flag without value `true` or `false`.
    values: Vec<String>,
    /// Where it stands: `agent.toml:3`, `PERISCO_KEEP`.
    origin: String,
}

/// All settings in effect, by the long flag's name: the words, and where they
/// come from.
pub type InEffect = BTreeMap<String, (Vec<OsString>, String)>;

/// What the flags, variables and file came to.
#[derive(Clone, Debug, Default)]
pub struct Settled {
    /// All settings, the defaults among them.
    pub in_effect: InEffect,
    /// The file that was read, if one was.
    pub file: Option<PathBuf>,
}

/// Why it cannot be understood.
pub enum Problem {
    /// On the command line: in clap's own words.
    CommandLine(clap::Error),
    /// In a variable or the file.
    Settings(anyhow::Error),
}

/// Reads the command line, and for `record` the variables and the file.
pub fn parse() -> Result<Cli, Problem> {
    parse_with(None)
}

/// As [`parse`]; `lookup` reads the file, where this process may not.
pub fn parse_with(lookup: Option<&Lookup>) -> Result<Cli, Problem> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let variable = |name: &str| std::env::var_os(name);
    let text = |path: &Path| match lookup {
        Some(lookup) => lookup.config(),
        None => file::text(path),
    };
    read(&words, &variable, &text)
}

/// Reads the file of this name.
type Text<'a> = dyn Fn(&Path) -> io::Result<String> + 'a;

fn read(
    words: &[OsString],
    variable: &dyn Fn(&str) -> Option<OsString>,
    text: &Text<'_>,
) -> Result<Cli, Problem> {
    // What record takes; nothing is required yet, a file may have it.
    let relaxed = Cli::command().mut_subcommands(|command| match command.get_name() {
        RECORD => command.mut_args(|arg| arg.required(false)),
        _ => command,
    });
    let given = relaxed.clone().try_get_matches_from(words).map_err(Problem::CommandLine)?;
    let Some(flags) = given.subcommand_matches(RECORD) else {
        return Cli::try_parse_from(words).map_err(Problem::CommandLine);
    };
    let record = relaxed.find_subcommand(RECORD).cloned().unwrap_or_default();
    let file = config_file(flags, variable);
    let settings = settings(&record, file.as_deref(), variable, text)
        .and_then(|settings| kept(&record, flags, settings))
        .map_err(Problem::Settings)?;
    let layered = Cli::command().mut_subcommands(|command| match command.get_name() {
        RECORD => settings.iter().fold(command, with_default),
        _ => command,
    });
    let matches = layered.try_get_matches_from(words).map_err(Problem::CommandLine)?;
    let mut cli = Cli::from_arg_matches(&matches).map_err(Problem::CommandLine)?;
    if let crate::Command::Record(args) = &mut cli.command
        && let Some(found) = matches.subcommand_matches(RECORD)
    {
        args.settled = Settled { in_effect: in_effect(&record, found, &settings), file };
    }
    Ok(cli)
}

fn config_file(flags: &ArgMatches, variable: &dyn Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let named = flags.get_one::<PathBuf>("config").cloned();
    let variable = || variable("PERISCO_CONFIG").filter(|path| !path.is_empty());
    named.or_else(|| variable().map(PathBuf::from))
}

/// All that the variables and the file say, checked; variables first.
fn settings(
    record: &Command,
    file: Option<&Path>,
    variable: &dyn Fn(&str) -> Option<OsString>,
    text: &Text<'_>,
) -> anyhow::Result<Vec<Setting>> {
    let mut problems = Vec::new();
    let mut settings = variables(record, variable, &mut problems);
    if let Some(path) = file {
        let name = path.display().to_string();
        let text = text(path).with_context(|| name.clone())?;
        settings.extend(file::parse(record, &name, &text, &mut problems));
    }
    for setting in &settings {
        problems.extend(check(record, setting).err());
    }
    if problems.is_empty() { Ok(settings) } else { Err(anyhow!(problems.join("\nperisco: "))) }
}

/// The flags that can be set elsewhere, with their long names.
fn keys(record: &Command) -> impl Iterator<Item = (&Arg, &str)> {
    let long = |arg: &'_ Arg| arg.get_long().is_some_and(|name| !CALL_ONLY.contains(&name));
    let all = record.get_arguments().filter(move |arg| long(arg));
    all.map(|arg| (arg, arg.get_long().unwrap_or_default()))
}

fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue)
}

fn variables(
    record: &Command,
    variable: &dyn Fn(&str) -> Option<OsString>,
    problems: &mut Vec<String>,
) -> Vec<Setting> {
    let mut settings = Vec::new();
    for (arg, key) in keys(record) {
        let origin = format!("{PREFIX}{}", key.to_uppercase().replace('-', "_"));
        // A variable that is there, but empty, is how many tools unset one.
        let Some(value) = variable(&origin).filter(|value| !value.is_empty()) else { continue };
        let Some(value) = value.to_str() else {
            problems.push(format!("{origin}: not UTF-8"));
            continue;
        };
        // Kubernetes says so of a Service that is called `perisco`, unasked.
        if key == "port" && value.starts_with("tcp://") {
            continue;
        }
        let value = if is_switch(arg) { switch(value) } else { value };
        settings.push(Setting { key: key.to_owned(), values: vec![value.to_owned()], origin });
    }
    settings
}

/// What a switch may be called, as `true` or `false`; else as it is.
fn switch(value: &str) -> &str {
    match value.to_ascii_lowercase().as_str() {
        "1" | "yes" | "on" | "true" => "true",
        "0" | "no" | "off" | "false" => "false",
        _ => value,
    }
}

/// What clap says of it, with the place where it stands.
fn check(record: &Command, setting: &Setting) -> Result<(), String> {
    let Setting { key, values, origin } = setting;
    let arg = keys(record).find(|(_, name)| name == key);
    if arg.is_some_and(|(arg, _)| is_switch(arg)) {
        return match values.first().map(String::as_str) {
            Some("true" | "false") => Ok(()),
            _ => Err(format!("{origin}: {key} is true or false")),
        };
    }
    let words = values.iter().map(|value| format!("--{key}={value}"));
    let words = std::iter::once(RECORD.to_owned()).chain(words);
    match record.clone().try_get_matches_from(words) {
        Ok(_) => Ok(()),
        Err(error) => {
            let said = error.to_string();
            let said = said.strip_prefix("error: ").unwrap_or(&said);
            let end = said.find("\n\nFor more").or(said.find("\n\nUsage")).unwrap_or(said.len());
            let text = said[..end].split_whitespace().collect::<Vec<_>>().join(" ");
            Err(format!("{origin}: {key}: {}", without_flag(&text, key)))
        }
    }
}

/// `invalid value 'x' for '--keep <N>': …` without the flag: its key stands
/// before it.
fn without_flag(text: &str, key: &str) -> String {
    let flag = format!(" for '--{key}");
    match text.split_once(&flag).and_then(|(before, rest)| Some((before, rest.split_once('\'')?.1)))
    {
        Some((before, after)) => format!("{before}{after}"),
        None => text.to_owned(),
    }
}

/// Those that nothing with more say goes before: the same flag, or one that
/// cannot be together with it.
fn kept(
    record: &Command,
    flags: &ArgMatches,
    settings: Vec<Setting>,
) -> anyhow::Result<Vec<Setting>> {
    let given =
        |arg: &Arg| flags.value_source(arg.get_id().as_str()) == Some(ValueSource::CommandLine);
    let mut kept: Vec<Setting> = Vec::new();
    for setting in settings {
        let Some((arg, _)) = keys(record).find(|(_, name)| *name == setting.key) else { continue };
        let rivals: Vec<&Arg> = record
            .get_arguments()
            .filter(|other| excludes(record, arg, other) || excludes(record, other, arg))
            .collect();
        if given(arg) || rivals.iter().any(|rival| given(rival)) {
            continue;
        }
        if kept.iter().any(|other| other.key == setting.key) {
            continue;
        }
        let rival = kept.iter().find(|other| {
            let named = |rival: &&&Arg| rival.get_long() == Some(other.key.as_str());
            rivals.iter().any(|rival| named(&rival)) && other.values != ["false"]
        });
        match rival {
            None => kept.push(setting),
            Some(_) if setting.values == ["false"] => kept.push(setting),
            // A variable goes before the file.
            Some(rival)
                if rival.origin.starts_with(PREFIX) && !setting.origin.starts_with(PREFIX) => {}
            Some(rival) => anyhow::bail!(
                "{}: {} cannot be together with {} ({})",
                setting.origin,
                setting.key,
                rival.key,
                rival.origin
            ),
        }
    }
    Ok(kept)
}

fn excludes(record: &Command, one: &Arg, other: &Arg) -> bool {
    record.get_arg_conflicts_with(one).iter().any(|found| found.get_id() == other.get_id())
}

fn with_default(command: Command, setting: &Setting) -> Command {
    let id =
        keys(&command).find(|(_, name)| *name == setting.key).map(|(arg, _)| arg.get_id().clone());
    let Some(id) = id else { return command };
    let values = setting.values.clone();
    command.mut_arg(id, |arg| {
        // clap keeps borrowed defaults: some words for each reading of the settings.
        let values = values.into_iter().map(|value| &*Box::leak(value.into_boxed_str()));
        arg.required(false).default_values(values)
    })
}

fn in_effect(record: &Command, found: &ArgMatches, settings: &[Setting]) -> InEffect {
    let mut all = InEffect::new();
    for (arg, key) in keys(record) {
        let id = arg.get_id().as_str();
        let words: Vec<OsString> =
            found.get_raw(id).into_iter().flatten().map(ToOwned::to_owned).collect();
        let setting = settings.iter().find(|setting| setting.key == key);
        let origin = match (found.value_source(id), setting) {
            (Some(ValueSource::CommandLine), _) => "command line".to_owned(),
            (_, Some(setting)) => setting.origin.clone(),
            _ => "default".to_owned(),
        };
        all.insert(key.to_owned(), (words, origin));
    }
    all
}
