//! Processes in cgroups with the names that container runtimes, the kubelet and systemd use.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{Scenario, Usage, close::parked};
use crate::{
    actor::{
        Actor,
        command::{Connection, Fd},
    },
    expect::Expected,
    runner::{
        Context, play_until_lucky, play_while_stopped, play_with_own_trace, report::RunningReport,
        stage_process::StageProcess,
    },
    stage::{Ip, Skip, Stage},
    sys::cgroup::{self, Version},
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::single(ON_V2, |stage| play(stage, Version::V2)),
    Scenario::single(ON_V1, |stage| play(stage, Version::V1)),
    Scenario::single(MOVED, moved),
    Scenario::single("containers/removed", removed),
];

pub const USAGES: &[Usage] = &[
    Usage {
        name: "containers/v1_alone",
        run: v1_alone,
    },
    Usage {
        name: "containers/moved_before_it_is_read",
        run: |context| play_while_stopped(context, MOVED),
    },
    Usage {
        name: "containers/filters",
        run: filters,
    },
];

const MOVED: &str = "containers/moved";
const ON_V2: &str = "containers/v2";
const ON_V1: &str = "containers/v1";

const UID: &str = "3f1b2c4d-0a1b-4c2d-8e3f-001122334455";

/// The name of a cgroup, and what it stands for.
struct Place {
    path: &'static str,
    is_container: bool,
    is_pod: bool,
    unit: Option<&'static str>,
}

const fn place(
    path: &'static str,
    is_container: bool,
    is_pod: bool,
    unit: Option<&'static str>,
) -> Place {
    Place {
        path,
        is_container,
        is_pod,
        unit,
    }
}

/// Docker, containerd, CRI-O, Podman and systemd, with each cgroup driver.
const PLACES: [Place; 10] = [
    place("docker/{ID}", true, false, None),
    place(
        "system.slice/docker-{ID}.scope",
        true,
        false,
        Some("docker-{ID}.scope"),
    ),
    place(
        "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID_}.slice/cri-containerd-{ID}.scope",
        true,
        true,
        Some("cri-containerd-{ID}.scope"),
    ),
    place(
        "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{UID_}.slice/crio-{ID}.scope/container",
        true,
        true,
        Some("crio-{ID}.scope"),
    ),
    place("kubepods/burstable/pod{UID}/{ID}", true, true, None),
    place(
        "system.slice/containerd.service/kubepods-burstable-pod{UID_}.slice:cri-containerd:{ID}",
        true,
        true,
        Some("containerd.service"),
    ),
    place(
        "machine.slice/libpod-{ID}.scope/container",
        true,
        false,
        Some("libpod-{ID}.scope"),
    ),
    place(
        "machine.slice/libpod-conmon-{ID}.scope",
        false,
        false,
        Some("libpod-conmon-{ID}.scope"),
    ),
    place(
        "system.slice/web.service/libpod-payload-{ID}",
        true,
        false,
        Some("web.service"),
    ),
    place(
        "user.slice/user-1000.slice/user@1000.service/app.slice/my\\x2dapp@a.service",
        false,
        false,
        Some("my\\x2dapp@a.service"),
    ),
];

/// Container id of the place with this index.
fn id(index: usize) -> String {
    format!("{:02x}{:062x}", 0xc0 + index, index)
}

fn filled(text: &str, id: &str) -> String {
    text.replace("{ID}", id)
        .replace("{UID}", UID)
        .replace("{UID_}", &UID.replace('-', "_"))
}

impl Place {
    /// Moves an actor there. The expected event gets the place.
    fn enter(
        &self,
        stage: &Stage,
        actor: &Actor,
        version: Version,
        id: &str,
    ) -> Result<impl Fn(Expected) -> Expected + use<>> {
        let cgroup = stage.into_cgroup(actor, version, &filled(self.path, id))?;
        let unit = self.unit.map(|unit| filled(unit, id));
        let container = self.is_container.then(|| id.to_owned());
        let pod = self.is_pod.then_some(UID);
        Ok(move |event: Expected| {
            event.place(&cgroup, [container.as_deref(), pod, unit.as_deref()])
        })
    }
}

/// In each place a process that lives on, and one that exits before it can be looked up.
fn play(stage: &Stage, version: Version) -> Result<()> {
    let server = stage.actor("sv")?;
    let (listener, address) = server.listen(stage.ip.loopback_any_port())?;
    for (index, place) in PLACES.iter().enumerate() {
        for exits in [false, true] {
            let client = stage.actor("cl")?;
            let placed = place.enter(stage, &client, version, &id(index))?;
            let at_client = client.connect(address)?;
            let at_server = server.accept(listener)?;
            if exits {
                client.exit()?
            } else {
                client.close(&at_client)?
            }
            stage.until_parked(&at_client)?;
            follow(stage, &server, &at_server, &at_client)?;
            stage.expect(placed(parked(&at_client).own_client(&client).bytes(0, 0)));
        }
    }
    Ok(())
}

