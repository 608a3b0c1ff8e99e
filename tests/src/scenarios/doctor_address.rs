//! What `twtrace doctor` finds if a call fails since the host lacks an address, and no port is missing.

use std::net::{Ipv6Addr, SocketAddr};

use anyhow::{Result, bail};

use super::{
    DoctorRun, ExpectedFinding, Needs, Scenario,
    doctor::{NOTHING, expect_births, found},
    doctor_taken::{LISTED, PORT, TAKEN, names, on},
};
use crate::{
    actor::{Actor, command::Command},
    expect::Side,
    stage::Stage,
    sys::Errno,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("doctor/no_address", no_address).judged(DoctorRun {
        finds: &[missing("critical", "12 bind() of ")],
        spares: NOT_PORTS,
        ..TAKEN
    }),
    Scenario::single("doctor/no_ipv6", no_ipv6).judged(DoctorRun {
        finds: &[missing("warning", "12 connect() of [::1]:20000 ")],
        spares: NOT_PORTS,
        code: 0,
        ..TAKEN
    }),
    Scenario::single("doctor/no_ipv6_but_ipv4", no_ipv6_but_ipv4).judged(DoctorRun {
        finds: &[
            missing("notice", "by IPv4 it reaches port 20000"),
            missing("notice", "1 bind() of [::1]:0 "),
        ],
        fail_on: "warning",
        ..NOTHING
    }),
];

/// Findings about ports, where none is missing.
const NOT_PORTS: &[&str] = &[
    "budget_full",
    "budget_nearly_full",
    "bind_before_connect",
    "port_taken",
];

const fn missing(severity: &'static str, says: &'static str) -> ExpectedFinding {
    ExpectedFinding {
        says,
        needs: Needs::NoAddress,
        ..found("no_address", severity, "nw")
    }
}

/// bind() to an address that the host does not have, and connect() without a route: neither looks for a port.
fn no_address(stage: &Stage) -> Result<()> {
    let actor = stage.actor("nw")?;
    for _ in 0..12 {
        for port in [0, PORT] {
            let address = super::port_calls::foreign(stage.ip, port);
            let fd = actor.tcp_for(address)?;
            actor.must_fail(&Command::Bind { fd, address }, libc::EADDRNOTAVAIL)?;
            actor.close_fd(fd)?;
        }
        let address = super::port_calls::foreign(stage.ip, 80);
        let fd = actor.tcp_for(address)?;
        match actor.failure(&Command::Connect { fd, address })? {
            Errno(libc::ENETUNREACH | libc::EADDRNOTAVAIL) => {}
            errno => bail!("connect() failed with \"{errno}\""),
        }
        actor.close_fd(fd)?;
    }
    names(stage, &actor);
    stage.pause(LISTED);
    Ok(())
}

/// A client that tries `::1` where IPv6 is switched off.
fn without_ipv6(stage: &Stage, actor: &Actor) -> Result<()> {
    stage.sysctl("ipv6/conf/all/disable_ipv6", "1")?;
    let address = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), PORT);
    for _ in 0..12 {
        let fd = actor.tcp_for(address)?;
        actor.must_fail(&Command::Connect { fd, address }, libc::EADDRNOTAVAIL)?;
        actor.close_fd(fd)?;
    }
    Ok(())
}

fn no_ipv6(stage: &Stage) -> Result<()> {
    let actor = stage.actor("nw")?;
    without_ipv6(stage, &actor)?;
    names(stage, &actor);
    Ok(())
}

/// It goes on with 127.0.0.1, and had tested the host as runtimes do.
fn no_ipv6_but_ipv4(stage: &Stage) -> Result<()> {
    let server = stage.actor("sv")?;
    let client = stage.actor("nw")?;
    let (listener, address) = server.listen(on(stage, PORT))?;
    let test = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 0);
    let fd = client.tcp_for(test)?;
    without_ipv6(stage, &client)?;
    client.must_fail(&Command::Bind { fd, address: test }, libc::EADDRNOTAVAIL)?;
    for _ in 0..3 {
        let connection = client.connect(address)?;
        let accepted = server.accept(listener)?;
        client.close(&connection)?;
        server.await_end(&accepted)?;
        server.close(&accepted)?;
    }
    expect_births(stage, &client, Side::Client, 3);
    Ok(())
}
