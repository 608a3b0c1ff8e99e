//! One event as it must be reported.

use std::{collections::BTreeMap, net::SocketAddr, rc::Rc};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use twtrace_wire::EventKind;

use super::environment::Question;
use crate::actor::{Actor, command::Connection};

/// Which end of the connection a socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// It called connect().
    Client,
    /// It was accepted.
    Server,
    /// Open before tracing began.
    Unknown,
}

/// States, with their names in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TcpState {
    /// `established`
    Established,
    /// `syn_sent`
    SynSent,
    /// `fin_wait1`
    FinWait1,
    /// `fin_wait2`
    FinWait2,
    /// `closing`
    Closing,
    /// `time_wait`
    TimeWait,
    /// `close_wait`
    CloseWait,
    /// `last_ack`
    LastAck,
    /// `listen`
    Listen,
}

/// Reasons of resets and aborts, with their names in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// close() with SO_LINGER {on, 0}
    LingerZero,
    /// close() over unread data
    UnreadData,
    /// data arrived for a closed connection
    DataAfterClose,
    /// connect() found no listener
    Refused,
    /// the segment found no socket
    NoSocket,
    /// a timeout
    Timeout,
    /// ended by other means
    Aborted,
    /// the peer sent it
    Peer,
    /// destroyed from outside
    Destroyed,
    /// given up while connecting
    Unanswered,
    /// none of the others
    Other,
}

/// Why an event has no process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unattributed {
    /// The connection was closing before tracing began.
    ClosedBeforeTracing,
    /// There was no socket.
    NoSocket,
    /// No process acted, and the opener is not known.
    Unknown,
}

/// A process, as an event must report it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpectedProcess {
    /// Thread-group id.
    pub pid: i32,
    /// Comm of the leader.
    pub comm: String,
}

impl From<&Actor> for ExpectedProcess {
    fn from(actor: &Actor) -> Self {
        Self {
            pid: actor.pid,
            comm: actor.comm.clone(),
        }
    }
}

impl From<&Rc<Actor>> for ExpectedProcess {
    fn from(actor: &Rc<Actor>) -> Self {
        Self::from(&**actor)
    }
}

/// What one field must hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Check {
    /// This value. `null` also stands for a field that may be missing.
    Is(Value),
    /// One of these values.
    OneOf(Vec<Value>),
    /// An integer in this range, both ends included.
    Between(u64, u64),
    /// `null`, or an integer in this range.
    NullOrBetween(u64, u64),
    /// A string that ends with this text.
    EndsWith(String),
}

/// Roles that are known only through accept().
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ByAccept {
    /// The opener; the process did act itself.
    Opener,
    /// The opener, which is therefore also the process: it did not act itself.
    OpenerAndProcess,
}

/// One event as it must be reported.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Expected {
    /// `event`
    #[serde(with = "twtrace_core::event::words")]
    pub kind: EventKind,
    /// The capability whose tier decides whether this can be seen at all.
    pub question: Question,
    /// Set if accept() must be seen to know all of the event.
    pub by_accept: Option<ByAccept>,
    /// The end of the kernel's own reason for a RST, on kernels that have one; its prefix varies.
    pub kernel_word: Option<String>,
    /// Fields by their path in the event (`process.pid`).
    pub checks: BTreeMap<String, Check>,
}

fn word<T: Serialize>(member: T) -> Value {
    serde_json::to_value(member).unwrap_or(Value::Null)
}

impl Expected {
    fn new(kind: EventKind, question: Question) -> Self {
        let mut expected = Self {
            kind,
            question,
            by_accept: None,
            kernel_word: None,
            checks: BTreeMap::new(),
        };
        expected.set("event", Check::Is(json!(kind.as_str())));
        expected.set("mapped", Check::Is(json!(false)));
        expected
    }

    /// Whether a listener does it.
    pub fn is_of_listener(&self) -> bool {
        matches!(self.checks.get("state"), Some(Check::Is(state)) if state == "listen")
    }

    /// Creation of a TIME_WAIT in this state (`TimeWait` or `FinWait2`).
    pub fn time_wait(state: TcpState) -> Self {
        Self::new(EventKind::TimeWait, Question::TimeWait)
            .with("state", word(state))
            .with("inferred", json!(false))
    }

    /// A TIME_WAIT that the kernel refused.
    pub fn overflow() -> Self {
        Self::new(EventKind::TimeWaitOverflow, Question::TimeWait).with("inferred", json!(false))
    }

    /// The end of a TIME_WAIT, with the contract's word for its cause. It was not reused.
    pub fn time_wait_end(cause: &str) -> Self {
        Self::new(EventKind::TimeWaitEnd, Question::TimeWaitEnd)
            .with("cause", json!(cause))
            .with("inferred", json!(false))
            .with("by", Value::Null)
    }

    /// `by`: the process whose connect() took the tuple.
    pub fn reused_by(mut self, who: impl Into<ExpectedProcess>) -> Self {
        let who = who.into();
        self.checks.remove("by");
        self.with("by.pid", json!(who.pid))
            .with("by.comm", json!(who.comm))
    }

    /// A sent RST. `kernel_word` is the end of the kernel's own reason.
    pub fn reset_sent(reason: Reason, kernel_word: &str) -> Self {
        let mut expected = Self::new(EventKind::Reset, Question::Reset)
            .with("direction", json!("sent"))
            .with("reason", word(reason));
        expected.kernel_word = Some(kernel_word.to_owned());
        expected
    }

