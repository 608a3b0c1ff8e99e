//! What `twtrace doctor` finds about local ports and the reuse of TIME_WAITs, and what it must not find.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, ensure};

use super::{
    DoctorRun, ExpectedFinding, Needs, Scenario, budgets,
    doctor::{CRITICAL, NOTHING, client_first, expect_births, found, healthy},
    peers::{close_in_one, dialogue},
};
use crate::{
    actor::{
        Actor,
        command::{Command, FirstCloser, SocketOption},
    },
    expect::Side,
    stage::Stage,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("doctor/budget_full", budgets::full).judged(DoctorRun {
        code: 3,
        finds: &[
            found("budget_full", "critical", "cl"),
            found("port_range_narrow", "notice", ""),
            refused("budget_full", "critical", "could not take: disabled"),
        ],
        spares: &["reuse_without_timestamps", "reuse_peer_without_timestamps"],
        ..CRITICAL
    }),
    Scenario::both("doctor/budget_full_of_live", full_of_live).judged(DoctorRun {
        code: 3,
        finds: &[
            found("budget_full", "critical", "vi"),
            ExpectedFinding {
                says: "live sockets at the end, by process: hg-",
                ..found("budget_full", "critical", "hg")
            },
        ],
        spares: &["port_taken"],
        ..CRITICAL
    }),
    Scenario::both("doctor/budget_nearly_full", nearly_full).judged(DoctorRun {
        finds: &[found("budget_nearly_full", "warning", "cl")],
        spares: &["budget_full", "bind_before_connect"],
        ..CRITICAL
    }),
    Scenario::single("doctor/budget_with_room", with_room).judged(DoctorRun {
        finds: &[found("client_closes_first", "warning", "cl")],
        spares: &["budget_full", "budget_nearly_full"],
        ..CRITICAL
    }),
    // Created before it began.
    Scenario::both("doctor/budget_nearly_full_from_before", nearly_full_before).judged(DoctorRun {
        finds: &[ExpectedFinding {
            says: " of its TIME_WAIT sockets were created before the window",
            ..found("budget_nearly_full", "warning", "")
        }],
        is_from_the_middle: true,
        ..CRITICAL
    }),
    Scenario::single("doctor/budget_with_room_from_before", roomy_before).judged(DoctorRun {
        ids: &["port_range_narrow"],
        finds: &[found("port_range_narrow", "notice", "")],
        is_from_the_middle: true,
        ..CRITICAL
    }),
    Scenario::both("doctor/budget_full_before_port_taken", and_taken).judged(DoctorRun {
        code: 3,
        finds: &[
            found("budget_full", "critical", "vi"),
            found("port_taken", "critical", "nw"),
        ],
        ids: &["budget_full", "port_taken", "port_range_narrow"],
        ..CRITICAL
    }),
    Scenario::both("doctor/binder", binder).judged(DoctorRun {
        finds: &[ExpectedFinding {
            needs: Needs::Searches,
            ..found("bind_before_connect", "notice", "cl")
        }],
        ..CRITICAL
    }),
    // connect() chooses the port.
    Scenario::both("doctor/binder_without_port", binder_without_port).judged(NOTHING),
    Scenario::single("doctor/port_range_reserved", reserved).judged(DoctorRun {
        finds: &[found("port_range_reserved", "notice", "")],
        spares: &["port_range_narrow"],
        ..CRITICAL
    }),
    Scenario::single("doctor/port_range_few_reserved", few_reserved).judged(NOTHING),
    Scenario::single("doctor/reuse_without_timestamps", without_timestamps).judged(DoctorRun {
        fail_on: "warning",
        code: 3,
        finds: &[found("reuse_without_timestamps", "warning", "")],
        ..NOTHING
    }),
    Scenario::single("doctor/reuse_with_timestamps", with_timestamps).judged(NOTHING),
    Scenario::both("doctor/reuse_refused_without_timestamps", refused_here).judged(DoctorRun {
        code: 3,
        finds: &[
            found("reuse_without_timestamps", "warning", ""),
            refused("reuse_without_timestamps", "warning", "timestamps_off 6"),
            refused("budget_full", "critical", "timestamps_off 6"),
        ],
        spares: &["reuse_peer_without_timestamps"],
        ..CRITICAL
    }),
    Scenario::both("doctor/reuse_peer_without_timestamps", refused_by_peer).judged(DoctorRun {
        code: 3,
        finds: &[
            found("budget_full", "critical", "cl"),
            refused(
                "reuse_peer_without_timestamps",
                "notice",
                "peer_without_timestamps 6",
            ),
            refused("budget_full", "critical", "peer_without_timestamps 6"),
        ],
        spares: &["reuse_without_timestamps"],
        ..CRITICAL
    }),
];

/// A finding that depends on TIME_WAITs that could not be reused.
const fn refused(id: &'static str, severity: &'static str, says: &'static str) -> ExpectedFinding {
    ExpectedFinding {
        says,
        needs: Needs::RefusedReuse,
        ..found(id, severity, "cl")
    }
}

