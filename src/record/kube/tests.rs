//! Addresses that are given from pod to pod, against what really was.

use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;

use super::store::{Life, Source, Store};
use super::table::{Answer, Evidence};
use super::types::{Holder, Pod};

const S: i64 = 1_000_000_000;
const SILENCE: i64 = 90 * S;
const BASE: i64 = 1_700_000_000 * S;

fn address() -> IpAddr {
    "10.0.0.7".parse().unwrap()
}

fn pod(name: &str) -> Pod {
    let (namespace, name, uid) = ("shop".to_owned(), name.to_owned(), format!("uid-{name}"));
    let addresses = vec![address()];
    Pod { namespace, name, uid, addresses, node: Some("far".into()), ..Pod::default() }
}

fn store() -> Store {
    Store::new("here", true, SILENCE)
}

fn name_at(store: &Store, at: i64, now: i64) -> Option<String> {
    match store.holder(address(), 80, at, now) {
        Answer::One(Holder::Pod(pod)) => Some(pod.name.clone()),
        _ => None,
    }
}

fn lives(from: i64) -> Life {
    Life { possible_from: from, running_since: Some(from), ..Life::default() }
}

#[test]
fn a_reused_address_is_not_given_the_old_pods_name() {
    let mut store = store();
    store.pods_listing();
    store.api_pod(pod("old"), lives(10 * S), 100 * S);
    store.pods_listed(100 * S);
    assert_eq!(name_at(&store, 50 * S, 100 * S).as_deref(), Some("old"), "opened before the list");
    assert_eq!(name_at(&store, 5 * S, 100 * S), None, "before it started");
    // Asked to end at 110, all over at 120, told at 121; the next has it from 123 on.
    store.api_pod(pod("old"), Life { asked: Some(110 * S), ..lives(10 * S) }, 110 * S);
    assert_eq!(name_at(&store, 109 * S, 112 * S), None, "within the margin");
    assert_eq!(name_at(&store, 107 * S, 112 * S).as_deref(), Some("old"));
    assert_eq!(name_at(&store, 115 * S, 115 * S), None, "it may be over, and another's already");
    let over = Life {
        asked: Some(110 * S),
        over: Some(Some(120 * S)),
        possible_from: 10 * S,
        running_since: None,
    };
    store.api_pod(pod("old"), over, 121 * S);
    store.feed(Source::Pods).heard(121 * S);
    assert_eq!(name_at(&store, 115 * S, 122 * S).as_deref(), Some("old"), "now it is proven");
    store.api_pod(pod("new"), lives(123 * S), 124 * S);
    store.api_pod_gone("uid-old", over, 125 * S);
    store.feed(Source::Pods).heard(130 * S);
    assert_eq!(name_at(&store, 126 * S, 130 * S).as_deref(), Some("new"));
    assert_eq!(
        name_at(&store, 123 * S, 130 * S).as_deref(),
        Some("new"),
        "nobody else can have had it"
    );
    assert_eq!(name_at(&store, 121 * S, 130 * S), None, "both could, just");
    assert_eq!(name_at(&store, 115 * S, 130 * S).as_deref(), Some("old"), "late, but remembered");
}

#[test]
fn a_lost_watch_names_no_new_connections() {
    let mut store = store();
    store.pods_listing();
    store.api_pod(pod("old"), lives(10 * S), 100 * S);
    store.pods_listed(100 * S);
    store.feed(Source::Pods).lost("cut".into(), false);
    assert_eq!(name_at(&store, 99 * S, 130 * S).as_deref(), Some("old"));
    assert_eq!(name_at(&store, 129 * S, 130 * S), None);
    // Relisted: the old one is gone, nobody knows since when.
    store.pods_listing();
    store.api_pod(pod("new"), lives(120 * S), 140 * S);
    store.pods_listed(140 * S);
    assert_eq!(name_at(&store, 130 * S, 140 * S).as_deref(), Some("new"));
    assert_eq!(name_at(&store, 119 * S, 140 * S), None, "either");
    assert_eq!(name_at(&store, 96 * S, 140 * S).as_deref(), Some("old"));
}

