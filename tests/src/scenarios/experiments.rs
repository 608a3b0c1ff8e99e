//! Experiments that people do by hand, each with its expected result (docs/experiments).

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use anyhow::{Result, bail, ensure};

use super::{ReportRun, Scenario, close::parked, ports::connecting};
use crate::{
    actor::{
        Actor,
        command::{Command, Connection, Fd, FirstCloser, SocketOption},
    },
    expect::{Expected, Reason, Side, TcpState},
    stage::{Ip, Skip, Stage, finding::CrowdRow},
    sys::{proc_net::KernelCounters, slabinfo},
};

const REPORTED: ReportRun = ReportRun {
    options: &[],
    loses: false,
    ends_before: false,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("experiment/prober_closes", prober_closes),
    Scenario::both("experiment/prober_resets", prober_resets),
    Scenario::both("experiment/no_reuse_without_timestamps", no_reuse),
    Scenario::both("experiment/quadruplets", quadruplets).reported(REPORTED),
    Scenario::both("experiment/slab_memory", slab_memory).reported(REPORTED),
];

/// Number of the prober's targets.
const TARGETS: u16 = 12;
/// Mini-sockets whose memory is measured: they fill many slabs.
const IN_SLABS: usize = 500;

type Listener = (Fd, SocketAddr);

/// Listeners of a server.
fn targets(stage: &Stage, server: &Actor) -> Result<Vec<Listener>> {
    (0..TARGETS)
        .map(|index| server.listen(SocketAddr::new(stage.ip.loopback(), 20_000 + index)))
        .collect()
}

/// Plain close(): a TIME_WAIT to each target, all of the prober's.
fn prober_closes(stage: &Stage) -> Result<()> {
    let server = stage.actor("sv")?;
    let prober = stage.actor("pr")?;
    for (listener, address) in targets(stage, &server)? {
        let at_prober = prober.connect(address)?;
        let at_server = server.accept(listener)?;
        close_first(stage, (&prober, &at_prober), (&server, &at_server))?;
        stage.expect(parked(&at_prober).own_client(&prober).bytes(0, 0));
    }
    Ok(())
}

/// SO_LINGER 0: no TIME_WAIT, and a RST for each target.
fn prober_resets(stage: &Stage) -> Result<()> {
    let server = stage.actor("sv")?;
    let prober = stage.actor("pr")?;
    let before = KernelCounters::read()?;
    for (listener, address) in targets(stage, &server)? {
        let at_prober = prober.connect(address)?;
        let at_server = server.accept(listener)?;
        prober.set(at_prober.fd, SocketOption::LingerZero)?;
        prober.close(&at_prober)?;
        server.await_error(&at_server, libc::ECONNRESET)?;
        stage.expect(
            Expected::reset_sent(Reason::LingerZero, "TCP_STATE")
                .state(TcpState::Established)
                .own_client(&prober)
                .ends(&at_prober)
                .bytes(0, 0),
        );
        stage.expect(
            Expected::reset_received(Reason::Peer)
                .state(TcpState::Established)
                .acceptors(&server)
                .side(Side::Server)
                .ends(&at_server),
        );
    }
    let counted = KernelCounters::read()?.since(before);
    ensure!(
        counted.alive == 0 && counted.resets_sent == u64::from(TARGETS),
        "not what linger 0 does: {counted:?}"
    );
    Ok(())
}

/// tcp_tw_reuse is on, but without timestamps the next connect() never reuses a TIME_WAIT.
fn no_reuse(stage: &Stage) -> Result<()> {
    stage.about_ends();
    stage.sysctl("ipv4/tcp_tw_reuse", "1")?;
    stage.sysctl("ipv4/tcp_timestamps", "0")?;
    let pair = stage.pair_on_port(40_000)?;
    close_first(
        stage,
        (&pair.client, &pair.at_client),
        (&pair.server, &pair.at_server),
    )?;
    stage.expect(
        parked(&pair.at_client)
            .own_client(&pair.client)
            .bytes(100, 2000),
    );
    // By now one with timestamps would be reused (time_wait_end/reused_by_connect).
    stage.pause(Duration::from_millis(2200));
    let before = KernelCounters::read()?;
    let other = stage.actor("c2")?;
    let address = pair.address;
    let fd = other.tcp_for(address)?;
    other.must_fail(&Command::Connect { fd, address }, libc::EADDRNOTAVAIL)?;
    stage.expect(connecting(&other, address, 0, "EADDRNOTAVAIL"));
    let counted = KernelCounters::read()?.since(before);
    ensure!(
        counted.recycled == 0 && counted.alive == 1,
        "the kernel did reuse it: {counted:?}"
    );
    Ok(())
}

