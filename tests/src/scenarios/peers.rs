//! Peers that answer at a chosen moment, or never.

use std::{
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{Scenario, reset::lasting};
use crate::{
    actor::{
        Actor,
        command::{Command, Connection, SocketOption},
    },
    expect::{Check, Expected, Reason, Side, TcpState},
    stage::Stage,
    sys::{
        Errno,
        proc_net::{self, State},
    },
    tun_peer::{PeerEnd, TunPeer, segment::Flags},
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("both_close_at_once", both_close_at_once),
    Scenario::both("fin_and_ack_in_one", fin_and_ack_in_one),
    Scenario::both("data_after_close/in_fin_wait1", data_in_fin_wait1),
    Scenario::both("data_after_close/acknowledging", data_acknowledging),
    Scenario::both("data_after_fin/held", data_after_fin_held),
    Scenario::both("data_after_fin/in_last_ack", data_after_fin_in_last_ack),
    Scenario::both("linger_zero_in_closing", linger_zero_in_closing),
    Scenario::both("disconnect_in_closing", disconnect_in_closing),
    Scenario::both("unread_data_in_closing", unread_data_in_closing),
    Scenario::both("reset_in_syn_sent", reset_in_syn_sent),
    Scenario::both("stray_segment", stray_segment),
    Scenario::both(
        "stray_segment/listener_handed_on",
        stray_segment_to_handed_on,
    ),
    Scenario::both("reset_in_last_ack", reset_in_last_ack),
    Scenario::both("user_timeout", user_timeout),
    Scenario::both("keepalive", keepalive),
    Scenario::both("connect_times_out", connect_times_out),
    Scenario::both("crossed_syns/closed_at_once", crossed_syns),
];

/// A client that is connected to a peer which does nothing by itself.
pub struct Dialogue {
    pub client: Rc<Actor>,
    pub at_client: Connection,
    pub peer: TunPeer,
    pub end: PeerEnd,
}

/// Connects to it.
pub fn dialogue(stage: &Stage, options: &[SocketOption]) -> Result<Dialogue> {
    let mut peer = TunPeer::new(stage.ip)?;
    let client = stage.actor("cl")?;
    let address = peer.address;
    let fd = client.tcp_for(address)?;
    for option in options {
        client.set(fd, *option)?;
    }
    client.post(&Command::Connect { fd, address })?;
    let end = peer.accept()?;
    let at_client = client.awaited_connection()?;
    Ok(Dialogue {
        client,
        at_client,
        peer,
        end,
    })
}

/// The FINs cross: FIN_WAIT1, CLOSING, TIME_WAIT.
fn both_close_at_once(stage: &Stage) -> Result<()> {
    let mut it = dialogue(stage, &[])?;
    it.client.close(&it.at_client)?;
    let fin = it.peer.await_fin()?;
    // Does not acknowledge the host's FIN.
    it.peer.send(&mut it.end, Flags::FIN.and(Flags::ACK), b"")?;
    stage.until_state(it.at_client.local, it.at_client.remote, State::Closing)?;
    it.end.acknowledge(&fin);
    it.peer.send(&mut it.end, Flags::ACK, b"")?;
    stage.until_time_wait(&it.at_client)?;
    stage.expect(
        Expected::time_wait(TcpState::TimeWait)
            .from(&[TcpState::Closing])
            .own_client(&it.client)
            .ends(&it.at_client)
            .bytes(0, 0),
    );
    Ok(())
}

/// The peer's FIN acknowledges the host's: no CLOSING, and no wait in FIN_WAIT2.
fn fin_and_ack_in_one(stage: &Stage) -> Result<()> {
    let mut it = dialogue(stage, &[])?;
    close_in_one(stage, &mut it)
}

/// The client closes, and the peer answers with a FIN that acknowledges the client's: a TIME_WAIT from its birth.
pub fn close_in_one(stage: &Stage, it: &mut Dialogue) -> Result<()> {
    it.client.close(&it.at_client)?;
    let fin = it.peer.await_fin()?;
    it.end.acknowledge(&fin);
    it.peer.send(&mut it.end, Flags::FIN.and(Flags::ACK), b"")?;
    stage.until_time_wait(&it.at_client)?;
    stage.expect(
        Expected::time_wait(TcpState::TimeWait)
            .from(&[TcpState::FinWait1, TcpState::FinWait2])
            .own_client(&it.client)
            .ends(&it.at_client)
            .bytes(0, 0),
    );
    Ok(())
}

/// The orphan is still a full socket: its FIN is on the way when the data comes.
fn data_in_fin_wait1(stage: &Stage) -> Result<()> {
    late_data(stage, false, TcpState::FinWait1)
}

/// The data acknowledges the orphan's FIN: the kernel takes it through FIN_WAIT2 to CLOSE, as it does where it makes a
/// mini-socket or refuses one, and sends a RST.
fn data_acknowledging(stage: &Stage) -> Result<()> {
    late_data(stage, true, TcpState::FinWait2)
}

/// Data that comes after close(), with or without the ACK of the FIN, is answered by a RST.
fn late_data(stage: &Stage, acknowledges_fin: bool, left: TcpState) -> Result<()> {
    let mut it = dialogue(stage, &[])?;
    let closing = Instant::now();
    it.client.close(&it.at_client)?;
    let closed = Instant::now();
    let fin = it.peer.await_fin()?;
    if acknowledges_fin {
        it.end.acknowledge(&fin);
    }
    // The FIN is not sent again so soon.
    stage.pause(Duration::from_millis(100));
    let late_at_least = closed.elapsed();
    it.peer
        .send(&mut it.end, Flags::ACK.and(Flags::PSH), b"late")?;
    it.peer.await_reset()?;
    stage.expect(
        Expected::reset_sent(Reason::DataAfterClose, "ABORT_ON_DATA")
            .state(left)
            .own_client(&it.client)
            .ends(&it.at_client)
            .checked("after_close_ns", lasting(late_at_least, closing.elapsed())),
    );
    Ok(())
}

/// Data in the place of the peer's own FIN, to a socket in CLOSE_WAIT: the kernel runs through the code for a received RST, and
/// sends one.
fn data_after_fin_held(stage: &Stage) -> Result<()> {
    let mut it = dialogue(stage, &[])?;
    it.peer.send(&mut it.end, Flags::FIN.and(Flags::ACK), b"")?;
    it.client.await_end(&it.at_client)?;
    data_after_fin(stage, &mut it, TcpState::CloseWait)?;
    it.client.close(&it.at_client)
}

/// The same to one that has been closed meanwhile: it is destroyed before its RST is sent.
fn data_after_fin_in_last_ack(stage: &Stage) -> Result<()> {
    let mut it = dialogue(stage, &[])?;
    it.peer.send(&mut it.end, Flags::FIN.and(Flags::ACK), b"")?;
    it.client.await_end(&it.at_client)?;
    it.client.close(&it.at_client)?;
    it.peer.await_fin()?;
    data_after_fin(stage, &mut it, TcpState::LastAck)
}

fn data_after_fin(stage: &Stage, it: &mut Dialogue, left: TcpState) -> Result<()> {
    it.end.step_back();
    it.peer
        .send(&mut it.end, Flags::ACK.and(Flags::PSH), b"more")?;
    it.peer.await_reset()?;
    stage.expect(
        Expected::reset_sent(Reason::Other, "ABORT_ON_DATA")
            .state(left)
            .own_client(&it.client)
            .ends(&it.at_client),
    );
    Ok(())
}

/// The FINs crossed, and close() with SO_LINGER {on, 0} disconnects: no mini-socket, no refusal, no RST.
fn linger_zero_in_closing(stage: &Stage) -> Result<()> {
    let it = in_closing(stage, b"")?;
    it.client.set(it.at_client.fd, SocketOption::LingerZero)?;
    it.client.close(&it.at_client)
}

/// connect(AF_UNSPEC) does the same.
fn disconnect_in_closing(stage: &Stage) -> Result<()> {
    let it = in_closing(stage, b"")?;
    it.client.call(&Command::Disconnect {
        fd: it.at_client.fd,
    })?;
    Ok(())
}

/// close() over unread data sends a RST, and leaves no mini-socket either.
fn unread_data_in_closing(stage: &Stage) -> Result<()> {
    let mut it = in_closing(stage, b"unread")?;
    it.client.close(&it.at_client)?;
    it.peer.await_reset()?;
    stage.expect(
        Expected::reset_sent(Reason::UnreadData, "ABORT_ON_CLOSE")
            .state(TcpState::Closing)
            .own_client(&it.client)
            .ends(&it.at_client),
    );
    Ok(())
}

/// The FINs have crossed, the peer's after this data.
fn in_closing(stage: &Stage, data: &[u8]) -> Result<Dialogue> {
    let mut it = dialogue(stage, &[])?;
    it.client.shutdown_write(&it.at_client)?;
    it.peer.await_fin()?;
    it.peer
        .send(&mut it.end, Flags::FIN.and(Flags::ACK), data)?;
    stage.until_state(it.at_client.local, it.at_client.remote, State::Closing)?;
    Ok(it)
}

/// A segment of the tuple's last connection meets SYN_SENT: its RST ends nothing, and a later one of the same connection is
/// told as well.
fn reset_in_syn_sent(stage: &Stage) -> Result<()> {
    let mut peer = TunPeer::new(stage.ip)?;
    let client = stage.actor("cl")?;
    let address = peer.address;
    let fd = client.tcp_for(address)?;
    client.post(&Command::Connect { fd, address })?;
    let mut end = peer.accept_after_stray_ack()?;
    let at_client = client.awaited_connection()?;
    client.close(&at_client)?;
    peer.await_fin()?;
    peer.send(&mut end, Flags::ACK.and(Flags::PSH), b"late")?;
    peer.await_reset()?;
    stage.expect(
        Expected::reset_sent(Reason::Other, "INVALID_ACK_SEQUENCE")
            .state(TcpState::SynSent)
            .own_client(&client)
            .ends(&at_client),
    );
    stage.expect(
        Expected::reset_sent(Reason::DataAfterClose, "ABORT_ON_DATA")
            .state(TcpState::FinWait1)
            .own_client(&client)
            .ends(&at_client),
    );
    Ok(())
}

/// A listener answers what belongs to no connection: its owner's RST.
fn stray_segment(stage: &Stage) -> Result<()> {
    let mut peer = TunPeer::new(stage.ip)?;
    let server = stage.actor("sv")?;
    let (_, address) = server.listen((TunPeer::host(stage.ip), 0).into())?;
    answer_stray(stage, &mut peer, address, &server)
}

/// Who accepts from it owns it, not who called listen() and has gone on to other things.
fn stray_segment_to_handed_on(stage: &Stage) -> Result<()> {
    let mut peer = TunPeer::new(stage.ip)?;
    let parent = stage.actor("sv")?;
    let (listener, address) = parent.listen((TunPeer::host(stage.ip), 0).into())?;
    let child = stage.fork(&parent, "ch")?;
    parent.close_fd(listener)?;
    let client = stage.actor("cl")?;
    let at_client = client.connect(address)?;
    let at_child = child.accept(listener)?;
    answer_stray(stage, &mut peer, address, &child)?;
    client.set(at_client.fd, SocketOption::LingerZero)?;
    client.close(&at_client)?;
    child.await_reset(&at_child)?;
    stage.expect(
        Expected::reset_sent(Reason::LingerZero, "TCP_STATE")
            .state(TcpState::Established)
            .own_client(&client)
            .ends(&at_client),
    );
    stage.expect(
        Expected::reset_received(Reason::Peer)
            .state(TcpState::Established)
            .acceptors(&child)
            .side(Side::Server)
            .ends(&at_child),
    );
    Ok(())
}

fn answer_stray(
    stage: &Stage,
    peer: &mut TunPeer,
    listener: SocketAddr,
    owner: &Actor,
) -> Result<()> {
    let mut end = peer.stranger_to(listener);
    peer.send(&mut end, Flags::ACK.and(Flags::PSH), b"who are you")?;
    peer.await_reset()?;
    stage.expect(
        Expected::reset_sent(Reason::Other, "TCP_FLAGS")
            .state(TcpState::Listen)
            .process(owner)
            .no_opener()
            .side(Side::Server)
            .local(listener)
            .remote(peer.address),
    );
    Ok(())
}

/// The RST is charged to who closed second, as that is what it answers.
fn reset_in_last_ack(stage: &Stage) -> Result<()> {
    let mut it = dialogue(stage, &[])?;
    let child = stage.fork(&it.client, "ch")?;
    it.client.close(&it.at_client)?;
    it.peer.send(&mut it.end, Flags::FIN.and(Flags::ACK), b"")?;
    child.await_end(&it.at_client)?;
    child.close(&it.at_client)?;
    let fin = it.peer.await_fin()?;
    it.peer.send(&mut it.end, Flags::RST, b"")?;
    let closed = |socket: &proc_net::ProcSocket| socket.local == it.at_client.local;
    stage.until("the client's end is gone", || {
        Ok(!proc_net::sockets()?.iter().any(closed))
    })?;
    it.end.acknowledge(&fin);
    stage.expect(
        Expected::reset_received(Reason::Peer)
            .state(TcpState::LastAck)
            .process(&child)
            .opener(&it.client)
            .side(Side::Client)
            .ends(&it.at_client)
            .bytes(0, 0),
    );
    Ok(())
}

/// Ends in ETIMEDOUT and no RST.
fn user_timeout(stage: &Stage) -> Result<()> {
    let it = dialogue(stage, &[SocketOption::UserTimeout(500)])?;
    it.client.send(&it.at_client, 100)?;
    it.client.await_error(&it.at_client, libc::ETIMEDOUT)?;
    stage.expect(
        Expected::abort(Reason::Timeout)
            .state(TcpState::Established)
            .own_client(&it.client)
            .ends(&it.at_client)
            .bytes(100, 0),
    );
    Ok(())
}

fn keepalive(stage: &Stage) -> Result<()> {
    let mut it = dialogue(stage, &[SocketOption::QuickKeepalive])?;
    it.client.await_error(&it.at_client, libc::ETIMEDOUT)?;
    it.peer.await_reset()?;
    let second_ns = 1_000_000_000;
    stage.expect(
        Expected::reset_sent(Reason::Timeout, "KEEPALIVE_TIMEOUT")
            .state(TcpState::Established)
            .own_client(&it.client)
            .ends(&it.at_client)
            .checked("connection_ns", Check::Between(second_ns, 60 * second_ns))
            .bytes(0, 0),
    );
    Ok(())
}

fn connect_times_out(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/tcp_syn_retries", "1")?;
    let peer = TunPeer::new(stage.ip)?;
    let client = stage.actor("cl")?;
    let address = peer.address;
    let fd = client.tcp_for(address)?;
    client.set(fd, SocketOption::UserTimeout(500))?;
    client.must_fail(&Command::Connect { fd, address }, libc::ETIMEDOUT)?;
    stage.expect(
        Expected::abort(Reason::Timeout)
            .state(TcpState::SynSent)
            .own_client(&client)
            .remote(address)
            .with("connection_ns", Value::Null),
    );
    Ok(())
}

/// The SYNs cross, which takes the client to SYN_RECV; it closes there, and nobody answers its FIN.
fn crossed_syns(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/tcp_orphan_retries", "1")?;
    let mut peer = TunPeer::new(stage.ip)?;
    let client = stage.actor("cl")?;
    let address = peer.address;
    let fd = client.tcp_for(address)?;
    client.set(fd, SocketOption::SendTimeout(1_000))?;
    client.post(&Command::Connect { fd, address })?;
    peer.cross_syns()?;
    let given_up = client.outcome()?;
    ensure!(
        given_up == Err(Errno(libc::EINPROGRESS)),
        "connect() gave {given_up:?}"
    );
    client.close_fd(fd)?;
    stage.expect(
        Expected::abort(Reason::Timeout)
            .state(TcpState::FinWait1)
            .own_client(&client)
            .remote(address),
    );
    Ok(())
}
