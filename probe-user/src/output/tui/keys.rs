//! Every key, once: what it does, and what help says of it.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyCommand {
    /// Ends the program.
    Quit,
    /// Shows or hides help.
    Help,
    /// The row above.
    Up,
    /// The row below.
    Down,
    /// A screenful up.
    PageUp,
    /// A screenful down.
    PageDown,
    /// The first row.
    First,
    /// The last row.
    Last,
    /// The next pane.
    NextPane,
    /// The pane before.
    PreviousPane,
    /// Into the row.
    Open,
    /// Back out.
    Back,
    /// The next column to sort by.
    Sort,
    /// Sorts the other way round.
    ReverseSort,
    /// Begins to type a filter.
    Filter,
    /// Stands still, or goes on.
    Pause,
    /// The pane alone, or all of them.
    Zoom,
    /// What a column of the timeline stands for.
    Span,
    /// What is lost, tiers and audit.
    Integrity,
    /// Takes the mouse, or leaves it to the terminal.
    Mouse,
    /// Draws all anew.
    Redraw,
    /// To the shell, as Ctrl-Z does.
    Suspend,
    /// Replays faster.
    Faster,
    /// Replays slower.
    Slower,
    /// Ten seconds forth.
    Forth,
    /// Ten seconds back.
    Back10,
    /// A minute forth.
    FarForth,
    /// A minute back.
    FarBack,
}

/// Some keys that do the same.
#[derive(Clone, Copy, Debug)]
pub struct Binding {
    /// The keys.
    pub keys: &'static [Key],
    /// As help writes them.
    pub shown: &'static str,
    /// What they do.
    pub help: &'static str,
    /// The same in a word or two, for the last line of the screen; empty where it is not shown there.
    pub hint: &'static str,
    /// Whether there is nothing for it to do but in a replay.
    pub replay_only: bool,
    /// What they ask for.
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

/// All of them, in the order of help.
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
    bind(&[char('/')], "/", "filter: the words of the command line", "filter", KeyCommand::Filter),
    bind(&[char(' ')], "Space", "pause: the screen stands still, tracing goes on", "pause", KeyCommand::Pause),
    bind(&[char('z')], "z", "this pane alone, or all", "zoom", KeyCommand::Zoom),
    bind(&[char('t')], "t", "a column of the timeline: 1s, 5s, 30s", "", KeyCommand::Span),
    bind(&[char('i')], "i", "what is lost, tiers of hooks, audit", "integrity", KeyCommand::Integrity),
    bind(&[char('m')], "m", "mouse on or off", "", KeyCommand::Mouse),
    bind(&[control('l')], "Ctrl-L", "draw anew", "", KeyCommand::Redraw),
    bind(&[control('z')], "Ctrl-Z", "to the shell; fg comes back", "", KeyCommand::Suspend),
    replay(bind(&[char('+'), char('=')], "+", "replay faster", "faster", KeyCommand::Faster)),
    replay(bind(&[char('-')], "-", "replay slower", "slower", KeyCommand::Slower)),
    replay(bind(&[plain(KeyCode::Right)], "→", "10 s forth", "seek", KeyCommand::Forth)),
    replay(bind(&[plain(KeyCode::Left)], "←", "10 s back", "", KeyCommand::Back10)),
    replay(bind(&[char(']')], "]", "a minute forth", "", KeyCommand::FarForth)),
    replay(bind(&[char('[')], "[", "a minute back", "", KeyCommand::FarBack)),
];

/// The keys that there are: in a replay some more.
pub fn bindings(is_replay: bool) -> impl Iterator<Item = &'static Binding> {
    BINDINGS
        .iter()
        .filter(move |binding| is_replay || !binding.replay_only)
}

/// What a key asks for.
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
