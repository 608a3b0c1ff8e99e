//! Peers that never answer.

use anyhow::{Result, ensure};
use serde_json::Value;

use super::{super::ports::connecting, dialogue};
use crate::{
    actor::command::{Command, SocketOption},
    expect::{Check, Expected, Reason, TcpState},
    stage::Stage,
    sys::Errno,
    tun_peer::TunPeer,
};

/// Ends with ETIMEDOUT and without a RST.
pub fn user_timeout(stage: &Stage) -> Result<()> {
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

pub fn keepalive(stage: &Stage) -> Result<()> {
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

pub fn connect_times_out(stage: &Stage) -> Result<()> {
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

/// connect() returns EINPROGRESS when its SO_SNDTIMEO has passed: that wait is no search for a port.
pub fn connect_waits(stage: &Stage) -> Result<()> {
    // Shorter than the second after which a SYN is sent again: then a program that closes has given up.
    const WAIT_MS: u32 = 500;
    stage.about_ports();
    let peer = TunPeer::new(stage.ip)?;
    let client = stage.actor("cl")?;
    let address = peer.address;
    let fd = client.tcp_for(address)?;
    client.set(fd, SocketOption::SendTimeout(WAIT_MS))?;
    client.must_fail(&Command::Connect { fd, address }, libc::EINPROGRESS)?;
    let wait_ns = u64::from(WAIT_MS) * 1_000_000;
    stage.expect(
        connecting(&client, address, 0, "ok")
            .checked("latency_ns", Check::NullOrBetween(0, wait_ns / 2)),
    );
    client.close_fd(fd)
}

/// connect() is given up after the SYN has been sent again.
pub fn connect_given_up(stage: &Stage) -> Result<()> {
    let peer = TunPeer::new(stage.ip)?;
    let client = stage.actor("cl")?;
    let address = peer.address;
    let fd = client.tcp_for(address)?;
    client.set(fd, SocketOption::SendTimeout(1_500))?;
    client.must_fail(&Command::Connect { fd, address }, libc::EINPROGRESS)?;
    client.close_fd(fd)?;
    stage.expect(
        Expected::abort(Reason::Unanswered)
            .state(TcpState::SynSent)
            .own_client(&client)
            .remote(address)
            .with("connection_ns", Value::Null),
    );
    Ok(())
}

/// The SYNs cross, which takes the client to SYN_RECV; it closes there, and its FIN is not answered.
pub fn crossed_syns(stage: &Stage) -> Result<()> {
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
