//! What is on the screen and what keys do to it.
//!
//! Knows no terminal: keys come in, and [`view`](super::view) draws what is here.

use std::sync::Arc;

use super::columns::Column;
use super::keys::Key;
use super::state::Model;
use super::state::endpoint::List;
use super::state::example::Example;
use super::state::series::{Figures, Window};

/// Characters of the text that rows are filtered by.
const FILTER_CHARS: usize = 200;

/// What the program has to do after a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    Nothing,
    Quit,
    /// Stop showing what comes, or go on.
    Pause,
    /// Draw everything anew.
    Redraw,
}

/// A row of the table.
pub struct Row {
    pub id: usize,
    pub figures: Figures,
}

/// One endpoint on the screen.
pub struct EndpointPage {
    pub id: usize,
    pub list: List,
    pub selected: Option<(u64, u64)>,
    pub offset: usize,
}

/// One transaction on the screen.
pub struct TransactionPage {
    pub example: Arc<Example>,
    pub scroll: usize,
}

/// What is on the screen.
#[derive(Default)]
pub struct App {
    pub window: Window,
    pub sort: Sort,
    /// Only rows with this in their name are shown.
    pub filter: String,
    /// Whether keys are letters of it.
    pub typing: bool,
    pub selected: Option<usize>,
    pub offset: usize,
    pub endpoint: Option<EndpointPage>,
    pub transaction: Option<TransactionPage>,
    pub help: bool,
    pub paused: bool,
    /// Rows of the list that the screen has room for, and the last that can be
    /// scrolled to; the view says so.
    pub room: usize,
    pub scroll_end: usize,
}

/// What rows are sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sort {
    pub column: Column,
    pub reverse: bool,
}

impl Default for Sort {
    fn default() -> Self {
        Self { column: Column::Rate, reverse: false }
    }
}

/// How far a key goes in a list.
#[derive(Clone, Copy)]
enum Move {
    By(isize),
    First,
    Last,
}

impl Move {
    fn of(key: Key, page: usize) -> Option<Self> {
        let page = page.saturating_sub(1).max(1) as isize;
        Some(match key {
            Key::Up | Key::Char('k') => Self::By(-1),
            Key::Down | Key::Char('j') => Self::By(1),
            Key::PageUp | Key::Ctrl('b') => Self::By(-page),
            Key::PageDown | Key::Ctrl('f') => Self::By(page),
            Key::Home | Key::Char('g') => Self::First,
            Key::End | Key::Char('G') => Self::Last,
            _ => return None,
        })
    }

    /// Where it comes to, from a place in a list of so many.
    fn to(self, at: usize, count: usize) -> usize {
        let last = count.saturating_sub(1);
        match self {
            Self::By(by) => at.saturating_add_signed(by).min(last),
            Self::First => 0,
            Self::Last => last,
        }
    }
}

impl App {
    /// The rows of the table, in their order.
    pub fn rows(&self, model: &Model) -> Vec<Row> {
        let (first, now) = model.ends();
        let filter = self.filter.to_lowercase();
        let endpoints = model.endpoints();
        let shown = endpoints.iter().enumerate();
        let shown = shown.filter(|(_, endpoint)| endpoint.name.to_lowercase().contains(&filter));
        let mut rows: Vec<Row> = shown
            .map(|(id, endpoint)| Row {
                id,
                figures: endpoint.series.figures(self.window, first, now),
            })
            .collect();
        let name = |row: &Row| endpoints.get(row.id).map_or("", |endpoint| endpoint.name.as_str());
        rows.sort_by(|a, b| {
            let Sort { column, reverse } = self.sort;
            let order = column.order((&a.figures, name(a)), (&b.figures, name(b)));
            if reverse { order.reverse() } else { order }
        });
        rows
    }

    /// The place of the selected row.
    pub fn selected_row(&self, rows: &[Row]) -> usize {
        rows.iter().position(|row| Some(row.id) == self.selected).unwrap_or(0)
    }

    /// The transactions that are listed.
    pub fn examples(&self, model: &Model) -> Vec<Arc<Example>> {
        let Some(page) = &self.endpoint else { return Vec::new() };
        model.endpoints().get(page.id).map_or_else(Vec::new, |of| of.list(page.list))
    }

