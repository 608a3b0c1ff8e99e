//! Stacks: programs with two functions that close in different ways, in known numbers.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::Usage;
use crate::{
    runner::{Context, report::RunningReport},
    stage::Skip,
    sys::check,
};

pub const USAGES: &[Usage] = &[
    Usage {
        name: "stacks/frame_pointers",
        run: |context| c_program(context, FRAME_POINTERS, "main"),
    },
    Usage {
        name: "stacks/frame_pointers_in_thread",
        run: |context| c_program(context, FRAME_POINTERS, "thread"),
    },
    Usage {
        name: "stacks/tables_only",
        run: |context| c_program(context, TABLES_ONLY, "main"),
    },
    Usage {
        name: "stacks/tables_only_in_thread",
        run: |context| c_program(context, TABLES_ONLY, "thread"),
    },
    Usage {
        name: "stacks/neither",
        run: |context| c_program(context, NEITHER, "main"),
    },
    Usage {
        name: "stacks/static_in_root_of_its_own",
        run: |context| c_program(context, STATIC, "thread"),
    },
    Usage {
        name: "stacks/rust",
        run: rust_program,
    },
    Usage {
        name: "stacks/exit",
        run: exit,
    },
    Usage {
        name: "stacks/folded",
        run: folded,
    },
    Usage {
        name: "stacks/full",
        run: full,
    },
    Usage {
        name: "stacks/off",
        run: off,
    },
];

/// A program built with this crate.
#[derive(Clone, Copy)]
pub(super) struct Program {
    /// Its comm, 15 bytes at most.
    pub(super) comm: &'static str,
    bytes: &'static [u8],
    /// Its outermost frames are also known: [`DEPTH`] recursive calls, and main().
    is_whole: bool,
    /// It runs in a root directory that contains nothing else.
    in_own_root: bool,
}

macro_rules! built {
    ($name:literal) => {
        include_bytes!(concat!(env!("OUT_DIR"), "/closer_", $name))
    };
}

pub(super) const FRAME_POINTERS: Program = Program {
    comm: "closer-fp",
    bytes: built!("frame_pointers"),
    is_whole: true,
    in_own_root: false,
};
const TABLES_ONLY: Program = Program {
    comm: "closer-tables",
    bytes: built!("tables_only"),
    is_whole: false,
    in_own_root: false,
};
const NEITHER: Program = Program {
    comm: "closer-neither",
    bytes: built!("neither"),
    is_whole: false,
    in_own_root: false,
};
const STATIC: Program = Program {
    comm: "closer-static",
    bytes: built!("static"),
    is_whole: true,
    in_own_root: true,
};
const RUST: Program = Program {
    comm: "closer-rust",
    bytes: built!("rust"),
    is_whole: true,
    in_own_root: false,
};

pub(super) const PLAIN: u64 = 5;
const RESET: u64 = 3;
const FAILING: u64 = 2;
/// Depth of the functions: `deeper` calls itself this many times.
const DEPTH: usize = 21;

/// A program that has closed its connections and waits, in a directory of its own.
pub(super) struct Running {
    child: Child,
    directory: PathBuf,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Program {
    /// Runs it until it has closed all connections, against a listener that closes when its peer has.
    pub(super) fn run(self, arguments: &[&str]) -> Result<Running> {
        if self.bytes.is_empty() {
            bail!(Skip(format!("{} could not be built here", self.comm)));
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                thread::spawn(move || stream.read_to_end(&mut Vec::new()));
            }
        });
        let directory = env::temp_dir().join(format!("twtrace-{}", self.comm));
        fs::create_dir_all(&directory)?;
        let path = directory.join(self.comm);
        let mut file = fs::File::create(&path)?;
        file.write_all(self.bytes)?;
        drop(file);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        let mut command = if self.in_own_root {
            in_root(&directory, self.comm)?
        } else {
            Command::new(&path)
        };
        let child = command
            .arg(port.to_string())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn();
        let child = match child {
            Ok(child) => child,
            Err(error) => {
                let _ = fs::remove_dir_all(&directory);
                // Its interpreter is missing: a guest without these libraries.
                if error.kind() == std::io::ErrorKind::NotFound {
                    bail!(Skip(format!("{} does not run here: {error}", self.comm)));
                }
                return Err(error).context(self.comm);
            }
        };
        let mut running = Running { child, directory };
        let stdout = running.child.stdout.take().context("no output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        ensure!(
            line == "done\n" || arguments.contains(&"leave"),
            "{} did not do its part: {:?}",
            self.comm,
            running.child.wait()
        );
        // Waits for the last acknowledgements.
        thread::sleep(Duration::from_millis(300));
        Ok(running)
    }
}

