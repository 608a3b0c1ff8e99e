//! TIME_WAITs: how their mini-sockets (the kernel's timewait socks) are created, and how they end.

pub mod birth;
pub mod end;
pub mod inferred;
pub mod timer;
