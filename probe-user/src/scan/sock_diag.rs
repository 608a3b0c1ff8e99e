//! The dump itself: NETLINK_SOCK_DIAG, with one socket for each network namespace.

use std::collections::HashSet;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use twtrace_core::model::socket::SocketRow;
use twtrace_wire::TcpState;

use super::message::{
    self, HEADER_BYTES, INET_DIAG_INFO, INET_DIAG_SKMEMINFO, MessageError, SOCK_DIAG_BY_FAMILY,
};

const NLM_F_REQUEST: u16 = 1;
/// `NLM_F_ROOT | NLM_F_MATCH`.
const NLM_F_DUMP: u16 = 0x300;
/// `struct inet_diag_req_v2`: 8 bytes, then an `inet_diag_sockid` of 48, of which a dump uses the
/// ports only.
const REQUEST_BYTES: usize = HEADER_BYTES + 56;
/// The kernel fills up to 32 KiB at a time.
const BUFFER_BYTES: usize = 64 << 10;
/// How often a dump is tried while the kernel reports it as interrupted. The last one is used as it is.
const TRIES: u32 = 4;
/// The kernel answers before recv() is called, so a longer wait is an error.
const PATIENCE_S: libc::time_t = 10;

/// What to list.
#[derive(Clone, Copy, Debug)]
pub struct Query {
    /// States, as bits of their numbers. A mini-socket has the state that it shows.
    pub states: u32,
    /// Whether [`SocketRow::times`], and the drops of [`SocketRow::queue`], are wanted, which takes a lock of each socket and a longer answer.
    pub with_times: bool,
    /// The only local port; `None` for all. Kernels may list others too.
    pub local_port: Option<u16>,
}

impl Query {
    /// Sockets in these states only.
    pub fn of(states: &[TcpState]) -> Self {
        let bits = states.iter().map(|state| 1_u32 << *state as u8);
        Self {
            states: bits.fold(0, |all, bit| all | bit),
            with_times: false,
            local_port: None,
        }
    }

    /// All sockets.
    pub const fn all() -> Self {
        Self {
            states: u32::MAX,
            with_times: false,
            local_port: None,
        }
    }

    /// The same, with [`SocketRow::times`].
    pub const fn with_times(mut self) -> Self {
        self.with_times = true;
        self
    }

    /// The same, with one local port only.
    pub const fn of_port(mut self, port: u16) -> Self {
        self.local_port = Some(port);
        self
    }
}

