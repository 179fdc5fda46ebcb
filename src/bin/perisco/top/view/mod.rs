//! Draws what an [`App`] shows of a [`Model`].
//!
//! One module a page. Works for any size of terminal: what does not fit is
//! left out, the line about loss last.

mod endpoint;
mod header;
mod help;
mod table;
mod transaction;

#[cfg(test)]
mod tests;

use std::time::Duration;

use perisco::analyze::report::text::units::{elide, width};
use perisco::analyze::transaction::Outcome;
use perisco::time::Timestamp;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::app::App;
use super::screen::Look;
use super::state::Model;

pub use header::About;

/// Rows from which on there is a line of keys, and the whole header.
const ROWY: u16 = 10;

/// Levels of a line of blocks.
const BLOCKS: [&str; 8] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"];

/// Draws all.
pub fn draw(frame: &mut Frame<'_>, app: &mut App, model: &Model, about: &About, look: Look) {
    let all = frame.area();
    let is_high = all.height >= ROWY;
    let header = header::lines(app, model, about, usize::from(all.width), is_high);
    let footer = u16::from(is_high || app.typing);
    let head = (header.len() as u16).min(all.height);
    let body = all.height.saturating_sub(head).saturating_sub(footer);
    put(frame, header, Rect { height: head, ..all });
    let area = Rect { y: all.y + head, height: body, ..all };
    match (&app.help, &app.transaction, &app.endpoint) {
        (true, ..) => help::draw(frame, area),
        (false, Some(_), _) => transaction::draw(frame, area, app),
        (false, None, Some(_)) => endpoint::draw(frame, area, app, model),
        (false, None, None) => table::draw(frame, area, app, model),
    }
    if footer > 0 {
        let area =
            Rect { y: all.y + head + body, height: footer.min(all.height - head - body), ..all };
        put(frame, vec![header::keys(app, usize::from(all.width))], area);
    }
    look.reduce(frame.buffer_mut());
}

/// Puts lines in a place.
fn put(frame: &mut Frame<'_>, lines: Vec<Line<'static>>, area: Rect) {
    frame.render_widget(Paragraph::new(lines), area);
}

fn bold() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

fn dim() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

fn red() -> Style {
    Style::new().fg(Color::Red)
}

fn yellow() -> Style {
    Style::new().fg(Color::Yellow)
}

/// Loss, and nothing else.
fn alarm() -> Style {
    red().add_modifier(Modifier::BOLD)
}

/// The row that is selected.
fn chosen(line: Line<'static>, is: bool) -> Line<'static> {
    if is { line.style(Style::new().add_modifier(Modifier::REVERSED)) } else { line }
}

fn outcome_style(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Ok => Style::new(),
        Outcome::Unknown => yellow(),
        _ => red(),
    }
}

/// A text in exactly so many columns, at their end.
fn right(text: &str, columns: usize) -> String {
    let text = elide(text, columns);
    format!("{}{text}", " ".repeat(columns.saturating_sub(width(&text))))
}

/// The same at their beginning.
fn left(text: &str, columns: usize) -> String {
    let text = elide(text, columns);
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(&text))))
}

/// Counts as blocks, as high as they are beside the highest; what is not zero is
/// never blank.
fn blocks(counts: &[u64]) -> String {
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let block = |count: &u64| {
        let level = (u128::from(*count) * BLOCKS.len() as u128).div_ceil(u128::from(most));
        level.checked_sub(1).and_then(|level| BLOCKS.get(level as usize))
    };
    counts.iter().map(|count| block(count).copied().unwrap_or(" ")).collect()
}

/// Time of day to the millisecond, in UTC.
fn time_of_day(at: Timestamp) -> String {
    let text = at.to_string();
    text.get("2026-11-22T".len().."2026-11-22T15:17:26.000".len()).unwrap_or("?").to_owned()
}

/// A span of text.
fn span(text: impl Into<String>, style: Style) -> Span<'static> {
    Span::styled(text.into(), style)
}

/// A duration as reports write it.
pub fn lasting(duration: Duration) -> String {
    let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    perisco::analyze::report::text::units::duration(nanos)
}
