//! Programs whose connections are known for a pattern, which is no fault of the program that is named.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use super::facts::DoctorFacts;
use super::finding::{Finding, Severity};

/// The source address of the connections that the sidecar proxy of a mesh (Envoy, as Istio configures it) opens to the
/// application of its own pod.
const OF_SIDECAR: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 6));

/// Findings about the rate or the ends of a client's connections.
const OF_CLIENTS: &[&str] = &[
    "answer_not_read",
    "client_closes_first",
    "client_gives_up",
    "connection_refused",
    "linger_on_client",
    "reset_by_peer",
];
/// Findings about port pools.
const OF_POOLS: &[&str] = &["budget_full", "budget_nearly_full", "fast_half_full"];

/// Adds the pattern to a finding, if it is one.
pub fn explain(facts: &DoctorFacts, finding: &mut Finding) {
    let is_of_client = OF_CLIENTS.contains(&finding.id);
    if is_of_client && is_of_kubelet(&finding.figures) {
        finding.severity = Severity::Notice;
        finding.evidence.push(
            "a program named kubelet opens these: its probes (liveness, readiness, startup) use a connection each, by design, as \
             often as periodSeconds says"
                .to_owned(),
        );
        finding.to_do = vec![match finding.id {
            "connection_refused" => "see why the container does not listen, or not yet: kubectl describe pod shows the probe and its \
                                     failures"
                .to_owned(),
            _ => "nothing; fewer probes need a longer periodSeconds in the container's probe".to_owned(),
        }];
    }
    let is_of_sidecar = match finding.id {
        id if OF_POOLS.contains(&id) => {
            finding.figures["budget"]["source"] == OF_SIDECAR.to_string()
        }
        "client_closes_first" => is_from_sidecar(facts, &finding.figures),
        _ => false,
    };
    if is_of_sidecar {
        finding.evidence.push(format!(
            "{OF_SIDECAR} is the source address that the sidecar proxy of a mesh (Istio's Envoy) uses for all requests to its own \
             pod: these connections are those of the pod's clients, and not of a program here"
        ));
        finding.to_do.insert(
            0,
            "let the application keep connections of the sidecar alive (HTTP keep-alive, a longer idle timeout than the sidecar's), \
             and set no maxRequestsPerConnection in its DestinationRule"
                .to_owned(),
        );
        if is_of_client {
            finding.severity = Severity::Notice;
        }
    }
}

/// Whether all processes of a finding are kubelet's.
fn is_of_kubelet(figures: &Value) -> bool {
    let listed = ["clients_by", "resets_by"]
        .into_iter()
        .filter_map(|field| figures[field].as_array())
        .flatten()
        .map(|row| &row["process"]);
    let mut named = listed.chain(figures.get("process")).peekable();
    let is_it = |name: &Value| {
        name.as_str()
            .is_some_and(|name| name.starts_with("kubelet(") || name.starts_with("kubelet ("))
    };
    named.peek().is_some() && named.all(is_it)
}

/// Whether all ports that are held towards the destination of a finding have that source address.
fn is_from_sidecar(facts: &DoctorFacts, figures: &Value) -> bool {
    let pools = facts.report.budgets.iter().filter(|row| {
        figures["netns"] == row.netns
            && row
                .destination
                .is_some_and(|destination| figures["remote"] == destination.to_string())
    });
    let mut sources = pools.map(|row| row.source).peekable();
    sources.peek().is_some() && sources.all(|source| source == Some(OF_SIDECAR))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use twtrace_wire::Side;

    use super::super::samples;
    use super::*;

    fn closes_first(comm: &str, source: &str) -> Finding {
        let mut facts = samples::healthy();
        facts.report.budgets[0].source = Some(source.parse().unwrap());
        let mut pair = samples::pair(Side::Client, "10.0.0.2:80", 3_000, 0);
        pair.process = samples::process(comm).process.map(Arc::new);
        facts.pairs = vec![pair];
        let mut findings = super::super::findings(&facts);
        findings.remove(0)
    }

    #[test]
    fn probes_of_kubelet_are_named() {
        let found = closes_first("kubelet", "10.0.0.1");
        assert_eq!(found.severity, Severity::Notice);
        assert!(found.evidence.last().unwrap().contains("periodSeconds"));
        assert!(found.to_do[0].starts_with("nothing"));
        let found = closes_first("kubelet-proxy", "10.0.0.1");
        assert_eq!(found.severity, Severity::Warning);
        assert!(!found.evidence.last().unwrap().contains("kubelet opens"));
    }

    #[test]
    fn the_source_of_sidecars_is_named() {
        let found = closes_first("envoy", "127.0.0.6");
        assert_eq!(found.severity, Severity::Notice);
        assert!(
            found
                .evidence
                .last()
                .unwrap()
                .starts_with("127.0.0.6 is the source")
        );
        let mut facts = samples::healthy();
        facts.report.budgets = vec![samples::budget(0, 3)];
        facts.report.budgets[0].source = Some(OF_SIDECAR);
        let found = &super::super::findings(&facts)[0];
        assert_eq!(found.severity, Severity::Critical);
        assert!(found.to_do[0].contains("sidecar"));
    }
}
