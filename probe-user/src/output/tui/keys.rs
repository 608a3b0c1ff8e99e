//! All keys: what they do, and their help text.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// The command of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyCommand {
    Quit,
    Help,
    Up,
    Down,
    /// One screenful up.
    PageUp,
    /// One screenful down.
    PageDown,
    First,
    Last,
    NextPane,
    PreviousPane,
    /// Opens the row.
    Open,
    /// Goes back.
    Back,
    /// Sorts by the next column.
    Sort,
    /// Sorts the other way round.
    ReverseSort,
    /// Shows commands, or single processes.
    Commands,
    /// Begins to type a filter.
    Filter,
    /// Pauses, or continues.
    Pause,
    /// Shows the pane alone, or all panes.
    Zoom,
    /// Changes the time span of a timeline column.
    Span,
    /// Shows losses, tiers and audit.
    Integrity,
    /// Enables or disables mouse reports.
    Mouse,
    /// Draws everything again.
    Redraw,
    /// Suspends to the shell, as with Ctrl-Z.
    Suspend,
    /// Replays faster.
    Faster,
    /// Replays slower.
    Slower,
    /// Seeks ten seconds forward.
    Forth,
    /// Seeks ten seconds back.
    Back10,
    /// Seeks one minute forward.
    FarForth,
    /// Seeks one minute back.
    FarBack,
}

/// Keys with the same command.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    pub keys: &'static [Key],
    /// As shown in the help.
    pub shown: &'static str,
    /// Help text.
    pub help: &'static str,
    /// One or two words for the last line of the screen; empty if it is not shown there.
    pub hint: &'static str,
    /// Whether it works only in a replay.
    pub replay_only: bool,
    pub command: KeyCommand,
}

/// A key with its modifiers; Shift is in the character.
pub type Key = (KeyCode, KeyModifiers);

const fn plain(code: KeyCode) -> Key {
    (code, KeyModifiers::NONE)
}

const fn char(char: char) -> Key {
    plain(KeyCode::Char(char))
}

const fn control(char: char) -> Key {
    (KeyCode::Char(char), KeyModifiers::CONTROL)
}

const fn bind(
    keys: &'static [Key],
    shown: &'static str,
    help: &'static str,
    hint: &'static str,
    command: KeyCommand,
) -> Binding {
    Binding {
        keys,
        shown,
        help,
        hint,
        replay_only: false,
        command,
    }
}

const fn replay(mut binding: Binding) -> Binding {
    binding.replay_only = true;
    binding
}

/// All bindings, in the order of the help.
#[rustfmt::skip]
pub const BINDINGS: &[Binding] = &[
    bind(&[char('?'), char('h'), plain(KeyCode::F(1))], "? h F1", "this help", "help", KeyCommand::Help),
    bind(&[char('q'), control('c')], "q Ctrl-C", "quit", "quit", KeyCommand::Quit),
    bind(&[plain(KeyCode::Up), char('k')], "↑ k", "row above", "", KeyCommand::Up),
    bind(&[plain(KeyCode::Down), char('j')], "↓ j", "row below", "", KeyCommand::Down),
    bind(&[plain(KeyCode::PageUp)], "PgUp", "a screenful up", "", KeyCommand::PageUp),
    bind(&[plain(KeyCode::PageDown)], "PgDn", "a screenful down", "", KeyCommand::PageDown),
    bind(&[plain(KeyCode::Home), char('g')], "Home g", "first row", "", KeyCommand::First),
    bind(&[plain(KeyCode::End), char('G')], "End G", "last row; the newest event", "", KeyCommand::Last),
    bind(&[plain(KeyCode::Tab)], "Tab", "next pane", "pane", KeyCommand::NextPane),
    bind(&[plain(KeyCode::BackTab)], "Shift-Tab", "pane before", "", KeyCommand::PreviousPane),
    bind(&[plain(KeyCode::Enter)], "Enter", "into the process, destination, event or finding", "open", KeyCommand::Open),
    bind(&[plain(KeyCode::Esc), plain(KeyCode::Backspace)], "Esc Bksp", "back out; then clear the filter", "back", KeyCommand::Back),
    bind(&[char('s')], "s", "sort by the next column", "sort", KeyCommand::Sort),
    bind(&[char('S')], "S", "sort the other way round", "", KeyCommand::ReverseSort),
    bind(&[char('c')], "c", "rows are commands, or single processes", "processes", KeyCommand::Commands),
    bind(&[char('/')], "/", "filter: the words of the command line", "filter", KeyCommand::Filter),
    bind(&[char(' ')], "Space", "freeze the screen; tracing continues", "pause", KeyCommand::Pause),
    bind(&[char('z')], "z", "this pane alone, or all", "zoom", KeyCommand::Zoom),
    bind(&[char('t')], "t", "a column of the timeline: 1s, 5s, 30s", "", KeyCommand::Span),
    bind(&[char('i')], "i", "data quality: losses, tiers of hooks, audit", "integrity", KeyCommand::Integrity),
    bind(&[char('m')], "m", "mouse on or off", "", KeyCommand::Mouse),
    bind(&[control('l')], "Ctrl-L", "redraw", "", KeyCommand::Redraw),
    bind(&[control('z')], "Ctrl-Z", "to the shell; fg comes back", "", KeyCommand::Suspend),
    replay(bind(&[char('+'), char('=')], "+", "replay faster", "faster", KeyCommand::Faster)),
    replay(bind(&[char('-')], "-", "replay slower", "slower", KeyCommand::Slower)),
    replay(bind(&[plain(KeyCode::Right)], "→", "10 s forward", "seek", KeyCommand::Forth)),
    replay(bind(&[plain(KeyCode::Left)], "←", "10 s back", "", KeyCommand::Back10)),
    replay(bind(&[char(']')], "]", "a minute forward", "", KeyCommand::FarForth)),
    replay(bind(&[char('[')], "[", "a minute back", "", KeyCommand::FarBack)),
];

/// The available bindings: a replay has more.
pub fn bindings(is_replay: bool) -> impl Iterator<Item = &'static Binding> {
    BINDINGS
        .iter()
        .filter(move |binding| is_replay || !binding.replay_only)
}

/// The command of a key.
pub fn command(key: KeyEvent, is_replay: bool) -> Option<KeyCommand> {
    let pressed = (key.code, key.modifiers.difference(KeyModifiers::SHIFT));
    bindings(is_replay)
        .find(|binding| binding.keys.contains(&pressed))
        .map(|binding| binding.command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_stands_once() {
        let keys: Vec<Key> = BINDINGS.iter().flat_map(|it| it.keys).copied().collect();
        for (index, key) in keys.iter().enumerate() {
            assert!(!keys[..index].contains(key), "{key:?}");
        }
    }

    #[test]
    fn shift_is_in_the_character() {
        let key = KeyEvent::new(KeyCode::Char('S'), KeyModifiers::SHIFT);
        assert_eq!(command(key, false), Some(KeyCommand::ReverseSort));
        let key = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(command(key, false), Some(KeyCommand::Quit));
        let key = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::ALT);
        assert_eq!(command(key, false), None);
    }

    #[test]
    fn keys_of_a_replay_do_nothing_live() {
        let key = KeyEvent::new(KeyCode::Char('+'), KeyModifiers::NONE);
        assert_eq!(command(key, false), None);
        assert_eq!(command(key, true), Some(KeyCommand::Faster));
    }
}
