//! `twtrace serve`

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use twtrace_core::model::series::{Series, SeriesLimits};

use super::notice;
use super::source::live::{DRAIN, Live, LiveOptions};
use crate::attempts::Attempts;
use crate::cli::{Privileges, ServeArgs};
use crate::confine::{self, Reach};
use crate::output::prometheus::{self, Format, ServeState};
use crate::privilege::Keep;
use crate::serve::allowed_hosts::AllowedHosts;
use crate::serve::counting::Counting;
use crate::serve::health::{Health, ServiceStage};
use crate::serve::http::{self, PageRequest};
use crate::serve::intervals::Intervals;
use crate::serve::manager::Manager;
use crate::serve::own;
use crate::serve::settings::Settings;
use crate::session::observer::Wants;
use crate::system_calls::{self, Extent, Work};

/// Between two samples of the kernel's sockets and settings.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(10);
/// How often the loop checks what is due.
const TICK: Duration = Duration::from_secs(1);
/// How often the counts of the kernel side are taken: its maps must not fill up.
const TOTALS: Duration = Duration::from_secs(5);
/// The largest of this time have series of their own in the next.
const TURN: Duration = Duration::from_secs(60);
/// Requests that wait: the endpoint has at most one open for each form of the page.
const WAITING_ASKS: usize = Format::ALL.len();

