//! Position of the tables in docs/performance.md: between marks, so that the text around them stays. Within a part's
//! marks each section has marks of its own, so that it can be replaced alone.

use anyhow::{Context, Result};

use crate::guest::kernels::SERIES;

/// A generated part of the page.
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

    /// Names of its sections in the order on the page.
    fn sections(self) -> Vec<&'static str> {
        match self {
            Self::Machine => super::SECTIONS.to_vec(),
            Self::Guests => SERIES.iter().map(|series| series.name).collect(),
        }
    }
}

/// Mark at the beginning of a section, followed by its name.
const SECTION: &str = "<!-- section ";
const SECTION_END: &str = " -->\n";

/// The page with a new text for a section of a part. Existing sections stay, in their order.
///
/// # Errors
/// If the page lacks the part's marks.
pub fn replace(page: &str, part: Part, section: &str, text: &str) -> Result<String> {
    let (begin, end) = part.marks();
    let lacks = || format!("docs/performance.md lacks the mark {}", begin.trim());
    let (before, rest) = page.split_once(begin).with_context(lacks)?;
    let (old, after) = rest.split_once(end).with_context(lacks)?;
    let old: Vec<(&str, &str)> = old
        .split(SECTION)
        .filter_map(|piece| piece.split_once(SECTION_END))
        .collect();
    let mut new = String::new();
    for name in part.sections() {
        let kept = old
            .iter()
            .find(|(old, _)| *old == name)
            .map(|(_, text)| *text);
        let text = if name == section { Some(text) } else { kept };
        if let Some(text) = text {
            new += &format!("{SECTION}{name}{SECTION_END}\n{}\n\n", text.trim());
        }
    }
    Ok(format!("{before}{begin}\n{new}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_is_replaced() {
        let page = "a\n<!-- bench -->\nold\n<!-- end of bench -->\nb\n";
        let expected =
            "a\n<!-- bench -->\n\n<!-- section churn -->\n\nnew\n\n<!-- end of bench -->\nb\n";
        let new = replace(page, Part::Machine, "churn", "new\n").unwrap();
        assert_eq!(new, expected);
        assert!(replace(page, Part::Guests, "6.12", "new").is_err());
    }

    #[test]
    fn sections_come_in_order_and_others_stay() {
        let mut page =
            "a\n<!-- bench in guests -->\n<!-- end of bench in guests -->\nb\n".to_owned();
        for (section, text) in [
            ("6.12", "x\n\ny"),
            ("5.10", "z"),
            ("7.3", "w"),
            ("5.10", "v"),
        ] {
            page = replace(&page, Part::Guests, section, text).unwrap();
        }
        let sections = "<!-- section 5.10 -->\n\nv\n\n<!-- section 6.12 -->\n\nx\n\ny\n\n<!-- section 7.3 -->\n\nw\n";
        let expected = format!(
            "a\n<!-- bench in guests -->\n\n{sections}\n<!-- end of bench in guests -->\nb\n"
        );
        assert_eq!(page, expected);
    }
}
