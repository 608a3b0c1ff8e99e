//! RSTs that look alike and have different causes: what `twtrace doctor` finds, and what it must not find.

use std::{rc::Rc, time::Duration};

use anyhow::Result;

use super::{
    DoctorRun, ExpectedFinding, Scenario,
    doctor::{CRITICAL, MANY, NOTHING, expect_births, found},
    leak,
};
use crate::{
    actor::{
        Actor,
        command::{Command, Connection, SocketOption},
    },
    expect::Side,
    stage::Stage,
    sys::proc_net::State,
};

/// Stories that these RSTs were mistaken for.
const OTHER_STORIES: &[&str] = &[
    "request_not_read",
    "keepalive_race",
    "listener_closed",
    "linger_on_server",
    "reset_by_peer",
];

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("doctor/process_killed", process_killed).judged(DoctorRun {
        finds: &[says("process_ended", "warning", "sv", "no longer run")],
        spares: OTHER_STORIES,
        ..CRITICAL
    }),
    Scenario::single("doctor/process_exited_unused", process_exited_unused).judged(NOTHING),
    Scenario::both("doctor/closed_at_once", closed_at_once).judged(DoctorRun {
        finds: &[says(
            "closed_at_once",
            "warning",
            "sv",
            "no timeout has closed them",
        )],
        spares: OTHER_STORIES,
        ..CRITICAL
    }),
    Scenario::single("doctor/closed_at_once_unused", closed_at_once_unused).judged(NOTHING),
    Scenario::both("doctor/connection_limit", connection_limit).judged(DoctorRun {
        code: 3,
        finds: &[says(
            "connection_limit",
            "critical",
            "sv",
            "limit of connections",
        )],
        spares: OTHER_STORIES,
        ..CRITICAL
    }),
    Scenario::single("doctor/connection_limit_few", connection_limit_few).judged(NOTHING),
    Scenario::single("doctor/proxy_passes_on", proxy_passes_on).judged(DoctorRun {
        finds: &[says(
            "client_gives_up",
            "critical",
            "px",
            "it passes on that end",
        )],
        code: 3,
        ..CRITICAL
    }),
    Scenario::single("doctor/client_waits_and_resets", client_waits_and_resets).judged(DoctorRun {
        code: 3,
        finds: &[says(
            "client_gives_up",
            "critical",
            "cl",
            "again and again is a timeout",
        )],
        spares: &["linger_on_client", "reset_by_peer"],
        ..CRITICAL
    }),
    Scenario::single("doctor/answers_again", answers_again).judged(DoctorRun {
        finds: &[says("connection_refused", "warning", "cl", "answers again")],
        spares: &["reset_storm"],
        ..CRITICAL
    }),
];

const fn says(
    id: &'static str,
    severity: &'static str,
    names: &'static str,
    says: &'static str,
) -> ExpectedFinding {
    ExpectedFinding {
        says,
        ..found(id, severity, names)
    }
}

/// Enough for a finding, and too few for one.
const SOME: usize = 10;
const FEW: usize = 4;
/// A request or an answer, bytes.
const BYTES: usize = 100;
/// Between the last answers on two connections.
const APART: Duration = Duration::from_millis(40);
/// A timeout of a client.
const TIMEOUT: Duration = Duration::from_millis(200);

/// A server, its client and connections between both, each of which was used at another time.
struct Service {
    server: Rc<Actor>,
    client: Rc<Actor>,
    /// At the client and at the server.
    connections: Vec<(Connection, Connection)>,
}

impl Service {
    fn new(stage: &Stage) -> Result<Self> {
        let (server, listener, address) = leak::server(stage, "sv")?;
        let client = stage.actor("cl")?;
        let mut connections = Vec::new();
        for _ in 0..SOME {
            let at_client = client.connect(address)?;
            connections.push((at_client, server.accept(listener)?));
        }
        for (at_client, at_server) in &connections {
            client.send(at_client, BYTES)?;
            server.receive(at_server, BYTES)?;
            server.send(at_server, BYTES)?;
            client.receive(at_client, BYTES)?;
            stage.pause(APART);
        }
        Ok(Self {
            server,
            client,
            connections,
        })
    }

    fn close_all(&self) -> Result<()> {
        for (_, at_server) in &self.connections {
            self.server.close(at_server)?;
        }
        Ok(())
    }

    /// The client sends its next requests when the server has closed.
    fn use_again(&self, stage: &Stage) -> Result<()> {
        for (at_client, _) in &self.connections {
            stage.until_state(at_client.local, at_client.remote, State::CloseWait)?;
            self.client.send(at_client, BYTES)?;
            self.client.await_reset(at_client)?;
            self.client.close(at_client)?;
        }
        expect_births(stage, &self.server, Side::Server, 0);
        Ok(())
    }

