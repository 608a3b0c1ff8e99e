//! Real programs: nginx, ab and curl.

use std::{
    env, fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use super::{ReportRun, Scenario};
use crate::{
    expect::Side,
    stage::{Skip, Stage, finding::CrowdRow},
    sys::{proc_net, process},
};

const REPORT: ReportRun = ReportRun {
    options: &[],
    loses: false,
    ends_before: false,
};

pub const SCENARIOS: &[Scenario] = &[
    Scenario::both("programs/nginx_closes_first", nginx_closes_first).reported(REPORT),
    Scenario::both("programs/ab_and_curl_close_first", ab_and_curl_close_first).reported(REPORT),
];

const AB_CONCURRENCY: u64 = 4;
const AB_REQUESTS: u64 = 40;
const CURL_RUNS: u64 = 5;

/// A running nginx, stopped when dropped.
struct Nginx {
    child: Child,
    directory: PathBuf,
    address: SocketAddr,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = process::signal(self.child.id().cast_signed(), libc::SIGTERM);
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

impl Nginx {
    fn start(stage: &Stage, keepalive_seconds: u32) -> Result<Self> {
        let address = SocketAddr::new(stage.ip.loopback(), 8080);
        let directory = env::temp_dir().join(format!("twtrace-nginx-{}", std::process::id()));
        fs::create_dir_all(directory.join("logs"))?;
        let configuration = configuration(&directory, address, keepalive_seconds);
        let file = directory.join("nginx.conf");
        fs::write(&file, configuration)?;
        let child = Command::new(program("nginx")?)
            .arg("-p")
            .arg(&directory)
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start nginx")?;
        let nginx = Self {
            child,
            directory,
            address,
        };
        stage.until("nginx listens", || {
            Ok(proc_net::sockets()?
                .iter()
                .any(|socket| socket.local == address))
        })?;
        Ok(nginx)
    }

    fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

fn configuration(directory: &Path, address: SocketAddr, keepalive_seconds: u32) -> String {
    let directory = directory.display();
    format!(
        "user root;\n\
         daemon off;\n\
         worker_processes 1;\n\
         pid {directory}/nginx.pid;\n\
         error_log {directory}/logs/error.log;\n\
         events {{ worker_connections 64; }}\n\
         http {{\n\
           access_log off;\n\
           keepalive_timeout {keepalive_seconds};\n\
           client_body_temp_path {directory}/body;\n\
           proxy_temp_path {directory}/proxy;\n\
           fastcgi_temp_path {directory}/fastcgi;\n\
           uwsgi_temp_path {directory}/uwsgi;\n\
           scgi_temp_path {directory}/scgi;\n\
           server {{ listen {address}; location / {{ return 200 \"well met\\n\"; }} }}\n\
         }}\n"
    )
}

/// The path of a program, or a [`Skip`].
pub fn program(name: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin"), PathBuf::from("/sbin")])
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .ok_or_else(|| Skip(format!("{name} is not installed")).into())
}

/// Runs a program to its end, which must be successful.
pub fn run(name: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program(name)?)
        .args(arguments)
        .output()
        .with_context(|| format!("run {name}"))?;
    if !output.status.success() {
        bail!(
            "{name} {arguments:?}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(())
}

fn all_installed() -> Result<()> {
    for name in ["nginx", "ab", "curl"] {
        program(name)?;
    }
    Ok(())
}

fn row(comm: &str, side: Side, births: u64) -> CrowdRow {
    CrowdRow {
        pid: None,
        comm: comm.to_owned(),
        side,
        births,
    }
}

/// HTTP/1.0 of ab without -k, and keep-alive switched off for curl. curl ignores the length, so that it reads until
/// nginx closes.
fn nginx_closes_first(stage: &Stage) -> Result<()> {
    all_installed()?;
    let nginx = Nginx::start(stage, 0)?;
    let url = nginx.url();
    let requests = AB_REQUESTS.to_string();
    let concurrency = AB_CONCURRENCY.to_string();
    run("ab", &["-q", "-n", &requests, "-c", &concurrency, &url])?;
    for _ in 0..CURL_RUNS {
        run(
            "curl",
            &["--silent", "--fail", "--ignore-content-length", &url],
        )?;
    }
    settled(stage, AB_REQUESTS + CURL_RUNS)?;
    stage.expect_births(row("nginx", Side::Server, AB_REQUESTS + CURL_RUNS));
    Ok(())
}

/// With keep-alive the client ends the connection.
fn ab_and_curl_close_first(stage: &Stage) -> Result<()> {
    all_installed()?;
    let nginx = Nginx::start(stage, 60)?;
    let url = nginx.url();
    let requests = AB_REQUESTS.to_string();
    let concurrency = AB_CONCURRENCY.to_string();
    run(
        "ab",
        &["-q", "-k", "-n", &requests, "-c", &concurrency, &url],
    )?;
    for _ in 0..CURL_RUNS {
        run("curl", &["--silent", "--fail", &url])?;
    }
    settled(stage, AB_CONCURRENCY + CURL_RUNS)?;
    stage.expect_births(row("ab", Side::Client, AB_CONCURRENCY));
    stage.expect_births(row("curl", Side::Client, CURL_RUNS));
    Ok(())
}

/// Waits until this many connections are in TIME_WAIT, and none is open.
fn settled(stage: &Stage, count: u64) -> Result<()> {
    stage.until(&format!("{count} connections are in TIME_WAIT"), || {
        let in_time_wait = proc_net::sockets()?
            .iter()
            .filter(|socket| socket.state == proc_net::State::TimeWait)
            .count();
        Ok(in_time_wait as u64 >= count)
    })?;
    ensure!(proc_net::sockets()?.len() as u64 >= count);
    Ok(())
}
