use twtrace_wire::NetnsTotals;

use super::*;
use crate::hooks::ResetsSeen;

const BIRTH: Sight = of(CountedAt::Birth { ends_seen: true });

const fn of(counted: CountedAt) -> Sight {
    Sight {
        counted,
        resets: ResetsSeen::All,
    }
}

fn reading(tw: u64, tw_killed: u64, overflow: u64, alive: u64, seen: [u64; 3]) -> Reading {
    Reading {
        kernel: Counters {
            tw,
            tw_killed,
            tw_recycled: 0,
            overflow,
            alive,
            ..Counters::default()
        },
        seen: NetnsTotals {
            births: seen[0],
            overflow: seen[1],
            ends: seen[2],
            ..NetnsTotals::default()
        },
    }
}

fn at_end(reading: Reading) -> Last {
    Last::AtEnd {
        reading,
        uncertainty: Uncertainty::default(),
    }
}

#[test]
fn births_are_compared_with_the_growth_since_the_baseline() {
    let base = reading(100, 10, 5, 30, [7, 1, 0]);
    let end = reading(150, 14, 8, 80, [61, 4, 0]);
    let row = audit(1, Some(base), at_end(end), BIRTH);
    assert_eq!((row.births_seen, row.births_kernel), (54, Some(54)));
    assert_eq!((row.overflow_seen, row.overflow_kernel), (3, Some(3)));
    assert_eq!((row.difference, row.audited), (Some(0), true));
    assert_eq!(row.why, None);
    assert_eq!(
        (row.alive_growth, row.alive_difference),
        (Some(50), Some(4))
    );
    let missed = reading(150, 14, 8, 80, [59, 4, 0]);
    assert_eq!(
        audit(1, Some(base), at_end(missed), BIRTH).difference,
        Some(-2)
    );
}

#[test]
fn where_expiry_is_counted_ends_and_the_living_tell_births() {
    let base = reading(0, 0, 0, 30, [0, 0, 0]);
    let end = reading(0, 0, 0, 20, [40, 0, 50]);
    let row = audit(
        1,
        Some(base),
        at_end(end),
        of(CountedAt::Expiry { ends_seen: true }),
    );
    assert_eq!((row.births_kernel, row.difference), (Some(40), Some(0)));
    assert_eq!(row.basis, Basis::Sockstat);
    let row = audit(
        1,
        Some(base),
        at_end(end),
        of(CountedAt::Expiry { ends_seen: false }),
    );
    assert_eq!((row.births_kernel, row.audited), (None, false));
    assert!(row.why.unwrap().contains("when it expires"));
}

#[test]
fn a_vanished_namespace_is_named_with_its_last_figures() {
    let last = reading(40, 0, 0, 40, [40, 0, 0]);
    let row = audit(
        1,
        Some(Reading::default()),
        Last::Gone {
            last: Some((last, 1_500_000_000)),
            seen: NetnsTotals {
                births: 45,
                ..NetnsTotals::default()
            },
        },
        BIRTH,
    );
    assert!(!row.audited);
    assert_eq!(
        (row.births_seen, row.births_kernel, row.difference),
        (45, None, None)
    );
    assert_eq!(
        row.why.as_deref(),
        Some(
            "no process is left in it; 1.5 s before the end 40 TIME_WAITs had been seen, and the kernel had counted 40"
        )
    );
    let row = audit(
        1,
        Some(Reading::default()),
        Last::Gone {
            last: None,
            seen: NetnsTotals {
                births: 45,
                ..NetnsTotals::default()
            },
        },
        BIRTH,
    );
    assert_eq!((row.births_seen, row.births_kernel), (45, None));
    assert!(!row.audited && row.why.is_some());
}

