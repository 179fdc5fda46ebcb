//! A comparison as data: what `json` prints and `text` renders.
//!
//! Names are stable within a [`SCHEMA`]; new ones may be added. Units are those of
//! reports: nanoseconds, shares between 0 and 1, rates per second. What is not known is
//! null, never zero.

use serde::Serialize;

use crate::analyze::report::model::{
    Capture, Edge, EdgeFigures, Figures, Filtered, Input, Loss, Report,
};

/// Version of the layout; raised when a name changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// What differs between two reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diff {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Share of the changes called significant that is expected to be chance, at most.
    pub level: f64,
    /// What to know before any of it is believed.
    pub caveats: Vec<Caveat>,
    /// What is compared with.
    pub before: Side,
    /// What is compared.
    pub after: Side,
    /// Thresholds that were asked for.
    pub rules: Vec<Ruling>,
    /// How many endpoints came out how; all verdicts are listed.
    pub counts: Counts,
    /// By endpoint, the largest significant worsening first unless asked for another order.
    pub endpoints: Vec<EndpointChange>,
    /// Who talks to whom.
    pub edges: EdgeChanges,
}

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Which {
    /// What is compared with.
    Before,
    /// What is compared.
    After,
}

/// Why a difference may be none of what was captured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Caveat {
    /// Which side it is about.
    pub side: Which,
    /// What it is, in words.
    pub text: String,
}

/// One side as it was read.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    /// Inputs in the order given.
    pub inputs: Vec<Input>,
    /// Whether a signal ended the run before the input did.
    pub interrupted: bool,
    /// What was read.
    pub capture: Capture,
    /// What is missing, by all that is known.
    pub loss: Loss,
    /// Which transactions are compared; null where all are.
    pub filter: Option<Filtered>,
    /// All transactions together.
    pub transactions: Figures,
    /// Transactions of endpoints past the limit on endpoints: compared with nothing.
    pub endpoints_other: Option<Figures>,
    /// What pairs past the limit on pairs added up to.
    pub edges_other: Option<EdgeFigures>,
}

impl Side {
    /// Of a report.
    pub fn of(report: &Report) -> Self {
        Self {
            inputs: report.inputs.clone(),
            interrupted: report.interrupted,
            capture: report.capture.clone(),
            loss: report.loss.clone(),
            filter: report.filter.clone(),
            transactions: report.transactions.figures.clone(),
            endpoints_other: report.endpoints_other.clone(),
            edges_other: report.edges_other.clone(),
        }
    }

    /// Whether all of it was read and nothing is known to be missing.
    pub fn is_whole(&self) -> bool {
        self.loss.none_known && !self.interrupted
    }
}

/// How many endpoints came out how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Significantly worse in something, and better in nothing.
    pub worse: u64,
    /// Worse in something, better in something else.
    pub mixed: u64,
    /// Better in something, worse in nothing.
    pub better: u64,
    /// Nothing but the rate differs.
    pub rate: u64,
    /// Nothing differs significantly.
    pub not_significant: u64,
    /// Too little to say.
    pub not_enough: u64,
    /// Only seen afterwards.
    pub new: u64,
    /// Only seen before.
    pub vanished: u64,
}

/// What became of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Worse in something, better in nothing.
    Worse,
    /// Worse in something, better in something else.
    Mixed,
    /// Only seen afterwards.
    New,
    /// Only seen before.
    Vanished,
    /// Better in something, worse in nothing.
    Better,
    /// Nothing but the rate differs.
    Rate,
    /// Too little to say.
    NotEnough,
    /// Nothing differs significantly.
    NotSignificant,
}

/// Who it is: as in reports.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct EndpointName {
    /// "http/1.1", "http/1.0", "http/2", "grpc".
    pub protocol: String,
    /// Authority or Host, in lower case; null for gRPC and where not seen.
    pub host: Option<String>,
    /// gRPC service.
    pub service: Option<String>,
    /// HTTP method, or gRPC method.
    pub method: Option<String>,
    /// Path without query, variable parts folded; null for gRPC.
    pub path: Option<String>,
}

/// An endpoint on both sides.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EndpointChange {
    /// Who it is.
    #[serde(flatten)]
    pub name: EndpointName,
    /// What became of it.
    pub outcome: Outcome,
    /// Its figures before; null where it was not seen.
    pub before: Option<Figures>,
    /// Its figures afterwards; null where it was not seen.
    pub after: Option<Figures>,
    /// Transactions per second.
    pub rate: Change,
    /// Failed transactions among those whose outcome is known.
    pub error_rate: Change,
    /// Median latency in nanoseconds.
    pub p50: Change,
    /// 90th percentile.
    pub p90: Change,
    /// 99th percentile.
    pub p99: Change,
}

impl EndpointChange {
    /// What it did, the rate excepted: that is what clients did.
    pub fn behaviour(&self) -> [&Change; 4] {
        [&self.error_rate, &self.p50, &self.p90, &self.p99]
    }
}

/// A figure on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Change {
    /// What it was; null where it was not seen.
    pub before: Option<f64>,
    /// What it is; null where it was not seen.
    pub after: Option<f64>,
    /// `after - before`; null where one of them is.
    pub difference: Option<f64>,
    /// `after / before`; null where one of them is, and where it was zero.
    pub ratio: Option<f64>,
    /// Transactions that it is worked out from, before and afterwards.
    pub samples: [u64; 2],
    /// How likely such a difference is by chance; null where that was not tested.
    pub p: Option<f64>,
    /// The same, corrected for the number of tests.
    pub p_adjusted: Option<f64>,
    /// What that means.
    pub verdict: Verdict,
}

/// What a change means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Significantly more of what nobody wants.
    Worse,
    /// Significantly less of it.
    Better,
    /// Significantly different, which is neither good nor bad.
    Differs,
    /// A difference like this may be chance. That is not to say that there is none.
    NotSignificant,
    /// Too few samples to say anything.
    NotEnough,
    /// Not seen on one of the sides.
    NotSeen,
    /// Not tested, since a side has lost data on which it depends.
    NotTested,
}

impl Verdict {
    /// Whether it is called a change.
    pub fn is_significant(self) -> bool {
        matches!(self, Self::Worse | Self::Better | Self::Differs)
    }
}

/// Pairs of hosts.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct EdgeChanges {
    /// Seen on both sides.
    pub both: u64,
    /// Only seen afterwards, most transactions first.
    pub new: Vec<Edge>,
    /// Only seen before, most transactions first.
    pub vanished: Vec<Edge>,
}

/// A threshold, and where it was passed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ruling {
    /// As it was written.
    pub rule: String,
    /// What it is about: "rate", "errors", "error_rate", "p50", "p90", "p99", "new" or
    /// "vanished".
    pub metric: &'static str,
    /// What it came to.
    pub verdict: RuleVerdict,
    /// Endpoints that were held against it and are within.
    pub held: u64,
    /// Endpoints of which nobody can say: not seen on a side, or too little.
    pub undecided: u64,
    /// Endpoints at which it was passed, by the largest value.
    pub failed: Vec<Passed>,
}

/// What a threshold came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleVerdict {
    /// Passed somewhere.
    Failed,
    /// Passed nowhere.
    Held,
    /// There was nothing that could be held against it.
    Undecided,
}

/// Where a threshold was passed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Passed {
    /// The endpoint.
    #[serde(flatten)]
    pub name: EndpointName,
    /// What was held against the threshold before, in the metric's unit; null where it was
    /// not seen.
    pub before: Option<f64>,
    /// The same afterwards.
    pub after: Option<f64>,
    /// Whether the change is significant; null where that was not tested.
    pub significant: Option<bool>,
}
