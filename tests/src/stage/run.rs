//! Main function of a stage's process.

use std::{
    io::{self, Write},
    net::SocketAddr,
};

use anyhow::Result;

use super::{
    Ip, Skip, Stage, Unlucky,
    finding::{Ending, Left, Message, PlayResult, Played},
};
use crate::sys::{
    clock,
    proc_net::{self, MINI_SOCKET},
};

/// What a stage does besides playing its scenario.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    /// The scenario itself decides when tracing begins.
    pub prepares: bool,
    /// A fence follows it.
    pub is_fenced: bool,
}

/// Plays the scenario, sends the expected events, and then keeps everything as it is until the runner closes standard
/// input.
///
/// # Errors
/// If the runner can't be reached.
pub fn run(ip: Ip, part: Part, play: fn(&Stage) -> Result<()>) -> Result<()> {
    let stage = match Stage::enter(ip) {
        Ok(stage) => stage,
        Err(error) => {
            return send(&Message::Finding(PlayResult::Broken {
                error: format!("{error:#}"),
            }));
        }
    };
    let result = play_on(&stage, part, play);
    let finding = match result {
        Ok(played) => PlayResult::Played(Box::new(played)),
        Err(error) => failed(&error),
    };
    if !stage.announced.get() {
        send(&stage.prepared())?;
    }
    send(&Message::Finding(finding))?;
    io::copy(&mut io::stdin().lock(), &mut io::sink())?;
    if part.is_fenced {
        send(&Message::Ending(ending()?))?;
    }
    stage.clean_cgroups()
}

fn play_on(stage: &Stage, part: Part, play: fn(&Stage) -> Result<()>) -> Result<Played> {
    if !part.prepares {
        stage.begin_tracing()?;
    }
    play(stage)?;
    // The kernel's counters are read here: they do not include the fence.
    let played = stage.played()?;
    if part.is_fenced {
        stage.fence()?;
    }
    Ok(played)
}

fn ending() -> Result<Ending> {
    let canonical =
        |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let sockets = proc_net::sockets()?
        .into_iter()
        .map(|socket| Left {
            local: canonical(socket.local),
            remote: canonical(socket.remote),
            is_mini: socket.timer == MINI_SOCKET,
        })
        .collect();
    // Only now: what happened before this time belongs to the scenario.
    Ok(Ending {
        at_ns: clock::monotonic_ns()?,
        sockets,
    })
}

/// Sends a message to the runner.
pub fn send(message: &Message) -> Result<()> {
    let mut stdout = io::stdout().lock();
    serde_json::to_writer(&mut stdout, message)?;
    stdout.write_all(b"\n")?;
    stdout.flush()?;
    Ok(())
}

fn failed(error: &anyhow::Error) -> PlayResult {
    if let Some(skip) = error.downcast_ref::<Skip>() {
        return PlayResult::Skip {
            reason: skip.0.clone(),
        };
    }
    match error.downcast_ref::<Unlucky>() {
        Some(unlucky) => PlayResult::Again {
            reason: unlucky.0.clone(),
        },
        None => PlayResult::Broken {
            error: format!("{error:#}"),
        },
    }
}
