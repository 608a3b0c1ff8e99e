//! Everything that users read: pages, files to deploy, help, manual pages, schemas, explanations, and the texts in the
//! code.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory, ValueEnum};
use serde_json::Value;
use twtrace_core::explain;

use crate::cli::Cli;
use crate::command::man;
use crate::schema::{self, OutputKind};

/// A text that users read.
pub struct Place {
    /// File, or command that prints it.
    pub path: String,
    /// Line of the file on which the text begins.
    pub line: usize,
    pub text: String,
}

/// Root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// All of them.
pub fn all() -> Vec<Place> {
    let mut places = Vec::new();
    pages(&mut places);
    helps(&mut places);
    schemas(&mut places);
    explanations(&mut places);
    for path in files("probe-user") {
        let is_tested = path.ends_with(".rs") && !path.ends_with("tests.rs");
        if is_tested && !path.ends_with("samples.rs") && !path.contains("/samples/") {
            literals(&path, &read(&path), &mut places);
        }
    }
    places
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Paths of all files below a folder, from the root.
fn files(folder: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let path = format!("{folder}/{}", entry.file_name().into_string().unwrap());
        if entry.path().is_dir() {
            paths.extend(files(&path));
        } else {
            paths.push(path);
        }
    }
    paths.sort();
    paths
}

fn pages(places: &mut Vec<Place>) {
    let mut add = |path: &str, text: String| {
        places.push(Place {
            path: path.to_owned(),
            line: 1,
            text,
        });
    };
    for path in files("docs").into_iter().chain(["README.md".to_owned()]) {
        // The list itself.
        if path.ends_with(".md") && path != "docs/style.md" {
            add(&path, without_code(&read(&path)));
        }
    }
    let changes = read("CHANGELOG.md");
    let released = changes.match_indices("\n## ").nth(1);
    let end = released.map_or(changes.len(), |(at, _)| at);
    add("CHANGELOG.md", without_code(&changes[..end]));
    for path in files("deploy") {
        add(&path, read(&path));
    }
}

/// Markdown without the names in its text: code in backquotes. What programs print stays.
fn without_code(page: &str) -> String {
    let mut kept = String::new();
    let mut is_block = false;
    for line in page.lines() {
        let is_fence = line.starts_with("```");
        is_block ^= is_fence;
        if is_block || is_fence {
            kept.push_str(line);
        } else {
            for (n, part) in line.split('`').enumerate() {
                kept.push_str(if n % 2 == 0 { part } else { "|" });
            }
        }
        kept.push('\n');
    }
    kept
}

fn helps(places: &mut Vec<Place>) {
    let mut cli = Cli::command();
    cli.build();
    let mut add = |path: String, text: String| {
        places.push(Place {
            path,
            line: 1,
            text,
        });
    };
    add("twtrace --help".to_owned(), long(&cli));
    let verbs: Vec<Command> = cli.get_subcommands().cloned().collect();
    for verb in verbs.into_iter().filter(|verb| verb.get_name() != "help") {
        let name = verb.get_name().to_owned();
        let short = verb.clone().render_help().to_string();
        add(format!("twtrace {name} -h"), short);
        add(format!("twtrace {name} --help"), long(&verb));
        let page = String::from_utf8(man::page(Some(&name)).unwrap()).unwrap();
        // Names of options, and of fields with their types, have a line each.
        let page = page.replace("\\-", "-");
        let is_text = |line: &&str| !line.starts_with("\\fB");
        let page: Vec<&str> = page.lines().filter(is_text).collect();
        let page = page.join("\n");
        add(format!("twtrace man {name}"), page);
    }
}

fn long(command: &Command) -> String {
    command.clone().render_long_help().to_string()
}

fn schemas(places: &mut Vec<Place>) {
    for kind in OutputKind::value_variants() {
        let schema = serde_json::to_value(schema::of(*kind)).unwrap();
        let name = kind.to_possible_value().unwrap();
        let path = format!("twtrace schema {}", name.get_name());
        descriptions(&path, &schema, places);
    }
}

fn descriptions(path: &str, value: &Value, places: &mut Vec<Place>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if name == "description" || name == "title" => {
                        places.push(Place {
                            path: path.to_owned(),
                            line: 1,
                            text: without_code(text),
                        });
                    }
                    _ => descriptions(path, member, places),
                }
            }
        }
        Value::Array(elements) => {
            for element in elements {
                descriptions(path, element, places);
            }
        }
        _ => {}
    }
}

fn explanations(places: &mut Vec<Place>) {
    for explain::Explanation { id, text, .. } in explain::all() {
        for part in [text.brief, text.means, text.why, text.to_do, text.do_not] {
            places.push(Place {
                path: format!("twtrace explain {id}"),
                line: 1,
                text: part.to_owned(),
            });
        }
    }
}

/// Strings of a file of code: sentences and headings. Its comments, unit tests and single lower-case words, which are
/// names, are left out.
fn literals(path: &str, code: &str, places: &mut Vec<Place>) {
    let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let mut rest = code;
    while let Some(at) = rest.find(['"', '/', '\'']) {
        let here = &rest[at..];
        let length = if here.starts_with("//") {
            here.find('\n').unwrap_or(here.len())
        } else if here.starts_with("'\"'") || here.starts_with("'\\'") {
            3
        } else if here.starts_with('"') {
            let hashes = rest[..at].len() - rest[..at].trim_end_matches('#').len();
            let is_raw = rest[..at].trim_end_matches('#').ends_with('r');
            let length = length_of_string(here, is_raw.then_some(hashes));
            let text = &here[1..length];
            // The reason of an attribute is a comment.
            let is_comment = rest[..at].ends_with("reason = ");
            if !is_comment && (text.contains(' ') || text.starts_with(char::is_uppercase)) {
                places.push(Place {
                    path: path.to_owned(),
                    line: code[..code.len() - here.len()].matches('\n').count() + 1,
                    text: without_code(&text.replace("\\n", "  ").replace("\\\"", " ")),
                });
            }
            length
        } else {
            1
        };
        rest = &here[length..];
    }
}

/// Bytes up to behind the closing quote.
fn length_of_string(text: &str, hashes_if_raw: Option<usize>) -> usize {
    if let Some(hashes) = hashes_if_raw {
        let end = format!("\"{}", "#".repeat(hashes));
        return text[1..]
            .find(&end)
            .map_or(text.len(), |at| 1 + at + end.len());
    }
    let mut is_escaped = false;
    for (at, char) in text.char_indices().skip(1) {
        match char {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[test]
fn strings_are_found_with_their_lines() {
    let code = "// \"not this\"\nlet a = \"One \\\" two\";\nlet q = '\"'; name(\"budget\");\nlet b = r#\"Raw \" text\"#;\n";
    let mut places = Vec::new();
    literals("x.rs", code, &mut places);
    let found: Vec<_> = places.iter().map(|it| (it.line, it.text.trim())).collect();
    assert_eq!(found, [(2, "One   two\""), (4, "Raw \" text\"#")]);
}

#[test]
fn names_in_backquotes_are_no_words() {
    assert_eq!(
        without_code("a `b` c\n```sh\n`d`\n```\n"),
        "a | c\n```sh\n`d`\n```\n"
    );
}
