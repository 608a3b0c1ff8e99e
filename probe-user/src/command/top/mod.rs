//! `twtrace top`

mod feed;
mod play_history;
mod play_recording;
mod player;
mod screen;
mod watch;

use anyhow::{Context, Result};

use super::source::FigureSource;
use crate::cli::TopArgs;
use crate::output::tui::App;
use crate::output::tui::terminal;
use crate::session::stop::Stop;
use feed::Feed;
use play_history::HistoryPlayback;
use play_recording::RecordingPlayback;
use player::Player;
use screen::{Front, Obeyed, ScreenEvent};
use watch::Watch;

/// Shows the view until `q`.
pub async fn run(args: TopArgs) -> Result<()> {
    terminal::check()?;
    let listen = || Stop::listen().context("listening for signals");
    let source = FigureSource::of(&args.from, &args.store);
    source.confine(&[]);
    match source {
        FigureSource::Live => {
            let (watch, app) = Watch::start(&args)?;
            show(watch, app).await
        }
        FigureSource::Recording(_) => {
            let stop = listen()?;
            let (playback, app) = RecordingPlayback::start(&args)?;
            show(Player::new(playback, stop), app).await
        }
        FigureSource::History(directory, _) => {
            let stop = listen()?;
            let (playback, app) = HistoryPlayback::start(&args, directory)?;
            show(Player::new(playback, stop), app).await
        }
    }
}

async fn show(mut feed: impl Feed, mut app: App) -> Result<()> {
    let mut front = Front::open(&mut app)?;
    loop {
        match feed.next(&mut front, &mut app).await? {
            ScreenEvent::End => break,
            ScreenEvent::Input(input) => match front.obey(&mut app, input)? {
                Obeyed::End => break,
                Obeyed::Done => {}
                Obeyed::Replay(action) => {
                    feed.obey(&mut app, action)?;
                    front.draw(&mut app)?;
                }
            },
            ScreenEvent::Tick => {
                feed.tick(&mut app)?;
                front.draw(&mut app)?;
            }
        }
    }
    // Detaching takes a while, in which the terminal would take keys from the shell. It is given back afterwards.
    let outcome = feed.end();
    drop(front);
    outcome
}
