//! The terminal while the screen is on it: set up, drawn on, and given back as
//! it was, also where the program panics.

use std::io::{self, Stdout, Write};
use std::sync::Once;

use perisco::analyze::report::Style;
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::style::Color;

/// What the terminal can show.
#[derive(Clone, Copy, Debug)]
pub struct Look {
    /// Colours, which NO_COLOR and dumb terminals have not.
    pub color: bool,
    /// More than ASCII.
    pub unicode: bool,
}

impl Look {
    /// Of standard output.
    pub fn of_stdout() -> Self {
        let style = Style::for_stdout();
        Self { color: style.color, unicode: !style.ascii }
    }

    /// Takes from what was drawn what cannot be shown.
    pub fn reduce(self, buffer: &mut Buffer) {
        for cell in &mut buffer.content {
            if !self.color {
                (cell.fg, cell.bg) = (Color::Reset, Color::Reset);
            }
            if !self.unicode && !cell.symbol().is_ascii() {
                cell.set_symbol(plain(cell.symbol()));
            }
        }
    }
}

/// What stands for a symbol in ASCII.
fn plain(symbol: &str) -> &'static str {
    match symbol {
        "▁" => ".",
        "▂" => ":",
        "▃" => "-",
        "▄" => "=",
        "▅" => "+",
        "▆" => "*",
        "▇" => "#",
        "█" | "▉" | "▊" | "▋" | "▌" | "▍" | "▎" | "▏" => "@",
        "…" => "~",
        "→" => ">",
        "▼" => "v",
        "▲" => "^",
        "×" => "x",
        "µ" => "u",
        "─" => "-",
        _ => "?",
    }
}

/// The terminal that is drawn on; given back when dropped.
pub struct Screen {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl Screen {
    /// Takes the terminal over.
    ///
    /// # Errors
    /// What the terminal says.
    pub fn open() -> io::Result<Self> {
        give_back_on_panic();
        enable_raw_mode()?;
        let opened = execute!(io::stdout(), EnterAlternateScreen, Hide);
        let terminal = opened.and_then(|()| Terminal::new(CrosstermBackend::new(io::stdout())));
        match terminal {
            Ok(terminal) => Ok(Self { terminal }),
            Err(error) => {
                give_back();
                Err(error)
            }
        }
    }

    /// Draws.
    ///
    /// # Errors
    /// What the terminal says: it may be gone.
    pub fn draw(&mut self, draw: impl FnOnce(&mut ratatui::Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw)?;
        Ok(())
    }

    /// Forgets what is on it, so that all of it is drawn anew.
    ///
    /// # Errors
    /// As above.
    pub fn clear(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Gives the terminal back. One that is gone needs nothing.
fn give_back() {
    let mut out = io::stdout();
    let _ = execute!(out, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
    let _ = out.flush();
}

/// What a panic says must be readable, whichever thread it is in.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            give_back();
            before(info);
        }));
    });
}
