//! What the maps hold: values of the kernel side's own. Those that userspace reads are in `twtrace-wire`.

mod actor;
mod call;
mod fact;
mod listener;
mod mini;
mod story;
mod turns;

pub use actor::*;
pub use call::*;
pub use fact::*;
pub use listener::*;
pub use mini::*;
pub use story::*;
pub use turns::*;
