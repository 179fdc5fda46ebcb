//! What charts over time have in common: the place of a step, axes, grid.

use super::scale::{clock, px, time_ticks};
use super::writer::{Html, put};
use crate::analyze::report::detail::Timeline;

/// Width of a chart in its own pixels; it is drawn as wide as the page.
pub const WIDTH: f64 = 960.0;
/// Where the plot begins: left of it the values of the axis are named.
pub const LEFT: f64 = 62.0;
/// Where it ends.
pub const RIGHT: f64 = 952.0;
/// Above the plot.
pub const TOP: f64 = 8.0;
/// Below it times are named.
const BELOW: f64 = 20.0;
/// Times named at most.
const TIMES: i64 = 8;

/// A chart over the steps of a timeline.
pub struct Frame<'a> {
    timeline: &'a Timeline,
    /// Height of the plot.
    pub height: f64,
}

impl<'a> Frame<'a> {
    /// Begins a figure: its title, what it shows in words, and the drawing.
    pub fn open(
        page: &mut Html,
        timeline: &'a Timeline,
        name: &str,
        title: &str,
        text: &str,
        height: f64,
    ) -> Self {
        put!(
            page,
            "<figure class=\"chart\"><figcaption id=\"cap-{}\">{}</figcaption>",
            name,
            title
        );
        put!(
            page,
            "<div class=\"scroll\" tabindex=\"0\" role=\"group\" aria-labelledby=\"cap-{}\">",
            name
        );
        put!(
            page,
            "<svg class=\"time\" viewBox=\"0 0 {} {}\" role=\"img\" aria-labelledby=\"t-{} d-{}\">",
            px(WIDTH),
            px(TOP + height + BELOW),
            name,
            name
        );
        put!(
            page,
            "<title id=\"t-{}\">{}</title><desc id=\"d-{}\">{}</desc>",
            name,
            title,
            name,
            text
        );
        Self { timeline, height }
    }

    /// Ends the figure.
    pub fn close(self, page: &mut Html) {
        let (start, width) = (self.timeline.start, self.timeline.width);
        let span = width.saturating_mul(self.timeline.steps.len() as i64);
        let base = TOP + self.height;
        put!(page, "<g class=\"axis\">");
        for (at, text) in time_ticks(start, span, TIMES) {
            let x = LEFT + (RIGHT - LEFT) * (at.saturating_sub(start)) as f64 / span.max(1) as f64;
            put!(page, "<path d=\"M{} {}v4\"/>", px(x), px(base));
            // Names at the ends of the axis stay within the drawing.
            let anchor = if x > RIGHT - 30.0 { "end" } else { "middle" };
            put!(
                page,
                "<text x=\"{}\" y=\"{}\" text-anchor=\"{}\">{}</text>",
                px(x),
                px(base + 16.0),
                anchor,
                text
            );
        }
        put!(
            page,
            "<path d=\"M{} {}H{}\"/></g></svg></div></figure>",
            px(LEFT),
            px(base),
            px(RIGHT)
        );
    }

    /// Where a step begins.
    pub fn x(&self, step: usize) -> f64 {
        LEFT + (RIGHT - LEFT) * step as f64 / self.timeline.steps.len().max(1) as f64
    }

    /// How wide a step is.
    pub fn step(&self) -> f64 {
        self.x(1) - LEFT
    }

    /// The place of a value between 0 (bottom) and 1.
    pub fn y(&self, part: f64) -> f64 {
        TOP + self.height * (1.0 - part)
    }

    /// A line across the plot, and the value that it stands for.
    pub fn grid(&self, page: &mut Html, part: f64, text: &str) {
        let y = self.y(part);
        put!(page, "<path class=\"grid\" d=\"M{} {}H{}\"/>", px(LEFT), px(y), px(RIGHT));
        put!(
            page,
            "<text class=\"tick\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            px(LEFT - 6.0),
            px(y + 3.5),
            text
        );
    }

    /// Invisible places over the steps, each with what it says when pointed at.
    pub fn hints(&self, page: &mut Html, hint: impl Fn(usize) -> Option<String>) {
        put!(page, "<g class=\"hit\">");
        for index in 0..self.timeline.steps.len() {
            let Some(text) = hint(index) else { continue };
            put!(
                page,
                "<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" data-i=\"{}\"><title>{} UTC: \
                    {}</title></rect>",
                px(self.x(index)),
                px(TOP),
                px(self.step()),
                px(self.height),
                index,
                self.clock(index),
                text
            );
        }
        put!(page, "</g>");
    }

    /// When a step begins, as exactly as steps are long.
    pub fn clock(&self, index: usize) -> String {
        step_clock(self.timeline, index)
    }
}

/// When a step begins, as exactly as steps are long.
pub fn step_clock(timeline: &Timeline, index: usize) -> String {
    let at = timeline.start.saturating_add(timeline.width.saturating_mul(index as i64));
    let span = timeline.width.saturating_mul(timeline.steps.len() as i64);
    let day = if span > 86_400_000_000_000 { clock(at, i64::MAX) + " " } else { String::new() };
    // One more digit than needed to tell steps apart: they do not begin at whole seconds.
    day + &clock(at, (timeline.width / 2).clamp(1, 3_600_000_000_000))
}
