//! Connections that were there before tracing began.

use anyhow::Result;

use super::{
    Scenario,
    close::{LEFT_FOR_FIN_WAIT2, clients_bytes, servers_bytes},
};
use crate::{
    expect::{Expected, Side, TcpState, Unattributed},
    stage::Stage,
    sys::proc_net::State,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("open_before_tracing/client_closes", client_closes).traced_from_the_middle(),
    Scenario::both("open_before_tracing/server_closes", server_closes).traced_from_the_middle(),
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

/// Its closer acted before anybody watched: said, and not guessed from who runs at the birth.
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
