//! Where the ends of a connection run, as JSON.

use super::{both_ends, comma};
use crate::analyze::owner::End;
use crate::analyze::report::Item;
use crate::analyze::report::write::{push_address, push_json, push_json_or_null};

/// Appends what is known of both ends besides their processes, under this name; null
/// where nothing is, as in captures that perisco did not record.
#[inline]
pub fn write(name: &[u8], item: &Item<'_>, out: &mut Vec<u8>) {
    let ends = [item.client_end, item.server_end];
    if ends.iter().any(End::is_named) {
        return both_ends(name, ends.map(|end| end.is_named().then_some(end)), out, end);
    }
    out.extend_from_slice(name);
    out.extend_from_slice(b"null");
}

fn end(end: End<'_>, out: &mut Vec<u8>) {
    let mut text = |name: &str, value: Option<&str>| {
        out.extend_from_slice(name.as_bytes());
        push_json_or_null(out, value.map(str::as_bytes));
    };
    let workload = end.workload();
    text("{\"namespace\":", end.namespace());
    let name = end.name().filter(|_| workload.is_some()).map(|name| name.to_string());
    text(",\"workload\":", name.as_deref());
    text(",\"kind\":", workload.map(|workload| workload.kind.as_str()));
    text(",\"pod\":", end.pod().map(ToString::to_string).as_deref());
    text(",\"pod_uid\":", end.pod_uid());
    text(",\"container\":", end.container());
    text(",\"service\":", end.service().map(ToString::to_string).as_deref());
    text(",\"node\":", end.node());
    out.extend_from_slice(b",\"address\":");
    match end.address() {
        Some(address) => {
            out.push(b'"');
            push_address(out, address);
            out.push(b'"');
        }
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"by\":");
    push_json_or_null(out, end.basis().map(|basis| basis.name().as_bytes()));
    out.extend_from_slice(b",\"labels\":");
    labels(end.labels(), out);
    out.push(b'}');
}

fn labels(labels: Option<&[(String, String)]>, out: &mut Vec<u8>) {
    let Some(labels) = labels else { return out.extend_from_slice(b"null") };
    out.push(b'{');
    for (index, (key, value)) in labels.iter().enumerate() {
        comma(index, out);
        push_json(out, key.as_bytes());
        out.push(b':');
        push_json(out, value.as_bytes());
    }
    out.push(b'}');
}
