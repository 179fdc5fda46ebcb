//! What is drawn, as golden screens, and that no size of terminal is too small.

use perisco::analyze::watch::{Coverage, Progress, Watched};
use perisco::time::Timestamp;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::{About, draw};
use crate::top::app::App;
use crate::top::keys::Key;
use crate::top::pace::Speed;
use crate::top::screen::Look;
use crate::top::state::endpoint::Key as Name;
use crate::top::state::testkit::watched;
use crate::top::state::{Feed, Model};

/// 2026-11-22T15:17:26Z.
const BEGIN: i64 = 1_795_360_646_000_000_000;
const MILLI: i64 = 1_000_000;
const SECOND: i64 = 1_000 * MILLI;

const COLOR: Look = Look { color: true, unicode: true };

fn about() -> About {
    let title = "cap.pcapng".to_owned();
    About { title, feed: Feed::File, speed: Speed::Times(10.0), size: Some(1000), filter: None }
}

/// One that began then, was answered after so many milliseconds and has ended.
fn took(path: &str, begin: i64, millis: i64, status: u16, index: u64) -> Watched {
    let mut found = watched("GET", path, status);
    found.index = index;
    let at = |nanos: i64| Some(Timestamp::from_nanos(nanos));
    if let Some(request) = &mut found.transaction.request {
        (request.start, request.end) = (at(begin), at(begin + MILLI / 10));
    }
    if let Some(response) = &mut found.transaction.response {
        let start = begin + millis * MILLI;
        (response.start, response.end) = (at(start), at(start + MILLI));
    }
    found
}

/// Twenty seconds of a shop.
fn model() -> Model {
    let mut model = Model::default();
    let mut name = Name::default();
    let first = Some(Timestamp::from_nanos(BEGIN));
    model.take(&Progress { first, position: 420, packets: 99, ..Progress::default() });
    model.loss.coverage = Coverage { payload_bytes: 123_456, ..Coverage::default() };
    for index in 0..200_i64 {
        let begin = BEGIN + index * SECOND / 10;
        let (path, status) = match index % 20 {
            0 => ("/cart/checkout", 503),
            1..5 => ("/users/42?tab=orders", 200),
            5 => ("/\x1b[31mred\x1b[2J", 404),
            _ => ("/", 200),
        };
        let found = took(path, begin, 1 + index % 50, status, index.unsigned_abs());
        let at = found.transaction.response.as_ref().and_then(|response| response.end);
        model.go_on(at);
        model.add(found, at, &mut name);
    }
    model
}

fn terminal(
    app: &mut App,
    model: &Model,
    (width, height): (u16, u16),
    look: Look,
) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, app, model, &about(), look)).unwrap();
    terminal
}

fn screen(app: &mut App, model: &Model, size: (u16, u16)) -> String {
    terminal(app, model, size, COLOR).backend().to_string()
}

#[test]
fn the_table() {
    let (mut app, model) = (App::default(), model());
    app.key(Key::Down, &model);
    insta::assert_snapshot!(screen(&mut app, &model, (80, 24)));
    insta::assert_snapshot!(screen(&mut app, &model, (150, 12)));
}

#[test]
fn loss_is_red_and_on_every_page() {
    let (mut app, mut model) = (App::default(), model());
    model.loss.coverage = Coverage { payload_bytes: 99_000, gap_bytes: 1_000, gaps: 3, limits: 0 };
    model.loss.drops = 7;
    for keys in [&[][..], &[Key::Enter], &[Key::Enter], &[Key::Char('h')]] {
        for key in keys {
            app.key(*key, &model);
        }
        for size in [(80, 24), (60, 5), (70, 2)] {
            let terminal = terminal(&mut app, &model, size, COLOR);
            let text = terminal.backend().to_string();
            assert!(
                text.contains("LOST 7 packets on the way, MISSING 1.00 kB in 3 gaps"),
                "{text}"
            );
            let buffer = terminal.backend().buffer();
            let at = text.lines().position(|line| line.contains("LOST 7")).unwrap();
            assert_eq!(buffer[(1, at as u16)].fg, Color::Red);
        }
    }
}

#[test]
fn an_endpoint_and_a_transaction() {
    let (mut app, model) = (App::default(), model());
    app.key(Key::Char('/'), &model);
    for letter in "checkout".chars() {
        app.key(Key::Char(letter), &model);
    }
    app.key(Key::Enter, &model);
    insta::assert_snapshot!(screen(&mut app, &model, (80, 12)));
    app.key(Key::Enter, &model);
    app.key(Key::Tab, &model);
    insta::assert_snapshot!(screen(&mut app, &model, (100, 30)));
    app.key(Key::Enter, &model);
    insta::assert_snapshot!(screen(&mut app, &model, (80, 40)));
}

#[test]
fn help_fits_the_smallest_usual_terminal() {
    let (mut app, model) = (App::default(), model());
    app.key(Key::Char('?'), &model);
    insta::assert_snapshot!(screen(&mut app, &model, (80, 24)));
}

#[test]
fn nothing_yet() {
    let text = screen(&mut App::default(), &Model::default(), (80, 10));
    assert!(text.contains("waiting for packets") && text.contains("no transaction yet"), "{text}");
}

#[test]
fn no_size_and_no_page_panics() {
    let model = model();
    let pages: [&[Key]; 5] = [
        &[],
        &[Key::Char('/'), Key::Char('s')],
        &[Key::Enter],
        &[Key::Enter, Key::Enter, Key::End],
        &[Key::Char('h')],
    ];
    for keys in pages {
        for width in [1, 2, 7, 20, 21, 33, 80, 300] {
            for height in [1, 2, 3, 4, 5, 9, 10, 24, 100] {
                let mut app = App::default();
                for key in keys {
                    app.key(*key, &model);
                }
                screen(&mut app, &model, (width, height));
                screen(&mut app, &Model::default(), (width, height));
            }
        }
    }
}

#[test]
fn a_list_scrolls_with_the_selection() {
    let (mut app, model) = (App::default(), model());
    app.key(Key::Enter, &model);
    app.key(Key::End, &model);
    let text = screen(&mut app, &model, (80, 16));
    let terminal = terminal(&mut app, &model, (80, 16), COLOR);
    let buffer = terminal.backend().buffer();
    let is_chosen = |y: &u16| buffer[(0, *y)].modifier.contains(ratatui::style::Modifier::REVERSED);
    assert_eq!((0..16).filter(is_chosen).collect::<Vec<_>>(), [14], "{text}");
}

#[test]
fn without_colour_and_in_ascii() {
    let (mut app, model) = (App::default(), model());
    let look = Look { color: false, unicode: false };
    let terminal = terminal(&mut app, &model, (120, 24), look);
    let cells = &terminal.backend().buffer().content;
    assert!(cells.iter().all(|cell| cell.symbol().is_ascii()), "{}", terminal.backend());
    assert!(cells.iter().all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset));
}
