//! Interim responses (1xx): counted, and their heads kept where bodies are.

use super::Http1;
use super::half::Mark;
use super::head::{Head, StatusLine};
use crate::analyze::decode::Sink;
use crate::analyze::transaction::Message;

impl Http1 {
    /// An interim response, which belongs to the request of the next final one.
    #[inline(never)]
    pub(super) fn interim(
        &mut self,
        head: &Head<'_, '_, StatusLine<'_>>,
        mark: Mark,
        out: &mut Sink<'_>,
    ) {
        self.pairing.interim();
        if !out.wants.bodies {
            return;
        }
        let mut message = Message {
            head: out.fields(),
            status: Some(head.line.status),
            minor: Some(head.line.version.minor()),
            start: mark.start,
            end: mark.end,
            packet: mark.packet,
            ..Message::default()
        };
        head.fields.keep(&mut message.head);
        self.pairing.keep_interim(message);
    }
}
