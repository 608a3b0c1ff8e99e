//! Tests of each key.

use ratatui::crossterm::event::{
    KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind,
};

use super::keys::{BINDINGS, KeyCommand};
use super::layout::Pane;
use super::samples::*;
use super::view::Scope;
use super::*;

/// Presses the first key of a command.
fn command(app: &mut App, command: KeyCommand) -> Option<Action> {
    let binding = BINDINGS.iter().find(|it| it.command == command).unwrap();
    let (code, modifiers) = binding.keys[0];
    app.key(KeyEvent::new(code, modifiers))
}

fn row(app: &mut App, text: &str) -> usize {
    let shown = screen(app, 80, 24);
    shown
        .lines()
        .position(|line| line.starts_with(text))
        .unwrap_or_else(|| panic!("{text} is not in\n{shown}"))
}

#[test]
fn every_key_of_the_table_does_something() {
    for binding in BINDINGS {
        for (code, modifiers) in binding.keys {
            let mut app = app(replay_options());
            // Prepares something to go back from, and something to go up from.
            if binding.command == KeyCommand::Back {
                press(&mut app, KeyCode::Char('z'));
            }
            press(&mut app, KeyCode::Down);
            if matches!(
                binding.command,
                KeyCommand::Down | KeyCommand::Last | KeyCommand::PageDown
            ) {
                press(&mut app, KeyCode::Home);
            }
            let before = (screen(&mut app, 80, 24), app.focus, app.index(app.focus));
            let action = app.key(KeyEvent::new(*code, *modifiers));
            let after = (screen(&mut app, 80, 24), app.focus, app.index(app.focus));
            assert!(
                action.is_some() || before != after,
                "{} does nothing",
                binding.shown
            );
        }
    }
}

#[test]
fn actions_are_the_callers() {
    let mut live = app(options());
    let mut replay = app(replay_options());
    assert_eq!(command(&mut live, KeyCommand::Quit), Some(Action::Quit));
    assert_eq!(
        command(&mut live, KeyCommand::Suspend),
        Some(Action::Suspend)
    );
    assert_eq!(
        command(&mut live, KeyCommand::Mouse),
        Some(Action::Mouse(true))
    );
    assert_eq!(command(&mut live, KeyCommand::Faster), None);
    assert_eq!(
        command(&mut replay, KeyCommand::Faster),
        Some(Action::Speed(2.0))
    );
    assert_eq!(
        command(&mut replay, KeyCommand::Slower),
        Some(Action::Speed(1.0))
    );
    assert_eq!(
        command(&mut replay, KeyCommand::FarBack),
        Some(Action::Seek(-60_000_000_000))
    );
    assert_eq!(
        command(&mut replay, KeyCommand::Pause),
        Some(Action::Pause(true))
    );
    assert_eq!(
        command(&mut replay, KeyCommand::Pause),
        Some(Action::Pause(false))
    );
}

#[test]
fn paused_the_screen_stands_still_and_tracing_goes_on() {
    let mut app = app(options());
    command(&mut app, KeyCommand::Pause);
    let paused = screen(&mut app, 80, 24);
    app.event(&events()[0], None);
    app.sample(sample(10));
    let later = screen(&mut app, 80, 24);
    assert!(later.contains("PAUSED, 1 events since"), "{later}");
    assert_eq!(
        paused.lines().skip(1).collect::<Vec<_>>(),
        later.lines().skip(1).collect::<Vec<_>>()
    );
    command(&mut app, KeyCommand::Pause);
    assert!(screen(&mut app, 80, 24).contains("traced for 10.0s"));
}

#[test]
fn rates_are_differences_of_samples() {
    let mut app = app(options());
    // nginx creates 40 per second; curl had 64 after eight seconds and 81 after nine.
    let shown = screen(&mut app, 80, 24);
    let words = |name: &str| -> Vec<String> {
        let line = shown.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().map(str::to_owned).collect()
    };
    assert_eq!(words("nginx(80)")[1..5], ["40", "0", "40", "360"]);
    assert_eq!(
        words("curl(1234)")[1..7],
        ["17", "17", "0", "72", "1.0", "1.0"]
    );
    assert_eq!(words("curl(1234)")[7..], ["20", "≤1.50ms", "9"]);
}

#[test]
fn a_replay_that_goes_back_begins_anew() {
    let mut app = app(replay_options());
    app.sample(sample(3));
    let shown = screen(&mut app, 80, 24);
    assert!(shown.contains("0 since the start"), "{shown}");
    app.sample(sample(4));
    assert!(screen(&mut app, 80, 24).contains("Rates"));
}

