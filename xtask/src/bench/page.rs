//! Where the tables go in docs/performance.md: between marks, so that the words around them stay.

use anyhow::{Context, Result};

/// A part of the page that is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Figures of this machine.
    Machine,
    /// Figures of guests.
    Guests,
}

impl Part {
    fn marks(self) -> (&'static str, &'static str) {
        match self {
            Self::Machine => ("<!-- bench -->\n", "<!-- end of bench -->\n"),
            Self::Guests => (
                "<!-- bench in guests -->\n",
                "<!-- end of bench in guests -->\n",
            ),
        }
    }
}

/// The page with another text between the marks.
///
/// # Errors
/// When the page lacks the marks.
pub fn replace(page: &str, part: Part, text: &str) -> Result<String> {
    let (begin, end) = part.marks();
    let lacks = || format!("docs/performance.md lacks the mark {}", begin.trim());
    let (before, rest) = page.split_once(begin).with_context(lacks)?;
    let (_, after) = rest.split_once(end).with_context(lacks)?;
    Ok(format!("{before}{begin}\n{}\n\n{end}{after}", text.trim()))
}

/// Whether a name matches a pattern with `*`.
pub fn matches(glob: &str, name: &str) -> bool {
    match glob.split_once('*') {
        None => glob == name,
        Some((start, rest)) => name.strip_prefix(start).is_some_and(|tail| {
            (0..=tail.len())
                .any(|skipped| tail.get(skipped..).is_some_and(|tail| matches(rest, tail)))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let page = "a\n<!-- bench -->\nold\n<!-- end of bench -->\nb\n";
        let expected = "a\n<!-- bench -->\n\nnew\n\n<!-- end of bench -->\nb\n";
        assert_eq!(replace(page, Part::Machine, "new\n").unwrap(), expected);
        assert!(replace(page, Part::Guests, "new").is_err());
    }

    #[test]
    fn stars_stand_for_anything() {
        assert!(matches("*", "churn") && matches("ch*n", "churn") && matches("churn", "churn"));
        assert!(!matches("ch*x", "churn") && !matches("chur", "churn"));
    }
}
