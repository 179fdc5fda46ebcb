//! Which pods a user means: by name or workload, namespace, labels.
//!
//! Words as kubectl has them. Knows no cgroup and no process.

use std::str::FromStr;

use super::kube::Pod;

/// A pod, a workload, or a pattern of their names: `NAME` or `NAMESPACE/NAME`,
/// `*` for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodName {
    namespace: Option<String>,
    name: String,
}

/// What a label has to be, as in `kubectl get -l`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// `key=value` or `key==value`.
    Is(String, String),
    /// `key!=value`: another, or none.
    IsNot(String, String),
    /// `key`: any value.
    Exists(String),
    /// `!key`: none.
    Missing(String),
}

/// Pods to be recorded. Empty: whatever is asked for does not depend on pods.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    /// One of these.
    pub pods: Vec<PodName>,
    /// In one of these.
    pub namespaces: Vec<String>,
    /// All of these.
    pub labels: Vec<Label>,
}

impl Selector {
    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty() && self.namespaces.is_empty() && self.labels.is_empty()
    }

    /// Whether a pod is asked for.
    pub fn takes(&self, pod: &Pod) -> bool {
        let named = self.pods.is_empty() || self.pods.iter().any(|name| name.is(pod));
        let placed = self.namespaces.is_empty() || self.namespaces.contains(&pod.namespace);
        named && placed && self.labels.iter().all(|label| label.is_on(pod))
    }
}

impl PodName {
    fn is(&self, pod: &Pod) -> bool {
        let workload = pod.workload.as_ref().map(|workload| workload.name.as_str());
        let mut names = std::iter::once(pod.name.as_str()).chain(workload);
        self.namespace.as_ref().is_none_or(|namespace| *namespace == pod.namespace)
            && names.any(|name| fits(&self.name, name))
    }
}

impl FromStr for PodName {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let (namespace, name) = match word.split_once('/') {
            Some((namespace, name)) => (Some(namespace.to_owned()), name),
            None => (None, word),
        };
        let sound = |name: &str| {
            // RFC 1123 names, as Kubernetes has them, and the asterisk.
            let allowed =
                |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.*".contains(&b);
            !name.is_empty() && name.bytes().all(allowed)
        };
        if !sound(name) || !namespace.as_deref().is_none_or(sound) {
            return Err("expected NAMESPACE/NAME or NAME of a pod or its workload; * is any".into());
        }
        Ok(Self { namespace, name: name.to_owned() })
    }
}

impl Label {
    fn is_on(&self, pod: &Pod) -> bool {
        let value = |key: &String| {
            let found = pod.labels.iter().find(|(known, _)| known == key);
            found.map(|(_, value)| value)
        };
        match self {
            Self::Is(key, wanted) => value(key) == Some(wanted),
            Self::IsNot(key, unwanted) => value(key) != Some(unwanted),
            Self::Exists(key) => value(key).is_some(),
            Self::Missing(key) => value(key).is_none(),
        }
    }
}

impl FromStr for Label {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let label = if let Some((key, value)) = word.split_once("!=") {
            Self::IsNot(key.to_owned(), value.to_owned())
        } else if let Some((key, value)) = word.split_once('=') {
            Self::Is(key.to_owned(), value.trim_start_matches('=').to_owned())
        } else if let Some(key) = word.strip_prefix('!') {
            Self::Missing(key.to_owned())
        } else {
            Self::Exists(word.to_owned())
        };
        let (Self::Is(key, _) | Self::IsNot(key, _) | Self::Exists(key) | Self::Missing(key)) =
            &label;
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._/".contains(&b);
        if key.is_empty() || !key.bytes().all(allowed) {
            return Err("expected key=value, key!=value, key or !key".into());
        }
        Ok(label)
    }
}

/// Whether `name` is what `pattern` says, `*` standing for any characters.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut rest) = name.strip_prefix(before) else { return false };
    let mut parts = after.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::super::kube::Workload;
    use super::*;

    fn pod() -> Pod {
        let workload = Workload { kind: "Deployment".into(), name: "checkout".into() };
        Pod {
            namespace: "shop".into(),
            name: "checkout-7d4b9c6f5-abcde".into(),
            workload: Some(workload),
            labels: vec![("app".into(), "checkout".into()), ("tier".into(), "back".into())],
            ..Pod::default()
        }
    }

    fn takes(pods: &[&str], namespaces: &[&str], labels: &[&str]) -> bool {
        let selector = Selector {
            pods: pods.iter().map(|word| word.parse().unwrap()).collect(),
            namespaces: namespaces.iter().map(|&word| word.to_owned()).collect(),
            labels: labels.iter().map(|word| word.parse().unwrap()).collect(),
        };
        selector.takes(&pod())
    }

    #[test]
    fn pods_are_meant_by_name_workload_and_pattern() {
        for word in [
            "shop/checkout",
            "checkout",
            "shop/checkout-7d4b9c6f5-abcde",
            "check*",
            "shop/*-abcde",
            "*",
            "c*t-*6f5-*e",
        ] {
            assert!(takes(&[word], &[], &[]), "{word}");
        }
        for word in ["other/checkout", "shop/check", "shop/checkout-7d4b9c6f5", "*x*", "checkout*f"]
        {
            assert!(!takes(&[word], &[], &[]), "{word}");
        }
        assert!(takes(&["payments", "checkout"], &["bar", "shop"], &[]));
        assert!(!takes(&["checkout"], &["bar"], &[]), "all that is given must hold");
    }

    #[test]
    fn labels_are_asked_for_as_kubectl_does() {
        for words in
            [&["app=checkout"][..], &["app==checkout", "tier"], &["tier!=front"], &["x!=y", "!x"]]
        {
            assert!(takes(&[], &[], words), "{words:?}");
        }
        for words in [&["app=other"][..], &["app", "x"], &["tier!=back"], &["!app"]] {
            assert!(!takes(&[], &[], words), "{words:?}");
        }
    }

    #[test]
    fn what_no_name_can_be_is_refused() {
        for word in ["", "a/b/c", "A", "shop/", "/x", "a b"] {
            assert!(word.parse::<PodName>().is_err(), "{word}");
        }
        for word in ["", "=x", "!=x", "!", "a b=c"] {
            assert!(word.parse::<Label>().is_err(), "{word}");
        }
    }
}
