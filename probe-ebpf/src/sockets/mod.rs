//! The kernel's structs: sockets (mini-sockets and request sockets have the same head), their connections, the segments
//! that they receive, and the descriptors of processes.

pub mod descriptor;
pub mod read;
pub mod segment;
pub mod sock;
pub mod state;
pub mod traffic;
pub mod tuple;
