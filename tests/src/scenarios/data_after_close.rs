//! The peer's data meets a connection that its process has closed.

use anyhow::Result;

use super::{
    Scenario,
    close::{clients_bytes, parked},
    reset::received_by_server,
};
use crate::{
    expect::{Expected, Reason, TcpState},
    stage::Stage,
    sys::proc_net::State,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("data_after_close/full_socket", full_socket),
    Scenario::both("data_after_close/mini_socket", mini_socket),
];

/// With tcp_fin_timeout above a minute, the orphan stays a full socket for the first part of its wait.
fn full_socket(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/tcp_fin_timeout", "120")?;
    let pair = stage.pair()?;
    pair.client.close(&pair.at_client)?;
    stage.until_state(pair.at_client.local, pair.at_client.remote, State::FinWait2)?;
    pair.server.send(&pair.at_server, 500)?;
    pair.server.await_reset(&pair.at_server)?;
    stage.expect(clients_bytes(
        Expected::reset_sent(Reason::DataAfterClose, "ABORT_ON_DATA")
            .state(TcpState::FinWait2)
            .own_client(&pair.client)
            .ends(&pair.at_client),
    ));
    stage.expect(received_by_server(&pair).state(TcpState::CloseWait));
    Ok(())
}

/// By default the mini-socket is there already, and it is the one that answers.
fn mini_socket(stage: &Stage) -> Result<()> {
    let pair = stage.pair()?;
    pair.client.close(&pair.at_client)?;
    stage.until_parked(&pair.at_client)?;
    pair.server.send(&pair.at_server, 500)?;
    pair.server.await_reset(&pair.at_server)?;
    stage.expect(clients_bytes(
        parked(&pair.at_client).own_client(&pair.client),
    ));
    stage.expect(
        Expected::reset_without_socket(Reason::DataAfterClose, "TIMEWAIT_SOCKET")
            .state_of(&[TcpState::TimeWait, TcpState::FinWait2])
            .own_client(&pair.client)
            .ends(&pair.at_client),
    );
    stage.expect(received_by_server(&pair).state(TcpState::CloseWait));
    Ok(())
}
