//! Capabilities that twtrace needs from the kernel, the hooks that can provide each, and what follows for the figures:
//! tables without any I/O. `probe` attaches according to them.

pub mod plan;
mod tiers;

pub use plan::missed;
pub use tiers::{
    Choice, Hook, Question, ResetsSeen, Tier, Tiers, resets_seen, sees_accept, sees_ends,
    sees_refused_reuse,
};
