//! Traffic of every kind that a view counts, on addresses of its own.

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd as _,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::sys::inet;

/// Address of the server.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(127, 77, 0, 1);
/// An address without a listener.
pub const NOBODY: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(127, 77, 0, 2)), 1);
/// Plain connections that the client closes first; the server closes first on as many.
pub const CLOSED: usize = 3;

const PORT_RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

/// What is still open: one connection in CLOSE_WAIT, and those that use up the ports.
pub struct Traffic {
    _open: Vec<TcpStream>,
}

/// Plays it, in the namespace of the calling thread, which must be its own.
pub fn play() -> Result<Traffic> {
    let server = Server::start()?;
    for _ in 0..CLOSED {
        for server_first in [false, true] {
            let (client, accepted) = server.connected()?;
            if server_first {
                close_in_order(accepted, client)?
            } else {
                close_in_order(client, accepted)?
            }
        }
    }
    server.reset()?;
    let (client, mut accepted) = server.connected()?;
    accepted.write_all(b"not read")?;
    // Waits until it has arrived.
    client.peek(&mut [0])?;
    drop(client);
    let error = accepted.read(&mut [0]).err().map(|error| error.kind());
    ensure!(error == Some(ErrorKind::ConnectionReset), "{error:?}");
    let refused = TcpStream::connect(NOBODY).err().map(|error| error.kind());
    ensure!(refused == Some(ErrorKind::ConnectionRefused), "{refused:?}");
    // A port that this process has already.
    let taken = TcpListener::bind(server.address).err();
    let taken = taken.map(|error| error.kind());
    ensure!(taken == Some(ErrorKind::AddrInUse), "{taken:?}");
    let (client, mut accepted) = server.connected()?;
    client.shutdown(Shutdown::Write)?;
    ensure!(accepted.read(&mut [0])? == 0, "no end");
    let mut open = vec![client, accepted];
    open.extend(server.use_up_ports()?);
    Ok(Traffic { _open: open })
}

/// A listener, and connections to it.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// # Errors
    /// If the namespace has no loopback interface.
    pub fn start() -> Result<Self> {
        let listener = TcpListener::bind((SERVER, 0))?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address })
    }

    /// The client's and the server's end.
    fn connected(&self) -> Result<(TcpStream, TcpStream)> {
        let client = TcpStream::connect(self.address)?;
        let (accepted, _) = self.listener.accept()?;
        Ok((client, accepted))
    }

    /// A connection that the client resets. It leaves no TIME_WAIT.
    pub fn reset(&self) -> Result<()> {
        let (client, mut accepted) = self.connected()?;
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        inet::set_option(
            client.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            linger,
        )?;
        drop(client);
        let error = accepted.read(&mut [0]).err().map(|error| error.kind());
        ensure!(error == Some(ErrorKind::ConnectionReset), "{error:?}");
        Ok(())
    }

    /// Connects until no port is left.
    fn use_up_ports(&self) -> Result<Vec<TcpStream>> {
        let before = fs::read_to_string(PORT_RANGE).context(PORT_RANGE)?;
        fs::write(PORT_RANGE, "40000 40001").context(PORT_RANGE)?;
        let mut open = Vec::new();
        for _ in 0..3 {
            match TcpStream::connect(self.address) {
                Ok(stream) => open.push(stream),
                Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
                    fs::write(PORT_RANGE, before)?;
                    return Ok(open);
                }
                Err(error) => return Err(error.into()),
            }
        }
        bail!("three connections on two ports")
    }
}

/// The second closes once it has received the first one's FIN.
fn close_in_order(first: TcpStream, mut second: TcpStream) -> Result<()> {
    drop(first);
    ensure!(second.read(&mut [0])? == 0, "no end");
    Ok(())
}
