//! What fails without a RST: what `twtrace doctor` finds of it, and what it must not take for it.

use std::{rc::Rc, time::Duration};

use anyhow::{Result, ensure};

use super::{
    DoctorRun, Scenario,
    doctor::{CRITICAL, NOTHING, expect_births, says},
    leak,
};
use crate::{
    actor::{
        Actor,
        command::{Command, Connection, SocketOption},
    },
    expect::Side,
    stage::Stage,
    tun_peer::TunPeer,
};

/// Findings with other causes.
const OTHER_CAUSES: &[&str] = &[
    "client_closes_first",
    "connection_refused",
    "keepalive_race",
    "linger_on_server",
    "listener_closed",
    "request_not_read",
    "reset_by_peer",
];

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("doctor/client_times_out", client_times_out).judged(DoctorRun {
        code: 3,
        finds: &[says(
            "client_gives_up",
            "critical",
            "cl",
            "again and again is a timeout",
        )],
        spares: OTHER_CAUSES,
        ..CRITICAL
    }),
    Scenario::single("doctor/client_wants_no_answer", client_wants_no_answer).judged(NOTHING),
    Scenario::single("doctor/client_had_its_answer", client_had_its_answer).judged(NOTHING),
    Scenario::both("doctor/request_not_answered", request_not_answered).judged(DoctorRun {
        finds: &[says(
            "request_not_answered",
            "warning",
            "sv",
            "without an answer",
        )],
        spares: OTHER_CAUSES,
        ..CRITICAL
    }),
    Scenario::single("doctor/last_word_wants_no_answer", last_word).judged(NOTHING),
    // A program that is not known to do so may greet its clients and close.
    Scenario::both("doctor/turned_away", turned_away).judged(DoctorRun {
        finds: &[says(
            "connection_limit",
            "notice",
            "sv",
            "has no room for a session",
        )],
        spares: OTHER_CAUSES,
        ..CRITICAL
    }),
    Scenario::both("doctor/stale_connection", stale_connection).judged(DoctorRun {
        code: 3,
        finds: &[says(
            "stale_connection",
            "critical",
            "sv",
            "had closed, which had sent something just before",
        )],
        spares: OTHER_CAUSES,
        ..CRITICAL
    }),
    Scenario::single("doctor/workers_end", workers_end).judged(DoctorRun {
        finds: &[says(
            "process_ended",
            "warning",
            // It names four processes by their command.
            "",
            "by processes that no longer run",
        )],
        spares: OTHER_CAUSES,
        ..CRITICAL
    }),
    Scenario::both("doctor/connect_unanswered", connect_unanswered).judged(DoctorRun {
        code: 3,
        finds: &[says(
            "connect_unanswered",
            "critical",
            "cl",
            "after the SYN had been sent again",
        )],
        spares: OTHER_CAUSES,
        ..CRITICAL
    }),
    Scenario::single("doctor/connect_given_up_at_once", connect_given_up_at_once).judged(NOTHING),
];

const SOME: usize = 10;
/// A request or an answer, bytes.
const BYTES: usize = 100;
/// A timeout of a client.
const TIMEOUT: Duration = Duration::from_millis(200);
/// The kernel sends a SYN again after a second.
const SENT_AGAIN: Duration = Duration::from_millis(1_500);
/// So late it is no rest of a request.
const LATER: Duration = Duration::from_millis(400);

/// A server, and clients that have connected to it one after the other.
struct Service {
    server: Rc<Actor>,
    client: Rc<Actor>,
    listener: i32,
    address: std::net::SocketAddr,
}

impl Service {
    fn new(stage: &Stage) -> Result<Self> {
        let (server, listener, address) = leak::server(stage, "sv")?;
        let client = stage.actor("cl")?;
        Ok(Self {
            server,
            client,
            listener,
            address,
        })
    }

    /// At the client and at the server.
    fn connect(&self) -> Result<(Connection, Connection)> {
        let at_client = self.client.connect(self.address)?;
        Ok((at_client, self.server.accept(self.listener)?))
    }

    /// The client asks, and the server has read it.
    fn ask(&self, (at_client, at_server): &(Connection, Connection)) -> Result<()> {
        self.client.send(at_client, BYTES)?;
        self.server.receive(at_server, BYTES)
    }

    fn answer(&self, (at_client, at_server): &(Connection, Connection)) -> Result<()> {
        self.server.send(at_server, BYTES)?;
        self.client.receive(at_client, BYTES)
    }

    fn client_closes(&self, (at_client, at_server): &(Connection, Connection)) -> Result<()> {
        self.client.close(at_client)?;
        self.server.await_end(at_server)?;
        self.server.close(at_server)
    }

    fn server_closes(&self, (at_client, at_server): &(Connection, Connection)) -> Result<()> {
        self.server.close(at_server)?;
        self.client.await_end(at_client)?;
        self.client.close(at_client)
    }
}

fn client_times_out(stage: &Stage) -> Result<()> {
    let service = Service::new(stage)?;
    for _ in 0..SOME {
        let both = service.connect()?;
        service.ask(&both)?;
        stage.pause(TIMEOUT);
        service.client_closes(&both)?;
    }
    expect_births(stage, &service.client, Side::Client, SOME);
    Ok(())
}