    /// Does what a key says.
    pub fn key(&mut self, key: Key, model: &Model) -> Does {
        if key == Key::Ctrl('c') {
            return Does::Quit;
        }
        if self.typing {
            self.type_key(key);
            return Does::Nothing;
        }
        if std::mem::take(&mut self.help) && key != Key::Char('q') {
            return Does::Nothing;
        }
        match key {
            Key::Char('q') => return Does::Quit,
            Key::Char('p' | ' ') => {
                self.paused = !self.paused;
                return Does::Pause;
            }
            Key::Ctrl('l') => return Does::Redraw,
            Key::Char('h' | '?') => self.help = true,
            Key::Char('w') => self.window = self.window.next(),
            _ if self.transaction.is_some() => self.transaction_key(key),
            _ if self.endpoint.is_some() => self.endpoint_key(key, model),
            _ => self.table_key(key, model),
        }
        Does::Nothing
    }

    /// A letter of the filter.
    fn type_key(&mut self, key: Key) {
        match key {
            Key::Char(char) if self.filter.chars().count() < FILTER_CHARS => self.filter.push(char),
            Key::Backspace => {
                self.filter.pop();
            }
            Key::Enter => self.typing = false,
            Key::Esc => {
                self.typing = false;
                self.filter.clear();
            }
            _ => {}
        }
    }

    fn table_key(&mut self, key: Key, model: &Model) {
        let sort = &mut self.sort;
        match key {
            Key::Char('s' | '>') => sort.column = sort.column.moved(1),
            Key::Char('S' | '<') => sort.column = sort.column.moved(-1),
            Key::Char('r') => sort.reverse = !sort.reverse,
            Key::Char('/') => self.typing = true,
            Key::Esc => self.filter.clear(),
            Key::Enter => {
                let rows = self.rows(model);
                let row = rows.get(self.selected_row(&rows));
                self.selected = row.map(|row| row.id).or(self.selected);
                let (list, selected) = (List::default(), None);
                self.endpoint =
                    row.map(|row| EndpointPage { id: row.id, list, selected, offset: 0 });
            }
            _ => {
                if let Some(to) = Move::of(key, self.room) {
                    let rows = self.rows(model);
                    let at = to.to(self.selected_row(&rows), rows.len());
                    self.selected = rows.get(at).map(|row| row.id);
                }
            }
        }
    }

    fn endpoint_key(&mut self, key: Key, model: &Model) {
        let examples = self.examples(model);
        let room = self.room;
        let Some(page) = &mut self.endpoint else { return };
        let at = examples.iter().position(|example| Some(example.key()) == page.selected);
        let at = at.unwrap_or(0);
        let mut turn = |by| {
            page.list = page.list.moved(by);
            (page.selected, page.offset) = (None, 0);
        };
        match key {
            Key::Esc | Key::Backspace => self.endpoint = None,
            Key::Tab | Key::Right | Key::Char('l') => turn(1),
            Key::BackTab | Key::Left => turn(-1),
            Key::Enter => {
                let example = examples.get(at).cloned();
                page.selected = example.as_ref().map(|example| example.key());
                self.transaction = example.map(|example| TransactionPage { example, scroll: 0 });
            }
            _ => {
                if let Some(to) = Move::of(key, room) {
                    let at = to.to(at, examples.len());
                    page.selected = examples.get(at).map(|example| example.key());
                }
            }
        }
    }

    fn transaction_key(&mut self, key: Key) {
        let Some(page) = &mut self.transaction else { return };
        match key {
            Key::Esc | Key::Backspace => self.transaction = None,
            _ => {
                if let Some(to) = Move::of(key, self.room) {
                    page.scroll = to.to(page.scroll, self.scroll_end + 1);
                }
            }
        }
    }
}

