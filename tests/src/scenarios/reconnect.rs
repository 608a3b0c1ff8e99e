//! Connecting again from a bound port whose last connection is in TIME_WAIT: three outcomes.

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::json;

use super::{
    Scenario,
    close::parked,
    ports::{bind, connecting, listening},
};
use crate::{
    actor::command::{Command, Fd, SocketOption},
    stage::{Pair, Stage},
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("reconnect/reused", reused),
    Scenario::both("reconnect/without_timestamps", without_timestamps),
    Scenario::both("reconnect/without_reuseaddr", without_reuseaddr),
];

/// The port that the client binds.
const CLIENT_PORT: u16 = 30_000;
const SERVER_PORT: u16 = 20_000;

/// A first connection from the bound port, closed first by the client and in TIME_WAIT; and the next socket.
fn first_connection(stage: &Stage, option: Option<SocketOption>) -> Result<(Pair, Fd, SocketAddr)> {
    stage.about_ports();
    // Reuse for an explicitly bound port does not depend on it.
    stage.sysctl("ipv4/tcp_tw_reuse", "0")?;
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let (listener, address) = server.listen(SocketAddr::new(stage.ip.loopback(), SERVER_PORT))?;
    let own = SocketAddr::new(stage.ip.loopback(), CLIENT_PORT);
    let open = || -> Result<Fd> {
        let fd = client.tcp_for(own)?;
        if let Some(option) = option {
            client.set(fd, option)?;
        }
        Ok(fd)
    };
    let fd = open()?;
    client.bind(fd, own)?;
    let at_client = client.connect_with(fd, address)?;
    let at_server = server.accept(listener)?;
    client.close(&at_client)?;
    stage.until_parked(&at_client)?;
    let next = open()?;
    let pair = Pair {
        client,
        server,
        listener,
        address,
        at_client,
        at_server,
    };
    pair.server_follows(stage)?;
    stage.expect(bind(&pair.server, SERVER_PORT, "ok").local(address));
    stage.expect(listening(&pair.server, SERVER_PORT, "ok").local(address));
    stage.expect(bind(&pair.client, CLIENT_PORT, "ok").local(own));
    stage.expect(connecting(&pair.client, address, CLIENT_PORT, "ok").local(own));
    stage.expect(parked(&pair.at_client).own_client(&pair.client).bytes(0, 0));
    Ok((pair, next, own))
}

fn reused(stage: &Stage) -> Result<()> {
    let (pair, fd, own) = first_connection(stage, Some(SocketOption::ReuseAddress))?;
    pair.client.bind(fd, own)?;
    let again = pair.client.connect_with(fd, pair.address)?;
    let at_server = pair.server.accept(pair.listener)?;
    pair.client.close(&again)?;
    stage.until_parked(&again)?;
    pair.server.await_end(&at_server)?;
    pair.server.close(&at_server)?;
    stage.until_time_wait(&again)?;
    stage.expect(bind(&pair.client, CLIENT_PORT, "ok").local(own));
    stage.expect(connecting(&pair.client, pair.address, CLIENT_PORT, "ok").local(own));
    stage.expect(parked(&again).own_client(&pair.client).bytes(0, 0));
    Ok(())
}

fn without_timestamps(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/tcp_timestamps", "0")?;
    let (pair, fd, own) = first_connection(stage, Some(SocketOption::ReuseAddress))?;
    pair.client.bind(fd, own)?;
    let address = pair.address;
    pair.client
        .must_fail(&Command::Connect { fd, address }, libc::EADDRNOTAVAIL)?;
    stage.expect(bind(&pair.client, CLIENT_PORT, "ok").local(own));
    stage.expect(
        connecting(&pair.client, address, CLIENT_PORT, "EADDRNOTAVAIL")
            .with("refused_reuse", json!({"bound_port": 1})),
    );
    Ok(())
}

fn without_reuseaddr(stage: &Stage) -> Result<()> {
    let (pair, fd, own) = first_connection(stage, None)?;
    pair.client
        .must_fail(&Command::Bind { fd, address: own }, libc::EADDRINUSE)?;
    stage.expect(bind(&pair.client, CLIENT_PORT, "EADDRINUSE").local(own));
    Ok(())
}
