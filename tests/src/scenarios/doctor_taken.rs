//! What `twtrace doctor` finds if a program can't have the one port it wants: who has it, and what helps.

use std::{net::SocketAddr, rc::Rc, time::Duration};

use anyhow::{Result, ensure};

use super::{
    DoctorRun, ExpectedFinding, Scenario,
    doctor::{CRITICAL, NOTHING, expect_births, found},
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
    Scenario::both("doctor/port_taken_by_connection", by_connection).judged(DoctorRun {
        finds: &[
            taken("nw", "4 bind() failed with EADDRINUSE"),
            taken("cl", "so connect() of any program may choose it"),
            taken("cl", r#""what":"outgoing""#),
        ],
        ..TAKEN
    }),
    Scenario::both("doctor/port_taken_by_accepted", by_accepted).judged(DoctorRun {
        finds: &[taken("sv", r#""what":"unknown_side""#)],
        ..TAKEN
    }),
    Scenario::both("doctor/port_taken_after_restart", after_restart).judged(DoctorRun {
        finds: &[
            taken("nw", "4 bind() failed with EADDRINUSE"),
            taken("sv", " TIME_WAIT sockets on "),
        ],
        ..TAKEN
    }),
    Scenario::both(
        "doctor/port_taken_by_client_time_wait",
        by_clients_time_wait,
    )
    .judged(DoctorRun {
        finds: &[taken("nw", ""), taken("cl", " as client;")],
        ..TAKEN
    }),
    Scenario::both("doctor/port_taken_by_itself", by_itself).judged(DoctorRun {
        finds: &[taken("nw", ""), taken("cl", "to itself")],
        // The range has one port, which is taken.
        spares: &["bind_before_connect"],
        ..TAKEN
    }),
    Scenario::both("doctor/port_taken_by_listener", by_listener).judged(DoctorRun {
        finds: &[taken("nw", ""), taken("sv", " listens on ")],
        ..TAKEN
    }),
    Scenario::single("doctor/port_taken_by_bound", by_bound).judged(DoctorRun {
        finds: &[
            taken("nw", ""),
            taken("sv", "neither listens nor is connected"),
        ],
        ..TAKEN
    }),
    Scenario::both("doctor/port_taken_when_listening", when_listening).judged(DoctorRun {
        finds: &[
            taken("nw", "1 listen() failed with EADDRINUSE"),
            taken("sv", " listens on "),
        ],
        ..TAKEN
    }),
    Scenario::both("doctor/port_taken_to_connect_from", to_connect_from).judged(DoctorRun {
        finds: &[
            taken("cl", "2 connect() failed with EADDRNOTAVAIL"),
            taken("cl", "TIME_WAIT socket"),
        ],
        ..TAKEN
    }),
    // Calls for a fixed port are no allocations.
    Scenario::single("doctor/port_taken_is_no_allocation", by_listener).judged(DoctorRun {
        code: 3,
        prints: Some(", 0 of 2 port allocations failed,"),
        ..CRITICAL
    }),
    Scenario::both("doctor/port_reused_after_restart", reused_after_restart).judged(NOTHING),
    Scenario::both("doctor/port_not_taken", not_taken).judged(NOTHING),
];

/// A critical finding, and none about pools of ports.
pub const TAKEN: DoctorRun = DoctorRun {
    code: 3,
    spares: &["budget_full", "budget_nearly_full", "bind_before_connect"],
    ..CRITICAL
};

const fn taken(names: &'static str, says: &'static str) -> ExpectedFinding {
    ExpectedFinding {
        says,
        ..found("port_taken", "critical", names)
    }
}

/// The port that servers want.
pub const PORT: u16 = 20_000;
/// Longer than it takes to list the sockets of a port after the first failure.
pub const LISTED: Duration = Duration::from_millis(600);

pub fn on(stage: &Stage, port: u16) -> SocketAddr {
    SocketAddr::new(stage.ip.loopback(), port)
}

/// An actor that calls bind() for this port in vain.
fn in_vain(stage: &Stage, port: u16, options: &[SocketOption]) -> Result<()> {
    let wants = stage.actor("nw")?;
    let address = on(stage, port);
    for _ in 0..4 {
        let fd = wants.tcp_for(address)?;
        for option in options {
            wants.set(fd, *option)?;
        }
        wants.must_fail(&Command::Bind { fd, address }, libc::EADDRINUSE)?;
        wants.close_fd(fd)?;
    }
    names(stage, &wants);
    stage.pause(LISTED);
    Ok(())
}

/// Makes its name known to the comparison.
pub fn names(stage: &Stage, actor: &Actor) {
    expect_births(stage, actor, Side::Unknown, 0);
}

/// The port is the source of another program's open connection.
fn by_connection(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/ip_local_port_range", "40000 40003")?;
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let (listener, address) = server.listen(on(stage, PORT))?;
    let connection = client.connect(address)?;
    server.accept(listener)?;
    names(stage, &client);
    in_vain(stage, connection.local.port(), &[])
}

/// The port is that of a connection that another program has accepted; its listener is closed. It is in the range, so a client
/// might have it too.
fn by_accepted(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/ip_local_port_range", "40000 40003")?;
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let (listener, address) = server.listen(on(stage, 40_000))?;
    client.connect(address)?;
    server.accept(listener)?;
    server.close_fd(listener)?;
    names(stage, &server);
    in_vain(stage, 40_000, &[])
}

/// A server whose connections it closes first, and which ends.
fn old_server(stage: &Stage, options: &[SocketOption]) -> Result<Rc<Actor>> {
    const COUNT: usize = 5;
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let address = on(stage, PORT);
    let listener = server.tcp_for(address)?;
    for option in options {
        server.set(listener, *option)?;
    }
    server.bind(listener, address)?;
    server.listen_on(listener)?;
    server.start_accepting(listener, COUNT, FirstCloser::Server)?;
    client.start_connecting(address, COUNT, FirstCloser::Server)?;
    ensure!(client.finished_many()? == COUNT);
    ensure!(server.finished_many()? == COUNT);
    expect_births(stage, &server, Side::Server, COUNT);
    server.exit()?;
    Ok(server)
}

/// TIME_WAITs of the old instance have the port, without SO_REUSEADDR.
fn after_restart(stage: &Stage) -> Result<()> {
    old_server(stage, &[])?;
    in_vain(stage, PORT, &[SocketOption::ReuseAddress])
}

/// The same with SO_REUSEADDR in both instances.
fn reused_after_restart(stage: &Stage) -> Result<()> {
    old_server(stage, &[SocketOption::ReuseAddress])?;
    let new = stage.actor("nw")?;
    let address = on(stage, PORT);
    let fd = new.tcp_for(address)?;
    new.set(fd, SocketOption::ReuseAddress)?;
    new.bind(fd, address)?;
    new.listen_on(fd)?;
    stage.pause(LISTED);
    Ok(())
}

/// SO_REUSEADDR is set, but a client's TIME_WAIT has the port.
fn by_clients_time_wait(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/ip_local_port_range", "40000 40003")?;
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let (listener, address) = server.listen(on(stage, PORT))?;
    let connection = client.connect(address)?;
    let accepted = server.accept(listener)?;
    client.close(&connection)?;
    server.await_end(&accepted)?;
    server.close(&accepted)?;
    expect_births(stage, &client, Side::Client, 1);
    in_vain(
        stage,
        connection.local.port(),
        &[SocketOption::ReuseAddress],
    )
}

/// A client of a server that is down has got the server's port as its own, and is connected to itself.
fn by_itself(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/ip_local_port_range", "40000 40000")?;
    let client = stage.actor("cl")?;
    let connection = client.connect(on(stage, 40_000))?;
    ensure!(connection.local == on(stage, 40_000));
    names(stage, &client);
    in_vain(stage, 40_000, &[SocketOption::ReuseAddress])
}

fn by_listener(stage: &Stage) -> Result<()> {
    let server = stage.actor("sv")?;
    server.listen(on(stage, PORT))?;
    names(stage, &server);
    in_vain(stage, PORT, &[SocketOption::ReuseAddress])
}

/// Another program has bound the port, and does nothing with it.
fn by_bound(stage: &Stage) -> Result<()> {
    let server = stage.actor("sv")?;
    let fd = server.tcp_for(on(stage, PORT))?;
    server.bind(fd, on(stage, PORT))?;
    names(stage, &server);
    in_vain(stage, PORT, &[])
}

/// Both may bind, and only one may listen.
fn when_listening(stage: &Stage) -> Result<()> {
    let address = on(stage, PORT);
    let bound = |role: &str| -> Result<_> {
        let actor = stage.actor(role)?;
        let fd = actor.tcp_for(address)?;
        actor.set(fd, SocketOption::ReuseAddress)?;
        actor.bind(fd, address)?;
        names(stage, &actor);
        Ok((actor, fd))
    };
    let (server, first) = bound("sv")?;
    let (new, second) = bound("nw")?;
    server.listen_on(first)?;
    new.must_fail(&Command::Listen { fd: second }, libc::EADDRINUSE)?;
    stage.pause(LISTED);
    Ok(())
}

/// A client that always connects from the same port meets the TIME_WAIT of its last connection.
fn to_connect_from(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/tcp_timestamps", "0")?;
    let own = on(stage, PORT + 1);
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let (listener, address) = server.listen(on(stage, PORT))?;
    let bound = || -> Result<_> {
        let fd = client.tcp_for(own)?;
        client.set(fd, SocketOption::ReuseAddress)?;
        client.bind(fd, own)?;
        Ok(fd)
    };
    let connection = client.connect_with(bound()?, address)?;
    let accepted = server.accept(listener)?;
    client.close(&connection)?;
    server.await_end(&accepted)?;
    server.close(&accepted)?;
    for _ in 0..2 {
        let fd = bound()?;
        client.must_fail(&Command::Connect { fd, address }, libc::EADDRNOTAVAIL)?;
        client.close_fd(fd)?;
    }
    expect_births(stage, &client, Side::Client, 1);
    stage.pause(LISTED);
    Ok(())
}

/// bind() and listen() of a free port, and connect() from one.
fn not_taken(stage: &Stage) -> Result<()> {
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let (_, address) = server.listen(on(stage, PORT))?;
    for port in [PORT + 1, PORT + 2] {
        let fd = client.tcp_for(address)?;
        client.bind(fd, on(stage, port))?;
        client.connect_with(fd, address)?;
    }
    stage.pause(LISTED);
    Ok(())
}
