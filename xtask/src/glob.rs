//! Globs for names: `*` for any sequence of characters, `?` for one.

/// Whether a name matches.
pub fn matches(glob: &str, name: &str) -> bool {
    let Some(first) = glob.chars().next() else {
        return name.is_empty();
    };
    let rest = &glob[first.len_utf8()..];
    let mut ends = name.char_indices().map(|(at, c)| at + c.len_utf8());
    match first {
        '*' => matches(rest, name) || ends.any(|end| matches(rest, &name[end..])),
        '?' => ends.next().is_some_and(|end| matches(rest, &name[end..])),
        other => name
            .strip_prefix(other)
            .is_some_and(|name| matches(rest, name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_and_question_marks_stand_for_others() {
        assert!(matches("*", "churn"));
        assert!(matches("*", ""));
        assert!(matches("ch*", "churn"));
        assert!(matches("*a*e", "scale"));
        assert!(matches("*/v?", "ends/expired/v6"));
        assert!(matches("churn", "churn"));
        assert!(!matches("churn", "churns"));
        assert!(!matches("*/v?", "ends/expired/v"));
        assert!(!matches("?", ""));
        assert!(!matches("s*", "churn"));
    }
}
