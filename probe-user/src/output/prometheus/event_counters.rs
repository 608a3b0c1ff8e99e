//! Counters and histograms: of the whole host, by process, by destination, and by pair of these.

use twtrace_core::event::counts_by::CountsBy;
use twtrace_core::event::words::Word;
use twtrace_core::model::counts::Counts;
use twtrace_core::model::destination::{Destination, Done};
use twtrace_core::model::series::figures::{Searches, SeriesCounters};
use twtrace_core::model::series::owner::Owner;
use twtrace_core::model::series::{Series, SeriesPair};
use twtrace_wire::{EndCause, PortOp, ResetDirection, Side};

use super::families::{self, MetricFamily};
use super::metrics_page::{Labels, MetricsPage, Samples};

/// Histograms of one process have one bound for this many of the host's.
const COARSER: usize = 2;

/// Value of the label for events without a process.
pub const UNATTRIBUTED: &str = "unattributed";

/// Totals of the host. What has not happened yet is 0, so that rates are right when it does.
pub fn whole(page: &mut MetricsPage, series: &Series) {
    let all = [(Labels::default(), series.whole())];
    let figures = |page: &mut MetricsPage, family, each: Each<SeriesCounters>| {
        each_of(page, family, &all, each)
    };
    figures(page, &families::TIME_WAITS, |s, l, f| {
        every(s, l, "side", &f.counts.time_wait)
    });
    figures(page, &families::FIN_WAIT2, |s, l, f| {
        every(s, l, "side", &f.counts.fin_wait2)
    });
    figures(page, &families::OVERFLOWS, |s, l, f| {
        every(s, l, "side", &f.counts.overflow)
    });
    figures(page, &families::ENDED, |s, l, f| {
        every(s, l, "cause", &f.counts.ended)
    });
    figures(page, &families::REUSED, |s, l, f| s.add(l, f.reuse.taken));
    figures(page, &families::HINDERED, |s, l, f| {
        s.add(l, f.reuse.hindered)
    });
    figures(page, &families::REFUSED, |s, l, f| {
        every(s, l, "reason", &f.reuse.refused)
    });
    let mut residence = page.family(&families::RESIDENCE);
    for cause in EndCause::MEMBERS {
        if let Some(histogram) = series.residence().get(cause) {
            residence.histogram(&labels("cause", cause.word()), histogram, 1);
        }
    }
    figures(page, &families::RESETS, |s, l, f| {
        resets(s, l, &f.counts, true)
    });
    figures(page, &families::ABORTS, |s, l, f| {
        every(s, l, "reason", &f.counts.abort)
    });
    let searches = |page: &mut MetricsPage, family, number: fn(&Searches) -> u64| {
        let mut samples = page.family(family);
        for op in PortOp::MEMBERS {
            let both = [false, true].iter();
            let both = both.filter_map(|exact| series.searches().get(&(*op, *exact)));
            samples.add(&labels("op", op.word()), both.map(number).sum::<u64>());
        }
    };
    searches(page, &families::SEARCHES, |searches| searches.count);
    searches(page, &families::FAILURES, |searches| searches.failures);
    for (family, counts) in [
        (&families::PORT_ERRORS, series.port_errors()),
        (&families::FIXED_PORT_ERRORS, series.fixed_port_errors()),
    ] {
        let mut errors = page.family(family);
        for ((op, errno), count) in counts {
            errors.add(
                &labels("op", op.word()).with("errno", &errno.to_string()),
                count,
            );
        }
    }
    let mut durations = page.family(&families::SEARCH_DURATION);
    for ((op, exact), searches) in series.searches() {
        let exact = if *exact { "true" } else { "false" };
        let labels = labels("op", op.word()).with("exact", exact);
        durations.histogram(&labels, &searches.latency, 1);
    }
}

