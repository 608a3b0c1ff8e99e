//! RSTs that look alike and have different causes: what `twtrace doctor` finds, and what it must not find.

use std::{
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};

use super::{
    DoctorRun, Scenario,
    doctor::{CRITICAL, MANY, NOTHING, expect_births, says},
    leak,
};
use crate::{
    actor::{
        Actor,
        command::{Command, Connection, Fd, SocketOption},
    },
    expect::Side,
    stage::Stage,
    sys::proc_net::State,
};

/// Findings with other causes, which these RSTs are not.
const OTHER_CAUSES: &[&str] = &[
    "request_not_read",
    "keepalive_race",
    "listener_closed",
    "linger_on_server",
    "reset_by_peer",
];

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("doctor/process_killed", process_killed).judged(DoctorRun {
        finds: &[says("process_ended", "warning", "sv", "no longer run")],
        spares: OTHER_CAUSES,
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
        spares: OTHER_CAUSES,
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
        spares: OTHER_CAUSES,
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
    Scenario::single("doctor/refuses_some", refuses_some).judged(DoctorRun {
        code: 3,
        finds: &[says(
            "connection_refused",
            "critical",
            "cl",
            "only some are refused",
        )],
        spares: &["reset_storm"],
        ..CRITICAL
    }),
];

/// Enough for a finding, and too few for one.
const SOME: usize = 10;
const FEW: usize = 4;
/// A request or an answer, bytes.
const BYTES: usize = 100;
/// Rounds in which a machine that is loaded may stall.
const ROUNDS: usize = 3;
/// A moment ends after a quarter of a second, and times without data have to differ by more than a stall.
const STALL: Duration = Duration::from_millis(100);
/// Between two clients of a proxy that leave: few leave just before a connection is closed by chance.
const SELDOM: Duration = Duration::from_millis(250);
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
        let service = Self {
            server,
            client,
            connections,
        };
        service.use_all(stage)?;
        Ok(service)
    }

    /// Uses one after the other. On a loaded machine all could be without data for about the same time in the end: they are
    /// then used again.
    fn use_all(&self, stage: &Stage) -> Result<()> {
        for _ in 0..ROUNDS {
            let mut used = Instant::now();
            for (at_client, at_server) in &self.connections {
                self.client.send(at_client, BYTES)?;
                self.server.receive(at_server, BYTES)?;
                self.server.send(at_server, BYTES)?;
                used = Instant::now();
                self.client.receive(at_client, BYTES)?;
                stage.pause(APART);
            }
            if used.elapsed() < STALL {
                break;
            }
        }
        Ok(())
    }

    /// The server has all commands before it carries out the first: the machine can't stall between them.
    fn close_all(&self) -> Result<()> {
        for (_, at_server) in &self.connections {
            self.server.post(&Command::Close { fd: at_server.fd })?;
        }
        for _ in &self.connections {
            let outcome = self.server.outcome()?;
            ensure!(outcome.is_ok(), "{outcome:?}");
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
    // A connection that lasted for too long, as the machine stalled, is no refusal: it is played again, up to twice for each.
    let (mut refused, mut played) = (0, 0);
    while refused < count && played < ROUNDS * count {
        played += 1;
        let begun = Instant::now();
        let at_client = client.connect(address)?;
        client.send(&at_client, BYTES)?;
        let at_server = server.accept(listener)?;
        stage.until_unread(&at_server, BYTES as u64)?;
        server.close(&at_server)?;
        refused += usize::from(begun.elapsed() < STALL || count <= FEW);
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
        // The proxy has its next commands when the RST comes: the machine can't stall between them.
        let next = [
            Command::AwaitReset { fd: at_proxy.fd },
            Command::Close { fd: to_upstream.fd },
            Command::Close { fd: at_proxy.fd },
        ];
        for command in &next {
            proxy.post(command)?;
        }
        client.close(&at_client)?;
        for command in &next {
            let outcome = proxy.outcome()?;
            ensure!(outcome.is_ok(), "{command:?}: {outcome:?}");
        }
        stage.until_parked(&to_upstream)?;
        upstream.send(&at_upstream, BYTES)?;
        upstream.await_reset(&at_upstream)?;
        upstream.close(&at_upstream)?;
        stage.pause(SELDOM);
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
    are_refused(&client, address, MANY)?;
    let (listener, address) = server.listen(address)?;
    // Longer than the refused connects were apart.
    stage.pause(2 * SELDOM);
    is_taken(&server, listener, &client, address)?;
    expect_births(stage, &client, Side::Client, 0);
    Ok(())
}

/// A service that starts and ends again and again, and runs in the end.
fn refuses_some(stage: &Stage) -> Result<()> {
    let (server, client) = (stage.actor("sv")?, stage.actor("cl")?);
    let (listener, address) = server.listen(stage.ip.loopback_any_port())?;
    server.close_fd(listener)?;
    for _ in 0..SOME {
        are_refused(&client, address, SOME)?;
        let (listener, _) = server.listen(address)?;
        is_taken(&server, listener, &client, address)?;
        server.close_fd(listener)?;
    }
    let (listener, _) = server.listen(address)?;
    stage.pause(2 * SELDOM);
    is_taken(&server, listener, &client, address)?;
    expect_births(stage, &client, Side::Client, 0);
    Ok(())
}

fn are_refused(client: &Actor, address: SocketAddr, count: usize) -> Result<()> {
    for _ in 0..count {
        let fd = client.tcp_for(address)?;
        client.must_fail(&Command::Connect { fd, address }, libc::ECONNREFUSED)?;
        client.call(&Command::Close { fd })?;
    }
    Ok(())
}

/// A connection that its client closes first.
fn is_taken(server: &Actor, listener: Fd, client: &Actor, address: SocketAddr) -> Result<()> {
    let at_client = client.connect(address)?;
    let at_server = server.accept(listener)?;
    client.close(&at_client)?;
    server.await_end(&at_server)?;
    server.close(&at_server)
}
