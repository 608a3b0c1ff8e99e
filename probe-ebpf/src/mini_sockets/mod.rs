//! Mini-sockets: the kernel's timewait socks (`struct inet_timewait_sock`), which replace full sockets in TIME_WAIT,
//! and orphans in FIN_WAIT2.

pub mod age;
pub mod hashed;
pub mod kept;
pub mod mini;
mod place;
