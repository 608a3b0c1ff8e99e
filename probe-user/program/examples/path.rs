//! Runs one stage of an event's path through twtrace: `path STAGE ROUNDS` prints how many nanoseconds an event took.
//! Without arguments it prints the stages and the number of events in a round.

use std::process::ExitCode;

use twtrace::path;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(stage) = arguments.next() else {
        println!("{} {}", path::EVENTS, path::STAGES.join(" "));
        return ExitCode::SUCCESS;
    };
    let rounds = arguments.next().and_then(|rounds| rounds.parse().ok());
    match path::run(&stage, rounds.unwrap_or(1)) {
        Some(ns) => {
            println!("{ns:.1}");
            ExitCode::SUCCESS
        }
        None => {
            eprintln!("no stage {stage}");
            ExitCode::FAILURE
        }
    }
}
