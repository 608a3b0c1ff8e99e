//! What is TCP and what only looks like it: MPTCP, SCTP, mapped addresses.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use anyhow::{Result, bail};

use super::{
    Scenario,
    close::{LEFT_FOR_FIN_WAIT2, clients_bytes, parked, servers_bytes},
};
use crate::{
    actor::{
        Actor,
        command::{AddressFamily, Command, Connection, Fd, Protocol, SocketOption},
        family_of,
    },
    expect::{Expected, Reason, Side, TcpState},
    stage::{Pair, Skip, Stage},
    sys::{
        Errno, inet,
        proc_net::{self, State},
    },
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("mptcp", mptcp),
    Scenario::both("mptcp_unread_data", mptcp_unread_data),
    Scenario::both(
        "mptcp_unread_data_by_servers_child",
        mptcp_unread_data_by_servers_child,
    ),
    Scenario::both("mptcp_linger_zero", mptcp_linger_zero),
    Scenario::both("mptcp_linger_zero_by_server", mptcp_linger_zero_by_server),
    Scenario::both(
        "mptcp_shutdown_and_reset_by_two",
        mptcp_shutdown_and_reset_by_two,
    ),
    Scenario::both("sctp_is_not_tcp", sctp),
    Scenario::single("mapped_server", mapped_server),
    Scenario::single("mapped_client", mapped_client),
];

/// A socket of a protocol that the kernel may lack.
fn socket_or_skip(actor: &Actor, family: AddressFamily, protocol: Protocol) -> Result<Fd> {
    let command = Command::Socket { family, protocol };
    match actor.attempt(&command)? {
        Err(Errno(
            errno @ (libc::EPROTONOSUPPORT
            | libc::ENOPROTOOPT
            | libc::ESOCKTNOSUPPORT
            | libc::EINVAL),
        )) => bail!(Skip(format!(
            "this kernel has no {protocol:?}: {}",
            Errno(errno)
        ))),
        Err(errno) => bail!("{protocol:?} socket: {errno}"),
        Ok(crate::actor::command::Answer::Descriptor(fd)) => Ok(fd),
        Ok(other) => bail!("{protocol:?} socket: {other:?}"),
    }
}

fn pair_of(stage: &Stage, protocol: Protocol) -> Result<Pair> {
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let any = stage.ip.loopback_any_port();
    let listener = socket_or_skip(&server, family_of(any), protocol)?;
    server.bind(listener, any)?;
    let address = server.listen_on(listener)?;
    let socket = socket_or_skip(&client, family_of(any), protocol)?;
    let at_client = client.connect_with(socket, address)?;
    let at_server = server.accept(listener)?;
    Ok(Pair {
        client,
        server,
        listener,
        address,
        at_client,
        at_server,
    })
}

/// Kernel workers send the subflow's FINs once both ends have closed the MPTCP socket, so either end may be first, or
/// both. Certain is only that the owner of an end closed it.
fn mptcp(stage: &Stage) -> Result<()> {
    let pair = pair_of(stage, Protocol::Mptcp)?;
    pair.client.send(&pair.at_client, 100)?;
    pair.server.receive(&pair.at_server, 100)?;
    pair.client.close(&pair.at_client)?;
    pair.server.await_end(&pair.at_server)?;
    pair.server.close(&pair.at_server)?;
    stage.until("the subflow is in TIME_WAIT", || {
        let sockets = proc_net::sockets()?;
        let of_pair = |socket: &&proc_net::ProcSocket| {
            [socket.local, socket.remote].contains(&pair.at_client.local)
        };
        let all_in_time_wait = sockets
            .iter()
            .filter(of_pair)
            .all(|socket| socket.state == State::TimeWait);
        Ok(all_in_time_wait && sockets.iter().any(|socket| of_pair(&socket)))
    })?;
    let birth = |who: &Actor, side: Side, connection: &Connection| {
        Expected::time_wait(TcpState::FinWait2)
            .state_of(&[TcpState::FinWait2, TcpState::TimeWait])
            .from(&[TcpState::FinWait1, TcpState::FinWait2, TcpState::Closing])
            .process(who)
            .side(side)
            .ends(connection)
    };
    let clients = birth(&pair.client, Side::Client, &pair.at_client);
    let servers = birth(&pair.server, Side::Server, &pair.at_server);
    stage.expect(clients.clone());
    stage.or_expect(vec![servers.clone()]);
    stage.or_expect(vec![clients, servers]);
    Ok(())
}

/// An MPTCP pair that has exchanged data in both directions.
fn mptcp_talked(stage: &Stage) -> Result<Pair> {
    let pair = pair_of(stage, Protocol::Mptcp)?;
    pair.client.send(&pair.at_client, 100)?;
    pair.server.receive(&pair.at_server, 100)?;
    pair.server.send(&pair.at_server, 50)?;
    pair.client.receive(&pair.at_client, 50)?;
    Ok(pair)
}

/// close() over unread data resets the subflow (MP_FASTCLOSE).
fn mptcp_unread_data(stage: &Stage) -> Result<()> {
    let pair = mptcp_talked(stage)?;
    pair.server.send(&pair.at_server, 300)?;
    pair.client.receive(&pair.at_client, 100)?;
    pair.client.close(&pair.at_client)?;
    pair.server.await_reset(&pair.at_server)?;
    expect_mptcp_reset(stage, Reason::UnreadData, &pair, &pair.client);
    Ok(())
}

