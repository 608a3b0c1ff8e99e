//! How long a connection that ends was idle: its peer, and its own end before the write that was answered with the RST.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use super::{
    Scenario,
    close::parked,
    peers::{Dialogue, dialogue},
    reset::lasting,
};
use crate::{
    actor::{Actor, command::Connection, command::SocketOption},
    expect::{Check, Expected, Reason, Side, TcpState, Unattributed},
    stage::Stage,
    tun_peer::segment::Flags,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("idle/write_meets_reset", write_meets_reset),
    Scenario::both("idle/without_sack", without_sack),
    Scenario::both("idle/first_write_meets_reset", first_write_meets_reset),
    Scenario::both("idle/silent_peer", silent_peer),
    Scenario::both("idle/peer_probes", peer_probes),
    Scenario::both("idle/awaits_answer", awaits_answer),
    Scenario::both("idle/has_answer", has_answer),
];

/// Longer than a tick.
const TICKS: Duration = Duration::from_millis(50);

/// Longer than an ACK can be delayed.
const ACKS: Duration = Duration::from_millis(150);
/// Duration without traffic.
const QUIET: Duration = Duration::from_millis(1500);

/// A client closes while its last request is not answered.
fn awaits_answer(stage: &Stage) -> Result<()> {
    close_after(stage, false)
}

fn has_answer(stage: &Stage) -> Result<()> {
    close_after(stage, true)
}

fn close_after(stage: &Stage, is_answered: bool) -> Result<()> {
    let pair = stage.pair()?;
    stage.pause(TICKS);
    pair.client.send(&pair.at_client, 100)?;
    pair.server.receive(&pair.at_server, 100)?;
    stage.pause(TICKS);
    if is_answered {
        pair.server.send(&pair.at_server, 100)?;
        pair.client.receive(&pair.at_client, 100)?;
    }
    pair.client.close(&pair.at_client)?;
    stage.until_parked(&pair.at_client)?;
    pair.server_follows(stage)?;
    let awaits = if is_answered {
        Value::Null
    } else {
        true.into()
    };
    stage.expect(
        parked(&pair.at_client)
            .own_client(&pair.client)
            .with("awaits_answer", awaits),
    );
    Ok(())
}

/// The peer has forgotten the connection, as a firewall does: its first segment after a long time is the RST for a
/// request. Neither the request nor the RST ends the idle time.
fn write_meets_reset(stage: &Stage) -> Result<()> {
    late_write(stage, |event, quiet| {
        event
            .checked("send_idle_ns", quiet.clone())
            .checked("idle_ns", quiet)
    })
}

/// The kernel keeps the send time of acknowledged data only with SACK: without it the time is unknown, and not guessed.
fn without_sack(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/tcp_sack", "0")?;
    late_write(stage, |event, _| {
        event
            .with("send_idle_ns", Value::Null)
            .with("idle_ns", Value::Null)
    })
}

fn late_write(stage: &Stage, sent: impl Fn(Expected, Check) -> Expected) -> Result<()> {
    let pair = stage.silent_pair()?;
    let talking = Instant::now();
    pair.client.send(&pair.at_client, 100)?;
    pair.server.receive(&pair.at_server, 100)?;
    pair.server.send(&pair.at_server, 2000)?;
    pair.client.receive(&pair.at_client, 2000)?;
    stage.pause(ACKS);
    vanish(&pair.server, &pair.at_server)?;
    pair.server.close_fd(pair.listener)?;
    // Until then a slow machine may retransmit.
    let quiet_since = Instant::now();
    stage.pause(QUIET);
    let quiet_at_least = quiet_since.elapsed();
    pair.client.send(&pair.at_client, 300)?;
    pair.client.await_error(&pair.at_client, libc::ECONNRESET)?;
    let quiet = lasting(quiet_at_least, talking.elapsed());
    expect_no_socket(stage, &pair.at_server);
    let received = Expected::reset_received(Reason::Peer)
        .state(TcpState::Established)
        .own_client(&pair.client)
        .ends(&pair.at_client)
        .bytes(400, 2000)
        .with("after_close_ns", Value::Null)
        .checked("peer_silent_ns", quiet.clone());
    stage.expect(sent(received, quiet));
    Ok(())
}

