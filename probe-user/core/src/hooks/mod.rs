//! What twtrace asks of the kernel, by which hooks each question can be answered, and what follows for the figures: tables
//! without any I/O. `probe` attaches by them.

pub mod plan;
mod tiers;

pub use plan::missed;
pub use tiers::{
    Choice, Hook, Question, ResetsSeen, Tier, Tiers, resets_seen, sees_accept, sees_ends,
    sees_refused_reuse,
};