#[test]
fn a_silent_watch_names_no_new_connections() {
    let mut store = store();
    store.pods_listing();
    store.api_pod(pod("old"), lives(10 * S), 100 * S);
    store.pods_listed(100 * S);
    assert_eq!(name_at(&store, 180 * S, 180 * S).as_deref(), Some("old"));
    assert_eq!(name_at(&store, 195 * S, 195 * S), None);
    store.feed(Source::Pods).heard(196 * S);
    assert_eq!(name_at(&store, 195 * S, 196 * S).as_deref(), Some("old"));
}

#[test]
fn the_runtime_says_when_a_sandbox_is_over() {
    let mut store = Store::new("here", false, SILENCE);
    let here = |name: &str| Pod { node: Some("here".into()), ..pod(name) };
    store.pods_listing();
    store.api_pod(here("old"), lives(10 * S), 100 * S);
    store.pods_listed(100 * S);
    let key = super::store::Key::Pod("uid-old".into());
    store.table.end(address(), &key, 110 * S, 112 * S);
    assert_eq!(name_at(&store, 111 * S, 113 * S), None, "the API does not know yet");
    assert_eq!(name_at(&store, 109 * S, 113 * S).as_deref(), Some("old"));
    store.api_pod(here("old"), lives(10 * S), 114 * S);
    assert_eq!(name_at(&store, 114 * S, 115 * S), None, "old news do not make it alive again");
    store.api_pod(here("old"), lives(116 * S), 118 * S);
    assert_eq!(name_at(&store, 118 * S, 118 * S).as_deref(), Some("old"), "a new sandbox does");
}

#[test]
fn a_sandbox_that_was_overlooked_once_is_there_again() {
    let mut store = store();
    let key = super::store::Key::Pod("uid-a".into());
    store.runtime_pod("uid-a", Some(pod("a")), 10 * S);
    let asked = |at: i64| Evidence {
        possible_from: 5 * S,
        sure_from: 5 * S,
        sure_until: at,
        alive: None,
        running_since: Some(5 * S),
    };
    store.table.hold(address(), &key, asked(20 * S));
    store.table.end(address(), &key, 20 * S, 30 * S);
    assert_eq!(name_at(&store, 35 * S, 40 * S), None);
    assert!(store.table.hold(address(), &key, asked(40 * S)));
    assert_eq!(name_at(&store, 35 * S, 41 * S).as_deref(), Some("a"));
    assert_eq!(name_at(&store, 41 * S, 41 * S), None, "until it was asked");
}

#[test]
fn gone_pods_are_remembered_for_a_while_only() {
    let mut store = store();
    store.pods_listing();
    store.api_pod(pod("old"), lives(BASE), BASE + 10 * S);
    store.pods_listed(BASE + 10 * S);
    store.api_pod_gone("uid-old", Life::default(), BASE + 20 * S);
    assert_eq!(name_at(&store, BASE + 5 * S, BASE + 21 * S).as_deref(), Some("old"));
    assert_eq!(store.counts().0, 1);
    store.forget(BASE + 2 * super::store::REMEMBERED);
    assert_eq!(name_at(&store, BASE + 5 * S, BASE + 21 * S), None);
    assert_eq!((store.counts().0, store.table.len()), (0, 0));
}

#[test]
fn facts_of_all_sources_are_put_together() {
    let mut store = Store::new("here", false, SILENCE);
    let id = "ab".repeat(32);
    let logged =
        super::logs::LoggedPod { namespace: "shop".into(), name: "a".into(), uid: "uid-a".into() };
    let linked =
        super::logs::LoggedContainer { id: id.clone(), name: "app".into(), pod: logged.clone() };
    store.logs(vec![logged], vec![linked], S);
    let member = store.member(Some(&id), None).unwrap();
    assert_eq!((&*member.pod.name, member.container.as_deref()), ("a", Some("app")));
    let labels = vec![("app".to_owned(), "a".to_owned())];
    store.runtime_pod("uid-a", Some(Pod { labels: labels.clone(), ..pod("a") }), 2 * S);
    assert_eq!(store.member(None, Some("uid-a")).unwrap().pod.labels, labels);
    store.api_pod(Pod { host_network: true, ..pod("a") }, lives(S), 3 * S);
    let pod = store.member(None, Some("uid-a")).unwrap().pod;
    assert!(pod.host_network && pod.labels == labels && pod.node.as_deref() == Some("far"));
    assert!(store.take_changed() && !store.take_changed());
    store.runtime_pod("uid-a", None, 4 * S);
    store.api_pod_gone("uid-a", Life::default(), 4 * S);
    assert_eq!(store.local_pods().len(), 1, "its logs are there");
    store.logs(Vec::new(), Vec::new(), 5 * S);
    assert!(store.local_pods().is_empty());
    assert_eq!(store.member(Some(&id), None).unwrap().pod.name, "a", "remembered");
}

