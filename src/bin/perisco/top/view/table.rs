//! The table of endpoints.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

use super::{blocks, bold, chosen, dim, left, put, red, right, span, yellow};
use crate::top::app::{App, Row, Sort, scrolled};
use crate::top::columns::Column;
use crate::top::state::Model;
use crate::top::state::endpoint::Endpoint;

/// Columns of the protocol before a name.
const PROTOCOL: usize = 5;

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, area: Rect, app: &mut App, model: &Model) {
    let rows = app.rows(model);
    let room = usize::from(area.height).saturating_sub(1);
    let at = app.selected_row(&rows);
    app.room = room;
    app.offset = scrolled(app.offset, at, room, rows.len());
    let all = usize::from(area.width);
    let (columns, name) = Column::shown(all, app.sort.column);
    let mut lines = vec![head(&columns, all, app.sort)];
    for (index, row) in rows.iter().enumerate().skip(app.offset).take(room) {
        if let Some(endpoint) = model.endpoints().get(row.id) {
            let line = line(&columns, (all, name), row, endpoint, app, model);
            lines.push(chosen(line, index == at));
        }
    }
    if rows.is_empty() {
        let none = model.endpoints().is_empty();
        let text = if none { "no transaction yet" } else { "no endpoint has this in its name" };
        lines.push(Line::from(span(text, dim())));
    }
    put(frame, lines, area);
}

fn head(columns: &[Column], all: usize, sort: Sort) -> Line<'static> {
    let mut spans = Vec::new();
    for column in columns {
        let is = *column == sort.column;
        // Largest first, but for names.
        let down = sort.reverse == (*column == Column::Name);
        let mark = if is { if down { "▼" } else { "▲" } } else { "" };
        let title = format!("{}{mark}", column.name());
        let style = if is { bold() } else { dim() };
        let text = match column {
            Column::Name => format!("{}{title}", " ".repeat(PROTOCOL)),
            Column::Line if column.width(all) < title.len() => left("RATE", column.width(all)),
            Column::Line => left(&title, column.width(all)),
            _ => right(&title, column.width(all)),
        };
        spans.push(span(format!("{text} "), style));
    }
    Line::from(spans)
}

fn line(
    columns: &[Column],
    (all, name): (usize, usize),
    row: &Row,
    endpoint: &Endpoint,
    app: &App,
    model: &Model,
) -> Line<'static> {
    let mut spans = Vec::new();
    for column in columns {
        let width = column.width(all);
        let style = match column {
            Column::Errors => red(),
            Column::Unknown => yellow(),
            _ => Style::new(),
        };
        let text = match column {
            Column::Name => {
                let protocol = left(endpoint.protocol, PROTOCOL);
                format!("{protocol}{}", left(&endpoint.name, name.saturating_sub(PROTOCOL)))
            }
            Column::Line => {
                let counts = endpoint.series.line(app.window, model.ends().1, width);
                left(&blocks(&counts), width)
            }
            _ => right(&column.text(&row.figures), width),
        };
        spans.push(span(format!("{text} "), style));
    }
    Line::from(spans)
}
