//! What `twtrace doctor` finds where bind() has the ports that connect() lacks, and where only half of them is left.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::{Result, ensure};

use super::{
    DoctorRun, ExpectedFinding, Scenario, budgets,
    doctor::{CRITICAL, expect_births, found},
};
use crate::{
    actor::command::{Command, FirstCloser, SocketOption},
    expect::Side,
    stage::Stage,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("doctor/bind_before_connect", bind_before_connect).judged(DoctorRun {
        code: 3,
        finds: &[ExpectedFinding {
            says: "2 port pools of single destinations",
            ..found("budget_full", "critical", "cl")
        }],
        ids: &["budget_full", "port_range_narrow"],
        ..CRITICAL
    }),
    // Two causes: connect() has filled a pool by itself.
    Scenario::both("doctor/budget_full_beside_bind", beside_bind).judged(DoctorRun {
        code: 3,
        finds: &[
            ExpectedFinding {
                says: "(bind before connect) ran out: bi-",
                ..found("budget_full", "critical", "bi")
            },
            // Who has the ports.
            ExpectedFinding {
                says: "(bind before connect) ran out",
                ..found("budget_full", "critical", "cl")
            },
            ExpectedFinding {
                says: ":20000 is left",
                ..found("budget_full", "critical", "cl")
            },
        ],
        ids: &["budget_full", "budget_full", "port_range_narrow"],
        ..CRITICAL
    }),
    Scenario::both("doctor/budget_full_without_accepted", without_accepted).judged(DoctorRun {
        code: 3,
        finds: &[ExpectedFinding {
            says: "(bind before connect) ran out",
            spares: "sv",
            ..found("budget_full", "critical", "hg")
        }],
        ..CRITICAL
    }),
    // Sockets of bind() on another address have the ports.
    Scenario::single("doctor/budget_full_of_bind", of_bind).judged(DoctorRun {
        code: 3,
        finds: &[ExpectedFinding {
            says: "belong to bind(), on any address",
            ..found("budget_full", "critical", "bi")
        }],
        ids: &["budget_full", "port_range_narrow"],
        ..CRITICAL
    }),
    // connect() chose their ports.
    Scenario::single("doctor/ports_of_another_address", of_another_address).judged(DoctorRun {
        finds: &[found("port_range_narrow", "notice", "")],
        ids: &["port_range_narrow"],
        is_from_the_middle: true,
        ..CRITICAL
    }),
    Scenario::both("doctor/fast_half_full", fast_half_full).judged(DoctorRun {
        finds: &[ExpectedFinding {
            says: "none of the 400 even ports is free",
            ..found("fast_half_full", "notice", "cl")
        }],
        ids: &["fast_half_full", "client_closes_first", "port_range_narrow"],
        is_from_the_middle: true,
        ..CRITICAL
    }),
    Scenario::single("doctor/fast_half_free", fast_half_free).judged(DoctorRun {
        ids: &["client_closes_first", "port_range_narrow"],
        finds: &[found("port_range_narrow", "notice", "")],
        is_from_the_middle: true,
        ..CRITICAL
    }),
];

/// Another address of this host.
const OTHER_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), 0);

/// A client that first binds to any port of its address, until none is left: one pool for two destinations.
fn bind_before_connect(stage: &Stage) -> Result<()> {
    const PORTS: usize = 10;
    budgets::narrow(stage, PORTS)?;
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let addresses = budgets::binding_first(stage, &server, &client, PORTS / 2)?;
    budgets::still_waiting(stage, &addresses, PORTS)?;
    let address = stage.ip.loopback_any_port();
    let fd = client.tcp_for(address)?;
    client.must_fail(&Command::Bind { fd, address }, libc::EADDRINUSE)?;
    expect_births(stage, &client, Side::Client, PORTS);
    Ok(())
}