pub fn processes(page: &mut MetricsPage, series: &Series) {
    let mut shown: Vec<(&Owner, &SeriesCounters)> = series.processes().shown().collect();
    shown.sort_by_key(|(owner, _)| *owner);
    let mut rows: Vec<(Labels, &SeriesCounters)> = shown
        .into_iter()
        .map(|(owner, figures)| (of_owner(owner), figures))
        .collect();
    rows.push((of_others(), series.processes().others()));
    let figures = |page: &mut MetricsPage, family, each: Each<SeriesCounters>| {
        each_of(page, family, &rows, each)
    };
    figures(page, &families::P_TIME_WAITS, |s, l, f| {
        // These two are 0 instead of missing, as the owners of series are known before they create many.
        for side in [Side::Client, Side::Server] {
            s.add(
                &l.clone().with("side", side.word()),
                f.counts.time_wait.of(side),
            );
        }
        let unknown = f.counts.time_wait.of(Side::Unknown);
        positive(s, &l.clone().with("side", Side::Unknown.word()), unknown);
    });
    figures(page, &families::P_FIN_WAIT2, |s, l, f| {
        counted(s, l, "side", &f.counts.fin_wait2)
    });
    figures(page, &families::P_OVERFLOWS, |s, l, f| {
        counted(s, l, "side", &f.counts.overflow)
    });
    figures(page, &families::P_ENDED, |s, l, f| {
        counted(s, l, "cause", &f.counts.ended)
    });
    figures(page, &families::P_REUSED, |s, l, f| {
        positive(s, l, f.reuse.taken)
    });
    figures(page, &families::P_HINDERED, |s, l, f| {
        positive(s, l, f.reuse.hindered)
    });
    figures(page, &families::P_REFUSED, |s, l, f| {
        counted(s, l, "reason", &f.reuse.refused)
    });
    figures(page, &families::P_RESETS, |s, l, f| {
        resets(s, l, &f.counts, false)
    });
    figures(page, &families::P_ABORTS, |s, l, f| {
        counted(s, l, "reason", &f.counts.abort)
    });
    figures(page, &families::P_SEARCHES, |s, l, f| {
        for (op, searches) in f.searched() {
            s.add(&l.clone().with("op", op.word()), searches.count);
        }
    });
    figures(page, &families::P_FAILURES, |s, l, f| {
        for (op, searches) in f.searched() {
            s.add(&l.clone().with("op", op.word()), searches.failures);
        }
    });
    figures(page, &families::P_SEARCH_DURATION, |s, l, f| {
        for (op, searches) in f.searched() {
            s.histogram(&l.clone().with("op", op.word()), &searches.latency, COARSER);
        }
    });
}

pub fn destinations(page: &mut MetricsPage, series: &Series) {
    let mut shown: Vec<(&(Side, Destination), &Done)> = series.destinations().shown().collect();
    shown.sort_by_key(|(key, _)| *key);
    let mut rows: Vec<(Labels, &Done)> = shown
        .into_iter()
        .map(|((side, destination), done)| {
            let labels = of_destination(Labels::default(), *side, destination);
            (labels, done)
        })
        .collect();
    rows.push((labels("remote", "other"), series.destinations().others()));
    let done =
        |page: &mut MetricsPage, family, each: Each<Done>| each_of(page, family, &rows, each);
    done(page, &families::D_TIME_WAITS, |s, l, d| {
        s.add(l, d.counts.time_wait.total())
    });
    done(page, &families::D_OVERFLOWS, |s, l, d| {
        positive(s, l, d.counts.overflow.total())
    });
    done(page, &families::D_REUSED, |s, l, d| {
        positive(s, l, d.reuse.taken)
    });
    done(page, &families::D_HINDERED, |s, l, d| {
        positive(s, l, d.reuse.hindered)
    });
    done(page, &families::D_RESETS, |s, l, d| {
        resets(s, l, &d.counts, false)
    });
    done(page, &families::D_ABORTS, |s, l, d| {
        counted(s, l, "reason", &d.counts.abort)
    });
    done(page, &families::D_FAILURES, |s, l, d| {
        positive(s, l, d.port_failures)
    });
}

