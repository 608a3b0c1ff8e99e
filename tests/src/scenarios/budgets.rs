//! How soon ephemeral ports run out.

use std::{net::SocketAddr, rc::Rc, time::Duration};

use anyhow::{Result, bail, ensure};

use super::{ReportRun, Scenario};
use crate::{
    actor::{
        Actor,
        command::{Command, FirstCloser, SocketOption},
    },
    expect::Side,
    stage::{
        Skip, Stage, Unlucky,
        finding::{BudgetTruth, CrowdRow},
    },
    sys::{
        Errno, clock,
        proc_net::{self, State},
    },
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("budget/runs_out", runs_out).reported(ReportRun {
        options: &["--duration", "6s"],
        loses: false,
        ends_before: true,
    }),
    Scenario::both("budget/spread", spread).reported(ReportRun {
        options: &[],
        loses: false,
        ends_before: false,
    }),
    Scenario::both("budget/full", full).reported(ReportRun {
        options: &[],
        loses: false,
        ends_before: false,
    }),
    Scenario::both("budget/own_range", own_range).reported(ReportRun {
        options: &[],
        loses: false,
        ends_before: false,
    }),
    Scenario::both("budget/ports_of_bind", ports_of_bind).reported(ReportRun {
        options: &[],
        loses: false,
        ends_before: false,
    }),
    Scenario::both("budget/bind_before_connect", bind_before_connect).reported(ReportRun {
        options: &["--slow-port", "0"],
        loses: false,
        ends_before: false,
    }),
];

/// Used up in twelve seconds, of which the report covers the first half.
const PORTS: usize = 300;
const INTERVAL_US: u64 = 40_000;

/// No segment is in flight any more: longer than the first retransmission.
const SETTLED: Duration = Duration::from_millis(700);

const PORT_CAME_BACK: &str = "a TIME_WAIT met a late RST of its peer, and its port came back";

const NARROW: usize = 200;
const DESTINATIONS: u16 = 5;
const TO_EACH: usize = 120;

pub fn narrow(stage: &Stage, ports: usize) -> Result<()> {
    stage.sysctl("ipv4/tcp_tw_reuse", "0")?;
    stage.sysctl("ipv4/tcp_max_tw_buckets", "262144")?;
    let last = 40_000 + ports - 1;
    stage.sysctl("ipv4/ip_local_port_range", &format!("40000 {last}"))
}

/// A client of one backend, at a steady rate, until no port is left: the report that ended halfway has predicted the
/// time.
fn runs_out(stage: &Stage) -> Result<()> {
    narrow(stage, PORTS)?;
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let target = SocketAddr::new(stage.ip.loopback(), 20_000);
    let (listener, address) = server.listen(target)?;
    server.start_accepting(listener, PORTS, FirstCloser::Client)?;
    let outcome = client.attempt(&Command::ConnectPaced {
        target: address,
        count: PORTS + 1,
        interval_us: INTERVAL_US,
    })?;
    let ran_out_ns = clock::realtime_ns()?;
    match outcome {
        Err(Errno(libc::EADDRNOTAVAIL)) => {}
        Ok(_) => bail!(Unlucky(PORT_CAME_BACK.to_owned())),
        other => bail!("the paced client ended with {other:?}"),
    }
    ensure!(server.finished_many()? == PORTS);
    stage.expect_budget(BudgetTruth {
        destination: Some(address),
        own_range: false,
        capacity: PORTS as u64,
        time_wait: None,
        failures: 0,
        ran_out_ns: Some(ran_out_ns),
    });
    Ok(())
}

