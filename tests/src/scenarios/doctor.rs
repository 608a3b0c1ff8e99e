//! What `twtrace doctor` finds, and what it must not find.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd, IntoRawFd},
    rc::Rc,
    time::Duration,
};

use anyhow::{Result, bail, ensure};

use super::{DoctorRun, ExpectedFinding, Needs, Scenario, leak};
use crate::{
    actor::{
        Actor,
        command::{Command, FirstCloser, SocketOption},
    },
    expect::Side,
    stage::{
        Skip, Stage,
        finding::{CrowdRow, ExpectedCloseWait},
    },
    sys::{
        check,
        proc_net::{self, KernelCounters, State},
        sock_diag,
    },
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("doctor/healthy", healthy).judged(NOTHING),
    Scenario::single("doctor/healthy_text", healthy).judged(DoctorRun {
        prints: Some("\nno findings\n"),
        ..NOTHING
    }),
    Scenario::both("doctor/close_wait", close_wait).judged(DoctorRun {
        fail_on: "warning",
        code: 3,
        finds: &[found("close_wait_leak", "warning", "ls")],
        ..NOTHING
    }),
    // Few, and recent.
    Scenario::single("doctor/close_wait_few", leak::leak).judged(NOTHING),
    Scenario::single("doctor/client_closes_first", client_first).judged(DoctorRun {
        finds: &[found("client_closes_first", "notice", "cl")],
        spares: &["server_closes_first", "reuse_for_inbound"],
        ..CRITICAL
    }),
    Scenario::single("doctor/client_keeps_too_few", keeps_too_few).judged(DoctorRun {
        finds: &[ExpectedFinding {
            says: "24 connections to it are open at the end",
            ..found("client_closes_first", "notice", "cl")
        }],
        ..CRITICAL
    }),
    Scenario::single("doctor/client_of_sidecar", of_sidecar).judged(DoctorRun {
        finds: &[ExpectedFinding {
            says: "127.0.0.6 is the source address that the sidecar proxy",
            ..found("client_closes_first", "notice", "cl")
        }],
        ids: &["client_closes_first"],
        ..CRITICAL
    }),
    Scenario::single("doctor/server_closes_first", server_first).judged(DoctorRun {
        finds: &[
            found("server_closes_first", "notice", "sv"),
            found("reuse_for_inbound", "notice", "sv"),
        ],
        spares: &["client_closes_first"],
        ..CRITICAL
    }),
    Scenario::single("doctor/linger", linger).judged(DoctorRun {
        finds: &[
            found("linger_on_server", "warning", "sv"),
            found("linger_on_client", "notice", "cl"),
        ],
        ..CRITICAL
    }),
    Scenario::single("doctor/fin_timeout", fin_timeout).judged(DoctorRun {
        finds: &[found("fin_timeout_lowered", "notice", "")],
        ..CRITICAL
    }),
    Scenario::single("doctor/tw_buckets", tw_buckets).judged(DoctorRun {
        finds: &[found("tw_buckets_overflow", "warning", "")],
        ..CRITICAL
    }),
    Scenario::single("doctor/tw_buckets_near", tw_buckets_near).judged(DoctorRun {
        finds: &[ExpectedFinding {
            says: "nearly as many",
            ..found("tw_buckets_overflow", "warning", "")
        }],
        ..CRITICAL
    }),
    // Created before it began.
    Scenario::single("doctor/tw_buckets_from_before", tw_buckets_from_before).judged(DoctorRun {
        finds: &[ExpectedFinding {
            says: " when the window began)",
            ..found("tw_buckets_overflow", "warning", "")
        }],
        is_from_the_middle: true,
        ..CRITICAL
    }),
    Scenario::single("doctor/tw_buckets_with_room", tw_buckets_with_room).judged(DoctorRun {
        is_from_the_middle: true,
        ..NOTHING
    }),
    Scenario::single("doctor/listen_queue", listen_queue).judged(DoctorRun {
        finds: &[ExpectedFinding {
            says: "its backlog is 1 (Send-Q)",
            ..found("listen_queue_overflow", "warning", "")
        }],
        ..CRITICAL
    }),
    Scenario::single("doctor/listen_queue_aborts", listen_queue_aborts).judged(DoctorRun {
        finds: &[ExpectedFinding {
            says: "gets a RST",
            ..found("listen_queue_overflow", "warning", "")
        }],
        spares: &["reset_storm", "reset_by_peer"],
        ..CRITICAL
    }),
];

