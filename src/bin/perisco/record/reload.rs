//! SIGHUP: the settings are read again, and what can change while recording
//! changes. Every difference is one line on standard error, whatever becomes
//! of it.

use std::ffi::OsString;
use std::sync::Arc;

use perisco::record::change::Change;
use perisco::record::confine::Lookup;

use super::Args;
use super::config::{self, InEffect, Problem};

/// Names for what is recorded that are looked up again and again: one filter
/// in the kernel for all of them.
const TARGETS: [&str; 5] = ["cgroup", "container", "pod", "namespace", "label"];

/// Filters whose members are in maps of their own.
const SETS: [&str; 6] = ["pid", "comm", "exe", "uid", "net", "netns"];

/// What comes of one difference.
enum Fate {
    /// It holds at once.
    Now,
    /// It holds for connections whose process is asked for from now on.
    Later,
    /// It needs a restart, for this reason.
    Restart(&'static str),
}

/// The settings in effect while recording.
pub struct Settings {
    in_effect: InEffect,
    /// Where they are told.
    pub quiet: bool,
    /// Reads the file, where this process may not.
    lookup: Option<Arc<Lookup>>,
}

impl Settings {
    /// As the recording began.
    pub fn new(args: &Args, lookup: Option<Arc<Lookup>>) -> Self {
        Self { in_effect: args.settled.in_effect.clone(), quiet: args.quiet, lookup }
    }

    /// Reads all settings again; what is to change, if anything is. What is
    /// wrong is said, and then nothing changes.
    pub fn again(&mut self) -> Option<Change> {
        match self.read() {
            Ok(change) => change,
            Err(why) => {
                eprintln!("perisco: nothing is changed: {why}");
                None
            }
        }
    }

    fn read(&mut self) -> Result<Option<Change>, String> {
        let cli = config::parse_with(self.lookup.as_deref()).map_err(|problem| match problem {
            Problem::CommandLine(error) => error.to_string(),
            Problem::Settings(error) => crate::told(&error),
        })?;
        let crate::Command::Record(args) = cli.command else { return Ok(None) };
        // All of it must be possible, not only what differs.
        args.options().map_err(|error| crate::told(&error))?;
        let new = &args.settled.in_effect;
        let mut taken = Vec::new();
        let mut differs = false;
        for (key, (words, _)) in new {
            let old = self.in_effect.get(key).map_or(&[][..], |(words, _)| words);
            if old == words {
                continue;
            }
            differs = true;
            let line = format!("{key}: {} -> {}", shown(old), shown(words));
            match self.fate(key, new) {
                Fate::Now => eprintln!("perisco: {line}"),
                Fate::Later => eprintln!("perisco: {line}, for connections from now on"),
                Fate::Restart(why) => {
                    eprintln!("perisco: {line} needs a restart: {why}");
                    continue;
                }
            }
            taken.push(key.clone());
        }
        if !differs {
            eprintln!("perisco: the settings are what they were");
        }
        let change = args.change(|key| taken.iter().any(|taken| taken == key));
        let change = change.map_err(|error| crate::told(&error))?;
        for key in taken {
            if key == "quiet" {
                self.quiet = args.quiet;
            }
            self.in_effect.insert(key.clone(), new[&key].clone());
        }
        Ok(Some(change))
    }

    fn fate(&self, key: &str, new: &InEffect) -> Fate {
        let there = |settings: &InEffect, key: &str| {
            settings.get(key).is_some_and(|(words, _)| !words.is_empty())
        };
        let both = |keys: &[&str]| {
            [&self.in_effect, new].iter().all(|all| keys.iter().any(|key| there(all, key)))
        };
        const OFF: &str = "whether the filter is used is fixed while recording";
        match key {
            "quiet" | "duration" => Fate::Now,
            "net" | "netns" if both(&[key]) => Fate::Now,
            key if SETS.contains(&key) && both(&[key]) => Fate::Later,
            key if TARGETS.contains(&key) && both(&TARGETS) => Fate::Later,
            key if SETS.contains(&key) || TARGETS.contains(&key) => Fate::Restart(OFF),
            "port" | "role" => Fate::Restart("it is part of the loaded programs"),
            _ => Fate::Restart("it is fixed while recording"),
        }
    }
}

fn shown(words: &[OsString]) -> String {
    let all: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(",") }
}
