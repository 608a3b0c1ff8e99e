//! Mini-sockets, which the kernel makes of full ones in TIME_WAIT (and in FIN_WAIT2, of orphans).

pub mod age;
pub mod hashed;
pub mod kept;
pub mod mini;
