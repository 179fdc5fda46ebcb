//! The ends of connections in words: a name where one is known, else the address.
//!
//! Names come from a file and are not escaped here.

use super::model::{EdgeFigures, Party, Talk};
use super::{Item, address_text};
use crate::analyze::owner::End;
use crate::analyze::owner::place::Name;

/// Names of processes shown of an end.
const NAMES: usize = 3;

/// `shop/frontend → shop/checkout (Service checkout)`, an address for an end that has no
/// name; None where neither has one.
pub fn pair(item: &Item<'_>) -> Option<String> {
    let names = [item.client_end, item.server_end].map(|end| end.name());
    if names.iter().all(Option::is_none) {
        return None;
    }
    let [client, server] = names.map(|name| name.map(|name| name.to_string()));
    let client = client.unwrap_or_else(|| item.client.ip().to_string());
    let server = server.unwrap_or_else(|| address_text(item.server));
    Some(in_line(&client, &server, item.server_end.service_text().as_deref()))
}

/// The same of names that are known already.
pub fn in_line(client: &str, server: &str, service: Option<&str>) -> String {
    let service = service.map_or(String::new(), |service| format!(" (Service {service})"));
    format!("{client} → {server}{service}")
}

/// All that is known of where an end runs, and what it rests on; None where nothing is.
pub fn described(end: End<'_>) -> Option<String> {
    if !end.is_named() {
        return None;
    }
    let workload = end.workload();
    let name = end.name().filter(|_| workload.is_some());
    let name = name.zip(workload).map(|(name, workload)| format!("{name} ({})", workload.kind));
    let of = |what: &str, value: Option<String>| value.map(|value| format!("{what} {value}"));
    let parts = [
        name,
        of("pod", end.pod().map(ToString::to_string)),
        of("container", end.container().map(str::to_owned)),
        of("Service", end.service().map(ToString::to_string)),
        of("node", end.node().map(str::to_owned)),
        of("behind it", end.address().map(address_text)),
        of("by", end.basis().map(|basis| basis.name().to_owned())),
    ];
    Some(parts.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

/// The labels of the pod at an end as `key=value`, None where they are not known.
pub fn labels(end: End<'_>) -> Option<String> {
    let labels = end.labels()?.iter().map(|(key, value)| format!("{key}={value}"));
    Some(labels.collect::<Vec<_>>().join(", ")).filter(|labels| !labels.is_empty())
}

/// The Service that was addressed, where that is not the server's name: by its name alone
/// where it is in the same namespace.
pub fn service(talk: &Talk) -> Option<String> {
    let service = talk.service.as_deref()?;
    if talk.server.kind.as_deref() == Some("Service") {
        return None;
    }
    let (namespace, name) = service.split_once('/')?;
    let same = talk.server.namespace.as_deref() == Some(namespace);
    Some(if same { name } else { service }.to_owned())
}

/// A workload by its name; another end by its processes, its address and that one's name.
pub fn party(party: &Party) -> String {
    let Party { kind, namespace, name, address, host, processes, .. } = party;
    if let (Some(kind), Some(name)) = (kind, name) {
        return Name { kind, namespace: namespace.as_deref(), name }.to_string();
    }
    let processes = some_of(processes);
    let host = host.as_ref().map_or(String::new(), |host| format!(" [{host}]"));
    format!("{processes}{}{host}", address.as_deref().unwrap_or("?"))
}

/// The first of some names with a blank behind them; nothing where there is none.
pub fn some_of(names: &[String]) -> String {
    if names.is_empty() {
        return String::new();
    }
    let more = if names.len() > NAMES { ",…" } else { "" };
    let shown: Vec<_> = names.iter().take(NAMES).map(String::as_str).collect();
    format!("{}{more} ", shown.join(","))
}

/// Who talks to whom in one line, and what they speak.
pub fn talk(talk: &Talk) -> String {
    let service = service(talk);
    let ends = in_line(&party(&talk.client), &party(&talk.server), service.as_deref());
    match spoken(&talk.figures).join(", ") {
        nothing if nothing.is_empty() => ends,
        spoken => format!("{ends} ({spoken})"),
    }
}

/// What is spoken between two ends: protocols of transactions; of connections where there
/// was none.
pub fn spoken(figures: &EdgeFigures) -> &[String] {
    if figures.protocols.is_empty() { &figures.kinds } else { &figures.protocols }
}
