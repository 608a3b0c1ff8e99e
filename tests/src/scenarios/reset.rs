//! Connections that end by RST, with both ends of each.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use serde_json::{Value, json};

use super::Scenario;
use crate::{
    actor::{
        Actor,
        command::{Command, Connection, Fd, FirstCloser, SocketOption},
    },
    expect::{Check, Expected, Reason, Side, TcpState, Unattributed},
    stage::{Pair, Skip, Stage},
    sys::{
        proc_net::{self, State},
        process, sock_diag,
    },
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("linger_zero", linger_zero),
    Scenario::both("linger_zero_by_server", linger_zero_by_server),
    Scenario::both("linger_zero_after_eof", linger_zero_after_eof),
    Scenario::both("unread_data", unread_data),
    Scenario::both("linger_zero_and_unread_data", linger_zero_and_unread_data),
    Scenario::both("connection_refused", connection_refused),
    Scenario::both("peer_resets_idle_connection", peer_resets_idle_connection),
    Scenario::both("reset_before_accept", reset_before_accept),
    Scenario::both("reset_and_never_accepted", reset_and_never_accepted),
    Scenario::both("listener_closed_over_queue", listener_closed_over_queue),
    Scenario::both("negative_linger2", negative_linger2),
    Scenario::both(
        "negative_linger2_in_fin_wait1",
        negative_linger2_in_fin_wait1,
    ),
    Scenario::both("destroyed_by_sock_diag", destroyed_by_sock_diag),
];

/// Error of the kernel's tick: times in jiffies may be short by one (HZ 100) or, between two readings, long. A guest on a
/// busy host catches up with its ticks late: 17 ms were seen.
fn ticks() -> Duration {
    Duration::from_millis(if process::emulated() { 60 } else { 20 })
}

/// A duration from `low` to `high`, with the tolerance of the kernel's tick.
pub fn lasting(low: Duration, high: Duration) -> Check {
    let nanoseconds = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    Check::Between(
        nanoseconds(low.saturating_sub(ticks())),
        nanoseconds(high + ticks()),
    )
}

/// The RST as received by the server, which did nothing itself.
pub fn received_by_server(pair: &Pair) -> Expected {
    Expected::reset_received(Reason::Peer)
        .acceptors(&pair.server)
        .side(Side::Server)
        .ends(&pair.at_server)
}

/// The RST as received by the client, which did nothing itself.
fn received_by_client(client: &Actor, connection: &Connection) -> Expected {
    Expected::reset_received(Reason::Peer)
        .own_client(client)
        .ends(connection)
}

fn linger_zero(stage: &Stage) -> Result<()> {
    let pair = stage.pair()?;
    pair.client
        .set(pair.at_client.fd, SocketOption::LingerZero)?;
    pair.client.close(&pair.at_client)?;
    pair.server.await_error(&pair.at_server, libc::ECONNRESET)?;
    stage.expect(
        Expected::reset_sent(Reason::LingerZero, "TCP_STATE")
            .state(TcpState::Established)
            .own_client(&pair.client)
            .ends(&pair.at_client)
            .bytes(100, 2000),
    );
    stage.expect(
        received_by_server(&pair)
            .state(TcpState::Established)
            .bytes(2000, 100),
    );
    Ok(())
}

/// The peer has ended when accept() returns the connection: it belongs to the acceptor nevertheless.
fn reset_before_accept(stage: &Stage) -> Result<()> {
    let server = stage.actor("sv")?;
    let (listener, client, connection) = reset_in_queue(stage, &server)?;
    server.start_accepting(listener, 1, FirstCloser::Server)?;
    server.finished_many()?;
    expect_reset_in_queue(stage, &client, &connection, |received| {
        received.acceptors(&server)
    });
    Ok(())
}

/// No process is named for a connection that nobody accepted, even if the listener's process accepts another one.
fn reset_and_never_accepted(stage: &Stage) -> Result<()> {
    let server = stage.actor("sv")?;
    let (listener, client, connection) = reset_in_queue(stage, &server)?;
    server.close_fd(listener)?;
    let (listener, address) = server.listen(stage.ip.loopback_any_port())?;
    client.connect(address)?;
    server.accept(listener)?;
    expect_reset_in_queue(stage, &client, &connection, |received| {
        received.no_opener().nobody(Unattributed::Unknown)
    });
    Ok(())
}

/// A connection that its client resets while it waits for accept().
fn reset_in_queue(stage: &Stage, server: &Actor) -> Result<(Fd, Rc<Actor>, Connection)> {
    let client = stage.actor("cl")?;
    let (listener, address) = server.listen(stage.ip.loopback_any_port())?;
    let connection = client.connect(address)?;
    client.set(connection.fd, SocketOption::LingerZero)?;
    client.close(&connection)?;
    Ok((listener, client, connection))
}

