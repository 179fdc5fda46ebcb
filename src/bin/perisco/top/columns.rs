//! Columns of the table: what they show, how rows are sorted by them, and which
//! are left out where there is no room.

use std::cmp::Ordering;

use perisco::analyze::report::text::units::{duration, rate, share, short_count};

use super::state::latency::Percentiles;
use super::state::series::Figures;

/// Columns that a name needs before the least important numbers give way.
const NAME_COLUMNS: usize = 30;

/// A column of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Column {
    Rate,
    Count,
    Errors,
    Unknown,
    P50,
    P90,
    P99,
    Max,
    /// Counts of the last seconds.
    Line,
    Name,
}

impl Column {
    /// From left to right.
    const ALL: [Self; 10] = [
        Self::Rate,
        Self::Count,
        Self::Errors,
        Self::Unknown,
        Self::P50,
        Self::P90,
        Self::P99,
        Self::Max,
        Self::Line,
        Self::Name,
    ];

    /// Those that rows can be sorted by.
    const SORTED: [Self; 9] = [
        Self::Rate,
        Self::Count,
        Self::Errors,
        Self::Unknown,
        Self::P50,
        Self::P90,
        Self::P99,
        Self::Max,
        Self::Name,
    ];

    /// Those that give way, the first one first. A line takes a third of a
    /// wide table, and says least when it is short.
    const GIVE_WAY: [Self; 4] = [Self::P90, Self::Unknown, Self::Max, Self::Line];

