//! The lines above and below each page: what is looked at, its figures, what
//! is missing of it, and keys.

use perisco::analyze::report::text::units::{count, elide, escape, plural, rate, share, width};
use ratatui::style::{Color, Style};
use ratatui::text::Line;

use super::{alarm, bold, dim, lasting, red, span, time_of_day, yellow};
use crate::top::app::App;
use crate::top::pace::Speed;
use crate::top::state::{Feed, Model};

/// What is looked at.
#[derive(Clone, Debug)]
pub struct About {
    /// What it is: "cap.pcapng", "recording with the cgroup back end".
    pub title: String,
    pub feed: Feed,
    /// Of a file.
    pub speed: Speed,
    /// Bytes of a file.
    pub size: Option<u64>,
    /// The expression of `--where`.
    pub filter: Option<String>,
}

impl About {
    /// How much of a file was read, in percent.
    pub fn percent(&self, position: u64) -> Option<u64> {
        let size = u128::from(self.size.filter(|size| *size > 0)?);
        u64::try_from(u128::from(position) * 100 / size).ok().map(|percent| percent.min(100))
    }

    /// What goes on.
    fn state(&self, app: &App, model: &Model) -> (String, Style) {
        if app.paused {
            let goes_on = self.feed == Feed::Live && !model.ended;
            let text = if goes_on { "PAUSED, recording goes on" } else { "PAUSED" };
            return (text.to_owned(), yellow());
        }
        let text = match (self.feed, self.percent(model.position)) {
            _ if model.ended => "ENDED".to_owned(),
            (Feed::Live, _) => "LIVE".to_owned(),
            (Feed::File, None) => self.speed.to_string(),
            (Feed::File, Some(percent)) => format!("{}, {percent}% read", self.speed),
        };
        (text, Style::new().fg(Color::Green))
    }
}

/// The lines above a page. Where there is not much room the first gives way.
pub fn lines(
    app: &App,
    model: &Model,
    about: &About,
    columns: usize,
    all: bool,
) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if all {
        let (state, style) = about.state(app, model);
        let filter =
            about.filter.as_ref().map_or(String::new(), |filter| format!("  where {filter}"));
        let title = format!("perisco top  {}{}", escape(&about.title), escape(&filter));
        let room = columns.saturating_sub(width(&state) + 2);
        let title = super::left(&title, room);
        lines.push(Line::from(vec![span(title, bold()), span("  ", dim()), span(state, style)]));
    }
    lines.push(figures(app, model));
    let parts = model.loss.parts();
    let coverage = model.loss.coverage_text();
    let coverage = coverage.map_or(String::new(), |text| format!("; {text}"));
    let loss = match parts.is_empty() {
        true => span(format!("nothing is known to be missing{coverage}"), dim()),
        false => {
            let text = escape(&parts.join(", "));
            // What is missing has the room before what is there.
            let fits = width(&text) + width(&coverage) <= columns;
            let text = if fits { text + &coverage } else { elide(&text, columns) };
            span(text, alarm())
        }
    };
    lines.push(Line::from(loss));
    lines
}

fn figures(app: &App, model: &Model) -> Line<'static> {
    let (first, now) = model.ends();
    let figures = model.figures(app.window);
    let Some(since) = model.first() else {
        return Line::from(span("waiting for packets", dim()));
    };
    let went = std::time::Duration::from_nanos(now.saturating_sub(first).max(0).unsigned_abs());
    let rate = figures.rate.map_or("?/s".to_owned(), |value| match figures.count {
        0 => "0/s".to_owned(),
        _ => rate(value),
    });
    let mut spans = vec![
        span(format!("{}: ", app.window.name()), dim()),
        span(rate, bold()),
        span(format!(", {}", plural(figures.count, "transaction", "transactions")), Style::new()),
    ];
    if figures.errors > 0 {
        let share = share(figures.errors, figures.count);
        spans.push(span(format!(", {share} failed"), red()));
    }
    if figures.unknown > 0 {
        spans.push(span(format!(", {} unknown", count(figures.unknown)), yellow()));
    }
    spans.push(span(format!("  {} since {}", lasting(went), time_of_day(since)), dim()));
    Line::from(spans)
}

/// The line below a page.
pub fn keys(app: &App, columns: usize) -> Line<'static> {
    if app.typing {
        // The end of what is typed is what matters.
        let text = escape(&app.filter);
        let mut shown = text.as_str();
        while width(shown) + 2 > columns && !shown.is_empty() {
            let mut chars = shown.chars();
            chars.next();
            shown = chars.as_str();
        }
        return Line::from(vec![
            span("/", bold()),
            span(shown, Style::new()),
            span("█", Style::new()),
        ]);
    }
    let text = if app.help {
        "any key goes back"
    } else if app.transaction.is_some() {
        "↑↓ scroll  Esc back  p pause  h help  q quit"
    } else if app.endpoint.is_some() {
        "↑↓ select  Enter open  Tab last/slowest/failed  Esc back  w window  p pause  h help  q quit"
    } else {
        "↑↓ select  Enter open  s/S sort  r reverse  / filter  w window  p pause  h help  q quit"
    };
    let mut spans = Vec::new();
    if !app.filter.is_empty() && app.endpoint.is_none() {
        spans.push(span(format!("only with \"{}\" (Esc)  ", escape(&app.filter)), yellow()));
    }
    spans.push(span(text, dim()));
    Line::from(spans)
}
