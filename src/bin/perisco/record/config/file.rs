//! The TOML file → settings, each with its line.

use std::io;
use std::path::Path;

use clap::{Arg, ArgAction, Command};
use perisco::analyze::filter::nearest;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Setting, is_switch, keys};

/// A file of settings is some hundred bytes. What is larger is another file.
const MAX_BYTES: u64 = 1 << 20;

/// Its text.
pub fn text(path: &Path) -> io::Result<String> {
    let size = path.metadata()?.len();
    if size > MAX_BYTES {
        return Err(io::Error::other(format!("too large for a configuration ({size} bytes)")));
    }
    std::fs::read_to_string(path)
}

/// Its settings; what is wrong with them is added to `problems`.
pub(super) fn parse(
    record: &Command,
    name: &str,
    text: &str,
    problems: &mut Vec<String>,
) -> Vec<Setting> {
    let place = |at: usize| {
        let before = text.as_bytes().iter().take(at);
        format!("{name}:{}", 1 + before.filter(|&&byte| byte == b'\n').count())
    };
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            let at = error.span().map_or_else(|| name.to_owned(), |span| place(span.start));
            problems.push(format!("{at}: {}", error.message()));
            return Vec::new();
        }
    };
    let mut settings = Vec::new();
    // In the order of the file, as its lines are told.
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let origin = place(key.span().start);
        let key: &str = key.get_ref();
        let Some((arg, _)) = keys(record).find(|(_, known)| *known == key) else {
            problems.push(format!("{origin}: {}", unknown(record, key)));
            continue;
        };
        match values(arg, value) {
            // An empty list is as if it were not there.
            Ok(values) if values.is_empty() => {}
            Ok(values) => settings.push(Setting { key: key.to_owned(), values, origin }),
            Err(why) => problems.push(format!("{origin}: {key} {why}")),
        }
    }
    settings
}

fn unknown(record: &Command, key: &str) -> String {
    let near = nearest(key, keys(record).map(|(_, known)| known));
    match near {
        Some(near) => format!("there is no setting {key:?}; did you mean `{near}`?"),
        None => {
            format!("there is no setting {key:?}; the keys are the long flags of `perisco record`")
        }
    }
}

/// The words that a value stands for on the command line.
fn values(arg: &Arg, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, &'static str> {
    match value.get_ref() {
        DeValue::Array(list) if matches!(arg.get_action(), ArgAction::Append) => {
            list.iter().map(|value| word(arg, value.get_ref())).collect()
        }
        DeValue::Array(_) => Err("takes one value"),
        value => word(arg, value).map(|word| vec![word]),
    }
}

fn word(arg: &Arg, value: &DeValue<'_>) -> Result<String, &'static str> {
    match value {
        DeValue::Boolean(value) if is_switch(arg) => Ok(value.to_string()),
        _ if is_switch(arg) => Err("is true or false"),
        DeValue::String(text) => Ok(text.clone().into_owned()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_owned()),
        _ => Err("takes text or a number"),
    }
}
