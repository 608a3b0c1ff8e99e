//! Which calls allocate a local port, and which only look like it: the kernel's own functions see only allocations,
//! system calls have to be distinguished.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Result;
use serde_json::{Value, json};

use super::{
    Scenario,
    handover::uring_or_skip,
    ports::{asked_or_got, bind, connecting, expect_searches_of, listening},
};
use crate::{
    actor::{
        Actor,
        command::{Command, SocketOption},
    },
    expect::{Expected, Side},
    stage::{Ip, Stage},
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("ports/bind_fails_without_search", bind_fails_without_search),
    Scenario::both("ports/listen_again", listen_again),
    Scenario::both("ports/connect_fails_without_search", connect_fails),
    Scenario::single("ports/connect_without_ipv6", connect_without_ipv6),
    Scenario::both("ports/fast_open", fast_open),
    Scenario::both("ports/fast_open_range_used_up", fast_open_range_used_up),
    Scenario::both("ports/fast_open_tuple_busy", fast_open_tuple_busy),
    Scenario::both("ports/io_uring_connect", io_uring_connect),
];

/// An address without an interface or a route in the namespace (TEST-NET-3 and similar).
pub fn foreign(ip: Ip, port: u16) -> SocketAddr {
    let address: IpAddr = match ip {
        Ip::V4 => Ipv4Addr::new(203, 0, 113, 1).into(),
        Ip::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(),
    };
    SocketAddr::new(address, port)
}

/// bind() fails for the address, for a port that needs a capability, for a socket that has a port, for an address of
/// another family: each before it looks for a port.
fn bind_fails_without_search(stage: &Stage) -> Result<()> {
    stage.about_ports();
    let server = stage.actor("sv")?;
    let any = stage.ip.loopback_any_port();
    let fd = server.tcp_for(any)?;
    for port in [0, 20_000] {
        let address = foreign(stage.ip, port);
        server.must_fail(&Command::Bind { fd, address }, libc::EADDRNOTAVAIL)?;
        stage.expect(
            Expected::no_address("bind")
                .process(&server)
                .side(Side::Unknown)
                .local(address)
                .with("remote", Value::Null),
        );
    }
    let other_family = match stage.ip {
        Ip::V4 => Ip::V6.loopback_any_port(),
        Ip::V6 => Ip::V4.loopback_any_port(),
    };
    let address = other_family;
    // EAFNOSUPPORT or EINVAL.
    server.failure(&Command::Bind { fd, address })?;
    let got = server.bind(fd, any)?;
    server.must_fail(&Command::Bind { fd, address: any }, libc::EINVAL)?;
    let nobody = stage.actor("nb")?;
    nobody.call(&Command::DropPrivileges)?;
    let fd = nobody.tcp_for(any)?;
    let address = SocketAddr::new(stage.ip.loopback(), 80);
    nobody.must_fail(&Command::Bind { fd, address }, libc::EACCES)?;
    stage.expect(asked_or_got(bind(&server, 0, "ok"), got));
    Ok(())
}

/// A listener that listens again changes its backlog. A connected socket may not listen.
fn listen_again(stage: &Stage) -> Result<()> {
    stage.about_ports();
    let pair = stage.silent_pair()?;
    for _ in 0..3 {
        pair.server.listen_on(pair.listener)?;
    }
    let fd = pair.at_client.fd;
    pair.client
        .must_fail(&Command::Listen { fd }, libc::EINVAL)?;
    expect_searches_of(stage, &pair);
    Ok(())
}

/// There is no route to the target, or the socket is connected already.
fn connect_fails(stage: &Stage) -> Result<()> {
    stage.about_ports();
    let pair = stage.silent_pair()?;
    let address = foreign(stage.ip, 80);
    let fd = pair.client.tcp_for(address)?;
    // ENETUNREACH or EADDRNOTAVAIL.
    pair.client.failure(&Command::Connect { fd, address })?;
    let (fd, address) = (pair.at_client.fd, pair.address);
    pair.client
        .must_fail(&Command::Connect { fd, address }, libc::EISCONN)?;
    expect_searches_of(stage, &pair);
    Ok(())
}

