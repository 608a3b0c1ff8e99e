//! Words that users are not to read: the table of `docs/style.md`, compared with everything that they read.

use std::collections::BTreeSet;
use std::fs;

use crate::words_read_tests::{Place, all, root};

/// Where such a word is the right one: the beginning of a place, the word, and the reason.
const ALLOWED: &[(&str, &str, &str)] = &[
    (
        "README.md",
        "question",
        "what users ask, not what hooks answer",
    ),
    (
        "CHANGELOG.md",
        "question",
        "what users ask, not what hooks answer",
    ),
    (
        "docs/comparison.md",
        "question",
        "what users ask, not what hooks answer",
    ),
    (
        "docs/experiments/README.md",
        "question",
        "what users ask, not what hooks answer",
    ),
    (
        "docs/glossary.md",
        "birth",
        "defines the word that the code uses",
    ),
    (
        "docs/history.md",
        "budget",
        "a table of the history, in SQL",
    ),
    (
        "docs/glossary.md",
        "budget",
        "defines the word of JSON fields",
    ),
    (
        "twtrace report",
        "budget",
        "a value of --by, which keeps its name",
    ),
    (
        "twtrace man report",
        "budget",
        "a value of --by, which keeps its name",
    ),
];

/// A row of the table: a word or several, and what to write instead.
#[derive(Debug)]
struct Avoided {
    words: Vec<String>,
    /// A heading in capitals: lower case is plain English.
    is_label: bool,
    instead: String,
}

fn avoided() -> Vec<Avoided> {
    let page = fs::read_to_string(root().join("docs/style.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| "));
    let mut found = Vec::new();
    for row in rows.filter(|row| !row.starts_with("do not write")) {
        let (cell, instead) = row.split_once(" | ").unwrap();
        let cell = cell.split(" (").next().unwrap();
        for phrase in cell.split(", ") {
            let is_label = phrase.chars().all(|char| !char.is_lowercase());
            let words = phrase.split_whitespace();
            found.push(Avoided {
                words: words.map(|word| cased(word, is_label)).collect(),
                is_label,
                instead: instead.trim_end_matches(" |").to_owned(),
            });
        }
    }
    found
}

fn cased(word: &str, is_label: bool) -> String {
    if is_label {
        word.to_owned()
    } else {
        word.to_lowercase()
    }
}

impl Avoided {
    /// Lines of a text on which it begins; the last word may be a plural.
    fn lines(&self, tokens: &[Token<'_>]) -> Vec<usize> {
        let begins = |at: &[Token<'_>]| {
            let is_apart = |token: &Token<'_>| token.follows_space;
            at[1..].iter().all(is_apart)
                && at
                    .iter()
                    .zip(&self.words)
                    .enumerate()
                    .all(|(n, (it, word))| {
                        let read = cased(it.word, self.is_label);
                        let is_last = n + 1 == self.words.len();
                        read == *word || is_last && read.strip_suffix('s') == Some(word)
                    })
        };
        let windows = tokens.windows(self.words.len());
        let found = windows.filter(|window| begins(window) && !is_identifier(window));
        found.map(|window| window[0].line).collect()
    }
}

/// A word of a text.
struct Token<'a> {
    word: &'a str,
    line: usize,
    before: Option<char>,
    after: Option<char>,
    /// Nothing is between it and the word before, except the marks of a comment.
    follows_space: bool,
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let is_part = |char: char| char.is_alphanumeric() || char == '_';
    let (mut tokens, mut end, mut line) = (Vec::new(), 0, 1);
    while let Some(start) = text[end..].find(is_part).map(|at| end + at) {
        let gap = &text[end..start];
        let length = text[start..].find(|char| !is_part(char));
        let last = end;
        end = length.map_or(text.len(), |length| start + length);
        line += gap.matches('\n').count();
        tokens.push(Token {
            word: &text[start..end],
            line,
            before: text[..start].chars().next_back(),
            after: text[end..].chars().next(),
            follows_space: last > 0 && gap.chars().all(|char| " \n\\#/".contains(char)),
        });
    }
    tokens
}

