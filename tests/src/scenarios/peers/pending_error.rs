//! An error that an ICMP message left at a socket, and that its process has not read, is not what ends the connection.

use anyhow::Result;

use super::{Dialogue, close_in_one, dialogue};
use crate::{
    actor::command::{Command, SocketOption},
    expect::{Expected, Reason, TcpState},
    stage::Stage,
};

/// A connection whose peer a router could not reach for a moment.
fn with_error(stage: &Stage) -> Result<Dialogue> {
    let mut it = dialogue(stage, &[SocketOption::ReceiveErrors])?;
    it.client.send(&it.at_client, 100)?;
    let data = it
        .peer
        .next("data", |segment| !segment.payload.is_empty())?;
    it.peer.say_unreachable(&data)?;
    it.end.acknowledge(&data);
    Ok(it)
}

/// close() with SO_LINGER 0: a RST, and no other end.
pub fn linger_zero(stage: &Stage) -> Result<()> {
    let mut it = with_error(stage)?;
    it.client.set(it.at_client.fd, SocketOption::LingerZero)?;
    it.client.close(&it.at_client)?;
    it.peer.await_reset()?;
    stage.expect(reset(&it, Reason::LingerZero));
    Ok(())
}

/// A child disconnects: it is the one that is named.
pub fn disconnect_by_child(stage: &Stage) -> Result<()> {
    let mut it = with_error(stage)?;
    let child = stage.fork(&it.client, "ch")?;
    let fd = it.at_client.fd;
    child.call(&Command::Disconnect { fd })?;
    it.peer.await_reset()?;
    stage.expect(reset(&it, Reason::Aborted).process(&child));
    Ok(())
}

fn reset(it: &Dialogue, reason: Reason) -> Expected {
    Expected::reset_sent(reason, "")
        .state(TcpState::Established)
        .own_client(&it.client)
        .ends(&it.at_client)
}

/// close(): a TIME_WAIT as without the error.
pub fn close(stage: &Stage) -> Result<()> {
    let mut it = with_error(stage)?;
    close_in_one(stage, &mut it, 100)
}
