use std::net::SocketAddr;

use twtrace_core::event::samples;
use twtrace_core::model::netns_name::NamedAfter;
use twtrace_wire::EventKind;

use super::*;

const LONG: &str = "[2001:db8:1111:2222:3333:4444:5555:6666]:65535";

/// One event of each kind; the last one has long texts.
fn all() -> Vec<Event> {
    let mut overflow = samples::time_wait();
    overflow.event = EventKind::TimeWaitOverflow;
    let mut hostile = samples::reset();
    hostile.process = Some(samples::process(4_194_304, "\x1b[2J日本語\n"));
    (hostile.local, hostile.remote) = (address(LONG), address(LONG));
    vec![
        samples::time_wait(),
        overflow,
        samples::time_wait_end(),
        samples::reset(),
        samples::abort(),
        samples::port_alloc(),
        hostile,
    ]
}

fn address(text: &str) -> Option<SocketAddr> {
    Some(text.parse().unwrap())
}

fn in_netns(netns: u32, nth: u32) -> Event {
    let mut event = samples::reset();
    (event.netns, event.netns_nth) = (Some(netns), nth);
    event
}

fn named(netns: u32, after: NamedAfter, name: &str) -> NetnsName {
    NetnsName {
        netns,
        after,
        name: name.to_owned(),
    }
}

fn printed(page_width: Option<usize>, events: &[Event]) -> String {
    let mut lines = TraceLines::new(page_width);
    let mut text = vec![lines.heading()];
    for event in events {
        text.extend(lines.before(0, event));
        text.push(lines.event(0, event));
    }
    text.join("\n") + "\n"
}

/// `UPDATE_SCREENS=1 cargo test` writes the expected screens anew.
fn compare(name: &str, text: &str) {
    let path = format!(
        "{}/src/output/screens/{name}.txt",
        env!("CARGO_MANIFEST_DIR")
    );
    if std::env::var_os("UPDATE_SCREENS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{path}");
}

#[test]
fn lines_fit_the_page() {
    let mut events = all();
    events.push(in_netns(43, 0));
    for width in [80, 100, 140] {
        let text = printed(Some(width), &events);
        compare(&format!("trace_{width}"), &text);
    }
    for width in 1..250 {
        for line in printed(Some(width), &events).lines() {
            assert!(line.width() <= width, "{width}: {line}");
            assert!(!line.contains(char::is_control), "{line:?}");
        }
    }
}

#[test]
fn columns_stand_under_their_headings() {
    for page_width in [Some(80), Some(100), Some(140), Some(200)] {
        let text = printed(page_width, &all());
        let mut lines = text.lines();
        let heading = lines.next().unwrap();
        let begin = |of: &str| heading[..heading.find(of).unwrap()].width();
        for line in lines {
            for column in ["EVENT", "PROCESS", "SIDE", "LOCAL", "REMOTE"] {
                let at = begin(column);
                let mut x = 0;
                let mut before = ' ';
                for char in line.chars() {
                    if x == at {
                        assert!(before == ' ' && char != ' ', "{column}: {heading}\n{line}");
                    }
                    x += char.to_string().width();
                    before = char;
                }
            }
        }
    }
}

#[test]
fn a_pipe_gets_everything() {
    let text = printed(None, &all());
    let last = text.lines().last().unwrap();
    assert_eq!(last.matches(LONG).count(), 2, "{last}");
    assert!(last.contains("\\x1b[2J日本語\\x0a(4194304)"), "{last}");
    assert!(!text.contains('…'), "{text}");
    // Columns stay as wide as a long text has made them.
    let mut lines = TraceLines::new(None);
    lines.event(0, &all()[6]);
    let after = lines.event(0, &samples::reset());
    assert_eq!(
        lines.heading().find("DETAILS"),
        after.find("sent "),
        "{after}"
    );
}

#[test]
fn namespaces_are_shown_once_there_are_two() {
    let mut lines = TraceLines::new(Some(140));
    let host = in_netns(1, 0);
    assert!(lines.before(0, &host).is_empty());
    assert!(!lines.heading().contains("NETNS"));
    let web = in_netns(2, 0);
    assert!(lines.lacks_name(0, &web));
    lines.name(
        0,
        &[
            named(1, NamedAfter::Host, "host"),
            named(2, NamedAfter::IpNetns, "we\x1bb"),
            named(3, NamedAfter::Container, &"0123456789ab".repeat(6)[..64]),
        ],
    );
    assert!(!lines.lacks_name(0, &web));
    let begin = lines.before(0, &web);
    assert_eq!(begin[0], "All lines above are of network namespace host");
    assert!(begin[1].contains("  NETNS "), "{begin:?}");
    assert!(lines.before(0, &web).is_empty());
    assert!(lines.event(0, &web).contains(" we\\x1bb "));
    assert!(lines.event(0, &host).contains(" host "));
    assert!(lines.event(0, &in_netns(3, 0)).contains(" 0123…789ab "));
    // Nobody knows a name.
    let unnamed = in_netns(4, 0);
    assert!(lines.lacks_name(0, &unnamed));
    lines.look_up(0, &unnamed, || {
        vec![named(2, NamedAfter::IpNetns, "we\x1bb")]
    });
    assert!(!lines.lacks_name(0, &unnamed));
    assert!(lines.event(0, &unnamed).contains(" 4 "));
    // Its number was given to another one since.
    let again = in_netns(2, 1);
    assert!(lines.lacks_name(0, &again));
    assert!(lines.event(0, &again).contains(" 2 #2 "));
    lines.look_up(0, &again, || vec![named(2, NamedAfter::IpNetns, "new")]);
    assert!(!lines.lacks_name(0, &again));
    assert!(lines.event(0, &again).contains(" new "));
}

#[test]
fn each_host_has_namespaces_of_its_own() {
    let mut lines = TraceLines::new(None);
    assert!(lines.before(0, &in_netns(1, 0)).is_empty());
    assert!(lines.before(1, &in_netns(5, 0)).is_empty());
    assert_eq!(lines.before(1, &in_netns(1, 0)), [lines.heading()]);
}

#[test]
fn a_change_of_size_begins_anew() {
    let mut lines = TraceLines::new(Some(100));
    assert!(!lines.resize(Some(100)));
    assert!(lines.resize(Some(80)));
    assert!(lines.event(0, &samples::reset()).width() <= 80);
}
