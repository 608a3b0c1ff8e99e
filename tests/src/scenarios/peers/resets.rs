//! RSTs of the peer, and answers to segments of no connection.

use std::net::SocketAddr;

use anyhow::Result;

use super::dialogue;
use crate::{
    actor::{
        Actor,
        command::{Command, SocketOption},
    },
    expect::{Expected, Reason, Side, TcpState},
    stage::Stage,
    sys::proc_net,
    tun_peer::{TunPeer, segment::Flags},
};

/// A segment of the tuple's previous connection arrives in SYN_SENT: the RST for it ends nothing, and a later RST of
/// the same connection is also reported.
pub fn reset_in_syn_sent(stage: &Stage) -> Result<()> {
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

/// A listener answers a segment that belongs to no connection: the RST belongs to the listener's owner.
pub fn stray_segment(stage: &Stage) -> Result<()> {
    let mut peer = TunPeer::new(stage.ip)?;
    let server = stage.actor("sv")?;
    let (_, address) = server.listen((TunPeer::host(stage.ip), 0).into())?;
    answer_stray(stage, &mut peer, address, &server)
}

/// Its owner is the process that accepts from it, not the one that called listen() and has stopped using it.
pub fn stray_segment_to_handed_on(stage: &Stage) -> Result<()> {
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
    let mut end = peer.unconnected_to(listener);
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

/// The RST is charged to the process that closed second, since it answers that FIN.
pub fn reset_in_last_ack(stage: &Stage) -> Result<()> {
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