    /// A RST sent for a segment that found no full socket.
    pub fn reset_without_socket(reason: Reason, kernel_word: &str) -> Self {
        let mut expected = Self::reset_sent(reason, kernel_word);
        expected.question = Question::ResetWithoutSocket;
        expected
    }

    /// A received RST.
    pub fn reset_received(reason: Reason) -> Self {
        Self::new(EventKind::Reset, Question::Reset)
            .with("direction", json!("received"))
            .with("reason", word(reason))
            .with("kernel_reason", Value::Null)
    }

    /// A connection that ended without a RST.
    pub fn abort(reason: Reason) -> Self {
        Self::new(EventKind::Abort, Question::State).with("reason", word(reason))
    }

    /// An ephemeral port allocation: the operation, the requested port, and `ok` or the errno's name.
    pub fn port(op: &str, requested: u16, result: &str) -> Self {
        Self::new(EventKind::PortAlloc, Question::Port)
            .with("op", json!(op))
            .with("requested", json!(requested))
            .with("result", json!(result))
            .with("exact", json!(true))
    }

    /// A bind() or connect() that failed since the host lacks an address.
    pub fn no_address(op: &str) -> Self {
        Self::new(EventKind::NoAddress, Question::NoAddress)
            .with("op", json!(op))
            .with("result", json!("EADDRNOTAVAIL"))
    }

    /// Sets a check.
    pub fn set(&mut self, path: &str, check: Check) {
        self.checks.insert(path.to_owned(), check);
    }

    /// A field that must hold this value.
    pub fn with(mut self, path: &str, value: Value) -> Self {
        self.set(path, Check::Is(value));
        self
    }

    /// A field that must pass this check.
    pub fn checked(mut self, path: &str, check: Check) -> Self {
        self.set(path, check);
        self
    }

    /// `state`
    pub fn state(self, state: TcpState) -> Self {
        self.with("state", word(state))
    }

    /// `state`, if two are correct.
    pub fn state_of(self, states: &[TcpState]) -> Self {
        let words = states.iter().map(word).collect();
        self.checked("state", Check::OneOf(words))
    }

    /// `from`: the full socket left one of these.
    pub fn from(self, states: &[TcpState]) -> Self {
        let words = states.iter().map(word).collect();
        self.checked("from", Check::OneOf(words))
    }

    /// `process`
    pub fn process(self, who: impl Into<ExpectedProcess>) -> Self {
        let who = who.into();
        self.with("process.pid", json!(who.pid))
            .with("process.comm", json!(who.comm))
            .with("process.thread_comm", Value::Null)
            .with("unattributed", Value::Null)
    }

    /// `process.thread_comm`
    pub fn thread(self, name: &str) -> Self {
        self.with("process.thread_comm", json!(name))
    }

    /// `process` is null, and why.
    pub fn nobody(self, why: Unattributed) -> Self {
        self.with("process", Value::Null)
            .with("unattributed", word(why))
    }

    /// `opener`: the process that called connect().
    pub fn opener(self, who: impl Into<ExpectedProcess>) -> Self {
        let who = who.into();
        self.with("opener.pid", json!(who.pid))
            .with("opener.comm", json!(who.comm))
    }

    /// `opener`: the process that called accept(); the process did act itself.
    pub fn acceptor(mut self, who: impl Into<ExpectedProcess>) -> Self {
        self.by_accept = Some(ByAccept::Opener);
        self.opener(who)
    }

    /// `opener` and `process`: the process that called accept(), and did not act itself.
    pub fn acceptors(mut self, who: impl Into<ExpectedProcess>) -> Self {
        let who = who.into();
        self.by_accept = Some(ByAccept::OpenerAndProcess);
        self.opener(who.clone()).process(who)
    }

    /// `opener` is null.
    pub fn no_opener(self) -> Self {
        self.with("opener", Value::Null)
    }

    /// `process`, `opener` and `side` of a client that opens and closes by itself.
    pub fn own_client(self, who: &Actor) -> Self {
        self.process(who).opener(who).side(Side::Client)
    }

    /// `process`, `opener` and `side` of a server that accepts and closes by itself.
    pub fn own_server(self, who: &Actor) -> Self {
        self.process(who).acceptor(who).side(Side::Server)
    }

    /// Where the process runs: its cgroup, container, pod and unit.
    pub fn place(self, cgroup: &str, [container, pod, unit]: [Option<&str>; 3]) -> Self {
        self.with("process.cgroup", json!(cgroup))
            .with("process.container_id", json!(container))
            .with("process.pod_uid", json!(pod))
            .with("process.unit", json!(unit))
    }

    /// `side`
    pub fn side(self, side: Side) -> Self {
        self.with("side", word(side))
    }

    /// `local` and `remote`, as seen from the actor.
    pub fn ends(self, connection: &Connection) -> Self {
        self.local(connection.local).remote(connection.remote)
    }

    /// `local`
    pub fn local(self, address: SocketAddr) -> Self {
        self.with("local", json!(address.to_string()))
    }

    /// `remote`
    pub fn remote(self, address: SocketAddr) -> Self {
        self.with("remote", json!(address.to_string()))
    }

    /// `mapped`: IPv4 through an IPv6 socket.
    pub fn mapped(self) -> Self {
        self.with("mapped", json!(true))
    }

    /// `bytes_sent` and `bytes_received`
    pub fn bytes(self, sent: u64, received: u64) -> Self {
        self.with("bytes_sent", json!(sent))
            .with("bytes_received", json!(received))
    }
}
