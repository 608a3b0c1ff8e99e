//! How TIME_WAITs end, each with its age and its process.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{
    Scenario,
    close::{LEFT_FOR_FIN_WAIT2, clients_bytes, parked},
    reset::{lasting, received_by_server},
};
use crate::{
    actor::command::{Connection, SocketOption},
    expect::{Check, Expected, Reason, Side, TcpState},
    stage::{Pair, Stage},
    sys::proc_net::{self, State},
};

pub const SCENARIOS: &[Scenario] = &[
    // The longest first: the others are played during its wait.
    Scenario::single(EXPIRED, expired),
    Scenario::both("time_wait_end/expired_in_fin_wait2", expired_in_fin_wait2),
    Scenario::both("time_wait_end/reused_by_connect", reused_by_connect),
    Scenario::both(
        "time_wait_end/reused_from_bound_port",
        reused_from_bound_port,
    ),
    Scenario::both("time_wait_end/reopened_by_syn", reopened_by_syn),
    Scenario::both("time_wait_end/killed_by_reset", killed_by_reset),
    Scenario::both("time_wait_end/killed_by_data", killed_by_data),
    Scenario::both("time_wait_end/started_anew", started_anew),
];

/// Lasts one minute.
pub const EXPIRED: &str = "time_wait_end/expired";

/// TCP_TIMEWAIT_LEN, and the largest delay of the timer wheel (HZ 1000), with the delay of an emulated machine.
const TIME_WAIT: Duration = Duration::from_secs(60);
const LATE: Duration = Duration::from_secs(8);

/// A TIME_WAIT began after `closing`, and was seen at `seen`.
struct Began {
    closing: Instant,
    seen: Instant,
    /// When the peer's FIN had certainly arrived.
    followed: Duration,
}

impl Began {
    fn age(&self, last_seen: Instant) -> Check {
        age_since(self.closing, self.seen, last_seen)
    }
}

/// The age of one that began after `closing`, was seen first at `seen`, still existed at `last_seen`, and has ended
/// now.
fn age_since(closing: Instant, seen: Instant, last_seen: Instant) -> Check {
    lasting(last_seen.saturating_duration_since(seen), closing.elapsed())
}

fn end(cause: &str, connection: &Connection, pair: &Pair) -> Expected {
    Expected::time_wait_end(cause)
        .own_client(&pair.client)
        .ends(connection)
}

/// The client closes first, the server follows: a TIME_WAIT that began in FIN_WAIT2.
fn close_both(stage: &Stage, pair: &Pair) -> Result<Began> {
    let closing = Instant::now();
    pair.client.close(&pair.at_client)?;
    stage.until_parked(&pair.at_client)?;
    let seen = Instant::now();
    pair.server_follows(stage)?;
    stage.expect(clients_bytes(
        parked(&pair.at_client).own_client(&pair.client),
    ));
    Ok(Began {
        closing,
        seen,
        followed: closing.elapsed(),
    })
}

fn is_there(connection: &Connection) -> Result<bool> {
    Ok(proc_net::sockets()?.iter().any(|socket| {
        socket.local == connection.local
            && socket.remote == connection.remote
            && matches!(socket.state, State::TimeWait | State::FinWait2)
    }))
}

/// Waits until a mini-socket has ended.
pub fn until_gone(stage: &Stage, connection: &Connection) -> Result<()> {
    stage.until("the mini-socket is gone", || Ok(!is_there(connection)?))
}

fn expired(stage: &Stage) -> Result<()> {
    stage.about_ends();
    let pair = stage.pair()?;
    let began = close_both(stage, &pair)?;
    stage.pause(TIME_WAIT - Duration::from_secs(1));
    until_gone(stage, &pair.at_client)?;
    stage.expect(
        end("expired", &pair.at_client, &pair)
            .checked("age_ns", lasting(TIME_WAIT, began.closing.elapsed() + LATE))
            .checked("promoted_ns", lasting(Duration::ZERO, began.followed)),
    );
    Ok(())
}

/// tcp_fin_timeout limits the wait for the peer's FIN; TIME_WAIT was never reached.
fn expired_in_fin_wait2(stage: &Stage) -> Result<()> {
    stage.about_ends();
    stage.sysctl("ipv4/tcp_fin_timeout", "2")?;
    let pair = stage.pair()?;
    let closing = Instant::now();
    pair.client.close(&pair.at_client)?;
    stage.until_parked(&pair.at_client)?;
    stage.expect(clients_bytes(
        parked(&pair.at_client).own_client(&pair.client),
    ));
    let seen = Instant::now();
    until_gone(stage, &pair.at_client)?;
    let age = age_since(closing, seen, seen + Duration::from_millis(500));
    stage.expect(
        end("expired", &pair.at_client, &pair)
            .checked("age_ns", age)
            .with("promoted_ns", serde_json::Value::Null),
    );
    Ok(())
}

/// The range has one port, so the second connect() needs the first one's tuple.
fn reused_by_connect(stage: &Stage) -> Result<()> {
    stage.about_ends();
    stage.sysctl("ipv4/tcp_tw_reuse", "1")?;
    let pair = stage.pair_on_port(40_000)?;
    let began = close_both(stage, &pair)?;
    // Timestamps count whole seconds up to 6.12.
    stage.pause(Duration::from_millis(2200));
    let last_seen = Instant::now();
    let other = stage.actor("c2")?;
    let again = other.connect(pair.address)?;
    stage.expect(
        end("reused_by_connect", &pair.at_client, &pair)
            .reused_by(&other)
            .checked("age_ns", began.age(last_seen)),
    );
    anyhow::ensure!(again.local == pair.at_client.local);
    Ok(())
}

