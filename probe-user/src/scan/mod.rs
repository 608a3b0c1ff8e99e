//! Which sockets exist now, and which processes hold them: samples of the kernel's own tables, without events.
//!
//! [`snapshot::take`] dumps the sockets of every namespace, and [`owners::Owners::find`] finds the processes that
//! hold them. Entering a namespace takes a privilege that the program drops. A [`namespace_helper::NamespaceHelper`]
//! that was started before keeps it, in a process of its own.

pub mod descriptor;
pub mod message;
pub mod namespace;
pub mod namespace_helper;
pub mod open;
pub mod owners;
pub mod setting;
pub mod slab;
pub mod snapshot;
pub mod sock_diag;
