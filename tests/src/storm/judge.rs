//! Compares what was told of a round with what is true of it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt::Write as _,
};

use super::{
    climate::{self, KernelSetting},
    late::{ended_after_its_time, is_unanswered_data, wrong_in_one},
    ledger::LedgerEntry,
    namespace::NamespaceOutcome,
    plan::{self, End, Life, StepAction},
    rules::{against_kernel, allowed, of_both_ends, too_many_births, what},
    tracer::{ReportedProcess, TraceEvent},
    truth::{ClosedListener, Truth},
    verdict::{StormVerdict, summary},
};

/// A namespace whose round is over.
pub struct PlayedNamespace {
    /// Its report.
    pub outcome: NamespaceOutcome,
    /// Entries of its ledger.
    pub entries: Vec<LedgerEntry>,
    pub lives: std::ops::Range<Life>,
    /// Its kernel settings.
    pub settings: Vec<KernelSetting>,
}

/// What twtrace and the kernel can see.
#[derive(Clone, Copy, Debug)]
pub struct StormSight {
    /// The kernel counts TIME_WAITs when they are created.
    pub counts_births: bool,
    /// Ends of TIME_WAITs are seen when they happen.
    pub sees_ends: bool,
    /// They are seen by the timers of mini-sockets.
    pub ends_by_timer: bool,
    /// RSTs that no full socket sends are seen.
    pub sees_all_resets: bool,
}

/// Compares everything that was reported of a round.
pub fn judge(
    seed: u64,
    namespaces: &[PlayedNamespace],
    traced: &[TraceEvent],
    sight: StormSight,
) -> StormVerdict {
    let mut verdict = StormVerdict::default();
    for namespace in namespaces {
        let of_it: Vec<&TraceEvent> = traced
            .iter()
            .filter(|event| {
                event.netns == namespace.outcome.netns
                    && event.mono_ns >= namespace.outcome.since_ns
            })
            .collect();
        let mut judge = Judge {
            namespace,
            seed,
            verdict: &mut verdict,
        };
        judge.sums(&of_it, sight);
        judge.lives(&of_it, sight);
    }
    let known: BTreeSet<u64> = namespaces
        .iter()
        .map(|namespace| namespace.outcome.netns)
        .collect();
    let others = traced.iter().filter(|event| {
        !known.contains(&event.netns)
            && event
                .end()
                .is_some_and(|(life, _)| namespaces.iter().any(|it| it.lives.contains(&life)))
    });
    verdict
        .wrong
        .extend(others.map(|event| format!("told of another namespace: {}", event.line)));
    verdict
}

/// Listeners that are closed this close to an event of a life are shown beside it.
const LISTENER_NEAR_NS: u64 = 10_000_000;

struct Judge<'a> {
    namespace: &'a PlayedNamespace,
    seed: u64,
    verdict: &'a mut StormVerdict,
}