/// The server closes after its client.
fn follow(
    stage: &Stage,
    server: &Actor,
    at_server: &Connection,
    at_client: &Connection,
) -> Result<()> {
    server.await_end(at_server)?;
    server.close(at_server)?;
    stage.until_time_wait(at_client)
}

/// An action belongs to the place where the process was at that time, even if the name of its last place says more.
fn moved(stage: &Stage) -> Result<()> {
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let (listener, address): (Fd, _) = server.listen(stage.ip.loopback_any_port())?;
    for index in [9, 0, 1] {
        let placed = PLACES[index].enter(stage, &client, Version::V2, &id(index))?;
        let at_client = client.connect(address)?;
        let at_server = server.accept(listener)?;
        client.close(&at_client)?;
        stage.until_parked(&at_client)?;
        follow(stage, &server, &at_server, &at_client)?;
        stage.expect(placed(parked(&at_client).own_client(&client).bytes(0, 0)));
    }
    Ok(())
}

/// A short-lived container: neither the process nor its cgroup exists when it is looked up.
fn removed(stage: &Stage) -> Result<()> {
    /// Less than a runtime takes to start a container.
    const MOMENT: Duration = Duration::from_millis(150);
    let server = stage.actor("sv")?;
    let (listener, address) = server.listen(stage.ip.loopback_any_port())?;
    for index in [0, 2] {
        let client = stage.actor("cl")?;
        let placed = PLACES[index].enter(stage, &client, Version::V2, &id(index))?;
        stage.pause(MOMENT);
        let at_client = client.connect(address)?;
        let at_server = server.accept(listener)?;
        client.exit()?;
        stage.remove_cgroups()?;
        stage.until_parked(&at_client)?;
        follow(stage, &server, &at_server, &at_client)?;
        stage.expect(placed(parked(&at_client).own_client(&client).bytes(0, 0)));
    }
    Ok(())
}

/// A hierarchy of v1, mounted for this test if there is none.
fn v1_alone(context: &Context) -> Result<()> {
    let directory = tempfile::tempdir()?;
    let in_own_mounts = || {
        if cgroup::mounted(Version::V1)?.is_none() {
            cgroup::enter_own_mounts()?;
            match cgroup::mount_v1(directory.path()) {
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENODEV | libc::EBUSY)) => {
                    bail!(Skip(format!("v1 can't be mounted: {error}")))
                }
                other => other.context("mount v1")?,
            }
        }
        play_with_own_trace(context, ON_V1)
    };
    thread::scope(|scope| scope.spawn(in_own_mounts).join())
        .unwrap_or_else(|_| bail!("the thread panicked"))
}

/// Only what is in the container, the pod or the unit is counted, also on the kernel side.
fn filters(context: &Context) -> Result<()> {
    let prefix = &id(1)[..12];
    let first =
        |wanted: &dyn Fn(&Place) -> bool| PLACES.iter().filter(|place| wanted(place)).count();
    let cases = [
        (["--container", prefix], 1),
        (["--pod", UID], first(&|place| place.is_pod)),
        (["--unit", "user@1000"], 1),
        (["--unit", "libpod-*.scope"], 2),
    ];
    let mut keeper = Vec::new();
    let mut started: Vec<(RunningReport, _, usize)> = Vec::new();
    let played = play_until_lucky(context, || {
        // Processes of an earlier try would count what it left.
        started.clear();
        for (filter, places) in cases {
            let mut options = context.tier.options();
            options.extend(filter.map(str::to_owned));
            let report = RunningReport::start(&context.twtrace, &options)?;
            started.push((report, filter, places));
        }
        StageProcess::start(ON_V2, Ip::V4, &mut keeper)
    });
    let (stage, _) = played?;
    for (report, filter, places) in started {
        let report = report.end()?;
        let rows = report["processes"].as_array().context("no processes")?;
        let births: u64 = rows
            .iter()
            .filter_map(|row| row["time_wait"]["client"].as_u64())
            .sum();
        let names: Vec<&Value> = rows.iter().map(|row| &row["process"]["unit"]).collect();
        ensure!(
            births == 2 * places as u64 && rows.len() == 2 * places,
            "{filter:?}: {births} TIME_WAITs of {} processes, not of {}: {names:?}",
            rows.len(),
            2 * places
        );
    }
    drop(stage);
    Ok(())
}
