//! What becomes known of a container while a capture is read.
//!
//! A recorder may learn a pod's name after it has described a process of it, and then
//! describes another one. The news hold for all processes of the container, from the
//! packet on that they came with: the thread that reads is ahead of those that ask, so
//! who asks says how far it is.

use std::sync::OnceLock;

use super::place::Place;

/// News kept of a container. A recorder learns its names once, or in a few steps.
const NEWS: usize = 16;

/// A container, or a process without one. Only grows.
#[derive(Debug, Default)]
pub struct Container {
    news: [OnceLock<Box<News>>; NEWS],
}

#[derive(Debug)]
struct News {
    /// Packet that they came with.
    from: u64,
    place: Place,
}

impl Container {
    fn all(&self) -> impl Iterator<Item = &News> {
        self.news.iter().map_while(|slot| slot.get()).map(Box::as_ref)
    }

    /// What is known with this besides; None where that is nothing new.
    fn news_in(&self, place: &Place) -> Option<Place> {
        let Some(known) = self.all().last() else { return Some(place.clone()) };
        let both = known.place.and_later(place);
        (both != known.place).then_some(both)
    }

    /// Whether this says nothing new.
    pub fn knows(&self, place: &Place) -> bool {
        self.news_in(place).is_none()
    }

    /// Adds what was said with packet `from`; packets come in order.
    pub fn learn(&self, from: u64, place: &Place) {
        let Some(place) = self.news_in(place) else { return };
        if let Some(free) = self.news.iter().find(|slot| slot.get().is_none()) {
            // Only one thread reads.
            let _ = free.set(Box::new(News { from, place }));
        }
    }

    /// What was known when packet number `packet` came.
    pub fn at(&self, packet: u64) -> Option<&Place> {
        self.all().take_while(|news| news.from <= packet).last().map(|news| &news.place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_uid(uid: String) -> Place {
        Place { pod_uid: Some(uid), ..Place::default() }
    }

    #[test]
    fn news_hold_from_their_packet_on() {
        let container = Container::default();
        assert_eq!(container.at(u64::MAX), None);
        container.learn(5, &of_uid("a".to_owned()));
        container.learn(9, &Place { node: Some("n".to_owned()), ..Place::default() });
        assert!(container.knows(&of_uid("a".to_owned())));
        assert_eq!(container.at(4), None);
        assert_eq!(container.at(8), Some(&of_uid("a".to_owned())));
        let both = Place { node: Some("n".to_owned()), ..of_uid("a".to_owned()) };
        assert_eq!(container.at(9), Some(&both));
        for packet in 10..1000 {
            container.learn(packet, &of_uid(packet.to_string()));
        }
        assert_eq!(container.all().count(), NEWS);
    }
}
