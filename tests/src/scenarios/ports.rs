//! Ephemeral port allocation.

use std::net::SocketAddr;

use anyhow::Result;
use serde_json::{Value, json};

use super::Scenario;
use crate::{
    actor::{
        Actor,
        command::{Command, SocketOption},
    },
    expect::{Check, Expected, Side},
    stage::{Pair, Stage},
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("ports/bind_any", bind_any),
    Scenario::both("ports/bind_in_use", bind_in_use),
    Scenario::both("ports/listen", listen),
    Scenario::both("ports/listen_unbound", listen_unbound),
    Scenario::both("ports/listen_in_use", listen_in_use),
    Scenario::both("ports/connect", connect),
    Scenario::both("ports/connect_range_used_up", connect_range_used_up),
    Scenario::both("ports/bind_range_used_up", bind_range_used_up),
    Scenario::both("ports/bind_address_no_port", bind_address_no_port),
];

/// A bind() that got a port or not.
pub fn bind(who: &Actor, requested: u16, result: &str) -> Expected {
    Expected::port("bind", requested, result)
        .process(who)
        .side(Side::Unknown)
        .with("remote", Value::Null)
}

/// A listen() that kept its port or not.
pub fn listening(who: &Actor, requested: u16, result: &str) -> Expected {
    Expected::port("listen", requested, result)
        .process(who)
        .side(Side::Server)
        .with("remote", Value::Null)
}

/// A connect() that got a port or not.
pub fn connecting(who: &Actor, target: SocketAddr, requested: u16, result: &str) -> Expected {
    Expected::port("connect", requested, result)
        .process(who)
        .side(Side::Client)
        .remote(target)
}

/// `local`: the port that was requested or allocated, or 0 from a hook that sees only the request.
pub fn asked_or_got(expected: Expected, got: SocketAddr) -> Expected {
    let asked = SocketAddr::new(got.ip(), 0);
    expected.checked(
        "local",
        Check::OneOf(vec![json!(got.to_string()), json!(asked.to_string())]),
    )
}

fn bind_any(stage: &Stage) -> Result<()> {
    stage.about_ports();
    let server = stage.actor("sv")?;
    let any = stage.ip.loopback_any_port();
    let fd = server.tcp_for(any)?;
    let got = server.bind(fd, any)?;
    stage.expect(asked_or_got(bind(&server, 0, "ok"), got));
    Ok(())
}

fn bind_in_use(stage: &Stage) -> Result<()> {
    stage.about_ports();
    let server = stage.actor("sv")?;
    let second = stage.actor("s2")?;
    let any = stage.ip.loopback_any_port();
    let (_, address) = server.listen(any)?;
    let fd = second.tcp_for(any)?;
    second.must_fail(&Command::Bind { fd, address }, libc::EADDRINUSE)?;
    let port = address.port();
    stage.expect(asked_or_got(bind(&server, 0, "ok"), address));
    stage.expect(listening(&server, port, "ok").local(address));
    stage.expect(bind(&second, port, "EADDRINUSE").local(address));
    Ok(())
}

fn listen(stage: &Stage) -> Result<()> {
    stage.about_ports();
    let server = stage.actor("sv")?;
    let any = stage.ip.loopback_any_port();
    let first = server.tcp_for(any)?;
    let address = server.bind(first, any)?;
    server.close_fd(first)?;
    let fd = server.tcp_for(any)?;
    server.bind(fd, address)?;
    server.listen_on(fd)?;
    let port = address.port();
    stage.expect(asked_or_got(bind(&server, 0, "ok"), address));
    stage.expect(bind(&server, port, "ok").local(address));
    stage.expect(listening(&server, port, "ok").local(address));
    Ok(())
}

/// listen() without bind() allocates a port itself.
fn listen_unbound(stage: &Stage) -> Result<()> {
    stage.about_ports();
    let server = stage.actor("sv")?;
    let fd = server.tcp_for(stage.ip.loopback_any_port())?;
    let got = server.listen_on(fd)?;
    stage.expect(asked_or_got(listening(&server, 0, "ok"), got));
    Ok(())
}