/// Whether it is a name that keeps its form: of a field, an option, a value or a path.
fn is_identifier(window: &[Token<'_>]) -> bool {
    let before = window[0].before;
    let after = window[window.len() - 1].after;
    before.is_some_and(|char| ".-/$|={".contains(char))
        || after.is_some_and(|char| "-|=/}".contains(char))
}

/// The words of a place: `place:line: word`.
fn found_in(place: &Place, avoided: &[Avoided], used: &mut BTreeSet<usize>) -> Vec<String> {
    let text = place.text.replace("--by budget", "--by");
    let tokens = tokens(&text);
    let mut found = Vec::new();
    for it in avoided {
        let word = it.words.join(" ");
        let allowed = ALLOWED
            .iter()
            .position(|(path, allowed, _)| place.path.starts_with(path) && *allowed == word);
        for line in it.lines(&tokens) {
            match allowed {
                Some(allowed) => {
                    used.insert(allowed);
                }
                None => found.push(format!(
                    "{}:{}: \"{word}\"; write: {}",
                    place.path,
                    place.line + line - 1,
                    it.instead
                )),
            }
        }
    }
    found
}

#[test]
fn users_read_no_word_to_avoid() {
    let avoided = avoided();
    assert!(avoided.len() > 20, "{avoided:?}");
    let places = all();
    let mut used = BTreeSet::new();
    let mut found: Vec<String> = Vec::new();
    for place in &places {
        found.extend(found_in(place, &avoided, &mut used));
    }
    assert!(
        found.is_empty(),
        "words that docs/style.md excludes:\n{}",
        found.join("\n")
    );
    for (n, (path, word, _)) in ALLOWED.iter().enumerate() {
        assert!(used.contains(&n), "{path} no longer has \"{word}\"");
    }
}

/// Every kind of text is there: a path that moved would otherwise no longer be checked.
#[test]
fn everything_that_users_read_is_checked() {
    let places = all();
    for (part, at_least) in [
        ("README.md", 1),
        ("CHANGELOG.md", 1),
        ("docs/experiments/", 5),
        ("docs/recipes.md", 1),
        ("deploy/grafana/", 1),
        ("deploy/prometheus/", 2),
        ("twtrace report -h", 1),
        ("twtrace report --help", 1),
        ("twtrace man serve", 1),
        ("twtrace schema report", 50),
        ("twtrace explain ", 200),
        ("probe-user/core/src/doctor/", 100),
        ("probe-user/core/src/hooks/", 20),
        ("probe-user/src/output/prometheus/families.rs", 50),
        ("probe-user/src/cli/", 10),
    ] {
        let count = places.iter().filter(|it| it.path.contains(part)).count();
        assert!(count >= at_least, "{part}: {count}");
    }
}

fn found_in_text(text: &str) -> Vec<usize> {
    let place = Place {
        path: "page".to_owned(),
        line: 1,
        text: text.to_owned(),
    };
    let found = found_in(&place, &avoided(), &mut BTreeSet::new());
    let line = |it: String| it.split(':').nth(1).unwrap().parse().unwrap();
    found.into_iter().map(line).collect()
}

#[test]
fn words_are_found_and_names_are_not() {
    for (text, lines) in [
        ("It goes.\nWhoever\nGoes", vec![1, 3, 2]),
        ("a look\n# at it", vec![1, 1]),
        ("Tell them of budgets.", vec![1]),
        ("\"What is wrong\"", vec![1]),
        ("RUNS IN", vec![1]),
    ] {
        let mut expected: Vec<usize> = lines;
        let mut found = found_in_text(text);
        expected.sort_unstable();
        found.sort_unstable();
        assert_eq!(found, expected, "{text}");
    }
    for text in [
        "--by budget, budget_full, .budgets[0], --by name|budget",
        "it runs in a namespace, foregone, outgoes",
        "/proc/budget, budget=5",
        "He looked. At noon",
    ] {
        assert_eq!(found_in_text(text), [0; 0], "{text}");
    }
}

/// The list is in one place, and every allowed word is one of it.
#[test]
fn allowed_words_are_on_the_list() {
    let listed: BTreeSet<String> = avoided().iter().map(|it| it.words.join(" ")).collect();
    for (path, word, reason) in ALLOWED {
        assert!(
            listed.contains(*word) && !reason.is_empty(),
            "{path}: {word}"
        );
    }
}
