//! How those who know names do: what fails is said once, and counted for others.
//!
//! Asks nobody for a name; that is the connections' and owners'.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::kube::{SourceStatus, Status};
use super::metrics::{Kind, Metric, Sample};
use super::naming::Source;

/// How long a source may fail before that is said: a server that is started
/// again, or a watch that breaks, is back by then.
const PATIENCE: Duration = Duration::from_secs(10);

/// What a user should know of a source of names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceNews {
    /// `kubelet logs`, `runtime`, `api pods` and so on.
    pub name: &'static str,
    /// What fails; None: it answers again.
    pub error: Option<String>,
}

/// A source that fails.
#[derive(Debug)]
struct Failure {
    since: Instant,
    told: bool,
}

/// Looks after them.
#[derive(Debug, Default)]
pub struct Sources {
    failing: HashMap<&'static str, Failure>,
}

impl Sources {
    /// Metrics, and what is to be said now.
    pub fn look(&mut self, source: &Source) -> (Vec<Metric>, Vec<SourceNews>) {
        let Some(status) = source.as_ref().and_then(|source| source.status()) else {
            return (Vec::new(), Vec::new());
        };
        let news = self.news(&status.sources, Instant::now());
        (metrics(&status), news)
    }

    fn news(&mut self, sources: &[SourceStatus], now: Instant) -> Vec<SourceNews> {
        let mut news = Vec::new();
        for SourceStatus { name, error, forbidden, .. } in sources {
            let Some(error) = error else {
                if self.failing.remove(name).is_some_and(|failure| failure.told) {
                    news.push(SourceNews { name, error: None });
                }
                continue;
            };
            let failure = self.failing.entry(name).or_insert(Failure { since: now, told: false });
            // What is forbidden is not allowed by waiting.
            let lasts = *forbidden || now.duration_since(failure.since) >= PATIENCE;
            if lasts && !failure.told {
                failure.told = true;
                news.push(SourceNews { name, error: Some(error.clone()) });
            }
        }
        news
    }
}

fn metrics(status: &Status) -> Vec<Metric> {
    let each = |value: fn(&SourceStatus) -> f64| -> Vec<Sample> {
        let sample = |of: &SourceStatus| Sample {
            labels: vec![("source", of.name.to_owned())],
            value: value(of),
        };
        status.sources.iter().map(sample).collect()
    };
    let gauge = |name, help, samples| Metric { name, kind: Kind::Gauge, help, samples };
    let plain = |name, help, value: usize| Metric::plain(name, Kind::Gauge, help, value as f64);
    vec![
        gauge(
            "perisco_names_source_fresh",
            "Whether what a source of names says is believed for new connections.",
            each(|of| f64::from(u8::from(of.fresh))),
        ),
        gauge(
            "perisco_names_source_forbidden",
            "Whether the Kubernetes API refuses a source of names (403).",
            each(|of| f64::from(u8::from(of.forbidden))),
        ),
        Metric {
            name: "perisco_names_source_news",
            kind: Kind::Counter,
            help: "Answers and events of a source of names.",
            samples: each(|of| of.news as f64),
        },
        plain("perisco_names_pods", "Pods that are known.", status.pods),
        plain("perisco_names_local_pods", "Pods of this node that are known.", status.local_pods),
        plain("perisco_names_services", "Services that are known.", status.services),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(error: Option<&str>, forbidden: bool) -> Vec<SourceStatus> {
        let error = error.map(str::to_owned);
        vec![SourceStatus { name: "api pods", error, forbidden, ..SourceStatus::default() }]
    }

    fn said(error: Option<&str>) -> Vec<SourceNews> {
        vec![SourceNews { name: "api pods", error: error.map(str::to_owned) }]
    }

    #[test]
    fn what_fails_for_long_is_said_once_and_its_end_too() {
        let mut sources = Sources::default();
        let start = Instant::now();
        let cut = source(Some("cut"), false);
        assert_eq!(sources.news(&cut, start), []);
        assert_eq!(sources.news(&source(None, false), start + PATIENCE / 2), [], "it was short");
        assert_eq!(sources.news(&cut, start + PATIENCE), []);
        assert_eq!(sources.news(&cut, start + 2 * PATIENCE), said(Some("cut")));
        assert_eq!(sources.news(&cut, start + 3 * PATIENCE), []);
        assert_eq!(sources.news(&source(None, false), start + 4 * PATIENCE), said(None));
    }

    #[test]
    fn what_is_forbidden_is_said_at_once() {
        let mut sources = Sources::default();
        let refused = source(Some("403 Forbidden"), true);
        assert_eq!(sources.news(&refused, Instant::now()), said(Some("403 Forbidden")));
        assert_eq!(sources.news(&refused, Instant::now()), []);
    }
}
