//! Small charts within lines of tables.

use super::scale::px;
use super::writer::{Html, put};
use crate::analyze::report::detail::CoarseStep;
use crate::analyze::report::text::units::count;

/// Size of a small chart in pixels.
const WIDTH: f64 = 96.0;
const HEIGHT: f64 = 20.0;
/// Octaves of latency in a distribution: 1 µs to 2^37 ns, some two minutes.
const OCTAVES: std::ops::Range<usize> = 10..37;

/// Transactions over time, failed ones in another colour from the bottom up,
/// with what it says in words.
pub fn over_time(page: &mut Html, steps: &[CoarseStep]) {
    let most = steps.iter().map(|step| step.count).max().unwrap_or(0);
    if most == 0 {
        return;
    }
    let errors: u64 = steps.iter().map(|step| step.errors).sum();
    let busy = steps.iter().filter(|step| step.count > 0).count();
    put!(
        page,
        "<svg class=\"spark\" viewBox=\"0 0 {} {}\" role=\"img\" \
            preserveAspectRatio=\"none\"><title>",
        px(WIDTH),
        px(HEIGHT)
    );
    put!(
        page,
        "in {} of {} steps, at most {} in one",
        count(busy as u64),
        steps.len(),
        count(most)
    );
    if errors > 0 {
        let failing = steps.iter().filter(|step| step.errors > 0).count();
        put!(page, "; failures in {}", failing);
    }
    put!(page, "</title>");
    let width = WIDTH / steps.len() as f64;
    let mut bars = |class: &'static str, pick: fn(&CoarseStep) -> u64| {
        put!(page, "<path class=\"{}\" d=\"", class);
        for (index, step) in steps.iter().enumerate().filter(|(_, step)| pick(step) > 0) {
            let height = (HEIGHT * pick(step) as f64 / most as f64).max(1.5);
            put!(
                page,
                "M{} {}h{}V{}h-{}z",
                px(width * index as f64),
                px(HEIGHT),
                px(width),
                px(HEIGHT - height),
                px(width)
            );
        }
        put!(page, "\"/>");
    };
    bars("o-ok", |step| step.count);
    if errors > 0 {
        bars("o-server", |step| step.errors);
    }
    put!(page, "</svg>");
}

/// How many took how long, on a log scale that all have in common.
pub fn distribution(page: &mut Html, octaves: &[u64]) {
    // What is outside counts with the first or last one.
    let mut bins = [0_u64; OCTAVES.end - OCTAVES.start];
    for (octave, count) in octaves.iter().enumerate() {
        let place = octave.clamp(OCTAVES.start, OCTAVES.end - 1) - OCTAVES.start;
        if let Some(sum) = bins.get_mut(place) {
            *sum += count;
        }
    }
    let most = bins.iter().copied().max().unwrap_or(0);
    if most == 0 {
        return;
    }
    put!(
        page,
        "<svg class=\"spark\" viewBox=\"0 0 {} {}\" aria-hidden=\"true\" \
            preserveAspectRatio=\"none\">",
        px(WIDTH),
        px(HEIGHT)
    );
    let width = WIDTH / bins.len() as f64;
    // Where a millisecond and a second are.
    for octave in [20, 30] {
        put!(
            page,
            "<path class=\"grid\" d=\"M{} 0V{}\"/>",
            px(width * (octave - OCTAVES.start) as f64),
            px(HEIGHT)
        );
    }
    put!(page, "<path class=\"dist\" d=\"");
    for (index, count) in bins.iter().enumerate().filter(|(_, count)| **count > 0) {
        let height = (HEIGHT * *count as f64 / most as f64).max(1.5);
        put!(
            page,
            "M{} {}h{}V{}h-{}z",
            px(width * index as f64),
            px(HEIGHT),
            px(width),
            px(HEIGHT - height),
            px(width)
        );
    }
    put!(page, "\"/></svg>");
}
