use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::*;

fn ids(kind: Kind) -> BTreeSet<&'static str> {
    let all = all().into_iter();
    all.filter(|it| it.kind == kind).map(|it| it.id).collect()
}

fn file(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(root.join(path)).unwrap()
}

/// Ids of findings in the code of the checks: the quoted words behind `id:`, up to `title`.
fn emitted() -> BTreeSet<String> {
    emitted_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/doctor"))
}

fn emitted_in(directory: &Path) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            ids.extend(emitted_in(&path));
            continue;
        }
        if path.to_string_lossy().ends_with("_tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        for field in code.split(" id: ").skip(1) {
            let value = field.split(" title").next().unwrap();
            let quoted = value.split('"').skip(1).step_by(2);
            ids.extend(quoted.map(str::to_owned));
        }
    }
    ids
}

#[test]
fn every_finding_has_a_text() {
    let emitted = emitted();
    assert!(emitted.len() > 15, "{emitted:?}");
    let explained: BTreeSet<String> = ids(Kind::Finding).into_iter().map(str::to_owned).collect();
    assert_eq!(emitted, explained);
}

#[test]
fn every_finding_of_the_documentation_exists() {
    let page = file("../../docs/doctor.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let listed: BTreeSet<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    assert_eq!(listed, ids(Kind::Finding));
}

/// Checks that all words of a set are explained.
fn explains<T: Word>(kinds: &[Kind]) {
    for member in T::MEMBERS {
        let is_explained = kinds.iter().any(|kind| ids(*kind).contains(member.word()));
        assert!(is_explained, "{}", member.word());
    }
}

#[test]
fn every_word_of_a_set_has_a_text() {
    use twtrace_wire::{AbortReason, EndCause, EventKind, ReuseRefusal, Unattributed};
    explains::<ResetReason>(&[Kind::ResetSent, Kind::ResetReceived]);
    explains::<AbortReason>(&[Kind::Abort]);
    explains::<EndCause>(&[Kind::EndCause]);
    explains::<ReuseRefusal>(&[Kind::ReuseRefusal]);
    explains::<Unattributed>(&[Kind::NoProcess]);
    explains::<EventKind>(&[Kind::Event]);
    for (kind, schema) in [
        (Kind::Capability, schemars::schema_for!(Question)),
        (Kind::Tier, schemars::schema_for!(Tier)),
        (Kind::NoHolder, schemars::schema_for!(NoHolder)),
    ] {
        let variants = schema.get("oneOf").unwrap().as_array().unwrap();
        let words: BTreeSet<&str> = variants
            .iter()
            .filter_map(|variant| variant.get("const")?.as_str())
            .collect();
        assert_eq!(words, ids(kind));
    }
    let known = |id: &&str| crate::event::errno::Errno::from_name(id).is_some();
    assert!(ids(Kind::Errno).iter().all(known));
}

#[test]
fn no_id_is_there_twice_and_every_text_is_complete() {
    let mut seen = BTreeSet::new();
    for Explanation { kind, id, text } in all() {
        assert!(seen.insert((kind, plain(id))), "{id}");
        assert!(!text.brief.is_empty() && !text.means.is_empty(), "{id}");
        assert!(!text.brief.ends_with('.'), "{id}: {}", text.brief);
        for (_, part) in text.parts() {
            assert!(part.is_empty() || part.ends_with('.'), "{id}: {part}");
            assert!(!text.do_not.starts_with("Do not"), "{id}: {}", text.do_not);
            assert!(!part.contains("  "), "{id}: {part}");
        }
        if kind == Kind::Finding {
            assert!(!text.why.is_empty() && !text.to_do.is_empty(), "{id}");
        }
    }
}

/// Ids in texts (`twtrace explain ID`, or a word with an underscore that is a finding's) lead somewhere.
#[test]
fn texts_refer_to_ids_that_exist() {
    let mut seen = 0;
    for Explanation { id, text, .. } in all() {
        for (_, part) in text.parts() {
            for reference in part.split("twtrace explain ").skip(1) {
                let end = reference.find('`').unwrap();
                assert!(!find(&reference[..end]).is_empty(), "{id}: {reference}");
                seen += 1;
            }
        }
    }
    assert!(seen > 5, "{seen}");
}

#[test]
fn words_are_found_in_any_case_and_with_spaces() {
    let kinds = |id| find(id).iter().map(|it| it.kind).collect::<Vec<_>>();
    assert_eq!(kinds("Budget_Full"), [Kind::Finding]);
    assert_eq!(kinds("eaddrnotavail"), [Kind::Errno]);
    assert_eq!(kinds("full in"), [Kind::Column]);
    assert_eq!(kinds("full_in"), [Kind::Column]);
    assert_eq!(kinds("raw-tracepoint"), [Kind::Tier]);
    assert_eq!(kinds("timeout"), [Kind::ResetSent, Kind::Abort]);
    assert_eq!(kinds("refused"), [Kind::ResetReceived, Kind::Column]);
    // The most general first.
    assert_eq!(kinds("TIME_WAIT")[..2], [Kind::Term, Kind::Event]);
    assert_eq!(kinds("(before tracing)"), [Kind::Term]);
    assert!(kinds("no such word").is_empty());
}

#[test]
fn a_mistyped_id_is_guessed() {
    assert_eq!(nearest("budgetfull"), Some("budget_full"));
    assert_eq!(nearest("EADRNOTAVAIL"), Some("EADDRNOTAVAIL"));
    assert_eq!(nearest("close_wait_leek"), Some("close_wait_leak"));
    assert_eq!(nearest("qqqq"), None);
    assert_eq!(nearest("asdf"), None);
}
