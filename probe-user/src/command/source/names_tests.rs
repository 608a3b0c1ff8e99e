use twtrace_core::event::{Moment, samples};
use twtrace_core::filter::Filter;
use twtrace_core::model::host::Host;
use twtrace_core::model::tally::{Tally, TracingStart};

use super::*;

fn tally() -> Tally {
    let tracing_start = TracingStart {
        at: Moment::default(),
        host: Host {
            name: "h".to_owned(),
            kernel: "6.12".to_owned(),
        },
        tiers: Vec::new(),
    };
    Tally::new(tracing_start, Filter::default())
}

fn names() -> Names {
    let mut names = Names::default();
    let mut event = samples::time_wait();
    event.netns = Some(42);
    let process = event.process.as_mut().unwrap();
    process.comm = Comm::from_text("nginx");
    names.event(&event);
    let path = "/system.slice/docker-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope";
    let place = Place::from_path(path.to_owned());
    names.name(Comm::from_text("bad\x1bname"), Some(&place));
    names
}

fn filter(comm: &str) -> FilterArgs {
    FilterArgs {
        comm: vec![comm.to_owned()],
        ..FilterArgs::default()
    }
}

fn said(filter: &FilterArgs) -> Vec<String> {
    let report = tally().into_report();
    names().unmatched(filter, &[&report])
}

#[test]
fn a_name_that_matches_nothing_has_the_similar_one() {
    for (comm, help) in [
        ("ngnix", "; did you mean nginx?"),
        ("nginx", "; it exists, but nothing of it was counted"),
        ("bad-name", "; did you mean bad\\x1bname?"),
        ("postgres", ""),
    ] {
        let expected = format!("--comm {comm} matched nothing{help}");
        assert_eq!(said(&filter(comm)), [expected]);
    }
    let places = FilterArgs {
        unit: vec!["docker-x.scope".parse().unwrap()],
        container: vec!["0123456789aa".parse().unwrap()],
        ..FilterArgs::default()
    };
    assert_eq!(
        said(&places),
        [
            "--unit docker-x.scope matched nothing",
            "--container 0123456789aa matched nothing; did you mean 0123456789ab?"
        ]
    );
}

#[test]
fn a_name_with_rows_needs_no_message() {
    let mut tally = tally();
    let event = samples::time_wait();
    let comm = event.process.as_ref().unwrap().comm.text().into_owned();
    tally.recorded_event(&event);
    let report = tally.into_report();
    let unmatched = Names::default().unmatched(&filter(&comm), &[&report]);
    assert!(unmatched.is_empty(), "{unmatched:?}");
}

#[test]
fn a_namespace_that_nothing_has_is_an_error() {
    let names = names();
    names.check_netns(&[42]).unwrap();
    let error = names.check_netns(&[42, 43]).unwrap_err().to_string();
    assert!(error.starts_with("--netns 43: nothing"), "{error}");
    assert!(error.ends_with("there are 42"), "{error}");
}

#[test]
fn only_filters_by_name_are_checked() {
    assert!(Names::for_filter(&FilterArgs::default()).is_none());
    assert!(Names::for_filter(&filter("x")).is_some());
}
