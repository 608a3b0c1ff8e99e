//! A real Prometheus (Debian's package) that scrapes the service.

use std::{
    fs,
    io::Write as _,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{
    service::{Service, until},
    traffic::{NamedProgram, answer},
};
use crate::{
    runner::Context,
    stage::Skip,
    sys::{http, netns, process},
};

/// Connections, each closed first by its client.
const COUNT: usize = 500;

/// It reads both formats, loads the rules that come with twtrace, and answers queries with the numbers that were
/// played.
pub fn scraped(context: &Context) -> Result<()> {
    let deployed = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus");
    let tool = tool("promtool")?;
    let named = NamedProgram::new("scraped")?;
    let service = Service::start(context, &[])?;

    check_metrics(&tool, &service.metrics()?)?;
    let directory = tempfile::tempdir()?;
    let mut rules: Vec<PathBuf> = Vec::new();
    match fs::read_dir(&deployed) {
        Ok(entries) => {
            for entry in entries {
                let path = entry?.path();
                if path.to_string_lossy().ends_with(".rules.yml") {
                    rules.push(path.canonicalize()?);
                }
            }
            ensure!(!rules.is_empty(), "no rules in {}", deployed.display());
        }
        Err(error) => bail!(Skip(format!(
            "the sources are not on this machine: {}: {error}",
            deployed.display()
        ))),
    }
    for path in &rules {
        run(Command::new(&tool).args(["check", "rules"]).arg(path))?;
    }
    for entry in fs::read_dir(deployed.join("tests"))? {
        run(Command::new(&tool)
            .args(["test", "rules"])
            .arg(entry?.path()))?;
    }

    let prometheus = Prometheus::start(directory.path(), service.address, &rules)?;
    let query = format!(
        "sum(twtrace_process_time_waits_total{{process=\"{}\"}})",
        named.comm
    );
    until("it is scraped", || Ok(prometheus.value("up")? == Some(1.0)))?;
    thread::scope(|scope| {
        let played = scope.spawn(|| -> Result<()> {
            netns::enter_new()?;
            let (address, server) = answer("127.79.0.1:0", COUNT)?;
            named.connect(address, COUNT)?;
            server.join().ok().context("the server panicked")?
        });
        played.join().ok().context("the traffic panicked")?
    })?;
    until("Prometheus has all of them", || {
        Ok(prometheus.value(&query)? == Some(COUNT as f64))
    })
    .with_context(|| format!("{query}: {:?}", prometheus.value(&query)))?;
    ensure!(prometheus.value("sum(twtrace_lost_total) or vector(0)")? == Some(0.0));
    ensure!(prometheus.value("twtrace_audit_absolute_difference_sockets")? == Some(0.0));
    // Each rule was evaluated, and none failed.
    until("the rules were evaluated", || {
        let rules = prometheus.get("/api/v1/rules")?;
        let groups = rules["data"]["groups"].as_array().context("no groups")?;
        let healths = groups
            .iter()
            .flat_map(|group| group["rules"].as_array().into_iter().flatten())
            .map(|rule| (rule["health"].as_str(), rule))
            .collect::<Vec<_>>();
        ensure!(!healths.is_empty(), "no rules: {rules}");
        if let Some((_, rule)) = healths.iter().find(|(health, _)| *health == Some("err")) {
            bail!("{rule}");
        }
        Ok(healths.iter().all(|(health, _)| *health == Some("ok")))
    })?;
    drop(prometheus);
    service.stop().map(drop)
}

fn tool(name: &str) -> Result<PathBuf> {
    let found = ["/usr/bin", "/usr/local/bin"]
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.exists());
    match found {
        Some(path) => Ok(path),
        None => bail!(Skip(format!(
            "there is no {name} (Debian's package prometheus)"
        ))),
    }
}

fn check_metrics(tool: &Path, page: &str) -> Result<()> {
    let mut child = Command::new(tool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    child
        .stdin
        .take()
        .context("no input")?
        .write_all(page.as_bytes())?;
    let output = child.wait_with_output()?;
    let said = [output.stdout, output.stderr].concat();
    ensure!(
        output.status.success() && said.is_empty(),
        "promtool check metrics: {}",
        String::from_utf8_lossy(&said)
    );
    Ok(())
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    ensure!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// A running Prometheus, stopped when dropped.
struct Prometheus {
    child: Child,
    address: SocketAddr,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = process::signal(self.child.id().cast_signed(), libc::SIGTERM);
        let _ = self.child.wait();
    }
}

impl Prometheus {
    fn start(directory: &Path, target: SocketAddr, rules: &[PathBuf]) -> Result<Self> {
        let file = directory.join("prometheus.yml");
        let rules: String = rules
            .iter()
            .map(|path| format!("  - {}\n", path.display()))
            .collect();
        fs::write(
            &file,
            format!(
                "global:\n  scrape_interval: 1s\n  evaluation_interval: 1s\nrule_files:\n{rules}\
                 scrape_configs:\n- job_name: twtrace\n  static_configs:\n  - targets: ['{target}']\n"
            ),
        )?;
        run(Command::new(tool("promtool")?)
            .args(["check", "config"])
            .arg(&file))?;
        // Most likely no other process takes the port in between.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = fs::File::create(directory.join("log"))?;
        let child = Command::new(tool("prometheus")?)
            .arg(format!("--config.file={}", file.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let prometheus = Self { child, address };
        until("Prometheus is ready", || {
            Ok(http::get(address, "/-/ready").is_ok_and(|answer| answer.status == 200))
        })
        .with_context(|| fs::read_to_string(directory.join("log")).unwrap_or_default())?;
        Ok(prometheus)
    }

    fn get(&self, path: &str) -> Result<Value> {
        let answer = http::get(self.address, path)?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
        Ok(serde_json::from_str(&answer.body)?)
    }

    /// The result of a query, if it is one value.
    fn value(&self, query: &str) -> Result<Option<f64>> {
        let escaped: String = query
            .bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
                _ => format!("%{byte:02X}"),
            })
            .collect();
        let answer = self.get(&format!("/api/v1/query?query={escaped}"))?;
        let value = &answer["data"]["result"][0]["value"][1];
        Ok(value.as_str().and_then(|value| value.parse().ok()))
    }
}