/// The doctor finds nothing at all.
pub const NOTHING: DoctorRun = DoctorRun {
    fail_on: "notice",
    code: 0,
    finds: &[],
    spares: &[],
    ids: &[],
    is_from_the_middle: false,
    prints: None,
};

/// A finding does not change its exit code.
pub const CRITICAL: DoctorRun = DoctorRun {
    fail_on: "critical",
    ..NOTHING
};

pub const fn found(
    id: &'static str,
    severity: &'static str,
    names: &'static str,
) -> ExpectedFinding {
    ExpectedFinding {
        id,
        severity,
        names,
        spares: "",
        says: "",
        needs: Needs::Nothing,
    }
}

/// One whose text also says this.
pub const fn says(
    id: &'static str,
    severity: &'static str,
    names: &'static str,
    says: &'static str,
) -> ExpectedFinding {
    ExpectedFinding {
        says,
        ..found(id, severity, names)
    }
}

/// Enough for a high rate, in a few seconds at most.
pub const MANY: usize = 200;
/// Too few for a high rate.
pub const FEW: usize = 10;

pub fn healthy(stage: &Stage) -> Result<()> {
    closing_first(stage, FirstCloser::Client, FEW)
}

/// A server and a client, one of which always closes first.
pub fn closing_first(stage: &Stage, first: FirstCloser, count: usize) -> Result<()> {
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let (listener, address) = server.listen(stage.ip.loopback_any_port())?;
    server.start_accepting(listener, count, first)?;
    client.start_connecting(address, count, first)?;
    ensure!(client.finished_many()? == count);
    ensure!(server.finished_many()? == count);
    let (closer, side) = match first {
        FirstCloser::Client => (&client, Side::Client),
        FirstCloser::Server => (&server, Side::Server),
    };
    expect_births(stage, closer, side, count);
    Ok(())
}

/// Its name may be expected in a finding.
pub fn expect_births(stage: &Stage, actor: &Actor, side: Side, births: usize) {
    stage.expect_births(CrowdRow {
        pid: Some(actor.pid),
        comm: actor.comm.clone(),
        side,
        births: births as u64,
    });
}

pub fn client_first(stage: &Stage) -> Result<()> {
    closing_first(stage, FirstCloser::Client, MANY)
}

/// Some connections are kept, and many are closed after their use.
fn keeps_too_few(stage: &Stage) -> Result<()> {
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let (listener, address) = server.listen(stage.ip.loopback_any_port())?;
    // Many more than the others that are open at a time.
    for _ in 0..24 {
        client.connect(address)?;
        server.accept(listener)?;
    }
    server.start_accepting(listener, MANY, FirstCloser::Client)?;
    client.start_connecting(address, MANY, FirstCloser::Client)?;
    ensure!(client.finished_many()? == MANY);
    ensure!(server.finished_many()? == MANY);
    expect_births(stage, &client, Side::Client, MANY);
    Ok(())
}

/// A client whose source is that of a mesh's sidecar.
fn of_sidecar(stage: &Stage) -> Result<()> {
    // A second of reuse is not awaited: TIME_WAITs would hold half of the range at this rate.
    stage.sysctl("ipv4/tcp_tw_reuse", "0")?;
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let (listener, address) = server.listen(stage.ip.loopback_any_port())?;
    let source = SocketAddr::from(([127, 0, 0, 6], 0));
    for _ in 0..MANY {
        let fd = client.tcp_for(address)?;
        client.set(fd, SocketOption::BindAddressNoPort)?;
        client.bind(fd, source)?;
        let connection = client.connect_with(fd, address)?;
        let accepted = server.accept(listener)?;
        client.close(&connection)?;
        server.await_end(&accepted)?;
        server.close(&accepted)?;
    }
    expect_births(stage, &client, Side::Client, MANY);
    Ok(())
}

fn server_first(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/tcp_tw_reuse", "1")?;
    closing_first(stage, FirstCloser::Server, MANY)
}

fn fin_timeout(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/tcp_fin_timeout", "15")?;
    healthy(stage)
}

fn tw_buckets(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/tcp_max_tw_buckets", "4")?;
    healthy(stage)
}

