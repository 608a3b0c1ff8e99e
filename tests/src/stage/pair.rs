//! The common beginning: a client, a server, and one connection between them.

use std::{net::SocketAddr, rc::Rc};

use anyhow::Result;

use super::Stage;
use crate::{
    actor::{
        Actor,
        command::{Connection, Fd},
    },
    sys::proc_net::State,
};

/// Payload bytes the client sends in [`Stage::pair`], and the server receives.
pub const REQUEST_BYTES: usize = 100;
/// Payload bytes the server sends, and the client receives.
pub const RESPONSE_BYTES: usize = 2000;

/// A client and a server with one connection.
pub struct Pair {
    /// Connected.
    pub client: Rc<Actor>,
    /// Accepted.
    pub server: Rc<Actor>,
    /// The server's listener.
    pub listener: Fd,
    /// Where it listens.
    pub address: SocketAddr,
    /// The connection at the client.
    pub at_client: Connection,
    /// The connection at the server.
    pub at_server: Connection,
}

impl Stage {
    /// A client and a server, connected, after a request and a response.
    ///
    /// # Errors
    /// When a call fails.
    pub fn pair(&self) -> Result<Pair> {
        let pair = self.silent_pair()?;
        pair.client.send(&pair.at_client, REQUEST_BYTES)?;
        pair.server.receive(&pair.at_server, REQUEST_BYTES)?;
        pair.server.send(&pair.at_server, RESPONSE_BYTES)?;
        pair.client.receive(&pair.at_client, RESPONSE_BYTES)?;
        Ok(pair)
    }

    /// A client and a server, connected.
    ///
    /// # Errors
    /// When a call fails.
    pub fn silent_pair(&self) -> Result<Pair> {
        let server = self.actor("sv")?;
        let client = self.actor("cl")?;
        let (listener, address) = server.listen(self.ip.loopback_any_port())?;
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

    /// Waits until a closed connection waits for the peer's FIN, in its mini-socket.
    ///
    /// # Errors
    /// When it does not get there.
    pub fn until_parked(&self, closed: &Connection) -> Result<()> {
        self.until_state(closed.local, closed.remote, State::FinWait2)
    }

    /// Waits until a closed connection is in TIME_WAIT.
    ///
    /// # Errors
    /// When it does not get there.
    pub fn until_time_wait(&self, closed: &Connection) -> Result<()> {
        self.until_state(closed.local, closed.remote, State::TimeWait)
    }
}

impl Pair {
    /// The server reads the client's FIN and closes; waits for the client's TIME_WAIT.
    ///
    /// # Errors
    /// When a call fails.
    pub fn server_follows(&self, stage: &Stage) -> Result<()> {
        self.server.await_end(&self.at_server)?;
        self.server.close(&self.at_server)?;
        stage.until_time_wait(&self.at_client)
    }
}