fn expect_reset_in_queue(
    stage: &Stage,
    client: &Actor,
    at_client: &Connection,
    by: impl Fn(Expected) -> Expected,
) {
    stage.expect(
        Expected::reset_sent(Reason::LingerZero, "TCP_STATE")
            .state(TcpState::Established)
            .own_client(client)
            .ends(at_client),
    );
    stage.expect(by(Expected::reset_received(Reason::Peer)
        .state(TcpState::Established)
        .side(Side::Server)
        .local(at_client.remote)
        .remote(at_client.local)));
}

fn linger_zero_by_server(stage: &Stage) -> Result<()> {
    let pair = stage.pair()?;
    pair.server
        .set(pair.at_server.fd, SocketOption::LingerZero)?;
    pair.server.close(&pair.at_server)?;
    pair.client.await_error(&pair.at_client, libc::ECONNRESET)?;
    stage.expect(
        Expected::reset_sent(Reason::LingerZero, "TCP_STATE")
            .state(TcpState::Established)
            .own_server(&pair.server)
            .ends(&pair.at_server)
            .bytes(2000, 100),
    );
    stage.expect(
        received_by_client(&pair.client, &pair.at_client)
            .state(TcpState::Established)
            .bytes(100, 2000),
    );
    Ok(())
}

/// The peer's FIN has been read, and nothing is unread.
fn linger_zero_after_eof(stage: &Stage) -> Result<()> {
    let pair = stage.pair()?;
    pair.client.shutdown_write(&pair.at_client)?;
    pair.server.await_end(&pair.at_server)?;
    pair.server
        .set(pair.at_server.fd, SocketOption::LingerZero)?;
    pair.server.close(&pair.at_server)?;
    pair.client.await_reset(&pair.at_client)?;
    stage.expect(
        Expected::reset_sent(Reason::LingerZero, "TCP_STATE")
            .state(TcpState::CloseWait)
            .own_server(&pair.server)
            .ends(&pair.at_server),
    );
    stage.expect(
        received_by_client(&pair.client, &pair.at_client)
            .state_of(&[TcpState::FinWait1, TcpState::FinWait2]),
    );
    Ok(())
}

fn unread_data(stage: &Stage) -> Result<()> {
    closed_over_unread_data(stage, None)
}

/// Both at the same time are `unread_data`.
fn linger_zero_and_unread_data(stage: &Stage) -> Result<()> {
    closed_over_unread_data(stage, Some(SocketOption::LingerZero))
}

fn closed_over_unread_data(stage: &Stage, option: Option<SocketOption>) -> Result<()> {
    let pair = stage.pair()?;
    pair.server.send(&pair.at_server, 300)?;
    stage.until_unread(&pair.at_client, 300)?;
    if let Some(option) = option {
        pair.client.set(pair.at_client.fd, option)?;
    }
    pair.client.close(&pair.at_client)?;
    pair.server.await_error(&pair.at_server, libc::ECONNRESET)?;
    stage.expect(
        Expected::reset_sent(Reason::UnreadData, "ABORT_ON_CLOSE")
            .state(TcpState::Established)
            .own_client(&pair.client)
            .ends(&pair.at_client)
            .bytes(100, 2300)
            .with("unread_bytes", json!(300)),
    );
    stage.expect(
        received_by_server(&pair)
            .state(TcpState::Established)
            .bytes(2300, 100)
            .with("unread_bytes", Value::Null),
    );
    Ok(())
}

fn connection_refused(stage: &Stage) -> Result<()> {
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    // A port that was listened on a moment ago: no other process has it.
    let (listener, address) = server.listen(stage.ip.loopback_any_port())?;
    server.close_fd(listener)?;
    let fd = client.tcp_for(address)?;
    client.must_fail(&Command::Connect { fd, address }, libc::ECONNREFUSED)?;
    stage.expect(
        Expected::reset_received(Reason::Refused)
            .state(TcpState::SynSent)
            .own_client(&client)
            .remote(address),
    );
    stage.expect(
        Expected::reset_without_socket(Reason::NoSocket, "NO_SOCKET")
            .nobody(Unattributed::NoSocket)
            .no_opener()
            .local(address),
    );
    Ok(())
}

/// "Always after the same idle time" identifies a load balancer.
fn peer_resets_idle_connection(stage: &Stage) -> Result<()> {
    let connecting = Instant::now();
    let pair = stage.silent_pair()?;
    let connected = Instant::now();
    pair.client.send(&pair.at_client, 100)?;
    pair.server.receive(&pair.at_server, 100)?;
    let sending = Instant::now();
    pair.server.send(&pair.at_server, 2000)?;
    pair.client.receive(&pair.at_client, 2000)?;
    let idle_since = Instant::now();
    stage.pause(Duration::from_millis(1200));
    pair.server
        .set(pair.at_server.fd, SocketOption::LingerZero)?;
    let idle_at_least = idle_since.elapsed();
    let open_at_least = connected.elapsed();
    pair.server.close(&pair.at_server)?;
    pair.client.await_error(&pair.at_client, libc::ECONNRESET)?;
    let idle = lasting(idle_at_least, sending.elapsed());
    let open = lasting(open_at_least, connecting.elapsed());
    stage.expect(
        Expected::reset_sent(Reason::LingerZero, "TCP_STATE")
            .state(TcpState::Established)
            .own_server(&pair.server)
            .ends(&pair.at_server)
            .checked("idle_ns", idle.clone())
            .checked("connection_ns", open.clone()),
    );
    stage.expect(
        received_by_client(&pair.client, &pair.at_client)
            .state(TcpState::Established)
            .checked("idle_ns", idle)
            .checked("connection_ns", open),
    );
    Ok(())
}