/// Serves until a signal ends it.
///
/// # Errors
/// If a request can't be fulfilled, with what to do.
pub async fn run(args: ServeArgs) -> Result<ExitCode> {
    let argv: Vec<OsString> = std::env::args_os().collect();
    let settings = Settings::read(&argv)?;
    if args.check_config {
        settings.args.filter.unchecked()?;
        super::print(settings.in_force().as_bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut server = Server::start(argv, settings)?;
    server.begin()?;
    server.serve().await?;
    server.finish().await?;
    Ok(ExitCode::SUCCESS)
}

struct Server {
    argv: Vec<OsString>,
    settings: Settings,
    live: Live,
    counting: Counting,
    health: Arc<Health>,
    manager: Manager,
    address: SocketAddr,
    page_requests: mpsc::Receiver<PageRequest>,
    hangup: Signal,
    state: ServeState,
    notified_at: Instant,
    took_totals: Instant,
    turned: Instant,
}

impl Server {
    fn start(argv: Vec<OsString>, settings: Settings) -> Result<Self> {
        let args = &settings.args;
        // Before probes are attached: an unavailable port is the most likely mistake.
        let listener = http::bind(args.listen)
            .with_context(|| format!("listening on {} (--listen takes another)", args.listen))?;
        let address = listener.local_addr().context("asking for the port")?;
        let hangup = signal(SignalKind::hangup()).context("listening for SIGHUP")?;
        let live = Live::start(LiveOptions {
            filter: &args.filter,
            probing: &args.probing,
            wants: Wants::ALL,
            sample_interval: Some(SAMPLE_INTERVAL),
            max_stacks: None,
            keep: match args.privileges {
                Privileges::Naming => Keep::Naming,
                Privileges::Least => Keep::Nothing,
            },
            is_service: true,
            command: &[],
        })?;
        let limits = SeriesLimits {
            max_processes: args.top_processes as usize,
            max_destinations: args.top_destinations as usize,
        };
        let mut series = Series::new(&live.session.tracing_start(), limits);
        series.set_filter(live.filter.clone());
        let health = Arc::new(Health::default());
        let intervals = Intervals::start(
            args.findings,
            &args.history,
            live.session.tracing_start(),
            live.filter.clone(),
            live.probing.slow_port_ns,
        )?;
        let (ask, page_requests) = mpsc::channel(WAITING_ASKS);
        // Not earlier: the helper that enters other namespaces has to be started without other threads.
        let hosts = AllowedHosts::new(&args.allowed_hosts);
        http::start(listener, ask, Arc::clone(&health), hosts, confine_http)
            .context("starting the thread for HTTP")?;
        let now = Instant::now();
        Ok(Self {
            argv,
            settings,
            live,
            counting: Counting { series, intervals },
            health,
            manager: Manager::find(),
            address,
            page_requests,
            hangup,
            state: ServeState::default(),
            notified_at: now,
            took_totals: now,
            turned: now,
        })
    }

    fn begin(&mut self) -> Result<()> {
        self.live.begin(&mut self.counting.sink())?;
        if self.settings.args.privileges == Privileges::Least {
            confine_tracer(&self.settings);
        }
        self.health.reach(ServiceStage::Tracing);
        if !self.address.ip().to_canonical().is_loopback() {
            log::warn!(
                "{} is reached by other hosts, without TLS or a password: all that reach it can read the names and \
                 addresses of this host's processes (a firewall or a proxy can limit that)",
                self.address
            );
        }
        let serving = format!("serving http://{}/metrics", self.address);
        self.manager.ready(&serving);
        notice(&serving);
        Ok(())
    }

    async fn serve(&mut self) -> Result<()> {
        let mut drain_at = Instant::now();
        let mut tick_at = Instant::now() + TICK;
        loop {
            tokio::select! {
                biased;
                () = self.live.stop.wait() => return Ok(()),
                Some(()) = self.hangup.recv() => self.reload(),
                () = sleep_until(tick_at.into()) => {
                    self.see_to_what_is_due()?;
                    tick_at = Instant::now() + TICK;
                }
                Some(ask) = self.page_requests.recv() => {
                    let page = self.page(ask.format)?;
                    // The requester may have disconnected.
                    let _ = ask.reply.send(page);
                }
                ready = self.live.session.ready_after(drain_at) => {
                    ready?;
                    self.live.step(&mut self.counting.sink())?;
                    drain_at = Instant::now() + DRAIN;
                }
            }
        }
    }

    fn see_to_what_is_due(&mut self) -> Result<()> {
        self.health.beat();
        let is_due = |last: &mut Instant, interval: Duration| {
            let is_due = last.elapsed() >= interval;
            if is_due {
                *last = Instant::now();
            }
            is_due
        };
        if let Some(interval) = self.manager.watchdog_interval()
            && is_due(&mut self.notified_at, interval)
        {
            self.manager.alive();
        }
        if is_due(&mut self.took_totals, TOTALS) {
            self.live.totals(&mut self.counting.sink())?;
        }
        if is_due(&mut self.turned, TURN) {
            self.counting.series.rotate();
        }
        let intervals = self.counting.intervals.as_ref();
        if intervals.is_some_and(Intervals::is_due) {
            self.catch_up()?;
            let now = self.live.session.now()?;
            if let Some(intervals) = &mut self.counting.intervals {
                intervals.end_interval(now);
            }
        }
        Ok(())
    }

    /// Takes everything up to now.
    fn catch_up(&mut self) -> Result<()> {
        self.live.catch_up(&mut self.counting.sink())?;
        self.live.totals(&mut self.counting.sink())
    }

    /// The page with everything up to now.
    fn page(&mut self, format: Format) -> Result<Bytes> {
        self.catch_up()?;
        self.state.scrapes += 1;
        own::read(self.state.own.get_or_insert_default());
        let intervals = self.counting.intervals.as_ref();
        self.state.history = intervals.and_then(Intervals::history_status);
        self.state.findings = intervals.and_then(Intervals::findings).cloned();
        Ok(prometheus::render(
            &self.counting.series,
            &self.state,
            format,
        ))
    }

    /// Reads the configuration again. If it has an error, reports it and changes nothing.
    fn reload(&mut self) {
        self.manager.reloading();
        let reloaded = self.take_settings();
        if let Ok(now) = self.live.session.now() {
            self.state.config_reload = Some((reloaded.is_ok(), now.ts));
        }
        match &reloaded {
            Ok(()) => notice("the configuration was read again"),
            Err(error) => log::error!("the configuration stays as it is: {error:#}"),
        }
        self.manager.ready(match reloaded {
            Ok(()) => "serving",
            Err(_) => "serving; the new configuration is bad",
        });
    }

    fn take_settings(&mut self) -> Result<()> {
        let later = Settings::read(&self.argv)?;
        let filter = later.args.filter.resolve()?;
        let need_restart = self
            .settings
            .need_restart(&later, [&self.live.filter, &filter]);
        if !need_restart.is_empty() {
            anyhow::bail!("these take a restart: {}", need_restart.join(", "));
        }
        // What was reported so far passed the previous filter.
        self.catch_up()?;
        self.counting.set_filter(self.live.session.now()?, &filter);
        self.live.set_filter(filter);
        self.settings = later;
        Ok(())
    }

    async fn finish(mut self) -> Result<()> {
        self.health.reach(ServiceStage::Stopping);
        self.manager.stopping();
        self.live.finish(&mut self.counting.sink()).await?;
        if let Some(intervals) = self.counting.intervals {
            intervals.stop();
        }
        Ok(())
    }
}

/// The thread for HTTP needs only its sockets.
fn confine_http() {
    let attempts = Attempts::of("http");
    confine::warn_on_failure(confine::confine(Keep::Nothing, Reach::Nothing));
    system_calls::warn_on_failure(system_calls::restrict_to(Work::ServeHttp, Extent::Thread));
    attempts.run();
}

/// The tracer itself continues to read what everyone may read.
fn confine_tracer(settings: &Settings) {
    let mut readable = vec![Path::new("/proc"), Path::new("/sys")];
    readable.extend(settings.directory());
    let linked = settings.linked_directory();
    readable.extend(linked.as_deref());
    confine::warn_on_failure(confine::confine_to(Reach::Reading(&readable)));
}