#[test]
fn rows_are_sorted_and_the_selection_stays_with_its_row() {
    let mut app = app(options());
    // It has most of the RSTs and failures, the other most of the TIME_WAITs.
    assert!(row(&mut app, "curl(1234)") < row(&mut app, "nginx(80)"));
    command(&mut app, KeyCommand::Sort);
    assert!(row(&mut app, "nginx(80)") < row(&mut app, "curl(1234)"));
    press(&mut app, KeyCode::Down);
    assert_eq!(app.index(Pane::Processes), 1);
    command(&mut app, KeyCommand::ReverseSort);
    assert!(row(&mut app, "PROCESS") > 0);
    assert_eq!(
        app.view.processes[app.index(Pane::Processes)].key.tgid,
        1234
    );
    command(&mut app, KeyCommand::Sort);
    assert!(screen(&mut app, 80, 24).contains("ALIVE▼"));
    for _ in 0..5 {
        command(&mut app, KeyCommand::Sort);
    }
    assert!(screen(&mut app, 80, 24).contains("PROCESS▼"));
    let names: Vec<u32> = app
        .view
        .processes
        .iter()
        .map(|line| line.key.tgid)
        .collect();
    // No process; then escapes, letters, and what is not ASCII.
    assert_eq!(names[..3], [0, 5_000, 1234]);
}

#[test]
fn into_a_process_and_back() {
    let mut app = app(options());
    press(&mut app, KeyCode::Enter);
    assert!(matches!(app.scope, Scope::Process(key) if key.tgid == 1234));
    let shown = screen(&mut app, 80, 24);
    assert!(shown.contains("Process curl(1234)"), "{shown}");
    assert!(
        shown.contains("10.0.0.2:5432") && !shown.contains("nginx"),
        "{shown}"
    );
    press(&mut app, KeyCode::Esc);
    assert_eq!(app.scope, Scope::All);
    assert_eq!(app.focus, Pane::Processes);
    assert_eq!(app.index(Pane::Processes), 0);
}

#[test]
fn into_a_destination_and_back() {
    let mut app = app(options());
    press(&mut app, KeyCode::Tab);
    press(&mut app, KeyCode::Enter);
    assert!(matches!(app.scope, Scope::Destination(_)));
    press(&mut app, KeyCode::Backspace);
    assert_eq!((app.scope, app.focus), (Scope::All, Pane::Destinations));
}

#[test]
fn the_newest_event_is_followed_until_another_is_selected() {
    let mut app = app(options());
    app.focus = Pane::Events;
    let newest = app.index(Pane::Events);
    app.event(&events()[0], None);
    assert_eq!(app.index(Pane::Events), newest + 1);
    press(&mut app, KeyCode::Up);
    app.event(&events()[0], None);
    assert_eq!(app.index(Pane::Events), newest);
    for _ in 0..5_000 {
        app.event(&events()[0], None);
    }
    // It is no longer kept, and so the oldest is selected.
    assert_eq!(app.index(Pane::Events), 0);
    assert_eq!(app.events().len(), tail::MAX_EVENTS);
    press(&mut app, KeyCode::End);
    assert_eq!(app.index(Pane::Events), tail::MAX_EVENTS - 1);
}

#[test]
fn a_filter_by_address_shows_the_processes_that_deal_with_it() {
    let mut app = app(options());
    press(&mut app, KeyCode::Char('/'));
    write(&mut app, "--remote 10.9.9.0/24");
    press(&mut app, KeyCode::Enter);
    let keys: Vec<u32> = app
        .view
        .processes
        .iter()
        .map(|line| line.key.tgid)
        .collect();
    assert_eq!(keys, [80]);
    press(&mut app, KeyCode::Esc);
    assert_eq!(app.view.processes.len(), sample(9).report.processes.len());
}

#[test]
fn typing_takes_all_keys_but_those_that_end() {
    let mut app = app(options());
    press(&mut app, KeyCode::Char('/'));
    assert_eq!(press(&mut app, KeyCode::Char('q')), None);
    let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
    assert_eq!(app.key(control_c), Some(Action::Quit));
    press(&mut app, KeyCode::Esc);
    assert_eq!(press(&mut app, KeyCode::Char('q')), Some(Action::Quit));
}

#[test]
fn a_click_selects_and_the_wheel_moves() {
    let mut app = app(options());
    let y = row(&mut app, "curl(1234)") as u16;
    let mouse = |kind| MouseEvent {
        kind,
        column: 3,
        row: y,
        modifiers: KeyModifiers::NONE,
    };
    app.mouse(mouse(MouseEventKind::Down(MouseButton::Left)));
    assert_eq!(
        app.view.processes[app.index(Pane::Processes)].key.tgid,
        1234
    );
    app.mouse(mouse(MouseEventKind::ScrollUp));
    assert_eq!(app.index(Pane::Processes), 0);
}

#[test]
fn only_what_changed_is_to_be_drawn() {
    let mut app = app(options());
    screen(&mut app, 80, 24);
    assert!(!app.is_dirty());
    app.event(&events()[0], None);
    assert!(app.is_dirty());
}
