//! twtrace in a time namespace, where clocks differ from those of the kernel side.

use std::{
    net::{TcpListener, TcpStream},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use twtrace_core::event::{Timestamp, timestamp::SECOND_NS};

use super::{
    super::command::in_netns,
    inside::{Inside, Into, duration, end_first, traffic},
};
use crate::{
    runner::Context,
    sys::{clock, netns},
};

/// There is no difference from outside.
pub fn time_namespace(context: &Context) -> Result<()> {
    let before = now_s()?;
    let (events, netns) = in_netns(|| {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let opened_before = TcpStream::connect(listener.local_addr()?)?;
        let (mut accepted, _) = listener.accept()?;
        let arguments = ["trace", "--json", "--duration", duration()];
        let mut inside = Inside::start(context, Into::TimeNamespace, &arguments, &[])?;
        inside.await_text("\"start\"")?;
        end_first(&opened_before, &mut accepted)?;
        drop(accepted);
        let _open = traffic()?;
        let (printed, _) = inside.end()?;
        let events = printed.lines().map(serde_json::from_str);
        Ok((events.collect::<Result<Vec<Value>, _>>()?, netns::own()?))
    })?;
    let mono_ns = clock::monotonic_ns()?;
    let own = std::process::id();
    let births = events
        .iter()
        .filter(|event| event["event"] == "time_wait" && event["netns"] == netns);
    let mut count = 0;
    for event in births.chain(events.first()) {
        let ago_ns = mono_ns.checked_sub(event["mono_ns"].as_u64().unwrap_or(0));
        ensure!(
            ago_ns.is_some_and(|ago_ns| ago_ns < 300_000_000_000),
            "CLOCK_MONOTONIC is {mono_ns} now: {event}"
        );
        ensure!(
            is_since(before, &event["ts"])?,
            "began at {before}: {event}"
        );
        if event["event"] == "start" {
            continue;
        }
        count += 1;
        for actor in ["process", "opener"] {
            let process = &event[actor];
            ensure!(process["pid"] == own, "the {actor} is not {own}: {event}");
            ensure!(process["exe"].is_string(), "no executable: {event}");
            ensure!(
                is_since(before - 86_400, &process["start_time"])?,
                "not today: {event}"
            );
        }
    }
    ensure!(count >= 6, "{count} TIME_WAITs");
    Ok(())
}

/// Whether a time of the contract is between this one (seconds since 1970) and now. All have as many digits, so that texts are
/// Whether a time of the contract is between this one (seconds since 1970) and now.
fn is_since(before_s: u64, at: &Value) -> Result<bool> {
    let at = at.as_str().with_context(|| format!("no time: {at}"))?;
    let at: Timestamp = at.parse()?;
    Ok((before_s..=now_s()?).contains(&(at.0 / SECOND_NS)))
}

fn now_s() -> Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}
