//! Connections that a client opens and closes all the time: what is known of them, and what may be the cause.

use std::net::SocketAddr;

use super::facts::DoctorFacts;
use crate::event::quantity::duration;
use crate::model::lives::Lives;
use crate::model::pairs::PairRow;

/// Fraction of the connections that passed in the same way, from which it is the rule.
const MOST: f64 = 0.8;
/// Minimum number of them.
const MANY: u64 = 20;

/// The connections of one process to one destination.
pub struct Churn {
    /// Those that it closed first.
    pub lives: Lives,
    /// Connections to the destination that are open at the end, of any process; `None` if they are not known.
    pub open: Option<u64>,
    /// Whether these are more than are open at a time if each is closed after its use.
    are_kept: bool,
}

/// What they have in common.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pattern {
    /// Closed as soon as the last data had passed.
    AtOnce,
    /// Closed after a second or more without data.
    Idle,
    /// Neither, or not known.
    Other,
}

impl Churn {
    /// Of a pair with this rate of closes per second.
    pub fn of(facts: &DoctorFacts, row: &PairRow, remote: SocketAddr, per_s: f64) -> Self {
        let lives = *row.counts.lives;
        let pools = facts.report.budgets.iter();
        let mut live = pools
            .filter(|pool| pool.netns == row.netns && pool.destination == Some(remote))
            .filter_map(|pool| pool.live)
            .map(u64::from)
            .peekable();
        let open = live.peek().is_some().then_some(live).map(Iterator::sum);
        // On average so many are open at a time, if each lasts as long as those that were closed.
        let in_use = lives.mean_ns().map(|mean_ns| per_s * mean_ns as f64 / 1e9);
        let are_kept = match (open, in_use) {
            (Some(open @ 1..), Some(in_use)) => open as f64 > 2.0 * in_use + 1.0,
            _ => false,
        };
        Self {
            lives,
            open,
            are_kept,
        }
    }

    fn pattern(&self) -> Pattern {
        let is_rule =
            |count: u64| self.lives.count >= MANY && count as f64 >= self.lives.count as f64 * MOST;
        if is_rule(self.lives.closed_at_once) {
            Pattern::AtOnce
        } else if is_rule(self.lives.were_idle) {
            Pattern::Idle
        } else {
            Pattern::Other
        }
    }

    /// What is known, and possible causes.
    pub fn in_words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(mean_ns) = self.lives.mean_ns() {
            words.push(format!(
                "of {} whose times are known, each lasted {} on average; {} were closed within 100ms of their last data, {} after \
                 1s or more without data",
                self.lives.count,
                duration(mean_ns),
                self.lives.closed_at_once,
                self.lives.were_idle
            ));
        }
        if let (true, Some(open)) = (self.are_kept, self.open) {
            words.push(format!(
                "{open} connections to it are open at the end, more than that many closes need: some are kept"
            ));
        }
        words.push(
            match (self.pattern(), self.are_kept) {
                (Pattern::Idle, _) => {
                    "possible cause: the client closes connections that were idle for some time, and needs new ones soon after"
                }
                (_, true) => {
                    "possible causes: a pool keeps fewer idle connections than are in use at a time, and closes the rest; or another \
                     part of the program does not use the pool"
                }
                (Pattern::AtOnce, false) => {
                    "possible causes: a connection for each request (no keep-alive), or a pool that keeps fewer idle connections \
                     than are in use at a time, and closes the rest"
                }
                (Pattern::Other, false) => {
                    "possible causes: no keep-alive, a pool that is too small, or an idle timeout that is too short"
                }
            }
            .to_owned(),
        );
        words
    }

    /// The best first.
    pub fn to_do(&self) -> Vec<String> {
        let keep = "keep connections alive and use them again (a pool, HTTP keep-alive; nginx: keepalive in upstream, with \
                    proxy_http_version 1.1 and an empty Connection header)";
        let raise = "let the pool keep as many idle connections as are in use at a time (nginx: the number of keepalive; Go: \
                     MaxIdleConnsPerHost, which is 2; Java: the maximum per route)";
        let wait = "raise the idle timeout of the client's pool, below that of the server";
        let to_do = match (self.pattern(), self.are_kept) {
            (Pattern::Idle, _) => [wait, raise],
            (_, true) => [raise, keep],
            (_, false) => [keep, raise],
        };
        to_do.map(str::to_owned).to_vec()
    }
}

#[cfg(test)]
mod tests {
    use twtrace_wire::Side;

    use super::super::samples;
    use super::*;

    const REMOTE: &str = "10.0.0.2:80";

    /// 100 closes a second.
    fn churn(lives: Lives, open: u32) -> Churn {
        let mut facts = samples::healthy();
        facts.report.budgets[0].live = Some(open);
        let mut row = samples::pair(Side::Client, REMOTE, 1_000, 0);
        row.counts.lives = lives.into();
        Churn::of(&facts, &row, REMOTE.parse().unwrap(), 100.0)
    }

    fn lives(closed_at_once: u64, were_idle: u64) -> Lives {
        Lives {
            count: 1_000,
            lasted_ns: 20_000_000_000,
            closed_at_once,
            were_idle,
        }
    }

    #[test]
    fn causes_follow_from_what_is_known() {
        // 100 a second that last 20 ms: two are open at a time.
        for (churn, cause, remedy) in [
            (
                churn(lives(1_000, 0), 3),
                "a connection for each request",
                "keep connections alive",
            ),
            (
                churn(lives(1_000, 0), 30),
                "or another part of the program",
                "let the pool keep",
            ),
            (
                churn(lives(10, 900), 3),
                "were idle for some time",
                "raise the idle timeout",
            ),
            (
                churn(Lives::default(), 30),
                "no keep-alive, a pool",
                "keep connections alive",
            ),
        ] {
            let words = churn.in_words().join("\n");
            assert!(words.contains(cause), "{words}");
            assert!(churn.to_do()[0].starts_with(remedy), "{words}");
        }
        let words = churn(lives(1_000, 0), 30).in_words();
        assert!(
            words[0].starts_with("of 1000 whose times are known, each lasted 20.0ms"),
            "{words:?}"
        );
        assert!(
            words[1].starts_with("30 connections to it are open"),
            "{words:?}"
        );
    }
}