/// A server listens on a port of the range: its accepted connections have that one port, and no others.
fn without_accepted(stage: &Stage) -> Result<()> {
    const PORTS: usize = 8;
    budgets::narrow(stage, PORTS)?;
    let server = stage.actor("sv")?;
    let hog = stage.actor("hg")?;
    let victim = stage.actor("vi")?;
    let (listener, address) = server.listen(SocketAddr::new(stage.ip.loopback(), 40_000))?;
    for _ in 1..PORTS {
        hog.connect(address)?;
        server.accept(listener)?;
    }
    let any = stage.ip.loopback_any_port();
    let fd = victim.tcp_for(any)?;
    victim.must_fail(&Command::Bind { fd, address: any }, libc::EADDRINUSE)?;
    for actor in [&server, &hog, &victim] {
        expect_births(stage, actor, Side::Client, 0);
    }
    Ok(())
}

/// A program has bound all ports on another address, and connect() skips them.
fn of_bind(stage: &Stage) -> Result<()> {
    const PORTS: usize = 20;
    budgets::narrow(stage, PORTS)?;
    let server = stage.actor("sv")?;
    let binder = stage.actor("bi")?;
    let client = stage.actor("cl")?;
    let (_, address) = server.listen(SocketAddr::new(stage.ip.loopback(), 20_000))?;
    for _ in 0..PORTS {
        binder.bind(binder.tcp_for(address)?, OTHER_ADDRESS)?;
    }
    let fd = client.tcp_for(address)?;
    client.must_fail(&Command::Connect { fd, address }, libc::EADDRNOTAVAIL)?;
    for actor in [&binder, &client] {
        expect_births(stage, actor, Side::Client, 0);
    }
    Ok(())
}

/// The same connections, but the ports are chosen by connect().
fn of_another_address(stage: &Stage) -> Result<()> {
    const PORTS: usize = 20;
    budgets::narrow(stage, 2 * PORTS)?;
    let server = stage.actor("sv")?;
    let binder = stage.actor("bi")?;
    let client = stage.actor("cl")?;
    let (listener, address) = server.listen(SocketAddr::new(stage.ip.loopback(), 20_000))?;
    for _ in 0..PORTS {
        let fd = binder.tcp_for(address)?;
        binder.set(fd, SocketOption::BindAddressNoPort)?;
        binder.bind(fd, OTHER_ADDRESS)?;
        binder.connect_with(fd, address)?;
        server.accept(listener)?;
    }
    stage.begin_tracing()?;
    client.connect(address)?;
    Ok(())
}

/// Ports that connect() tries first.
const HALF: usize = 400;

/// Open connections have all ports of one parity, and new ones search these in vain.
fn fast_half_full(stage: &Stage) -> Result<()> {
    half_used(stage, HALF + 10)
}

fn fast_half_free(stage: &Stage) -> Result<()> {
    half_used(stage, HALF / 2)
}

fn half_used(stage: &Stage, open: usize) -> Result<()> {
    const MORE: usize = 400;
    // TIME_WAITs are reused, so that the range does not run out.
    let last = 40_000 + 2 * HALF - 1;
    stage.sysctl("ipv4/ip_local_port_range", &format!("40000 {last}"))?;
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let (listener, address) = server.listen(SocketAddr::new(stage.ip.loopback(), 20_000))?;
    for _ in 0..open {
        client.connect(address)?;
        server.accept(listener)?;
    }
    stage.begin_tracing()?;
    server.start_accepting(listener, MORE, FirstCloser::Client)?;
    client.call(&Command::ConnectPaced {
        target: address,
        count: MORE,
        interval_us: 8000,
    })?;
    ensure!(server.finished_many()? == MORE);
    expect_births(stage, &client, Side::Client, MORE);
    Ok(())
}

/// A client that does not bind uses nearly all ports, and one that does gets none of them.
fn beside_bind(stage: &Stage) -> Result<()> {
    const PORTS: usize = 20;
    let (client, address) = budgets::filled(stage, PORTS, PORTS - 2)?;
    let binder = stage.actor("bi")?;
    let any = stage.ip.loopback_any_port();
    for _ in 0..2 {
        binder.bind(binder.tcp_for(address)?, any)?;
    }
    let fd = binder.tcp_for(address)?;
    binder.must_fail(&Command::Bind { fd, address: any }, libc::EADDRINUSE)?;
    expect_births(stage, &client, Side::Client, PORTS - 2);
    expect_births(stage, &binder, Side::Client, 0);
    Ok(())
}
