//! Peers that answer at a chosen moment, or never.

mod pending_error;
mod resets;
mod timeouts;

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{Scenario, reset::lasting};
use crate::{
    actor::{
        Actor,
        command::{Command, Connection, SocketOption},
    },
    expect::{Expected, Reason, TcpState},
    stage::Stage,
    sys::proc_net::State,
    tun_peer::{PeerEnd, TunPeer, segment::Flags},
};

use resets::{
    reset_in_last_ack, reset_in_syn_sent, stray_segment, stray_segment_to_handed_on,
    stray_segment_to_reopened,
};
use timeouts::{
    connect_given_up, connect_times_out, connect_waits, crossed_syns, keepalive, user_timeout,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("both_close_at_once", both_close_at_once),
    Scenario::both("fin_and_ack_in_one", fin_and_ack_in_one),
    Scenario::both("data_after_close/in_fin_wait1", data_in_fin_wait1),
    Scenario::both("data_after_close/acknowledging", data_acknowledging),
    Scenario::both("data_after_fin/held", data_after_fin_held),
    Scenario::both("data_after_fin/in_last_ack", data_after_fin_in_last_ack),
    Scenario::both("linger_zero_in_closing", linger_zero_in_closing),
    Scenario::both("linger_zero_in_closing/before_fin", linger_zero_before_fin),
    Scenario::both("disconnect_in_closing", disconnect_in_closing),
    Scenario::both("unread_data_in_closing", unread_data_in_closing),
    Scenario::both("reset_in_syn_sent", reset_in_syn_sent),
    Scenario::both("stray_segment", stray_segment),
    Scenario::both(
        "stray_segment/listener_handed_on",
        stray_segment_to_handed_on,
    ),
    Scenario::both("stray_segment/listener_reopened", stray_segment_to_reopened),
    Scenario::both("pending_error/linger_zero", pending_error::linger_zero),
    Scenario::both(
        "pending_error/disconnect_by_child",
        pending_error::disconnect_by_child,
    ),
    Scenario::both("pending_error/close", pending_error::close),
    Scenario::both("reset_in_last_ack", reset_in_last_ack),
    Scenario::both("user_timeout", user_timeout),
    Scenario::both("keepalive", keepalive),
    Scenario::both("connect_times_out", connect_times_out),
    Scenario::both("connect_given_up", connect_given_up),
    Scenario::both("ports/connect_waits", connect_waits),
    Scenario::both("crossed_syns/closed_at_once", crossed_syns),
];

/// A client connected to a peer that does nothing by itself.
pub struct Dialogue {
    pub client: Rc<Actor>,
    pub at_client: Connection,
    pub peer: TunPeer,
    pub end: PeerEnd,
}

/// Connects to such a peer.
pub fn dialogue(stage: &Stage, options: &[SocketOption]) -> Result<Dialogue> {
    dialogue_by(stage, options, TunPeer::accept)
}

/// Connects to a peer that takes the connection in its own way.
pub fn dialogue_by(
    stage: &Stage,
    options: &[SocketOption],
    accept: impl FnOnce(&mut TunPeer) -> Result<PeerEnd>,
) -> Result<Dialogue> {
    let mut peer = TunPeer::new(stage.ip)?;
    let client = stage.actor("cl")?;
    let address = peer.address;
    let fd = client.tcp_for(address)?;
    for option in options {
        client.set(fd, *option)?;
    }
    client.post(&Command::Connect { fd, address })?;
    let end = accept(&mut peer)?;
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
    close_in_one(stage, &mut it, 0)
}

/// The client, which has sent so many bytes, closes, and the peer answers with a FIN that acknowledges the client's: TIME_WAIT from its creation.
pub fn close_in_one(stage: &Stage, it: &mut Dialogue, sent: u64) -> Result<()> {
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
            .bytes(sent, 0),
    );
    Ok(())
}

/// The orphan is still a full socket: its FIN is in flight when the data arrives.
fn data_in_fin_wait1(stage: &Stage) -> Result<()> {
    late_data(stage, false, TcpState::FinWait1)
}

/// The data acknowledges the orphan's FIN: the kernel takes it through FIN_WAIT2 to CLOSE, as it does when it creates a
/// mini-socket or refuses one, and sends a RST.
fn data_acknowledging(stage: &Stage) -> Result<()> {
    late_data(stage, true, TcpState::FinWait2)
}

/// Data after close(), with or without the ACK of the FIN, is answered with a RST.
fn late_data(stage: &Stage, acknowledges_fin: bool, left: TcpState) -> Result<()> {
    let mut it = dialogue(stage, &[])?;
    let closing = Instant::now();
    it.client.close(&it.at_client)?;
    let closed = Instant::now();
    let fin = it.peer.await_fin()?;
    if acknowledges_fin {
        it.end.acknowledge(&fin);
    }
    // The FIN is not retransmitted so soon.
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

/// Data at the sequence number of the peer's own FIN, to a socket in CLOSE_WAIT: the kernel runs through the code for a
/// received RST, and sends one.
fn data_after_fin_held(stage: &Stage) -> Result<()> {
    let mut it = dialogue(stage, &[])?;
    it.peer.send(&mut it.end, Flags::FIN.and(Flags::ACK), b"")?;
    it.client.await_end(&it.at_client)?;
    data_after_fin(stage, &mut it, TcpState::CloseWait)?;
    it.client.close(&it.at_client)
}

/// The same to a socket that has been closed in the meantime: it is destroyed before its RST is sent.
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

/// The same, if the FIN could not be sent yet, sends a RST, and leaves no mini-socket either.
fn linger_zero_before_fin(stage: &Stage) -> Result<()> {
    let mut it = dialogue_by(stage, &[], TunPeer::accept_without_window)?;
    it.client.shutdown_write(&it.at_client)?;
    it.peer.send(&mut it.end, Flags::FIN.and(Flags::ACK), b"")?;
    stage.until_state(it.at_client.local, it.at_client.remote, State::Closing)?;
    it.client.set(it.at_client.fd, SocketOption::LingerZero)?;
    it.client.close(&it.at_client)?;
    it.peer.await_reset()?;
    stage.expect(
        Expected::reset_sent(Reason::LingerZero, "TCP_DISCONNECT_WITH_DATA")
            .state(TcpState::Closing)
            .own_client(&it.client)
            .ends(&it.at_client),
    );
    Ok(())
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

/// The FINs have crossed; the peer's follows this data.
fn in_closing(stage: &Stage, data: &[u8]) -> Result<Dialogue> {
    let mut it = dialogue(stage, &[])?;
    it.client.shutdown_write(&it.at_client)?;
    it.peer.await_fin()?;
    it.peer
        .send(&mut it.end, Flags::FIN.and(Flags::ACK), data)?;
    stage.until_state(it.at_client.local, it.at_client.remote, State::Closing)?;
    Ok(it)
}
