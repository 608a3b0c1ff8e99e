//! The last line: keys, or the filter line; and above it messages of the program's log.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use twtrace_core::event::text::escape;
use unicode_width::UnicodeWidthStr;

use super::super::app::App;
use super::super::cells::{CellAlign, put};
use super::super::filter_line::FilterLine;
use super::super::keys;
use super::parts;

/// Example of a filter.
const EXAMPLE: &str = "such as --comm nginx --remote :80 --event reset; Enter, Esc";

/// Draws it. Returns the position of the cursor, if a filter is being typed.
pub fn draw(app: &App, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    if let Some(line) = &app.typing {
        return Some(draw_filter(app, line, area, buffer));
    }
    let mut line = Vec::new();
    if !app.filter_words.is_empty() {
        line.push((
            format!("shown: {} ", escape(&app.filter_words)),
            app.theme.warning(),
        ));
        line.push((" ".to_owned(), app.theme.plain()));
    }
    for binding in keys::bindings(app.is_replay()).filter(|binding| !binding.hint.is_empty()) {
        let key = binding.shown.split(' ').next().unwrap_or_default();
        line.push((key.to_owned(), app.theme.key()));
        line.push((format!(" {}  ", binding.hint), app.theme.dim()));
    }
    parts(buffer, area, &line);
    None
}

fn draw_filter(app: &App, line: &FilterLine, area: Rect, buffer: &mut Buffer) -> Position {
    const PROMPT: &str = "filter: ";
    put(
        buffer,
        (area.x, area.y),
        area.width,
        PROMPT,
        CellAlign::Left,
        app.theme.key(),
    );
    let x = area.x + PROMPT.len() as u16;
    let beside = if line.text().is_empty() { EXAMPLE } else { "" };
    // The end of the text is what is being typed.
    let mut text = escape(line.text());
    let room = if beside.is_empty() {
        area.right() - x - 1
    } else {
        (area.right() - x) / 2
    };
    while text.width() > usize::from(room) {
        text.remove(0);
    }
    let width = text.width() as u16;
    put(
        buffer,
        (x, area.y),
        room,
        &text,
        CellAlign::Left,
        app.theme.plain(),
    );
    let after = x + width + 2;
    if after < area.right() {
        put(
            buffer,
            (after, area.y),
            area.right() - after,
            beside,
            CellAlign::Left,
            app.theme.dim(),
        );
    }
    Position::new(x + width, area.y)
}

/// Draws the error of the typed filter, or the last message.
pub fn draw_message(app: &App, area: Rect, buffer: &mut Buffer) {
    if let Some(mistake) = app.typing.as_ref().and_then(FilterLine::mistake) {
        let mistake = format!("! {}", escape(mistake));
        put(
            buffer,
            (area.x, area.y),
            area.width,
            &mistake,
            CellAlign::Left,
            app.theme.bad(),
        );
        return;
    }
    if let Some((text, count)) = &app.message {
        let more = match count {
            1 => String::new(),
            count => format!(" ({count} messages)"),
        };
        parts(
            buffer,
            area,
            &[
                (format!("! {}", escape(text)), app.theme.warning()),
                (format!("{more}  Esc"), app.theme.dim()),
            ],
        );
    }
}
