//! Connections that were open before tracing began.

use anyhow::Result;
use serde_json::Value;

use super::{
    Scenario,
    close::{LEFT_FOR_FIN_WAIT2, clients_bytes, servers_bytes},
    ends::until_gone,
};
use crate::{
    actor::command::SocketOption,
    expect::{Expected, Reason, Side, TcpState, Unattributed},
    stage::{Pair, Stage},
    sys::proc_net::State,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("open_before_tracing/client_closes", client_closes).traced_from_the_middle(),
    Scenario::both("open_before_tracing/server_closes", server_closes).traced_from_the_middle(),
    Scenario::both("open_before_tracing/two_holders", two_holders).traced_from_the_middle(),
    Scenario::both("open_before_tracing/peer_resets", peer_resets).traced_from_the_middle(),
    Scenario::both("parked_before_tracing", parked).traced_from_the_middle(),
    Scenario::both("closing_before_tracing", closing).traced_from_the_middle(),
];

fn client_closes(stage: &Stage) -> Result<()> {
    let pair = stage.pair()?;
    stage.begin_tracing()?;
    pair.client.close(&pair.at_client)?;
    stage.until_parked(&pair.at_client)?;
    pair.server_follows(stage)?;
    stage.expect(clients_bytes(
        Expected::time_wait(TcpState::FinWait2)
            .from(LEFT_FOR_FIN_WAIT2)
            .process(&pair.client)
            .opener(&pair.client)
            .side(Side::Client)
            .ends(&pair.at_client),
    ));
    Ok(())
}

fn server_closes(stage: &Stage) -> Result<()> {
    let pair = stage.pair()?;
    stage.begin_tracing()?;
    pair.server.close(&pair.at_server)?;
    stage.until_parked(&pair.at_server)?;
    pair.client.await_end(&pair.at_client)?;
    pair.client.close(&pair.at_client)?;
    stage.until_time_wait(&pair.at_server)?;
    stage.expect(servers_bytes(
        Expected::time_wait(TcpState::FinWait2)
            .from(LEFT_FOR_FIN_WAIT2)
            .process(&pair.server)
            .opener(&pair.server)
            .side(Side::Server)
            .ends(&pair.at_server),
    ));
    Ok(())
}

/// If two processes hold it open, the parent is assumed to be the opener; the child is the last to close.
fn two_holders(stage: &Stage) -> Result<()> {
    let pair = stage.pair()?;
    let child = stage.fork(&pair.client, "ch")?;
    stage.begin_tracing()?;
    pair.client.close(&pair.at_client)?;
    child.close(&pair.at_client)?;
    stage.until_parked(&pair.at_client)?;
    pair.server_follows(stage)?;
    stage.expect(clients_bytes(
        Expected::time_wait(TcpState::FinWait2)
            .from(LEFT_FOR_FIN_WAIT2)
            .process(&child)
            .opener(&pair.client)
            .side(Side::Client)
            .ends(&pair.at_client),
    ));
    Ok(())
}

/// The client does nothing itself: only the scan shows that the RST belongs to it.
fn peer_resets(stage: &Stage) -> Result<()> {
    let pair = stage.pair()?;
    stage.begin_tracing()?;
    server_resets(stage, &pair, TcpState::Established)?;
    pair.client.await_reset(&pair.at_client)?;
    stage.expect(
        Expected::reset_received(Reason::Peer)
            .own_client(&pair.client)
            .ends(&pair.at_client),
    );
    Ok(())
}

/// An existing TIME_WAIT ends: its process can't be known any more, but its side can.
fn parked(stage: &Stage) -> Result<()> {
    stage.about_ends();
    let pair = stage.pair()?;
    pair.client.close(&pair.at_client)?;
    stage.until_parked(&pair.at_client)?;
    stage.begin_tracing()?;
    server_resets(stage, &pair, TcpState::CloseWait)?;
    until_gone(stage, &pair.at_client)?;
    stage.expect(
        Expected::time_wait_end("killed")
            .nobody(Unattributed::ClosedBeforeTracing)
            .no_opener()
            .side(Side::Client)
            .with("age_ns", Value::Null)
            .ends(&pair.at_client),
    );
    Ok(())
}

fn server_resets(stage: &Stage, pair: &Pair, before: TcpState) -> Result<()> {
    pair.server
        .set(pair.at_server.fd, SocketOption::LingerZero)?;
    pair.server.close(&pair.at_server)?;
    stage.expect(
        Expected::reset_sent(Reason::LingerZero, "TCP_STATE")
            .state(before)
            .process(&pair.server)
            .opener(&pair.server)
            .side(Side::Server)
            .ends(&pair.at_server),
    );
    Ok(())
}

/// Its closer acted before tracing: this is reported, and not guessed from the process that runs when the TIME_WAIT is
/// created.
fn closing(stage: &Stage) -> Result<()> {
    let pair = stage.pair()?;
    pair.client.shutdown_write(&pair.at_client)?;
    stage.until_state(pair.at_client.local, pair.at_client.remote, State::FinWait2)?;
    stage.begin_tracing()?;
    pair.server_follows(stage)?;
    pair.client.close(&pair.at_client)?;
    stage.expect(
        Expected::time_wait(TcpState::TimeWait)
            .nobody(Unattributed::ClosedBeforeTracing)
            .opener(&pair.client)
            .side(Side::Client)
            .ends(&pair.at_client),
    );
    Ok(())
}
