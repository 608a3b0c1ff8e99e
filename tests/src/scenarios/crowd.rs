//! Many connections at full speed.

use std::{collections::HashSet, net::SocketAddr, rc::Rc, thread, time::Duration};

use anyhow::{Result, ensure};

use super::{ReportRun, Scenario};
use crate::{
    actor::{
        Actor,
        command::{Command, FirstCloser},
    },
    expect::{Expected, Reason, Side, TcpState},
    stage::{Stage, finding::CrowdRow},
    sys::{hidden_births::Recording, process},
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("crowd/trace", crowd).alone(),
    Scenario::both("crowd/report", crowd).reported(ReportRun {
        options: &[],
        loses: false,
        ends_before: false,
    }),
    Scenario::both("crowd/raced_accepts", raced_accepts).alone(),
    Scenario::single("flood", flood).reported(ReportRun {
        options: &["--ring-kb", "4"],
        loses: true,
        ends_before: false,
    }),
];

const CLIENTS: usize = 4;
const SERVERS: usize = 2;

/// Connections of each client: an emulated machine takes too long for all of them, unless SCENARIOS_CROWD requests it.
fn connections() -> usize {
    let asked = std::env::var("SCENARIOS_CROWD").ok();
    match asked.and_then(|number| number.parse().ok()) {
        Some(number) => number,
        None if process::emulated() => 300,
        None => 2000,
    }
}

/// Four clients and two servers at full speed while other processes keep all CPUs busy. The first server closes first;
/// at the second the clients do.
fn crowd(stage: &Stage) -> Result<()> {
    let mut busy = Vec::new();
    for index in 0..process::cpus() {
        let spinner = stage.actor(&format!("b{index}"))?;
        spinner.post(&Command::Spin)?;
        busy.push(spinner);
    }
    play(stage, connections())?;
    for spinner in busy {
        spinner.kill()?;
    }
    Ok(())
}

/// Connections of the race, unless SCENARIOS_RACED sets another number: each is an event of its own to compare.
fn raced() -> u16 {
    let asked = std::env::var("SCENARIOS_RACED").ok();
    asked.and_then(|number| number.parse().ok()).unwrap_or(100)
}

/// Below the ephemeral port range of other sockets.
const FIRST_RACER: u16 = 10_000;

/// A server polls accept() while its peer connects and resets at once: on two CPUs accept() may return a connection
/// before softirq has set it to ESTABLISHED, or after the RST has arrived.
fn raced_accepts(stage: &Stage) -> Result<()> {
    let raced = raced();
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let (listener, address) = server.listen(stage.ip.loopback_any_port())?;
    server.post(&Command::AcceptPolled {
        fd: listener,
        count: raced.into(),
    })?;
    let at = |index| SocketAddr::new(stage.ip.loopback(), FIRST_RACER + index);
    client.post(&Command::ResetMany {
        target: address,
        first: at(0),
        count: raced,
    })?;
    ensure!(client.finished_many()? == usize::from(raced));
    let accepted: HashSet<u16> = server.finished_accepting()?.into_iter().collect();
    ensure!(
        accepted.len() >= usize::from(raced) / 2,
        "only {} of {raced} were accepted",
        accepted.len()
    );
    for index in 0..raced {
        stage.expect(
            Expected::reset_sent(Reason::LingerZero, "TCP_STATE")
                .own_client(&client)
                .local(at(index))
                .remote(address),
        );
        stage.expect(if accepted.contains(&at(index).port()) {
            Expected::reset_received(Reason::Peer)
                .acceptors(&server)
                .side(Side::Server)
                .local(address)
                .remote(at(index))
        } else {
            // The RST overtook the handshake's last segment on another CPU; that segment then finds the listener.
            Expected::reset_sent(Reason::Other, "TCP_FLAGS")
                .state(TcpState::Listen)
                .process(&server)
                .local(address)
                .remote(at(index))
        });
    }
    Ok(())
}

/// More events at once than the smallest ring buffer can hold between two reads.
fn flood(stage: &Stage) -> Result<()> {
    play(stage, connections())?;
    // Lets twtrace read, so that a loss which is counted at the next event is also shown.
    thread::sleep(Duration::from_millis(300));
    Ok(())
}

fn play(stage: &Stage, each: usize) -> Result<()> {
    // The default depends on the machine's memory; no TIME_WAIT of the crowd may be refused.
    stage.sysctl("ipv4/tcp_max_tw_buckets", "262144")?;
    let mut servers = Vec::new();
    let mut clients: Vec<Rc<Actor>> = Vec::new();
    for index in 0..SERVERS {
        let server = stage.actor(&format!("s{index}"))?;
        let (listener, address) = server.listen(stage.ip.loopback_any_port())?;
        servers.push((server, listener, address));
    }
    for index in 0..CLIENTS {
        clients.push(stage.actor(&format!("c{index}"))?);
    }
    let hidden = Recording::begin();
    let closers = [FirstCloser::Server, FirstCloser::Client];
    let per_server = each * CLIENTS / SERVERS;
    for ((server, listener, _), closer) in servers.iter().zip(closers) {
        server.start_accepting(*listener, per_server, closer)?;
    }
    for (index, client) in clients.iter().enumerate() {
        let which = index % SERVERS;
        client.start_connecting(servers[which].2, each, closers[which])?;
    }
    for client in &clients {
        ensure!(client.finished_many()? == each);
    }
    for (server, _, _) in &servers {
        ensure!(server.finished_many()? == per_server);
    }
    if let Some(hidden) = hidden {
        stage.hidden_births(hidden.births()?);
    }
    let row = |actor: &Actor, side, births: usize| CrowdRow {
        pid: Some(actor.pid),
        comm: actor.comm.clone(),
        side,
        births: births as u64,
    };
    stage.expect_births(row(&servers[0].0, Side::Server, per_server));
    for client in clients.iter().skip(1).step_by(SERVERS) {
        stage.expect_births(row(client, Side::Client, each));
    }
    Ok(())
}