/// connect() from a bound port requires timestamps only, not tcp_tw_reuse or an age of one second.
fn reused_from_bound_port(stage: &Stage) -> Result<()> {
    stage.about_ends();
    stage.sysctl("ipv4/tcp_tw_reuse", "0")?;
    let pair = stage.pair_from_bound_port(30_000)?;
    let own = pair.at_client.local;
    let began = close_both(stage, &pair)?;
    let other = stage.actor("c2")?;
    let fd = other.tcp_for(own)?;
    other.set(fd, SocketOption::ReuseAddress)?;
    other.bind(fd, own)?;
    let last_seen = Instant::now();
    other.connect_with(fd, pair.address)?;
    stage.expect(
        end("reused_by_connect", &pair.at_client, &pair)
            .reused_by(&other)
            .checked("age_ns", began.age(last_seen)),
    );
    Ok(())
}

/// The server closed first; the client connects again from the same port.
fn reopened_by_syn(stage: &Stage) -> Result<()> {
    stage.about_ends();
    let pair = stage.pair()?;
    let closing = Instant::now();
    pair.server.close(&pair.at_server)?;
    stage.until_parked(&pair.at_server)?;
    let seen = Instant::now();
    pair.client.await_end(&pair.at_client)?;
    pair.client.close(&pair.at_client)?;
    stage.until_time_wait(&pair.at_server)?;
    // The timestamp of the SYN must be later than that of the FIN.
    stage.pause(Duration::from_millis(1200));
    let own = pair.at_client.local;
    let fd = pair.client.tcp_for(own)?;
    pair.client.set(fd, SocketOption::ReuseAddress)?;
    pair.client.bind(fd, own)?;
    let last_seen = Instant::now();
    pair.client.connect_with(fd, pair.address)?;
    pair.server.accept(pair.listener)?;
    stage.expect(
        Expected::time_wait(TcpState::FinWait2)
            .from(LEFT_FOR_FIN_WAIT2)
            .own_server(&pair.server)
            .ends(&pair.at_server)
            .bytes(2000, 100),
    );
    stage.expect(
        Expected::time_wait_end("reopened_by_syn")
            .own_server(&pair.server)
            .ends(&pair.at_server)
            .checked("age_ns", age_since(closing, seen, last_seen)),
    );
    Ok(())
}

/// RST assassination (RFC 1337): the server aborts while the client's mini-socket waits for its FIN.
fn killed_by_reset(stage: &Stage) -> Result<()> {
    stage.about_ends();
    let pair = stage.pair()?;
    let closing = Instant::now();
    pair.client.close(&pair.at_client)?;
    stage.until_parked(&pair.at_client)?;
    let seen = Instant::now();
    pair.server
        .set(pair.at_server.fd, SocketOption::LingerZero)?;
    let last_seen = Instant::now();
    pair.server.close(&pair.at_server)?;
    until_gone(stage, &pair.at_client)?;
    stage.expect(clients_bytes(
        parked(&pair.at_client).own_client(&pair.client),
    ));
    stage.expect(
        Expected::reset_sent(Reason::LingerZero, "TCP_STATE")
            .state(TcpState::CloseWait)
            .process(&pair.server)
            .acceptor(&pair.server)
            .side(Side::Server)
            .ends(&pair.at_server),
    );
    stage.expect(
        end("killed", &pair.at_client, &pair)
            .checked("age_ns", age_since(closing, seen, last_seen)),
    );
    Ok(())
}

/// Data for one that waits in FIN_WAIT2 is answered with a RST, and the TIME_WAIT ends.
fn killed_by_data(stage: &Stage) -> Result<()> {
    stage.about_ends();
    let pair = stage.pair()?;
    let closing = Instant::now();
    pair.client.close(&pair.at_client)?;
    stage.until_parked(&pair.at_client)?;
    let seen = Instant::now();
    pair.server.send(&pair.at_server, 500)?;
    pair.server.await_reset(&pair.at_server)?;
    until_gone(stage, &pair.at_client)?;
    stage.expect(clients_bytes(
        parked(&pair.at_client).own_client(&pair.client),
    ));
    stage.expect(
        Expected::reset_without_socket(Reason::DataAfterClose, "TIMEWAIT_SOCKET")
            .state_of(&[TcpState::TimeWait, TcpState::FinWait2])
            .own_client(&pair.client)
            .ends(&pair.at_client),
    );
    stage.expect(received_by_server(&pair).state(TcpState::CloseWait));
    stage.expect(
        end("killed", &pair.at_client, &pair).checked("age_ns", age_since(closing, seen, seen)),
    );
    Ok(())
}

/// The peer's FIN stops the short timer of one that waited for it, and restarts it for one minute: it lives on.
fn started_anew(stage: &Stage) -> Result<()> {
    stage.about_ends();
    stage.sysctl("ipv4/tcp_fin_timeout", "10")?;
    let pair = stage.pair()?;
    close_both(stage, &pair)?;
    anyhow::ensure!(is_there(&pair.at_client)?, "the mini-socket is gone");
    Ok(())
}