/// TIME_WAITs by local address and remote address and port, as `ss | awk | sort | uniq -c` counts them.
fn quadruplets(stage: &Stage) -> Result<()> {
    // Each connection gets a port of its own.
    stage.sysctl("ipv4/tcp_tw_reuse", "0")?;
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let here = stage.ip.loopback();
    // IPv6 loopback has only one address.
    let (there, other_source) = match stage.ip {
        Ip::V4 => (IpAddr::from([127, 0, 0, 2]), IpAddr::from([127, 0, 0, 5])),
        Ip::V6 => (here, here),
    };
    let mut births = 0;
    for (address, source, count) in [
        (SocketAddr::new(here, 20_000), here, 5),
        (SocketAddr::new(here, 20_001), here, 2),
        (SocketAddr::new(there, 20_002), here, 4),
        (SocketAddr::new(here, 20_003), other_source, 3),
        (SocketAddr::new(here, 20_004), here, 1),
        (SocketAddr::new(here, 20_004), other_source, 6),
    ] {
        let (listener, address) = listener_at(&server, address)?;
        for _ in 0..count {
            let fd = client.tcp_for(address)?;
            client.set(fd, SocketOption::BindAddressNoPort)?;
            client.bind(fd, SocketAddr::new(source, 0))?;
            let at_client = client.connect_with(fd, address)?;
            let at_server = server.accept(listener)?;
            close_first(stage, (&client, &at_client), (&server, &at_server))?;
            births += 1;
        }
        server.close_fd(listener)?;
    }
    // If the server closes first, the TIME_WAITs are its own, with its port.
    let (listener, address) = server.listen(SocketAddr::new(here, 20_005))?;
    for _ in 0..2 {
        let at_client = client.connect(address)?;
        let at_server = server.accept(listener)?;
        close_first(stage, (&server, &at_server), (&client, &at_client))?;
    }
    stage.expect_births(row(&client, Side::Client, births));
    stage.expect_births(row(&server, Side::Server, 2));
    stage.expect_table(&[address])
}

/// A listener that an earlier, closed listener on the port does not block.
fn listener_at(server: &Actor, address: SocketAddr) -> Result<Listener> {
    let fd = server.tcp_for(address)?;
    server.set(fd, SocketOption::ReuseAddress)?;
    server.bind(fd, address)?;
    Ok((fd, server.listen_on(fd)?))
}

/// What slabtop shows of mini-sockets.
fn slab_memory(stage: &Stage) -> Result<()> {
    let cache = match stage.ip {
        Ip::V4 => "tw_sock_TCP",
        Ip::V6 => "tw_sock_TCPv6",
    };
    match slabinfo::read(cache) {
        // A kernel without CONFIG_SLUB_DEBUG. Otherwise a user who may load eBPF programs may read it.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!(Skip(format!("/proc/slabinfo: {error}")))
        }
        Err(error) => return Err(error.into()),
        Ok(None) => bail!(Skip(format!("/proc/slabinfo has no line {cache}"))),
        Ok(Some(_)) => {}
    }
    stage.sysctl("ipv4/tcp_max_tw_buckets", "262144")?;
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let (listener, address) = server.listen(SocketAddr::new(stage.ip.loopback(), 20_000))?;
    server.start_accepting(listener, IN_SLABS, FirstCloser::Client)?;
    client.start_connecting(address, IN_SLABS, FirstCloser::Client)?;
    ensure!(client.finished_many()? == IN_SLABS);
    ensure!(server.finished_many()? == IN_SLABS);
    stage.expect_births(row(&client, Side::Client, IN_SLABS as u64));
    // Now and then the kernel answers a late ACK with a RST, which ends a TIME_WAIT.
    stage.expect_slab(cache, KernelCounters::read()?.alive, &client);
    Ok(())
}

/// Closes one end, then the other, and waits for the TIME_WAIT of the first.
fn close_first(
    stage: &Stage,
    (first, of_first): (&Actor, &Connection),
    (second, of_second): (&Actor, &Connection),
) -> Result<()> {
    first.close(of_first)?;
    stage.until_parked(of_first)?;
    second.await_end(of_second)?;
    second.close(of_second)?;
    stage.until_time_wait(of_first)
}

fn row(actor: &Actor, side: Side, births: u64) -> CrowdRow {
    CrowdRow {
        pid: Some(actor.pid),
        comm: actor.comm.clone(),
        side,
        births,
    }
}
