//! What sockets exist now, and whose they are: no events, a look at the kernel's own tables.
//!
//! [`snapshot::take`] dumps the sockets of every namespace, [`owners::Owners::find`] says which processes
//! hold them. Entering a namespace takes a privilege that the program drops; a [`namespace_helper::NamespaceHelper`] made before
//! that keeps it, in a process of its own.

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
