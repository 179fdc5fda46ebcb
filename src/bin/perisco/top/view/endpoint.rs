//! One endpoint: its figures, how its transactions ended and how long they
//! took, and some of them.

use perisco::analyze::report::text::units::{count, duration, elide, escape, share, size};
use perisco::analyze::report::text_of;
use perisco::analyze::transaction::Outcome;
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::{
    blocks, bold, chosen, dim, left, outcome_style, put, red, right, span, time_of_day, yellow,
};
use crate::top::app::{App, EndpointPage, scrolled};
use crate::top::columns::Column;
use crate::top::state::Model;
use crate::top::state::endpoint::{Endpoint, List};
use crate::top::state::example::Example;
use crate::top::state::series::Status;

/// Rows of statuses and of the histogram at most.
const ROWS: usize = 8;

/// Columns of the statuses, on the left.
const STATUSES: usize = 34;

/// Columns of a bar at most.
const BAR: usize = 40;

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, area: Rect, app: &mut App, model: &Model) {
    let examples = app.examples(model);
    let Some(page) = &app.endpoint else { return };
    let Some(endpoint) = model.endpoints().get(page.id) else { return };
    let columns = usize::from(area.width);
    let rows = usize::from(area.height);
    let mut lines = title(endpoint, app, model, columns);
    // The list has at least half of the page.
    let boxes = (rows / 2).saturating_sub(lines.len() + 1).min(ROWS);
    if boxes > 1 {
        lines.extend(sides(endpoint, app, model, columns, boxes));
    }
    lines.push(tabs(page));
    let room = rows.saturating_sub(lines.len() + 1);
    lines.push(Line::from(span(list_head(columns), dim())));
    let at = examples.iter().position(|example| Some(example.key()) == page.selected).unwrap_or(0);
    let offset = scrolled(page.offset, at, room, examples.len());
    for (index, example) in examples.iter().enumerate().skip(offset).take(room) {
        lines.push(chosen(list_line(example, columns), index == at));
    }
    if examples.is_empty() {
        lines.push(Line::from(span("none", dim())));
    }
    app.room = room;
    if let Some(page) = &mut app.endpoint {
        page.offset = offset;
    }
    put(frame, lines, area);
}

fn title(endpoint: &Endpoint, app: &App, model: &Model, columns: usize) -> Vec<Line<'static>> {
    let (first, now) = model.ends();
    let figures = endpoint.series.figures(app.window, first, now);
    let name = elide(&format!("{} {}", endpoint.protocol, endpoint.name), columns);
    let mut spans: Vec<Span<'static>> = Vec::new();
    let shown = [
        Column::Rate,
        Column::Count,
        Column::Errors,
        Column::Unknown,
        Column::P50,
        Column::P90,
        Column::P99,
        Column::Max,
    ];
    for column in shown {
        let text = column.text(&figures);
        let style = match column {
            Column::Errors => red(),
            Column::Unknown => yellow(),
            _ => Style::new(),
        };
        if !text.is_empty() {
            spans.push(span(format!("{} ", column.name().to_lowercase()), dim()));
            spans.push(span(format!("{text}  "), style));
        }
    }
    let counts = endpoint.series.line(app.window, now, 20);
    spans.push(span(blocks(&counts), Style::new()));
    vec![Line::from(span(name, bold())), Line::from(spans)]
}

/// Statuses on the left, latencies on the right.
fn sides(
    endpoint: &Endpoint,
    app: &App,
    model: &Model,
    columns: usize,
    rows: usize,
) -> Vec<Line<'static>> {
    let now = model.ends().1;
    let statuses = statuses(&endpoint.series.statuses(app.window, now), rows.saturating_sub(1));
    let octaves = endpoint.series.octaves(app.window, now);
    let bars = bars(&octaves, rows.saturating_sub(1), columns.saturating_sub(STATUSES));
    let head = format!("{}{}", left("STATUS", STATUSES), "LATENCY");
    let mut lines = vec![Line::from(span(head, dim()))];
    for row in 0..statuses.len().max(bars.len()) {
        let (text, style) = statuses.get(row).cloned().unwrap_or_default();
        let bar = bars.get(row).cloned().unwrap_or_default();
        let spans = vec![span(left(&text, STATUSES), style), span(bar, Style::new())];
        lines.push(Line::from(spans));
    }
    lines
}