/// Connections that nobody accepted are ended by the process that closes the listener.
fn listener_closed_over_queue(stage: &Stage) -> Result<()> {
    let server = stage.actor("sv")?;
    let first = stage.actor("c1")?;
    let second = stage.actor("c2")?;
    let (listener, address) = server.listen(stage.ip.loopback_any_port())?;
    let connections = [first.connect(address)?, second.connect(address)?];
    stage.until("both children are established", || {
        let sockets = proc_net::sockets()?;
        Ok(connections.iter().all(|at_client| {
            sockets.iter().any(|socket| {
                socket.local == address
                    && socket.remote == at_client.local
                    && socket.state == State::Established
            })
        }))
    })?;
    server.close_fd(listener)?;
    for (client, at_client) in [&first, &second].into_iter().zip(&connections) {
        client.await_error(at_client, libc::ECONNRESET)?;
        stage.expect(received_by_client(client, at_client).state(TcpState::Established));
        stage.expect(
            Expected::reset_sent(Reason::Aborted, "TCP_STATE")
                .state(TcpState::Established)
                .process(&server)
                .no_opener()
                .side(Side::Server)
                .local(at_client.remote)
                .remote(at_client.local),
        );
    }
    Ok(())
}

/// TCP_LINGER2 below 0: no FIN_WAIT2 for this connection.
fn negative_linger2(stage: &Stage) -> Result<()> {
    let pair = stage.pair()?;
    pair.client
        .set(pair.at_client.fd, SocketOption::Linger2(-1))?;
    pair.client.shutdown_write(&pair.at_client)?;
    stage.until_state(pair.at_client.local, pair.at_client.remote, State::FinWait2)?;
    pair.client.close(&pair.at_client)?;
    pair.server.await_end(&pair.at_server)?;
    stage.until("the server's end is gone", || {
        Ok(!proc_net::sockets()?
            .iter()
            .any(|socket| socket.remote == pair.at_client.local))
    })?;
    stage.expect(
        Expected::reset_sent(Reason::Aborted, "ABORT_ON_LINGER")
            .state(TcpState::FinWait2)
            .own_client(&pair.client)
            .ends(&pair.at_client),
    );
    stage.expect(received_by_server(&pair).state(TcpState::CloseWait));
    Ok(())
}

/// The same, closed while the FIN is in flight: the RST answers its acknowledgment, which carried no data.
fn negative_linger2_in_fin_wait1(stage: &Stage) -> Result<()> {
    let pair = stage.pair()?;
    pair.client
        .set(pair.at_client.fd, SocketOption::Linger2(-1))?;
    pair.client.close(&pair.at_client)?;
    pair.server.await_reset(&pair.at_server)?;
    let sent = Expected::reset_sent(Reason::Aborted, "TCP_ABORT_ON_DATA")
        .state(TcpState::FinWait2)
        .own_client(&pair.client)
        .ends(&pair.at_client);
    let received = received_by_server(&pair).state(TcpState::CloseWait);
    // A slow guest sends the FIN twice, and the second acknowledgment finds no socket.
    let again = Expected::reset_without_socket(Reason::NoSocket, "NO_SOCKET")
        .nobody(Unattributed::NoSocket)
        .no_opener()
        .ends(&pair.at_client);
    stage.or_expect(vec![sent.clone(), received.clone(), again]);
    stage.expect(sent);
    stage.expect(received);
    Ok(())
}

/// As with `ss -K`: the owner is named, not the process that did it.
fn destroyed_by_sock_diag(stage: &Stage) -> Result<()> {
    let pair = stage.pair()?;
    match sock_diag::destroy(pair.at_client.local, pair.at_client.remote) {
        Ok(()) => {}
        Err(error) if matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOENT)) => {
            bail!(Skip(format!("SOCK_DESTROY: {error}")))
        }
        Err(error) => return Err(error.into()),
    }
    pair.client
        .await_error(&pair.at_client, libc::ECONNABORTED)?;
    pair.server.await_error(&pair.at_server, libc::ECONNRESET)?;
    stage.expect(
        Expected::reset_sent(Reason::Aborted, "TCP_STATE")
            .state(TcpState::Established)
            .own_client(&pair.client)
            .ends(&pair.at_client),
    );
    stage.expect(received_by_server(&pair).state(TcpState::Established));
    Ok(())
}
