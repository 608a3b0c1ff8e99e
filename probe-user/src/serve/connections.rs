//! Limits the clients that are served at the same time, and selects the connection to close when another arrives.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::{AbortHandle, Id};

/// Maximum number of connections. Each takes a descriptor and a small buffer.
pub const MAX_CONNECTIONS: usize = 256;
/// A connection without a request for this long may be closed for another. Clients send theirs at once: with this, 5,000
/// connections a second that send nothing keep nobody waiting.
const PATIENCE: Duration = Duration::from_millis(50);

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
    open: HashMap<Id, Open>,
    /// Number of connections of each peer.
    of_peers: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Open {
    task: AbortHandle,
    activity: Arc<Activity>,
    peer: IpAddr,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            open: HashMap::new(),
            of_peers: HashMap::new(),
        }
    }
}

impl Connections {
    /// Whether there is room for another.
    pub fn has_room(&self) -> bool {
        self.open.len() < MAX_CONNECTIONS
    }

    /// Whether there may soon be none.
    pub fn is_crowded(&self) -> bool {
        self.open.len() >= MAX_CONNECTIONS / 4 * 3
    }

    /// The activity of a connection that is about to be opened.
    pub fn activity(&self) -> Arc<Activity> {
        Arc::new(Activity::new(self.since))
    }

    pub fn opened(&mut self, task: AbortHandle, activity: Arc<Activity>, peer: IpAddr) {
        let open = Open {
            task,
            activity,
            peer,
        };
        *self.of_peers.entry(peer).or_default() += 1;
        self.open.insert(open.task.id(), open);
    }

    pub fn closed(&mut self, id: Id) {
        let Some(open) = self.open.remove(&id) else {
            return;
        };
        if let Some(count) = self.of_peers.get_mut(&open.peer) {
            *count -= 1;
            if *count == 0 {
                self.of_peers.remove(&open.peer);
            }
        }
    }

    /// Closes the connection that has waited longest for a request, or for its answer to be read, if that is long
    /// enough: a client that only holds connections open must not keep others out. Of several peers, it is one of that
    /// with the most connections. Returns whether there was one.
    pub fn shed(&mut self) -> bool {
        let largest = self.of_peers.iter().max_by_key(|(_, count)| **count);
        let largest = largest.map(|(peer, _)| *peer);
        let longest = self
            .longest_idle(|open| Some(open.peer) == largest)
            .or_else(|| self.longest_idle(|_| true));
        let Some(id) = longest else {
            return false;
        };
        self.open[&id].task.abort();
        self.closed(id);
        true
    }

    fn longest_idle(&self, is_meant: impl Fn(&Open) -> bool) -> Option<Id> {
        let now_ms = millis(self.since.elapsed());
        let idle = self.open.iter().filter_map(|(id, open)| {
            let idle_ms = open.activity.idle_ms.load(Ordering::Relaxed);
            let is_idle = idle_ms != BUSY && now_ms.saturating_sub(idle_ms) >= millis(PATIENCE);
            (is_idle && is_meant(open)).then_some((idle_ms, *id))
        });
        idle.min_by_key(|(idle_ms, _)| *idle_ms).map(|(_, id)| id)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use tokio::task::JoinHandle;

    use super::*;

    fn opened(connections: &mut Connections, idle_ms: u64, peer: [u8; 4]) -> JoinHandle<()> {
        let task = tokio::spawn(std::future::pending::<()>());
        let activity = connections.activity();
        activity.idle_ms.store(idle_ms, Ordering::Relaxed);
        connections.opened(task.abort_handle(), activity, peer.into());
        task
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_longest_idle_goes_and_a_busy_one_stays() {
        let mut connections = Connections::default();
        connections.since -= Duration::from_secs(60);
        let mut open = |idle_ms| opened(&mut connections, idle_ms, [127, 0, 0, 1]);
        let (busy, young, old) = (open(BUSY), open(59_990), open(10));
        assert!(connections.shed());
        assert!(!connections.shed());
        assert!(old.await.unwrap_err().is_cancelled());
        assert_eq!(connections.open.len(), 2);
        assert!(!busy.is_finished() && !young.is_finished());
        assert!(connections.has_room());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn who_has_the_most_loses_one() {
        let mut connections = Connections::default();
        connections.since -= Duration::from_secs(60);
        let scraper = opened(&mut connections, 10, [10, 0, 0, 1]);
        let many: Vec<_> = (0..3)
            .map(|idle_ms| opened(&mut connections, 1_000 + idle_ms, [10, 0, 0, 2]))
            .collect();
        assert!(connections.shed() && connections.shed());
        tokio::task::yield_now().await;
        let is_finished: Vec<bool> = many.iter().map(JoinHandle::is_finished).collect();
        assert_eq!(is_finished, [true, true, false]);
        assert!(!scraper.is_finished());
    }
}
