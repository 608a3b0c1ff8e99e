use super::*;
use crate::doctor::samples;
use twtrace_wire::ReuseRefusal;

fn only(row: BudgetRow) -> Vec<Finding> {
    let mut facts = samples::healthy();
    facts.pairs = vec![
        samples::pair(Side::Client, "10.0.0.2:80", 800, 0),
        samples::pair(Side::Client, "10.0.0.3:80", 9, 0),
    ];
    facts.pairs[0].counts.connect_failures = 3;
    facts.report.budgets = vec![row];
    check(&facts)
}

#[test]
fn a_full_budget_names_who_filled_it_and_who_failed() {
    let findings = only(samples::budget(0, 3));
    let [found] = &findings[..] else {
        panic!("{findings:?}");
    };
    assert_eq!(
        (found.id, found.severity),
        ("budget_full", Severity::Critical)
    );
    assert_eq!(
        found.evidence,
        [
            "namespace 42, range 40000-40999: 0 of 1000 ports are free, 0 are held by live sockets, 1000 by TIME_WAITs (0 of them reusable)",
            "3 port allocations failed with EADDRNOTAVAIL during the window: nginx(7): 3",
            "TIME_WAIT sockets created during the window: nginx(7): 800",
            "200 of its TIME_WAIT sockets were created before the window, so their processes are not known",
        ]
    );
    let to_do = found.to_do.join("\n");
    assert!(
        to_do.contains("nsenter --net=/proc/7/ns/net sysctl -w net.ipv4.tcp_tw_reuse=1"),
        "{to_do}"
    );
    assert!(to_do.contains("ip_local_port_range"), "{to_do}");
    assert!(found.do_not.iter().any(|text| text.contains("4.12")));
    assert_eq!(found.figures["failures_by"][0]["count"], 3);
}

#[test]
fn who_holds_the_ports_by_open_connections_is_named() {
    let holder = |process, live| PoolHolder { process, live };
    let findings = only(BudgetRow {
        live: Some(900),
        time_wait: Some(100),
        live_by: vec![
            holder(samples::process("hog").process, 880),
            holder(None, 20),
        ],
        ..samples::budget(0, 3)
    });
    let [_, by, ..] = &findings[0].evidence[..] else {
        panic!("{findings:?}");
    };
    assert_eq!(
        by,
        "live sockets at the end, by process: hog(7): 880, (unknown): 20"
    );
    assert!(
        findings[0].to_do[0]
            .starts_with("most of the ports are held by open connections of hog(7):")
    );
    assert_eq!(findings[0].figures["live_by"][0]["count"], 880);
}

#[test]
fn a_range_of_the_sockets_own_is_not_the_namespaces_to_widen() {
    let findings = only(BudgetRow {
        socket_range: true,
        ..samples::budget(0, 3)
    });
    assert!(findings[0].evidence[0].contains("40000-40999 (the sockets' own)"));
    let to_do = findings[0].to_do.join("\n");
    assert!(to_do.contains("IP_LOCAL_PORT_RANGE"), "{to_do}");
    assert!(!to_do.contains("ip_local_port_range"), "{to_do}");
}

#[test]
fn what_kept_time_waits_from_reuse_is_told() {
    let mut facts = samples::healthy();
    facts.pairs = vec![
        samples::refused("10.0.0.2:80", 3, ReuseRefusal::PeerWithoutTimestamps, 8),
        samples::refused("10.0.0.3:80", 4, ReuseRefusal::Disabled, 4),
    ];
    facts.report.budgets = vec![samples::budget(0, 0)];
    facts.sees_all = false;
    let findings = check(&facts);
    assert_eq!(
        findings[0].evidence[1..],
        [
            "3 connect() calls of nginx(7) found TIME_WAIT sockets to 10.0.0.2:80 that they could not reuse: peer_without_timestamps 8"
        ]
    );
    assert_eq!(findings[0].figures["refused_by"][0]["count"], 3);
    let at_peer = |found: &Finding| found.to_do.iter().any(|text| text.contains("at the peer"));
    assert!(at_peer(&findings[0]));
    facts.report.tiers.clear();
    let findings = check(&facts);
    assert_eq!(findings[0].evidence.len(), 1);
    assert!(!at_peer(&findings[0]));
}

#[test]
fn failures_beside_free_ports_are_explained() {
    let mut facts = samples::healthy();
    facts.report.budgets = vec![samples::budget(195, 7)];
    let evidence = check(&facts)[0].evidence.join("\n");
    assert!(
        evidence.contains("195 ports are free now: when the calls failed they were taken"),
        "{evidence}"
    );
    facts.report.budgets[0].time_wait_reusable = Some(195);
    let evidence = check(&facts)[0].evidence.join("\n");
    assert!(
        evidence.contains("a burst of more than 1000 connections"),
        "{evidence}"
    );
    facts.report.budgets = vec![samples::budget(0, 7)];
    assert!(!check(&facts)[0].evidence.join("\n").contains("free now"));
}

