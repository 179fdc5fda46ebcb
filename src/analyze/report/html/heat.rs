//! The latency heat map: how many transactions began when and took how long.

use super::frame::Frame;
use super::scale::px;
use super::writer::{Html, put};
use crate::analyze::report::detail::Timeline;
use crate::analyze::report::text::units::{count, duration};

/// Shades, each for a range of counts of equal length on a log scale.
const SHADES: usize = 6;
/// Height of the plot.
const HEIGHT: f64 = 190.0;
/// Bands that are named at most.
const NAMED: usize = 9;

/// The figure, where there are latencies to tell apart.
pub fn write(page: &mut Html, timeline: &Timeline) {
    let bands = timeline.bands.len();
    let most = timeline.steps.iter().flat_map(|step| step.bands.iter().copied()).max().unwrap_or(0);
    if bands == 0 || most == 0 {
        return;
    }
    let first = timeline.bands.first().copied().unwrap_or(0);
    let text = format!(
        "Columns are steps of time, rows bands of latency from {} to {}; the darker, the more \
         transactions, at most {}",
        duration(first),
        duration(timeline.bands_end),
        count(most.into())
    );
    let title = "Latency heat map: how many took how long, and when";
    let frame = Frame::open(page, timeline, "heat", title, &text, HEIGHT);
    for (index, low) in timeline.bands.iter().enumerate().step_by(bands.div_ceil(NAMED)) {
        frame.grid(page, index as f64 / bands as f64, &duration(*low));
    }
    let row = HEIGHT / bands as f64;
    for shade in 0..SHADES {
        put!(page, "<path class=\"h{}\" d=\"", shade);
        for (index, step) in timeline.steps.iter().enumerate() {
            let mine = step.bands.iter().enumerate();
            for (band, _) in mine.filter(|(_, n)| **n > 0 && shade_of(**n, most) == shade) {
                let y = frame.y((band + 1) as f64 / bands as f64);
                let width = px(frame.step());
                put!(page, "M{} {}h{}v{}h-{}z", px(frame.x(index)), px(y), width, px(row), width);
            }
        }
        put!(page, "\"/>");
    }
    frame.close(page);
    legend(page, most);
}

/// The shade of a count.
fn shade_of(value: u32, most: u32) -> usize {
    let part = f64::from(value).ln() / f64::from(most.max(2)).ln();
    ((part * SHADES as f64) as usize).min(SHADES - 1)
}

fn legend(page: &mut Html, most: u32) {
    put!(page, "<ul class=\"legend\" aria-label=\"Transactions in a cell\">");
    for shade in 0..SHADES {
        // The least count of a shade; on the smallest scales some have none.
        let least = f64::from(most).powf(shade as f64 / SHADES as f64).ceil().max(1.0) as u32;
        let least =
            (least..=most.min(least.saturating_add(1))).find(|n| shade_of(*n, most) == shade);
        if let Some(least) = least {
            put!(page, "<li><i class=\"k{}\"></i>{}+</li>", shade, count(least.into()));
        }
    }
    put!(page, "<li>transactions in a cell</li></ul>");
}
