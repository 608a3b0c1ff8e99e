use super::*;

fn place(tier: TierLimit, emulated: bool) -> PlayHost {
    PlayHost {
        tier,
        emulated,
        kernel: "6.1.0-1-cloud-amd64".to_owned(),
    }
}

fn played(place: &PlayHost) -> Vec<String> {
    let runs = all_runs().filter(|run| is_worth_it(run, place));
    let mut names: Vec<String> = runs.map(|run| run.name).collect();
    let usages = scenarios::usages();
    let usages = usages.filter(|(usage, reach)| reaches(usage.name, *reach, place));
    names.extend(usages.map(|(usage, _)| usage.name.to_owned()));
    names
}

#[test]
fn each_scenario_is_played_somewhere() {
    use TierLimit::{Best, Classic, Inferred, NoFentry};
    let of = |tier, emulated| played(&place(tier, emulated)).len();
    let all = all_runs().count() + scenarios::usages().count();
    assert_eq!(of(Best, false), all);
    assert!(of(Classic, false) < of(Inferred, false) + scenarios::usages().count());
    assert!(of(Best, true) < all);
    assert!(of(NoFentry, true) < of(Best, true));
}

#[test]
fn a_minute_is_spent_once_for_each_mechanism() {
    const MINUTE: &str = "time_wait_end/expired";
    let is_played = |place: &PlayHost| played(place).iter().any(|name| name == MINUTE);
    assert!(is_played(&place(TierLimit::Best, false)));
    assert!(is_played(&place(TierLimit::Inferred, false)));
    assert!(!is_played(&place(TierLimit::Classic, false)));
    assert!(is_played(&place(TierLimit::Best, true)));
    let of = |tier: TierLimit, kernel: &str| {
        is_played(&PlayHost {
            kernel: kernel.to_owned(),
            ..place(tier, true)
        })
    };
    let (oldest, between, newest) = ("5.10.0-30-cloud-amd64", "6.1.0-9", "7.3.1-cloud-amd64");
    assert!(of(TierLimit::NoFentry, oldest) && of(TierLimit::NoFentry, newest));
    assert!(!of(TierLimit::NoFentry, between));
    assert!(of(TierLimit::Tracepoints, oldest));
    assert!(!of(TierLimit::Tracepoints, between) && !of(TierLimit::Tracepoints, newest));
}

#[test]
fn kernels_between_play_each_scenario_of_events_once_on_lesser_tiers() {
    let of = |kernel: &str| {
        played(&PlayHost {
            kernel: kernel.to_owned(),
            ..place(TierLimit::NoFentry, true)
        })
    };
    let (newest, between) = (of("7.3.1-cloud"), of("6.12.1-cloud"));
    let has = |played: &[String], name: &str| played.iter().any(|found| found == name);
    for name in ["linger_zero/v4", "crowd/trace/v4", "usage/no_probe_left"] {
        assert!(has(&newest, name) && has(&between, name), "{name}");
    }
    for name in ["linger_zero/v6", "crowd/report/v4", "usage/resets_in_audit"] {
        assert!(has(&newest, name) && !has(&between, name), "{name}");
    }
    assert!(!has(&newest, "crowd/trace/v6"));
}

#[test]
fn what_kernels_between_leave_out_the_outermost_and_the_machine_play() {
    let of = |kernel: &str, emulated| {
        played(&PlayHost {
            kernel: kernel.to_owned(),
            ..place(TierLimit::Best, emulated)
        })
    };
    let playing = [
        of("5.10.0-30", true),
        of("7.3.1", true),
        of("6.18.0", false),
    ];
    let (between, after) = (of("6.1.0-9", true), of("6.12.1", true));
    let has = |played: &[String], name: &str| {
        let of_v4 = format!("{name}/v4");
        played.iter().any(|found| found == name || *found == of_v4)
    };
    for name in NOT_BETWEEN {
        assert!(playing.iter().all(|played| has(played, name)), "{name}");
        assert!(!has(&between, name) && !has(&after, name), "{name}");
    }
    let v6 = "crowd/trace/v6".to_owned();
    assert!(playing.iter().all(|played| played.contains(&v6)) && !between.contains(&v6));
}

#[test]
fn what_is_played_in_guests_exists() {
    let guest = PlayHost {
        kernel: "7.3.1-cloud-amd64".to_owned(),
        ..place(TierLimit::Best, true)
    };
    let played = played(&guest);
    let lists = [
        USAGES_IN_GUESTS,
        TABLES_IN_GUESTS,
        ON_ANY_TIER,
        BETWEEN_KERNELS,
        NOT_BETWEEN,
    ];
    for name in lists.concat() {
        assert!(
            played
                .iter()
                .any(|found| found == name || *found == format!("{name}/v4")),
            "{name}"
        );
    }
}

#[test]
fn what_has_nothing_to_do_with_the_kernel_is_played_on_the_machine() {
    let machine = played(&place(TierLimit::Best, false));
    let guest = played(&place(TierLimit::Best, true));
    for name in ON_NO_KERNEL {
        assert!(machine.iter().any(|found| found == name), "{name}");
        assert!(guest.iter().all(|found| found != name), "{name}");
    }
}

#[test]
fn a_pattern_must_name_something() {
    let names = ["ports/listen/v4", "leak/v6"];
    let patterns = |patterns: &[&str]| patterns.iter().map(|it| (*it).to_owned()).collect();
    let check = |given: &[&str]| {
        let given: Vec<String> = patterns(given);
        each_names_something(&given, &names)
    };
    assert!(check(&[]).is_ok());
    assert!(check(&["ports/*", "leak/*"]).is_ok());
    let error = check(&["ports/*", "port/*"]).unwrap_err().to_string();
    assert!(error.contains("port/*"), "{error}");
}

#[test]
fn the_scenarios_of_documented_experiments_exist() {
    let index = include_str!("../../../docs/experiments/README.md");
    let rows = index.lines().filter(|line| line.starts_with("| ["));
    let patterns: Vec<_> = rows.filter_map(|row| row.split('`').nth_back(1)).collect();
    assert_eq!(patterns.len(), 10);
    for pattern in patterns {
        let pattern = [pattern.to_owned()];
        let mut names = scenarios::all().into_iter().map(|scenario| scenario.name);
        assert!(
            names.any(|name| options::selected(&pattern, name)),
            "{pattern:?}"
        );
    }
}
