//! Who held an address when: pods, Services and nodes come and go, and their
//! addresses are given to others.
//!
//! What the sources say is late and has seconds for a unit, so each holding
//! has two spans: when it *surely* held the address (proven) and when it
//! *possibly* did (not disproven). An answer needs proof: one sure holder, or
//! one possible holder where nobody else can be unknown. Pure: no clock, no
//! locks, no I/O.

use std::collections::VecDeque;
use std::net::IpAddr;

use hashbrown::HashMap;

/// Holdings of one address that are remembered. Of more, the one that was over first is forgotten.
const MAX_HOLDINGS_OF_ONE: usize = 32;

/// Holdings that are over and still remembered, in all. A cluster of 5 000
/// nodes that replaces 100 pods a second is remembered for ten minutes.
const MAX_OVER: usize = 65_536;

/// Whose word it is: each kind is told of by a watch of its own.
pub trait Holding: Clone + Eq {
    /// Index into what [`Table::at`] is given.
    fn kind(&self) -> usize;
}

/// How far the word of a watch reaches; unix nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reach {
    /// What is alive by this watch is surely so until then; `i64::MAX` while it is fresh.
    pub certain_until: i64,
    /// All holders from here on are known, but for news still on their way.
    pub complete_from: i64,
    /// News until then are here.
    pub complete_until: i64,
}

impl Reach {
    /// A watch that has not said anything.
    pub const NONE: Self =
        Self { certain_until: i64::MIN, complete_from: i64::MAX, complete_until: i64::MIN };
}

/// What a source says of a holding. Unix nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Evidence {
    /// It did not hold the address before.
    pub possible_from: i64,
    /// It held it from here on …
    pub sure_from: i64,
    /// … until here at least.
    pub sure_until: i64,
    /// It still does as long as its watch says nothing else. None: from the
    /// runtime, whose word is proof for when it was asked only.
    pub alive: Option<bool>,
    /// Its processes run since then: what is later than a holding's end is a new holding.
    pub running_since: Option<i64>,
}

/// One holder's time with an address.
#[derive(Clone, Debug)]
struct Claim<K> {
    holder: K,
    possible: (i64, i64),
    /// Empty where the end is before the start.
    sure: (i64, i64),
    alive: bool,
}

impl<K: Holding> Claim<K> {
    fn is_over(&self) -> bool {
        self.possible.1 != i64::MAX
    }

    fn is_possible(&self, at: i64) -> bool {
        (self.possible.0..=self.possible.1).contains(&at)
    }

    fn is_sure(&self, at: i64, reach: &[Reach]) -> bool {
        let live = reach.get(self.holder.kind()).filter(|_| self.alive);
        let until = live.map_or(self.sure.1, |live| self.sure.1.max(live.certain_until));
        self.is_possible(at) && at >= self.sure.0 && at <= until
    }
}

/// Who held an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<K> {
    /// This one.
    One(K),
    /// Nobody that is known.
    Nobody,
    /// There are holders, but it is not proven which, or not yet.
    Unsure,
}

/// All holdings.
#[derive(Debug)]
pub struct Table<K> {
    by_address: HashMap<IpAddr, Vec<Claim<K>>, foldhash::fast::RandomState>,
    /// Ends and addresses, in the order in which they were told.
    over: VecDeque<(i64, IpAddr)>,
    /// Holdings that were over by then may be forgotten.
    forgotten_until: i64,
}

impl<K> Default for Table<K> {
    fn default() -> Self {
        Self { by_address: HashMap::default(), over: VecDeque::new(), forgotten_until: i64::MIN }
    }
}

impl<K: Holding> Table<K> {
    /// Adds what a source says of a holder. True where that is news.
    pub fn hold(&mut self, address: IpAddr, holder: &K, says: Evidence) -> bool {
        let claims = self.by_address.entry(address).or_default();
        let latest = claims.iter_mut().rev().find(|claim| claim.holder == *holder);
        if let Some(claim) = latest {
            if !claim.is_over() {
                return merge(claim, says);
            }
            // It is there still, by who gives addresses: it was not over, or not all of it.
            if says.alive.is_none() && says.sure_until > claim.possible.1 {
                claim.possible.1 = i64::MAX;
                merge(claim, says);
                return true;
            }
            // Over, as another source said: only processes that started later are a new holding.
            if says.running_since.is_none_or(|since| since < claim.possible.1) {
                return false;
            }
        }
        // Most addresses have one holder.
        claims.reserve_exact(1);
        claims.push(Claim {
            holder: holder.clone(),
            possible: (says.possible_from, i64::MAX),
            sure: (says.sure_from.max(says.possible_from), says.sure_until),
            alive: says.alive == Some(true),
        });
        if claims.len() > MAX_HOLDINGS_OF_ONE {
            forget_first(claims, &mut self.forgotten_until);
        }
        true
    }

