//! What a pod belongs to: from its owner, or from labels and the shape of its
//! name; only where that is certain.

use super::types::Workload;

/// Kubernetes cuts a generated name's base to this before it adds five characters.
const MAX_GENERATED_BASE: usize = 58;

/// Characters added to generated names.
const SUFFIX_LENGTH: usize = 5;

/// Characters that generated suffixes are made of: no vowels, nothing alike.
const SUFFIX_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A CronJob's Job is started within this time of the time in its name, or it
/// was suspended or late for longer than anyone would mistake.
const CRON_LATE_MINUTES: i64 = 7 * 24 * 60;

/// Labels of a pod that are kept, and their bytes in all.
const MAX_LABELS: usize = 64;
const MAX_LABEL_BYTES: usize = 4096;

const MINUTE: i64 = 60_000_000_000;

/// Labels by key.
pub type Labels<'a> = &'a dyn Fn(&str) -> Option<&'a str>;

/// From the owner that controls the pod; `created` in unix nanoseconds.
pub fn of_owner(kind: &str, name: &str, labels: Labels<'_>, created: i64) -> Option<Workload> {
    let made = |kind: &str, name: &str| Some(Workload { kind: kind.into(), name: name.into() });
    match kind {
        "ReplicaSet" => match labels("pod-template-hash").and_then(|hash| cut(name, hash)) {
            Some(deployment) => made("Deployment", deployment),
            None => made(kind, name),
        },
        "Job" => Some(of_job(name, created)),
        // A static pod's mirror is controlled by its node, which says nothing.
        "Node" => None,
        _ => made(kind, name),
    }
}

/// From what a container runtime knows; `created` in unix nanoseconds.
pub fn of_labels(pod: &str, labels: Labels<'_>, created: i64) -> Option<Workload> {
    let made = |kind: &str, name: &str| Some(Workload { kind: kind.into(), name: name.into() });
    if let Some(hash) = labels("pod-template-hash") {
        return made("Deployment", cut(generated_base(pod)?, hash)?);
    }
    if let Some(name) = labels("statefulset.kubernetes.io/pod-name") {
        let (set, ordinal) = pod.rsplit_once('-')?;
        let numbered = !ordinal.is_empty() && ordinal.bytes().all(|byte| byte.is_ascii_digit());
        return (name == pod && numbered).then(|| made("StatefulSet", set)).flatten();
    }
    if let Some(job) = labels("batch.kubernetes.io/job-name").or_else(|| labels("job-name")) {
        return Some(of_job(job, created));
    }
    // Only DaemonSets have both.
    labels("controller-revision-hash")?;
    labels("pod-template-generation")?;
    made("DaemonSet", generated_base(pod)?)
}

/// Labels sorted by key, as many as are kept; none that Kubernetes would not
/// allow: they are written with `,` and `=` between them.
pub fn kept_labels<'a>(labels: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    let allowed = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
    };
    let mut kept: Vec<(String, String)> = labels
        .filter(|(key, value)| !key.is_empty() && allowed(key) && allowed(value))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    kept.sort();
    let mut bytes = 0;
    let fits = kept.iter().take(MAX_LABELS).take_while(|(key, value)| {
        bytes += key.len() + value.len();
        bytes <= MAX_LABEL_BYTES
    });
    let fits = fits.count();
    kept.truncate(fits);
    kept
}

/// A CronJob names its Jobs by the minute that they are for.
fn of_job(name: &str, created: i64) -> Workload {
    let cron = name.rsplit_once('-').filter(|(_, minutes)| {
        let minutes = minutes.parse::<u32>().ok().filter(|m| m.to_string() == *minutes);
        let late = minutes.map(|minutes| created / MINUTE - i64::from(minutes));
        late.is_some_and(|late| (-1..=CRON_LATE_MINUTES).contains(&late))
    });
    let (kind, name) = cron.map_or(("Job", name), |(cron, _)| ("CronJob", cron));
    Workload { kind: kind.to_owned(), name: name.to_owned() }
}

/// `base` of `base-hash`.
fn cut<'a>(name: &'a str, hash: &str) -> Option<&'a str> {
    let base = name.strip_suffix(hash)?.strip_suffix('-')?;
    (!base.is_empty() && !hash.is_empty()).then_some(base)
}