#[test]
fn parts_of_the_time_add_up() {
    let base = reading(100, 10, 5, 30, [0, 0, 0]);
    let middle = reading(150, 14, 8, 80, [54, 3, 4]);
    let end = reading(151, 14, 8, 82, [57, 3, 3]);
    let at_time = |at| audit(1, Some(base), at_end(at), BIRTH);
    let (first, whole) = (at_time(middle), at_time(end));
    let second = whole.since(&first);
    assert_eq!((second.births_seen, second.births_kernel), (3, Some(1)));
    assert_eq!((second.difference, second.ends_seen), (Some(2), Some(0)));
    assert!(second.audited);
    let mut sum = first.clone();
    sum.add(&second);
    assert_eq!(sum.difference, whole.difference);
    assert_eq!(sum.alive_difference, whole.alive_difference);
    assert_eq!(sum.births_kernel, whole.births_kernel);
    // Another namespace with the same number.
    let other = audit(1, None, at_end(base), BIRTH);
    assert_eq!(other.since(&whole), other);
}

#[test]
fn what_can_not_be_compared_is_said() {
    let base = reading(100, 10, 5, 30, [0, 0, 0]);
    let row = audit(1, Some(base), at_end(Reading::default()), BIRTH);
    assert!(!row.audited && row.why.unwrap().contains("decreased"));
    let replaced = Last::Replaced { seen: base.seen };
    let row = audit(1, Some(base), replaced, BIRTH);
    assert!(!row.audited && row.why.unwrap().contains("decreased"));
    let row = audit(1, None, at_end(base), BIRTH);
    assert!(!row.audited && row.why.unwrap().contains("when tracing began"));
    let row = audit(
        1,
        Some(base),
        Last::AtEnd {
            reading: base,
            uncertainty: Uncertainty {
                births: 9,
                ..Uncertainty::default()
            },
        },
        BIRTH,
    );
    assert!(row.audited && row.why.unwrap().contains("up to 9"));
    assert_eq!(row.uncertainty, 9);
}

/// A reading with this many RSTs counted by the kernel and by the probes, in addition to `reading`.
fn with_resets(kernel: u64, seen: u64) -> Reading {
    let mut reading = reading(10, 0, 3, 0, [10, 3, 0]);
    reading.kernel.resets_sent = kernel;
    reading.seen.resets_sent = seen;
    reading
}

#[test]
fn resets_are_compared_with_the_growth_since_the_baseline() {
    let base = with_resets(100, 2);
    let row = audit(1, Some(base), at_end(with_resets(140, 42)), BIRTH);
    assert_eq!(
        (row.resets_sent_seen, row.resets_sent_kernel),
        (Some(40), Some(40))
    );
    assert_eq!((row.resets_sent_difference, row.is_off()), (Some(0), false));
    assert!(!row.is_quiet());
    let missed = audit(1, Some(base), at_end(with_resets(140, 41)), BIRTH);
    assert_eq!(
        (missed.resets_sent_difference, missed.off_by()),
        (Some(-1), [0, 0, -1, 0, 0, 0])
    );
    // As many were sent while it was read.
    let last = Last::AtEnd {
        reading: with_resets(140, 41),
        uncertainty: Uncertainty {
            resets_sent: 1,
            ..Uncertainty::default()
        },
    };
    let row = audit(1, Some(base), last, BIRTH);
    assert_eq!(
        (row.resets_sent_difference, row.is_off()),
        (Some(-1), false)
    );
    // Another namespace has its number.
    let row = audit(1, Some(base), at_end(with_resets(99, 42)), BIRTH);
    assert_eq!(
        (row.resets_sent_kernel, row.resets_sent_difference),
        (None, None)
    );
}