/// Many more TIME_WAITs than ports, but to several destinations: each has all the ports, and no connection fails.
fn spread(stage: &Stage) -> Result<()> {
    narrow(stage, NARROW)?;
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let mut addresses = Vec::new();
    for index in 0..DESTINATIONS {
        let target = SocketAddr::new(stage.ip.loopback(), 20_000 + index);
        let (listener, address) = server.listen(target)?;
        server.start_accepting(listener, TO_EACH, FirstCloser::Client)?;
        connect(&client, address, TO_EACH)?;
        ensure!(server.finished_many()? == TO_EACH);
        addresses.push(address);
    }
    stage.pause(SETTLED);
    for address in addresses {
        stage.expect_budget(BudgetTruth {
            destination: Some(address),
            own_range: false,
            capacity: NARROW as u64,
            time_wait: Some(time_waits_to(&[address])?),
            failures: 0,
            ran_out_ns: None,
        });
    }
    stage.expect_births(births(&client, TO_EACH * usize::from(DESTINATIONS)));
    Ok(())
}

/// A client whose TIME_WAITs hold `held` of `ports` ports.
pub fn filled(stage: &Stage, ports: usize, held: usize) -> Result<(Rc<Actor>, SocketAddr)> {
    narrow(stage, ports)?;
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let target = SocketAddr::new(stage.ip.loopback(), 20_000);
    let (listener, address) = server.listen(target)?;
    server.start_accepting(listener, held, FirstCloser::Client)?;
    connect(&client, address, held)?;
    ensure!(server.finished_many()? == held);
    still_waiting(stage, &[address], held)?;
    Ok((client, address))
}

/// No port is left, and a connect() has failed for that reason.
pub fn full(stage: &Stage) -> Result<()> {
    const PORTS: usize = 10;
    let (client, address) = filled(stage, PORTS, PORTS)?;
    for _ in 0..3 {
        let fd = client.tcp_for(address)?;
        client.must_fail(&Command::Connect { fd, address }, libc::EADDRNOTAVAIL)?;
    }
    stage.expect_budget(BudgetTruth {
        destination: Some(address),
        own_range: false,
        capacity: PORTS as u64,
        time_wait: Some(PORTS as u64),
        failures: 3,
        ran_out_ns: None,
    });
    stage.expect_births(births(&client, PORTS));
    Ok(())
}

/// Sockets that narrow the range for themselves run out of ports, and the others have all the rest.
fn own_range(stage: &Stage) -> Result<()> {
    const LOW: u16 = 40_010;
    const OWN: u16 = 4;
    let option = SocketOption::LocalPortRange(LOW, LOW + OWN - 1);
    narrow(stage, NARROW)?;
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let (listener, address) = server.listen(SocketAddr::new(stage.ip.loopback(), 20_000))?;
    server.start_accepting(listener, usize::from(OWN), FirstCloser::Client)?;
    for _ in 0..OWN {
        let fd = client.tcp_for(address)?;
        match client.attempt(&Command::Set { fd, option })? {
            Err(Errno(libc::ENOPROTOOPT)) => bail!(Skip(
                "this kernel has no IP_LOCAL_PORT_RANGE (6.3, and late 6.1)".to_owned()
            )),
            Err(error) => bail!("IP_LOCAL_PORT_RANGE: {error:?}"),
            Ok(_) => {}
        }
        let connection = client.connect_with(fd, address)?;
        client.close(&connection)?;
    }
    ensure!(server.finished_many()? == usize::from(OWN));
    still_waiting(stage, &[address], usize::from(OWN))?;
    let fd = client.tcp_for(address)?;
    client.set(fd, option)?;
    client.must_fail(&Command::Connect { fd, address }, libc::EADDRNOTAVAIL)?;
    for (own_range, capacity, failures) in [(true, u64::from(OWN), 1), (false, NARROW as u64, 0)] {
        stage.expect_budget(BudgetTruth {
            destination: Some(address),
            own_range,
            capacity,
            time_wait: Some(u64::from(OWN)),
            failures,
            ran_out_ns: None,
        });
    }
    stage.expect_births(births(&client, usize::from(OWN)));
    Ok(())
}

/// Connections to each of two destinations whose client binds to any port of its address first, and closes first.
///
/// # Errors
/// If one fails.
pub fn binding_first(
    stage: &Stage,
    server: &Actor,
    client: &Actor,
    to_each: usize,
) -> Result<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for port in [20_000, 20_001] {
        let (listener, address) = server.listen(SocketAddr::new(stage.ip.loopback(), port))?;
        addresses.push(address);
        server.start_accepting(listener, to_each, FirstCloser::Client)?;
        for _ in 0..to_each {
            let fd = client.tcp_for(address)?;
            client.bind(fd, stage.ip.loopback_any_port())?;
            let connection = client.connect_with(fd, address)?;
            client.close(&connection)?;
        }
        ensure!(server.finished_many()? == to_each);
    }
    Ok(addresses)
}

