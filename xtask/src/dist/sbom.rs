//! The list of contents, as CycloneDX 1.5. cargo-cyclonedx lists crates alone: here are also SQLite, zstd and glibc, and what
//! the eBPF object is made of.

use anyhow::Result;
use serde_json::{Value, json};

use super::components::Component;

/// Contents of the list.
pub struct Bill<'a> {
    /// Version of twtrace.
    pub version: &'a str,
    /// Time, RFC 3339.
    pub timestamp: &'a str,
    /// SHA-256 of the binary.
    pub program_sha256: &'a str,
    /// Linked components.
    pub parts: &'a [Component],
}

/// twtrace's own crates that are direct parts of the binary.
const OWN: [&str; 2] = ["twtrace", "probe-ebpf"];

impl Bill<'_> {
    /// The document; identical for identical contents.
    pub fn to_json(&self) -> Result<Vec<u8>> {
        let reference = format!("pkg:generic/twtrace@{}", self.version);
        let is_direct = |part: &&Component| {
            OWN.contains(&part.name.as_str()) || part.purl.starts_with("pkg:generic/")
        };
        let direct: Vec<&str> = self
            .parts
            .iter()
            .filter(is_direct)
            .map(|part| part.purl.as_str())
            .collect();
        let mut dependencies = vec![json!({"ref": reference, "dependsOn": direct})];
        dependencies.extend(
            self.parts
                .iter()
                .map(|part| json!({"ref": part.purl, "dependsOn": part.uses})),
        );
        let document = json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "version": 1,
            "metadata": {
                "timestamp": self.timestamp,
                "component": {
                    "type": "application",
                    "bom-ref": reference,
                    "name": "twtrace",
                    "version": self.version,
                    "licenses": [{"expression": "Apache-2.0 OR MIT"}],
                    "purl": reference,
                    "hashes": [{"alg": "SHA-256", "content": self.program_sha256}],
                },
            },
            "components": self.parts.iter().map(component).collect::<Vec<_>>(),
            "dependencies": dependencies,
        });
        let mut text = serde_json::to_vec_pretty(&document)?;
        text.push(b'\n');
        Ok(text)
    }
}

fn component(part: &Component) -> Value {
    let mut value = json!({
        "type": "library",
        "bom-ref": part.purl,
        "name": part.name,
        "version": part.version,
        "licenses": [{"expression": part.licence}],
        "purl": part.purl,
    });
    if let Some(sha256) = &part.sha256 {
        // Checksum of the crate's archive, from Cargo.lock.
        value["hashes"] = json!([{"alg": "SHA-256", "content": sha256}]);
    }
    value
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_part_is_listed_and_reachable() {
        let part = |name: &str, uses: &[&str]| Component {
            name: name.to_owned(),
            version: "1".to_owned(),
            licence: "MIT".to_owned(),
            purl: format!("pkg:cargo/{name}@1"),
            sha256: Some("00".to_owned()),
            source: None,
            uses: uses
                .iter()
                .map(|name| format!("pkg:cargo/{name}@1"))
                .collect(),
        };
        let parts = [part("a", &[]), part("twtrace", &["a"])];
        let bill = Bill {
            version: "1.2.3",
            timestamp: "2026-01-01T00:00:00Z",
            program_sha256: "ff",
            parts: &parts,
        };
        let json: Value = serde_json::from_slice(&bill.to_json().unwrap()).unwrap();
        assert_eq!(json["metadata"]["component"]["version"], "1.2.3");
        assert_eq!(json["components"][0]["hashes"][0]["content"], "00");
        let targets: BTreeSet<&str> = json["dependencies"]
            .as_array()
            .unwrap()
            .iter()
            .flat_map(|node| node["dependsOn"].as_array().unwrap())
            .filter_map(Value::as_str)
            .collect();
        assert_eq!(
            targets,
            BTreeSet::from(["pkg:cargo/a@1", "pkg:cargo/twtrace@1"])
        );
    }
}