/// As many as allowed: none is refused.
fn tw_buckets_near(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/tcp_max_tw_buckets", &FEW.to_string())?;
    healthy(stage)?;
    // softirq may have deferred some, which the doctor would not see yet.
    stage.until("as many are alive as may be", || {
        // One may have ended early, by a late RST: it is still 90 %.
        Ok(KernelCounters::read()?.alive >= FEW as u64 - 1)
    })
}

/// The same, but they exist when the doctor begins, and hardly any do when it ends.
fn tw_buckets_from_before(stage: &Stage) -> Result<()> {
    before(stage, 2 * FEW)
}

fn tw_buckets_with_room(stage: &Stage) -> Result<()> {
    before(stage, 4 * FEW)
}

fn before(stage: &Stage, allowed: usize) -> Result<()> {
    stage.sysctl("ipv4/tcp_max_tw_buckets", &allowed.to_string())?;
    closing_first(stage, FirstCloser::Client, 2 * FEW)?;
    // Late RSTs may have ended some.
    for _ in 0..2 * FEW {
        if KernelCounters::read()?.alive + 2 >= 2 * FEW as u64 {
            break;
        }
        closing_first(stage, FirstCloser::Client, 1)?;
    }
    stage.until("nearly all are alive", || {
        Ok(KernelCounters::read()?.alive >= 2 * FEW as u64 - 2)
    })?;
    stage.begin_tracing()?;
    for socket in proc_net::sockets()? {
        if matches!(socket.state, State::TimeWait | State::FinWait2) {
            match sock_diag::destroy(socket.local, socket.remote) {
                Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                    bail!(Skip("this kernel destroys no sockets".to_owned()))
                }
                // The dump of sockets may show some that are not there any more.
                Err(error) if error.raw_os_error() != Some(libc::ENOENT) => {
                    return Err(error.into());
                }
                _ => {}
            }
        }
    }
    stage.until("none is alive", || Ok(KernelCounters::read()?.alive == 0))
}

/// A server that does not close what its clients have closed.
fn close_wait(stage: &Stage) -> Result<()> {
    const LEAKED: u64 = 25;
    let (leaky, listener, address) = leak::server(stage, "ls")?;
    let client: Rc<Actor> = stage.actor("cl")?;
    for _ in 0..LEAKED {
        let at_client = client.connect(address)?;
        let at_server = leaky.accept(listener)?;
        client.close(&at_client)?;
        leak::until_left(stage, &at_client, &at_server)?;
    }
    stage.expect_close_wait(ExpectedCloseWait {
        pid: Some(leaky.pid),
        comm: Some(leaky.comm.clone()),
        side: Side::Server,
        destination: format!(":{}", address.port()),
        count: LEAKED,
        shared: 0,
        at_least_ns: 0,
    });
    stage.pause(leak::STAYED);
    Ok(())
}

/// Each end closes some connections by RST.
fn linger(stage: &Stage) -> Result<()> {
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let (listener, address) = server.listen(stage.ip.loopback_any_port())?;
    for index in 0..2 * FEW {
        let at_client = client.connect(address)?;
        let at_server = server.accept(listener)?;
        let (closer, its, other, others) = match index % 2 {
            0 => (&client, at_client, &server, at_server),
            _ => (&server, at_server, &client, at_client),
        };
        closer.set(its.fd, SocketOption::LingerZero)?;
        closer.close(&its)?;
        other.call(&Command::AwaitReset { fd: others.fd })?;
        other.close(&others)?;
    }
    expect_births(stage, &client, Side::Client, 0);
    expect_births(stage, &server, Side::Server, 0);
    Ok(())
}

/// More connections than the queue of a listener that accepts none has room for.
fn listen_queue(stage: &Stage) -> Result<()> {
    const LIMIT: Duration = Duration::from_millis(300);
    let listener = TcpListener::bind(stage.ip.loopback_any_port())?;
    // SAFETY: listen() takes integers; the second call sets the length of the queue.
    check(unsafe { libc::listen(listener.as_raw_fd(), 1) })?;
    let address = listener.local_addr()?;
    let connect = |_| TcpStream::connect_timeout(&address, LIMIT);
    let open: Vec<io::Result<TcpStream>> = (0..4).map(connect).collect();
    ensure!(open.iter().any(Result::is_err), "the queue took all");
    // It is there as long as the stage.
    let _ = listener.into_raw_fd();
    Ok(())
}

/// The same, and the listener answers with a RST.
fn listen_queue_aborts(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/tcp_abort_on_overflow", "1")?;
    listen_queue(stage)
}