fn in_root(directory: &Path, name: &str) -> Result<Command> {
    let root = std::ffi::CString::new(directory.as_os_str().as_encoded_bytes())?;
    let mut command = Command::new(format!("/{name}"));
    // SAFETY: makes only system calls between fork and exec.
    unsafe {
        command.pre_exec(move || {
            check(libc::chroot(root.as_ptr()))?;
            check(libc::chdir(c"/".as_ptr()))?;
            Ok(())
        });
    }
    Ok(command)
}

/// The report about a program, with these options.
fn report_of(
    context: &Context,
    program: Program,
    arguments: &[&str],
    options: &[&str],
) -> Result<Value> {
    let mut all = context.tier.options();
    all.extend(["--comm", program.comm].map(str::to_owned));
    all.extend(options.iter().map(|option| (*option).to_owned()));
    let report = RunningReport::start(&context.twtrace, &all)?;
    let running = match program.run(arguments) {
        Ok(running) => running,
        Err(error) => {
            report.kill()?;
            return Err(error);
        }
    };
    let report = report.end()?;
    drop(running);
    Ok(report)
}

pub(super) fn rows(report: &Value) -> Result<&Vec<Value>> {
    report["stacks"]
        .as_array()
        .with_context(|| format!("no stacks: {}", report["stacks"]))
}

pub(super) fn symbols(row: &Value) -> Vec<&str> {
    let frames = row["frames"].as_array().into_iter().flatten();
    frames
        .map(|frame| frame["symbol"].as_str().unwrap_or("?"))
        .collect()
}

/// Checks that all events of a kind have this function among their innermost frames, and that their number is right.
pub(super) fn counted_under(
    rows: &[Value],
    what: &str,
    function: &str,
    within: usize,
    count: u64,
) -> Result<()> {
    let of_kind = || rows.iter().filter(|row| row["what"] == what);
    let is_under = |row: &&Value| {
        let symbols = symbols(row);
        symbols
            .iter()
            .take(within)
            .any(|symbol| symbol.rsplit("::").next() == Some(function))
    };
    let under: u64 = of_kind()
        .filter(is_under)
        .filter_map(|row| row["count"].as_u64())
        .sum();
    ensure!(
        under == count,
        "{under} {what} under {function}, not {count}: {}",
        Value::from(of_kind().cloned().collect::<Vec<_>>())
    );
    Ok(())
}

pub(super) fn total(rows: &[Value], what: &str) -> u64 {
    rows.iter()
        .filter(|row| row["what"] == what)
        .filter_map(|row| row["count"].as_u64())
        .sum()
}

/// Checks for all recursive calls, and for main() as the outermost caller.
fn is_whole(rows: &[Value], function: &str) -> Result<()> {
    for row in rows {
        let symbols = symbols(row);
        if !symbols.iter().any(|symbol| symbol.ends_with(function)) {
            continue;
        }
        let depth = symbols
            .iter()
            .filter(|symbol| symbol.rsplit("::").next() == Some("deeper"))
            .count();
        ensure!(depth == DEPTH, "{depth} calls of deeper(): {symbols:?}");
    }
    Ok(())
}