    /// A holding is over: it was surely there until `sure_until` and is surely
    /// not after `gone`. True where that is news.
    pub fn end(&mut self, address: IpAddr, holder: &K, sure_until: i64, gone: i64) -> bool {
        let claims = self.by_address.get_mut(&address);
        let open = claims.and_then(|claims| {
            claims.iter_mut().rev().find(|claim| claim.holder == *holder && !claim.is_over())
        });
        let Some(claim) = open else { return false };
        claim.alive = false;
        claim.sure.1 = claim.sure.1.max(sure_until).min(gone);
        // A source's first word may come when all is over.
        claim.possible.1 = gone.max(claim.possible.0);
        self.over.push_back((claim.possible.1, address));
        while self.over.len() > MAX_OVER {
            self.forget_oldest();
        }
        true
    }

    /// Forgets holdings that were over before `time`.
    pub fn forget(&mut self, time: i64) {
        while self.over.front().is_some_and(|&(end, _)| end < time) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some((end, address)) = self.over.pop_front() else { return };
        self.forgotten_until = self.forgotten_until.max(end);
        if let Some(claims) = self.by_address.get_mut(&address) {
            claims.retain(|claim| claim.possible.1 != end);
            if claims.is_empty() {
                self.by_address.remove(&address);
            }
        }
    }

    /// Who held the address at a time; `reach` is by [`Holding::kind`].
    pub fn at(&self, address: IpAddr, at: i64, reach: &[Reach]) -> Answer<K> {
        let claims = self.by_address.get(&address).map_or(&[][..], Vec::as_slice);
        match one(claims.iter().filter(|claim| claim.is_sure(at, reach))) {
            One::This(claim) => return Answer::One(claim.holder.clone()),
            // Two that are proven: a proof is wrong, and who knows which.
            One::Many => return Answer::Unsure,
            One::None => {}
        }
        match one(claims.iter().filter(|claim| claim.is_possible(at))) {
            One::None => Answer::Nobody,
            One::Many => Answer::Unsure,
            One::This(claim) => {
                let reach = reach.get(claim.holder.kind()).unwrap_or(&Reach::NONE);
                let complete = at >= reach.complete_from.max(self.forgotten_until)
                    && at <= reach.complete_until;
                if complete { Answer::One(claim.holder.clone()) } else { Answer::Unsure }
            }
        }
    }

    /// Holdings known, those that are over included.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_address.values().map(Vec::len).sum()
    }
}

/// Possible is what no source excludes; sure is what any proves.
fn merge<K>(claim: &mut Claim<K>, says: Evidence) -> bool {
    let before = (claim.possible, claim.sure, claim.alive);
    claim.possible.0 = claim.possible.0.max(says.possible_from);
    claim.sure.0 = claim.sure.0.min(says.sure_from).max(claim.possible.0);
    claim.sure.1 = claim.sure.1.max(says.sure_until);
    claim.alive = says.alive.unwrap_or(claim.alive);
    before != (claim.possible, claim.sure, claim.alive)
}

/// Makes room: the holding that was over first goes; of open ones, the first.
fn forget_first<K>(claims: &mut Vec<Claim<K>>, forgotten_until: &mut i64) {
    let first = (0..claims.len()).min_by_key(|&index| claims[index].possible.1);
    if let Some(first) = first {
        let end = claims.swap_remove(first).possible.1;
        *forgotten_until = (*forgotten_until).max(end);
    }
}

enum One<T> {
    None,
    This(T),
    Many,
}

fn one<'a, K: Holding>(mut claims: impl Iterator<Item = &'a Claim<K>>) -> One<&'a Claim<K>> {
    let Some(first) = claims.next() else { return One::None };
    // The same holder may have held it twice, one time after the other.
    if claims.all(|claim| claim.holder == first.holder) { One::This(first) } else { One::Many }
}