/// What a process did with a destination. Fewer kinds than by destination alone: each has a series per pair.
pub fn pairs(page: &mut MetricsPage, series: &Series) {
    let mut shown: Vec<(&SeriesPair, &Done)> = series.pairs().shown().collect();
    shown.sort_by_key(|(pair, _)| *pair);
    let mut rows: Vec<(Labels, &Done)> = shown
        .into_iter()
        .map(|(pair, done)| {
            let labels = of_destination(of_owner(&pair.owner), pair.side, &pair.destination);
            (labels, done)
        })
        .collect();
    let others = of_others().with("remote", "other");
    rows.push((others, series.pairs().others()));
    let done =
        |page: &mut MetricsPage, family, each: Each<Done>| each_of(page, family, &rows, each);
    done(page, &families::PAIR_TIME_WAITS, |s, l, d| {
        s.add(l, d.counts.time_wait.total())
    });
    done(page, &families::PAIR_RESETS, |s, l, d| {
        resets(s, l, &d.counts, false)
    });
    done(page, &families::PAIR_ABORTS, |s, l, d| {
        counted(s, l, "reason", &d.counts.abort)
    });
    done(page, &families::PAIR_FAILURES, |s, l, d| {
        positive(s, l, d.port_failures)
    });
}

/// Adds the labels of a destination.
fn of_destination(labels: Labels, side: Side, destination: &Destination) -> Labels {
    labels
        .with("side", side.word())
        .with_some("remote", destination.remote().as_deref())
        .with_some("local", destination.local().as_deref())
}

/// Labels of processes with one name and place, or of no process.
pub fn of_owner(owner: &Owner) -> Labels {
    match owner {
        Owner::Process {
            name,
            container_id,
            pod_uid,
            unit,
        } => labels("process", name)
            .with_some("container_id", container_id.as_deref())
            .with_some("pod_uid", pod_uid.as_deref())
            .with_some("unit", unit.as_deref()),
        Owner::Nobody(reason) => labels(UNATTRIBUTED, reason.word()),
    }
}

/// Labels of all others. No process has both, whatever its name is.
pub fn of_others() -> Labels {
    labels("process", "other").with(UNATTRIBUTED, "other")
}

pub fn labels(name: &str, value: &str) -> Labels {
    Labels::default().with(name, value)
}

type Each<F> = fn(&mut Samples<'_>, &Labels, &F);

fn each_of<F>(
    page: &mut MetricsPage,
    family: &'static MetricFamily,
    rows: &[(Labels, &F)],
    each: Each<F>,
) {
    let mut samples = page.family(family);
    for (labels, figures) in rows {
        each(&mut samples, labels, figures);
    }
}

fn every<T: Word + PartialEq, const N: usize>(
    samples: &mut Samples<'_>,
    labels: &Labels,
    label: &str,
    numbers: &CountsBy<T, N>,
) {
    for (member, number) in numbers.iter() {
        samples.add(&labels.clone().with(label, member.word()), number);
    }
}

fn counted<T: Word + PartialEq, const N: usize>(
    samples: &mut Samples<'_>,
    labels: &Labels,
    label: &str,
    numbers: &CountsBy<T, N>,
) {
    for (member, number) in numbers.counted() {
        samples.add(&labels.clone().with(label, member.word()), number);
    }
}

fn positive(samples: &mut Samples<'_>, labels: &Labels, number: u64) {
    if number > 0 {
        samples.add(labels, number);
    }
}

fn resets(samples: &mut Samples<'_>, labels: &Labels, counts: &Counts, with_zeros: bool) {
    for (direction, numbers) in [
        (ResetDirection::Sent, &counts.reset_sent),
        (ResetDirection::Received, &counts.reset_received),
    ] {
        let labels = labels.clone().with("direction", direction.word());
        if with_zeros {
            every(samples, &labels, "reason", numbers)
        } else {
            counted(samples, &labels, "reason", numbers)
        }
    }
}
