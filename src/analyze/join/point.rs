//! Points of observation: the node, and the time since it was started, that a section of
//! a recording says it is of.

use std::sync::{Arc, PoisonError, RwLock};

use crate::analyze::owner;
use crate::pcap::{Capture, Interface, SectionNotes};

/// Points told apart: what a flow's key has room for. More than that are taken for files
/// without a node.
const MAX_POINTS: usize = u16::MAX as usize;

/// A node since it was started.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Point {
    node: Arc<str>,
    boot: Option<String>,
}

impl Point {
    /// What the comments of a section say; None where they name no node.
    fn of(notes: &SectionNotes) -> Option<Self> {
        let value = |key: &str| {
            let pairs = notes.iter().filter_map(|note| note.split_once('='));
            pairs.filter(|(name, _)| *name == key).find_map(|(_, value)| owner::text(value))
        };
        let node = value("perisco.node")?.into();
        Some(Self { node, boot: value("perisco.boot") })
    }
}

/// The points of a run, by number from 1. Copies share them.
#[derive(Clone, Debug, Default)]
pub struct Points(Arc<RwLock<Vec<Point>>>);

impl Points {
    /// Those that the first sections of the inputs name; None where these are not several,
    /// or an input is a stream.
    pub fn of_capture(capture: &Capture) -> Option<Self> {
        let points = Self::default();
        capture.inputs().iter().filter_map(|input| input.notes.as_ref()).for_each(|notes| {
            points.number(notes);
        });
        (points.len() > 1 && !capture.is_live()).then_some(points)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of an interface's point, which may be a new one; 0 of files that name none.
    pub fn of(&self, interface: &Interface) -> u16 {
        interface.notes.as_ref().map_or(0, |notes| self.number(notes))
    }

    pub(super) fn number(&self, notes: &SectionNotes) -> u16 {
        let Some(point) = Point::of(notes) else { return 0 };
        let mut points = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let known = points.iter().position(|known| *known == point);
        let index = match known {
            Some(index) => index,
            None if points.len() < MAX_POINTS => {
                points.push(point);
                points.len() - 1
            }
            None => return 0,
        };
        u16::try_from(index + 1).unwrap_or(0)
    }

    /// The name of a point's node.
    pub fn name(&self, point: u16) -> Arc<str> {
        let points = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let point = usize::from(point).checked_sub(1).and_then(|index| points.get(index));
        point.map_or_else(|| Arc::from("?"), |point| Arc::clone(&point.node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(notes: &[&str]) -> SectionNotes {
        notes.iter().map(|note| Box::from(*note)).collect()
    }

    #[test]
    fn a_node_that_was_started_again_is_another_point() {
        let points = Points::default();
        let number = |of: &[&str]| points.number(&notes(of));
        assert_eq!(number(&["perisco.backend=cgroup"]), 0);
        assert_eq!(number(&["perisco.node=", "perisco.boot=x"]), 0);
        assert_eq!(number(&["perisco.node=a%20b", "perisco.boot=1"]), 1);
        assert_eq!(number(&["perisco.boot=2", "perisco.node=a%20b"]), 2);
        assert_eq!(number(&["perisco.node=c"]), 3);
        assert_eq!(number(&["perisco.node=a%20b", "perisco.boot=1", "x"]), 1);
        assert_eq!((&*points.name(1), &*points.name(3), &*points.name(0)), ("a b", "c", "?"));
    }
}
