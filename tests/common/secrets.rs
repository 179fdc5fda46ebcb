//! Planted secrets: how they could be found in a capture, and what of a report may differ.

use perisco::analyze::decode::http2::hpack::huffman::encode;
use serde_json::Value;

/// Fields of a transaction with lists of header fields.
const FIELDS: [&str; 4] =
    ["request_headers", "response_headers", "request_trailers", "response_trailers"];

/// Bytes as seen from each of their eight bits on.
pub struct Shifts(Vec<Vec<u8>>);

impl Shifts {
    pub fn of(bytes: &[u8]) -> Self {
        let shifted = |shift: u32| {
            let next = bytes.iter().skip(1).chain([&0]);
            let pairs = bytes.iter().zip(next);
            pairs
                .map(|(a, b)| ((u16::from(*a) << 8 | u16::from(*b)) >> (8 - shift)) as u8)
                .collect()
        };
        Self((0..8).map(shifted).collect())
    }

    /// How a text stands in them: plain, as base64 or as Huffman code; None if it does not.
    pub fn hold(&self, text: &str) -> Option<String> {
        let find = |bytes: &[u8], what: &[u8]| memchr::memmem::find(bytes, what).is_some();
        let bytes = &self.0[0];
        if find(bytes, text.as_bytes()) {
            return Some(format!("{text} stands there as it is"));
        }
        for skip in 0..3 {
            // What is the same whatever stands before and behind it.
            let padded = [&b"\0\0"[..skip], text.as_bytes()].concat();
            let coded = base64(&padded);
            let from = [0, 2, 3][skip];
            let sure = &coded[from..padded.len() / 3 * 4];
            if find(bytes, sure.as_bytes()) {
                return Some(format!("{text} stands there in base64"));
            }
        }
        for (shift, bytes) in self.0.iter().enumerate() {
            for what in [text.to_owned(), base64(text.as_bytes())] {
                let code = encode(what.as_bytes());
                if find(bytes, &code[..code.len() - 1]) {
                    return Some(format!(
                        "{what} stands there in Huffman code from bit {shift} on"
                    ));
                }
            }
        }
        None
    }
}

pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for part in bytes.chunks(3) {
        let word =
            part.iter().fold(0u32, |word, b| word << 8 | u32::from(*b)) << (8 * (3 - part.len()));
        for nth in 0..=part.len() {
            out.push(char::from(DIGITS[(word >> (18 - 6 * nth)) as usize & 63]));
        }
    }
    out
}

/// A transaction without the values that redaction changes: those of fields with these names, and
/// queries.
pub fn masked(transaction: &Value, names: &[&str]) -> Value {
    let mut copy = transaction.clone();
    if let Some(path) = copy["path"].as_str() {
        copy["path"] = path.split('?').next().unwrap_or_default().into();
    }
    // What comes behind the service in a call's path.
    if let Some(method) = copy["grpc"]["method"].as_str() {
        copy["grpc"]["method"] = method.split('?').next().unwrap_or_default().into();
    }
    for key in FIELDS {
        for field in copy[key].as_array_mut().into_iter().flatten() {
            let name = field[0].as_str().unwrap_or_default().to_ascii_lowercase();
            let name = name.strip_suffix("-bin").unwrap_or(&name);
            if names.contains(&name) || name.starts_with('?') {
                field[1] = Value::Null;
            } else if matches!(name, "referer" | "location")
                && let Some(url) = field[1].as_str()
            {
                field[1] = url.split('?').next().unwrap_or_default().into();
            }
        }
    }
    copy
}

/// tshark's warnings and errors about a capture, and how many packets it calls malformed.
pub fn complaints(capture: &std::path::Path) -> Vec<String> {
    let run = |args: &[&str]| {
        let output =
            std::process::Command::new("tshark").arg("-r").arg(capture).args(args).output();
        let output = output.expect("tshark runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let mut found: Vec<String> = Vec::new();
    let mut odd = false;
    for line in run(&["-q", "-z", "expert,warn"]).lines() {
        if let Some((kind, _)) = line.split_once(" (") {
            odd = matches!(kind, "Errors" | "Warns");
        }
        if odd && line.trim_start().starts_with(|c: char| c.is_ascii_digit()) {
            found.push(line.split_whitespace().collect::<Vec<_>>().join(" "));
        }
    }
    found.sort();
    found.extend(run(&["-Y", "_ws.malformed"]).lines().map(|line| format!("malformed: {line}")));
    found
}
