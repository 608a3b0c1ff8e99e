use std::fs::File;
use std::os::unix::fs::MetadataExt;

use twtrace_core::event::samples;
use twtrace_core::hooks::ResetsSeen;

use twtrace_core::model::audit::CountedAt;

use super::*;

fn own_netns() -> u32 {
    netns::of_process(std::process::id()).unwrap()
}

const SIGHT: Sight = Sight {
    counted: CountedAt::Birth { ends_seen: true },
    resets: ResetsSeen::All,
};

/// Every namespace has this mark.
const MARK: u32 = 5;

fn marked(file: &File) -> Option<NetnsKey> {
    Some(key(u32::try_from(file.metadata().ok()?.ino()).ok()?))
}

fn key(netns: u32) -> NetnsKey {
    NetnsKey { netns, mark: MARK }
}

fn first(_: NetnsKey) -> u32 {
    0
}

fn settled(sight: Sight) -> Auditor {
    let mut auditor = Auditor::begin(sight, &marked, None);
    auditor.read_before_start(1, &marked);
    auditor.read_at_start(&SeenByNetns::new(), 1, &marked);
    auditor
}

#[test]
fn a_quiet_namespace_is_audited() {
    let mut auditor = settled(SIGHT);
    let seen = SeenByNetns::new();
    auditor.begin_last_round(&seen, &marked);
    for _ in 0..10 {
        if auditor.step(&seen, 2, &marked) {
            break;
        }
    }
    let rows = auditor.rows(&seen, 3, &first);
    let own = rows.iter().find(|row| row.netns == own_netns()).unwrap();
    assert!(own.audited, "{own:?}");
    assert_eq!(own.births_seen, 0);
}

#[test]
fn a_namespace_that_was_never_there_is_named() {
    let mut auditor = settled(SIGHT);
    let mut event = samples::time_wait();
    event.netns = Some(7);
    auditor.note(&event);
    assert!(auditor.is_due(1));
    let seen = SeenByNetns::from([(
        key(7),
        NetnsTotals {
            births: 5,
            ..NetnsTotals::default()
        },
    )]);
    auditor.read_changed(&seen, 1, &marked);
    assert!(!auditor.is_due(u64::MAX));
    auditor.begin_last_round(&seen, &marked);
    auditor.step(&seen, 2, &marked);
    let rows = auditor.rows(&seen, 3, &first);
    let gone = rows.iter().find(|row| row.netns == 7).unwrap();
    assert_eq!((gone.births_seen, gone.audited), (5, false));
    assert!(gone.why.as_ref().unwrap().contains("vanished"));
}

#[test]
fn resets_of_nobody_do_not_make_a_namespace_due() {
    let mut auditor = settled(SIGHT);
    let mut reset = samples::reset();
    let process = reset.process.take();
    auditor.note(&reset);
    assert!(!auditor.is_due(u64::MAX));
    reset.process = process;
    auditor.note(&reset);
    assert!(auditor.is_due(u64::MAX));
}

#[test]
fn what_is_gone_for_two_rounds_is_forgotten() {
    let mut auditor = settled(SIGHT);
    let mut event = samples::time_wait();
    event.netns = Some(7);
    auditor.note(&event);
    let seen = |births| {
        let totals = NetnsTotals {
            births,
            ..NetnsTotals::default()
        };
        SeenByNetns::from([(key(7), totals)])
    };
    let mut round = |births| {
        auditor.begin_last_round(&seen(births), &marked);
        auditor.step(&seen(births), 2, &marked);
        auditor.rotate(&seen(births))
    };
    // Other namespaces of the host may come and go at the same time.
    assert!(!round(5).contains(&key(7)));
    // A socket from before still entered TIME_WAIT.
    assert!(!round(6).contains(&key(7)));
    assert!(round(6).contains(&key(7)));
    assert!(auditor.namespaces.contains_key(&key(own_netns())));
    assert!(!auditor.namespaces.contains_key(&key(7)));
}

#[test]
fn a_namespace_that_took_the_number_of_another_is_audited_from_there() {
    let mut auditor = settled(SIGHT);
    let seen = SeenByNetns::new();
    auditor.begin_last_round(&seen, &marked);
    auditor.step(&seen, 2, &marked);
    auditor.step(&seen, 3, &marked);
    let own = auditor.namespaces.get_mut(&key(own_netns())).unwrap();
    own.is_replaced = true;
    let is_audited = |auditor: &Auditor| {
        let rows = auditor.rows(&seen, 4, &first);
        rows.iter()
            .any(|row| row.netns == own_netns() && row.audited)
    };
    assert!(!is_audited(&auditor));
    assert!(auditor.rotate(&seen).is_empty());
    assert!(is_audited(&auditor));
}

#[test]
fn namespaces_with_the_same_number_are_audited_apart() {
    let mut auditor = settled(SIGHT);
    let totals = |births| NetnsTotals {
        births,
        ..NetnsTotals::default()
    };
    let gone = NetnsKey {
        netns: own_netns(),
        mark: MARK + 1,
    };
    let seen = SeenByNetns::from([(gone, totals(24))]);
    auditor.begin_last_round(&seen, &marked);
    for _ in 0..10 {
        if auditor.step(&seen, 2, &marked) {
            break;
        }
    }
    let nth = |netns| u32::from(netns != gone);
    let rows = auditor.rows(&seen, 3, &nth);
    let of_number = rows.iter().filter(|row| row.netns == own_netns());
    let figures: Vec<_> = of_number
        .map(|row| (row.netns_nth, row.births_seen, row.audited))
        .collect();
    assert_eq!(figures, [(1, 0, true), (0, 24, false)]);
}

#[test]
fn what_can_not_be_told_apart_is_not_audited() {
    let nobody = |_: &File| None;
    let mut auditor = Auditor::begin(SIGHT, &nobody, None);
    let seen = SeenByNetns::new();
    auditor.read_before_start(1, &nobody);
    auditor.read_at_start(&seen, 1, &nobody);
    auditor.begin_last_round(&seen, &nobody);
    auditor.step(&seen, 2, &nobody);
    let rows = auditor.rows(&seen, 3, &first);
    let own = rows.iter().find(|row| row.netns == own_netns()).unwrap();
    assert!(!own.audited && own.why.as_ref().unwrap().contains("does not say which"));
}

#[test]
fn a_busy_namespace_that_is_found_late_is_audited_from_then_on() {
    let mut auditor = settled(SIGHT);
    auditor.namespaces.clear();
    let seen = |births| {
        let totals = NetnsTotals {
            births,
            ..NetnsTotals::default()
        };
        SeenByNetns::from([(key(own_netns()), totals)])
    };
    let mut inhabited = Inhabited::new(&marked, SIGHT.counted, None);
    auditor.read_by_thread(
        own_netns(),
        &[std::process::id()],
        &seen(0),
        1,
        &mut inhabited,
    );
    // While the probes count, figures of the kernel prove nothing: those of before are hidden by those that follow.
    for births in [1_000_000_000, 2_000_000_000] {
        assert!(auditor.has_late());
        auditor.read_late(&seen(births), births, &marked);
    }
    assert!(auditor.has_late());
    auditor.audit_late_from_here();
    assert!(!auditor.has_late());
    let namespace = &auditor.namespaces[&key(own_netns())];
    let Baseline::Read(reading) = namespace.baseline else {
        panic!("{:?}", namespace.baseline);
    };
    assert_eq!(reading.seen.births, 2_000_000_000);
}
