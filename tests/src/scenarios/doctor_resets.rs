//! What `twtrace doctor` finds about RSTs, accept queues and CLOSE_WAIT, and what it must not find.

use std::time::Duration;

use anyhow::Result;

use super::{
    DoctorRun, Scenario,
    doctor::{CRITICAL, MANY, NOTHING, expect_births, found, says},
    leak,
};
use crate::{
    actor::{
        Actor,
        command::{Command, Connection},
    },
    expect::Side,
    stage::{Stage, finding::ExpectedCloseWait},
    sys::proc_net::State,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("doctor/request_not_read", request_not_read).judged(DoctorRun {
        code: 3,
        finds: &[says(
            "request_not_read",
            "critical",
            "sv",
            "10 of 20 connections",
        )],
        spares: &["reset_storm", "reset_by_peer", "keepalive_race"],
        ..CRITICAL
    }),
    Scenario::single("doctor/request_not_read_few", request_not_read_few).judged(NOTHING),
    Scenario::single("doctor/answer_not_read", answer_not_read).judged(DoctorRun {
        finds: &[found("answer_not_read", "notice", "cl")],
        ids: &["answer_not_read"],
        ..CRITICAL
    }),
    Scenario::single("doctor/answer_not_read_few", answer_not_read_few).judged(NOTHING),
    Scenario::both("doctor/keepalive_race", keepalive_race).judged(DoctorRun {
        code: 3,
        finds: &[says(
            "keepalive_race",
            "critical",
            "sv",
            "its keep-alive timeout",
        )],
        spares: &["request_not_read", "reset_by_peer", "reset_by_timeout"],
        ..CRITICAL
    }),
    Scenario::single("doctor/keepalive_without_race", keepalive_without_race).judged(NOTHING),
    Scenario::single("doctor/client_gives_up", client_gives_up).judged(DoctorRun {
        code: 3,
        finds: &[found("client_gives_up", "critical", "cl")],
        spares: &["request_not_read", "reset_by_peer", "reset_by_timeout"],
        ..CRITICAL
    }),
    Scenario::single("doctor/listener_closed", listener_closed).judged(DoctorRun {
        code: 3,
        finds: &[found("listener_closed", "critical", "sv")],
        spares: &["reset_by_peer"],
        ..CRITICAL
    }),
    Scenario::single("doctor/connection_refused", refused_often).judged(DoctorRun {
        code: 3,
        finds: &[says(
            "connection_refused",
            "critical",
            "cl",
            "nobody listens",
        )],
        spares: &["reset_storm"],
        ..CRITICAL
    }),
    Scenario::single("doctor/connection_refused_few", refused_few).judged(NOTHING),
    Scenario::single("doctor/answer_not_read_storm", answer_not_read_storm).judged(DoctorRun {
        finds: &[says(
            "answer_not_read",
            "warning",
            "cl",
            "were closed by the client with data unread",
        )],
        spares: &["request_not_read", "reset_storm"],
        ..CRITICAL
    }),
    Scenario::single("doctor/close_wait_slow", close_wait_slow).judged(NOTHING),
    Scenario::single("doctor/close_wait_half_closed", close_wait_half_closed).judged(NOTHING),
];

/// Enough for a finding, and too few for one.
const SOME: usize = 10;
const FEW: usize = 4;
/// A timeout of the end that closes.
const TIMEOUT: Duration = Duration::from_millis(200);
/// A request or an answer, bytes.
const BYTES: usize = 100;
/// A request with a body, bytes.
const UPLOAD: usize = 8_000;

/// Connections of a client to a server, one after the other.
fn each(
    stage: &Stage,
    count: usize,
    mut play: impl FnMut(usize, &Ends<'_>) -> Result<()>,
) -> Result<()> {
    let (server, client) = (stage.actor("sv")?, stage.actor("cl")?);
    let (listener, address) = server.listen(stage.ip.loopback_any_port())?;
    for number in 0..count {
        let at_client = client.connect(address)?;
        let at_server = server.accept(listener)?;
        play(
            number,
            &Ends {
                stage,
                server: &server,
                client: &client,
                at_server,
                at_client,
            },
        )?;
    }
    expect_births(stage, &server, Side::Server, 0);
    expect_births(stage, &client, Side::Client, 0);
    Ok(())
}

struct Ends<'a> {
    stage: &'a Stage,
    server: &'a Actor,
    client: &'a Actor,
    at_server: Connection,
    at_client: Connection,
}

impl Ends<'_> {
    /// The server answers in order, and closes first.
    fn answered(&self) -> Result<()> {
        self.client.send(&self.at_client, BYTES)?;
        self.server.receive(&self.at_server, BYTES)?;
        self.server.send(&self.at_server, BYTES)?;
        self.client.receive(&self.at_client, BYTES)?;
        self.server.close(&self.at_server)?;
        self.client.await_end(&self.at_client)?;
        self.client.close(&self.at_client)
    }

    /// The server closes over the request.
    fn not_read(&self, bytes: usize) -> Result<()> {
        self.client.send(&self.at_client, bytes)?;
        self.stage.until_unread(&self.at_server, bytes as u64)?;
        self.server.close(&self.at_server)?;
        self.client.await_reset(&self.at_client)?;
        self.client.close(&self.at_client)
    }

    /// The server answers, such as 401, and closes over the request.
    fn answered_not_read(&self) -> Result<()> {
        self.client.send(&self.at_client, BYTES)?;
        self.stage.until_unread(&self.at_server, BYTES as u64)?;
        self.server.send(&self.at_server, BYTES)?;
        self.client.receive(&self.at_client, BYTES)?;
        self.server.close(&self.at_server)?;
        self.client.await_reset(&self.at_client)?;
        self.client.close(&self.at_client)
    }

    /// The client closes over the answer.
    fn answer_not_read(&self) -> Result<()> {
        self.server.send(&self.at_server, BYTES)?;
        self.stage.until_unread(&self.at_client, BYTES as u64)?;
        self.client.close(&self.at_client)?;
        self.server.await_reset(&self.at_server)?;
        self.server.close(&self.at_server)
    }

    /// The server closes after a time without requests.
    fn server_times_out(&self) -> Result<()> {
        self.client.send(&self.at_client, BYTES)?;
        self.server.receive(&self.at_server, BYTES)?;
        self.server.send(&self.at_server, BYTES)?;
        self.client.receive(&self.at_client, BYTES)?;
        self.stage.pause(TIMEOUT);
        self.server.close(&self.at_server)?;
        let Connection { local, remote, .. } = self.at_client;
        self.stage.until_state(local, remote, State::CloseWait)
    }
}

