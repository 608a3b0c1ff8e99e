//! Closing alerts of TLS, and data that looks like them.

use super::*;

/// A server's late or unread data of this size; its client received the RST before it had closed, if both are on this host.
fn of_size(reason: ResetReason, unread_bytes: u64, is_met: bool) -> Vec<Rst> {
    let sent = Rst {
        after_close_ms: (reason == DataAfterClose).then_some(5),
        unread_bytes: Some(unread_bytes),
        ..rst(Side::Server, Sent, reason, 2_000)
    };
    match is_met {
        true => vec![rst(Side::Client, Received, Peer, 10), sent],
        false => vec![sent],
    }
}

/// TLS clients that close as well send an alert, which nobody misses.
#[test]
fn a_closing_alert_is_no_loss() {
    for (reason, size, is_met) in [
        (DataAfterClose, 24, true),
        (DataAfterClose, 31, false),
        (UnreadData, 24, true),
    ] {
        let findings = check(&facts(&of_size(reason, size, is_met), 25, 25));
        assert!(
            findings.iter().all(|it| it.severity == Severity::Notice),
            "{reason:?} {findings:?}"
        );
        let said = findings[0].evidence.join("\n");
        assert!(
            said.contains("25 of them answer data of the size"),
            "{said}"
        );
        assert!(!findings[0].title.contains("25 lose"));
    }
}

/// A request that came too late is lost, wherever its client is.
#[test]
fn late_data_of_another_size_is_a_loss() {
    for is_met in [true, false] {
        let findings = check(&facts(&of_size(DataAfterClose, 180, is_met), 25, 25));
        assert_eq!(ids(&findings), [("keepalive_race", Severity::Critical)]);
        let said = findings[0].evidence.join("\n");
        assert!(!said.contains("close_notify"), "{said}");
    }
}

/// The answer of a TLS server to the alert of its client, which has closed.
#[test]
fn a_client_that_says_goodbye_has_not_given_up() {
    let of_size = |size| Rst {
        after_close_ms: Some(5),
        unread_bytes: Some(size),
        ..rst(Side::Client, Sent, DataAfterClose, 0)
    };
    for (size, severity) in [(24, Severity::Notice), (4_000, Severity::Critical)] {
        let findings = check(&facts(&[of_size(size)], 25, 25));
        assert_eq!(ids(&findings), [("client_gives_up", severity)], "{size}");
        let is_harmless = findings[0].to_do[0].starts_with("nothing: ");
        assert_eq!(is_harmless, severity == Severity::Notice, "{size}");
    }
}
