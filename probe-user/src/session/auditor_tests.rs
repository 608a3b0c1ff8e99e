use super::*;
use crate::event::samples;

fn own_netns() -> u32 {
    netns::of_process(std::process::id()).unwrap()
}

fn settled(counted: CountedAt) -> Auditor {
    let mut auditor = Auditor::begin(counted);
    for _ in 0..10 {
        if auditor.step(&SeenByNetns::new(), 1) {
            break;
        }
    }
    auditor.take_baseline();
    auditor
}

#[test]
fn a_quiet_namespace_is_audited() {
    let mut auditor = settled(CountedAt::Birth { ends_seen: true });
    let seen = SeenByNetns::new();
    auditor.begin_last_round(&seen);
    for _ in 0..10 {
        if auditor.step(&seen, 2) {
            break;
        }
    }
    let rows = auditor.rows(&seen, 3);
    let own = rows.iter().find(|row| row.netns == own_netns()).unwrap();
    assert!(own.audited, "{own:?}");
    assert_eq!(own.births_seen, 0);
}

#[test]
fn a_namespace_that_was_never_there_is_named() {
    let mut auditor = settled(CountedAt::Birth { ends_seen: true });
    let mut event = samples::time_wait();
    event.netns = Some(7);
    auditor.note(&event);
    assert!(auditor.is_due(1));
    let seen = SeenByNetns::from([(
        7,
        NetnsTotals {
            births: 5,
            ..NetnsTotals::default()
        },
    )]);
    auditor.read_changed(&seen, 1);
    assert!(!auditor.is_due(u64::MAX));
    auditor.begin_last_round(&seen);
    auditor.step(&seen, 2);
    let rows = auditor.rows(&seen, 3);
    let gone = rows.iter().find(|row| row.netns == 7).unwrap();
    assert_eq!((gone.births_seen, gone.audited), (5, false));
    assert!(gone.why.as_ref().unwrap().contains("vanished"));
}

#[test]
fn resets_do_not_make_a_namespace_due() {
    let mut auditor = settled(CountedAt::Birth { ends_seen: true });
    auditor.note(&samples::reset());
    assert!(!auditor.is_due(u64::MAX));
    auditor.note(&samples::time_wait());
    assert!(auditor.is_due(u64::MAX));
}

#[test]
fn what_is_gone_for_two_rounds_is_forgotten() {
    let mut auditor = settled(CountedAt::Birth { ends_seen: true });
    let mut event = samples::time_wait();
    event.netns = Some(7);
    auditor.note(&event);
    let seen = |births| {
        let totals = NetnsTotals {
            births,
            ..NetnsTotals::default()
        };
        SeenByNetns::from([(7, totals)])
    };
    let mut round = |births| {
        auditor.begin_last_round(&seen(births));
        auditor.step(&seen(births), 2);
        auditor.turn(&seen(births))
    };
    assert!(round(5).is_empty());
    // A socket of before went into TIME_WAIT still.
    assert!(round(6).is_empty());
    assert_eq!(round(6), [7]);
    assert!(auditor.namespaces.contains_key(&own_netns()));
    assert!(!auditor.namespaces.contains_key(&7));
}

#[test]
fn a_namespace_that_took_the_number_of_another_is_audited_from_there() {
    let mut auditor = settled(CountedAt::Birth { ends_seen: true });
    let seen = SeenByNetns::new();
    auditor.begin_last_round(&seen);
    auditor.step(&seen, 2);
    auditor.step(&seen, 3);
    let own = auditor.namespaces.get_mut(&own_netns()).unwrap();
    own.is_replaced = true;
    let is_audited = |auditor: &Auditor| {
        let rows = auditor.rows(&seen, 4);
        rows.iter()
            .any(|row| row.netns == own_netns() && row.audited)
    };
    assert!(!is_audited(&auditor));
    assert!(auditor.turn(&seen).is_empty());
    assert!(is_audited(&auditor));
}
