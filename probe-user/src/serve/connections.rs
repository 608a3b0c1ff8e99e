//! Limits the clients that are served at the same time, and selects the connection to close when another arrives.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::{AbortHandle, Id};

/// Maximum number of connections. Each takes a descriptor and a small buffer.
pub const MAX_CONNECTIONS: usize = 128;
/// A connection without a request for this long may be closed for another.
const PATIENCE: Duration = Duration::from_secs(1);

/// Since when no request is being answered, milliseconds; or `BUSY`.
#[derive(Debug)]
pub struct Activity {
    since: Instant,
    idle_ms: AtomicU64,
}

const BUSY: u64 = u64::MAX;

impl Activity {
    fn new(since: Instant) -> Self {
        Self {
            since,
            idle_ms: AtomicU64::new(millis(since.elapsed())),
        }
    }

    /// A request is being answered.
    pub fn busy(&self) {
        self.idle_ms.store(BUSY, Ordering::Relaxed);
    }

    /// It has been answered, whether the client reads the answer or not.
    pub fn idle(&self) {
        let now_ms = millis(self.since.elapsed());
        self.idle_ms.store(now_ms, Ordering::Relaxed);
    }
}

/// The open connections.
#[derive(Debug)]
pub struct Connections {
    since: Instant,
    open: HashMap<Id, (AbortHandle, Arc<Activity>)>,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            open: HashMap::new(),
        }
    }
}

impl Connections {
    /// Whether there is room for another.
    pub fn has_room(&self) -> bool {
        self.open.len() < MAX_CONNECTIONS
    }

    /// The activity of a connection that is about to be opened.
    pub fn activity(&self) -> Arc<Activity> {
        Arc::new(Activity::new(self.since))
    }

    pub fn opened(&mut self, task: AbortHandle, activity: Arc<Activity>) {
        self.open.insert(task.id(), (task, activity));
    }

    pub fn closed(&mut self, id: Id) {
        self.open.remove(&id);
    }

    /// Closes the connection that has waited longest for a request, or for its answer to be read, if that is long
    /// enough: a client that only holds connections open must not keep others out.
    pub fn shed(&mut self) {
        let now_ms = millis(self.since.elapsed());
        let idle = self.open.values().filter_map(|(task, activity)| {
            let idle_ms = activity.idle_ms.load(Ordering::Relaxed);
            (idle_ms != BUSY && now_ms.saturating_sub(idle_ms) >= millis(PATIENCE))
                .then_some((idle_ms, task))
        });
        if let Some((_, task)) = idle.min_by_key(|(idle_ms, _)| *idle_ms) {
            task.abort();
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn the_longest_idle_goes_and_a_busy_one_stays() {
        let mut connections = Connections::default();
        connections.since -= Duration::from_secs(60);
        let mut open = |idle_ms: u64| {
            let task = tokio::spawn(std::future::pending::<()>());
            let activity = connections.activity();
            activity.idle_ms.store(idle_ms, Ordering::Relaxed);
            connections.opened(task.abort_handle(), activity);
            task
        };
        let (busy, young, old) = (open(BUSY), open(59_900), open(10));
        connections.shed();
        connections.shed();
        assert!(old.await.unwrap_err().is_cancelled());
        connections.closed(connections.open.keys().copied().next().unwrap());
        assert!(!busy.is_finished() && !young.is_finished());
        assert!(connections.has_room());
    }
}