/// Two sockets may bind one port with SO_REUSEADDR as long as neither listens.
fn listen_in_use(stage: &Stage) -> Result<()> {
    stage.about_ports();
    let server = stage.actor("sv")?;
    let second = stage.actor("s2")?;
    let any = stage.ip.loopback_any_port();
    let first_fd = server.tcp_for(any)?;
    server.set(first_fd, SocketOption::ReuseAddress)?;
    let address = server.bind(first_fd, any)?;
    let second_fd = second.tcp_for(any)?;
    second.set(second_fd, SocketOption::ReuseAddress)?;
    second.bind(second_fd, address)?;
    server.listen_on(first_fd)?;
    second.must_fail(&Command::Listen { fd: second_fd }, libc::EADDRINUSE)?;
    let port = address.port();
    stage.expect(asked_or_got(bind(&server, 0, "ok"), address));
    stage.expect(bind(&second, port, "ok").local(address));
    stage.expect(listening(&server, port, "ok").local(address));
    stage.expect(listening(&second, port, "EADDRINUSE"));
    Ok(())
}

fn connect(stage: &Stage) -> Result<()> {
    stage.about_ports();
    let pair = stage.silent_pair()?;
    expect_searches_of(stage, &pair);
    Ok(())
}

/// The port allocations of a pair, each once: the server by bind() and listen(), the client by connect().
pub fn expect_searches_of(stage: &Stage, pair: &Pair) {
    let port = pair.address.port();
    stage.expect(asked_or_got(bind(&pair.server, 0, "ok"), pair.address));
    stage.expect(listening(&pair.server, port, "ok").local(pair.address));
    stage.expect(asked_or_got(
        connecting(&pair.client, pair.address, 0, "ok"),
        pair.at_client.local,
    ));
}

/// The last port of a narrow range is taken; the next connect() gets none.
fn connect_range_used_up(stage: &Stage) -> Result<()> {
    stage.about_ports();
    stage.sysctl("ipv4/tcp_tw_reuse", "0")?;
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let fixed = SocketAddr::new(stage.ip.loopback(), 20_000);
    let (_, address) = server.listen(fixed)?;
    stage.sysctl("ipv4/ip_local_port_range", "40000 40003")?;
    for _ in 0..4 {
        let at_client = client.connect(address)?;
        stage.expect(asked_or_got(
            connecting(&client, address, 0, "ok"),
            at_client.local,
        ));
    }
    let fd = client.tcp_for(address)?;
    client.must_fail(&Command::Connect { fd, address }, libc::EADDRNOTAVAIL)?;
    stage.expect(bind(&server, 20_000, "ok").local(address));
    stage.expect(listening(&server, 20_000, "ok").local(address));
    // Open connections are not TIME_WAITs.
    stage.expect(connecting(&client, address, 0, "EADDRNOTAVAIL").with("refused_reuse", json!({})));
    Ok(())
}

fn bind_range_used_up(stage: &Stage) -> Result<()> {
    stage.about_ports();
    stage.sysctl("ipv4/ip_local_port_range", "40000 40001")?;
    let server = stage.actor("sv")?;
    let any = stage.ip.loopback_any_port();
    for _ in 0..2 {
        let fd = server.tcp_for(any)?;
        let got = server.bind(fd, any)?;
        stage.expect(asked_or_got(bind(&server, 0, "ok"), got));
    }
    let fd = server.tcp_for(any)?;
    server.must_fail(&Command::Bind { fd, address: any }, libc::EADDRINUSE)?;
    stage.expect(bind(&server, 0, "EADDRINUSE").local(any));
    Ok(())
}

/// With IP_BIND_ADDRESS_NO_PORT, connect() allocates the port.
fn bind_address_no_port(stage: &Stage) -> Result<()> {
    stage.about_ports();
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let any = stage.ip.loopback_any_port();
    let (_, address) = server.listen(any)?;
    let fd = client.tcp_for(any)?;
    client.set(fd, SocketOption::BindAddressNoPort)?;
    client.bind(fd, any)?;
    let at_client = client.connect_with(fd, address)?;
    stage.expect(asked_or_got(bind(&server, 0, "ok"), address));
    stage.expect(listening(&server, address.port(), "ok").local(address));
    stage.expect(asked_or_got(
        connecting(&client, address, 0, "ok"),
        at_client.local,
    ));
    Ok(())
}
