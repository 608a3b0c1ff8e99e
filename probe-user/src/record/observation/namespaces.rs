//! Settings and counters of namespaces, as a recording stores them.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use twtrace_core::model::namespace::{Look, Looks, State};

#[derive(Serialize, Deserialize)]
pub struct Body {
    namespaces: Vec<Row>,
}

#[derive(Serialize, Deserialize)]
struct Row {
    netns: u32,
    path: Option<PathBuf>,
    state: Option<State>,
    /// Why `state` is missing.
    why: Option<String>,
}

pub fn body(looks: &Looks) -> Body {
    let rows = looks.iter().map(|(netns, look)| Row {
        netns: *netns,
        path: look
            .path
            .as_ref()
            .map(|path| path.to_string_lossy().into_owned().into()),
        state: look.state.as_ref().ok().cloned(),
        why: look.state.as_ref().err().cloned(),
    });
    Body {
        namespaces: rows.collect(),
    }
}

pub fn looks(body: Body) -> Looks {
    let looks = body.namespaces.into_iter().map(|row| {
        let look = Look {
            path: row.path,
            state: row
                .state
                .ok_or_else(|| row.why.unwrap_or_else(|| "not known".to_owned())),
        };
        (row.netns, look)
    });
    looks.collect()
}
