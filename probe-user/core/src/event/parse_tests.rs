use proptest::prelude::*;

use twtrace_wire::{AbortReason, Side, Unattributed};

use super::*;
use crate::event::{EventFacts, samples};

fn read(line: &str) -> Result<ParsedLine, ParseError> {
    Parser::default().parse(line.as_bytes())
}

/// Parsed and written again, it must be unchanged.
fn goes_there_and_back(line: &str) {
    let mut parser = Parser::default();
    for _ in 0..2 {
        let again = match parser.parse(line.as_bytes()).unwrap() {
            ParsedLine::Event(event) => serde_json::to_string(&event),
            ParsedLine::Lost(lost) => serde_json::to_string(&lost),
            ParsedLine::Other(kind) => panic!("{kind}"),
        };
        assert_eq!(again.unwrap(), line);
    }
}

fn written(event: &Event) -> String {
    serde_json::to_string(event).unwrap()
}

#[test]
fn every_kind_reads_back_as_it_was_written() {
    let mut nobodys = samples::reset();
    nobodys.process = None;
    nobodys.opener = None;
    nobodys.unattributed = Some(Unattributed::NoSocket);
    nobodys.local = None;
    for event in samples::all().into_iter().chain([nobodys]) {
        goes_there_and_back(&written(&event));
    }
    goes_there_and_back(
        r#"{"ts":"1970-01-01T00:00:00.000000000Z","mono_ns":5,"event":"lost","probe":"decode","count":3}"#,
    );
}

#[test]
fn a_process_keeps_all_that_is_known() {
    goes_there_and_back(
        r#"{"ts":"2023-11-14T22:13:20.000000007Z","mono_ns":1000,"event":"abort","netns":1,"local":"10.0.0.1:40000","remote":"[2001:db8::2]:80","mapped":true,"side":"server","process":{"pid":7,"comm":"a�\u001b[2J\"","start_time":"2023-11-14T22:13:20.000000007Z","thread_comm":"t","uid":0,"exe":"/bin/a","cgroup":"/c","container_id":"i","pod_uid":"p","unit":"u.service"},"unattributed":null,"opener":null,"reason":"timeout","state":null,"connection_ns":null,"idle_ns":null,"peer_silent_ns":null,"send_idle_ns":7,"bytes_sent":null,"bytes_received":18446744073709551615,"awaits_answer":null}"#,
    );
}

/// Recordings of versions with only one idle time.
#[test]
fn what_an_earlier_version_wrote_is_read() {
    let line = r#"{"ts":"2023-11-14T22:13:20.000000007Z","mono_ns":1000,"event":"reset","netns":1,"local":"10.0.0.1:40000","remote":"10.0.0.2:80","mapped":false,"side":"client","process":null,"unattributed":"unknown","opener":null,"direction":"received","reason":"peer","kernel_reason":null,"state":"established","connection_ns":9,"idle_ns":0,"bytes_sent":80,"bytes_received":1,"awaits_answer":null}"#;
    // Also on the fast path, like lines of this version.
    let Some(event) = Parser::default().as_written(line.as_bytes()) else {
        panic!("{line}");
    };
    let Ok(ParsedLine::Event(long)) = Parser::default().parse_any(line.as_bytes()) else {
        panic!("{line}");
    };
    assert_eq!(format!("{event:?}"), format!("{long:?}"));
    let EventFacts::Reset(reset) = event.facts else {
        panic!("{:?}", event.facts);
    };
    assert_eq!(
        (reset.flow.connection_ns, reset.flow.idle_ns),
        (Some(9), Some(0))
    );
    assert_eq!(
        (reset.flow.peer_silent_ns, reset.flow.send_idle_ns),
        (None, None)
    );
    assert_eq!(reset.after_close_ns, None);
}

