//! Removes intervals by age and by size.

use rusqlite::{Connection, OptionalExtension};
use twtrace_core::event::timestamp::SECOND_NS;
use twtrace_core::event::{Moment, Timestamp};

/// Tables with rows of intervals.
const TABLES: [&str; 12] = [
    "process_row",
    "port_row",
    "destination_row",
    "dealing_row",
    "budget_row",
    "close_wait_row",
    "audit_row",
    "netns_row",
    "lost_row",
    "finding_row",
    "event_row",
    "interval",
];
/// A clock that is ahead by less is only slightly off.
const LEAP_NS: u64 = 60 * SECOND_NS;
/// A clock that jumped ahead is accepted after this long.
const DOUBT_NS: u64 = 3_600 * SECOND_NS;
/// One part in this many of all intervals is removed at a time when there is no room.
const PART: u64 = 50;

/// The clock by which ages are determined. It never goes back. It follows the wall clock, but does not accept a jump
/// ahead at once: a clock that is wrong for a while must not make everything old. Time without tracing looks like a
/// jump.
#[derive(Clone, Copy, Debug, Default)]
pub struct AgeClock {
    now_ns: u64,
    /// CLOCK_MONOTONIC of the latest moment of this run.
    mono_ns: Option<u64>,
    /// CLOCK_MONOTONIC when the wall clock was found to be ahead.
    doubted_since_ns: Option<u64>,
}

impl AgeClock {
    /// Continues from the time that was stored; 0 for the first time.
    pub fn from(now_ns: u64) -> Self {
        Self {
            now_ns,
            ..Self::default()
        }
    }

    /// Advances the clock to this moment, and returns its time.
    pub fn reached(&mut self, at: Moment) -> u64 {
        let went_ns = self
            .mono_ns
            .map_or(0, |before| at.mono_ns.saturating_sub(before));
        self.mono_ns = Some(at.mono_ns);
        if self.now_ns == 0 {
            self.now_ns = at.ts.0;
            return self.now_ns;
        }
        self.now_ns = self.now_ns.saturating_add(went_ns);
        let ahead_ns = at.ts.0.saturating_sub(self.now_ns);
        if ahead_ns < LEAP_NS {
            self.doubted_since_ns = None;
        } else {
            let since_ns = *self.doubted_since_ns.get_or_insert(at.mono_ns);
            if at.mono_ns.saturating_sub(since_ns) < DOUBT_NS {
                return self.now_ns;
            }
        }
        self.now_ns = self.now_ns.max(at.ts.0);
        self.now_ns
    }

    /// The current time, without advancing.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }
}

/// Removes intervals that are older than this time. Everything before an interval that is too old is too old as well.
pub fn forget_before(connection: &mut Connection, kept_unix_ns: i64) -> rusqlite::Result<bool> {
    let last: Option<i64> = connection
        .prepare_cached(
            "SELECT max(id) FROM interval WHERE kept_unix_ns < ? AND id < (SELECT max(id) FROM interval)",
        )?
        .query_row([kept_unix_ns], |row| row.get(0))?;
    match last {
        None => Ok(false),
        Some(last) => forget_to(connection, last).map(|()| true),
    }
}

/// Removes the oldest part, but never the latest interval. False if nothing is left to remove.
pub fn forget_part(connection: &mut Connection) -> rusqlite::Result<bool> {
    let count: u64 = connection.query_row("SELECT count(*) FROM interval", [], |row| row.get(0))?;
    if count < 2 {
        return Ok(false);
    }
    let last: Option<i64> = connection
        .query_row(
            "SELECT id FROM interval ORDER BY id LIMIT 1 OFFSET ?",
            [count / PART],
            |row| row.get(0),
        )
        .optional()?;
    match last {
        None => Ok(false),
        Some(last) => forget_to(connection, last).map(|()| true),
    }
}

fn forget_to(connection: &mut Connection, last: i64) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for table in TABLES {
        let column = match table {
            "interval" => "id",
            _ => "interval_id",
        };
        let sql = format!("DELETE FROM {table} WHERE {column} <= ?");
        transaction.prepare_cached(&sql)?.execute([last])?;
    }
    transaction
        .prepare_cached("DELETE FROM who WHERE last_interval_id <= ?")?
        .execute([last])?;
    transaction
        .prepare_cached("DELETE FROM run WHERE id < (SELECT min(run_id) FROM interval)")?
        .execute([])?;
    transaction.commit()
}

