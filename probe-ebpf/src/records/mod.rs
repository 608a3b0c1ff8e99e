//! Map values that only the kernel side uses. Those that userspace reads are in `twtrace-wire`.

mod actor;
mod call;
mod conn;
mod fact;
mod listener;
mod mini;
mod slot;
mod turns;

pub use actor::*;
pub use call::*;
pub use conn::*;
pub use fact::*;
pub use listener::*;
pub use mini::*;
pub use slot::*;
pub use turns::*;
