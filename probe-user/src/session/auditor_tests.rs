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