/// As one that sends a figure to a collector.
fn client_wants_no_answer(stage: &Stage) -> Result<()> {
    let service = Service::new(stage)?;
    for number in 0..2 * SOME {
        let both = service.connect()?;
        service.ask(&both)?;
        // Some wait for a moment before they close.
        if number % 2 == 0 {
            stage.pause(TIMEOUT);
        }
        service.client_closes(&both)?;
    }
    expect_births(stage, &service.client, Side::Client, 2 * SOME);
    Ok(())
}

/// A pool that closes what has been idle.
fn client_had_its_answer(stage: &Stage) -> Result<()> {
    let service = Service::new(stage)?;
    for _ in 0..SOME {
        let both = service.connect()?;
        service.ask(&both)?;
        service.answer(&both)?;
        stage.pause(TIMEOUT);
        service.client_closes(&both)?;
    }
    expect_births(stage, &service.client, Side::Client, SOME);
    Ok(())
}

fn request_not_answered(stage: &Stage) -> Result<()> {
    let service = Service::new(stage)?;
    for _ in 0..SOME {
        let both = service.connect()?;
        service.ask(&both)?;
        service.server_closes(&both)?;
    }
    expect_births(stage, &service.server, Side::Server, SOME);
    Ok(())
}

/// A client says that it leaves, as memcached's `quit`, and the server closes.
fn last_word(stage: &Stage) -> Result<()> {
    let service = Service::new(stage)?;
    for _ in 0..SOME {
        let both = service.connect()?;
        service.ask(&both)?;
        service.answer(&both)?;
        // Longer than a tick: it comes after the answer.
        stage.pause(Duration::from_millis(30));
        service.ask(&both)?;
        service.server_closes(&both)?;
    }
    expect_births(stage, &service.server, Side::Server, SOME);
    Ok(())
}

fn turned_away(stage: &Stage) -> Result<()> {
    let service = Service::new(stage)?;
    // These have all the room there is.
    for _ in 0..SOME / 2 {
        service.connect()?;
    }
    for _ in 0..2 * SOME {
        let both = service.connect()?;
        service.answer(&both)?;
        service.server_closes(&both)?;
    }
    expect_births(stage, &service.server, Side::Server, 2 * SOME);
    Ok(())
}

/// A server ends sessions and says why; their client sends its next requests all the same.
fn stale_connection(stage: &Stage) -> Result<()> {
    let service = Service::new(stage)?;
    let mut all = Vec::new();
    for _ in 0..SOME {
        let both = service.connect()?;
        service.ask(&both)?;
        service.answer(&both)?;
        all.push(both);
    }
    for (_, at_server) in &all {
        service.server.send(at_server, BYTES)?;
        service.server.close(at_server)?;
    }
    stage.pause(LATER);
    for (at_client, _) in &all {
        service.client.send(at_client, BYTES)?;
        service.client.await_reset(at_client)?;
        service.client.close(at_client)?;
    }
    expect_births(stage, &service.server, Side::Server, SOME);
    Ok(())
}

/// Processes of a service that end with requests unread, one after the other.
fn workers_end(stage: &Stage) -> Result<()> {
    const WORKERS: usize = 4;
    const EACH: usize = 4;
    let service = Service::new(stage)?;
    for _ in 0..WORKERS {
        let worker = stage.fork(&service.server, "w")?;
        let mut open = Vec::new();
        for _ in 0..EACH {
            let at_client = service.client.connect(service.address)?;
            let at_worker = worker.accept(service.listener)?;
            service.client.send(&at_client, BYTES)?;
            stage.until_unread(&at_worker, BYTES as u64)?;
            open.push(at_client);
        }
        worker.exit()?;
        for at_client in &open {
            service.client.await_reset(at_client)?;
            service.client.close(at_client)?;
        }
        stage.pause(LATER);
    }
    expect_births(stage, &service.server, Side::Server, 0);
    Ok(())
}

/// A client that gives up connecting after a time.
fn connecting(stage: &Stage, wait: Duration) -> Result<()> {
    let peer = TunPeer::new(stage.ip)?;
    let client = stage.actor("cl")?;
    let address = peer.address;
    let mut open = Vec::new();
    for _ in 0..SOME {
        let fd = client.tcp_for(address)?;
        client.set(fd, SocketOption::SendTimeout(1))?;
        client.must_fail(&Command::Connect { fd, address }, libc::EINPROGRESS)?;
        open.push(fd);
    }
    stage.pause(wait);
    for fd in open {
        client.close_fd(fd)?;
    }
    ensure!(peer.address == address);
    expect_births(stage, &client, Side::Client, 0);
    Ok(())
}

fn connect_unanswered(stage: &Stage) -> Result<()> {
    connecting(stage, SENT_AGAIN)
}

/// As a client that tries several addresses, and needs one.
fn connect_given_up_at_once(stage: &Stage) -> Result<()> {
    connecting(stage, Duration::from_millis(100))
}
