//! Openers and closers that differ, and unusual ways to close.

use std::rc::Rc;

use anyhow::{Result, bail};

use super::{
    Scenario,
    close::{clients_bytes, parked},
    reset::received_by_server,
};
use crate::{
    actor::{
        Actor,
        command::{Command, Connection, SocketOption},
    },
    expect::{Expected, Reason, Side, TcpState, Unattributed},
    stage::{Pair, Skip, Stage},
    sys::{descriptors, proc_net::State, uring},
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("inherited_over_fork", inherited_over_fork),
    Scenario::both("passed_over_unix_socket", passed_over_unix_socket),
    Scenario::both("shutdown_and_close_by_two", shutdown_and_close_by_two),
    Scenario::both("shutdown_and_reset_by_two", shutdown_and_reset_by_two),
    Scenario::both("thread_closes", thread_closes),
    Scenario::both("io_uring_close", io_uring_close),
    Scenario::both("io_uring_torn_down", io_uring_torn_down),
    Scenario::both("accepted_by_forked_child", accepted_by_forked_child),
];

/// The server closes after another process has closed the client's end.
fn ends_closed_by(stage: &Stage, pair: &Pair, closer: &Actor) -> Result<()> {
    stage.until_parked(&pair.at_client)?;
    pair.server_follows(stage)?;
    stage.expect(clients_bytes(
        parked(&pair.at_client)
            .process(closer)
            .opener(&pair.client)
            .side(Side::Client),
    ));
    Ok(())
}

fn inherited_over_fork(stage: &Stage) -> Result<()> {
    let pair = stage.pair()?;
    let child = stage.fork(&pair.client, "ch")?;
    pair.client.close(&pair.at_client)?;
    child.close(&pair.at_client)?;
    ends_closed_by(stage, &pair, &child)
}

fn passed_over_unix_socket(stage: &Stage) -> Result<()> {
    let pair = stage.pair()?;
    let receiver = stage.actor("rc")?;
    let (from, to) = descriptors::packet_pair()?;
    let from = pair.client.adopt(&from)?;
    let to = receiver.adopt(&to)?;
    pair.client.call(&Command::Pass {
        over: from,
        fd: pair.at_client.fd,
    })?;
    pair.client.close(&pair.at_client)?;
    let passed = receiver.take_over(to)?;
    receiver.close_fd(passed)?;
    ends_closed_by(stage, &pair, &receiver)
}

/// A child of the client has called shutdown() and closed its descriptor, and the client still has one.
pub fn shut_down_by_child(stage: &Stage) -> Result<(Pair, Rc<Actor>)> {
    let pair = stage.pair()?;
    let child = stage.fork(&pair.client, "ch")?;
    child.shutdown_write(&pair.at_client)?;
    stage.until_state(pair.at_client.local, pair.at_client.remote, State::FinWait2)?;
    child.close(&pair.at_client)?;
    Ok((pair, child))
}

/// The closer is the process that called shutdown(): that sends the FIN.
fn shutdown_and_close_by_two(stage: &Stage) -> Result<()> {
    let (pair, child) = shut_down_by_child(stage)?;
    pair.client.close(&pair.at_client)?;
    ends_closed_by(stage, &pair, &child)
}

/// A process has called shutdown(), and another one with the same socket resets the connection: the RST is its own.
fn shutdown_and_reset_by_two(stage: &Stage) -> Result<()> {
    let (pair, _) = shut_down_by_child(stage)?;
    pair.client
        .set(pair.at_client.fd, SocketOption::LingerZero)?;
    pair.client.close(&pair.at_client)?;
    pair.server.await_reset(&pair.at_server)?;
    stage.expect(
        Expected::reset_sent(Reason::LingerZero, "TCP_STATE")
            .state(TcpState::FinWait2)
            .own_client(&pair.client)
            .ends(&pair.at_client),
    );
    stage.expect(received_by_server(&pair).state(TcpState::CloseWait));
    Ok(())
}

fn thread_closes(stage: &Stage) -> Result<()> {
    const THREAD: &str = "closing-thread";
    let pair = stage.pair()?;
    pair.client.call(&Command::CloseInThread {
        fd: pair.at_client.fd,
        name: THREAD.to_owned(),
    })?;
    stage.until_parked(&pair.at_client)?;
    pair.server_follows(stage)?;
    stage.expect(clients_bytes(
        parked(&pair.at_client)
            .own_client(&pair.client)
            .thread(THREAD),
    ));
    Ok(())
}

/// Skips a scenario if this process may not use io_uring.
pub fn uring_or_skip() -> Result<()> {
    match uring::available() {
        Ok(()) => Ok(()),
        Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
            bail!(Skip(format!("io_uring: {error}")))
        }
        Err(error) => Err(error.into()),
    }
}

fn io_uring_close(stage: &Stage) -> Result<()> {
    uring_or_skip()?;
    let pair = stage.pair()?;
    pair.client.call(&Command::CloseByUring {
        fd: pair.at_client.fd,
    })?;
    stage.until_parked(&pair.at_client)?;
    pair.server_follows(stage)?;
    // A worker of io_uring may have closed it: a thread of the same process, with a name of its own.
    let mut expected = clients_bytes(parked(&pair.at_client).own_client(&pair.client));
    expected.checks.remove("process.thread_comm");
    stage.expect(expected);
    Ok(())
}

/// The last holder of the socket is a ring, which a kernel worker tears down: the opener of the socket is reported
/// instead.
fn io_uring_torn_down(stage: &Stage) -> Result<()> {
    uring_or_skip()?;
    let pair = stage.pair()?;
    pair.client.call(&Command::LeaveToUring {
        fd: pair.at_client.fd,
    })?;
    stage.until_parked(&pair.at_client)?;
    pair.server_follows(stage)?;
    stage.expect(clients_bytes(
        parked(&pair.at_client)
            .nobody(Unattributed::Unknown)
            .opener(&pair.client)
            .side(Side::Client),
    ));
    Ok(())
}

/// A pre-forking server: the parent listens, a child accepts and closes.
fn accepted_by_forked_child(stage: &Stage) -> Result<()> {
    let parent = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let (listener, address) = parent.listen(stage.ip.loopback_any_port())?;
    let child = stage.fork(&parent, "ch")?;
    let at_client = client.connect(address)?;
    let at_child: Connection = child.accept(listener)?;
    child.close(&at_child)?;
    stage.until_parked(&at_child)?;
    client.await_end(&at_client)?;
    client.close(&at_client)?;
    stage.until_time_wait(&at_child)?;
    stage.expect(
        Expected::time_wait(TcpState::FinWait2)
            .ends(&at_child)
            .own_server(&child)
            .bytes(0, 0),
    );
    Ok(())
}