/// Returns free space in the file to the disk.
pub fn give_back(connection: &Connection) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("PRAGMA incremental_vacuum")?;
    let mut steps = statement.query([])?;
    // Each step frees one page.
    while steps.next()?.is_some() {}
    Ok(())
}

/// When the oldest interval began.
pub fn oldest(connection: &Connection) -> rusqlite::Result<Option<Timestamp>> {
    let began: Option<i64> = connection
        .prepare_cached("SELECT start_unix_ns FROM interval ORDER BY id LIMIT 1")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(began.map(|began| Timestamp(u64::try_from(began).unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_NS: u64 = 3_600 * SECOND_NS;
    const START_NS: u64 = 1_700_000_000 * SECOND_NS;

    /// The time of the clock after an hour of minutes in which the wall clock was off by this, and the time before.
    fn after_an_hour(clock: &mut AgeClock, mono_ns: &mut u64, off_ns: i64) -> u64 {
        let mut now_ns = 0;
        for _ in 0..60 {
            *mono_ns += 60 * SECOND_NS;
            now_ns = clock.reached(Moment {
                ts: Timestamp((START_NS + *mono_ns).saturating_add_signed(off_ns)),
                mono_ns: *mono_ns,
            });
        }
        now_ns
    }

    #[test]
    fn it_follows_a_clock_that_goes_right() {
        let (mut clock, mut mono_ns) = (AgeClock::from(0), 0);
        for _ in 0..3 {
            let now_ns = after_an_hour(&mut clock, &mut mono_ns, 0);
            assert_eq!(now_ns, START_NS + mono_ns);
        }
        // A small offset is followed, too.
        let now_ns = after_an_hour(&mut clock, &mut mono_ns, 30 * SECOND_NS as i64);
        assert_eq!(now_ns, START_NS + mono_ns + 30 * SECOND_NS);
    }

    #[test]
    fn a_leap_ahead_counts_only_if_it_stays() {
        let leap_ns = 1_000 * HOUR_NS as i64;
        let (mut clock, mut mono_ns) = (AgeClock::from(0), 0);
        after_an_hour(&mut clock, &mut mono_ns, 0);
        for _ in 0..5 {
            for off_ns in [leap_ns, 0] {
                mono_ns += 1_800 * SECOND_NS;
                let now_ns = clock.reached(Moment {
                    ts: Timestamp((START_NS + mono_ns).saturating_add_signed(off_ns)),
                    mono_ns,
                });
                assert_eq!(now_ns, START_NS + mono_ns);
            }
        }
        after_an_hour(&mut clock, &mut mono_ns, leap_ns);
        let now_ns = after_an_hour(&mut clock, &mut mono_ns, leap_ns);
        assert_eq!(now_ns, START_NS + mono_ns + leap_ns.unsigned_abs());
    }

    #[test]
    fn it_never_goes_back_and_goes_on_meanwhile() {
        let (mut clock, mut mono_ns) = (AgeClock::from(0), 0);
        let before_ns = after_an_hour(&mut clock, &mut mono_ns, 0);
        let now_ns = after_an_hour(&mut clock, &mut mono_ns, -20 * HOUR_NS as i64);
        assert_eq!(now_ns, before_ns + HOUR_NS);
    }

    #[test]
    fn after_a_pause_it_is_the_later_time_but_not_at_once() {
        let (mut clock, mut mono_ns) = (AgeClock::from(START_NS), 0);
        let pause_ns = 100 * HOUR_NS as i64;
        mono_ns += SECOND_NS;
        let first_ns = clock.reached(Moment {
            ts: Timestamp(START_NS + pause_ns.unsigned_abs()),
            mono_ns,
        });
        assert_eq!(first_ns, START_NS);
        after_an_hour(&mut clock, &mut mono_ns, pause_ns);
        let now_ns = after_an_hour(&mut clock, &mut mono_ns, pause_ns);
        assert_eq!(now_ns, START_NS + mono_ns + pause_ns.unsigned_abs());
    }
}
