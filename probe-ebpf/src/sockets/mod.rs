//! What the kernel has in its structs: sockets (of which a mini-socket or a request is the head), their connections, the
//! segments that they meet, and the descriptors that processes have for them.

pub mod descriptor;
pub mod read;
pub mod segment;
pub mod sock;
pub mod state;
pub mod traffic;
pub mod tuple;
