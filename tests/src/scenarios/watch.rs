//! `report --watch` on a terminal.

use anyhow::{Context as _, Result, ensure};

use super::{
    Usage,
    terminal::{Tmux, Traffic},
};
use crate::runner::Context;

pub const USAGES: &[Usage] = &[Usage {
    name: "watch/redrawn",
    run: redrawn,
}];

fn line(context: &Context) -> String {
    let mut words = vec![
        context.twtrace.display().to_string(),
        "report".to_owned(),
        "--watch=300ms".to_owned(),
    ];
    words.extend(context.tier.options());
    words.join(" ")
}

/// TIME_WAITs created, by the screen's own line.
fn created(screen: &str) -> Option<u64> {
    let line = screen.lines().find(|line| line.starts_with("TIME_WAIT "))?;
    let number = line.split(" created").next()?.split_whitespace().last()?;
    number.replace([',', '≥'], "").parse().ok()
}

/// Figures grow, nothing is wider or longer than the terminal, and Ctrl-C prints the report; Ctrl-Z gives the terminal
/// back meanwhile.
fn redrawn(context: &Context) -> Result<()> {
    let (width, height) = (80, 24);
    let tmux = Tmux::start(width, height)?;
    let _traffic = Traffic::start()?;
    tmux.line("set -m")?;
    tmux.line(&line(context))?;
    let is_up = |screen: &str| screen.starts_with("counting for ");
    let screen = tmux.await_screen("TIME_WAITs", |screen| {
        is_up(screen) && created(screen).is_some_and(|count| count > 0)
    })?;
    let before = created(&screen).context("no figure")?;
    let screen = tmux.await_screen("more TIME_WAITs", |screen| {
        created(screen).is_some_and(|count| count > before)
    })?;
    ensure!(
        screen.lines().count() <= usize::from(height) && screen.contains("Data quality: "),
        "{screen}"
    );
    tmux.press("C-z")?;
    tmux.await_screen("the shell", |screen| !is_up(screen))?;
    tmux.check_restored("stopped")?;
    tmux.line("fg")?;
    tmux.await_screen("the report again", is_up)?;
    tmux.press("C-c")?;
    tmux.await_screen("the report", |screen| {
        !is_up(screen) && screen.contains("\nMore: twtrace doctor")
    })?;
    tmux.check_restored("ended")
}