fn c_program(context: &Context, program: Program, mode: &str) -> Result<()> {
    let (plain, reset, failing) = (PLAIN.to_string(), RESET.to_string(), FAILING.to_string());
    let arguments = [&plain[..], &reset, &failing, mode];
    let report = report_of(context, program, &arguments, &["--stacks"])?;
    let rows = rows(&report)?;
    // The function called the one of libc, which is the innermost frame.
    for (what, function, count) in [
        ("time_wait", "closes_plainly", PLAIN),
        ("reset_sent", "closes_with_reset", RESET),
        ("port_failed", "connects_in_vain", FAILING),
    ] {
        counted_under(rows, what, function, 2, count)?;
        if program.is_whole {
            is_whole(rows, function)?;
        }
    }
    // work() itself has closed one more.
    ensure!(total(rows, "time_wait") == PLAIN + 1, "{rows:?}");
    ensure!(total(rows, "reset_sent") == RESET, "{rows:?}");
    ensure!(total(rows, "port_failed") == FAILING, "{rows:?}");
    Ok(())
}

fn rust_program(context: &Context) -> Result<()> {
    let (plain, reset) = (PLAIN.to_string(), RESET.to_string());
    let report = report_of(context, RUST, &[&plain, &reset], &["--stacks"])?;
    let rows = rows(&report)?;
    // drop() is in between.
    counted_under(rows, "time_wait", "closes_plainly", 6, PLAIN)?;
    counted_under(rows, "reset_sent", "closes_with_reset", 6, RESET)?;
    is_whole(rows, "closes_plainly")
}

/// A process that exits no longer has a stack.
fn exit(context: &Context) -> Result<()> {
    let plain = PLAIN.to_string();
    let arguments = [&plain[..], "0", "0", "leave"];
    let report = report_of(context, FRAME_POINTERS, &arguments, &["--stacks"])?;
    let rows = rows(&report)?;
    ensure!(
        rows.len() == 1
            && rows[0]["why"] == "exit"
            && rows[0]["count"] == PLAIN
            && rows[0]["process"]["comm"] == FRAME_POINTERS.comm,
        "{rows:?}"
    );
    Ok(())
}

fn folded(context: &Context) -> Result<()> {
    let file = env::temp_dir().join(format!("twtrace-folded-{}", std::process::id()));
    let path = file.to_str().context("a path in UTF-8")?;
    let (plain, reset) = (PLAIN.to_string(), RESET.to_string());
    let arguments = [&plain[..], &reset, "0", "main"];
    let report = report_of(context, FRAME_POINTERS, &arguments, &["--folded", path]);
    let lines = fs::read_to_string(&file);
    // The file is missing if the report failed.
    let _ = fs::remove_file(&file);
    report?;
    let lines = lines?;
    let is_reset = |line: &str| {
        line.starts_with(FRAME_POINTERS.comm)
            && line.contains(";main;")
            && line.contains(";deeper;closes_with_reset;")
            && line.ends_with(&format!(";reset_sent {RESET}"))
    };
    ensure!(lines.lines().any(is_reset), "{lines}");
    Ok(())
}

/// Stacks that found no room are reported.
fn full(context: &Context) -> Result<()> {
    let (plain, reset) = (PLAIN.to_string(), RESET.to_string());
    let arguments = [&plain[..], &reset, "0", "main"];
    let options = ["--stacks", "--max-stacks", "1"];
    let report = report_of(context, FRAME_POINTERS, &arguments, &options)?;
    let lost: u64 = report["lost"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|row| row["probe"] == "stack_map")
        .filter_map(|row| row["count"].as_u64())
        .sum();
    ensure!(lost > 0, "nothing lost: {}", report["lost"]);
    Ok(())
}

/// Stacks are not requested.
fn off(context: &Context) -> Result<()> {
    let arguments = ["1", "1", "0", "main"];
    let report = report_of(context, FRAME_POINTERS, &arguments, &[])?;
    ensure!(report["stacks"].is_null(), "{}", report["stacks"]);
    Ok(())
}