#[test]
fn connections_reset_and_reuses_are_compared_too() {
    let base = reading(10, 0, 0, 10, [10, 0, 0]);
    let mut end = reading(10, 0, 0, 7, [10, 0, 3]);
    (end.kernel.connections_reset, end.seen.connections_reset) = (9, 7);
    (end.kernel.tw_recycled, end.seen.reused) = (2, 3);
    end.kernel.others.abort_on_data = 4;
    let row = audit(1, Some(base), at_end(end), BIRTH);
    assert_eq!(row.off_by(), [0, 0, 0, -2, 0, 1]);
    assert_eq!(
        (
            row.connections_reset_seen,
            row.connections_reset_kernel,
            row.reused_difference
        ),
        (7, Some(9), Some(1))
    );
    assert_eq!(row.kernel_counted.unwrap().abort_on_data, 4);
    assert_eq!(
        warning(std::slice::from_ref(&row)).unwrap(),
        "COUNTERS DIFFER: in 1 network namespace figures differ from what the kernel counted: connections reset -2, reused \
         TIME_WAITs +1"
    );
    // An end that no hook saw.
    end.kernel.alive = 6;
    let row = audit(1, Some(base), at_end(end), BIRTH);
    assert_eq!(row.off_by()[4], -1);
    assert_eq!((row.ends_seen, row.ends_kernel), (Some(3), Some(4)));
    let last = Last::AtEnd {
        reading: end,
        uncertainty: Uncertainty {
            ends: 1,
            connections_reset: 2,
            reused: 1,
            ..Uncertainty::default()
        },
    };
    assert!(!audit(1, Some(base), last, BIRTH).is_off());
}

#[test]
fn resets_that_no_hook_sees_are_not_called_a_difference() {
    let base = with_resets(0, 0);
    let with = |resets| {
        let sight = Sight { resets, ..BIRTH };
        audit(1, Some(base), at_end(with_resets(40, 30)), sight)
    };
    let row = with(ResetsSeen::OfFullSockets);
    assert_eq!(
        (row.resets_sent_seen, row.resets_sent_kernel),
        (Some(30), Some(40))
    );
    assert_eq!((row.resets_sent_difference, row.is_off()), (None, false));
    assert!(row.resets_sent_why.unwrap().contains("without a socket"));
    let row = with(ResetsSeen::None);
    assert_eq!(
        (row.resets_sent_seen, row.resets_sent_difference),
        (None, None)
    );
    assert!(row.resets_sent_why.is_some());
}

#[test]
fn refusals_that_the_kernel_did_not_count_are_a_difference_of_their_own() {
    let mut end = reading(40, 0, 0, 40, [40, 200, 0]);
    end.seen.inferred = 200;
    let row = audit(1, Some(Reading::default()), at_end(end), BIRTH);
    assert_eq!(
        (row.difference, row.overflow_difference),
        (Some(0), Some(200))
    );
    assert_eq!(
        (row.off_by(), count_off(std::slice::from_ref(&row))),
        ([0, 200, 0, 0, 0, 0], 1)
    );
    let other = audit(
        2,
        Some(Reading::default()),
        at_end(reading(4, 0, 7, 4, [11, 0, 0])),
        BIRTH,
    );
    assert_eq!(
        warning(&[row, other]).unwrap(),
        "COUNTERS DIFFER: in 2 network namespaces figures differ from what the kernel counted: TIME_WAITs +7, refused \
         TIME_WAITs +200 and -7"
    );
    assert_eq!(warning(&[AuditRow::default()]), None);
}

#[test]
fn rows_of_older_recordings_are_read() {
    let row = audit(1, Some(with_resets(0, 0)), at_end(with_resets(4, 4)), BIRTH);
    let mut old = serde_json::to_value(&row).unwrap();
    let fields = old.as_object_mut().unwrap();
    fields.retain(|name, _| !name.starts_with("resets_sent") && !name.starts_with("overflow_"));
    fields.insert("overflow_seen".to_owned(), 3.into());
    let old: AuditRow = serde_json::from_value(old).unwrap();
    assert_eq!((old.births_seen, old.resets_sent_seen), (0, None));
    assert_eq!((old.overflow_difference, old.is_off()), (None, false));
}

#[test]
fn what_only_the_kernel_has_counted_yet_is_uncertain() {
    let (before, now) = (with_resets(7, 7), with_resets(9, 8));
    let counted = CountedAt::Birth { ends_seen: true };
    let moved = Uncertainty::between(&before, &now, counted);
    assert_eq!((moved.resets_sent, moved.births), (2, 0));
    let now = reading(14, 0, 4, 9, [11, 3, 2]);
    let moved = Uncertainty::between(&before, &now, counted);
    assert_eq!((moved.births, moved.overflow), (4, 1));
    let moved = Uncertainty::between(&before, &now, CountedAt::Expiry { ends_seen: true });
    assert_eq!(moved.births, 9);
}