/// `base` of `base-xxxxx`, where the name cannot have been cut.
fn generated_base(name: &str) -> Option<&str> {
    let (base, suffix) = name.rsplit_once('-')?;
    let generated =
        suffix.len() == SUFFIX_LENGTH && suffix.bytes().all(|byte| SUFFIX_ALPHABET.contains(&byte));
    (generated && !base.is_empty() && base.len() + 1 < MAX_GENERATED_BASE).then_some(base)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-01-02 03:00 UTC, 28402740 minutes.
    const CREATED: i64 = 28_402_740 * MINUTE;

    fn labelled(pod: &str, pairs: &[(&str, &str)]) -> Option<String> {
        let get = |key: &str| pairs.iter().find(|pair| pair.0 == key).map(|pair| pair.1);
        of_labels(pod, &get, CREATED).map(|workload| workload.kind + "/" + &workload.name)
    }

    fn owned(kind: &str, name: &str, pairs: &[(&str, &str)]) -> Option<String> {
        let get = |key: &str| pairs.iter().find(|pair| pair.0 == key).map(|pair| pair.1);
        of_owner(kind, name, &get, CREATED).map(|workload| workload.kind + "/" + &workload.name)
    }

    #[test]
    fn what_owners_say() {
        let hash = [("pod-template-hash", "7d9f8b6c5d")];
        assert_eq!(owned("ReplicaSet", "web-7d9f8b6c5d", &hash).as_deref(), Some("Deployment/web"));
        assert_eq!(owned("ReplicaSet", "web", &[]).as_deref(), Some("ReplicaSet/web"));
        assert_eq!(
            owned("ReplicaSet", "web-other", &hash).as_deref(),
            Some("ReplicaSet/web-other")
        );
        assert_eq!(owned("Job", "dump-28402740", &[]).as_deref(), Some("CronJob/dump"));
        assert_eq!(
            owned("Job", "dump-2", &[]).as_deref(),
            Some("Job/dump-2"),
            "a number of its own"
        );
        assert_eq!(
            owned("Job", "dump-28402800", &[]).as_deref(),
            Some("Job/dump-28402800"),
            "later"
        );
        assert_eq!(owned("DaemonSet", "agent", &[]).as_deref(), Some("DaemonSet/agent"));
        assert_eq!(owned("Node", "node-1", &[]), None);
    }

    #[test]
    fn what_labels_and_names_say() {
        let hash = ("pod-template-hash", "7d9f8b6c5d");
        assert_eq!(labelled("web-7d9f8b6c5d-x2b4z", &[hash]).as_deref(), Some("Deployment/web"));
        assert_eq!(labelled("web-7d9f8b6c5d-abcde", &[hash]), None, "a and e are never generated");
        assert_eq!(labelled("renamed", &[hash]), None);
        let set = ("statefulset.kubernetes.io/pod-name", "db-0");
        assert_eq!(labelled("db-0", &[set]).as_deref(), Some("StatefulSet/db"));
        assert_eq!(labelled("db-copy", &[set]), None);
        let job = ("batch.kubernetes.io/job-name", "dump-28402739");
        assert_eq!(labelled("dump-28402739-x2b4z", &[job]).as_deref(), Some("CronJob/dump"));
        assert_eq!(labelled("once-x2b4z", &[("job-name", "once")]).as_deref(), Some("Job/once"));
        let revision = ("controller-revision-hash", "5b8f");
        let daemon = [revision, ("pod-template-generation", "1")];
        assert_eq!(labelled("agent-x2b4z", &daemon).as_deref(), Some("DaemonSet/agent"));
        assert_eq!(labelled("agent-x2b4z", &[revision]), None, "StatefulSets have it as well");
        assert_eq!(labelled("bare", &[("app", "bare")]), None);
    }

    #[test]
    fn a_name_that_may_have_been_cut_says_nothing() {
        let long = "d".repeat(57);
        let daemon = [("controller-revision-hash", "5b8f"), ("pod-template-generation", "1")];
        assert_eq!(labelled(&format!("{long}-x2b4z"), &daemon), None);
        let short = "d".repeat(50);
        assert!(labelled(&format!("{short}-x2b4z"), &daemon).is_some());
    }
}
