//! Which figures are complete, and what was lost of the others.

use serde::Serialize;
use twtrace_wire::{Probe, Unattributed};

use super::process_row::ProcessRow;
use crate::event::LostBy;
use crate::hooks::{Choice, Question, missed, sees_ends, sees_refused_reuse};

/// [`Inexact::by`] of events whose process is no longer known.
pub const UNATTRIBUTED: &str = "unattributed";

/// Figures that are complete or incomplete together: the members of [`Exact`].
#[derive(schemars::JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[schemars(rename = "Figures")]
#[serde(rename_all = "snake_case")]
pub enum FigureSet {
    /// Rows by process.
    Processes,
    /// Rows by destination.
    Destinations,
    /// Why connects could not reuse TIME_WAITs.
    RefusedReuse,
    /// Ends of TIME_WAITs, and figures derived from them.
    Ends,
}

/// Why figures are not complete.
#[derive(schemars::JsonSchema, Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inexact {
    /// The incomplete figures.
    pub figures: Vec<FigureSet>,
    /// What lost something: a probe of `lost`, a program of `recursion_misses`, or `unattributed`.
    pub by: String,
    /// How much, at most.
    pub count: u64,
    /// What is missing, in words.
    pub why: String,
}

/// Which figures are complete; the others are lower bounds, or presumed.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Exact {
    /// Rows by process.
    pub processes: bool,
    /// Rows by destination.
    pub destinations: bool,
    /// Why connects could not reuse TIME_WAITs: [`Reuse::hindered`] and [`Reuse::refused`]. Also false if that is not
    /// seen at all.
    pub refused_reuse: bool,
    /// Ends of TIME_WAITs, and figures derived from them: ages, reuse, and how many each process has alive. Also false
    /// if they are not seen but presumed.
    pub ends: bool,
}

impl Exact {
    /// Whether these figures are complete.
    pub fn is(self, figures: FigureSet) -> bool {
        match figures {
            FigureSet::Processes => self.processes,
            FigureSet::Destinations => self.destinations,
            FigureSet::RefusedReuse => self.refused_reuse,
            FigureSet::Ends => self.ends,
        }
    }
}

/// What one probe lost.
#[derive(schemars::JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LostRow {
    /// The probe.
    pub probe: LostBy,
    /// Number of lost events or data.
    pub count: u64,
}

/// How often the kernel skipped one of our programs.
#[derive(schemars::JsonSchema, Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MissRow {
    /// The program.
    pub program: String,
    /// Number of skipped runs.
    pub count: u64,
}

/// Input of the decision.
#[derive(Clone, Copy, Debug)]
pub struct Losses<'a> {
    /// The tier of each capability.
    pub tiers: &'a [Choice],
    /// What was lost.
    pub lost: &'a [LostRow],
    /// Runs of programs that the kernel skipped, if it counts them.
    pub misses: Option<&'a [MissRow]>,
    /// Whether rows by process are counts of the kernel side, and not built from events.
    pub by_totals: bool,
    /// Events whose process was known once, and no longer is.
    pub forgotten: u64,
}