fn request_not_read(stage: &Stage) -> Result<()> {
    each(stage, 2 * SOME, |number, ends| match number % 4 {
        0 => ends.not_read(UPLOAD),
        2 => ends.answered_not_read(),
        _ => ends.answered(),
    })
}

fn request_not_read_few(stage: &Stage) -> Result<()> {
    each(stage, SOME, |number, ends| match number {
        0..FEW => ends.not_read(BYTES),
        _ => ends.answered(),
    })
}

/// As browsers do that go away.
fn answer_not_read(stage: &Stage) -> Result<()> {
    each(stage, 2 * SOME, |_, ends| ends.answer_not_read())
}

fn answer_not_read_few(stage: &Stage) -> Result<()> {
    each(stage, FEW, |_, ends| ends.answer_not_read())
}

fn keepalive_race(stage: &Stage) -> Result<()> {
    each(stage, SOME, |_, ends| {
        ends.server_times_out()?;
        ends.client.send(&ends.at_client, BYTES)?;
        ends.client.await_reset(&ends.at_client)?;
        ends.client.close(&ends.at_client)
    })
}

/// The client sees the server's FIN, and closes too.
fn keepalive_without_race(stage: &Stage) -> Result<()> {
    each(stage, SOME, |_, ends| {
        ends.server_times_out()?;
        ends.client.close(&ends.at_client)
    })
}

fn client_gives_up(stage: &Stage) -> Result<()> {
    each(stage, SOME, |_, ends| {
        ends.client.send(&ends.at_client, BYTES)?;
        ends.server.receive(&ends.at_server, BYTES)?;
        stage.pause(TIMEOUT);
        ends.client.close(&ends.at_client)?;
        stage.until_parked(&ends.at_client)?;
        ends.server.send(&ends.at_server, BYTES)?;
        ends.server.await_reset(&ends.at_server)?;
        ends.server.close(&ends.at_server)
    })
}

/// A server that stops, and has not accepted what waits.
fn listener_closed(stage: &Stage) -> Result<()> {
    let (server, listener, address) = leak::server(stage, "sv")?;
    let client = stage.actor("cl")?;
    let mut waiting = Vec::new();
    for _ in 0..SOME {
        waiting.push(client.connect(address)?);
    }
    server.close_fd(listener)?;
    for connection in &waiting {
        client.await_reset(connection)?;
        client.close(connection)?;
    }
    expect_births(stage, &server, Side::Server, 0);
    Ok(())
}

/// Connects to a port without a listener.
fn refused(stage: &Stage, count: usize) -> Result<()> {
    let client = stage.actor("cl")?;
    let address = std::net::TcpListener::bind(stage.ip.loopback_any_port())?.local_addr()?;
    for _ in 0..count {
        let fd = client.tcp_for(address)?;
        client.must_fail(&Command::Connect { fd, address }, libc::ECONNREFUSED)?;
        client.call(&Command::Close { fd })?;
    }
    expect_births(stage, &client, Side::Client, 0);
    Ok(())
}

/// A client that retries all the time.
fn refused_often(stage: &Stage) -> Result<()> {
    refused(stage, MANY)
}

/// As while a service restarts.
fn refused_few(stage: &Stage) -> Result<()> {
    refused(stage, FEW)
}

/// Many of these.
fn answer_not_read_storm(stage: &Stage) -> Result<()> {
    each(stage, MANY, |_, ends| ends.answer_not_read())
}

/// A slow server whose clients have given up: it will close each within seconds.
fn close_wait_slow(stage: &Stage) -> Result<()> {
    closed_by_clients(stage, |client, connection| client.close(connection))
}

/// Clients that have closed their half, and wait for the answer of a slow server.
fn close_wait_half_closed(stage: &Stage) -> Result<()> {
    closed_by_clients(stage, |client, connection| {
        client.shutdown_write(connection)
    })?;
    stage.pause(leak::STAYED);
    Ok(())
}

fn closed_by_clients(
    stage: &Stage,
    close: impl Fn(&Actor, &Connection) -> Result<()>,
) -> Result<()> {
    const COUNT: u64 = 25;
    let (server, listener, address) = leak::server(stage, "ls")?;
    let client = stage.actor("cl")?;
    for _ in 0..COUNT {
        let at_client = client.connect(address)?;
        let at_server = server.accept(listener)?;
        close(&client, &at_client)?;
        stage.until_state(at_server.local, at_server.remote, State::CloseWait)?;
    }
    stage.expect_close_wait(ExpectedCloseWait {
        pid: Some(server.pid),
        comm: Some(server.comm.clone()),
        side: Side::Server,
        destination: format!(":{}", address.port()),
        count: COUNT,
        shared: 0,
        at_least_ns: 0,
    });
    Ok(())
}
