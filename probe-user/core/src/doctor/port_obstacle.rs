//! What is in the way of a call for a fixed port.

use twtrace_wire::Side;

use crate::doctor::facts::DoctorFacts;
use crate::model::fixed_ports::{FixedPortHolder, FixedPortRow};
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
    /// An outgoing connection or its TIME_WAIT, or one that may be.
    Outgoing,
    /// A connection that a server accepted, or its TIME_WAIT.
    Incoming,
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
            Side::Unknown if may_be_chosen(facts, row) => Obstacle::Outgoing,
            Side::Unknown => Obstacle::Incoming,
        },
    }
}

/// Whether connect() may choose the port by itself, as far as settings show.
pub fn may_be_chosen(facts: &DoctorFacts, row: &FixedPortRow) -> bool {
    facts.state(row.netns).is_none_or(|state| {
        state.ports.range.contains(row.port) && !state.ports.reserved.contains(row.port)
    })
}
