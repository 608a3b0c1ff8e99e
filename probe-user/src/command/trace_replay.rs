//! `twtrace trace --from`

use std::io::{BufWriter, Write};
use std::process::ExitCode;

use anyhow::Result;
use twtrace_core::event::event_json::EventJson;
use twtrace_core::event::json;
use twtrace_core::event::text::escape;
use twtrace_core::model::observation::ObservationData;
use twtrace_core::model::tally::TracingStart;

use super::notice;
use super::offline;
use super::source::replay::{Replay, note, outcome};
use crate::cli::ViewArgs;
use crate::output::progress::Progress;
use crate::output::target::OutputTarget;
use crate::output::trace_lines::TraceLines;
use crate::record::entry::Entry;

/// Prints the events of recordings, merged by time. If there are several, each line begins with the host.
///
/// # Errors
/// If a recording can't be read to its end, or the output can't be written.
pub fn run(args: &ViewArgs) -> Result<ExitCode> {
    let target = OutputTarget::open(args.output.output.as_deref(), false)?;
    offline::read_only_from(&args.from.from, &[args.output.output.as_deref()]);
    let Replay {
        mut recordings,
        filter,
        mut names,
    } = Replay::open(&args.from, &args.filter)?;
    if recordings.lack_parts() {
        notice("parts of the recording are missing: their events are not shown");
    }
    let hosts = Hosts::of(recordings.tracing_starts());
    let page = target.page().wide(args.output.wide);
    let mut lines = TraceLines::new(page.width.map(|width| hosts.left(width)));
    let (stream, _) = target.into_stream()?;
    let mut out = BufWriter::with_capacity(1 << 16, stream);
    let mut text = Vec::new();
    if args.span.json {
        for start in recordings.starts() {
            json::append(&mut text, &start.line())?;
        }
    } else {
        hosts.line(&mut text, "HOST", &lines.heading())
    }
    let mut event_json = EventJson::default();
    let mut progress = Progress::new(true);
    loop {
        out.write_all(&text)?;
        text.clear();
        let Some((index, entry)) = recordings.next() else {
            break;
        };
        progress.tick(|| recordings.progress());
        let host = hosts.name(index);
        if let Some(names) = &mut names {
            note(names, &entry);
        }
        match (&entry, args.span.json) {
            (Entry::Event(event), _) if !filter.matches(event) => {}
            (Entry::Event(event), true) => {
                hosts.json(&mut text, host, |text| event_json.append(text, event))?;
            }
            (Entry::Event(event), false) => {
                for line in lines.before(index, event) {
                    hosts.line(&mut text, "HOST", &line);
                }
                hosts.line(&mut text, host, &lines.event(index, event));
            }
            (Entry::Lost(lost), true) => {
                hosts.json(&mut text, host, |text| json::append(text, lost))?;
            }
            (Entry::Lost(lost), false) => hosts.line(&mut text, host, &lines.lost(lost)),
            (Entry::Observation(observation), false) => {
                if let ObservationData::Names(names) = &observation.data {
                    lines.name(index, names);
                }
            }
            (Entry::Start(_) | Entry::Observation(_), _) => {}
        }
    }
    out.flush()?;
    drop(progress);
    outcome(recordings)?;
    if let Some(names) = names {
        names.check_netns(&filter.netns)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Names of hosts, if there are several recordings.
struct Hosts {
    names: Vec<String>,
    width: usize,
}

/// In lines for users, names of hosts are truncated to this many characters.
const MAX_WIDTH: usize = 24;
/// After them.
const GAP: &str = "  ";

impl Hosts {
    fn of<'a>(tracing_starts: impl Iterator<Item = &'a TracingStart>) -> Self {
        let names: Vec<String> = tracing_starts
            .map(|tracing_start| tracing_start.host.name.clone())
            .collect();
        let lengths = names.iter().map(|name| escape(name).chars().count());
        Self {
            width: lengths.max().unwrap_or(0).clamp(4, MAX_WIDTH),
            names,
        }
    }

    /// What is left of a page's width beside the names.
    fn left(&self, width: usize) -> usize {
        if self.are_several() {
            width.saturating_sub(self.width + GAP.len())
        } else {
            width
        }
    }

    fn are_several(&self) -> bool {
        self.names.len() > 1
    }

    fn name(&self, index: usize) -> &str {
        self.names.get(index).map_or("", String::as_str)
    }

    fn line(&self, text: &mut Vec<u8>, host: &str, line: &str) {
        if self.are_several() {
            let host: String = escape(host).chars().take(self.width).collect();
            let width = self.width;
            text.extend(format!("{host:<width$}{GAP}").into_bytes());
        }
        text.extend_from_slice(line.as_bytes());
        text.push(b'\n');
    }

    /// The object unchanged, with the host in front.
    fn json(
        &self,
        text: &mut Vec<u8>,
        host: &str,
        append: impl FnOnce(&mut Vec<u8>) -> serde_json::Result<()>,
    ) -> Result<()> {
        let begin = text.len();
        append(text)?;
        if self.are_several() {
            let field = format!("\"host\":{},", serde_json::to_string(host)?);
            text.splice(begin + 1..=begin, field.into_bytes());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use twtrace_core::event::samples;

    use super::*;

    fn hosts(names: &[&str]) -> Hosts {
        Hosts {
            names: names.iter().map(ToString::to_string).collect(),
            width: 6,
        }
    }

    #[test]
    fn the_host_is_named_where_there_are_several() {
        let event = samples::abort();
        let of = |names: &[&str]| {
            let mut text = Vec::new();
            hosts(names)
                .json(&mut text, "a\"b", |text| json::append(text, &event))
                .unwrap();
            hosts(names).line(&mut text, "a\x1b", "line");
            String::from_utf8(text).unwrap()
        };
        let alone = serde_json::to_string(&event).unwrap();
        assert_eq!(of(&["a"]), format!("{alone}\nline\n"));
        let several = of(&["a", "b"]);
        let with_host = alone.replacen('{', r#"{"host":"a\"b","#, 1);
        assert_eq!(several, format!("{with_host}\na\\x1b   line\n"));
    }
}
