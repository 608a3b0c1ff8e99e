//! Data of the peer arrives for a connection that its process has closed.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use super::{
    Scenario,
    close::{clients_bytes, parked},
    handover::shut_down_by_child,
    reset::{lasting, received_by_server},
};
use crate::{
    actor::command::Command,
    expect::{Check, Expected, Reason, Side, TcpState, Unattributed},
    stage::{Pair, Stage},
    sys::proc_net::State,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("data_after_close/full_socket", full_socket),
    Scenario::both("data_after_close/mini_socket", mini_socket),
    Scenario::both("data_after_close/after_shutdown", after_shutdown),
    Scenario::both("data_after_close/of_another_holder", of_another_holder),
    Scenario::both(
        "data_after_close/shut_for_reading_by_another",
        shut_for_reading_by_another,
    ),
];

/// Size of the data.
const LATE_BYTES: usize = 500;
/// Time between the close and the data.
const LATE: Duration = Duration::from_millis(300);

/// With tcp_fin_timeout above one minute, the orphan stays a full socket for the first part of its wait.
fn full_socket(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/tcp_fin_timeout", "120")?;
    let pair = stage.pair()?;
    let closing = Instant::now();
    pair.client.close(&pair.at_client)?;
    let after_close = late_data(stage, &pair, closing, || {
        stage.until_state(pair.at_client.local, pair.at_client.remote, State::FinWait2)
    })?;
    stage.expect(clients_bytes(
        Expected::reset_sent(Reason::DataAfterClose, "ABORT_ON_DATA")
            .state(TcpState::FinWait2)
            .own_client(&pair.client)
            .ends(&pair.at_client)
            .checked("peer_silent_ns", just_heard())
            .checked("after_close_ns", after_close)
            .with("unread_bytes", json!(LATE_BYTES)),
    ));
    stage.expect(received_by_server(&pair).state(TcpState::CloseWait));
    Ok(())
}

/// By default the mini-socket exists already, and it answers.
fn mini_socket(stage: &Stage) -> Result<()> {
    let pair = stage.pair()?;
    let closing = Instant::now();
    pair.client.close(&pair.at_client)?;
    let after_close = late_data(stage, &pair, closing, || {
        stage.until_parked(&pair.at_client)
    })?;
    expect_mini(stage, &pair, parked(&pair.at_client), after_close);
    Ok(())
}

/// A connection whose end was shut down for writing accepts data until it is closed: data is late only after that.
fn after_shutdown(stage: &Stage) -> Result<()> {
    let pair = stage.pair()?;
    pair.client.shutdown_write(&pair.at_client)?;
    stage.until_state(pair.at_client.local, pair.at_client.remote, State::FinWait2)?;
    stage.pause(2 * LATE);
    let closing = Instant::now();
    pair.client.close(&pair.at_client)?;
    let after_close = late_data(stage, &pair, closing, || {
        stage.until_parked(&pair.at_client)
    })?;
    let born = Expected::time_wait(TcpState::FinWait2)
        .from(&[TcpState::FinWait2])
        .ends(&pair.at_client);
    expect_mini(stage, &pair, born, after_close);
    Ok(())
}

/// One process called shutdown(), and another one closed: the data is too late because of the latter, of which only that is
/// known. The TIME_WAIT is due to the former.
fn of_another_holder(stage: &Stage) -> Result<()> {
    let (pair, child) = shut_down_by_child(stage)?;
    let closing = Instant::now();
    pair.client.close(&pair.at_client)?;
    let after_close = late_data(stage, &pair, closing, || {
        stage.until_parked(&pair.at_client)
    })?;
    stage.expect(clients_bytes(
        Expected::time_wait(TcpState::FinWait2)
            .from(&[TcpState::FinWait2])
            .ends(&pair.at_client)
            .process(&child)
            .opener(&pair.client)
            .side(Side::Client),
    ));
    stage.expect(
        Expected::reset_without_socket(Reason::DataAfterClose, "TIMEWAIT_SOCKET")
            .state_of(&[TcpState::TimeWait, TcpState::FinWait2])
            .nobody(Unattributed::Unknown)
            .opener(&pair.client)
            .side(Side::Client)
            .ends(&pair.at_client)
            .checked("after_close_ns", after_close)
            .with("unread_bytes", json!(LATE_BYTES)),
    );
    stage.expect(received_by_server(&pair).state(TcpState::CloseWait));
    Ok(())
}

/// One process has sent the FIN, and another one shuts the direction from the peer: no state shows who did.
fn shut_for_reading_by_another(stage: &Stage) -> Result<()> {
    let pair = stage.pair()?;
    let child = stage.fork(&pair.client, "ch")?;
    pair.client.shutdown_write(&pair.at_client)?;
    stage.until_state(pair.at_client.local, pair.at_client.remote, State::FinWait2)?;
    let fd = pair.at_client.fd;
    child.call(&Command::ShutdownBoth { fd })?;
    pair.server.send(&pair.at_server, 100)?;
    pair.server.await_reset(&pair.at_server)?;
    stage.expect(
        Expected::reset_sent(Reason::DataAfterClose, "TCP_ABORT_ON_DATA")
            .state(TcpState::FinWait2)
            .nobody(Unattributed::Unknown)
            .opener(&pair.client)
            .side(Side::Client)
            .ends(&pair.at_client),
    );
    stage.expect(received_by_server(&pair).state(TcpState::CloseWait));
    Ok(())
}

/// The server sends, long after the client has closed, and receives a RST; returns how long after.
fn late_data(
    stage: &Stage,
    pair: &Pair,
    closing: Instant,
    until_closed: impl Fn() -> Result<()>,
) -> Result<Check> {
    let closed = Instant::now();
    until_closed()?;
    stage.pause(LATE);
    let late_at_least = closed.elapsed();
    pair.server.send(&pair.at_server, LATE_BYTES)?;
    pair.server.await_reset(&pair.at_server)?;
    Ok(lasting(late_at_least, closing.elapsed()))
}

fn expect_mini(stage: &Stage, pair: &Pair, born: Expected, after_close: Check) {
    stage.expect(clients_bytes(born.own_client(&pair.client)));
    stage.expect(
        Expected::reset_without_socket(Reason::DataAfterClose, "TIMEWAIT_SOCKET")
            .state_of(&[TcpState::TimeWait, TcpState::FinWait2])
            .own_client(&pair.client)
            .ends(&pair.at_client)
            .checked("peer_silent_ns", just_heard())
            .checked("after_close_ns", after_close)
            .with("unread_bytes", json!(LATE_BYTES)),
    );
    stage.expect(received_by_server(pair).state(TcpState::CloseWait));
}

/// The peer sent what the RST answers.
fn just_heard() -> Check {
    lasting(Duration::ZERO, Duration::ZERO)
}
