//! What shards tell of flows at several points, made one.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::mem::size_of;

use super::clock::{Clocks, GRACE_NANOS, WINDOW_NANOS, window_of};
use super::figures::{Counts, JoinTotals, LinkSums, OffsetTotals};
use super::flows::{Flows, Found, State};
use super::held::{Copy, Held, is_half};
use super::pair::{self, Times};
use super::{By, Joined, Points, Seen, Told, WAIT_BYTES, WAIT_NANOS, What};
use crate::analyze::report::FlowTotals;
use crate::analyze::report::model::Time;
use crate::analyze::watch::Watched;
use crate::time::Timestamp;

/// What a flow takes besides what waits, about, in bytes.
const FLOW_BYTES: usize = 512 + size_of::<FlowTotals>();

/// What a transaction that waits takes besides itself, about, in bytes: its places in lists.
const WAIT_COST: usize = 256;

/// Entries of the list of what waits that may be of what waits no more, beside as many again.
const STALE_WAITS: usize = 4096;

/// Something that waits, until when.
struct Wait {
    until: i64,
    flow: u64,
    /// The number of a transaction; None for the end of the flow.
    transaction: Option<u64>,
}

/// A joined transaction that waits for its window of time to be over.
struct Timed {
    watched: Box<Watched>,
    client: Times,
    server: Times,
    /// Points of the client and of the server.
    points: [u16; 2],
}

/// What two points have to do with each other, the lower one first.
#[derive(Default)]
struct Between {
    clocks: Clocks,
    timed: BTreeMap<i64, Vec<Timed>>,
}

/// Joins what several points have seen.
pub struct Joiner {
    points: Points,
    flows: Flows,
    waits: VecDeque<Wait>,
    /// Transactions that came.
    came: u64,
    /// Transactions that wait for their copy.
    held: usize,
    /// Bytes of what waits.
    memory: usize,
    limit: usize,
    /// Starts of transactions that wait for whatever, and how many have each.
    starts: BTreeMap<Timestamp, usize>,
    /// When windows were last looked at.
    looked: i64,
    between: BTreeMap<[u16; 2], Between>,
    links: BTreeMap<[u16; 2], LinkSums>,
    counts: Counts,
    /// Transactions that are ready to be reported.
    pub ready: Vec<Box<Watched>>,
    /// Connections that are over, likewise.
    pub over: Vec<Box<FlowTotals>>,
}

impl Joiner {
    /// Of these points.
    pub fn new(points: Points) -> Self {
        Self {
            points,
            flows: Flows::default(),
            waits: VecDeque::new(),
            came: 0,
            held: 0,
            memory: 0,
            limit: WAIT_BYTES,
            starts: BTreeMap::new(),
            looked: i64::MIN,
            between: BTreeMap::new(),
            links: BTreeMap::new(),
            counts: Counts::default(),
            ready: Vec::new(),
            over: Vec::new(),
        }
    }