    /// The client closes them too.
    fn leave(&self, stage: &Stage) -> Result<()> {
        for (at_client, _) in &self.connections {
            stage.until_state(at_client.local, at_client.remote, State::CloseWait)?;
            self.client.close(at_client)?;
        }
        Ok(())
    }
}

fn process_killed(stage: &Stage) -> Result<()> {
    let service = Service::new(stage)?;
    service.server.kill()?;
    service.use_again(stage)
}

fn process_exited_unused(stage: &Stage) -> Result<()> {
    let service = Service::new(stage)?;
    service.server.exit()?;
    service.leave(stage)
}

fn closed_at_once(stage: &Stage) -> Result<()> {
    let service = Service::new(stage)?;
    service.close_all()?;
    service.use_again(stage)
}

fn closed_at_once_unused(stage: &Stage) -> Result<()> {
    let service = Service::new(stage)?;
    service.close_all()?;
    service.leave(stage)
}

/// A server that closes what it has just accepted, and has not read what came.
fn refuse(stage: &Stage, count: usize) -> Result<()> {
    let (server, listener, address) = leak::server(stage, "sv")?;
    let client = stage.actor("cl")?;
    for _ in 0..count {
        let at_client = client.connect(address)?;
        client.send(&at_client, BYTES)?;
        let at_server = server.accept(listener)?;
        stage.until_unread(&at_server, BYTES as u64)?;
        server.close(&at_server)?;
        client.await_reset(&at_client)?;
        client.close(&at_client)?;
    }
    expect_births(stage, &server, Side::Server, 0);
    Ok(())
}

fn connection_limit(stage: &Stage) -> Result<()> {
    refuse(stage, SOME)
}

fn connection_limit_few(stage: &Stage) -> Result<()> {
    refuse(stage, FEW)
}

/// Clients that reset their connections while a proxy waits for its upstream.
fn proxy_passes_on(stage: &Stage) -> Result<()> {
    let (upstream, its_listener, its_address) = leak::server(stage, "up")?;
    let (proxy, listener, address) = leak::server(stage, "px")?;
    let client = stage.actor("cl")?;
    for _ in 0..SOME {
        let at_client = client.connect(address)?;
        let at_proxy = proxy.accept(listener)?;
        let to_upstream = proxy.connect(its_address)?;
        let at_upstream = upstream.accept(its_listener)?;
        client.send(&at_client, BYTES)?;
        proxy.receive(&at_proxy, BYTES)?;
        proxy.send(&to_upstream, BYTES)?;
        upstream.receive(&at_upstream, BYTES)?;
        client.set(at_client.fd, SocketOption::LingerZero)?;
        client.close(&at_client)?;
        proxy.await_reset(&at_proxy)?;
        proxy.close(&to_upstream)?;
        proxy.close(&at_proxy)?;
        stage.until_parked(&to_upstream)?;
        upstream.send(&at_upstream, BYTES)?;
        upstream.await_reset(&at_upstream)?;
        upstream.close(&at_upstream)?;
    }
    expect_births(stage, &proxy, Side::Client, 0);
    Ok(())
}

/// As haproxy does after `timeout server`.
fn client_waits_and_resets(stage: &Stage) -> Result<()> {
    let (server, listener, address) = leak::server(stage, "sv")?;
    let client = stage.actor("cl")?;
    for _ in 0..SOME {
        let at_client = client.connect(address)?;
        let at_server = server.accept(listener)?;
        client.send(&at_client, BYTES)?;
        server.receive(&at_server, BYTES)?;
        stage.pause(TIMEOUT);
        client.set(at_client.fd, SocketOption::LingerZero)?;
        client.close(&at_client)?;
        server.await_reset(&at_server)?;
        server.close(&at_server)?;
    }
    expect_births(stage, &client, Side::Client, 0);
    Ok(())
}

/// A service that was down, and listens again.
fn answers_again(stage: &Stage) -> Result<()> {
    let (server, client) = (stage.actor("sv")?, stage.actor("cl")?);
    let (listener, address) = server.listen(stage.ip.loopback_any_port())?;
    server.close_fd(listener)?;
    for _ in 0..MANY {
        let fd = client.tcp_for(address)?;
        client.must_fail(&Command::Connect { fd, address }, libc::ECONNREFUSED)?;
        client.call(&Command::Close { fd })?;
    }
    let (listener, address) = server.listen(address)?;
    let at_client = client.connect(address)?;
    let at_server = server.accept(listener)?;
    client.close(&at_client)?;
    server.await_end(&at_server)?;
    server.close(&at_server)?;
    expect_births(stage, &client, Side::Client, 0);
    Ok(())
}