/// Moves what is shown of a list so that a place is in it; both from 0.
pub fn scrolled(offset: usize, at: usize, room: usize, count: usize) -> usize {
    let most = count.saturating_sub(room.max(1));
    offset.min(at).max((at + 1).saturating_sub(room.max(1))).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::top::state::endpoint::Key as Name;
    use crate::top::state::testkit::{at, lasting, watched};

    fn model() -> Model {
        let mut model = Model::default();
        let mut name = Name::default();
        for (path, times, status) in [("/a", 3, 200), ("/b", 5, 500), ("/c", 1, 404)] {
            for index in 0..times {
                let mut found = watched("GET", path, status);
                found.index = index;
                model.add(found, Some(at(1)), &mut name);
            }
        }
        model.add(lasting(9, 1_000, 200), Some(at(1)), &mut name);
        model
    }

    fn names(app: &App, model: &Model) -> Vec<String> {
        let rows = app.rows(model);
        rows.iter().map(|row| model.endpoints()[row.id].name.clone()).collect()
    }

    fn press(app: &mut App, model: &Model, keys: &str) -> Does {
        keys.chars().fold(Does::Nothing, |_, char| app.key(Key::Char(char), model))
    }

    #[test]
    fn rows_sort_and_reverse() {
        let (mut app, model) = (App::default(), model());
        assert_eq!(names(&app, &model), ["GET shop/b", "GET shop/a", "GET shop/", "GET shop/c"]);
        press(&mut app, &model, "r");
        assert_eq!(names(&app, &model)[0], "GET shop/c");
        press(&mut app, &model, "rss");
        assert_eq!(app.sort.column, Column::Errors);
        assert_eq!(names(&app, &model)[..2], ["GET shop/b", "GET shop/c"]);
        press(&mut app, &model, "<<<");
        assert_eq!(app.sort.column, Column::Name);
        assert_eq!(names(&app, &model)[0], "GET shop/");
    }

    #[test]
    fn the_selection_stays_with_its_row() {
        let (mut app, model) = (App::default(), model());
        press(&mut app, &model, "j");
        let selected = app.selected;
        press(&mut app, &model, "r");
        assert_eq!(app.selected, selected);
        assert_eq!(app.selected_row(&app.rows(&model)), 2);
        app.key(Key::End, &model);
        assert_eq!(app.selected_row(&app.rows(&model)), 3);
        app.key(Key::Down, &model);
        assert_eq!(app.selected_row(&app.rows(&model)), 3);
        app.key(Key::Home, &model);
        app.key(Key::Up, &model);
        assert_eq!(app.selected_row(&app.rows(&model)), 0);
    }

    #[test]
    fn a_filter_is_typed_kept_and_cleared() {
        let (mut app, model) = (App::default(), model());
        press(&mut app, &model, "/SHOP/q");
        assert!(names(&app, &model).is_empty());
        app.key(Key::Backspace, &model);
        press(&mut app, &model, "b");
        app.key(Key::Enter, &model);
        assert_eq!(names(&app, &model), ["GET shop/b"]);
        // Letters are keys again.
        assert_eq!(press(&mut app, &model, "q"), Does::Quit);
        app.key(Key::Esc, &model);
        assert_eq!(names(&app, &model).len(), 4);
        press(&mut app, &model, "/b");
        assert_eq!(app.key(Key::Ctrl('c'), &model), Does::Quit);
        app.key(Key::Esc, &model);
        assert_eq!((names(&app, &model).len(), app.typing), (4, false));
    }

    #[test]
    fn down_to_a_transaction_and_back() {
        let (mut app, model) = (App::default(), model());
        app.key(Key::Enter, &model);
        assert_eq!(app.examples(&model).len(), 5);
        app.key(Key::Tab, &model);
        assert_eq!(app.endpoint.as_ref().map(|page| page.list), Some(List::Slowest));
        press(&mut app, &model, "jj");
        app.key(Key::Enter, &model);
        let opened = app.transaction.as_ref().map(|page| page.example.key());
        assert_eq!(opened, Some(app.examples(&model)[2].key()));
        app.key(Key::Esc, &model);
        assert!(app.transaction.is_none() && app.endpoint.is_some());
        app.key(Key::Backspace, &model);
        assert!(app.endpoint.is_none());
    }

    #[test]
    fn any_key_leaves_the_help() {
        let (mut app, model) = (App::default(), model());
        press(&mut app, &model, "?");
        assert!(app.help);
        assert_eq!(press(&mut app, &model, "r"), Does::Nothing);
        assert!(!app.help && !app.sort.reverse);
        assert_eq!(press(&mut app, &model, "hq"), Does::Quit);
        assert_eq!(press(&mut app, &model, " "), Does::Pause);
    }

    #[test]
    fn nothing_to_select_is_no_trouble() {
        let (mut app, model) = (App::default(), Model::default());
        for key in [Key::Enter, Key::Down, Key::End, Key::PageUp, Key::Tab, Key::Esc] {
            assert_eq!(app.key(key, &model), Does::Nothing);
        }
        assert!(app.endpoint.is_none());
    }

    #[test]
    fn the_selected_place_is_always_shown() {
        assert_eq!(scrolled(0, 9, 5, 20), 5);
        assert_eq!(scrolled(5, 3, 5, 20), 3);
        assert_eq!(scrolled(18, 19, 5, 20), 15);
        assert_eq!(scrolled(7, 2, 0, 3), 2);
        assert_eq!(scrolled(3, 0, 5, 0), 0);
    }
}