    /// The head of the column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rate => "RATE",
            Self::Count => "COUNT",
            Self::Errors => "ERR",
            Self::Unknown => "UNKN",
            Self::P50 => "P50",
            Self::P90 => "P90",
            Self::P99 => "P99",
            Self::Max => "MAX",
            Self::Line => "RATE OVER TIME",
            Self::Name => "ENDPOINT",
        }
    }

    /// How wide it is in a table of so many columns; the name has the rest.
    pub fn width(self, all: usize) -> usize {
        match self {
            Self::Rate | Self::P50 | Self::P90 | Self::P99 | Self::Max => 7,
            Self::Count => 9,
            Self::Errors | Self::Unknown => 6,
            Self::Line if all >= 140 => 30,
            Self::Line if all >= 100 => 15,
            Self::Line => 8,
            Self::Name => 0,
        }
    }

    /// The columns of a table so wide that is sorted by one of them, and how
    /// many columns the name has.
    pub fn shown(all: usize, sort: Self) -> (Vec<Self>, usize) {
        let mut shown = Self::ALL.to_vec();
        let room = |shown: &[Self]| {
            let used: usize = shown.iter().map(|column| column.width(all) + 1).sum();
            (all + 1).saturating_sub(used)
        };
        for column in Self::GIVE_WAY {
            if room(&shown) >= NAME_COLUMNS {
                break;
            }
            shown.retain(|shown| *shown != column || column == sort);
        }
        // A very narrow one has the numbers that fit.
        while room(&shown) < NAME_COLUMNS / 3 && shown.len() > 2 {
            let at = shown.iter().rposition(|column| *column != Self::Name && *column != sort);
            match at {
                Some(at) => {
                    shown.remove(at);
                }
                None => break,
            }
        }
        let room = room(&shown);
        (shown, room)
    }

    /// The next one to sort by, or the one before.
    pub fn moved(self, by: isize) -> Self {
        let at = Self::SORTED.iter().position(|column| *column == self).unwrap_or(0) as isize;
        let at = (at + by).rem_euclid(Self::SORTED.len() as isize) as usize;
        Self::SORTED.get(at).copied().unwrap_or(self)
    }

    /// What it says of a row, but for a name and a line. What is not known is `?`,
    /// and what does not occur is empty.
    pub fn text(self, figures: &Figures) -> String {
        let latency = |pick: fn(&Percentiles) -> u64| match &figures.latency {
            Some(percentiles) => duration(pick(percentiles)),
            None if figures.count == 0 => String::new(),
            None => "?".to_owned(),
        };
        let part = |part: u64| if part == 0 { String::new() } else { share(part, figures.count) };
        match self {
            Self::Rate if figures.count == 0 => "0/s".to_owned(),
            Self::Rate => figures.rate.map_or("?".to_owned(), rate),
            Self::Count => short_count(figures.count),
            Self::Errors => part(figures.errors),
            Self::Unknown => part(figures.unknown),
            Self::P50 => latency(|p| p.p50),
            Self::P90 => latency(|p| p.p90),
            Self::P99 => latency(|p| p.p99),
            Self::Max => latency(|p| p.max),
            Self::Line | Self::Name => String::new(),
        }
    }

    /// Which of two rows comes first: the larger number, or the name.
    pub fn order(self, a: (&Figures, &str), b: (&Figures, &str)) -> Ordering {
        let latency =
            |figures: &Figures, pick: fn(&Percentiles) -> u64| figures.latency.as_ref().map(pick);
        let by = |pick: fn(&Percentiles) -> u64| latency(b.0, pick).cmp(&latency(a.0, pick));
        let part =
            |part: u64, figures: &Figures| u128::from(part) << 64 | u128::from(figures.count);
        // By share, and of equal shares the one of more.
        let share = |pick: fn(&Figures) -> u64| {
            let (x, y) = (pick(a.0), pick(b.0));
            let (left, right) =
                (u128::from(y) * u128::from(a.0.count), u128::from(x) * u128::from(b.0.count));
            left.cmp(&right).then(part(y, b.0).cmp(&part(x, a.0)))
        };
        let first = match self {
            // Over one window the rate is the count.
            Self::Rate | Self::Count | Self::Line => b.0.count.cmp(&a.0.count),
            Self::Errors => share(|figures| figures.errors),
            Self::Unknown => share(|figures| figures.unknown),
            Self::P50 => by(|p| p.p50),
            Self::P90 => by(|p| p.p90),
            Self::P99 => by(|p| p.p99),
            Self::Max => by(|p| p.max),
            Self::Name => Ordering::Equal,
        };
        first.then_with(|| a.1.cmp(b.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn narrow_tables_leave_out_what_matters_least() {
        let (shown, room) = Column::shown(160, Column::Rate);
        assert_eq!((shown.len(), room), (10, 65));
        let (shown, room) = Column::shown(80, Column::Rate);
        assert!(!shown.contains(&Column::P90) && shown.contains(&Column::Errors), "{shown:?}");
        assert!(room >= NAME_COLUMNS, "{room}");
        // What it is sorted by stays.
        assert!(Column::shown(80, Column::P90).0.contains(&Column::P90));
        for all in 0..200 {
            for sort in Column::SORTED {
                let (shown, room) = Column::shown(all, sort);
                let used: usize = shown.iter().map(|column| column.width(all) + 1).sum();
                assert!(all < 20 || used + room <= all + 1, "{all} {sort:?}");
                assert!(shown.contains(&sort) && shown.contains(&Column::Name));
            }
        }
    }

    #[test]
    fn what_is_not_known_is_no_zero() {
        let figures = Figures { count: 4, errors: 1, ..Figures::default() };
        let texts = [Column::Rate, Column::Errors, Column::Unknown, Column::P99, Column::Max];
        assert_eq!(texts.map(|column| column.text(&figures)), ["?", "25.0%", "", "?", "?"]);
        assert_eq!(Column::P50.text(&Figures::default()), "");
    }

    #[test]
    fn errors_sort_by_share_then_by_number() {
        let of = |errors, count| Figures { errors, count, ..Figures::default() };
        let mut rows = [of(1, 100), of(0, 500), of(5, 10), of(1, 2), of(0, 9)];
        rows.sort_by(|a, b| Column::Errors.order((a, ""), (b, "")));
        let order: Vec<_> = rows.iter().map(|row| (row.errors, row.count)).collect();
        assert_eq!(order, [(5, 10), (1, 2), (1, 100), (0, 500), (0, 9)]);
    }
}
