//! What was seen so far, by endpoint: what the screen shows.
//!
//! Knows no terminal. Memory is bounded: so many endpoints ([`ENDPOINTS`]), of
//! each so many seconds ([`series`]) and so many transactions ([`endpoint`],
//! [`example`]).

pub mod endpoint;
pub mod example;
pub mod latency;
pub mod loss;
pub mod series;
#[cfg(test)]
pub mod testkit;

use std::collections::HashMap;

use perisco::analyze::report::route::Routes;
use perisco::analyze::transaction::Transaction;
use perisco::analyze::watch::{Progress, Watched};
use perisco::time::{Timestamp, earliest, latest};

use endpoint::{Endpoint, Key};
use example::{Budget, Example};
use loss::Loss;
use series::{Facts, Figures, Series, Window};

/// Endpoints that are told apart; all after them are one row. A service has
/// tens, and each takes up to half a megabyte under the worst load.
pub const ENDPOINTS: usize = 256;

/// Where a recording comes from and what is done with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Feed {
    /// Packets come as they are captured, and time goes on without them.
    #[default]
    Live,
    /// A file, whose own time is the only one.
    File,
}

/// What was seen so far.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// By id.
    endpoints: Vec<Endpoint>,
    /// Ids by protocol and key.
    ids: HashMap<Box<[u8]>, usize>,
    /// The id of those that are not told apart.
    others: Option<usize>,
    /// All endpoints together.
    total: Series,
    /// Capture time of the first packet.
    first: Option<Timestamp>,
    /// What time it is in the capture.
    now: Option<Timestamp>,
    pub packets: u64,
    /// Bytes of input read.
    pub position: u64,
    pub loss: Loss,
    /// Whether nothing more comes.
    pub ended: bool,
    routes: Routes,
    budget: Budget,
}

impl Model {
    /// Nothing yet; paths like these are one endpoint.
    pub fn new(routes: Routes) -> Self {
        Self { routes, ..Self::default() }
    }

    /// Takes over how far reading has come. The time stays.
    pub fn take(&mut self, progress: &Progress) {
        self.first = earliest(self.first, progress.first);
        self.packets = progress.packets;
        self.position = progress.position;
        self.loss.take(progress);
    }

    /// Lets time go on; it never goes back.
    pub fn go_on(&mut self, now: Option<Timestamp>) {
        self.now = latest(self.now, now);
    }

    /// Adds a transaction that has finished; `at` is when.
    pub fn add(&mut self, watched: Watched, at: Option<Timestamp>, key: &mut Key) {
        key.set(&watched.transaction, &self.routes);
        let facts = Facts::of(&watched.transaction);
        let at = at.or(self.now).map_or(0, Timestamp::nanos);
        let id = self.id(key);
        let example = Example::new(watched, &self.budget);
        self.total.add(at, &facts);
        if let Some(endpoint) = self.endpoints.get_mut(id) {
            endpoint.add(at, &facts, &example);
        }
    }

    fn id(&mut self, key: &mut Key) -> usize {
        let name_end = key.bytes.len();
        key.bytes.push(0);
        key.bytes.extend_from_slice(key.protocol.as_bytes());
        let known = self.ids.get(key.bytes.as_slice()).copied();
        if let Some(id) = known {
            return id;
        }
        let told = std::mem::take(&mut key.bytes);
        key.bytes = told.get(..name_end).unwrap_or_default().to_vec();
        let id = self.endpoints.len();
        if self.ids.len() < ENDPOINTS {
            self.ids.insert(told.into_boxed_slice(), id);
            self.endpoints.push(Endpoint::new(key.protocol, key.name()));
            return id;
        }
        *self.others.get_or_insert_with(|| {
            let name = format!("all after the first {ENDPOINTS} endpoints");
            self.endpoints.push(Endpoint::new("", name));
            id
        })
    }

    /// All endpoints, by id.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// When the capture began and what time it is, in nanoseconds since 1970.
    pub fn ends(&self) -> (i64, i64) {
        let now = self.now.or(self.first).map_or(0, Timestamp::nanos);
        (self.first.map_or(now, Timestamp::nanos), now)
    }

    /// Capture time of the first packet.
    pub fn first(&self) -> Option<Timestamp> {
        self.first
    }

    /// What all endpoints together came to.
    pub fn figures(&self, window: Window) -> Figures {
        let (first, now) = self.ends();
        self.total.figures(window, first, now)
    }
}

/// When a transaction has finished, as far as is known: the end of its answer.
/// One without was found to be over just now; where a whole file is read ahead
/// of its time, the latest time of it that is known stands for that.
pub fn finished(
    transaction: &Transaction,
    now: Option<Timestamp>,
    feed: Feed,
) -> Option<Timestamp> {
    let of = |message: &Option<perisco::analyze::transaction::Message>| {
        message.as_ref().map(|message| (message.start, message.end))
    };
    let (response, request) = (of(&transaction.response), of(&transaction.request));
    let end = response.and_then(|(_, end)| end);
    match feed {
        Feed::Live => end.or(now),
        Feed::File => {
            let times = [response, request].into_iter().flatten();
            let known = times.fold(None, |so_far, (start, end)| latest(so_far, latest(start, end)));
            end.or(known).or(now)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::testkit::{at, watched};
    use super::*;

    #[test]
    fn endpoints_past_the_limit_are_one() {
        let mut model = Model::default();
        let mut key = Key::default();
        for index in 0..3 * ENDPOINTS {
            let name: String = format!("{index}").bytes().map(|b| char::from(b + 49)).collect();
            model.add(watched("GET", &format!("/{name}"), 200), Some(at(1)), &mut key);
        }
        assert_eq!(model.endpoints().len(), ENDPOINTS + 1);
        let others = model.endpoints().last().unwrap();
        assert!(others.name.contains("after the first"), "{}", others.name);
        assert_eq!(others.series.figures(Window::All, 0, 1).count, 2 * ENDPOINTS as u64);
        assert_eq!(model.figures(Window::All).count, 3 * ENDPOINTS as u64);
    }

    #[test]
    fn time_never_goes_back() {
        let mut model = Model::default();
        assert_eq!(model.ends(), (0, 0));
        model.take(&Progress { first: Some(at(5)), ..Progress::default() });
        model.go_on(Some(at(9)));
        model.go_on(Some(at(7)));
        model.go_on(None);
        assert_eq!(model.ends(), (5, 9));
    }

    #[test]
    fn what_has_no_answer_finished_when_that_was_known() {
        let mut one = watched("GET", "/", 200).transaction;
        let now = Some(at(1_000));
        let whole = one.response.as_ref().and_then(|response| response.end);
        assert_eq!(finished(&one, now, Feed::Live), whole);
        one.response = None;
        assert_eq!(finished(&one, now, Feed::Live), now);
        let request = one.request.as_ref().and_then(|request| request.end);
        assert_eq!(finished(&one, now, Feed::File), request);
        one.request = None;
        assert_eq!(finished(&one, now, Feed::File), now);
    }
}
