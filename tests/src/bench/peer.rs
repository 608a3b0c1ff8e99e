//! Tracers of other projects: their names, and how to read their output.

use std::{
    io::{self, BufRead},
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};

use super::{
    load::{CLIENT, SERVER},
    tracer::Said,
};

/// A tracer of another project.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Name in tables.
    pub title: &'static str,
    /// Where it may be installed. Debian's package of BCC adds a suffix.
    paths: &'static [&'static str],
    /// Its arguments.
    pub arguments: &'static [&'static str],
    /// Debian package.
    package: &'static str,
    lines: Lines,
}

/// What its lines report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lines {
    /// Each change of a socket's state; the process's name is the third word.
    States,
    /// The end of each connection, on either side; the name is the second word.
    Lives,
    /// Nothing about TIME_WAITs.
    Other,
}

/// BCC: Python programs, which compile their eBPF side when they start.
pub const TCPSTATES: Peer = Peer {
    title: "tcpstates",
    paths: &[
        "/usr/sbin/tcpstates-bpfcc",
        "/usr/share/bcc/tools/tcpstates",
    ],
    arguments: &[],
    package: "bpfcc-tools",
    lines: Lines::States,
};
pub const TCPLIFE: Peer = Peer {
    title: "tcplife",
    paths: &["/usr/sbin/tcplife-bpfcc", "/usr/share/bcc/tools/tcplife"],
    lines: Lines::Lives,
    ..TCPSTATES
};
/// Uses kprobes.
pub const TCPTRACER: Peer = Peer {
    title: "tcptracer",
    paths: &[
        "/usr/sbin/tcptracer-bpfcc",
        "/usr/share/bcc/tools/tcptracer",
    ],
    lines: Lines::Other,
    ..TCPSTATES
};
/// Times ephemeral port allocation. Uses kprobes.
pub const FUNCLATENCY: Peer = Peer {
    title: "funclatency inet_hash_connect",
    paths: &[
        "/usr/sbin/funclatency-bpfcc",
        "/usr/share/bcc/tools/funclatency",
    ],
    arguments: &["inet_hash_connect"],
    lines: Lines::Other,
    ..TCPSTATES
};
/// libbpf-tools: written in C, with an eBPF side that is compiled in advance.
pub const LIBBPF_TCPSTATES: Peer = Peer {
    title: "tcpstates (libbpf)",
    paths: &["/usr/sbin/tcpstates", "/usr/bin/tcpstates"],
    arguments: &[],
    package: "libbpf-tools",
    lines: Lines::States,
};
pub const LIBBPF_TCPLIFE: Peer = Peer {
    title: "tcplife (libbpf)",
    paths: &["/usr/sbin/tcplife", "/usr/bin/tcplife"],
    lines: Lines::Lives,
    ..LIBBPF_TCPSTATES
};
/// Uses kprobes.
pub const LIBBPF_TCPTRACER: Peer = Peer {
    title: "tcptracer (libbpf)",
    paths: &["/usr/sbin/tcptracer", "/usr/bin/tcptracer"],
    lines: Lines::Other,
    ..LIBBPF_TCPSTATES
};
/// Times ephemeral port allocation. Uses fentry, or kprobes.
pub const LIBBPF_FUNCLATENCY: Peer = Peer {
    title: "funclatency inet_hash_connect (libbpf)",
    paths: &["/usr/sbin/funclatency", "/usr/bin/funclatency"],
    arguments: &["inet_hash_connect"],
    lines: Lines::Other,
    ..LIBBPF_TCPSTATES
};

impl Peer {
    /// Path of its program.
    ///
    /// # Errors
    /// If it is not installed.
    pub fn program(&self) -> Result<PathBuf> {
        match self.paths.iter().find(|path| Path::new(path).is_file()) {
            Some(path) => Ok(PathBuf::from(path)),
            None => bail!("not installed (package {})", self.package),
        }
    }

    /// What it reported; `None` if that can't be compared.
    pub fn said(&self, output: impl BufRead, errors: &str) -> io::Result<Option<Said>> {
        if self.lines == Lines::Other {
            return Ok(None);
        }
        let mut said = Said {
            lost: lost(errors),
            ..Said::default()
        };
        for line in output.lines() {
            let line = line?;
            let mut words = line.split_whitespace();
            let comm = match self.lines {
                // The end of the socket that a TIME_WAIT replaces.
                Lines::States if line.contains("FIN_WAIT2   -> CLOSE ") => words.nth(2),
                Lines::Lives => words.nth(1),
                Lines::States | Lines::Other => None,
            };
            // They cut names to the width of their columns.
            match comm {
                Some(comm) if CLIENT.starts_with(comm) => said.births_client += 1,
                Some(comm) if SERVER.starts_with(comm) => said.births_server += 1,
                _ => {}
            }
        }
        Ok(Some(said))
    }
}

/// `Possibly lost 123 samples` of BCC, `lost 123 events on CPU #0!` of libbpf-tools.
fn lost(errors: &str) -> u64 {
    const WORD: &str = "lost ";
    errors
        .lines()
        .filter_map(|line| {
            let at = line.to_ascii_lowercase().find(WORD)? + WORD.len();
            line.get(at..)?
                .split_whitespace()
                .next()?
                .parse::<u64>()
                .ok()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_counted_by_the_side_whose_name_they_bear() {
        let states = "SKADDR           PID     COMM       LADDR LPORT RADDR RPORT OLDSTATE    -> NEWSTATE    MS\n\
            ffff 7 bench-clie 127.0.0.1 10 127.1.0.1 9000 FIN_WAIT1   -> FIN_WAIT2   0.01\n\
            ffff 7 bench-clie 127.0.0.1 10 127.1.0.1 9000 FIN_WAIT2   -> CLOSE       0.01\n\
            ffff 8 bench-serv 127.0.0.1 10 127.1.0.1 9000 FIN_WAIT2   -> CLOSE       0.01\n\
            ffff 9 curl 127.0.0.1 10 127.1.0.1 9000 FIN_WAIT2   -> CLOSE       0.01\n";
        let errors =
            "Possibly lost 12 samples\nlost 3 events on CPU #1!\nLost 2 events on CPU #1!\n";
        let said = TCPSTATES.said(states.as_bytes(), errors).unwrap().unwrap();
        assert_eq!((said.births_client, said.births_server), (1, 1));
        assert_eq!((said.wrong, said.lost), (0, 17));
        let lives = "PID COMM LADDR\n7 bench-clie 127.0.0.1\n7 bench-serv 127.0.0.1\n";
        let said = LIBBPF_TCPLIFE.said(lives.as_bytes(), "").unwrap().unwrap();
        assert_eq!((said.births_client, said.births_server), (1, 1));
        assert!(TCPTRACER.said(states.as_bytes(), "").unwrap().is_none());
    }
}
