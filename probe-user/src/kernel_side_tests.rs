//! The folders and files of the kernel side and their imports: layers in which imports only point downwards.

use std::collections::{BTreeMap, BTreeSet};

use crate::layer_tests::{code, root};

/// From the lowest to the highest; those in one row do not import each other.
const LAYERS: &[&[&str]] = &[
    &["constants"],
    &["records"],
    &["maps"],
    &["sockets"],
    &["processes"],
    &["mini_sockets"],
    &["totals"],
    &["slots"],
    &["events"],
    &["answers", "descendants", "ports", "time_wait"],
    &["resets"],
    &["connections"],
    &["programs"],
];

/// A module by its path, and the modules that it imports.
type Imports = BTreeMap<Vec<String>, BTreeSet<Vec<String>>>;

/// Collects the paths of one tree of names, such as `a::{b, c::d}`, and returns the text after it.
fn paths<'a>(text: &'a str, mut path: Vec<&'a str>, found: &mut Vec<Vec<&'a str>>) -> &'a str {
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start_matches([' ', '\n', ',']);
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            assert!(!rest.is_empty(), "a group has no end: {text}");
            rest = paths(rest, path.clone(), found);
            // `as` and another name.
            rest = rest.trim_start_matches(|char| char != ',' && char != '}');
        }
    }
    let is_of_name = |char: char| char.is_ascii_alphanumeric() || "_*".contains(char);
    let end = text.find(|char| !is_of_name(char)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    path.push(name);
    if let Some(after) = rest.strip_prefix("::") {
        return paths(after, path, found);
    }
    found.push(path);
    rest
}

/// All paths after a prefix such as `crate::`.
fn paths_behind<'a>(word: &str, text: &'a str) -> Vec<Vec<&'a str>> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices(word) {
        paths(&text[at + word.len()..], Vec::new(), &mut found);
    }
    found
}

/// The module that a path names or is inside of.
fn resolve(modules: &Imports, parent: &[String], path: &[&str]) -> Option<Vec<String>> {
    let names = path.iter().map(|&name| name.to_owned());
    let mut full: Vec<String> = parent.iter().cloned().chain(names).collect();
    while !full.is_empty() && !modules.contains_key(&full) {
        full.pop();
    }
    (!full.is_empty()).then_some(full)
}

/// Every module of the kernel side with its imports; declarations of modules do not count.
fn imports() -> Imports {
    let source = root("../probe-ebpf");
    let mut texts = BTreeMap::new();
    for (file, text) in code(&source) {
        let relative = file.strip_prefix(&source).unwrap().with_extension("");
        let mut names: Vec<String> = relative
            .iter()
            .map(|name| name.to_string_lossy().into_owned())
            .collect();
        names.pop_if(|name| name == "mod");
        texts.insert(names, text);
    }
    texts.remove(&vec!["main".to_owned()]);
    let empty = texts.keys().map(|it| (it.clone(), BTreeSet::new()));
    let modules: Imports = empty.collect();
    let mut all = modules.clone();
    for (module, text) in &texts {
        let parent = &module[..module.len() - 1];
        let below_crate = paths_behind("crate::", text).into_iter();
        let beside = paths_behind("super::", text).into_iter();
        let mut needed: BTreeSet<Vec<String>> = below_crate
            .filter_map(|path| resolve(&modules, &[], &path))
            .chain(beside.filter_map(|path| resolve(&modules, parent, &path)))
            .collect();
        for child in modules.keys().filter(|it| it.starts_with(module)) {
            let name = format!("{}::", child[child.len() - 1]);
            let is_used = |(at, _): (usize, &str)| !text[..at].ends_with(|it: char| it != ' ');
            if child.len() == module.len() + 1 && text.match_indices(&name).any(is_used) {
                needed.insert(child.clone());
            }
        }
        needed.remove(module);
        all.insert(module.clone(), needed);
    }
    all
}

#[test]
fn no_folder_of_the_kernel_side_needs_a_higher_one() {
    let rank = |module: &[String]| {
        let name = module[0].as_str();
        let found = LAYERS.iter().position(|row| row.contains(&name));
        found.unwrap_or_else(|| panic!("{name} has no layer"))
    };
    let mut seen = 0;
    for (module, needed) in imports() {
        for other in needed.iter().filter(|other| other[0] != module[0]) {
            seen += 1;
            assert!(
                rank(other) < rank(&module),
                "{} needs {}, which is no lower layer",
                module.join("::"),
                other.join("::")
            );
        }
    }
    assert!(seen > 150, "only {seen} imports were found");
}

#[test]
fn no_files_of_the_kernel_side_need_each_other() {
    let mut left = imports();
    assert!(left.len() > 50, "only {} files were found", left.len());
    while !left.is_empty() {
        let is_free =
            |needed: &BTreeSet<Vec<String>>| !needed.iter().any(|it| left.contains_key(it));
        let free: Vec<Vec<String>> = left
            .iter()
            .filter(|(_, needed)| is_free(needed))
            .map(|(module, _)| module.clone())
            .collect();
        let names: Vec<String> = left.keys().map(|it| it.join("::")).collect();
        assert!(!free.is_empty(), "in circles or above them: {names:?}");
        left.retain(|module, _| !free.contains(module));
    }
}

#[test]
fn groups_of_imports_are_read_whole() {
    let text = "use crate::{a::{self, B}, c::d as e, f::*};\nlet x = crate::g::h(1);";
    let found = paths_behind("crate::", text);
    let joined: Vec<String> = found.iter().map(|path| path.join("::")).collect();
    assert_eq!(joined, ["a::self", "a::B", "c::d", "f::*", "g::h"]);
}
