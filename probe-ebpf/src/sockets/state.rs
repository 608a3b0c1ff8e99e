//! State numbers as constants, for `match` patterns.

use twtrace_wire::TcpState;

pub const ESTABLISHED: u8 = TcpState::Established as u8;
pub const SYN_SENT: u8 = TcpState::SynSent as u8;
pub const SYN_RECV: u8 = TcpState::SynRecv as u8;
pub const FIN_WAIT1: u8 = TcpState::FinWait1 as u8;
pub const FIN_WAIT2: u8 = TcpState::FinWait2 as u8;
pub const TIME_WAIT: u8 = TcpState::TimeWait as u8;
pub const CLOSE: u8 = TcpState::Close as u8;
pub const CLOSE_WAIT: u8 = TcpState::CloseWait as u8;
pub const LAST_ACK: u8 = TcpState::LastAck as u8;
pub const LISTEN: u8 = TcpState::Listen as u8;
pub const CLOSING: u8 = TcpState::Closing as u8;
pub const NEW_SYN_RECV: u8 = TcpState::NewSynRecv as u8;