/// Why sockets can't be listed.
#[derive(Debug, thiserror::Error)]
pub enum DiagError {
    /// The netlink socket can't be opened or used.
    #[error("asking the kernel for its sockets")]
    Io(#[from] io::Error),
    /// The sockets are in a namespace that can't be entered.
    #[error("entering the namespace")]
    Enter(#[source] io::Error),
    /// The kernel lacks the module that answers.
    #[error("this kernel can't list TCP sockets: no module tcp_diag (try: modprobe tcp_diag)")]
    NoModule,
    /// The kernel refuses, or its answer is not valid.
    #[error(transparent)]
    Message(MessageError),
}

impl From<MessageError> for DiagError {
    fn from(error: MessageError) -> Self {
        match error {
            MessageError::Refused(libc::ENOENT) => Self::NoModule,
            other => Self::Message(other),
        }
    }
}

/// Lists the sockets of the namespace it was created in, whichever namespace its user has entered since. Needs no
/// privilege.
#[derive(Debug)]
pub struct DiagSocket {
    socket: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

/// A netlink socket that lists the sockets of the calling thread's namespace.
///
/// # Errors
/// errno of socket().
pub fn open() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: integers only.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_SOCK_DIAG) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just created and has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

impl DiagSocket {
    /// Uses a socket from [`open`].
    ///
    /// # Errors
    /// errno of setsockopt().
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        let patience = libc::timeval {
            tv_sec: PATIENCE_S,
            tv_usec: 0,
        };
        // SAFETY: the option takes a timeval, which is read before the call returns.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVTIMEO,
                (&raw const patience).cast(),
                size_of::<libc::timeval>() as libc::socklen_t,
            )
        };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            socket,
            sequence: 0,
            buffer: vec![0; BUFFER_BYTES],
        })
    }

    /// The TCP sockets of both IP versions, each once. Sockets that are created, closed or changed in between may be
    /// missing or out of date.
    pub fn dump(&mut self, query: Query) -> Result<Vec<SocketRow>, DiagError> {
        let mut rows: Vec<SocketRow> = self.dump_into(query, Vec::new)?;
        let mut seen = HashSet::with_capacity(rows.len());
        rows.retain(|row| row.cookie == 0 || seen.insert(row.cookie));
        Ok(rows)
    }

    /// The same, collected into a smaller summary. `anew` is called again each time the dump is repeated. A socket
    /// that moved in between may come twice.
    pub fn dump_into<R: Extend<SocketRow>>(
        &mut self,
        query: Query,
        anew: impl Fn() -> R,
    ) -> Result<R, DiagError> {
        let mut tries = 0;
        loop {
            let mut rows = anew();
            let mut is_interrupted = self.dump_family(libc::AF_INET, query, &mut rows)?;
            match self.dump_family(libc::AF_INET6, query, &mut rows) {
                Ok(interrupted) => is_interrupted |= interrupted,
                // This kernel has no IPv6.
                Err(DiagError::NoModule) => {}
                Err(error) => return Err(error),
            }
            tries += 1;
            if !is_interrupted || tries == TRIES {
                return Ok(rows);
            }
        }
    }

    /// Returns whether it was interrupted.
    fn dump_family(
        &mut self,
        family: i32,
        query: Query,
        rows: &mut impl Extend<SocketRow>,
    ) -> Result<bool, DiagError> {
        self.sequence = self.sequence.wrapping_add(1);
        self.send(&request(family, query, self.sequence))?;
        let mut is_interrupted = false;
        loop {
            let datagram = self.receive()?;
            let progress = message::parse(&self.buffer[..datagram], self.sequence, rows)?;
            is_interrupted |= progress.is_interrupted;
            if progress.is_done {
                return Ok(is_interrupted);
            }
        }
    }

    fn send(&self, request: &[u8]) -> io::Result<()> {
        // SAFETY: the kernel reads the request within its length.
        let sent = unsafe {
            libc::send(
                self.socket.as_raw_fd(),
                request.as_ptr().cast(),
                request.len(),
                0,
            )
        };
        match usize::try_from(sent) {
            Ok(_) => Ok(()),
            Err(_) => Err(io::Error::last_os_error()),
        }
    }

    /// Length of the kernel's next datagram, which is then in the buffer.
    fn receive(&mut self) -> io::Result<usize> {
        loop {
            // A truncated datagram is lost, so its length is queried first.
            let (length, _) = self.receive_with(libc::MSG_PEEK | libc::MSG_TRUNC)?;
            if length > self.buffer.len() {
                self.buffer.resize(length, 0);
            }
            let (length, sender) = self.receive_with(0)?;
            // Anybody may write to a netlink socket; the kernel's port is 0.
            if sender == 0 {
                return Ok(length.min(self.buffer.len()));
            }
        }
    }

    fn receive_with(&mut self, flags: libc::c_int) -> io::Result<(usize, u32)> {
        loop {
            // SAFETY: plain bytes, for which zero is valid.
            let mut sender: libc::sockaddr_nl = unsafe { std::mem::zeroed() };
            let mut sender_bytes = size_of::<libc::sockaddr_nl>() as libc::socklen_t;
            // SAFETY: the kernel writes within the buffer's length, and an address within the length given.
            let length = unsafe {
                libc::recvfrom(
                    self.socket.as_raw_fd(),
                    self.buffer.as_mut_ptr().cast(),
                    self.buffer.len(),
                    flags,
                    (&raw mut sender).cast(),
                    &raw mut sender_bytes,
                )
            };
            match usize::try_from(length) {
                Ok(length) => return Ok((length, sender.nl_pid)),
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
    }
}

fn request(family: i32, query: Query, sequence: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(REQUEST_BYTES);
    bytes.extend((REQUEST_BYTES as u32).to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    let extensions = if query.with_times {
        1_u8 << (INET_DIAG_INFO - 1) | 1_u8 << (INET_DIAG_SKMEMINFO - 1)
    } else {
        0
    };
    bytes.extend([family as u8, libc::IPPROTO_TCP as u8, extensions, 0]);
    bytes.extend(query.states.to_ne_bytes());
    // `idiag_sport`, the first field of the `inet_diag_sockid`.
    bytes.extend(query.local_port.unwrap_or(0).to_be_bytes());
    bytes.resize(REQUEST_BYTES, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};

    use twtrace_core::model::socket::Timer;

    use super::*;

    fn dump(query: Query) -> Vec<SocketRow> {
        DiagSocket::new(open().unwrap())
            .unwrap()
            .dump(query)
            .unwrap()
    }

    fn find(rows: &[SocketRow], local: SocketAddr, remote: SocketAddr) -> Vec<SocketRow> {
        let is = |row: &&SocketRow| row.local == local && row.remote == remote;
        rows.iter().filter(is).copied().collect()
    }

    #[test]
    fn live_sockets_are_found_in_their_states() {
        // An IPv6 listener that takes IPv4 too.
        let listener = TcpListener::bind("[::]:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.write_all(b"x").unwrap();
        server.read_exact(&mut [0]).unwrap();
        let (at_client, target) = (client.local_addr().unwrap(), client.peer_addr().unwrap());

        let rows = dump(Query::all().with_times());
        let listening = rows
            .iter()
            .find(|row| row.local == listener.local_addr().unwrap())
            .unwrap();
        assert_eq!(
            (listening.state, listening.v6only, listening.mapped),
            (TcpState::Listen, Some(false), false)
        );
        let [accepted] = find(&rows, target, at_client)[..] else {
            panic!("not one row for the server's end");
        };
        assert_eq!(
            (accepted.state, accepted.mapped),
            (TcpState::Established, true)
        );
        assert!(accepted.inode != 0 && accepted.cookie != 0 && !accepted.is_mini());
        assert!(accepted.times.is_some() && accepted.queue.is_none());
        let queue = listening.queue.unwrap();
        assert_eq!((queue.length, queue.drops), (0, Some(0)));
        assert!(queue.backlog > 0);

        drop(client);
        // The server's end of the stream shows that the FIN has arrived.
        server.read_to_end(&mut Vec::new()).unwrap();
        let rows = dump(Query::of(&[TcpState::CloseWait]));
        let [left] = find(&rows, target, at_client)[..] else {
            panic!("not one row in CLOSE_WAIT");
        };
        assert_eq!((left.cookie, left.times), (accepted.cookie, None));
        assert!(rows.iter().all(|row| row.state == TcpState::CloseWait));

        let minis = find(&dump(Query::all()), at_client, target);
        for mini in minis.iter().filter(|row| row.timer == Timer::TimeWait) {
            assert_eq!((mini.state, mini.inode), (TcpState::FinWait2, 0));
            assert!(mini.expires.unwrap().as_secs() <= 61);
        }
    }
}
