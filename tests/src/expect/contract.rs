//! What holds for every event, in any scenario: the fields that always exist, and their forms.

use std::net::SocketAddr;

use serde_json::Value;
use twtrace_core::event::{EventFacts, words::Word as _};
use twtrace_wire::EventKind;

/// Fields of all kinds; the fields of each kind are declared with it.
const COMMON: &[&str] = &[
    "ts",
    "mono_ns",
    "event",
    "netns",
    "local",
    "remote",
    "mapped",
    "side",
    "process",
    "unattributed",
    "opener",
];

/// Violations of the form of an event, in words.
pub fn violations(event: &Value) -> Vec<String> {
    let kind = event["event"].as_str().unwrap_or_default();
    let Some(known) = EventKind::from_word(kind) else {
        return vec![format!("an event of an unknown kind: {event}")];
    };
    let own = EventFacts::list(known).into_iter().map(|field| field.name);
    let mut wrong: Vec<String> = own
        .chain(COMMON.iter().copied())
        .filter(|name| event.get(*name).is_none())
        .map(|name| format!("{kind} lacks the field {name}: {event}"))
        .collect();
    for name in ["local", "remote"] {
        if let Some(text) = event[name].as_str()
            && text.parse::<SocketAddr>().is_err()
        {
            wrong.push(format!("{name} is no address and port: {text}"));
        }
    }
    let ts = event["ts"].as_str().unwrap_or_default();
    if ts.len() != "2026-01-02T03:04:05.000000006Z".len() || !ts.ends_with('Z') {
        wrong.push(format!("ts is no UTC time in nanoseconds: {ts}"));
    }
    if event["process"].is_null() == event["unattributed"].is_null() {
        wrong.push(format!(
            "exactly one of process and unattributed must be null: {event}"
        ));
    }
    for role in ["process", "opener"] {
        let who = &event[role];
        let named = who["pid"].is_u64() && who["comm"].is_string();
        if !who.is_null() && !named {
            wrong.push(format!("{role} lacks pid or comm: {who}"));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_that_is_left_out_is_found() {
        let event = json!({
            "ts": "2026-01-02T03:04:05.000000006Z", "mono_ns": 1, "event": "abort", "netns": 1,
            "local": "127.0.0.1:1", "remote": "127.0.0.1:2", "mapped": false, "side": "client",
            "process": null, "unattributed": "unknown", "opener": null, "reason": "timeout",
            "state": "established", "connection_ns": null, "idle_ns": null,
            "peer_silent_ns": null, "send_idle_ns": null, "bytes_sent": null, "bytes_received": null, "awaits_answer": null,
        });
        assert_eq!(violations(&event), Vec::<String>::new());
        let mut without = event.clone();
        without.as_object_mut().unwrap().remove("idle_ns");
        assert_eq!(violations(&without).len(), 1);
        let mut nobody = event;
        nobody["unattributed"] = Value::Null;
        assert_eq!(violations(&nobody).len(), 1);
    }
}