    /// The same with another bound on memory.
    #[cfg(test)]
    pub fn bounded(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// Bytes of what waits.
    #[cfg(test)]
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Flows that are known.
    #[cfg(test)]
    pub fn known(&self) -> usize {
        self.flows.numbers().len()
    }

    /// What each of them takes.
    #[cfg(test)]
    pub const FLOW: usize = FLOW_BYTES;

    /// Takes what a round has told, in any order; `now` is the latest time seen.
    pub fn take(&mut self, told: &mut Vec<Told>, now: Option<Timestamp>) {
        told.sort_by_key(Told::sort_key);
        let until = now.map_or(i64::MAX, |now| now.nanos().saturating_add(WAIT_NANOS));
        for Told { seen, what } in told.drain(..) {
            self.learn(&seen);
            match what {
                What::Transaction(watched) => self.transaction(&seen, watched, until),
                What::Over(totals) => self.flow_over(&seen, totals, until),
            }
        }
        if let Some(now) = now {
            self.let_go(now.nanos());
        }
        self.keep_bounds();
    }

    /// Nothing more comes: lets all go.
    pub fn finish(&mut self) {
        self.let_go(i64::MAX);
        for number in self.flows.numbers() {
            self.conclude(number);
        }
        self.end_windows(i64::MAX);
    }

    /// The start of the earliest transaction that waits.
    pub fn watermark(&self) -> Option<Timestamp> {
        self.starts.keys().next().copied()
    }

    /// A transaction waits from now on.
    fn comes(&mut self, watched: &Watched) {
        self.memory += watched.memory() + WAIT_COST;
        if let Some(start) = watched.transaction.rank() {
            *self.starts.entry(start).or_default() += 1;
        }
    }

    /// A transaction waits no more.
    fn goes(&mut self, watched: &Watched) {
        self.memory = self.memory.saturating_sub(watched.memory() + WAIT_COST);
        if let Some(start) = watched.transaction.rank()
            && let Entry::Occupied(mut many) = self.starts.entry(start)
        {
            *many.get_mut() -= 1;
            if *many.get() == 0 {
                many.remove();
            }
        }
    }

    /// What it came to.
    pub fn totals(&mut self) -> JoinTotals {
        let name = |point: u16| self.points.name(point).to_string();
        let count = u16::try_from(self.points.len()).unwrap_or(u16::MAX);
        let clocks = self.between.iter().map(|([low, high], between)| {
            let best = between.clocks.best;
            let estimate = best.and_then(|(_, bounds)| bounds.estimate());
            let at = best.filter(|_| estimate.is_some()).map(|(window, _)| {
                Time(Timestamp::from_nanos(window.saturating_mul(WINDOW_NANOS)))
            });
            OffsetTotals {
                node: name(*high),
                with: name(*low),
                offset_ns: estimate.map(|(offset, _)| offset),
                error_ns: estimate.map(|(_, error)| error),
                at,
                transactions: between.clocks.samples,
                steps: between.clocks.steps,
            }
        });
        let clocks = clocks.collect();
        let links = self.links.iter_mut();
        let links = links.map(|([client, server], sums)| sums.totals(name(*client), name(*server)));
        JoinTotals {
            nodes: (1..=count).map(name).collect(),
            links: links.collect(),
            clocks,
            counts: self.counts,
        }
    }

    /// Makes a flow known.
    fn learn(&mut self, seen: &Seen) {
        match self.flows.add(seen) {
            Found::Known => return,
            Found::Nobody => {}
            Found::Partner => self.counts.connections_joined += 1,
            Found::Several => self.counts.ambiguous += 1,
        }
        self.memory += FLOW_BYTES;
    }

    fn transaction(&mut self, seen: &Seen, watched: Box<Watched>, until: i64) {
        let number = seen.connection;
        let Some(state) = self.flows.get(number) else { return };
        let transaction = &watched.transaction;
        if !Held::is_named(transaction) || state.partner.is_none() && state.alone {
            return self.release(number, watched);
        }
        let Some((other, _)) = state.partner else { return self.hold(number, watched, until) };
        let Some(other) = self.flows.get(other) else { return self.release(number, watched) };
        let over = other.totals.is_some();
        let now = match other.held.find(transaction) {
            // A half waits for the other one, which may be here: then its copy finds both.
            Some(Copy::Whole(_)) => !is_half(transaction),
            Some(Copy::Halves(..)) => true,
            Some(Copy::Half(_)) | None => over,
        };
        let whole = match other.held.find(transaction) {
            Some(Copy::Whole(whole)) if is_half(transaction) => Some(whole),
            _ => None,
        };
        if now {
            return self.let_out(number, watched);
        }
        self.hold(number, watched, until);
        if let Some(whole) = whole {
            self.complete(number, whole);
        }
    }

    /// A half has come at this flow whose copy waits whole at the other end: joins them if
    /// the other half is here as well.
    fn complete(&mut self, number: u64, whole: u64) {
        let Some(state) = self.flows.get(number) else { return };
        let Some((other, _)) = state.partner else { return };
        let copy = self.flows.get(other).and_then(|other| other.held.get(whole));
        let found = copy.and_then(|copy| state.held.find(&copy.transaction));
        if let Some(Copy::Halves(..)) = found
            && let Some(copy) = self.take_held(other, whole)
        {
            self.let_out(other, copy);
        }
    }

    /// Lets a transaction go, with what there is of its copy.
    fn let_out(&mut self, number: u64, watched: Box<Watched>) {
        let partner = self.flows.get(number).and_then(|state| state.partner);
        let Some((other, by)) = partner else { return self.release(number, watched) };
        let held = self.flows.get(other).map(|other| &other.held);
        let copy = match held.and_then(|held| held.find(&watched.transaction)) {
            Some(Copy::Whole(copy) | Copy::Half(copy)) => self.take_held(other, copy),
            Some(Copy::Halves(request, response)) => {
                let halves = (self.take_held(other, request), self.take_held(other, response));
                halves.0.zip(halves.1).map(|(one, two)| pair::of_halves(one, two))
            }
            None => None,
        };
        match copy {
            Some(copy) => self.pair((number, watched), (other, copy), by),
            None => self.release(number, watched),
        }
    }

    fn hold(&mut self, number: u64, watched: Box<Watched>, until: i64) {
        let Some(state) = self.flows.get(number) else { return };
        // One before it that has its name has waited for a copy that will not come.
        let before = state.held.same(&watched.transaction);
        let before = before.and_then(|before| self.take_held(number, before));
        self.comes(&watched);
        (self.came, self.held) = (self.came + 1, self.held + 1);
        let came = self.came;
        if let Some(state) = self.flows.get_mut(number) {
            state.held.keep(came, watched);
        }
        self.waits.push_back(Wait { until, flow: number, transaction: Some(came) });
        if let Some(before) = before {
            self.release(number, before);
        }
        self.drop_stale_waits();
    }

    fn take_held(&mut self, flow: u64, number: u64) -> Option<Box<Watched>> {
        let watched = self.flows.get_mut(flow)?.held.take(number)?;
        self.held -= 1;
        self.goes(&watched);
        Some(watched)
    }

    /// Forgets until when something waits that has gone: nearly all goes long before.
    fn drop_stale_waits(&mut self) {
        if self.waits.len() > STALE_WAITS + 2 * self.held {
            let flows = &self.flows;
            self.waits.retain(|wait| {
                flows.get(wait.flow).is_some_and(|flow| match wait.transaction {
                    Some(number) => flow.held.get(number).is_some(),
                    None => flow.partner.is_none(),
                })
            });
        }
    }

    /// Lets a transaction go without a copy.
    fn release(&mut self, number: u64, mut watched: Box<Watched>) {
        self.counts.transactions_alone += 1;
        if let Some(state) = self.flows.get(number)
            && let Some(other) = state.partner.and_then(|(other, _)| self.flows.get(other))
        {
            self.counts.unmatched += 1;
            let ends = pair::ends([&state.seen, &other.seen], state.is_client);
            (watched.client, watched.server) = ends.into();
        }
        self.ready.push(watched);
    }

    /// Joins two copies, if they can be copies.
    fn pair(&mut self, mut one: (u64, Box<Watched>), mut other: (u64, Box<Watched>), by: By) {
        pair::drop_guess(&mut one.1.transaction, &other.1.transaction);
        pair::drop_guess(&mut other.1.transaction, &one.1.transaction);
        let seen = [one.0, other.0].map(|number| self.flows.get(number).map(|flow| flow.seen));
        let [Some(first), Some(second)] = seen else { return };
        let mut role = self.flows.get(one.0).and_then(|flow| flow.is_client);
        if pair::contradict(&one.1.transaction, &other.1.transaction) {
            self.counts.contradicting += 1;
            self.release(one.0, one.1);
            self.release(other.0, other.1);
            return;
        }
        self.counts.transactions_joined += 1;
        let times = [&one.1, &other.1].map(|watched| Times::of(&watched.transaction));
        if role.is_none() {
            // What the client's end sees of it takes longer, since the server's lies within.
            let took = times[0].between().zip(times[1].between());
            role = took.filter(|(one, other)| one != other).map(|(one, other)| one > other);
            for (number, role) in [(one.0, role), (other.0, role.map(|role| !role))] {
                if let Some(flow) = self.flows.get_mut(number) {
                    flow.is_client = role;
                }
            }
        }
        // Where nothing tells, the lower point is taken for the client's, and no split made.
        let swapped = !role.unwrap_or(first.point < second.point);
        let (mut copies, mut seen, mut times) = ((one.1, other.1), [first, second], times);
        if swapped {
            copies = (copies.1, copies.0);
            seen.reverse();
            times.reverse();
        }
        let nodes = seen.map(|seen| self.points.name(seen.point));
        let (server_as_seen, client_as_seen) = (copies.0.server, copies.1.client);
        let mut watched = pair::merge(copies.0, copies.1);
        let joined = Joined { nodes, by, server_as_seen, client_as_seen, split: None };
        watched.joined = Some(Box::new(joined));
        let points = seen.map(|seen| seen.point);
        let timed = Timed { watched, client: times[0], server: times[1], points };
        match role {
            Some(_) => self.time(timed),
            None => self.ready.push(timed.watched),
        }
    }

    /// Lets a joined transaction wait for its window, and counts it in.
    fn time(&mut self, timed: Timed) {
        let [client, server] = timed.points;
        let low_first = client <= server;
        let low = if low_first { timed.client } else { timed.server };
        let own = pair::bounds(timed.client, timed.server);
        let Some(window) = low.first().map(window_of) else { return self.done(timed, None) };
        let key = [client.min(server), client.max(server)];
        let between = self.between.entry(key).or_default();
        if between.clocks.is_over(window) {
            return self.done(timed, None);
        }
        let short = timed.client.between().is_some_and(|nanos| nanos <= GRACE_NANOS);
        let bounds = if low_first { own } else { own.turned() };
        // By itself impossible: a clock was set, or times are not what they say.
        let counts = short && bounds.low <= bounds.high;
        between.clocks.add(window, counts.then_some(bounds));
        self.comes(&timed.watched);
        let between = self.between.entry(key).or_default();
        between.timed.entry(window).or_default().push(timed);
    }

    /// Says where the time of a joined transaction went, and lets it go.
    fn done(&mut self, timed: Timed, window: Option<i64>) {
        let Timed { mut watched, client, server, points: [client_point, server_point] } = timed;
        let low_first = client_point <= server_point;
        let key = [client_point.min(server_point), client_point.max(server_point)];
        let low = if low_first { client } else { server };
        let window = window.or_else(|| low.first().map(window_of));
        let known = self.between.get(&key).zip(window);
        let known = known.and_then(|(between, window)| between.clocks.of(window));
        let known = known.map(|bounds| if low_first { bounds } else { bounds.turned() });
        let own = pair::bounds(client, server);
        let bounds = known.and_then(|known| known.and(own)).unwrap_or(own);
        let split = pair::split(client, server, bounds);
        self.links.entry([client_point, server_point]).or_default().add(split);
        if let Some(joined) = &mut watched.joined {
            joined.split = split;
        }
        self.ready.push(watched);
    }

    fn flow_over(&mut self, seen: &Seen, totals: Box<FlowTotals>, until: i64) {
        let number = seen.connection;
        let Some(state) = self.flows.get_mut(number) else { return };
        state.totals = Some(totals);
        match (state.partner, state.alone) {
            (None, true) => self.conclude(number),
            (None, false) => self.waits.push_back(Wait { until, flow: number, transaction: None }),
            (Some((other, _)), _) => {
                // What waits at the other end has waited for this one.
                self.release_all(other);
                if self.flows.get(other).is_none_or(|other| other.totals.is_some()) {
                    self.conclude(number);
                }
            }
        }
    }

    fn release_all(&mut self, number: u64) {
        while let Some(first) = self.flows.get(number).and_then(|flow| flow.held.first())
            && let Some(watched) = self.take_held(number, first)
        {
            self.let_out(number, watched);
        }
    }

    /// Reports a connection that is over, and forgets its flows.
    fn conclude(&mut self, number: u64) {
        self.release_all(number);
        let partner = self.flows.get(number).and_then(|flow| flow.partner);
        // While both are known, so that what is left has the addresses of both.
        if let Some((other, _)) = partner {
            self.release_all(other);
        }
        let Some(state) = self.forget(number) else { return };
        let other = partner.and_then(|(other, _)| self.forget(other));
        match (state.totals, other) {
            (Some(one), Some(State { seen, totals: Some(other), .. })) => {
                let is_client = state.is_client.unwrap_or(state.seen.point < seen.point);
                let (client, server) = if is_client { (one, other) } else { (other, one) };
                self.over.push(pair::merge_totals(client, server));
            }
            (one, Some(State { totals: other, .. })) => self.over.extend(one.or(other)),
            (one, None) => {
                self.counts.connections_alone += 1;
                self.counts.connections_midway += u64::from(state.seen.initial.is_none());
                self.over.extend(one);
            }
        }
    }

    fn forget(&mut self, number: u64) -> Option<State> {
        let state = self.flows.remove(number)?;
        self.memory = self.memory.saturating_sub(FLOW_BYTES);
        Some(state)
    }

    /// Lets go what has waited long enough by then.
    fn let_go(&mut self, now: i64) {
        while let Some(wait) = self.waits.pop_front_if(|wait| wait.until <= now) {
            self.give_up(&wait);
        }
        // There may be many pairs of points, and rounds are short.
        if now >= self.looked.saturating_add(WINDOW_NANOS / 4) {
            self.looked = now;
            self.end_windows(now);
        }
    }

    /// Lets go what waits, if it still does.
    fn give_up(&mut self, wait: &Wait) -> bool {
        let Some(state) = self.flows.get_mut(wait.flow) else { return false };
        match wait.transaction {
            Some(number) => {
                let unpaired = state.partner.is_none();
                let Some(watched) = self.take_held(wait.flow, number) else { return false };
                if unpaired && let Some(state) = self.flows.get_mut(wait.flow) {
                    state.alone = true;
                }
                self.let_out(wait.flow, watched);
            }
            None if state.partner.is_some() => return false,
            None => self.conclude(wait.flow),
        }
        true
    }

    /// Ends the windows that are over by then.
    fn end_windows(&mut self, now: i64) {
        let mut keys: Vec<_> = self.between.keys().copied().collect();
        for key in keys.drain(..) {
            while self.end_window(key, now) {}
        }
    }

    fn end_window(&mut self, key: [u16; 2], now: i64) -> bool {
        let Some(between) = self.between.get_mut(&key) else { return false };
        let window = between.clocks.first_open();
        let Some(window) = window.filter(|window| between.clocks.over_at(*window) <= now) else {
            return false;
        };
        between.clocks.end_first();
        for timed in between.timed.remove(&window).unwrap_or_default() {
            self.goes(&timed.watched);
            self.done(timed, Some(window));
        }
        true
    }

    /// Lets go of what has waited longest where too much waits.
    fn keep_bounds(&mut self) {
        if self.memory > self.limit {
            self.end_windows(i64::MAX);
        }
        while self.memory > self.limit
            && let Some(wait) = self.waits.pop_front()
        {
            self.counts.given_up += u64::from(self.give_up(&wait));
        }
    }
}
