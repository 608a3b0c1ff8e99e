//! A storm: random lives of connections, by seed, in several network namespaces and many processes at the same time,
//! and an oracle that knows what each process did. It finds cases that nobody planned.
//!
//! A round creates namespaces, plays a number of lives in each, and compares: every event's process, side and reason
//! with the ledgers of the processes, and the totals with the kernel's counters.

mod actor;
mod calls;
mod climate;
mod forge;
mod holder;
mod judge;
#[cfg(test)]
mod judge_tests;
mod late;
mod ledger;
mod namespace;
mod plan;
mod rules;
mod tracer;
mod truth;
#[cfg(test)]
mod truth_tests;
mod verdict;

use std::{
    io::{BufRead as _, BufReader},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

pub use self::verdict::StormVerdict;
use self::{
    judge::{PlayedNamespace, StormSight},
    ledger::StormLedger,
    namespace::{FENCE, Ground, NamespaceOutcome},
    plan::{FIRST_LIFE, Life, MAX_LIVES, ServerKind},
    tracer::{StormTracer, TraceEvent},
};
use crate::{
    expect::environment::{Question, Tier},
    sys::{hidden_births::Recording, process},
};

/// Namespaces per round.
const NAMESPACES: u32 = 3;
/// The same if processes that only wait for the CPU delay segments.
const NAMESPACES_EMULATED: u32 = 2;
/// Longest time without output before the fence.
const PATIENCE: Duration = Duration::from_secs(20);
/// Late reports come at most one second later; a slow guest takes longer.
const AFTERWARDS: Duration = Duration::from_millis(2_500);
/// Maximum number of sockets at the same time.
const MAX_SOCKETS: &str = "300000";
/// Maximum number of processes of a storm: about thirty per second.
const MAX_PROCESSES: &str = "65536";
/// However often the kernel ran no program, at most one event of this many may be missing.
const EXCUSED_ONE_OF: u64 = 100;
/// Maximum number of errors that are printed.
const SHOWN: usize = 12;

/// Size of a storm.
#[derive(Clone, Debug)]
pub struct Options {
    /// The twtrace under test.
    pub twtrace: PathBuf,
    /// Its options.
    pub options: Vec<String>,
    /// The first round's seed; each further round has the next one.
    pub seed: u64,
    /// Lives per namespace and round.
    pub lives: u32,
    /// No further round begins after this time; at least one is played.
    pub duration: Duration,
    /// Whether the kernel counts TIME_WAITs when they are created.
    pub counts_births: bool,
}

/// Result of a storm.
pub struct StormEnd {
    /// Totals of all rounds.
    pub verdict: StormVerdict,
    pub rounds: u32,
    /// Lives of all of them.
    pub lives: u64,
    /// Duration of the rounds.
    pub took: Duration,
    /// twtrace's peak memory, KiB.
    pub peak_kib: u64,
    /// Events lost.
    pub lost: u64,
    /// The first seed with an error.
    pub failed_seed: Option<u64>,
}

/// The address that a client connects to.
fn server_address(server: ServerKind, is_v6: bool) -> SocketAddr {
    let host: IpAddr = if is_v6 {
        Ipv6Addr::LOCALHOST.into()
    } else {
        Ipv4Addr::LOCALHOST.into()
    };
    SocketAddr::new(host, server.port())
}

/// Main function of a namespace's process.
pub fn play_namespace(ground: &str) -> Result<()> {
    namespace::play(&serde_json::from_str(ground)?)
}

/// Plays rounds until the time is over or there is an error.
///
/// # Errors
/// If a round can't be completed, or twtrace ends.
pub fn run(options: &Options) -> Result<StormEnd> {
    let mut given = options.options.clone();
    if !process::emulated() {
        // Room for the TIME_WAITs of one minute, and for all processes, of a long storm.
        let room = [
            "--max-sockets",
            MAX_SOCKETS,
            "--max-processes",
            MAX_PROCESSES,
        ];
        given.extend(room.map(str::to_owned));
    }
    let mut tracer = StormTracer::start(&options.twtrace, &given)?;
    let sight = StormSight {
        counts_births: options.counts_births,
        sees_ends: !matches!(
            tracer.facts.tier(Question::TimeWaitEnd),
            Tier::Inferred | Tier::None
        ),
        ends_by_timer: tracer.facts.tier(Question::TimeWaitEnd) == Tier::Timer,
        sees_all_resets: tracer.facts.tier(Question::ResetWithoutSocket) != Tier::None,
    };
    let hidden = Recording::begin();
    let mut hidden_before = 0;
    let begun = Instant::now();
    let mut ended = StormEnd {
        verdict: StormVerdict::default(),
        rounds: 0,
        lives: 0,
        took: Duration::ZERO,
        peak_kib: 0,
        lost: 0,
        failed_seed: None,
    };
    let mut first = FIRST_LIFE;
    let namespaces = if process::emulated() {
        NAMESPACES_EMULATED
    } else {
        NAMESPACES
    };
    while ended.rounds == 0 || begun.elapsed() < options.duration {
        let seed = options.seed + u64::from(ended.rounds);
        if first + namespaces * options.lives > MAX_LIVES {
            first = FIRST_LIFE;
        }
        let round = Round {
            seed,
            first,
            namespaces,
            lives: options.lives,
            is_pinned: seed.is_multiple_of(2),
        };
        let mut verdict = round.play(&mut tracer, sight)?;
        first += namespaces * options.lives;
        ended.rounds += 1;
        ended.lives += u64::from(namespaces * options.lives);
        let (lost, last_lost, unreadable) = tracer.trouble();
        if let Some(line) = unreadable {
            verdict.wrong.push(format!("no event: {line}"));
        }
        if lost > ended.lost {
            verdict
                .wrong
                .push(format!("{} were lost: {last_lost}", lost - ended.lost));
            ended.lost = lost;
        }
        let hidden_now = tracer.misses()
            + match &hidden {
                Some(hidden) => hidden.all()?,
                None => 0,
            };
        verdict.hidden = hidden_now - hidden_before;
        hidden_before = hidden_now;
        excuse(&mut verdict);
        println!("     {}", line(&round, &verdict, begun.elapsed()));
        let is_wrong = !verdict.wrong.is_empty();
        for wrong in verdict.wrong.iter().take(SHOWN) {
            println!("     | {}", wrong.replace('\n', "\n     | "));
        }
        ended.verdict.add(verdict);
        if is_wrong {
            ended.failed_seed = Some(seed);
            break;
        }
    }
    ended.took = begun.elapsed();
    ended.peak_kib = tracer.peak_kib()?;
    tracer.end()?;
    Ok(ended)
}

/// Events for which the kernel ran no program can't be seen: up to that number, differences and incomplete lives are no
/// errors.
fn excuse(verdict: &mut StormVerdict) {
    let differences = verdict.differences.iter().map(|(_, by)| by).sum::<u64>();
    let missing = verdict.incomplete.len() as u64;
    let excused = verdict.hidden.min(verdict.events / EXCUSED_ONE_OF);
    if differences.max(missing) <= excused {
        verdict.missing += differences.max(missing);
    } else {
        verdict.wrong.append(&mut verdict.incomplete);
        let texts = verdict.differences.iter().map(|(text, _)| text.clone());
        verdict.wrong.extend(texts);
    }
    verdict.differences.clear();
    verdict.incomplete.clear();
}

fn line(round: &Round, verdict: &StormVerdict, elapsed: Duration) -> String {
    format!(
        "seed {}: {} connections, {} events, {} RSTs, {} TIME_WAITs, {} unknown, {} missing of {} hidden, {} wrong ({:.0} s)",
        round.seed,
        verdict.connections,
        verdict.events,
        verdict.resets_sent,
        verdict.births,
        verdict.unknown(),
        verdict.missing,
        verdict.hidden,
        verdict.wrong.len(),
        elapsed.as_secs_f64()
    )
}

struct Round {
    seed: u64,
    first: Life,
    namespaces: u32,
    lives: u32,
    is_pinned: bool,
}

impl Round {
    fn play(&self, tracer: &mut StormTracer, sight: StormSight) -> Result<StormVerdict> {
        let folder = tempfile::tempdir().context("a folder for ledgers")?;
        let mut running = Vec::new();
        for number in 0..self.namespaces {
            let first = self.first + number * self.lives;
            let ground = Ground {
                ledger: folder.path().join(number.to_string()),
                seed: self.seed,
                number,
                first,
                count: self.lives,
                is_pinned: self.is_pinned,
            };
            running.push(RunningNamespace::start(ground)?);
        }
        let mut events = Vec::new();
        let mut namespaces = Vec::new();
        for running in &mut running {
            let outcome = loop {
                // Takes what was reported during the round, so that it does not accumulate.
                events.extend(tracer.take(Duration::ZERO, |_| false)?);
                if let Some(outcome) = running.outcome()? {
                    break outcome;
                }
            };
            namespaces.push(PlayedNamespace {
                outcome,
                entries: running.ledger.entries()?,
                lives: running.ground.first..running.ground.first + running.ground.count,
                settings: climate::settings(self.seed, running.ground.number),
            });
        }
        let fences = |events: &[TraceEvent]| {
            let is_fenced = |namespace: &PlayedNamespace| {
                events
                    .iter()
                    .any(|event| is_fence(event, &namespace.outcome))
            };
            namespaces
                .iter()
                .filter(|namespace| is_fenced(namespace))
                .count()
        };
        let before = fences(&events);
        if before < namespaces.len() {
            events
                .extend(tracer.take(PATIENCE, |fresh| before + fences(fresh) >= namespaces.len())?);
        }
        events.extend(tracer.take(AFTERWARDS, |_| false)?);
        let verdict = judge::judge(self.seed, &namespaces, &events, sight);
        drop(running);
        Ok(verdict)
    }
}

fn is_fence(event: &TraceEvent, outcome: &NamespaceOutcome) -> bool {
    let is_fence = |address: Option<SocketAddr>| address.is_some_and(|it| it.ip() == FENCE);
    event.event == "reset"
        && event.netns == outcome.netns
        && event.mono_ns >= outcome.since_ns
        && is_fence(event.local)
}

/// A namespace's process. Dropping it ends all of its processes.
struct RunningNamespace {
    ground: Ground,
    ledger: StormLedger,
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl RunningNamespace {
    fn start(ground: Ground) -> Result<Self> {
        let ledger = StormLedger::create(&ground.ledger).context("make a ledger")?;
        let mut child = Command::new("/proc/self/exe")
            .arg("--storm-namespace")
            .arg(serde_json::to_string(&ground)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start a namespace")?;
        let stdout = child.stdout.take().context("a namespace has no output")?;
        let (sender, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self {
            ground,
            ledger,
            child,
            lines,
        })
    }

    /// Its report, if it has finished.
    fn outcome(&mut self) -> Result<Option<NamespaceOutcome>> {
        match self.lines.recv_timeout(Duration::from_millis(20)) {
            Ok(line) => Ok(Some(serde_json::from_str(&line)?)),
            Err(_) => {
                let ended = self.child.try_wait()?;
                ensure!(
                    ended.is_none(),
                    "a namespace ended before its time ({ended:?})"
                );
                Ok(None)
            }
        }
    }
}

impl Drop for RunningNamespace {
    fn drop(&mut self) {
        // It ends when its input is closed.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A random seed.
pub fn random_seed() -> u64 {
    u64::from(fastrand::u32(..))
}
