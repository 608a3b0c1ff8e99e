//! Which end closed first: the plain ways to close.

use anyhow::Result;

use super::Scenario;
use crate::{
    actor::command::Connection,
    expect::{Expected, Side, TcpState},
    stage::{Pair, Stage},
    sys::proc_net::State,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("client_closes_first", client_closes_first),
    Scenario::both("server_closes_first", server_closes_first),
    Scenario::both("both_shut_down_before_close", both_shut_down),
    Scenario::both("exit_without_close", exit_without_close),
    Scenario::both("sigkill", sigkill),
    Scenario::both("peer_never_closes", peer_never_closes),
    Scenario::single("passive_close_alone", passive_close_alone),
];

/// The states in which a full socket can be when an orphan's wait for the peer's FIN moves to the mini-socket.
pub const LEFT_FOR_FIN_WAIT2: &[TcpState] = &[TcpState::FinWait1, TcpState::FinWait2];

/// The creation of an orphan's mini-socket that waits for the peer's FIN.
pub fn parked(connection: &Connection) -> Expected {
    Expected::time_wait(TcpState::FinWait2)
        .from(LEFT_FOR_FIN_WAIT2)
        .ends(connection)
}

/// The bytes of [`Stage::pair`], as the client counts them.
pub fn clients_bytes(expected: Expected) -> Expected {
    expected.bytes(100, 2000)
}

/// The bytes of [`Stage::pair`], as the server counts them.
pub fn servers_bytes(expected: Expected) -> Expected {
    expected.bytes(2000, 100)
}

fn client_closes_first(stage: &Stage) -> Result<()> {
    let pair = stage.pair()?;
    pair.client.close(&pair.at_client)?;
    stage.until_parked(&pair.at_client)?;
    pair.server_follows(stage)?;
    stage.expect(clients_bytes(
        parked(&pair.at_client).own_client(&pair.client),
    ));
    Ok(())
}

fn server_closes_first(stage: &Stage) -> Result<()> {
    let pair = stage.pair()?;
    pair.server.close(&pair.at_server)?;
    stage.until_parked(&pair.at_server)?;
    pair.client.await_end(&pair.at_client)?;
    pair.client.close(&pair.at_client)?;
    stage.until_time_wait(&pair.at_server)?;
    stage.expect(servers_bytes(
        parked(&pair.at_server).own_server(&pair.server),
    ));
    Ok(())
}

/// The TIME_WAIT is created while the descriptor is still open.
fn both_shut_down(stage: &Stage) -> Result<()> {
    let pair = stage.pair()?;
    pair.client.shutdown_write(&pair.at_client)?;
    stage.until_state(pair.at_client.local, pair.at_client.remote, State::FinWait2)?;
    pair.server_follows(stage)?;
    pair.client.close(&pair.at_client)?;
    stage.expect(clients_bytes(
        Expected::time_wait(TcpState::TimeWait)
            .from(&[TcpState::FinWait2])
            .ends(&pair.at_client)
            .own_client(&pair.client),
    ));
    Ok(())
}

fn exit_without_close(stage: &Stage) -> Result<()> {
    end_of_client(stage, |pair| pair.client.exit())
}

fn sigkill(stage: &Stage) -> Result<()> {
    end_of_client(stage, |pair| pair.client.kill())
}

fn end_of_client(stage: &Stage, end: fn(&Pair) -> Result<()>) -> Result<()> {
    let pair = stage.pair()?;
    end(&pair)?;
    stage.until_parked(&pair.at_client)?;
    pair.server_follows(stage)?;
    stage.expect(clients_bytes(
        parked(&pair.at_client).own_client(&pair.client),
    ));
    Ok(())
}

/// The orphan waits in FIN_WAIT2, inside the mini-socket.
fn peer_never_closes(stage: &Stage) -> Result<()> {
    let pair = stage.pair()?;
    pair.server.close(&pair.at_server)?;
    stage.until_parked(&pair.at_server)?;
    stage.expect(servers_bytes(
        parked(&pair.at_server).own_server(&pair.server),
    ));
    Ok(())
}

/// The end that closes second creates no TIME_WAIT: two processes, one TIME_WAIT, of the one that closed first.
fn passive_close_alone(stage: &Stage) -> Result<()> {
    let pair = stage.silent_pair()?;
    let second = stage.actor("c2")?;
    let by_second = second.connect(pair.address)?;
    let at_server = pair.server.accept(pair.listener)?;
    pair.server.close(&at_server)?;
    // A FIN that arrives while the mini-socket replaces the socket may find neither, and is answered with a RST.
    stage.until_parked(&at_server)?;
    second.await_end(&by_second)?;
    second.exit()?;
    stage.until_time_wait(&at_server)?;
    pair.client.close(&pair.at_client)?;
    stage.until_parked(&pair.at_client)?;
    pair.server_follows(stage)?;
    stage.expect(
        Expected::time_wait(TcpState::FinWait2)
            .ends(&at_server)
            .own_server(&pair.server)
            .bytes(0, 0),
    );
    stage.expect(
        Expected::time_wait(TcpState::FinWait2)
            .ends(&pair.at_client)
            .own_client(&pair.client)
            .side(Side::Client),
    );
    Ok(())
}
