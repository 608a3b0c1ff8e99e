//! The rate at which ports are taken and released, measured between two snapshots.

use super::client_sockets::Hold;
use super::forecast::Pace;
use crate::event::timestamp::SECOND_NS;

/// A TIME_WAIT with this much more time left than expected is another one, or its timer was restarted, nanoseconds.
const STARTED_ANEW_NS: u64 = SECOND_NS;
/// So many TIME_WAITs, of which fewer than one in so many was created in the second half of the span, are a burst.
const SOME: usize = 10;
const MOST: usize = 10;

/// Changes of the ports of a pool between two snapshots.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MeasuredPace {
    /// TIME_WAITs created per second.
    pub made_per_s: f64,
    /// The same for a forecast: if nearly all were created in the first half of the span, the rate of the second half. A
    /// burst that is over says nothing about what follows.
    pub made_lately_per_s: f64,
    /// TIME_WAITs ended per second.
    pub ended_per_s: f64,
    /// Increase of live sockets per second. 0 if that may be chance.
    pub live_growth_per_s: f64,
}

/// The time between two snapshots.
#[derive(Clone, Copy, Debug)]
pub struct ObservedSpan {
    /// Length, nanoseconds.
    pub lasted_ns: u64,
    /// Length of the time that `made` is of, nanoseconds: events are counted before the first snapshot and after the last.
    pub counted_ns: u64,
    /// How long a TIME_WAIT lives there, nanoseconds; not 0.
    pub time_wait_ns: u64,
}

impl MeasuredPace {
    /// Compares the ports held at the start and at the end of a span; both sorted by port.
    ///
    /// A TIME_WAIT that was created and reused in between is not seen: `made` (from events) includes those, and is used
    /// if it is larger. A change of live sockets counts if it is larger than three standard deviations of a number that
    /// varies by chance.
    pub fn between(
        start: &[(u16, Hold)],
        end: &[(u16, Hold)],
        span: ObservedSpan,
        made: Option<u64>,
    ) -> Self {
        let ObservedSpan {
            lasted_ns,
            counted_ns,
            time_wait_ns,
        } = span;
        let lasted_s = seconds(lasted_ns.max(1));
        // TIME_WAITs that were created longer ago than their lifetime have ended again.
        let window_ns = lasted_ns.clamp(1, time_wait_ns);
        let new: Vec<u64> = end
            .iter()
            .filter(|(port, hold)| {
                matches!(hold, Hold::TimeWait { .. })
                    && !(lasted_ns < time_wait_ns
                        && find(start, *port)
                            .is_some_and(|before| is_same(before, *hold, lasted_ns)))
            })
            .filter_map(|(_, hold)| match hold {
                // Its time begins anew with the peer's FIN: it may be of now.
                Hold::TimeWait {
                    in_fin_wait2: true, ..
                } => Some(0),
                Hold::TimeWait { left_ns, .. } => Some(time_wait_ns.saturating_sub(*left_ns)),
                Hold::Live => None,
            })
            .collect();
        let late = new.iter().filter(|age_ns| **age_ns <= window_ns / 2);
        let (new, late) = (new.len(), late.count());
        let counted_per_s = made.map_or(0.0, |made| made as f64 / seconds(counted_ns.max(1)));
        let made_per_s = f64::max(new as f64 / seconds(window_ns), counted_per_s);
        let made_lately_per_s = if new >= SOME && late * MOST < new {
            late as f64 / seconds(window_ns / 2).max(f64::MIN_POSITIVE)
        } else {
            made_per_s
        };
        let live = [start, end].map(|held| count(held, |hold| hold == Hold::Live));
        let time_wait = [start, end].map(|held| count(held, |hold| hold != Hold::Live));
        let live_change = live[1] - live[0];
        let by_chance = 3.0 * (live[0] + live[1]).sqrt();
        Self {
            made_per_s,
            made_lately_per_s,
            ended_per_s: f64::max(made_per_s - (time_wait[1] - time_wait[0]) / lasted_s, 0.0),
            live_growth_per_s: if live_change.abs() > by_chance {
                live_change / lasted_s
            } else {
                0.0
            },
        }
    }