fn statuses(statuses: &[(Status, u64)], rows: usize) -> Vec<(String, Style)> {
    let all: u64 = statuses.iter().map(|(_, count)| count).sum();
    let line = |name: &str, part: u64, style: Style| {
        let (name, number) = (left(name, 18), right(&count(part), 8));
        (format!("{name}{number} {}", right(&share(part, all), 6)), style)
    };
    // What does not fit is one more row.
    let shown = if statuses.len() > rows { rows.saturating_sub(1) } else { rows };
    let mut lines: Vec<_> = statuses
        .iter()
        .take(shown)
        .map(|(status, count)| line(&status.name(), *count, outcome_style(status.outcome())))
        .collect();
    let rest: u64 = statuses.iter().skip(shown).map(|(_, count)| count).sum();
    if rest > 0 && rows > 0 {
        lines.push(line("others", rest, Style::new()));
    }
    lines
}

/// A bar for each octave; where there are too many, for several of them.
fn bars(octaves: &[(u32, u64)], rows: usize, columns: usize) -> Vec<String> {
    let together = octaves.len().div_ceil(rows.max(1)).max(1);
    let groups: Vec<(u32, u64)> = octaves
        .chunks(together)
        .filter_map(|group| Some((group.first()?.0, group.iter().map(|(_, count)| count).sum())))
        .collect();
    let most = groups.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let room = columns.saturating_sub(20).min(BAR);
    let line = |(octave, times): &(u32, u64)| {
        let from = right(&duration(1_u64.checked_shl(*octave).unwrap_or(u64::MAX)), 7);
        let length = (u128::from(*times) * room as u128).div_ceil(u128::from(most)) as usize;
        format!("≥{from} {} {}", right(&count(*times), 8), "█".repeat(length))
    };
    groups.iter().map(line).collect()
}

fn tabs(page: &EndpointPage) -> Line<'static> {
    let mut spans = vec![span("TRANSACTIONS ", dim())];
    for list in List::ALL {
        let is = list == page.list;
        let text = if is { format!("[{}] ", list.name()) } else { format!(" {}  ", list.name()) };
        spans.push(span(text, if is { bold() } else { dim() }));
    }
    spans.push(span("of all since the start", dim()));
    Line::from(spans)
}

/// Columns of the name of a transaction in a list.
fn name_columns(columns: usize) -> usize {
    columns.saturating_sub(LIST)
}

/// Columns of all else in a list.
const LIST: usize = 13 + 8 + 8 + 18 + 9;

fn list_head(columns: usize) -> String {
    let head = [left("START", 13), right("LATENCY", 7), right("TOTAL", 8), "  ".to_owned()];
    let head = format!("{}{}{}", head.concat(), left("STATUS", 17), right("SIZE", 8));
    format!("{head} {}", left("REQUEST", name_columns(columns)))
}

fn list_line(example: &Example, columns: usize) -> Line<'static> {
    let transaction = example.transaction();
    let known = |nanos: Option<u64>| nanos.map_or("?".to_owned(), duration);
    let start = transaction.start().map_or("?".to_owned(), time_of_day);
    let response = transaction.response.as_ref();
    let bytes = response.map_or("?".to_owned(), |response| size(response.body_bytes));
    let part = |part: Option<&[u8]>| part.map_or("?".to_owned(), text_of);
    let method = part(transaction.request_text(|request| request.method));
    let path = part(transaction.request_text(|request| request.path));
    let name = escape(&format!("{method} {path}"));
    let status = Status::of(transaction).name();
    let style = match transaction.outcome {
        Outcome::Ok if transaction.anomalies.is_empty() => Style::new(),
        Outcome::Ok => yellow(),
        outcome => outcome_style(outcome),
    };
    let times = format!(
        "{}{}{}  ",
        left(&start, 13),
        right(&known(transaction.latency_ns()), 7),
        right(&known(transaction.duration_ns()), 8)
    );
    let name = format!("{} {}", right(&bytes, 8), left(&name, name_columns(columns)));
    Line::from(vec![
        span(times, Style::new()),
        span(left(&status, 17), style),
        span(name, Style::new()),
    ])
}