/// A client that first binds to any port of its address has one pool for both destinations.
fn bind_before_connect(stage: &Stage) -> Result<()> {
    narrow(stage, NARROW)?;
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let addresses = binding_first(stage, &server, &client, 3)?;
    stage.pause(SETTLED);
    stage.expect_budget(BudgetTruth {
        destination: None,
        own_range: false,
        capacity: NARROW as u64,
        time_wait: Some(time_waits_to(&addresses)?),
        failures: 0,
        ran_out_ns: None,
    });
    stage.expect_births(births(&client, 6));
    Ok(())
}

/// connect() skips ports that bind() gave to others: to sockets that are only bound, or connected since to another
/// destination, or in TIME_WAIT. It does not skip those that connect() chose.
fn ports_of_bind(stage: &Stage) -> Result<()> {
    const OF_EACH: usize = 7;
    narrow(stage, NARROW)?;
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let binder = stage.actor("bi")?;
    let listen = |port| server.listen(SocketAddr::new(stage.ip.loopback(), port));
    let ((listener, address), (others, other)) = (listen(20_000)?, listen(20_001)?);
    for _ in 0..OF_EACH {
        binder.bind(binder.tcp_for(other)?, stage.ip.loopback_any_port())?;
    }
    server.start_accepting(others, 3 * OF_EACH, FirstCloser::Client)?;
    let mut connections = Vec::new();
    for number in 0..3 * OF_EACH {
        let fd = binder.tcp_for(other)?;
        if number < 2 * OF_EACH {
            binder.bind(fd, stage.ip.loopback_any_port())?;
        }
        connections.push(binder.connect_with(fd, other)?);
        if number < OF_EACH {
            binder.close(&connections[number])?;
        }
    }
    server.start_accepting(listener, OF_EACH, FirstCloser::Client)?;
    connect(&client, address, OF_EACH)?;
    still_waiting(stage, &[other], OF_EACH)?;
    stage.expect_budget(BudgetTruth {
        destination: Some(address),
        own_range: false,
        capacity: (NARROW - 3 * OF_EACH) as u64,
        time_wait: Some(time_waits_to(&[address])?),
        failures: 0,
        ran_out_ns: None,
    });
    stage.expect_births(births(&binder, OF_EACH));
    stage.expect_births(births(&client, OF_EACH));
    Ok(())
}

fn connect(client: &Actor, target: SocketAddr, count: usize) -> Result<()> {
    client.call(&Command::ConnectPaced {
        target,
        count,
        interval_us: 4000,
    })?;
    Ok(())
}

/// Waits until no segment is in flight any more. All TIME_WAITs to these addresses must still exist.
pub fn still_waiting(stage: &Stage, addresses: &[SocketAddr], count: usize) -> Result<()> {
    stage.pause(SETTLED);
    if time_waits_to(addresses)? < count as u64 {
        bail!(Unlucky(PORT_CAME_BACK.to_owned()));
    }
    Ok(())
}

/// TIME_WAITs to these addresses, by the kernel's own list. One that received a late RST has ended early (the peer's
/// socket no longer existed when a segment arrived: RFC 1337), and its port is free again.
fn time_waits_to(addresses: &[SocketAddr]) -> Result<u64> {
    let sockets = proc_net::sockets()?;
    let minis = sockets.iter().filter(|socket| {
        addresses.contains(&socket.remote)
            && matches!(socket.state, State::TimeWait | State::FinWait2)
    });
    Ok(minis.count() as u64)
}

fn births(client: &Actor, count: usize) -> CrowdRow {
    CrowdRow {
        pid: Some(client.pid),
        comm: client.comm.clone(),
        side: Side::Client,
        births: count as u64,
    }
}
