//! What comments say of a connection and its packets: remarks and owners.

use crate::analyze::flow::{Flow, SegmentRef};
use crate::analyze::owner::Note;
use crate::analyze::packet::flags;
use crate::analyze::round::Round;
use crate::analyze::transaction::Transaction;

/// Packet comments kept per connection: its first, and those of the requests
/// in flight.
const COMMENTS_PER_FLOW: usize = 64;

/// Keeps what the comments of a segment's packet say.
pub(super) fn keep(flow: &mut Flow, segment: &SegmentRef, round: &Round) {
    let packet = segment.packet;
    let at = round.notes.partition_point(|(number, _)| *number < packet);
    for (_, note) in round.notes.iter().skip(at).take_while(|(number, _)| *number == packet) {
        match note {
            Note::Comment(text) => keep_comment(flow, packet, text),
            Note::Owner(owner) => {
                let syn = segment.flags & flags::SYN != 0;
                let syn = syn.then_some(segment.flags & flags::ACK == 0);
                let client = flow.client();
                flow.owners.keep(owner, packet, segment.side, syn, client);
            }
        }
    }
}

fn keep_comment(flow: &mut Flow, packet: u64, text: &str) {
    match flow.comments.last_mut() {
        Some((last, known)) if *last == packet => {
            known.push('\n');
            known.push_str(text);
        }
        _ => {
            if flow.comments.len() >= COMMENTS_PER_FLOW {
                flow.comments.remove(1);
            }
            flow.comments.push((packet, text.to_owned()));
        }
    }
}

/// The comment of the packet that began a transaction, else of the first
/// packet of its connection.
pub(super) fn comment_of<'a>(flow: &'a Flow, transaction: &Transaction) -> Option<&'a str> {
    if flow.comments.is_empty() {
        return None;
    }
    let message = transaction.request.as_ref().or(transaction.response.as_ref());
    let packet = message.map_or(0, |message| message.packet);
    let find = |packet| flow.comments.iter().find(|(number, _)| *number == packet);
    find(packet).or_else(|| find(flow.first_packet)).map(|(_, text)| text.as_str())
}

/// The packet that its last message begins with: who answered it, or should
/// have, is who owned the server's end by then.
pub(super) fn last_packet(transaction: &Transaction) -> u64 {
    let message = transaction.response.as_ref().or(transaction.request.as_ref());
    message.map_or(0, |message| message.packet)
}
