//! How the connections passed that one process closed first: counted once there are many of them.

use super::sparse::Nothing;
use crate::event::TimeWait;

/// TIME_WAITs of a pair before their connections are counted: most pairs have few, and take no memory for it.
pub const COUNTED_FROM: u64 = 32;
/// Within this time after its last data a connection was closed at once, nanoseconds.
const AT_ONCE_NS: u64 = 100_000_000;
/// From this time on it was idle before, nanoseconds.
const IDLE_NS: u64 = 1_000_000_000;

/// Connections that were closed here first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lives {
    /// How many are counted: their times are known.
    pub count: u64,
    /// Sum of their durations, nanoseconds.
    pub lasted_ns: u64,
    /// Those that ended within a tenth of a second after their last data.
    pub closed_at_once: u64,
    /// Those without data for a second or longer before they were closed.
    pub were_idle: u64,
}

impl Nothing for Lives {
    const NOTHING: &'static Self = &Self {
        count: 0,
        lasted_ns: 0,
        closed_at_once: 0,
        were_idle: 0,
    };

    fn is_nothing(&self) -> bool {
        self == Self::NOTHING
    }
}

impl Lives {
    /// Counts a connection, if its times are known.
    pub fn add(&mut self, closed: &TimeWait) {
        let flow = &closed.flow;
        let (Some(lasted_ns), Some(idle_ns)) = (flow.connection_ns, flow.idle_ns) else {
            return;
        };
        self.count += 1;
        self.lasted_ns = self.lasted_ns.saturating_add(lasted_ns);
        self.closed_at_once += u64::from(idle_ns < AT_ONCE_NS);
        self.were_idle += u64::from(idle_ns >= IDLE_NS);
    }

    /// Adds others.
    pub fn add_all(&mut self, other: &Self) {
        self.count += other.count;
        self.lasted_ns = self.lasted_ns.saturating_add(other.lasted_ns);
        self.closed_at_once += other.closed_at_once;
        self.were_idle += other.were_idle;
    }

    /// How long they lasted on average, nanoseconds.
    pub fn mean_ns(&self) -> Option<u64> {
        self.lasted_ns.checked_div(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{EventFacts, samples};

    #[test]
    fn connections_are_sorted_by_how_they_ended() {
        let mut lives = Lives::default();
        for (lasted_ns, idle_ns) in [
            (Some(2_000_000), Some(1_000_000)),
            (Some(6_000_000_000), Some(5_000_000_000)),
            (None, Some(1)),
            (Some(1), None),
        ] {
            let EventFacts::TimeWait(mut closed) = samples::time_wait().facts else {
                panic!("another event");
            };
            closed.flow.connection_ns = lasted_ns;
            closed.flow.idle_ns = idle_ns;
            lives.add(&closed);
        }
        assert_eq!(
            (lives.count, lives.closed_at_once, lives.were_idle),
            (2, 1, 1)
        );
        let mut sum = lives;
        sum.add_all(&lives);
        assert_eq!((sum.count, sum.mean_ns()), (4, lives.mean_ns()));
        assert_eq!(Lives::default().mean_ns(), None);
    }
}
