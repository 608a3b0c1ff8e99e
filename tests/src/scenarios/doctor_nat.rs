//! What `twtrace doctor` finds of connection tracking and NAT, and what it must not find.

use std::{
    fs,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use super::{
    DoctorRun, Scenario,
    doctor::{CRITICAL, NOTHING, found},
    programs,
};
use crate::stage::{Skip, Stage};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::single("doctor/nat_ports_exhausted", ports_exhausted).judged(DoctorRun {
        fail_on: "warning",
        code: 3,
        finds: &[found("nat_ports_exhausted", "warning", "")],
        spares: &["conntrack_table_full", "budget_full"],
        ..NOTHING
    }),
    // All ports of NAT are in use, and only a few packets had to be dropped.
    Scenario::single("doctor/nat_few_clashes", few_clashes).judged(NOTHING),
    Scenario::single("doctor/conntrack_table_full", table_full).judged(DoctorRun {
        finds: &[found("conntrack_table_full", "warning", "")],
        spares: &["nat_ports_exhausted"],
        ..CRITICAL
    }),
    Scenario::single("doctor/conntrack_with_room", table_with_room).judged(NOTHING),
];

/// Ports available to SNAT.
const PORTS: usize = 10;

/// A rule set of the stage's own namespace, or a [`Skip`] if rules can't be set.
fn nft(rules: &str) -> Result<()> {
    match programs::run("nft", &[rules]) {
        Ok(()) => Ok(()),
        Err(error) => {
            let text = error.to_string();
            // The kernel lacks nf_tables, or the kind of chain or rule.
            let lacks = [
                "Operation not supported",
                "No such file or directory",
                "Protocol not supported",
            ];
            if lacks.iter().any(|words| text.contains(words)) {
                bail!(Skip(format!("this kernel can't have the rules: {text}")))
            } else {
                Err(error)
            }
        }
    }
}

/// Connections that use all ports of a SNAT, and then `clashes` that find none.
fn clashing(clashes: usize) -> Result<()> {
    const LIMIT: Duration = Duration::from_millis(200);
    /// Time for the handshake of a connection that finds a port.
    const PATIENCE: Duration = Duration::from_secs(10);
    nft("add table ip t; \
         add chain ip t after { type nat hook postrouting priority 100; }; \
         add rule ip t after tcp dport 20000 snat to 127.0.0.1:30000-30009")?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 20_000));
    let listener = TcpListener::bind(address)?;
    // Open until the end: kernels take a port back from a connection that has ended.
    let mut open = Vec::new();
    for _ in 0..PORTS {
        open.push(TcpStream::connect_timeout(&address, PATIENCE).context("NAT has a port left")?);
    }
    for _ in 0..clashes {
        match TcpStream::connect_timeout(&address, LIMIT) {
            Ok(_) => bail!("NAT had more ports than it should have"),
            Err(error) => ensure!(error.kind() == ErrorKind::TimedOut, "{error}"),
        }
    }
    // A listener that closes would reset what it has not accepted.
    std::mem::forget((listener, open));
    Ok(())
}

fn ports_exhausted(_stage: &Stage) -> Result<()> {
    clashing(8)
}

fn few_clashes(_stage: &Stage) -> Result<()> {
    clashing(3)
}

/// Fills a part of the connection-tracking table, in percent, by single datagrams. The limit is the host's and the
/// count the namespace's, so no other namespace runs short of room.
fn fill(stage: &Stage, percent: usize) -> Result<()> {
    const TO_PORTS: usize = 50_000;
    const GREATEST: usize = 300_000;
    // Dropped on arrival; otherwise each would be answered with an ICMP error.
    nft("add table ip t; \
         add chain ip t before { type filter hook prerouting priority 0; }; \
         add rule ip t before meta l4proto udp ct state new,established drop")?;
    let max: usize = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_max")?
        .trim()
        .parse()?;
    if max > GREATEST {
        bail!(Skip(format!(
            "{max} connections are too many to fill the table with"
        )));
    }
    stage.sysctl("netfilter/nf_conntrack_udp_timeout", "120")?;
    let mut left = max * percent / 100;
    while left > 0 {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let count = left.min(TO_PORTS);
        left -= count;
        for port in (1..=u16::MAX).take(count) {
            match socket.send_to(b"", (Ipv4Addr::LOCALHOST, port)) {
                // The error of a sender whose packet was dropped for lack of room.
                Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
                other => ensure!(other? == 0),
            }
        }
    }
    Ok(())
}

fn table_full(stage: &Stage) -> Result<()> {
    fill(stage, 102)
}

fn table_with_room(stage: &Stage) -> Result<()> {
    fill(stage, 50)
}
