//! TIME_WAITs that a connect() finds and can't reuse, each for its reason; and how a report shows them.

use std::{
    net::{IpAddr, SocketAddr},
    thread,
    time::Duration,
};

use anyhow::{Result, bail};
use serde_json::json;

use super::{
    ReportRun, Scenario,
    close::{clients_bytes, parked},
    peers::{close_in_one, dialogue},
    ports::connecting,
};
use crate::{
    actor::{Actor, command::Command},
    expect::Side,
    stage::{
        Stage, Unlucky,
        finding::{CrowdRow, ReuseTruth},
    },
    sys::clock,
    tun_peer::TunPeer,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("reuse/disabled", disabled),
    Scenario::both("reuse/not_loopback", not_loopback),
    Scenario::both("reuse/timestamps_off", timestamps_off),
    Scenario::both("reuse/peer_without_timestamps", peer_without_timestamps),
    Scenario::both("reuse/fin_wait2", fin_wait2),
    Scenario::both("reuse/too_young", too_young),
    Scenario::both("reuse/reported", reported).reported(ReportRun {
        options: &[],
        loses: false,
        ends_before: false,
    }),
];

/// The only local port, so that the next connect() needs the tuple of the one before.
const PORT: u16 = 40_000;

/// Another process fails to connect because of a TIME_WAIT that it could not reuse.
fn hindered(stage: &Stage, address: SocketAddr, why: &str) -> Result<()> {
    let other = stage.actor("c2")?;
    hindered_by(stage, &other, address, why)
}

fn hindered_by(stage: &Stage, other: &Actor, address: SocketAddr, why: &str) -> Result<()> {
    let fd = other.tcp_for(address)?;
    other.must_fail(&Command::Connect { fd, address }, libc::EADDRNOTAVAIL)?;
    stage.expect(
        connecting(other, address, 0, "EADDRNOTAVAIL").with("refused_reuse", json!({ why: 1 })),
    );
    Ok(())
}

/// A client at `address` closes first, the server follows, and the next connect() finds its TIME_WAIT.
fn refused(stage: &Stage, address: IpAddr, tw_reuse: &str, why: &str) -> Result<()> {
    refused_after(stage, address, tw_reuse, why, || Ok(()))
}

/// The same, with an action before the peer's last segment arrives.
fn refused_after(
    stage: &Stage,
    address: IpAddr,
    tw_reuse: &str,
    why: &str,
    before_last: impl FnOnce() -> Result<()>,
) -> Result<()> {
    stage.sysctl("ipv4/tcp_tw_reuse", tw_reuse)?;
    let pair = stage.pair_on_port_of(address, PORT)?;
    let other = stage.actor("c2")?;
    pair.client.close(&pair.at_client)?;
    stage.until_parked(&pair.at_client)?;
    before_last()?;
    pair.server_follows(stage)?;
    stage.expect(clients_bytes(
        parked(&pair.at_client).own_client(&pair.client),
    ));
    hindered_by(stage, &other, pair.address, why)
}

fn disabled(stage: &Stage) -> Result<()> {
    refused(stage, stage.ip.loopback(), "0", "disabled")
}

/// 2, the default: between loopback addresses only.
fn not_loopback(stage: &Stage) -> Result<()> {
    let _device = TunPeer::new(stage.ip)?;
    refused(stage, TunPeer::host(stage.ip), "2", "not_loopback")
}

fn timestamps_off(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/tcp_timestamps", "0")?;
    refused(stage, stage.ip.loopback(), "1", "timestamps_off")
}

/// Timestamps are on here; the peer's SYN-ACK has none.
fn peer_without_timestamps(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/tcp_tw_reuse", "1")?;
    stage.sysctl("ipv4/ip_local_port_range", &format!("{PORT} {PORT}"))?;
    let mut it = dialogue(stage, &[])?;
    close_in_one(stage, &mut it, 0)?;
    hindered(stage, it.peer.address, "peer_without_timestamps")
}

/// The server does not close: the mini-socket waits in FIN_WAIT2.
fn fin_wait2(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/tcp_tw_reuse", "1")?;
    let pair = stage.pair_on_port(PORT)?;
    pair.client.close(&pair.at_client)?;
    stage.until_parked(&pair.at_client)?;
    stage.expect(clients_bytes(
        parked(&pair.at_client).own_client(&pair.client),
    ));
    hindered(stage, pair.address, "fin_wait2")
}

/// Connects at once. Up to 6.12 whole seconds are compared: the next second may have begun.
fn too_young(stage: &Stage) -> Result<()> {
    match refused_after(stage, stage.ip.loopback(), "1", "too_young", begin_second) {
        Err(error) if error.to_string().contains("did not fail") => {
            bail!(Unlucky("a new second had begun: it was reused".to_owned()))
        }
        other => other,
    }
}

/// Waits until a second of the kernel's clock has just begun.
fn begin_second() -> Result<()> {
    const SECOND_NS: u64 = 1_000_000_000;
    // ktime_get_seconds() is updated once a tick.
    const TICKS_NS: u64 = 20_000_000;
    let left = SECOND_NS - clock::monotonic_ns()? % SECOND_NS;
    thread::sleep(Duration::from_nanos(left + TICKS_NS));
    Ok(())
}

/// Number of ports.
const PORTS: u64 = 4;

/// All ports are in TIME_WAIT; two connects fail, and once reuse is allowed all of them are reused.
fn reported(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/tcp_tw_reuse", "0")?;
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let (listener, address) = server.listen(stage.ip.loopback_any_port())?;
    stage.sysctl("ipv4/ip_local_port_range", "40000 40003")?;
    // All are opened before the first closes, so that none of these finds a TIME_WAIT.
    let open = |_| Ok((client.connect(address)?, server.accept(listener)?));
    let connections = (0..PORTS).map(open).collect::<Result<Vec<_>>>()?;
    for (at_client, at_server) in &connections {
        client.close(at_client)?;
        stage.until_parked(at_client)?;
        server.await_end(at_server)?;
        server.close(at_server)?;
        stage.until_time_wait(at_client)?;
    }
    let second = stage.actor("c2")?;
    let fd = second.tcp_for(address)?;
    for _ in 0..2 {
        second.must_fail(&Command::Connect { fd, address }, libc::EADDRNOTAVAIL)?;
    }
    stage.sysctl("ipv4/tcp_tw_reuse", "1")?;
    stage.pause(Duration::from_millis(2200));
    for _ in 0..PORTS {
        second.connect(address)?;
        server.accept(listener)?;
    }
    stage.expect_births(CrowdRow {
        pid: Some(client.pid),
        comm: client.comm.clone(),
        side: Side::Client,
        births: PORTS,
    });
    stage.expect_reuse(ReuseTruth {
        comm: second.comm.clone(),
        destination: address,
        taken: PORTS,
        hindered: 2,
        refused: [("disabled".to_owned(), 2 * PORTS)].into(),
    });
    Ok(())
}