impl Losses<'_> {
    /// Which figures are complete, and why the others are not.
    pub fn exactness(&self) -> (Exact, Vec<Inexact>) {
        let inexact = self.inexact();
        let is_whole = |figures| !inexact.iter().any(|row| row.figures.contains(&figures));
        let exact = Exact {
            processes: is_whole(FigureSet::Processes),
            destinations: is_whole(FigureSet::Destinations),
            refused_reuse: sees_refused_reuse(self.tiers) && is_whole(FigureSet::RefusedReuse),
            ends: sees_ends(self.tiers) && is_whole(FigureSet::Ends),
        };
        (exact, inexact)
    }

    fn inexact(&self) -> Vec<Inexact> {
        let lost = self.lost.iter().map(|row| Inexact {
            figures: self.missing_by(row.probe),
            by: row.probe.word().to_owned(),
            count: row.count,
            why: row.probe.consequence().to_owned(),
        });
        let misses = self.misses.unwrap_or_default().iter();
        let misses: Vec<(&str, u64)> = misses.map(|row| (&*row.program, row.count)).collect();
        let missed = missed(self.tiers, &misses).into_iter().map(|missed| Inexact {
            figures: missing_from(missed.question).to_vec(),
            by: missed.program,
            count: missed.count,
            why: "the kernel skipped this program, and no other one did its work: what it would have counted is \
                  missing, or has no process"
                .to_owned(),
        });
        let forgotten = Inexact {
            figures: vec![FigureSet::Processes],
            by: UNATTRIBUTED.to_owned(),
            count: self.forgotten,
            why: "events whose process is no longer known (--max-sockets): they are in the row (lost)"
                .to_owned(),
        };
        let all = lost.chain(missed).chain([forgotten]);
        all.filter(|row| row.count > 0 && !row.figures.is_empty())
            .collect()
    }

    /// The figures that are incomplete if this one lost something.
    fn missing_by(&self, lost: LostBy) -> Vec<FigureSet> {
        use FigureSet::{Destinations, Ends, Processes, RefusedReuse};
        let mut figures: Vec<FigureSet> = match lost {
            // Side and process are not known: the events are in other rows.
            LostBy::Probe(Probe::SocketMap) => vec![Processes, Destinations],
            LostBy::Probe(Probe::DescendantMap) => vec![Processes, Destinations],
            LostBy::Probe(Probe::ProcessMap) if self.by_totals => vec![Processes, RefusedReuse],
            LostBy::Probe(Probe::PortMap) if self.by_totals => vec![Processes],
            LostBy::Probe(Probe::TimeWaitEnd) => vec![Destinations, Ends],
            // These events are in no such figure.
            LostBy::Probe(Probe::NoAddress) => return vec![],
            lost if lost.is_event() => vec![Destinations],
            // Figures of the audit, and of stacks.
            _ => vec![],
        };
        if !self.by_totals && lost.is_event() && !figures.contains(&Processes) {
            figures.push(Processes);
        }
        figures
    }
}

/// The figures that are incomplete if a program of this capability was skipped.
fn missing_from(question: Question) -> &'static [FigureSet] {
    use FigureSet::{Destinations, Ends, Processes, RefusedReuse};
    match question {
        Question::Accept => &[Processes],
        Question::TimeWaitEnd => &[Processes, Destinations, RefusedReuse, Ends],
        Question::Port => &[Processes, Destinations, RefusedReuse],
        Question::NoAddress => &[],
        Question::State
        | Question::TimeWait
        | Question::Reset
        | Question::ResetWithoutSocket
        | Question::Descendants => &[Processes, Destinations],
    }
}

