//! Opens the page of `report --html` in a real browser.

use std::{
    env, fs,
    io::{self, Read, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::{Usage, programs::program};
use crate::runner::{Context, report::RunningReport};

pub const USAGES: &[Usage] = &[
    Usage {
        name: "html/page_in_a_browser",
        run: page_in_a_browser,
    },
    Usage {
        name: "html/timeline_and_sums_agree",
        run: timeline_and_sums_agree,
    },
    Usage {
        name: "html/no_place_for_the_page",
        run: no_place,
    },
];

/// Names that processes set, and what is left of them: the kernel keeps 15 bytes.
const HOSTILE: [(&str, &str); 2] = [
    ("<img src=x onerror=alert(1)>", "&lt;img src=x oner("),
    ("</td><script>", "&lt;/td&gt;&lt;script&gt;("),
];
/// Connections that each of them opens and closes first.
const CONNECTIONS: usize = 3;
/// A process with that name opens connections to a port, and closes each.
const TRAFFIC: &str = "printf %s \"$1\" > /proc/$$/comm; \
    for i in $(seq \"$3\"); do exec 3<>/dev/tcp/127.0.0.1/$2; exec 3>&-; done";
/// How long a browser may take.
const BROWSER_LIMIT: Duration = Duration::from_secs(60);

/// A directory that is removed when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Result<Self> {
        let path = env::temp_dir().join(format!("twtrace-html-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // Leftovers stay in the system's temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Numbers of real traffic are on the page, names of processes do not become elements, and nothing is fetched.
fn page_in_a_browser(context: &Context) -> Result<()> {
    program("chromium")?;
    program("bash")?;
    let directory = Directory::new()?;
    let page = directory.file("page.html");
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let mut options = context.tier.options();
    options.extend(["--remote".to_owned(), address.to_string()]);
    options.extend(["--html".to_owned(), page.display().to_string()]);
    let report = RunningReport::start(&context.twtrace, &options)?;
    for (name, _) in HOSTILE {
        traffic(name, &listener, address)?;
    }
    let report = report.end()?;

    let mode = fs::metadata(&page)?.permissions().mode() & 0o777;
    ensure!(mode == 0o600, "the page has mode {mode:o}");
    let seen = visit(&directory, &page)?;
    for (name, shown) in HOSTILE {
        ensure!(
            seen.dom.contains(shown),
            "{name} is not shown: {:.2000}",
            seen.dom
        );
    }
    for element in ["<script", "<img", "onerror="] {
        ensure!(
            !seen.dom.contains(element),
            "there is {element} in the page"
        );
    }
    let made = made(&report);
    ensure!(
        made == HOSTILE.len() as u64 * CONNECTIONS as u64,
        "{made} TIME_WAITs in the report: {report}"
    );
    for number in [
        format!("<strong>{made}</strong><span>TIME_WAITs created"),
        format!("TIME_WAIT as client: {made} in all"),
    ] {
        ensure!(seen.dom.contains(&number), "{number} is not on the page");
    }
    ensure!(
        seen.requests.is_empty(),
        "the page asks for {:?}",
        seen.requests
    );

    // Checks that such a request would be seen.
    let other = directory.file("other.html");
    fs::write(&other, "<img src=http://twtrace.invalid/x>")?;
    let seen = visit(&directory, &other)?;
    ensure!(
        seen.requests == ["http://twtrace.invalid/x"],
        "of a page that asks for something, {:?} are seen",
        seen.requests
    );
    Ok(())
}

/// Userspace's figures from events equal the counts of the kernel side, also if a RST first looks like a received one:
/// data after close.
fn timeline_and_sums_agree(context: &Context) -> Result<()> {
    const LIVES: u64 = 400;
    let directory = Directory::new()?;
    let page = directory.file("page.html");
    let mut options = context.tier.options();
    options.extend(["--html".to_owned(), page.display().to_string()]);
    let report = RunningReport::start(&context.twtrace, &options)?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    for number in 0..LIVES {
        let mut client = TcpStream::connect(listener.local_addr()?)?;
        let (mut server, _) = listener.accept()?;
        if number % 2 == 0 {
            // Waits for the acknowledgement of the FIN with data.
            client.write_all(b"?")?;
        }
        let (first, second) = if number % 4 < 2 {
            (client, &mut server)
        } else {
            (server, &mut client)
        };
        drop(first);
        thread::sleep(Duration::from_micros(number % 3 * 700));
        // A RST may have arrived already.
        let _ = second.write_all(b"late");
        let _ = second.read(&mut [0; 8]);
    }
    thread::sleep(Duration::from_secs(1));
    let report = report.end()?;
    ensure!(report["lost"] == Value::Array(Vec::new()), "{report}");
    let page = fs::read_to_string(page)?;
    let said = page.split("RST sent: ").nth(1).unwrap_or_default();
    let said = said.split(' ').next().unwrap_or_default();
    ensure!(
        said.parse::<u64>().is_ok_and(|sent| sent >= LIVES / 2),
        "{said} RSTs were sent: {:.3000}",
        page.split("<main").nth(1).unwrap_or_default()
    );
    let differs = page.find("Other than the sums");
    ensure!(
        differs.is_none(),
        "{:.600}",
        &page[differs.unwrap_or_default()..]
    );
    Ok(())
}

fn made(report: &Value) -> u64 {
    let rows = report["processes"].as_array().into_iter().flatten();
    rows.filter_map(|row| row["time_wait"]["client"].as_u64())
        .sum()
}

fn traffic(name: &str, listener: &TcpListener, address: SocketAddr) -> Result<()> {
    let mut client = Command::new(program("bash")?)
        .args(["-c", TRAFFIC, "traffic", name])
        .args([address.port().to_string(), CONNECTIONS.to_string()])
        .stdin(Stdio::null())
        .spawn()?;
    for _ in 0..CONNECTIONS {
        let (mut stream, _) = listener.accept()?;
        stream.read_to_end(&mut Vec::new())?;
    }
    let status = client.wait()?;
    ensure!(status.success(), "the client ended with {status}");
    Ok(())
}

/// What a browser shows of a page.
struct LoadedPage {
    /// Its elements and texts.
    dom: String,
    /// Network requests of the page. The browser's own are left out.
    requests: Vec<String>,
}

fn visit(directory: &Directory, page: &Path) -> Result<LoadedPage> {
    let log = directory.file("net-log.json");
    let dom = directory.file("dom.html");
    let mut browser = Command::new(program("chromium")?)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
        ])
        .args(["--no-first-run", "--disable-background-networking"])
        .args([
            "--disable-component-update",
            "--disable-sync",
            "--disable-extensions",
        ])
        // No request leaves this machine: nobody listens there.
        .args([
            "--proxy-server=http://127.0.0.1:9",
            "--proxy-bypass-list=<-loopback>",
        ])
        .arg(format!(
            "--user-data-dir={}",
            directory.file("browser").display()
        ))
        .arg(format!("--log-net-log={}", log.display()))
        .arg("--dump-dom")
        .arg(format!("file://{}", page.display()))
        .stdin(Stdio::null())
        .stdout(fs::File::create(&dom)?)
        .stderr(Stdio::null())
        .spawn()?;
    await_end(&mut browser)?;
    let dom = fs::read_to_string(&dom)?;
    ensure!(dom.contains("</html>"), "chromium shows no page");
    Ok(LoadedPage {
        dom,
        requests: requests(&fs::read_to_string(&log)?)?,
    })
}

fn await_end(browser: &mut Child) -> Result<()> {
    let end = Instant::now() + BROWSER_LIMIT;
    loop {
        if let Some(status) = browser.try_wait()? {
            ensure!(status.success(), "chromium ended with {status}");
            return Ok(());
        }
        if Instant::now() >= end {
            browser.kill()?;
            browser.wait()?;
            bail!("chromium did not end by itself");
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// Requests in a net log that a page started: those of the browser have no origin.
fn requests(log: &str) -> Result<Vec<String>> {
    let log: Value = serde_json::from_str(log).context("chromium's net log")?;
    let events = log["events"]
        .as_array()
        .context("no events in the net log")?;
    let mut urls: Vec<String> = events
        .iter()
        .map(|event| &event["params"])
        .filter(|params| {
            let initiator = params["initiator"].as_str();
            initiator.is_some_and(|initiator| initiator != "not an origin")
        })
        .filter_map(|params| params["url"].as_str().map(str::to_owned))
        .collect();
    urls.dedup();
    Ok(urls)
}

/// An unwritable path is reported with its name before anything is counted; and no file is left.
fn no_place(context: &Context) -> Result<()> {
    let directory = Directory::new()?;
    for file in [directory.file("none/page.html"), directory.0.clone()] {
        let output = Command::new(&context.twtrace)
            .args(["report", "--duration", "1s", "--html"])
            .arg(&file)
            .args(context.tier.options())
            .stdin(Stdio::null())
            .output()?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(
            output.status.code() == Some(1),
            "ended with {}: {stderr}",
            output.status
        );
        let names = ["--html".to_owned(), file.display().to_string()];
        ensure!(
            stderr.lines().count() == 1 && names.iter().all(|name| stderr.contains(name)),
            "does not name {names:?}: {stderr}"
        );
    }
    let left: io::Result<Vec<_>> = fs::read_dir(&directory.0)?.collect();
    ensure!(left?.is_empty(), "something is left");
    Ok(())
}
