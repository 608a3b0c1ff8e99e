//! Resolved stacks, in limited memory: names and paths are of any length and number.

use std::collections::HashMap;

use twtrace_core::model::stacks::{Frame, Missing};

use super::job::Resolved;

/// Memory for all stacks, and for those of one user's processes, bytes. Of a stack that finds no room only its process and
/// its count are known.
const MAX_BYTES: usize = 64 << 20;
const MAX_BYTES_OF_USER: usize = 32 << 20;

/// Stacks by their ids.
#[derive(Debug, Default)]
pub struct Kept {
    stacks: HashMap<u64, Resolved>,
    bytes: usize,
    of_user: HashMap<Option<u32>, usize>,
}

impl Kept {
    /// Keeps a stack; without its frames if there is no room for them.
    pub fn insert(&mut self, id: u64, mut resolved: Resolved) {
        resolved.frames.shrink_to_fit();
        let bytes: usize = resolved.frames.iter().map(bytes_of).sum();
        let of_user = self.of_user.entry(resolved.user).or_default();
        if self.bytes + bytes > MAX_BYTES || *of_user + bytes > MAX_BYTES_OF_USER {
            resolved.frames = Vec::new();
            resolved.why = Some(Missing::SymbolsLimited);
        } else {
            self.bytes += bytes;
            *of_user += bytes;
        }
        self.stacks.insert(id, resolved);
    }

    pub fn get(&self, id: u64) -> Option<&Resolved> {
        self.stacks.get(&id)
    }
}

fn bytes_of(frame: &Frame) -> usize {
    let names = [&frame.symbol, &frame.module, &frame.file];
    let names = names.into_iter().flatten();
    size_of::<Frame>() + names.map(String::capacity).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use twtrace_core::model::stacks::FoundBy;
    use twtrace_wire::ProcessKey;

    use super::*;
    use crate::stack::job::unnamed;

    #[test]
    fn one_user_leaves_room_for_the_others() {
        let stack = |user| {
            let mut frame = unnamed((1, FoundBy::Scan));
            frame.symbol = Some("x".repeat(1 << 20));
            Resolved {
                process: ProcessKey::default(),
                user: Some(user),
                frames: vec![frame],
                why: None,
            }
        };
        let mut kept = Kept::default();
        for id in 0..100 {
            kept.insert(id, stack(1));
        }
        kept.insert(100, stack(2));
        let why = |id| kept.get(id).map(|it| (it.frames.len(), it.why));
        assert_eq!(why(0), Some((1, None)));
        assert_eq!(why(99), Some((0, Some(Missing::SymbolsLimited))));
        assert_eq!(why(100), Some((1, None)));
        assert!(kept.bytes <= MAX_BYTES);
    }
}
