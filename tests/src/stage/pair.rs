//! The common start: a client, a server, and one connection between them.

use std::{
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

use super::{Stage, Unlucky};
use crate::{
    actor::{
        Actor,
        command::{Connection, Fd, SocketOption},
    },
    sys::proc_net::{self, MINI_SOCKET, ProcSocket, State},
};

/// Payload bytes that the client sends in [`Stage::pair`], and the server receives.
pub const REQUEST_BYTES: usize = 100;
/// Payload bytes that the server sends, and the client receives.
pub const RESPONSE_BYTES: usize = 2000;

/// Number of the keepalive timer, which also ends a full socket in FIN_WAIT2.
const KEEPALIVE: u8 = 2;
/// Longer than any state that a connection only passes through.
const MOMENT: Duration = Duration::from_secs(2);

/// A client and a server with one connection.
pub struct Pair {
    /// It called connect().
    pub client: Rc<Actor>,
    /// It called accept().
    pub server: Rc<Actor>,
    /// The server's listener.
    pub listener: Fd,
    /// The listener's address.
    pub address: SocketAddr,
    /// The connection at the client.
    pub at_client: Connection,
    /// The connection at the server.
    pub at_server: Connection,
}

impl Stage {
    /// A client and a server, connected, after a request and a response.
    pub fn pair(&self) -> Result<Pair> {
        talk(self.silent_pair()?)
    }

    /// [`Self::pair`], with a client that has only this local port.
    pub fn pair_on_port(&self, port: u16) -> Result<Pair> {
        self.pair_on_port_of(self.ip.loopback(), port)
    }

    /// The same with a server at another address of this host.
    pub fn pair_on_port_of(&self, server_address: IpAddr, port: u16) -> Result<Pair> {
        let server = self.actor("sv")?;
        let client = self.actor("cl")?;
        let (listener, address) = server.listen(SocketAddr::new(server_address, 0))?;
        // Only now: the server needed another port.
        self.sysctl("ipv4/ip_local_port_range", &format!("{port} {port}"))?;
        talk(connect(server, client, listener, address)?)
    }

    /// [`Self::pair`], with a client that binds this port, with SO_REUSEADDR.
    pub fn pair_from_bound_port(&self, port: u16) -> Result<Pair> {
        let server = self.actor("sv")?;
        let client = self.actor("cl")?;
        let (listener, address) = server.listen(self.ip.loopback_any_port())?;
        let own = SocketAddr::new(self.ip.loopback(), port);
        let fd = client.tcp_for(own)?;
        client.set(fd, SocketOption::ReuseAddress)?;
        client.bind(fd, own)?;
        let at_client = client.connect_with(fd, address)?;
        let at_server = server.accept(listener)?;
        talk(Pair {
            client,
            server,
            listener,
            address,
            at_client,
            at_server,
        })
    }

    /// A client and a server, connected.
    pub fn silent_pair(&self) -> Result<Pair> {
        let server = self.actor("sv")?;
        let client = self.actor("cl")?;
        let (listener, address) = server.listen(self.ip.loopback_any_port())?;
        connect(server, client, listener, address)
    }

    /// Waits until a closed connection waits for the peer's FIN, in its mini-socket.
    ///
    /// # Errors
    /// If it does not get there; [`Unlucky`] as described at [`Self::ensure_not_stuck`].
    pub fn until_parked(&self, closed: &Connection) -> Result<()> {
        let start = Instant::now();
        let what = format!("{} -> {} is parked", closed.local, closed.remote);
        self.until(&what, || {
            self.ensure_not_stuck(closed, start)?;
            Ok(proc_net::sockets()?.iter().any(|socket| {
                is(socket, closed) && socket.state == State::FinWait2 && socket.timer == MINI_SOCKET
            }))
        })
    }

    /// The kernel keeps an orphan in FIN_WAIT2 as a full socket for tcp_fin_timeout if the last ACK arrives between
    /// close()'s check of the state and its release of the lock (tcp_rcv_state_process(), "Bad case"). Rare, and no
    /// TIME_WAIT.
    ///
    /// # Errors
    /// [`Unlucky`] if that has happened to this connection; `start` is when the wait for it began.
    pub fn ensure_not_stuck(&self, closed: &Connection, start: Instant) -> Result<()> {
        let stuck = start.elapsed() > MOMENT
            && proc_net::sockets()?.iter().any(|socket| {
                is(socket, closed) && socket.state == State::FinWait2 && socket.timer == KEEPALIVE
            });
        if stuck {
            bail!(Unlucky(format!(
                "the kernel kept {} in FIN_WAIT2 as a full socket",
                closed.local
            )));
        }
        Ok(())
    }

    /// Waits until a closed connection is in TIME_WAIT.
    pub fn until_time_wait(&self, closed: &Connection) -> Result<()> {
        self.until_state(closed.local, closed.remote, State::TimeWait)
    }
}

fn connect(
    server: Rc<Actor>,
    client: Rc<Actor>,
    listener: Fd,
    address: SocketAddr,
) -> Result<Pair> {
    let at_client = client.connect(address)?;
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

/// Exchanges a request and a response.
fn talk(pair: Pair) -> Result<Pair> {
    pair.client.send(&pair.at_client, REQUEST_BYTES)?;
    pair.server.receive(&pair.at_server, REQUEST_BYTES)?;
    pair.server.send(&pair.at_server, RESPONSE_BYTES)?;
    pair.client.receive(&pair.at_client, RESPONSE_BYTES)?;
    Ok(pair)
}

fn is(socket: &ProcSocket, connection: &Connection) -> bool {
    socket.local == connection.local && socket.remote == connection.remote
}

impl Pair {
    /// The server reads the client's FIN and closes; waits for the client's TIME_WAIT.
    pub fn server_follows(&self, stage: &Stage) -> Result<()> {
        self.server.await_end(&self.at_server)?;
        self.server.close(&self.at_server)?;
        stage.until_time_wait(&self.at_client)
    }
}
