//! Counts over time: one plot per kind, all over the same time.

use maud::{Markup, html};
use twtrace_core::event::quantity::duration;
use twtrace_core::model::report::Report;
use twtrace_core::model::timeline::{Bucket, Timeline};
use twtrace_wire::Side;

use super::text::grouped;
use super::{HtmlPage, figures, plot, section};

/// A plot: its name, the count of an interval, and its fill.
type Plot = (&'static str, fn(&Bucket) -> u64, &'static str);

const KINDS: [Plot; 8] = [
    (
        "TIME_WAIT as client",
        |it| it.time_wait.of(Side::Client),
        "tw",
    ),
    (
        "TIME_WAIT as server",
        |it| it.time_wait.of(Side::Server),
        "tw",
    ),
    (
        "TIME_WAIT, side unknown",
        |it| it.time_wait.of(Side::Unknown),
        "tw",
    ),
    ("TIME_WAIT refused", |it| it.overflow, "bad"),
    ("RST sent", |it| it.reset_sent, "rst"),
    ("RST received", |it| it.reset_received, "rst"),
    ("Port allocations failed", |it| it.port_failures, "bad"),
    ("Events lost", |it| it.lost, "bad"),
];

/// Plots of the kinds that occurred; the others are listed.
pub fn render(page: &HtmlPage) -> Markup {
    let start_ns = page.timeline.start_mono_ns;
    let whole = page
        .timeline
        .until(start_ns.saturating_add(page.report.duration_ns));
    let sum = whole.sum();
    let counted = Bucket {
        // Only the timeline has these.
        lost: sum.lost,
        ..figures::sums(page.report)
    };
    let happened = |kind: &&Plot| kind.1(&sum) > 0 || kind.1(&counted) > 0;
    let (some, none): (Vec<&Plot>, Vec<&Plot>) = KINDS.iter().partition(happened);
    let differences = differences(&sum, &counted);
    let body = html! {
        @if some.is_empty() {
            p { "None of these happened: " (names(&none)) "." }
        } @else {
            @for kind in some { (row(&whole, kind)) }
            (axis(&whole))
            p.note {
                "From events, in intervals of " (duration(whole.width_ns))
                "; each plot has a scale of its own, from 0 to its peak."
                @if !none.is_empty() { " None: " (names(&none)) "." }
            }
            @if !differences.is_empty() {
                p.note { "Other than the sums above: " (differences.join("; ")) ". " (why(page.report)) }
            }
        }
    };
    section("timeline", "Timeline", &body)
}

/// Where events differ from the totals, which are counted in the kernel.
fn differences(sum: &Bucket, counted: &Bucket) -> Vec<String> {
    let kinds = KINDS
        .iter()
        .map(|(name, number, _)| (name, number(sum), number(counted)));
    let differing = kinds.filter(|(_, events, sums)| events != sums);
    differing
        .map(|(name, events, sums)| {
            let (by, word) = if events > sums {
                (events - sums, "more")
            } else {
                (sums - events, "less")
            };
            let (events, sums, by) = (grouped(events), grouped(sums), grouped(by));
            format!("{name}: {events} in events, {sums} in the sums ({by} {word})")
        })
        .collect()
}

/// Why they differ.
fn why(report: &Report) -> String {
    let lost: u64 = report
        .lost
        .iter()
        .filter(|row| row.probe.is_event())
        .map(|row| row.count)
        .sum();
    let mut why = Vec::new();
    if lost > 0 {
        why.push(format!(
            "{} events were lost, and the sums have them",
            grouped(lost)
        ));
    }
    if !report.exact.processes {
        why.push("the sums marked ≥ are lower bounds, and events have more".to_owned());
    }
    if why.is_empty() {
        why.push(
            "the sums are read from the kernel at the end, and what happens at that moment may be in one of them only"
                .to_owned(),
        );
    }
    format!("That is because {}.", why.join("; "))
}

fn names(kinds: &[&Plot]) -> String {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.0).collect();
    names.join(", ")
}

fn row(whole: &Timeline, (name, number, class): &Plot) -> Markup {
    let values: Vec<u64> = whole.buckets.iter().map(number).collect();
    let sum: u64 = values.iter().sum();
    let peak = values.iter().copied().max().unwrap_or(0);
    let at = values.iter().position(|value| *value == peak).unwrap_or(0);
    let peak_at = &whole.starts_at(at).time_of_day_us()[..8];
    let width = duration(whole.width_ns);
    let alternative = format!(
        "{name}: {} in all; the most in {width}: {}, at {peak_at}",
        grouped(sum),
        grouped(peak)
    );
    html! {
        div.kind {
            div.label {
                b { (name) }
                span { (grouped(sum)) }
                small { "peak " (grouped(peak)) " in " (width) ", at " (peak_at) }
            }
            div class={ "plot " (class) } { (plot::steps(&values, &alternative)) }
        }
    }
}

/// Wall-clock times under the plots.
fn axis(whole: &Timeline) -> Markup {
    let count = whole.buckets.len();
    html! {
        div.axis aria-hidden="true" {
            @for quarter in 0..=4 {
                span { (&whole.starts_at(count * quarter / 4).time_of_day_us()[..8]) }
            }
        }
    }
}
