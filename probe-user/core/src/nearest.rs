//! The known name that a wrong one is most similar to, for messages.

/// Longer names are compared by this many characters: the names may come from untrusted processes, and the time grows
/// with the square.
const MAX_CHARS: usize = 64;

/// The most similar of the known names; `None` if none is similar enough to be meant. A transposition counts as one
/// mistake; upper and lower case do not matter. Up to a third of the characters, and at least one, may be wrong.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let begin = |name: &str| -> String {
        let lower = name.chars().flat_map(char::to_lowercase);
        lower.take(MAX_CHARS).collect()
    };
    let wrong = begin(wrong);
    let distance = |name: &str| {
        let name = begin(name);
        let (lengths, limit) = lengths(&wrong, &name);
        if lengths > limit {
            return None;
        }
        let distance = strsim::damerau_levenshtein(&wrong, &name);
        (distance <= limit).then_some(distance)
    };
    let similar = known
        .into_iter()
        .filter_map(|name| Some((distance(name)?, name)));
    similar.min().map(|(_, name)| name)
}

/// By how much the lengths of two names differ, and how many mistakes are accepted.
fn lengths(one: &str, other: &str) -> (usize, usize) {
    let (one, other) = (one.chars().count(), other.chars().count());
    (one.abs_diff(other), (one.max(other) / 3).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_similar_name_is_found() {
        let known = ["nginx", "ngrok", "curl", "php-fpm"];
        for (wrong, found) in [
            ("ngnix", Some("nginx")),
            ("NGINX", Some("nginx")),
            ("culr", Some("curl")),
            ("php_fpm", Some("php-fpm")),
            ("haproxy", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong, known), found, "{wrong}");
        }
        assert_eq!(nearest("x", []), None);
        let long = "x".repeat(1 << 20);
        assert_eq!(nearest(&long, ["y"]), None);
    }
}