#[test]
fn a_budget_that_will_not_last_is_warned_of() {
    let soon = |left_s: u64, free| BudgetRow {
        outlook: Outlook::RunsOut,
        full_in_ns: Some(left_s * 1_000_000_000),
        ..samples::budget(free, 0)
    };
    let findings = only(soon(90, 500));
    assert_eq!(findings[0].severity, Severity::Warning);
    assert!(findings[0].evidence.last().unwrap().contains("in 90.0s"));
    assert_eq!(severity(&samples::budget(150, 0)), Some(Severity::Warning));
    // It is hardly used, or it lasts for long, or there is enough room.
    assert_eq!(severity(&soon(90, 950)), None);
    assert_eq!(severity(&soon(900, 500)), None);
    // A service that opens its connections when it starts opens no more; a leak does.
    let opened = |free| BudgetRow {
        connections_per_s: Some(10.0),
        live_growth_per_s: Some(10.0),
        ..soon(90, free)
    };
    assert_eq!(severity(&opened(700)), None);
    assert_eq!(severity(&opened(450)), Some(Severity::Warning));
    assert_eq!(severity(&samples::budget(250, 0)), None);
}

#[test]
fn open_connections_are_not_treated_as_time_waits() {
    let findings = only(BudgetRow {
        live: Some(990),
        time_wait: Some(5),
        ..samples::budget(5, 0)
    });
    assert!(findings[0].to_do[0].contains("open connections"));
    assert!(
        !findings[0]
            .to_do
            .iter()
            .any(|text| text.contains("tw_reuse"))
    );
}

#[test]
fn a_failure_without_a_known_source_is_told_too() {
    let row = BudgetRow {
        source: None,
        range: None,
        capacity: None,
        free: None,
        live: None,
        time_wait: None,
        outlook: Outlook::Unknown,
        why: Some("the source is not known".into()),
        ..samples::budget(0, 2)
    };
    let findings = only(row);
    assert_eq!(findings[0].severity, Severity::Critical);
    assert!(findings[0].evidence[0].contains("the source is not known"));
}

#[test]
fn many_full_budgets_are_not_all_shown() {
    let mut facts = samples::healthy();
    facts.report.budgets = (0..SHOWN + 3).map(|_| samples::budget(0, 0)).collect();
    let findings = check(&facts);
    assert_eq!(findings.len(), SHOWN);
    assert!(findings[0].evidence.last().unwrap().starts_with("3 more"));
}

#[test]
fn ports_of_bind_on_other_addresses_are_named_by_process() {
    let mut facts = samples::healthy();
    facts.report.budgets = vec![BudgetRow {
        excluded: Some(990),
        capacity: Some(10),
        live: Some(0),
        time_wait: Some(10),
        bound_by: vec![PoolHolder {
            process: samples::process("binder").process,
            live: 985,
        }],
        ..samples::budget(0, 3)
    }];
    // The namespace has one finding for it.
    let all = crate::doctor::findings(&facts);
    let [found] = &all[..] else {
        panic!("{all:?}");
    };
    assert_eq!(found.id, "budget_full");
    let evidence = found.evidence.join("\n");
    assert!(
        evidence.contains("990 ports of the range belong to bind(), on any address"),
        "{evidence}"
    );
    assert!(
        evidence.contains("by process: binder(7): 985"),
        "{evidence}"
    );
    assert!(found.to_do[0].starts_with("in binder(7): set IP_BIND_ADDRESS_NO_PORT"));
    assert_eq!(found.figures["bound_by"][0]["count"], 985);
    // Few of them are not the cause.
    facts.report.budgets[0] = BudgetRow {
        excluded: Some(5),
        ..samples::budget(0, 3)
    };
    let found = &check(&facts)[0];
    assert!(!found.evidence.join("\n").contains("belong to bind()"));
    assert!(found.to_do[0].starts_with("keep connections alive"));
}

#[test]
fn a_connect_without_any_port_is_never_silent() {
    let none_left = BudgetRow {
        live: Some(0),
        time_wait: Some(0),
        excluded: Some(1_000),
        capacity: Some(0),
        ..samples::budget(0, 0)
    };
    let mut facts = samples::healthy();
    facts.report.budgets = vec![none_left];
    // All belong to bind(), which has a finding of its own.
    assert!(check(&facts).is_empty());
    assert_eq!(crate::doctor::findings(&facts)[0].id, "bind_before_connect");
    // Some are reserved, and bind() has fewer than most.
    facts.state_mut().ports.reserved = (40_000..40_300).collect();
    let findings = check(&facts);
    assert_eq!(findings[0].severity, Severity::Critical);
    assert!(findings[0].settings.is_empty(), "no TIME_WAIT holds them");
}
