//! Checks that all deployment files agree: the unit, the manifest for Kubernetes, and the documentation.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;

fn deployed(path: &str) -> String {
    let deploy = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy");
    fs::read_to_string(deploy.join(path)).unwrap()
}

/// Python's YAML, as there is none in Rust here. `None` if it is not installed.
fn daemonset() -> Option<Value> {
    let program = "import json, sys, yaml\n\
        documents = [d for d in yaml.safe_load_all(sys.stdin) if d]\n\
        print(json.dumps(documents))";
    let has_yaml = Command::new("python3").args(["-c", "import yaml"]).output();
    if !has_yaml.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: python3 has no yaml here");
        return None;
    }
    let text = super::staging::filter(
        Command::new("python3").args(["-c", program]),
        deployed("kubernetes/daemonset.yaml").as_bytes(),
    );
    let documents: Vec<Value> = serde_json::from_slice(&text.unwrap()).unwrap();
    let mut kinds = documents
        .iter()
        .filter_map(|document| document["kind"].as_str());
    assert!(kinds.any(|kind| kind == "Namespace"));
    documents
        .into_iter()
        .find(|document| document["kind"] == "DaemonSet")
}

fn capabilities_of_unit() -> BTreeSet<String> {
    let unit = deployed("systemd/twtrace.service");
    let line = unit
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="))
        .unwrap();
    let names = line
        .split(' ')
        .map(|name| name.strip_prefix("CAP_").unwrap());
    names.map(str::to_owned).collect()
}

#[test]
fn the_pod_has_the_capabilities_of_the_unit_and_probes_where_it_listens() {
    let Some(daemonset) = daemonset() else {
        return;
    };
    let pod = &daemonset["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let capabilities = &container["securityContext"]["capabilities"];
    assert_eq!(capabilities["drop"][0], "ALL");
    let added: BTreeSet<String> = capabilities["add"]
        .as_array()
        .unwrap()
        .iter()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(added, capabilities_of_unit());
    assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
    assert_eq!(pod["hostPID"], true);

    let port = container["ports"][0]["containerPort"].as_u64().unwrap();
    let listen = container["env"][0]["value"].as_str().unwrap();
    assert!(listen.ends_with(&format!(":{port}")), "{listen}");
    for (probe, path) in [
        ("startupProbe", "/readyz"),
        ("livenessProbe", "/healthz"),
        ("readinessProbe", "/readyz"),
    ] {
        assert_eq!(container[probe]["httpGet"]["path"], path);
        assert_eq!(
            container[probe]["httpGet"]["port"],
            container["ports"][0]["name"]
        );
    }
    let names = |list: &Value| -> BTreeSet<String> {
        let list = list.as_array().unwrap().iter();
        list.map(|item| item["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&container["volumeMounts"]), names(&pod["volumes"]));
    let selector = &daemonset["spec"]["selector"]["matchLabels"];
    assert_eq!(
        selector,
        &daemonset["spec"]["template"]["metadata"]["labels"]
    );
}

#[test]
fn the_unit_hides_nothing_that_is_traced() {
    let unit = deployed("systemd/twtrace.service");
    let options: Vec<&str> = unit
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, _)| name)
        .collect();
    for breaks in [
        "ProtectKernelTunables",
        "ProtectKernelLogs",
        "ProtectProc",
        "ProcSubset",
        "PrivateNetwork",
        "PrivateUsers",
        "DynamicUser",
        "User",
    ] {
        assert!(!options.contains(&breaks), "{breaks}");
    }
}