#[test]
fn what_a_later_version_wrote_is_passed_over() {
    let line = written(&samples::abort());
    let with_field = line.replacen('{', r#"{"weather":{"a":[1]},"#, 1);
    assert!(matches!(read(&with_field), Ok(ParsedLine::Event(_))));
    let with_reason = line.replace("\"timeout\"", "\"bad_luck\"");
    let Ok(ParsedLine::Event(event)) = read(&with_reason) else {
        panic!("{with_reason}");
    };
    assert!(
        matches!(&event.facts, EventFacts::Abort(facts) if facts.reason == AbortReason::Other),
        "{event:?}"
    );
    for kind in [
        r#"{"ts":"x","mono_ns":1,"event":"weather"}"#,
        r#"{"ts":"x","mono_ns":1,"event":"weather","local":5,"process":"me"}"#,
    ] {
        assert!(matches!(read(kind), Ok(ParsedLine::Other(kind)) if kind == "weather"));
    }
}

#[test]
fn what_is_missing_is_not_known() {
    let line = r#"{"ts":"2023-11-14T22:13:20Z","mono_ns":1,"event":"time_wait"}"#;
    let Ok(ParsedLine::Event(event)) = read(line) else {
        panic!("{line}");
    };
    assert_eq!((event.netns, event.side), (None, Side::Unknown));
}

#[test]
fn what_can_not_be_read_is_an_error() {
    let line = written(&samples::time_wait_end());
    for (from, to) in [
        ("\"reused_by_connect\"", "\"magic\""),
        ("\"10.0.0.1:40000\"", "\"10.0.0.1\""),
        ("2023-11-14T", "yesterday "),
        ("\"mono_ns\":1000", "\"mono_ns\":-1"),
        ("\"pid\":1234", "\"pid\":\"x\""),
    ] {
        let damaged = line.replace(from, to);
        assert_ne!(damaged, line, "{from}");
        assert!(read(&damaged).is_err(), "{damaged}");
    }
    for line in [
        "",
        "null",
        "[]",
        "{",
        "{}",
        r#"{"event":"lost","ts":"","mono_ns":1}"#,
    ] {
        assert!(read(line).is_err(), "{line}");
    }
}

#[test]
fn many_processes_are_not_all_kept() {
    let mut parser = Parser::default();
    let line = written(&samples::abort());
    for pid in 0..2 * CACHED {
        let line = line.replace("\"pid\":1234", &format!("\"pid\":{}", pid + 1));
        parser.parse(line.as_bytes()).unwrap();
        assert!(parser.processes.len() <= CACHED);
    }
}

#[test]
fn long_text_of_strangers_is_not_kept() {
    let mut parser = Parser::default();
    let line = written(&samples::reset());
    let long = "x".repeat(1 << 20);
    for pid in 1..20 {
        let process = format!("\"exe\":\"{long}\",\"pid\":{pid}");
        let line = line.replace("\"pid\":1234", &process).replace(
            "\"kernel_reason\":null",
            &format!("\"kernel_reason\":\"{long}\""),
        );
        let Ok(ParsedLine::Event(event)) = parser.parse(line.as_bytes()) else {
            panic!("process {pid}");
        };
        let details = event.process.unwrap().details.unwrap();
        assert!(details.exe.as_ref().unwrap().len() < 8_192);
        let kept: usize = parser.processes.keys().map(|text| text.len()).sum();
        assert!(kept <= CACHED_TEXT + (2 << 20), "{kept}");
        assert!(parser.reasons.keys().all(|reason| reason.len() <= 256));
    }
    let error = read(&format!("\"{long}\"")).unwrap_err();
    assert!(error.to_string().len() < 1_000);
}

#[test]
fn nobody_has_pid_0() {
    let line = written(&samples::abort()).replace("\"pid\":1234", "\"pid\":0");
    assert!(read(&line).is_err());
}

proptest! {
    #[test]
    fn bytes_of_strangers_are_no_panic(line in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Parser::default().parse(&line);
    }

    #[test]
    fn hostile_names_read_back(comm in prop::collection::vec(1_u8.., 0..15), pid in 1_u32..) {
        let mut event = samples::time_wait_end();
        let mut process = samples::process(pid, "");
        process.comm = crate::event::comm::Comm::from_bytes(&comm);
        process.thread_comm = process.comm;
        event.process = Some(process.clone());
        event.opener = Some(process);
        goes_there_and_back(&written(&event));
    }

    #[test]
    fn changed_bytes_are_no_panic(at in 0_usize..600, byte in any::<u8>()) {
        for event in [samples::time_wait(), samples::port_alloc(), samples::reset()] {
            let mut line = written(&event).into_bytes();
            let at = at % line.len();
            line[at] = byte;
            let _ = Parser::default().parse(&line);
        }
    }
}