/// Events in the row for processes that are no longer known.
pub fn forgotten(rows: &[ProcessRow]) -> u64 {
    let lost = rows
        .iter()
        .filter(|row| row.unattributed == Some(Unattributed::Lost));
    lost.map(|row| {
        let counts = &row.counts;
        counts.time_wait.total()
            + counts.overflow.total()
            + counts.ended.total()
            + counts.resets()
            + counts.abort.total()
    })
    .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::Tier;

    fn tiers() -> Vec<Choice> {
        vec![
            Choice::sample(Question::State, Tier::RawTracepoint),
            Choice::sample(Question::Port, Tier::Kprobe),
            Choice::sample(Question::TimeWaitEnd, Tier::Fentry),
        ]
    }

    fn lost(probe: Probe) -> LostRow {
        LostRow {
            probe: LostBy::Probe(probe),
            count: 3,
        }
    }

    /// [processes, destinations, refused_reuse, ends]
    fn flags(losses: Losses<'_>) -> [bool; 4] {
        let (exact, inexact) = losses.exactness();
        let flags = [
            exact.processes,
            exact.destinations,
            exact.refused_reuse,
            exact.ends,
        ];
        assert_eq!(inexact.is_empty(), flags == [true; 4], "{inexact:?}");
        flags
    }

    fn with<'a>(tiers: &'a [Choice], lost: &'a [LostRow], misses: &'a [MissRow]) -> Losses<'a> {
        Losses {
            tiers,
            lost,
            misses: Some(misses),
            by_totals: true,
            forgotten: 0,
        }
    }

    #[test]
    fn each_loss_is_missing_where_it_would_have_counted() {
        let tiers = tiers();
        let all = |probe, by_totals| {
            flags(Losses {
                by_totals,
                ..with(&tiers, &[lost(probe)], &[])
            })
        };
        for (probe, by_totals, by_events) in [
            (
                Probe::SocketMap,
                [false, false, true, true],
                [false, false, true, true],
            ),
            (Probe::ProcessMap, [false, true, false, true], [true; 4]),
            (Probe::PortMap, [false, true, true, true], [true; 4]),
            (
                Probe::DescendantMap,
                [false, false, true, true],
                [false, false, true, true],
            ),
            (
                Probe::TimeWait,
                [true, false, true, true],
                [false, false, true, true],
            ),
            (
                Probe::Reset,
                [true, false, true, true],
                [false, false, true, true],
            ),
            (
                Probe::Abort,
                [true, false, true, true],
                [false, false, true, true],
            ),
            (
                Probe::PortAlloc,
                [true, false, true, true],
                [false, false, true, true],
            ),
            (
                Probe::TimeWaitEnd,
                [true, false, true, false],
                [false, false, true, false],
            ),
            (Probe::NetnsMap, [true; 4], [true; 4]),
            (Probe::StackMap, [true; 4], [true; 4]),
            (Probe::StackSlot, [true; 4], [true; 4]),
        ] {
            assert_eq!(all(probe, true), by_totals, "{probe:?} by totals");
            assert_eq!(all(probe, false), by_events, "{probe:?} by events");
        }
        assert_eq!(flags(with(&tiers, &[], &[])), [true; 4]);
    }

    #[test]
    fn skipped_programs_are_a_loss_where_nothing_made_good_for_them() {
        let miss = |program: &str, count| MissRow {
            program: program.to_owned(),
            count,
        };
        let states = |destroyed| [miss("state_raw", 7), miss("destroy_raw", destroyed)];
        let tiers = tiers();
        assert_eq!(flags(with(&tiers, &[], &states(0))), [true; 4]);
        assert_eq!(
            flags(with(&tiers, &[], &states(1))),
            [false, false, true, true]
        );
        let port = [
            miss("get_port_kprobe", 0),
            miss("hash_connect_kprobe", 2),
            miss("port_kretprobe", 0),
        ];
        let losses = with(&tiers, &[], &port);
        assert_eq!(flags(losses), [false, false, false, true]);
        let (_, inexact) = losses.exactness();
        assert_eq!(
            (&*inexact[0].by, inexact[0].count),
            ("hash_connect_kprobe", 2)
        );
        // If the kernel does not count them, nothing is known.
        let unknown = Losses {
            misses: None,
            ..losses
        };
        assert_eq!(flags(unknown), [true; 4]);
    }

    #[test]
    fn a_row_of_facts_without_their_process_is_a_loss() {
        let tiers = tiers();
        let losses = Losses {
            forgotten: 4,
            ..with(&tiers, &[], &[])
        };
        assert_eq!(flags(losses), [false, true, true, true]);
        assert_eq!(losses.exactness().1[0].by, "unattributed");
    }

    #[test]
    fn what_is_not_seen_at_all_is_not_exact() {
        let tiers = [
            Choice::sample(Question::Port, Tier::Syscall),
            Choice::sample(Question::TimeWaitEnd, Tier::Inferred),
        ];
        let (exact, inexact) = with(&tiers, &[], &[]).exactness();
        assert!(!exact.refused_reuse && !exact.ends && exact.processes);
        // The tiers contain the reason.
        assert!(inexact.is_empty());
    }
}
