//! The socket calls of an actor, one method each.

use std::{net::SocketAddr, os::fd::AsRawFd};

use anyhow::{Result, bail};

use super::{
    Actor,
    command::{
        AddressFamily, Answer, Command, Connection, Fd, FirstCloser, Protocol, SocketOption,
    },
};

impl Actor {
    /// A new socket.
    pub fn socket(&self, family: AddressFamily, protocol: Protocol) -> Result<Fd> {
        self.descriptor(&Command::Socket { family, protocol }, None)
    }

    fn descriptor(&self, command: &Command, passed: Option<Fd>) -> Result<Fd> {
        self.post_with(command, passed)?;
        match self.answer_to(command, self.outcome()?)? {
            Answer::Descriptor(fd) => Ok(fd),
            other => bail!("{}: {command:?} gave {other:?}", self.comm),
        }
    }

    /// A new TCP socket of the address's family.
    pub fn tcp_for(&self, address: SocketAddr) -> Result<Fd> {
        self.socket(family_of(address), Protocol::Tcp)
    }

    /// Sets an option.
    pub fn set(&self, fd: Fd, option: SocketOption) -> Result<()> {
        self.call(&Command::Set { fd, option }).map(drop)
    }

    /// Binds, and returns the bound address.
    pub fn bind(&self, fd: Fd, address: SocketAddr) -> Result<SocketAddr> {
        self.address(&Command::Bind { fd, address })
    }

    fn address(&self, command: &Command) -> Result<SocketAddr> {
        match self.call(command)? {
            Answer::Address(address) => Ok(address),
            other => bail!("{}: {command:?} gave {other:?}", self.comm),
        }
    }

    /// A listener on this address (port 0 for any), and its bound address.
    pub fn listen(&self, address: SocketAddr) -> Result<(Fd, SocketAddr)> {
        let fd = self.tcp_for(address)?;
        self.bind(fd, address)?;
        Ok((fd, self.address(&Command::Listen { fd })?))
    }

    /// Calls listen() on an existing socket.
    pub fn listen_on(&self, fd: Fd) -> Result<SocketAddr> {
        self.address(&Command::Listen { fd })
    }

    /// Connects a new TCP socket.
    pub fn connect(&self, address: SocketAddr) -> Result<Connection> {
        let fd = self.tcp_for(address)?;
        self.connect_with(fd, address)
    }

    /// Connects a socket.
    pub fn connect_with(&self, fd: Fd, address: SocketAddr) -> Result<Connection> {
        self.connection(&Command::Connect { fd, address })
    }

    /// Connects a socket by sendto(MSG_FASTOPEN).
    pub fn connect_by_sending(&self, fd: Fd, address: SocketAddr) -> Result<Connection> {
        self.connection(&Command::SendFastOpen { fd, address })
    }

    /// accept()
    pub fn accept(&self, listener: Fd) -> Result<Connection> {
        self.connection(&Command::Accept { fd: listener })
    }

    fn connection(&self, command: &Command) -> Result<Connection> {
        self.post(command)?;
        self.awaited_connection()
    }

    /// Returns the connection of a posted connect or accept.
    pub fn awaited_connection(&self) -> Result<Connection> {
        match self.outcome()? {
            Ok(Answer::Connection(connection)) => Ok(connection),
            other => bail!("{}: connecting gave {other:?}", self.comm),
        }
    }

    /// Sends this many bytes.
    pub fn send(&self, connection: &Connection, bytes: usize) -> Result<()> {
        let fd = connection.fd;
        self.call(&Command::Send { fd, bytes }).map(drop)
    }

    /// Receives exactly this many bytes.
    ///
    /// # Errors
    /// If the stream ends before that.
    pub fn receive(&self, connection: &Connection, bytes: usize) -> Result<()> {
        let fd = connection.fd;
        self.call(&Command::Receive { fd, bytes }).map(drop)
    }

    /// Receives until the peer's FIN; fails if the stream ends in another way.
    pub fn await_end(&self, connection: &Connection) -> Result<()> {
        self.call(&Command::AwaitEnd { fd: connection.fd })
            .map(drop)
    }

    /// Receives until the stream fails with this errno; fails if it ends in another way.
    pub fn await_error(&self, connection: &Connection, expected: i32) -> Result<()> {
        self.must_fail(&Command::AwaitEnd { fd: connection.fd }, expected)
    }

    /// Receives until the peer's RST has arrived, on a socket that may have received its FIN before. The kernel returns
    /// EPIPE once to a send() or ECONNRESET to a recv(); both mean the same here.
    ///
    /// # Errors
    /// If the connection still exists after a while.
    pub fn await_reset(&self, connection: &Connection) -> Result<()> {
        let command = Command::AwaitReset { fd: connection.fd };
        self.call(&command).map(drop)
    }

    /// shutdown(SHUT_WR)
    pub fn shutdown_write(&self, connection: &Connection) -> Result<()> {
        self.call(&Command::ShutdownWrite { fd: connection.fd })
            .map(drop)
    }

    /// close()
    pub fn close(&self, connection: &Connection) -> Result<()> {
        self.close_fd(connection.fd)
    }

    /// close() of any descriptor.
    pub fn close_fd(&self, fd: Fd) -> Result<()> {
        self.call(&Command::Close { fd }).map(drop)
    }

    /// Passes a copy of one of the stage's descriptors to the actor.
    pub fn adopt(&self, descriptor: &impl AsRawFd) -> Result<Fd> {
        self.descriptor(&Command::Adopt, Some(descriptor.as_raw_fd()))
    }

    /// Receives a descriptor that another actor sends over an adopted Unix socket.
    pub fn take_over(&self, over: Fd) -> Result<Fd> {
        self.descriptor(&Command::TakeOver { over }, None)
    }

    /// Starts a loop of connections as a client; [`Actor::finished_many`] waits for its end. [`Actor::finished_many`].
    pub fn start_connecting(
        &self,
        target: SocketAddr,
        count: usize,
        first: FirstCloser,
    ) -> Result<()> {
        self.post(&Command::ConnectMany {
            target,
            count,
            first,
        })
    }

    /// Starts a loop of connections as a server; [`Actor::finished_many`] waits for its end. [`Actor::finished_many`].
    pub fn start_accepting(&self, fd: Fd, count: usize, first: FirstCloser) -> Result<()> {
        self.post(&Command::AcceptMany { fd, count, first })
    }

    /// Waits for the end of a loop of connections. Returns their number.
    pub fn finished_many(&self) -> Result<usize> {
        match self.outcome()? {
            Ok(Answer::Count(count)) => Ok(count),
            other => bail!(
                "{}: the loop of connections ended with {other:?}",
                self.comm
            ),
        }
    }
}

impl Actor {
    /// Waits for the end of a loop that accepts. Returns the remote ports of its connections.
    pub fn finished_accepting(&self) -> Result<Vec<u16>> {
        match self.outcome()? {
            Ok(Answer::AcceptedFrom(ports)) => Ok(ports),
            other => bail!("{}: accepting ended with {other:?}", self.comm),
        }
    }
}

pub fn family_of(address: SocketAddr) -> AddressFamily {
    if address.is_ipv4() {
        AddressFamily::V4
    } else {
        AddressFamily::V6
    }
}
