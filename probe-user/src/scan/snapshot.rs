//! The sockets of all network namespaces that can be reached.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use twtrace_core::model::socket::NetnsSockets;

use super::namespace_helper::NamespaceHelper;
use super::sock_diag::{self, DiagError, DiagSocket, Query};
use crate::enrich::netns;

/// What could be scanned, and what could not.
#[derive(Debug, Default)]
pub struct ScannedSockets {
    /// Namespaces in the order of their numbers.
    pub namespaces: Vec<NetnsSockets>,
    /// Namespaces that exist and can't be scanned: number and reason.
    pub unscanned: Vec<(u32, String)>,
}

/// Lists the sockets of every namespace that a process is in or a mount keeps alive, or of those in `only` if it is
/// not empty. Without a helper only this thread's own namespace can be read.
pub fn take(helper: Option<&NamespaceHelper>, query: Query, only: &[u32]) -> ScannedSockets {
    let mut namespaces = Vec::new();
    let unscanned = visit(helper, only, |netns, _, socket| {
        let rows = socket.dump(query)?;
        namespaces.push(NetnsSockets { netns, rows });
        Ok(())
    });
    ScannedSockets {
        namespaces,
        unscanned,
    }
}

/// Visits the same namespaces, in the order of their numbers: `visit` gets files that stand for one, and a socket that
/// lists its sockets. Returns those that could not be scanned, and why.
pub fn visit(
    helper: Option<&NamespaceHelper>,
    only: &[u32],
    mut visit: impl FnMut(u32, &[PathBuf], &mut DiagSocket) -> Result<(), DiagError>,
) -> Vec<(u32, String)> {
    let own = netns::of_process(std::process::id());
    let mut unscanned = Vec::new();
    for (netns, paths) in namespaces() {
        if !only.is_empty() && !only.contains(&netns) {
            continue;
        }
        let socket = if own == Some(netns) {
            sock_diag::open()
                .and_then(DiagSocket::new)
                .map_err(DiagError::Io)
        } else {
            reach(helper, netns, &paths)
        };
        match socket.and_then(|mut socket| visit(netns, &paths, &mut socket)) {
            Ok(()) => {}
            Err(DiagError::Enter(error)) if is_gone(&error) => {}
            Err(error) => unscanned.push((netns, format!("{:#}", anyhow::Error::from(error)))),
        }
    }
    unscanned
}

/// Every namespace, with files that stand for it.
pub fn namespaces() -> BTreeMap<u32, Vec<PathBuf>> {
    let mut found: BTreeMap<u32, Vec<PathBuf>> = BTreeMap::new();
    for (netns, pids) in netns::inhabited() {
        let paths = pids
            .into_iter()
            .map(|pid| PathBuf::from(format!("/proc/{pid}/ns/net")));
        found.entry(netns).or_default().extend(paths);
    }
    for (netns, path) in netns::mounted() {
        found.entry(netns).or_default().push(path);
    }
    found
}

/// By the first of its files that still leads there: processes start and end.
fn reach(
    helper: Option<&NamespaceHelper>,
    netns: u32,
    paths: &[PathBuf],
) -> Result<DiagSocket, DiagError> {
    let Some(helper) = helper else {
        let error = io::Error::other("there is no process that may");
        return Err(DiagError::Enter(error));
    };
    let mut last = io::Error::from_raw_os_error(libc::ESTALE);
    for path in paths {
        match helper.diag_socket(netns, path) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
        if !is_gone(&last) {
            break;
        }
    }
    Err(DiagError::Enter(last))
}

/// Whether the path to a namespace no longer leads anywhere, or leads elsewhere.
pub fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOENT | libc::ESRCH | libc::ESTALE)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_namespace_needs_no_helper() {
        let own = netns::of_process(std::process::id()).unwrap();
        let snapshot = take(None, Query::of(&[]), &[own]);
        assert_eq!(snapshot.namespaces.len(), 1);
        assert_eq!(snapshot.namespaces[0].netns, own);
        assert!(snapshot.unscanned.is_empty());
        assert!(take(None, Query::of(&[]), &[1]).namespaces.is_empty());
    }

    #[test]
    fn all_namespaces_are_seen_or_named() {
        let helper = NamespaceHelper::open().unwrap();
        let snapshot = take(Some(&helper), Query::of(&[]), &[]);
        assert!(!snapshot.namespaces.is_empty());
        for (netns, why) in &snapshot.unscanned {
            assert!(
                why.contains("denied") || why.contains("permitted"),
                "{netns}: {why}"
            );
        }
    }
}