    /// As input of the forecast, if a port is held for `hold_ns` after its connection.
    pub fn pace(&self, hold_ns: u64) -> Pace {
        let lately = Self {
            made_per_s: self.made_lately_per_s,
            ..*self
        };
        let taken_per_s = lately.taken_per_s();
        Pace {
            taken_per_s,
            kept_per_s: self.live_growth_per_s.clamp(0.0, taken_per_s),
            hold_ns,
        }
    }

    /// Ports newly taken per second: a closed connection leaves a TIME_WAIT and makes room for another live one, so
    /// this is the increase of TIME_WAITs and live sockets together, plus what ended.
    pub fn taken_per_s(&self) -> f64 {
        f64::max(self.made_per_s + self.live_growth_per_s, 0.0)
    }
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / SECOND_NS as f64
}

fn count(held: &[(u16, Hold)], is: impl Fn(Hold) -> bool) -> f64 {
    held.iter().filter(|(_, hold)| is(*hold)).count() as f64
}

fn find(held: &[(u16, Hold)], port: u16) -> Option<Hold> {
    let at = held.binary_search_by_key(&port, |(port, _)| *port).ok()?;
    Some(held[at].1)
}

/// Whether the mini-socket on a port is the one that was there before.
fn is_same(before: Hold, after: Hold, lasted_ns: u64) -> bool {
    match (before, after) {
        // The peer's FIN has restarted its timer.
        (
            Hold::TimeWait {
                in_fin_wait2: true, ..
            },
            _,
        ) => true,
        (Hold::TimeWait { left_ns, .. }, Hold::TimeWait { left_ns: after, .. }) => {
            after <= left_ns.saturating_sub(lasted_ns) + STARTED_ANEW_NS
        }
        (Hold::Live, _) | (_, Hold::Live) => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::client_sockets::samples::left;
    use super::*;
    use crate::model::budget::sysctls::TIME_WAIT_NS;

    const TEN_S: u64 = 10 * SECOND_NS;

    fn between(start: &[(u16, Hold)], end: &[(u16, Hold)], lasted_ns: u64) -> MeasuredPace {
        MeasuredPace::between(start, end, span(lasted_ns), None)
    }

    /// With TIME_WAITs that live for one minute.
    fn span(lasted_ns: u64) -> ObservedSpan {
        ObservedSpan {
            lasted_ns,
            counted_ns: lasted_ns,
            time_wait_ns: TIME_WAIT_NS,
        }
    }

    #[test]
    fn what_was_there_before_is_not_new() {
        let start = [(1, left(50)), (2, left(5)), (3, Hold::Live)];
        // 1 continues, 2 expired, 3 was closed, 4 and 5 are new.
        let end = [(1, left(40)), (3, left(55)), (4, left(58)), (5, left(51))];
        let measured = between(&start, &end, TEN_S);
        assert_eq!(measured.made_per_s, 0.3);
        assert!((measured.ended_per_s - 0.1).abs() < 1e-9);
        assert_eq!(measured.live_growth_per_s, 0.0);
    }

    /// Events are counted for a little longer than the time between the snapshots.
    #[test]
    fn counted_time_waits_are_of_the_time_in_which_they_were_counted() {
        let span = ObservedSpan {
            counted_ns: TEN_S + TEN_S / 4,
            ..span(TEN_S)
        };
        let measured = MeasuredPace::between(&[], &[], span, Some(1_000));
        assert_eq!(measured.made_per_s, 80.0);
    }

    #[test]
    fn a_reused_port_is_new_and_a_promoted_one_is_not() {
        let start = [
            (1, left(50)),
            (
                2,
                Hold::TimeWait {
                    left_ns: 50 * SECOND_NS,
                    in_fin_wait2: true,
                },
            ),
        ];
        let end = [(1, left(59)), (2, left(59))];
        let measured = between(&start, &end, TEN_S);
        assert_eq!(measured.made_per_s, 0.1);
        assert_eq!(measured.ended_per_s, 0.1);
    }

    #[test]
    fn what_is_there_after_minutes_was_made_in_the_last_one() {
        let end: Vec<_> = (0..600).map(|port| (port, left(30))).collect();
        let measured = between(&end, &end, 5 * TIME_WAIT_NS);
        assert_eq!((measured.made_per_s, measured.ended_per_s), (10.0, 10.0));
    }

    #[test]
    fn a_burst_that_is_over_is_no_forecast() {
        let burst: Vec<_> = (0..30).map(|port| (port, left(51))).collect();
        let measured = between(&[], &burst, TEN_S);
        assert_eq!((measured.made_per_s, measured.taken_per_s()), (3.0, 3.0));
        assert_eq!(measured.pace(TIME_WAIT_NS).taken_per_s, 0.0);
        // It goes on, or has only begun.
        let steady: Vec<_> = (0..30)
            .map(|port| (port, left(50 + u64::from(port % 10))))
            .collect();
        for held in [steady, (0..30).map(|port| (port, left(59))).collect()] {
            let measured = between(&[], &held, TEN_S);
            assert_eq!(measured.pace(TIME_WAIT_NS).taken_per_s, 3.0);
        }
    }

    #[test]
    fn chance_is_no_growth() {
        let live = |count: u16| {
            (0..count)
                .map(|port| (port, Hold::Live))
                .collect::<Vec<_>>()
        };
        let growth = |before, after| between(&live(before), &live(after), TEN_S).live_growth_per_s;
        assert_eq!(growth(100, 130), 0.0);
        assert_eq!(growth(0, 9), 0.0);
        assert_eq!(growth(0, 100), 10.0);
        assert_eq!(growth(100, 0), -10.0);
        let shrinking = between(&live(100), &live(0), TEN_S).pace(TIME_WAIT_NS);
        assert_eq!((shrinking.taken_per_s, shrinking.kept_per_s), (0.0, 0.0));
    }

    #[test]
    fn events_tell_of_what_came_and_went() {
        let measured = MeasuredPace::between(&[], &[(1, left(59))], span(TEN_S), Some(50));
        assert_eq!((measured.made_per_s, measured.ended_per_s), (5.0, 4.9));
    }

    proptest! {
        /// If ports are taken at a steady rate, that rate is found, for any lifetime of TIME_WAITs.
        #[test]
        fn a_steady_rate_is_found(
            rate in 1_u64..200,
            lasted_s in 2_u64..55,
            before_s in 0_u64..70,
            time_wait_s in 1_u64..600,
        ) {
            let time_wait_ns = time_wait_s * SECOND_NS;
            // One created every 1/rate seconds, the last one at the end.
            let held_at = |now_s: u64| -> Vec<(u16, Hold)> {
                (0..now_s * rate)
                    .filter_map(|birth| {
                        let end_ns = (birth * SECOND_NS) / rate + time_wait_ns;
                        let left_ns = end_ns.checked_sub(now_s * SECOND_NS)?;
                        (left_ns > 0).then_some((birth as u16, Hold::TimeWait { left_ns, in_fin_wait2: false }))
                    })
                    .collect()
            };
            let lasted_ns = lasted_s * SECOND_NS;
            let span = ObservedSpan { lasted_ns, counted_ns: lasted_ns, time_wait_ns };
            let measured = MeasuredPace::between(&held_at(before_s), &held_at(before_s + lasted_s), span, None);
            // The oldest one ends exactly at the time of the second snapshot.
            let unsure = if lasted_s < time_wait_s { 0.0 } else { 1.0 / time_wait_s as f64 };
            let off = (measured.made_per_s - rate as f64).abs();
            prop_assert!(off < unsure + 1e-6, "{measured:?}");
        }
    }
}
