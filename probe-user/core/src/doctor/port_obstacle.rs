//! What is in the way of a call for a fixed port.

use twtrace_wire::Side;

use crate::doctor::facts::DoctorFacts;
use crate::model::fixed_port_row::{FixedPortHolder, FixedPortRow};
use crate::model::port_holders::HolderKind;

/// What is in the way of a call, which decides the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// Another socket listens, or is bound.
    Server,
    /// The process that wants it has it, as listener or bound.
    Own,
    /// A connection to itself.
    SelfConnected,
    /// An outgoing connection or its TIME_WAIT.
    Outgoing,
    /// A connection that a server accepted, or its TIME_WAIT.
    Incoming,
    /// A connection or its TIME_WAIT that may be either.
    UnknownSide,
    /// The same connection of a connect() from a fixed port, or its TIME_WAIT.
    SameConnection,
}

impl Obstacle {
    /// The word in figures.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Own => "own_socket",
            Self::SelfConnected => "connected_to_itself",
            Self::Outgoing => "outgoing",
            Self::Incoming => "incoming",
            Self::UnknownSide => "unknown_side",
            Self::SameConnection => "same_connection",
        }
    }
}

/// What a socket in the way is.
pub fn obstacle(
    facts: &DoctorFacts,
    row: &FixedPortRow,
    is_connect: bool,
    holder: &FixedPortHolder,
) -> Obstacle {
    match holder.kind {
        HolderKind::Listener | HolderKind::Bound if holder.is_own => Obstacle::Own,
        HolderKind::Listener | HolderKind::Bound => Obstacle::Server,
        _ if is_connect => Obstacle::SameConnection,
        _ if holder.is_self_connected => Obstacle::SelfConnected,
        _ => match holder.side {
            Side::Client => Obstacle::Outgoing,
            Side::Server => Obstacle::Incoming,
            // connect() chooses ports of the range; those of other connections are a server's.
            Side::Unknown if may_be_chosen(facts, row) && !is_like_server(row, holder) => {
                Obstacle::UnknownSide
            }
            Side::Unknown => Obstacle::Incoming,
        },
    }
}

/// Whether a connection of unknown side is rather one that a server accepted: one of many, or of the program that wants
/// the port.
fn is_like_server(row: &FixedPortRow, holder: &FixedPortHolder) -> bool {
    let is_connection =
        |it: &&FixedPortHolder| matches!(it.kind, HolderKind::Connection | HolderKind::TimeWait);
    let others = row.holders.iter().filter(is_connection);
    let is_of_wanter = || {
        let both = row.process.as_ref().zip(holder.process.as_ref());
        both.is_some_and(|(one, other)| one.comm == other.comm)
    };
    row.holders.iter().any(|it| it.side == Side::Server)
        || others.map(|it| it.count).fold(0, u64::saturating_add) > 1
        || is_of_wanter()
}

/// Whether connect() may choose the port by itself, as far as settings show.
pub fn may_be_chosen(facts: &DoctorFacts, row: &FixedPortRow) -> bool {
    facts.state(row.netns).is_none_or(|state| {
        state.ports.range.contains(row.port) && !state.ports.reserved.contains(row.port)
    })
}
