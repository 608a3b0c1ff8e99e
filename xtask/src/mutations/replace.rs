//! One change of a text.

use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

/// Which of several occurrences is meant, and how many there are, so that an added or removed one is noticed.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "String")]
pub struct Occurrence {
    /// Starting at 1.
    number: usize,
    /// Number of occurrences.
    of: usize,
}

impl Default for Occurrence {
    fn default() -> Self {
        Self { number: 1, of: 1 }
    }
}

impl FromStr for Occurrence {
    type Err = anyhow::Error;

    /// Parses `2/3`.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || format!("{text:?} is no occurrence: write 2/3 for the second of three");
        let (number, of) = text.split_once('/').with_context(wrong)?;
        let occurrence = Self {
            number: number.parse().with_context(wrong)?,
            of: of.parse().with_context(wrong)?,
        };
        ensure!((1..=occurrence.of).contains(&occurrence.number), wrong());
        Ok(occurrence)
    }
}

impl TryFrom<String> for Occurrence {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
            .map_err(|error: anyhow::Error| format!("{error:#}"))
    }
}

/// The text with one occurrence of `find` replaced.
///
/// # Errors
/// If it does not occur, or not as often as expected: then it is unclear which one is meant.
pub fn replaced(text: &str, find: &str, replace: &str, occurrence: Occurrence) -> Result<String> {
    let places: Vec<usize> = text.match_indices(find).map(|(at, _)| at).collect();
    if places.len() != occurrence.of {
        bail!(
            "the text to find is there {}, not {}: the list must follow the code",
            times(places.len()),
            times(occurrence.of)
        );
    }
    let at = places[occurrence.number - 1];
    Ok([&text[..at], replace, &text[at + find.len()..]].concat())
}

fn times(number: usize) -> String {
    match number {
        1 => "once".to_owned(),
        _ => format!("{number} times"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONCE: Occurrence = Occurrence { number: 1, of: 1 };

    #[test]
    fn the_only_place_is_replaced() {
        assert_eq!(replaced("a == b", "==", "!=", ONCE).unwrap(), "a != b");
        assert_eq!(replaced("f();\ng();", "f();\n", "", ONCE).unwrap(), "g();");
    }

    #[test]
    fn one_of_several_places_is_named() {
        let second: Occurrence = "2/3".parse().unwrap();
        assert_eq!(replaced("x x x", "x", "y", second).unwrap(), "x y x");
        let error = replaced("x x", "x", "y", second).unwrap_err().to_string();
        assert_eq!(
            error,
            "the text to find is there 2 times, not 3 times: the list must follow the code"
        );
    }

    #[test]
    fn a_text_that_is_missing_or_there_twice_is_not_replaced() {
        let error = |text| replaced(text, "x", "y", ONCE).unwrap_err().to_string();
        assert!(error("a").contains("0 times, not once"));
        assert!(error("x x").contains("2 times, not once"));
    }

    #[test]
    fn occurrences_are_checked() {
        for wrong in ["", "1", "0/2", "3/2", "a/2", "1/"] {
            assert!(wrong.parse::<Occurrence>().is_err(), "{wrong}");
        }
    }
}