impl Judge<'_> {
    fn sums(&mut self, traced: &[&TraceEvent], sight: StormSight) {
        let count =
            |of: fn(&TraceEvent) -> bool| traced.iter().filter(|event| of(event)).count() as u64;
        let counters = self.namespace.outcome.counters;
        let read_ns = self.namespace.outcome.read_ns;
        let born = count(|event| event.event == "time_wait");
        let ended = traced
            .iter()
            .filter(|event| event.event == "time_wait_end" && event.mono_ns <= read_ns)
            .count() as u64;
        let births = if sight.counts_births {
            counters.births()
        } else {
            ended + counters.alive
        };
        self.verdict.births += born;
        self.verdict.resets_sent += counters.resets_sent;
        let pairs = [
            (
                "RSTs sent",
                count(|event| event.is_reset("sent")),
                counters.resets_sent,
                sight.sees_all_resets,
            ),
            (
                "connections reset",
                count(TraceEvent::is_connection_reset),
                counters.connections_reset,
                true,
            ),
            (
                "RSTs over unread data",
                count(|event| {
                    event.reason.as_deref() == Some("unread_data") && event.is_reset("sent")
                }),
                counters.abort_on_close,
                true,
            ),
            (
                "births",
                born,
                births,
                sight.counts_births || sight.sees_ends,
            ),
            (
                "refusals",
                count(|event| event.event == "time_wait_overflow"),
                counters.overflow,
                true,
            ),
        ];
        for (what, reported, kernel, is_comparable) in pairs {
            if reported != kernel && is_comparable {
                let number = self.namespace.outcome.netns;
                let text =
                    format!("namespace {number}: {reported} {what} told, {kernel} by the kernel");
                self.verdict
                    .differences
                    .push((text, reported.abs_diff(kernel)));
            }
        }
    }

    fn lives(&mut self, traced: &[&TraceEvent], sight: StormSight) {
        let mut entries: HashMap<Life, Vec<LedgerEntry>> = HashMap::new();
        let mut closed_listeners = Vec::new();
        for entry in &self.namespace.entries {
            match entry.action {
                StepAction::CloseListener => closed_listeners.push(ClosedListener {
                    entry: *entry,
                    is_of_flaky: entry.pid == self.namespace.outcome.flaky,
                }),
                _ => entries.entry(entry.life).or_default().push(*entry),
            }
        }
        let mut events: BTreeMap<Life, Vec<(&TraceEvent, End)>> = BTreeMap::new();
        for event in traced {
            match event.end() {
                // Of an earlier namespace with this number: an end that was noticed late.
                Some((life, _)) if life < self.namespace.lives.start => {}
                Some((life, end)) => events.entry(life).or_default().push((event, end)),
                None => {}
            }
        }
        self.verdict.connections += self
            .namespace
            .entries
            .iter()
            .filter(|entry| entry.action == StepAction::Connect)
            .count() as u64;
        for (life, events) in events {
            let entries = entries.get(&life).map_or(&[][..], Vec::as_slice);
            let truth = Truth {
                life,
                plan: plan::plan(self.seed, life),
                entries,
                closed_listeners: &closed_listeners,
            };
            let mut wrong = Vec::new();
            let mut incomplete = match sight.sees_all_resets {
                true if !truth.plan.forges => of_both_ends(&events),
                _ => Vec::new(),
            };
            for (event, end) in &events {
                match self.event(&truth, event, *end) {
                    Judged::Right => {}
                    Judged::Wrong(why) if is_unanswered_data(&truth, event, *end, &events) => {
                        incomplete.push(why);
                    }
                    Judged::Wrong(why) => wrong.push(why),
                    Judged::Noteworthy(what) => {
                        if !self.verdict.examples.contains_key(&what) {
                            let text = self.describe(&truth, &events, std::slice::from_ref(&what));
                            self.verdict.examples.insert(what, text);
                        }
                    }
                }
            }
            wrong.extend(too_many_births(&truth, &events));
            if sight.sees_ends {
                incomplete.extend(self.of_what_is_left(&truth, &events, sight));
            }
            if !incomplete.is_empty() {
                let text = self.describe(&truth, &events, &incomplete);
                self.verdict.incomplete.push(text);
            }
            if !wrong.is_empty() {
                let text = self.describe(&truth, &events, &wrong);
                self.verdict.wrong.push(text);
            }
        }
    }

    fn event(&mut self, truth: &Truth, event: &TraceEvent, end: End) -> Judged {
        self.verdict.events += 1;
        *self.verdict.kinds.entry(what(event)).or_insert(0) += 1;
        if event.event == "port_alloc" {
            return Judged::Right;
        }
        if let Some(wrong) = self
            .names(truth, event, end)
            .or_else(|| wrong_in_one(truth, &self.namespace.settings, event, end))
            .or_else(|| against_kernel(event))
        {
            return Judged::Wrong(format!("{}: {wrong}", what(event)));
        }
        if let Some(unknown) = self.unknown(truth, event, end) {
            *self.verdict.unknown.entry(unknown.clone()).or_insert(0) += 1;
            return Judged::Noteworthy(unknown);
        }
        if event.reason.as_deref() == Some("other") {
            let other = format!(
                "{}: {:?}, in {:?}",
                what(event),
                event.kernel_reason.as_deref().unwrap_or("?"),
                event.state.as_deref().unwrap_or("?")
            );
            *self.verdict.other_reason.entry(other.clone()).or_insert(0) += 1;
            return Judged::Noteworthy(other);
        }
        Judged::Right
    }

    /// An error in the processes that it names.
    fn names(&mut self, truth: &Truth, event: &TraceEvent, end: End) -> Option<String> {
        if let Some(process) = &event.process {
            self.verdict.attributable += 1;
            let allowed = if event.is_of_listener() {
                self.namespace.outcome.listening.iter().copied().collect()
            } else {
                allowed(truth, event, end).pids
            };
            if !allowed.contains(&process.pid) {
                let ReportedProcess { pid, comm } = process;
                return Some(format!("names {pid} {comm}, not one of {allowed:?}"));
            }
            if !self.is_named(process.pid, &process.comm) {
                return Some(format!("calls {} {}", process.pid, process.comm));
            }
        }
        let opener = event.opener.as_ref()?;
        let is_of_it = truth.all(end).contains(&opener.pid);
        (!is_of_it).then(|| format!("was opened by {} {}", opener.pid, opener.comm))
    }

    /// An event without a process, although one is responsible.
    fn unknown(&mut self, truth: &Truth, event: &TraceEvent, end: End) -> Option<String> {
        let why = event.unattributed.as_deref()?;
        let is_nobodys = || !event.is_of_listener() && allowed(truth, event, end).nobody;
        if why == "no_socket" || is_nobodys() {
            return None;
        }
        self.verdict.attributable += 1;
        Some(format!("{} ({why})", what(event)))
    }

    /// An error in the mini-sockets that were reported: those that were created and have not ended must exist.
    fn of_what_is_left(
        &mut self,
        truth: &Truth,
        events: &[(&TraceEvent, End)],
        sight: StormSight,
    ) -> Option<String> {
        let namespace = self.namespace;
        let outcome = &namespace.outcome;
        for end in [End::Client, End::Server] {
            let count = |what: &str| {
                let of_end = events.iter().filter(|(event, at)| {
                    *at == end && event.event == what && event.mono_ns <= outcome.read_ns
                });
                of_end.count()
            };
            let (born, ended) = (count("time_wait"), count("time_wait_end"));
            let Some((first, _)) = events.iter().find(|(_, at)| *at == end) else {
                continue;
            };
            let pair = (first.local?, first.remote?);
            let alive = outcome.alive.iter().filter(|other| **other == pair).count();
            if born == ended + alive + 1
                && ended_after_its_time(truth, &namespace.settings, events, end, sight)
            {
                self.verdict.missing += 1;
                continue;
            }
            if born != ended + alive {
                return Some(format!(
                    "{born} births and {ended} ends at the {end:?}, and {alive} there"
                ));
            }
        }
        None
    }

    fn is_named(&self, pid: i32, comm: &str) -> bool {
        let names = &self.namespace.outcome.names;
        match names.get(&pid) {
            Some(name) => comm == name,
            // A child of the holder, perhaps before its name was set.
            None => names
                .get(&self.namespace.outcome.holder)
                .is_some_and(|holder| comm == holder || comm == format!("{holder}-child")),
        }
    }

    fn describe(&self, truth: &Truth, events: &[(&TraceEvent, End)], wrong: &[String]) -> String {
        let mut text = format!("life {}: {}\n", truth.life, wrong.join("; "));
        let settings = climate::describe(&self.namespace.settings);
        let _ = writeln!(text, "  {:?}; {settings}", truth.plan);
        let mut lines: Vec<(u64, String)> = truth
            .entries
            .iter()
            .map(|entry| {
                let text = format!(
                    "{:?} {} {:?} by {} {}errno {}, until {}",
                    entry.end,
                    entry.connection,
                    entry.action,
                    entry.pid,
                    self.namespace
                        .outcome
                        .names
                        .get(&entry.pid)
                        .map_or(String::new(), |name| format!("{name} ")),
                    entry.errno,
                    entry.after_ns
                );
                (entry.before_ns, text)
            })
            .chain(
                events
                    .iter()
                    .map(|(event, end)| (event.mono_ns, summary(event, *end))),
            )
            .collect();
        // What a server does to a whole listener stands in no life's log.
        let near = |at_ns: u64| {
            let of_events = events.iter();
            of_events
                .min_by_key(|(event, _)| event.mono_ns.abs_diff(at_ns))
                .is_some_and(|(event, _)| event.mono_ns.abs_diff(at_ns) < LISTENER_NEAR_NS)
        };
        let closes = truth.closed_listeners.iter().map(|close| &close.entry);
        lines.extend(closes.filter(|entry| near(entry.before_ns)).map(|entry| {
            let text = format!(
                "a listener closed by {}, until {}",
                entry.pid, entry.after_ns
            );
            (entry.before_ns, text)
        }));
        lines.sort();
        for (at_ns, line) in lines {
            let _ = writeln!(text, "  {at_ns} {line}");
        }
        text
    }
}

/// Result for one event.
enum Judged {
    /// It is correct.
    Right,
    /// It is wrong.
    Wrong(String),
    /// It says less than it could.
    Noteworthy(String),
}
