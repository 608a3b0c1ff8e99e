//! Whole screens, compared with checked-in files. `UPDATE_SCREENS=1 cargo test` writes them again; check the difference
//! before committing it.

use std::fs;
use std::path::PathBuf;

use proptest::prelude::*;
use ratatui::crossterm::event::KeyCode;

use super::samples::*;
use super::view::Scope;
use super::*;

/// Compares at both sizes.
pub fn assert_screen(name: &str, app: &mut App) {
    for (width, height) in [(80, 24), (200, 50)] {
        let shown = screen(app, width, height);
        assert!(!shown.contains('\x1b'), "{shown}");
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("src/output/tui/screens")
            .join(format!("{name}_{width}x{height}.txt"));
        if std::env::var_os("UPDATE_SCREENS").is_some() {
            fs::write(&path, &shown).unwrap();
        }
        let known = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            known == shown,
            "{} is not what is shown:\n{shown}",
            path.display()
        );
    }
}

#[test]
fn all_panes() {
    assert_screen("all", &mut app(options()));
}

#[test]
fn nothing_happens() {
    let mut app = App::new(options());
    assert_screen("before_first_sample", &mut app);
    let mut quiet = sample(0);
    quiet.report.processes.clear();
    quiet.report.destinations.clear();
    quiet.report.budgets.clear();
    quiet.report.audit.clear();
    quiet.findings.clear();
    app.sample(quiet);
    assert_screen("quiet", &mut app);
}

#[test]
fn losses_are_in_sight() {
    let mut app = app(options());
    app.sample(lossy(sample(10), 1_234));
    app.log("twtrace: can't\x1b drop capabilities");
    assert_screen("lossy", &mut app);
}

#[test]
fn thousands_of_rows() {
    let mut app = app(options());
    app.sample(crowded());
    for _ in 0..2_000 {
        app.event(&events()[0], Some("other\x1bhost"));
    }
    assert_screen("crowded", &mut app);
    press(&mut app, KeyCode::End);
    press(&mut app, KeyCode::Char('z'));
    assert_screen("crowded_end", &mut app);
}

#[test]
fn a_thousand_short_lived_processes_hide_nobody() {
    let mut app = App::new(options());
    app.sample(short_lived(9));
    app.sample(short_lived(10));
    assert_screen("short_lived", &mut app);
    assert!(screen(&mut app, 80, 24).contains("curl ×1000"));
    assert!(screen(&mut app, 80, 24).contains("prober(3000)"));
    // Into the command, into one of its processes, and back.
    press(&mut app, KeyCode::Down);
    press(&mut app, KeyCode::Enter);
    assert_screen("command", &mut app);
    press(&mut app, KeyCode::Enter);
    assert!(matches!(app.scope, Scope::Process(_)));
    press(&mut app, KeyCode::Esc);
    assert!(matches!(app.scope, Scope::Command(_)));
    press(&mut app, KeyCode::Esc);
    assert!(matches!(app.scope, Scope::All));
    press(&mut app, KeyCode::Char('c'));
    assert!(!screen(&mut app, 80, 24).contains('×'));
}

#[test]
fn one_process() {
    let mut app = app(options());
    press(&mut app, KeyCode::Down);
    press(&mut app, KeyCode::Enter);
    assert_screen("process", &mut app);
}

#[test]
fn one_destination() {
    let mut app = app(options());
    press(&mut app, KeyCode::Tab);
    press(&mut app, KeyCode::Down);
    press(&mut app, KeyCode::Enter);
    assert_screen("destination", &mut app);
}

#[test]
fn one_finding() {
    let mut app = app(options());
    press(&mut app, KeyCode::Tab);
    press(&mut app, KeyCode::Tab);
    press(&mut app, KeyCode::Enter);
    assert_screen("finding", &mut app);
}

#[test]
fn one_event() {
    let mut app = app(options());
    press(&mut app, KeyCode::BackTab);
    press(&mut app, KeyCode::BackTab);
    press(&mut app, KeyCode::BackTab);
    press(&mut app, KeyCode::Tab);
    press(&mut app, KeyCode::Tab);
    press(&mut app, KeyCode::Enter);
    assert_screen("event", &mut app);
}

#[test]
fn help_is_made_of_the_keys() {
    let mut app = app(replay_options());
    press(&mut app, KeyCode::Char('?'));
    assert_screen("help", &mut app);
}

#[test]
fn integrity() {
    let mut app = app(options());
    app.sample(lossy(sample(10), 1_234));
    press(&mut app, KeyCode::Char('i'));
    assert_screen("integrity", &mut app);
}

#[test]
fn a_filter_is_typed() {
    let mut app = app(options());
    press(&mut app, KeyCode::Char('/'));
    assert_screen("filter_empty", &mut app);
    write(&mut app, "--side left");
    press(&mut app, KeyCode::Enter);
    assert_screen("filter_mistake", &mut app);
    for _ in 0.."left".len() {
        press(&mut app, KeyCode::Backspace);
    }
    write(&mut app, "server --comm nginx");
    press(&mut app, KeyCode::Enter);
    assert_screen("filtered", &mut app);
}

#[test]
fn a_replay_says_where_it_is() {
    let mut app = app(replay_options());
    press(&mut app, KeyCode::Char('+'));
    press(&mut app, KeyCode::Char(' '));
    assert_screen("replay", &mut app);
}

#[test]
fn without_colours_nothing_is_coloured() {
    let coloured = |has_colour| {
        let mut app = app(ViewOptions {
            has_colour,
            ..options()
        });
        let mut terminal =
            ratatui::Terminal::new(ratatui::backend::TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| app.draw(frame)).unwrap();
        let cells = terminal.backend().buffer().content();
        assert!(
            cells
                .iter()
                .all(|cell| cell.bg == ratatui::style::Color::Reset)
        );
        cells
            .iter()
            .filter(|cell| cell.fg != ratatui::style::Color::Reset)
            .count()
    };
    assert!(coloured(true) > 0);
    assert_eq!(coloured(false), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_size_is_drawn(width in 1u16..=250, height in 1u16..=80, keys in "[ -~]{0,12}") {
        let mut app = app(options());
        app.log("a message");
        screen(&mut app, width, height);
        for key in keys.chars() {
            press(&mut app, KeyCode::Char(key));
            press(&mut app, KeyCode::Down);
            press(&mut app, KeyCode::Enter);
            screen(&mut app, width, height);
            press(&mut app, KeyCode::Tab);
        }
        screen(&mut app, 81.max(width), 24);
    }
}

#[test]
fn small_sizes_are_drawn_one_by_one() {
    let mut app = app(options());
    for width in 1..=84 {
        for height in 1..=28 {
            let shown = screen(&mut app, width, height);
            assert_eq!(
                shown.contains("Commands"),
                width >= 80 && height >= 24,
                "{width}x{height}"
            );
        }
    }
}
