//! RSTs of the peer, and answers to segments of no connection.

use std::net::SocketAddr;

use anyhow::{Result, ensure};

use super::{Dialogue, dialogue, dialogue_by};
use crate::{
    actor::{
        Actor,
        command::{Fd, SocketOption},
    },
    expect::{Expected, Reason, Side, TcpState},
    stage::Stage,
    sys::{proc_net, process},
    tun_peer::{TunPeer, segment::Flags},
};

/// A segment of the tuple's previous connection arrives in SYN_SENT: the RST for it ends nothing, and a later RST of
/// the same connection is also reported.
pub fn reset_in_syn_sent(stage: &Stage) -> Result<()> {
    let Dialogue {
        client,
        at_client,
        mut peer,
        mut end,
    } = dialogue_by(stage, &[], TunPeer::accept_after_stray_ack)?;
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
    accept_and_be_reset(stage, &client, &child, listener, address)?;
    answer_stray(stage, &mut peer, address, &child)
}

/// A new listener has the descriptor, the port and possibly the memory of the one before, and two processes accept from
/// it: it belongs to the one that called listen(). In rounds, on two CPUs: what a CPU remembers of the call before is soon
/// overwritten by others.
pub fn stray_segment_to_reopened(stage: &Stage) -> Result<()> {
    const ROUNDS: usize = 4;
    let mut peer = TunPeer::new(stage.ip)?;
    let parent = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    process::pin_process(parent.pid, 0)?;
    let mut address = (TunPeer::host(stage.ip), 0).into();
    let mut descriptor = None;
    for round in 0..=ROUNDS {
        let (listener, bound) = parent.listen(address)?;
        ensure!(
            *descriptor.get_or_insert(listener) == listener,
            "the descriptor is another one"
        );
        address = bound;
        accept_and_be_reset(stage, &client, &parent, listener, address)?;
        // From the first listener, only this one accepts.
        if round > 0 {
            let child = stage.fork(&parent, &format!("c{round}"))?;
            process::pin_process(child.pid, process::cpus() - 1)?;
            accept_and_be_reset(stage, &client, &child, listener, address)?;
            answer_stray(stage, &mut peer, address, &parent)?;
            child.close_fd(listener)?;
        }
        // The second time it is found recorded.
        accept_and_be_reset(stage, &client, &parent, listener, address)?;
        parent.close_fd(listener)?;
    }
    Ok(())
}

/// A client connects and resets; the server accepts in between.
fn accept_and_be_reset(
    stage: &Stage,
    client: &Actor,
    server: &Actor,
    listener: Fd,
    address: SocketAddr,
) -> Result<()> {
    let at_client = client.connect(address)?;
    let at_server = server.accept(listener)?;
    client.set(at_client.fd, SocketOption::LingerZero)?;
    client.close(&at_client)?;
    server.await_reset(&at_server)?;
    server.close(&at_server)?;
    stage.expect(
        Expected::reset_sent(Reason::LingerZero, "TCP_STATE")
            .state(TcpState::Established)
            .own_client(client)
            .ends(&at_client),
    );
    stage.expect(
        Expected::reset_received(Reason::Peer)
            .state(TcpState::Established)
            .acceptors(server)
            .side(Side::Server)
            .ends(&at_server),
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