/// Without data before that write, the handshake was the last that this end sent; on either side.
fn first_write_meets_reset(stage: &Stage) -> Result<()> {
    let connecting = Instant::now();
    let by_client = stage.silent_pair()?;
    let by_server = stage.silent_pair()?;
    vanish(&by_client.server, &by_client.at_server)?;
    vanish(&by_server.client, &by_server.at_client)?;
    by_client.server.close_fd(by_client.listener)?;
    let quiet_since = Instant::now();
    stage.pause(QUIET);
    let quiet_at_least = quiet_since.elapsed();
    let writers = [
        (&by_client.client, by_client.at_client),
        (&by_server.server, by_server.at_server),
    ];
    for (writer, connection) in writers {
        writer.send(&connection, 300)?;
        writer.await_error(&connection, libc::ECONNRESET)?;
    }
    let quiet = lasting(quiet_at_least, connecting.elapsed());
    expect_no_socket(stage, &by_client.at_server);
    expect_no_socket(stage, &by_server.at_client);
    let received = |connection: &Connection| {
        Expected::reset_received(Reason::Peer)
            .state(TcpState::Established)
            .ends(connection)
            .bytes(300, 0)
            .checked("peer_silent_ns", quiet.clone())
            .checked("send_idle_ns", quiet.clone())
            .checked("idle_ns", quiet.clone())
    };
    stage.expect(received(&by_client.at_client).own_client(&by_client.client));
    stage.expect(
        received(&by_server.at_server)
            .acceptors(&by_server.server)
            .side(Side::Server),
    );
    Ok(())
}

/// Retransmissions without an answer do not end the idle time either.
fn silent_peer(stage: &Stage) -> Result<()> {
    const TIMEOUT_MS: u32 = 500;
    let talking = Instant::now();
    let mut it = dialogue(stage, &[SocketOption::UserTimeout(TIMEOUT_MS)])?;
    request(&mut it)?;
    let quiet_since = Instant::now();
    stage.pause(QUIET);
    // The kernel treats the timeout as expired within one retransmission interval of it.
    let quiet_at_least = quiet_since.elapsed() + Duration::from_millis(400);
    it.client.send(&it.at_client, 300)?;
    it.client.await_error(&it.at_client, libc::ETIMEDOUT)?;
    let quiet = lasting(quiet_at_least, talking.elapsed());
    stage.expect(
        Expected::abort(Reason::Timeout)
            .state(TcpState::Established)
            .own_client(&it.client)
            .ends(&it.at_client)
            .bytes(400, 0)
            .checked("peer_silent_ns", quiet.clone())
            .checked("send_idle_ns", quiet.clone())
            .checked("idle_ns", quiet),
    );
    Ok(())
}

/// A keepalive probe is not data, but it counts as received.
fn peer_probes(stage: &Stage) -> Result<()> {
    let talking = Instant::now();
    let mut it = dialogue(stage, &[])?;
    request(&mut it)?;
    let quiet_since = Instant::now();
    stage.pause(QUIET);
    let probing = Instant::now();
    it.peer.probe(&it.end)?;
    it.peer.next("the answer to a probe", |segment| {
        segment.flags == Flags::ACK && segment.payload.is_empty()
    })?;
    let probed = Instant::now();
    stage.pause(QUIET / 3);
    let silent_at_least = probed.elapsed();
    let quiet_at_least = quiet_since.elapsed();
    it.peer.send(&mut it.end, Flags::RST, b"")?;
    it.client.await_error(&it.at_client, libc::ECONNRESET)?;
    let silent = lasting(silent_at_least, probing.elapsed());
    let quiet = lasting(quiet_at_least, talking.elapsed());
    stage.expect(
        Expected::reset_received(Reason::Peer)
            .state(TcpState::Established)
            .own_client(&it.client)
            .ends(&it.at_client)
            .bytes(100, 0)
            .checked("peer_silent_ns", silent)
            .checked("send_idle_ns", quiet.clone())
            .checked("idle_ns", quiet),
    );
    Ok(())
}

/// The client sends something, and the peer acknowledges it.
fn request(it: &mut Dialogue) -> Result<()> {
    it.client.send(&it.at_client, 100)?;
    let data = it
        .peer
        .next("a request", |segment| !segment.payload.is_empty())?;
    it.end.acknowledge(&data);
    it.peer.send(&mut it.end, Flags::ACK, b"")
}

/// Its end is destroyed, and the other one is not informed.
fn vanish(whose: &Actor, connection: &Connection) -> Result<()> {
    whose.set(connection.fd, SocketOption::Repair)?;
    whose.close(connection)
}

/// The RST for a segment to a socket that no longer exists.
fn expect_no_socket(stage: &Stage, was: &Connection) {
    stage.expect(
        Expected::reset_without_socket(Reason::NoSocket, "NO_SOCKET")
            .nobody(Unattributed::NoSocket)
            .no_opener()
            .ends(was),
    );
}
