//! What comments say of a connection and its packets: remarks and owners.

use crate::analyze::flow::closed::Closed;
use crate::analyze::flow::key::Side;
use crate::analyze::flow::{Flow, SegmentRef};
use crate::analyze::owner::{Note, Owners};
use crate::analyze::packet::flags;
use crate::analyze::report::Aggregate;
use crate::analyze::round::Round;
use crate::analyze::transaction::Transaction;

/// Packet comments kept per connection: its first, and those of the requests
/// in flight.
const COMMENTS_PER_FLOW: usize = 64;

/// Keeps what the comments of a segment's packet say.
pub(super) fn keep(flow: &mut Flow, segment: &SegmentRef, round: &Round) {
    let client = flow.client();
    for note in of_packet(segment.packet, round) {
        if let Note::Comment(text) = note {
            keep_comment(flow, segment.packet, text);
        }
    }
    keep_ends(&mut flow.owners, segment, round, client);
}

/// Keeps what is said of the ends: owners first, since they tell which end is the
/// client's.
fn keep_ends(owners: &mut Owners, segment: &SegmentRef, round: &Round, client: Side) {
    let syn = segment.flags & flags::SYN != 0;
    let syn = syn.then_some(segment.flags & flags::ACK == 0);
    for note in of_packet(segment.packet, round) {
        if let Note::Owner(owner) = note {
            owners.keep(owner, segment.packet, segment.side, syn, client);
        }
    }
    for note in of_packet(segment.packet, round) {
        if let Note::Place(role, place) = note {
            owners.keep_place((*role, place), segment.packet, segment.side, syn, client);
        }
    }
}

/// Tells what the comments of a segment's packet say of a connection whose
/// totals are told already: only whose its ends were.
pub(super) fn tell_late(
    closed: &Closed,
    segment: &SegmentRef,
    round: &Round,
    aggregate: &mut Aggregate,
) {
    let mut owners = Owners::new(closed.told);
    keep_ends(&mut owners, segment, round, closed.client);
    if !owners.is_empty() {
        let [client, server] = [closed.client, closed.client.other()];
        let ends = [closed.key.end(client), closed.key.end(server)];
        let names = [client, server].map(|side| owners.names(side));
        let said = segment.packet;
        let known = [client, server].map(|side| owners.end(side, said, said).to_owned());
        aggregate.add_ends(ends, names, &known);
    }
}

fn of_packet(packet: u64, round: &Round) -> impl Iterator<Item = &Note> {
    let at = round.notes.partition_point(|(number, _)| *number < packet);
    let notes = round.notes.get(at..).unwrap_or_default();
    notes.iter().take_while(move |(number, _)| *number == packet).map(|(_, note)| note)
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
