//! Lines and bars that show numbers by height or length.

use super::style::Style;
use crate::analyze::report::aggregate::{STEPS, axis};
use crate::analyze::report::model::Over;

/// From the lowest to the highest; nothing at all is a blank.
const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// The same for terminals that have no more than ASCII: by how dark they are.
const MARKS: [char; 8] = ['.', ':', '-', '=', '+', '*', '#', '@'];
/// Eighths of a column.
const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// Columns below which a line says nothing that the numbers do not.
const FEWEST: usize = 8;

/// Counts in columns of one length, from one time to another.
pub struct Columns {
    /// Nanoseconds of a column.
    pub step_ns: u64,
    /// Begin of the first, in nanoseconds since 1970.
    pub start: i64,
    /// What is in each.
    pub counts: Vec<u64>,
}

impl Columns {
    /// One of the lists of `over`, over all the time from `first` to `last`, in
    /// at most `room` columns; None where those would be too few to be of use.
    pub fn new(over: &Over, counts: &[u64], ends: (i64, i64), room: usize) -> Option<Self> {
        let begin = over.start.0.nanos();
        let length = i64::try_from(over.step_ns).unwrap_or(i64::MAX);
        let at = |index: i64| begin.saturating_add(length.saturating_mul(index));
        // What began outside, by a clock that went back, is shown nevertheless.
        let first = if ends.0 < at(1) { ends.0 } else { begin };
        let last = ends.1.max(at(counts.len().saturating_sub(1) as i64));
        let (start, step, len) = axis(first, last, room.min(STEPS));
        let mut columns = vec![0_u64; len];
        for (index, count) in (0_i64..).zip(counts) {
            let place = usize::try_from(at(index).saturating_sub(start) / step);
            let place = place.unwrap_or(usize::MAX);
            if let Some(column) = columns.get_mut(place) {
                *column = column.saturating_add(*count);
            }
        }
        let columns = Self { step_ns: step.unsigned_abs(), start, counts: columns };
        (len >= FEWEST).then_some(columns)
    }

    /// The highest, and when it begins.
    pub fn peak(&self) -> (u64, i64) {
        let mut peak = (0, self.start);
        for (index, count) in (0_i64..).zip(&self.counts) {
            if *count > peak.0 {
                let step = i64::try_from(self.step_ns).unwrap_or(i64::MAX);
                peak = (*count, self.start.saturating_add(step.saturating_mul(index)));
            }
        }
        peak
    }

    /// A character for each, as high as it is beside the highest; what is not
    /// zero is never blank.
    pub fn line(&self, style: Style) -> String {
        let levels = if style.ascii { MARKS } else { BLOCKS };
        let most = self.peak().0;
        let level = |count: &u64| {
            let level = (u128::from(*count) * 8).div_ceil(u128::from(most.max(1)));
            level.checked_sub(1).and_then(|level| levels.get(level as usize))
        };
        self.counts.iter().map(|count| level(count).copied().unwrap_or(' ')).collect()
    }
}

/// A bar of `columns` for `part` beside `most`; what is not zero is never empty.
pub fn bar(part: u64, most: u64, columns: usize, style: Style) -> String {
    let all = columns as u128 * 8;
    let eighths = (u128::from(part) * all).checked_div(u128::from(most)).unwrap_or(0).min(all);
    let eighths = if part > 0 { eighths.max(1) } else { eighths } as usize;
    let (full, rest) = match style.ascii {
        true => (eighths.div_ceil(8), 0),
        false => (eighths / 8, eighths % 8),
    };
    let (block, dot) = if style.ascii { ('#', '.') } else { ('█', '·') };
    let mut text: String = std::iter::repeat_n(block, full).collect();
    text.extend(rest.checked_sub(1).and_then(|rest| EIGHTHS.get(rest)));
    let used = full + usize::from(rest > 0);
    text.extend(std::iter::repeat_n(dot, columns.saturating_sub(used)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analyze::report::model::Time;
    use crate::time::Timestamp;

    const SECOND: i64 = 1_000_000_000;

    fn over(start: i64, step: i64, counts: &[u64]) -> Over {
        Over {
            start: Time(Timestamp::from_nanos(start)),
            step_ns: step.unsigned_abs(),
            counts: counts.to_vec(),
            errors: Vec::new(),
            untimed: 0,
        }
    }

    fn columns(over: &Over, ends: (i64, i64), room: usize) -> Option<Columns> {
        Columns::new(over, &over.counts, ends, room)
    }

    #[test]
    fn a_line_is_over_all_the_time() {
        let over = over(4 * SECOND, SECOND, &[1, 0, 400, 800, 799]);
        let of = |first, last, room| columns(&over, (first * SECOND, last * SECOND), room);
        let line = |columns: Columns, ascii| columns.line(Style { ascii, ..Style::default() });
        let all = of(0, 11, 12).expect("a line");
        assert_eq!((all.step_ns, all.peak()), (SECOND as u64, (800, 7 * SECOND)));
        assert_eq!(line(all, false), "    ▁ ▄██   ");
        assert_eq!(line(of(0, 11, 12).expect("a line"), true), "    . =@@   ");
        // Twice the time to a column where there is less room.
        let half = of(0, 15, 8).expect("a line");
        assert_eq!(
            (half.step_ns, half.counts.as_slice()),
            (2 * SECOND as u64, &[0, 0, 1, 1200, 799, 0, 0, 0][..],)
        );
        assert!(of(4, 8, 6).is_none());
    }

    #[test]
    fn what_began_outside_is_counted() {
        let over = over(0, SECOND, &[7; 20]);
        let within = columns(&over, (5 * SECOND, 6 * SECOND), 67).expect("a line");
        assert_eq!(within.counts.iter().sum::<u64>(), 140);
        let all = columns(&over, (i64::MIN + 1, i64::MAX), 67).expect("a line");
        assert_eq!(all.counts.iter().sum::<u64>(), 140);
    }

    #[test]
    fn bars_are_as_long_as_they_should_be() {
        let of = |part, most| bar(part, most, 4, Style::default());
        assert_eq!([of(8, 8), of(0, 8), of(1, 800), of(5, 8)], ["████", "····", "▏···", "██▌·"]);
        assert_eq!(of(0, 0), "····");
        let ascii = |part, most| bar(part, most, 4, Style { ascii: true, ..Style::default() });
        assert_eq!([ascii(8, 8), ascii(1, 800), ascii(5, 8)], ["####", "#...", "###."]);
    }
}
