//! Reads the machine's apt sources: the address of its mirror, and the keys that it is trusted by.

use std::{fs, path::Path};

/// One repository of a Debian machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AptSource {
    /// Address of the mirror, without a trailing slash.
    pub uri: String,
    /// Suites read from it, for example `bookworm` and `bookworm-security`.
    pub suites: Vec<String>,
    /// Components of the suites, for example `main` and `contrib`.
    pub components: Vec<String>,
    /// File with the signing keys, if the source names one.
    pub signed_by: Option<String>,
    /// Whether it is used without a signature (`trusted=yes`).
    pub trusted: bool,
}

impl AptSource {
    /// Whether it serves Debian's security updates.
    pub fn is_security(&self) -> bool {
        self.suites
            .iter()
            .any(|suite| suite.ends_with("-security") || suite.ends_with("/updates"))
    }
}

/// All enabled binary repositories of this machine.
pub fn of_machine() -> Vec<AptSource> {
    let mut sources = Vec::new();
    if let Ok(text) = fs::read_to_string("/etc/apt/sources.list") {
        sources.extend(parse_list(&text));
    }
    let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") else {
        return sources;
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        sources.extend(parse_file(&path));
    }
    sources
}

fn parse_file(path: &Path) -> Vec<AptSource> {
    let Ok(text) = fs::read_to_string(path) else {
        return Vec::new();
    };
    match path.extension().and_then(|e| e.to_str()) {
        Some("list") => parse_list(&text),
        Some("sources") => parse_deb822(&text),
        _ => Vec::new(),
    }
}

/// Parses the one-line format: `deb [options] URI SUITE COMPONENT…`.
pub fn parse_list(text: &str) -> Vec<AptSource> {
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<AptSource> {
    let line = line.split('#').next()?.trim();
    let rest = line.strip_prefix("deb")?;
    if !rest.starts_with([' ', '\t']) {
        return None; // deb-src
    }
    let (options, rest) = match rest.trim_start().strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']')?,
        None => ("", rest),
    };
    let mut words = rest.split_whitespace();
    let uri = words.next()?.trim_end_matches('/').to_owned();
    let suites = vec![words.next()?.to_owned()];
    let components = words.map(str::to_owned).collect();
    let mut source = AptSource {
        uri,
        suites,
        components,
        ..AptSource::default()
    };
    for option in options.split_whitespace() {
        match option.split_once('=') {
            Some(("signed-by", file)) => source.signed_by = key_file(file),
            Some(("trusted", value)) => source.trusted = value == "yes",
            _ => {}
        }
    }
    Some(source)
}

/// Parses the deb822 format: stanzas of `Field: value`, with continuation lines.
pub fn parse_deb822(text: &str) -> Vec<AptSource> {
    let mut sources = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in text.lines().chain([""]) {
        if line.starts_with('#') {
            continue;
        }
        if line.trim().is_empty() {
            sources.extend(sources_of_stanza(&fields));
            fields.clear();
        } else if line.starts_with([' ', '\t']) {
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_ascii_lowercase(), value.trim().to_owned()));
        }
    }
    sources
}

fn sources_of_stanza(fields: &[(String, String)]) -> Vec<AptSource> {
    let field = |name: &str| {
        fields
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    };
    let binary = field("types").is_some_and(|types| types.split_whitespace().any(|t| t == "deb"));
    if !binary || field("enabled") == Some("no") {
        return Vec::new();
    }
    let words = |name: &str| {
        field(name)
            .unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
    };
    words("uris")
        .map(|uri| AptSource {
            uri: uri.trim_end_matches('/').to_owned(),
            suites: words("suites").collect(),
            components: words("components").collect(),
            signed_by: field("signed-by").and_then(key_file),
            trusted: field("trusted") == Some("yes"),
        })
        .collect()
}

/// A key may also be part of the source itself; only files can be named again elsewhere.
fn key_file(value: &str) -> Option<String> {
    value.starts_with('/').then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_sources_are_read_with_their_options() {
        let text = "# comment\n\
            deb http://mirror.example/debian/ bookworm main contrib # more\n\
            deb-src http://mirror.example/debian bookworm main\n\
            deb [arch=amd64 signed-by=/keys/a.gpg trusted=yes] https://b.example/d bookworm-security main\n";
        let sources = parse_list(text);
        assert_eq!(sources.len(), 2);
        assert_eq!(sources[0].uri, "http://mirror.example/debian");
        assert_eq!(sources[0].suites, ["bookworm"]);
        assert_eq!(sources[0].components, ["main", "contrib"]);
        assert!(!sources[0].is_security());
        assert_eq!(sources[1].signed_by.as_deref(), Some("/keys/a.gpg"));
        assert!(sources[1].trusted && sources[1].is_security());
    }

    #[test]
    fn deb822_stanzas_are_read() {
        let text = "Types: deb deb-src\n# mirror\nURIs: http://a.example/debian http://b.example/debian/\n\
            Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: /keys/a.gpg\n\n\
            Types: deb\nURIs: http://c.example/\nSuites: x\nEnabled: no\n\n\
            Types: deb\nURIs: http://a.example/debian-security\nSuites:\n bookworm-security\nSigned-By:\n -----BEGIN PGP\n";
        let sources = parse_deb822(text);
        assert_eq!(sources.len(), 3);
        assert_eq!(sources[1].uri, "http://b.example/debian");
        assert_eq!(sources[0].suites, ["bookworm", "bookworm-updates"]);
        assert_eq!(sources[0].components, ["main"]);
        assert_eq!(sources[0].signed_by.as_deref(), Some("/keys/a.gpg"));
        assert!(sources[2].is_security());
        assert_eq!(sources[2].signed_by, None);
    }
}
