//! The output of `explain`.

use std::fmt::Write;

use twtrace_core::explain::{self, Explanation};

use super::page::Page;
use super::wrap;

/// Lines of a wider terminal would be tiring to read.
const MAX_WIDTH: usize = 100;

/// The explanations of one word.
pub fn texts(found: &[Explanation], page: Page) -> String {
    let width = width(page);
    let mut text = String::new();
    for (number, it) in found.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        // Writing to a String does not fail.
        let _ = writeln!(text, "{} ({})", page.bold(it.id), it.kind.name());
        wrap::append(&mut text, "  ", &format!("{}.", it.text.brief), width);
        for (label, part) in it.text.parts() {
            if !part.is_empty() {
                wrap::append(&mut text, &format!("  {label:<6}  "), part, width);
            }
        }
    }
    text
}

/// All ids by kind, one per line.
pub fn list(page: Page) -> String {
    let all = explain::all();
    let width = width(page);
    let mut text = String::new();
    for of_kind in all.chunk_by(|a, b| a.kind == b.kind) {
        let Some(first) = of_kind.first() else {
            continue;
        };
        if !text.is_empty() {
            text.push('\n');
        }
        // Writing to a String does not fail.
        let _ = writeln!(text, "{}", page.bold(first.kind.heading()));
        let widths = of_kind.iter().map(|it| it.id.chars().count());
        let column = widths.max().unwrap_or(0);
        for it in of_kind {
            let padding = column - it.id.chars().count();
            let line = format!("  {}{}  {}", it.id, " ".repeat(padding), it.text.brief);
            text.extend(line.chars().take(width));
            text.push('\n');
        }
    }
    text
}

fn width(page: Page) -> usize {
    page.width.unwrap_or(wrap::WIDTH).clamp(20, MAX_WIDTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_with_two_meanings_has_two_texts() {
        let text = texts(&explain::find("timeout"), Page::default());
        assert!(
            text.starts_with("timeout (reason of a RST sent)\n"),
            "{text}"
        );
        assert!(text.contains("\n\ntimeout (reason of a connection that ended without RST)\n"));
        assert!(text.contains("\n  Do      See `peer_silent_ns`"), "{text}");
    }

    #[test]
    fn everything_fits_into_80_columns_and_into_a_terminal() {
        let narrow = Page {
            width: Some(40),
            ..Page::default()
        };
        for (page, width) in [(Page::default(), 80), (narrow, 40)] {
            let all = explain::all();
            for line in texts(&all, page).lines().chain(list(page).lines()) {
                let is_heading = !line.starts_with(' ');
                let is_word = !line.trim().contains(' ');
                assert!(
                    line.chars().count() <= width || is_heading || is_word,
                    "{line}"
                );
            }
        }
        // No phrase is cut off there.
        let listed = list(Page::default());
        for it in explain::all() {
            assert!(listed.contains(it.text.brief), "{}", it.text.brief);
        }
    }

    /// Headings in the code of tables: texts before an alignment.
    fn headings() -> Vec<String> {
        let output = crate::layer_tests::root("").join("output");
        let mut headings = Vec::new();
        for folder in ["overview", "table", "tiers.rs", "difference.rs"] {
            for (_, code) in crate::layer_tests::code(&output.join(folder)) {
                let mut parts = code.split("\", Align::").peekable();
                while let (Some(before), Some(_)) = (parts.next(), parts.peek()) {
                    headings.extend(before.rsplit('"').next().map(str::to_owned));
                }
            }
        }
        // Those of top. One text is about RSTs of both directions.
        for (_, code) in crate::layer_tests::code(&output.join("tui/pane")) {
            for before in ["right(\"", "column(\"", "heading: \""] {
                let found = code.split(before).skip(1);
                headings.extend(found.filter_map(|it| Some(it.split('"').next()?.to_owned())));
            }
        }
        headings.retain(|heading| heading != "RST</s" && heading != "%");
        // Those of tables by different things.
        let others = [
            "COMMAND",
            "UNIT",
            "CONTAINER",
            "POD",
            "PROCESS",
            "DESTINATION",
        ];
        headings.extend(others.map(str::to_owned));
        let of_trace = crate::output::trace_lines::HEADINGS;
        headings.extend(of_trace.map(str::to_owned));
        headings.retain(|heading| !heading.is_empty());
        headings
    }

    #[test]
    fn every_column_has_a_text_and_every_text_a_column() {
        let headings = headings();
        assert!(headings.len() > 100, "{headings:?}");
        let is_column = |it: &&Explanation| it.kind == explain::Kind::Column;
        for heading in &headings {
            let found = explain::find(heading);
            assert!(
                found.iter().any(|it| is_column(&it) && it.id == heading),
                "{heading}"
            );
        }
        for it in explain::all().iter().filter(is_column) {
            assert!(headings.iter().any(|heading| heading == it.id), "{}", it.id);
        }
    }
}
