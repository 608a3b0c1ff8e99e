//! connect(AF_UNSPEC): a process resets a connection and keeps its socket.

use anyhow::Result;

use super::{Scenario, reset::received_by_server};
use crate::{
    actor::command::{Command, SocketOption},
    expect::{Expected, Reason, TcpState},
    stage::{Pair, Stage},
    sys::proc_net::State,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("disconnect_by_af_unspec", disconnect),
    Scenario::both("disconnect_in_fin_wait2", disconnect_in_fin_wait2),
    Scenario::both("disconnect_over_unread_data", disconnect_over_unread_data),
    Scenario::both("disconnect_with_linger_zero", disconnect_with_linger_zero),
];

fn disconnect(stage: &Stage) -> Result<()> {
    let pair = stage.pair()?;
    pair.client.call(&Command::Disconnect {
        fd: pair.at_client.fd,
    })?;
    pair.server.await_error(&pair.at_server, libc::ECONNRESET)?;
    stage.expect(
        Expected::reset_sent(Reason::Aborted, "TCP_STATE")
            .state(TcpState::Established)
            .own_client(&pair.client)
            .local(pair.at_client.local)
            .remote(pair.at_client.remote),
    );
    stage.expect(received_by_server(&pair).state(TcpState::Established));
    Ok(())
}

/// It changes from FIN_WAIT2 to CLOSE like a socket that leaves a mini-socket behind; this one leaves none.
fn disconnect_in_fin_wait2(stage: &Stage) -> Result<()> {
    let pair = stage.pair()?;
    pair.client.shutdown_write(&pair.at_client)?;
    disconnected_in_fin_wait2(stage, &pair)
}

/// The client has sent its FIN, and disconnects when that is acknowledged.
fn disconnected_in_fin_wait2(stage: &Stage, pair: &Pair) -> Result<()> {
    stage.until_state(pair.at_client.local, pair.at_client.remote, State::FinWait2)?;
    pair.client.call(&Command::Disconnect {
        fd: pair.at_client.fd,
    })?;
    pair.server.await_reset(&pair.at_server)?;
    stage.expect(
        Expected::reset_sent(Reason::Aborted, "TCP_STATE")
            .state(TcpState::FinWait2)
            .own_client(&pair.client)
            .local(pair.at_client.local)
            .remote(pair.at_client.remote),
    );
    stage.expect(received_by_server(pair).state(TcpState::CloseWait));
    Ok(())
}

/// Not a close(), although both directions are shut down and there is unread data: the kernel does not count it as one
/// (TCPAbortOnClose).
fn disconnect_over_unread_data(stage: &Stage) -> Result<()> {
    disconnected_after_shutdown(stage, 300, None)
}

fn disconnect_with_linger_zero(stage: &Stage) -> Result<()> {
    disconnected_after_shutdown(stage, 0, Some(SocketOption::LingerZero))
}

fn disconnected_after_shutdown(
    stage: &Stage,
    unread: usize,
    option: Option<SocketOption>,
) -> Result<()> {
    let pair = stage.pair()?;
    if unread > 0 {
        pair.server.send(&pair.at_server, unread)?;
        stage.until_unread(&pair.at_client, unread as u64)?;
    }
    if let Some(option) = option {
        pair.client.set(pair.at_client.fd, option)?;
    }
    pair.client.call(&Command::ShutdownBoth {
        fd: pair.at_client.fd,
    })?;
    disconnected_in_fin_wait2(stage, &pair)
}