/// The process that closes is not the one that accepted.
fn mptcp_unread_data_by_servers_child(stage: &Stage) -> Result<()> {
    let pair = mptcp_talked(stage)?;
    pair.client.send(&pair.at_client, 300)?;
    pair.server.receive(&pair.at_server, 100)?;
    let child = stage.fork(&pair.server, "ch")?;
    pair.server.close(&pair.at_server)?;
    child.close(&pair.at_server)?;
    pair.client.await_reset(&pair.at_client)?;
    expect_mptcp_reset_by_server(stage, Reason::UnreadData, &pair, &child);
    Ok(())
}

fn mptcp_linger_zero(stage: &Stage) -> Result<()> {
    mptcp_reset_by_client(stage, &mptcp_talked(stage)?)
}

fn mptcp_reset_by_client(stage: &Stage, pair: &Pair) -> Result<()> {
    pair.client
        .set(pair.at_client.fd, SocketOption::LingerZero)?;
    pair.client.close(&pair.at_client)?;
    pair.server.await_reset(&pair.at_server)?;
    expect_mptcp_reset(stage, Reason::LingerZero, pair, &pair.client);
    Ok(())
}

fn mptcp_linger_zero_by_server(stage: &Stage) -> Result<()> {
    let pair = mptcp_talked(stage)?;
    pair.server
        .set(pair.at_server.fd, SocketOption::LingerZero)?;
    pair.server.close(&pair.at_server)?;
    pair.client.await_reset(&pair.at_client)?;
    expect_mptcp_reset_by_server(stage, Reason::LingerZero, &pair, &pair.server);
    Ok(())
}

/// Another process with the same socket has called shutdown() before.
fn mptcp_shutdown_and_reset_by_two(stage: &Stage) -> Result<()> {
    let pair = mptcp_talked(stage)?;
    let child = stage.fork(&pair.client, "ch")?;
    child.shutdown_write(&pair.at_client)?;
    pair.server.await_end(&pair.at_server)?;
    child.close(&pair.at_client)?;
    mptcp_reset_by_client(stage, &pair)
}

fn expect_mptcp_reset(stage: &Stage, reason: Reason, pair: &Pair, closer: &Actor) {
    stage.expect(
        Expected::reset_sent(reason, "TCP_ABORT_ON_CLOSE")
            .process(closer)
            .opener(&pair.client)
            .side(Side::Client)
            .ends(&pair.at_client),
    );
    stage.expect(
        Expected::reset_received(Reason::Peer)
            .own_server(&pair.server)
            .ends(&pair.at_server),
    );
}

fn expect_mptcp_reset_by_server(stage: &Stage, reason: Reason, pair: &Pair, closer: &Actor) {
    stage.expect(
        Expected::reset_sent(reason, "TCP_ABORT_ON_CLOSE")
            .process(closer)
            .acceptor(&pair.server)
            .side(Side::Server)
            .ends(&pair.at_server),
    );
    stage.expect(
        Expected::reset_received(Reason::Peer)
            .own_client(&pair.client)
            .ends(&pair.at_client),
    );
}

/// An SCTP association also passes through `inet_sock_set_state`.
fn sctp(stage: &Stage) -> Result<()> {
    // Loads the module if there is one; the actors find out whether that worked.
    let _ = std::process::Command::new("modprobe").arg("sctp").output();
    let pair = pair_of(stage, Protocol::Sctp)?;
    pair.client.send(&pair.at_client, 100)?;
    pair.server.receive(&pair.at_server, 100)?;
    pair.client.close(&pair.at_client)?;
    pair.server.await_end(&pair.at_server)?;
    pair.server.close(&pair.at_server)?;
    Ok(())
}

/// The same connection, with its mapped addresses written as IPv4.
fn unmapped(connection: Connection) -> Connection {
    Connection {
        fd: connection.fd,
        local: inet::unmapped(connection.local),
        remote: inet::unmapped(connection.remote),
    }
}

/// An IPv6 server that also accepts IPv4.
fn mapped_server(stage: &Stage) -> Result<()> {
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let any = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0);
    let (listener, address) = server.listen(any)?;
    let target = SocketAddr::new(crate::stage::Ip::V4.loopback(), address.port());
    let at_client = client.connect(target)?;
    let at_server = server.accept(listener)?;
    client.send(&at_client, 100)?;
    server.receive(&at_server, 100)?;
    server.send(&at_server, 2000)?;
    client.receive(&at_client, 2000)?;
    server.close(&at_server)?;
    stage.until_parked(&at_server)?;
    client.await_end(&at_client)?;
    client.close(&at_client)?;
    stage.until_time_wait(&at_server)?;
    stage.expect(servers_bytes(
        parked(&unmapped(at_server)).own_server(&server).mapped(),
    ));
    Ok(())
}

/// An IPv6 client that connects to an IPv4 server.
fn mapped_client(stage: &Stage) -> Result<()> {
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let (listener, address) = server.listen(stage.ip.loopback_any_port())?;
    let mapped = match address.ip() {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    let at_client = client.connect(SocketAddr::new(mapped.into(), address.port()))?;
    let at_server = server.accept(listener)?;
    client.send(&at_client, 100)?;
    server.receive(&at_server, 100)?;
    server.send(&at_server, 2000)?;
    client.receive(&at_client, 2000)?;
    client.close(&at_client)?;
    stage.until_parked(&at_client)?;
    server.await_end(&at_server)?;
    server.close(&at_server)?;
    stage.until_time_wait(&at_client)?;
    stage.expect(clients_bytes(
        Expected::time_wait(TcpState::FinWait2)
            .from(LEFT_FOR_FIN_WAIT2)
            .ends(&unmapped(at_client))
            .own_client(&client)
            .mapped(),
    ));
    Ok(())
}