/// connect() to ::1 where IPv6 is switched off looks for no port; one that looked for a port in vain is no such call, nor
/// is a later one of its socket known to be.
fn connect_without_ipv6(stage: &Stage) -> Result<()> {
    stage.about_ports();
    stage.sysctl("ipv4/ip_local_port_range", "40000 40000")?;
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let listens_at = server_at(stage, &server, 20_000)?;
    let address = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 20_000);
    let tried = client.tcp_for(address)?;
    stage.sysctl("ipv6/conf/all/disable_ipv6", "1")?;
    for fd in [tried, tried, client.tcp_for(address)?] {
        client.must_fail(&Command::Connect { fd, address }, libc::EADDRNOTAVAIL)?;
        stage.expect(
            Expected::no_address("connect")
                .process(&client)
                .side(Side::Client)
                .remote(address)
                .with("local", Value::Null),
        );
    }
    // By IPv4, where the second finds no port.
    let fd = client.tcp_for(listens_at)?;
    client.connect_with(fd, listens_at)?;
    let Some(IpAddr::V4(v4)) = Some(listens_at.ip()) else {
        anyhow::bail!("not IPv4: {listens_at}");
    };
    let mapped = SocketAddr::new(v4.to_ipv6_mapped().into(), listens_at.port());
    client.must_fail(
        &Command::Connect {
            fd: tried,
            address: mapped,
        },
        libc::EADDRNOTAVAIL,
    )?;
    // Its socket has looked for a port now.
    client.must_fail(
        &Command::Connect { fd: tried, address },
        libc::EADDRNOTAVAIL,
    )?;
    stage.expect(connecting(&client, listens_at, 0, "ok"));
    stage.expect(connecting(&client, listens_at, 0, "EADDRNOTAVAIL").with("mapped", json!(true)));
    Ok(())
}

fn server_at(stage: &Stage, server: &Actor, port: u16) -> Result<SocketAddr> {
    let (_, address) = server.listen(SocketAddr::new(stage.ip.loopback(), port))?;
    stage.expect(bind(server, port, "ok").local(address));
    stage.expect(listening(server, port, "ok").local(address));
    Ok(address)
}

/// Connects by sendto(MSG_FASTOPEN), from any port.
fn open_fast(stage: &Stage, client: &Actor, address: SocketAddr) -> Result<()> {
    let fd = client.tcp_for(address)?;
    let at_client = client.connect_by_sending(fd, address)?;
    stage.expect(asked_or_got(
        connecting(client, address, 0, "ok"),
        at_client.local,
    ));
    Ok(())
}

/// sendto(MSG_FASTOPEN) connects, from a socket that is bound and one that is not.
fn fast_open(stage: &Stage) -> Result<()> {
    stage.about_ports();
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let address = server_at(stage, &server, 20_000)?;
    for _ in 0..6 {
        open_fast(stage, &client, address)?;
    }
    let local = SocketAddr::new(stage.ip.loopback(), 20_001);
    let fd = client.tcp_for(address)?;
    client.bind(fd, local)?;
    client.connect_by_sending(fd, address)?;
    stage.expect(bind(&client, 20_001, "ok").local(local));
    stage.expect(connecting(&client, address, 20_001, "ok").local(local));
    Ok(())
}

fn no_port(client: &Actor, target: SocketAddr, requested: u16) -> Expected {
    connecting(client, target, requested, "EADDRNOTAVAIL").with("refused_reuse", json!({}))
}

/// The last port of a narrow range is taken; the next sendto() gets none.
fn fast_open_range_used_up(stage: &Stage) -> Result<()> {
    stage.about_ports();
    stage.sysctl("ipv4/tcp_tw_reuse", "0")?;
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let address = server_at(stage, &server, 20_000)?;
    stage.sysctl("ipv4/ip_local_port_range", "40000 40003")?;
    for _ in 0..4 {
        open_fast(stage, &client, address)?;
    }
    for _ in 0..2 {
        let fd = client.tcp_for(address)?;
        client.must_fail(&Command::SendFastOpen { fd, address }, libc::EADDRNOTAVAIL)?;
        stage.expect(no_port(&client, address, 0));
    }
    Ok(())
}

/// A connection has the tuple that another socket has bound.
fn fast_open_tuple_busy(stage: &Stage) -> Result<()> {
    stage.about_ports();
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let address = server_at(stage, &server, 20_000)?;
    let local = SocketAddr::new(stage.ip.loopback(), 20_001);
    let mut sockets = Vec::new();
    for _ in 0..2 {
        let fd = client.tcp_for(address)?;
        client.set(fd, SocketOption::ReuseAddress)?;
        client.bind(fd, local)?;
        stage.expect(bind(&client, 20_001, "ok").local(local));
        sockets.push(fd);
    }
    client.connect_by_sending(sockets[0], address)?;
    stage.expect(connecting(&client, address, 20_001, "ok").local(local));
    let fd = sockets[1];
    client.must_fail(&Command::SendFastOpen { fd, address }, libc::EADDRNOTAVAIL)?;
    stage.expect(no_port(&client, address, 20_001).local(local));
    Ok(())
}

/// io_uring connects without the connect() system call.
fn io_uring_connect(stage: &Stage) -> Result<()> {
    uring_or_skip()?;
    stage.about_ports();
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let address = server_at(stage, &server, 20_000)?;
    let fd = client.tcp_for(address)?;
    let command = Command::ConnectByUring { fd, address };
    client.post(&command)?;
    let at_client = client.awaited_connection()?;
    let mut expected = asked_or_got(connecting(&client, address, 0, "ok"), at_client.local);
    // A worker of io_uring may have called it.
    expected.checks.remove("process.thread_comm");
    stage.expect(expected);
    Ok(())
}