/// One pod's time with the address, in milliseconds.
#[derive(Clone, Debug)]
struct Time {
    /// After the pod before was over.
    gap: i64,
    /// From its being accepted to its address.
    starting: i64,
    lived: i64,
    /// Its end was asked for so long before it was over; None: it just went.
    graceful: Option<i64>,
    /// Whether its last state is told before it is gone.
    told: bool,
    /// How late its news are.
    lag: i64,
    /// Its node's clock.
    skew: i64,
}

fn times() -> impl Strategy<Value = Vec<Time>> {
    let graceful = proptest::option::of(100..20_000_i64);
    let one = (
        0..6_000_i64,
        0..5_000_i64,
        0..60_000_i64,
        graceful,
        any::<bool>(),
        0..2_900_i64,
        -900..900_i64,
    );
    let one = one.prop_map(|(gap, starting, lived, graceful, told, lag, skew)| Time {
        gap,
        starting,
        lived,
        graceful,
        told,
        lag,
        skew,
    });
    proptest::collection::vec(one, 1..8)
}

const MS: i64 = 1_000_000;

#[derive(Clone)]
enum Word {
    Pod(Pod, Life),
    Gone(Arc<str>, Life),
    Lost,
    Resumed,
    Relisted(Vec<(Pod, Life)>),
    Bookmark,
}

/// What really was: name, from, until.
type Truth = Vec<(String, i64, i64)>;

/// As an API server tells times: whole seconds, by another clock.
fn told(time: i64, skew: i64) -> i64 {
    (time + skew * MS).div_euclid(S) * S
}

fn history(times: &[Time]) -> (Truth, Vec<(i64, Word)>) {
    let (mut truth, mut words) = (Vec::new(), Vec::new());
    let mut clock = BASE;
    for (number, time) in times.iter().enumerate() {
        let name = format!("pod{number}");
        let start = clock + time.gap * MS;
        let end = start + time.lived * MS + time.graceful.unwrap_or(0) * MS;
        let accepted = told(start - time.starting * MS, time.skew);
        let life = Life {
            possible_from: accepted,
            running_since: Some(told(start, time.skew)),
            ..Life::default()
        };
        let late = |at: i64| at + time.lag * MS;
        words.push((late(start), Word::Pod(pod(&name), life)));
        let mut last = life;
        if let Some(before) = time.graceful {
            last.asked = Some(told(end - before * MS, 0));
            words.push((late(end - before * MS), Word::Pod(pod(&name), last)));
        }
        if time.told {
            last.running_since = None;
            last.over = Some(Some(told(end, time.skew)));
            words.push((late(end), Word::Pod(pod(&name), last)));
        }
        words.push((late(end) + MS, Word::Gone(pod(&name).uid.into(), last)));
        truth.push((name, start, end));
        clock = end;
    }
    (truth, words)
}

/// What the server would list at a time.
fn listed(words: &[(i64, Word)], at: i64) -> Vec<(Pod, Life)> {
    let mut there: Vec<(Pod, Life)> = Vec::new();
    let mut before: Vec<&(i64, Word)> = words.iter().filter(|word| word.0 <= at).collect();
    before.sort_by_key(|word| word.0);
    for (_, word) in before {
        if let Word::Pod(pod, life) = word {
            there.retain(|known| known.0.uid != pod.uid);
            there.push((pod.clone(), *life));
        } else if let Word::Gone(uid, _) = word {
            there.retain(|known| known.0.uid != **uid);
        }
    }
    there
}

