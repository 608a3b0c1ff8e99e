//! Settings and counters of namespaces, as a recording stores them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use twtrace_core::model::namespace::{NamespaceSample, NamespaceSamples, NamespaceState};

#[derive(Serialize, Deserialize)]
pub struct Body {
    namespaces: Vec<RecordedNamespace>,
}

#[derive(Serialize, Deserialize)]
struct RecordedNamespace {
    netns: u32,
    path: Option<PathBuf>,
    state: Option<NamespaceState>,
    /// Why `state` is missing.
    why: Option<String>,
}

pub fn body(samples: &NamespaceSamples) -> Body {
    let rows = samples.iter().map(|(netns, sample)| RecordedNamespace {
        netns: *netns,
        path: sample
            .path
            .as_ref()
            .map(|path| path.to_string_lossy().into_owned().into()),
        state: sample.state.as_ref().ok().cloned(),
        why: sample.state.as_ref().err().cloned(),
    });
    Body {
        namespaces: rows.collect(),
    }
}

pub fn samples(body: Body) -> NamespaceSamples {
    let samples = body.namespaces.into_iter().map(|row| {
        let sample = NamespaceSample {
            path: row.path,
            state: row
                .state
                .ok_or_else(|| row.why.unwrap_or_else(|| "not known".to_owned())),
        };
        (row.netns, sample)
    });
    samples.collect()
}