/// The open connections of one program hold all ports, and another one gets none.
fn full_of_live(stage: &Stage) -> Result<()> {
    const PORTS: usize = 8;
    budgets::narrow(stage, PORTS)?;
    let server = stage.actor("sv")?;
    let hog = stage.actor("hg")?;
    let victim = stage.actor("vi")?;
    let (listener, address) = server.listen(SocketAddr::new(stage.ip.loopback(), 20_000))?;
    for _ in 0..PORTS {
        hog.connect(address)?;
        server.accept(listener)?;
    }
    let fd = victim.tcp_for(address)?;
    victim.must_fail(&Command::Connect { fd, address }, libc::EADDRNOTAVAIL)?;
    for actor in [&hog, &victim] {
        expect_births(stage, actor, Side::Client, 0);
    }
    Ok(())
}

fn nearly_full_before(stage: &Stage) -> Result<()> {
    budgets::filled(stage, 50, 48)?;
    stage.begin_tracing()
}

fn roomy_before(stage: &Stage) -> Result<()> {
    budgets::filled(stage, 50, 30)?;
    stage.begin_tracing()
}

/// The same, and a server wants one of these ports.
fn and_taken(stage: &Stage) -> Result<()> {
    full_of_live(stage)?;
    let server = stage.actor("nw")?;
    let address = SocketAddr::new(stage.ip.loopback(), 40_000);
    let fd = server.tcp_for(address)?;
    server.must_fail(&Command::Bind { fd, address }, libc::EADDRINUSE)?;
    expect_births(stage, &server, Side::Unknown, 0);
    // Until its sockets have been listed.
    stage.pause(Duration::from_millis(600));
    Ok(())
}

/// A few ports are left.
fn nearly_full(stage: &Stage) -> Result<()> {
    let (client, _) = budgets::filled(stage, 50, 45)?;
    expect_births(stage, &client, Side::Client, 45);
    Ok(())
}

/// Many TIME_WAITs, none of which may be reused, but which are a small part of the ports.
fn with_room(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/tcp_tw_reuse", "0")?;
    client_first(stage)
}

/// A client that first binds to any port of its address, and has plenty of them.
fn binding(stage: &Stage, options: &[SocketOption]) -> Result<()> {
    const TO_EACH: usize = 30;
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    // Two destinations, so that neither has a high rate of connections.
    for port in [20_000, 20_001] {
        let (listener, address) = server.listen(SocketAddr::new(stage.ip.loopback(), port))?;
        server.start_accepting(listener, TO_EACH, FirstCloser::Client)?;
        for _ in 0..TO_EACH {
            let fd = client.tcp_for(address)?;
            for option in options {
                client.set(fd, *option)?;
            }
            client.bind(fd, stage.ip.loopback_any_port())?;
            let connection = client.connect_with(fd, address)?;
            client.close(&connection)?;
        }
        ensure!(server.finished_many()? == TO_EACH);
    }
    expect_births(stage, &client, Side::Client, 2 * TO_EACH);
    Ok(())
}

fn binder(stage: &Stage) -> Result<()> {
    binding(stage, &[])
}

fn binder_without_port(stage: &Stage) -> Result<()> {
    binding(stage, &[SocketOption::BindAddressNoPort])
}

/// More than a tenth of the default range.
fn reserved(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/ip_local_reserved_ports", "40000-44999")?;
    healthy(stage)
}

/// Many, but few of them in the range.
fn few_reserved(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/ip_local_reserved_ports", "1024-30000,40000-40999")?;
    healthy(stage)
}

fn without_timestamps(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/tcp_timestamps", "0")?;
    with_timestamps(stage)
}

fn with_timestamps(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/tcp_tw_reuse", "1")?;
    healthy(stage)
}

/// How many connects find the TIME_WAIT of the only port.
const TRIES: usize = 6;

/// TCP timestamps are off on this host.
fn refused_here(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/tcp_timestamps", "0")?;
    let (client, address) = budgets::filled(stage, 1, 1)?;
    stage.sysctl("ipv4/tcp_tw_reuse", "1")?;
    refused_to(stage, &client, address, 1)
}

/// Timestamps are on here; the peer's SYN-ACK has none.
fn refused_by_peer(stage: &Stage) -> Result<()> {
    budgets::narrow(stage, 1)?;
    stage.sysctl("ipv4/tcp_tw_reuse", "1")?;
    let mut it = dialogue(stage, &[])?;
    close_in_one(stage, &mut it, 0)?;
    refused_to(stage, &it.client, it.peer.address, 1)
}

fn refused_to(stage: &Stage, client: &Actor, address: SocketAddr, births: usize) -> Result<()> {
    for _ in 0..TRIES {
        let fd = client.tcp_for(address)?;
        client.must_fail(&Command::Connect { fd, address }, libc::EADDRNOTAVAIL)?;
        client.close_fd(fd)?;
    }
    expect_births(stage, client, Side::Client, births);
    Ok(())
}