/// Bookmarks all along, and news held back while the watch is lost: they are
/// told when it is taken up, or are in the list that is made instead.
fn with_losses(all: Vec<(i64, Word)>, losses: &[(i64, i64, bool)]) -> Vec<(i64, Word)> {
    let end = all.iter().map(|word| word.0).max().unwrap_or(BASE) + 30 * S;
    let mut words = all.clone();
    words.extend((0..(end - BASE) / (5 * S)).map(|n| (BASE + n * 5 * S, Word::Bookmark)));
    let mut free = 0;
    let mut losses = losses.to_vec();
    losses.sort();
    for (from, length, relist) in losses {
        // One at a time.
        let (from, until) = (BASE + from.max(free) * MS, BASE + (from.max(free) + length) * MS);
        free = (until - BASE) / MS + 1;
        words.retain(|(at, word)| {
            !(from..=until).contains(at) || !(relist || matches!(word, Word::Bookmark))
        });
        for (at, _) in words.iter_mut().filter(|word| (from..=until).contains(&word.0)) {
            *at = until + 1;
        }
        words.push((from, Word::Lost));
        let back = if relist { Word::Relisted(listed(&all, until)) } else { Word::Resumed };
        words.push((until, back));
    }
    words.sort_by_key(|word| word.0);
    words
}

fn tell(store: &mut Store, at: i64, word: &Word) {
    match word {
        Word::Pod(pod, life) => store.api_pod(pod.clone(), *life, at),
        Word::Gone(uid, life) => store.api_pod_gone(uid, *life, at),
        Word::Lost => store.feed(Source::Pods).lost("cut".into(), false),
        Word::Resumed => return store.feed(Source::Pods).resumed(at),
        Word::Relisted(there) => {
            store.pods_listing();
            for (pod, life) in there {
                store.api_pod(pod.clone(), *life, at);
            }
            store.pods_listed(at);
        }
        Word::Bookmark => store.feed(Source::Pods).bookmarked(at),
    }
    if !matches!(word, Word::Lost) {
        store.feed(Source::Pods).heard(at);
    }
}

proptest! {
    /// What is answered is true, whenever it is asked after the news are here
    /// or known to be missing; and where all is plain, there is an answer.
    #[test]
    fn names_are_what_really_was(
        times in times(),
        losses in proptest::collection::vec((0..200_000_i64, 1..40_000_i64, any::<bool>()), 0..3),
        questions in proptest::collection::vec((0..300_000_i64, 0..20_000_i64), 1..60),
    ) {
        let (truth, words) = history(&times);
        let plain = losses.is_empty();
        let words = with_losses(words, &losses);
        let mut store = store();
        store.pods_listing();
        store.pods_listed(BASE - S);
        let mut questions: Vec<(i64, i64)> = questions
            .iter()
            .map(|(at, later)| (BASE + at * MS, BASE + (at + later) * MS))
            .collect();
        questions.sort_by_key(|question| question.1);
        let mut words = words.iter().peekable();
        for (at, asked) in questions {
            while let Some((when, word)) = words.next_if(|word| word.0 <= asked) {
                tell(&mut store, *when, word);
            }
            let Some((name, from, until)) =
                truth.iter().find(|(_, from, until)| (*from..=*until).contains(&at)) else { continue };
            let found = name_at(&store, at, asked);
            // News that are on their way cannot be known.
            let settled = asked >= at + 6 * S;
            if let Some(found) = found.as_ref().filter(|found| *found != name) {
                let number: usize = found[3..].parse().unwrap();
                let (time, end) = (&times[number], truth[number].2);
                let told = time.graceful.map(|before| end + (time.lag - before) * MS);
                let known = settled || told.is_some_and(|told| told < at);
                prop_assert!(!known, "{found}, not {name} at {} asked {}", at - BASE, asked - BASE);
            }
            let inside = at >= from + 4 * S && at <= until - 26 * S;
            if settled && plain && inside && asked <= until - 26 * S {
                prop_assert_eq!(found.as_deref(), Some(&**name));
            }
        }
    }
}
