//! Which protocol is spoken on which server port of a capture: a pass of the
//! analysis over the file, or over its beginning.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use perisco::analyze::options::Options;
use perisco::analyze::pipeline::{self, Control};
use perisco::analyze::watch::{Progress, Watch, Watched};
use perisco::pcap::{Capture, Input, OpenOptions};

/// Bytes of the file that are looked at: a second's work, and enough for all
/// services to have spoken.
const SURVEY_BYTES: u64 = 512 << 20;

/// What was heard on a port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spoken {
    /// HTTP/1, WebSocket among it.
    pub http1: bool,
    /// HTTP/2 without TLS.
    pub http2: bool,
    /// HTTP/2 that began as HTTP/1.1 (h2c upgrade, RFC 7540 section 3.2).
    pub upgraded: bool,
    /// gRPC over HTTP/2.
    pub grpc: bool,
    /// TLS.
    pub tls: bool,
    /// Transactions.
    pub transactions: u64,
}

/// What a capture is, as far as it was looked at.
#[derive(Debug, Default)]
pub struct Survey {
    /// By server port.
    pub ports: BTreeMap<u16, Spoken>,
    /// "pcapng (zstd)".
    pub format: String,
    /// Bytes looked at and bytes there are, where that is not all.
    pub part: Option<(u64, u64)>,
    /// Where and how the file is damaged.
    pub damage: Vec<String>,
}

/// Looks at transactions, and no further than it has to.
struct Onlooker<'a> {
    ports: RefCell<BTreeMap<u16, Spoken>>,
    position: RefCell<u64>,
    stop: &'a AtomicBool,
}

impl Watch for Onlooker<'_> {
    fn round(&self, finished: &mut Vec<Watched>, progress: &Progress) {
        let mut ports = self.ports.borrow_mut();
        for watched in finished.drain(..) {
            let spoken = ports.entry(watched.server.port()).or_default();
            let transaction = &watched.transaction;
            let http2 = transaction.stream.is_some();
            spoken.transactions += 1;
            spoken.http1 |= !http2;
            spoken.http2 |= http2;
            spoken.grpc |= http2 && transaction.grpc.is_some();
            let request = transaction.request.as_ref();
            // RFC 9113 section 8.2.2: in HTTP/2 itself there is no such field.
            let upgrade = request.and_then(|request| request.head.get("upgrade"));
            spoken.upgraded |= http2 && upgrade.is_some();
        }
        *self.position.borrow_mut() = progress.position;
        if progress.position >= SURVEY_BYTES {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}

/// Looks at a capture.
///
/// # Errors
/// Where it cannot be read or is no capture.
pub fn survey(path: &Path) -> anyhow::Result<Survey> {
    let stop = Arc::new(AtomicBool::new(false));
    let open = OpenOptions { stop: Some(Arc::clone(&stop)), ..OpenOptions::default() };
    let capture = Capture::open(vec![Input::Path(path.to_owned())], open)?;
    anyhow::ensure!(
        !capture.is_live(),
        "{}: is no file: Wireshark itself reads pipes",
        path.display()
    );
    let format = capture.inputs().first().map_or(String::new(), |input| input.format.clone());
    let size = capture.size_hint();
    let onlooker =
        Onlooker { ports: RefCell::default(), position: RefCell::default(), stop: &stop };
    let control = Control { stop: &stop, progress: &|_| {} };
    let report = pipeline::watch(capture, &Options::default(), &control, &onlooker)?.report;
    let mut ports = onlooker.ports.into_inner();
    for edge in &report.edges {
        let has = |name: &str| edge.figures.kinds.iter().any(|kind| kind == name);
        let spoken = ports.entry(edge.server.port()).or_default();
        spoken.tls |= has("tls");
        spoken.http1 |= has("http/1") || has("websocket");
        spoken.http2 |= has("http/2");
    }
    let position = onlooker.position.into_inner();
    let part = report.interrupted.then_some(position).zip(size);
    let damage = report.loss.damage.iter();
    let damage = damage.map(|d| format!("{}: at byte {}: {}", d.file, d.offset, d.what)).collect();
    Ok(Survey { ports, format, part, damage })
}
