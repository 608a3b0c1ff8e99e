//! Files that an unprivileged user prepares, against a report of root's that reads stacks: it ends in time, in little memory,
//! opens nothing else, and names the functions of other programs.

use std::{
    ffi::CString,
    fs,
    io::{self, Read},
    os::{
        fd::{AsRawFd, FromRawFd, OwnedFd},
        unix::{
            ffi::OsStrExt,
            fs::{PermissionsExt, chown},
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    Usage,
    hostile_elf::Hostile,
    mapper::{COMM, Mapper, Memory, NOBODY, Place},
    stacks::{self, FRAME_POINTERS, PLAIN},
};
use crate::{
    runner::{Context, report::RunningReport},
    sys::{check, mount::Mount},
};

pub const USAGES: &[Usage] = &[
    Usage {
        name: "stacks/hostile_stated_size",
        run: |context| elf(context, Hostile::StatedSize(i64::MAX as u64)),
    },
    Usage {
        name: "stacks/hostile_bomb",
        run: |context| elf(context, Hostile::Bomb(1 << 30)),
    },
    Usage {
        name: "stacks/hostile_sparse_symbols",
        run: |context| elf(context, Hostile::SparseSymbols(40_000_000)),
    },
    Usage {
        name: "stacks/hostile_sparse_tables",
        run: |context| elf(context, Hostile::SparseTables(128 << 20)),
    },
    Usage {
        name: "stacks/hostile_link_to_pipe",
        run: link_to_pipe,
    },
    Usage {
        name: "stacks/hostile_link_out_of_root",
        run: link_out_of_root,
    },
    Usage {
        name: "stacks/hostile_replaced_by_pipe",
        run: replaced_by_pipe,
    },
    Usage {
        name: "stacks/hostile_cut_short",
        run: cut_short,
    },
    Usage {
        name: "stacks/hostile_map_of_another",
        run: map_of_another,
    },
    Usage {
        name: "stacks/hostile_huge_map",
        run: huge_map,
    },
];

/// How long the report may take to end.
const END_LIMIT: Duration = Duration::from_secs(20);
/// Memory of the tracer, and of each of its children.
const MAX_KIB: u64 = 200 << 10;

/// Has a report run while `act` does, and an ordinary program beside it. Returns the rows of stacks.
fn reported(context: &Context, act: impl FnOnce() -> Result<()>) -> Result<Vec<Value>> {
    let mut options = context.tier.options();
    let wanted = ["--stacks", "--comm", COMM, "--comm", FRAME_POINTERS.comm];
    options.extend(wanted.map(str::to_owned));
    let report = RunningReport::start(&context.twtrace, &options)?;
    let memory = Memory::of(report.pid());
    let acted = act();
    let plain = PLAIN.to_string();
    let ordinary = FRAME_POINTERS.run(&[&plain, "0", "0", "main"]);
    let ended = report.end_within(END_LIMIT, &[0]);
    let peak_kib = memory.end();
    acted?;
    drop(ordinary?);
    let (_, output) = ended?;
    ensure!(peak_kib <= MAX_KIB, "{peak_kib} KiB of memory");
    let report: Value = serde_json::from_str(&output)?;
    let rows = stacks::rows(&report)?;
    let of_comm = |comm: &str| -> Vec<Value> {
        let rows = rows.iter().filter(|row| row["process"]["comm"] == comm);
        rows.cloned().collect()
    };
    stacks::counted_under(
        &of_comm(FRAME_POINTERS.comm),
        "time_wait",
        "closes_plainly",
        2,
        PLAIN,
    )?;
    let hostile = of_comm(COMM);
    ensure!(stacks::total(&hostile, "reset_sent") > 0, "{hostile:?}");
    Ok(hostile)
}

fn elf(context: &Context, what: Hostile) -> Result<()> {
    let place = Place::new()?;
    let file = place.hostile(what)?;
    let mut mapper = Mapper::start(&place, NOBODY, &file, "still")?;
    let rows = reported(context, || mapper.run())?;
    // Where the code lies is known without symbols.
    let frame = &rows[0]["frames"][0];
    ensure!(
        frame["module"] == file && frame["offset"] == 0x1007,
        "{frame}"
    );
    Ok(())
}

fn pipe(path: &Path) -> Result<()> {
    let name = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: a path that ends with NUL.
    check(unsafe { libc::mkfifo(name.as_ptr(), 0o666) })?;
    Ok(())
}

fn link_to_pipe(context: &Context) -> Result<()> {
    let place = Place::new()?;
    let target = place.0.join("pipe");
    pipe(&target)?;
    let target = target.to_str().context("a path in UTF-8")?.to_owned();
    drop(place);
    for section in [".gnu_debugaltlink", ".gnu_debuglink"] {
        let place = Place::new()?;
        pipe(Path::new(&target))?;
        let file = place.hostile(Hostile::Link(section, &target))?;
        let mut mapper = Mapper::start(&place, NOBODY, &file, "still")?;
        reported(context, || mapper.run()).context(section)?;
    }
    Ok(())
}

/// What is opened below a path while this exists.
struct Opened(OwnedFd);

impl Opened {
    fn watch(path: &Path) -> Result<Self> {
        // SAFETY: integers only.
        let events = check(unsafe { libc::inotify_init1(libc::IN_NONBLOCK | libc::IN_CLOEXEC) })?;
        // SAFETY: a descriptor that was created just now.
        let events = unsafe { OwnedFd::from_raw_fd(events) };
        let name = CString::new(path.as_os_str().as_bytes())?;
        // SAFETY: a path that ends with NUL.
        check(unsafe {
            libc::inotify_add_watch(events.as_raw_fd(), name.as_ptr(), libc::IN_OPEN)
        })?;
        Ok(Self(events))
    }

    fn any(self) -> bool {
        let mut events: fs::File = self.0.into();
        let read = events.read(&mut [0; 4096]);
        !read.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// Only root may read the file that the link names.
fn link_out_of_root(context: &Context) -> Result<()> {
    let place = Place::new()?;
    let secret = place.0.join("secret");
    fs::write(&secret, "text")?;
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600))?;
    let target = secret.to_str().context("a path in UTF-8")?;
    let file = place.hostile(Hostile::Link(".gnu_debugaltlink", target))?;
    let opened = Opened::watch(&secret)?;
    let mut mapper = Mapper::start(&place, NOBODY, &file, "still")?;
    reported(context, || mapper.run())?;
    ensure!(!opened.any(), "{target} was opened");
    Ok(())
}

/// Another file system shows a pipe at the path of the mapped file.
fn replaced_by_pipe(context: &Context) -> Result<()> {
    let place = Place::new()?;
    let file = place.hostile(Hostile::Symbols(1))?;
    let mut mapper = Mapper::start(&place, NOBODY, &file, "still")?;
    let there = place.0.join("pipe");
    pipe(&there)?;
    let opened = Opened::watch(&there)?;
    let name = CString::new(there.as_os_str().as_bytes())?;
    let _mount = Mount::bind(&name, Path::new(&file))?;
    reported(context, || mapper.run())?;
    ensure!(!opened.any(), "the pipe was opened");
    Ok(())
}

fn cut_short(context: &Context) -> Result<()> {
    let place = Place::new()?;
    let file = place.hostile(Hostile::Symbols(400_000))?;
    let mut mapper = Mapper::start(&place, NOBODY, &file, "cut")?;
    reported(context, || mapper.run())?;
    Ok(())
}

/// The map of JIT symbols of a process, and its owner.
struct PerfMap(PathBuf);

impl PerfMap {
    fn write(mapper: &Mapper, owner: u32, lines: &str) -> Result<Self> {
        let map = Self(format!("/tmp/perf-{}.map", mapper.child.id()).into());
        fs::write(&map.0, lines)?;
        chown(&map.0, Some(owner), Some(owner))?;
        Ok(map)
    }
}

impl Drop for PerfMap {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn map_of_another(context: &Context) -> Result<()> {
    const NAMED: &str = "0 ffffffffffffffff named_by_map\n";
    for (user, owner, is_used) in [(0, NOBODY, false), (0, 0, true), (NOBODY, NOBODY, true)] {
        let place = Place::new()?;
        let mut mapper = Mapper::start(&place, user, "anonymous", "still")?;
        let map = PerfMap::write(&mapper, owner, NAMED)?;
        let rows = reported(context, || mapper.run())?;
        drop(map);
        let named = rows
            .iter()
            .any(|row| stacks::symbols(row).contains(&"named_by_map"));
        ensure!(named == is_used, "user {user}, map of {owner}: {rows:?}");
    }
    Ok(())
}

fn huge_map(context: &Context) -> Result<()> {
    let place = Place::new()?;
    let mut mapper = Mapper::start(&place, NOBODY, "anonymous", "still")?;
    let lines: String = (0..4_000_000)
        .map(|line| format!("{:x} 10 function_{line}\n", line << 4))
        .collect();
    let map = PerfMap::write(&mapper, NOBODY, &lines)?;
    drop(lines);
    reported(context, || mapper.run())?;
    drop(map);
    Ok(())
}
