//! The list of mutations in `tests/mutations`: checked when it is read, so that a mistake in it does not appear only
//! after half an hour.

use std::{
    collections::BTreeSet,
    fmt, fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::replace::Occurrence;
use crate::{
    guest::kernels::{self, KernelSeries},
    test::scenarios::TierLimit,
    workspace::Workspace,
};

/// Its path, as shown to users.
pub const DIRECTORY: &str = "tests/mutations";

/// One small change that a test must detect.
#[derive(Clone, Debug)]
pub struct Mutation {
    /// Its name: `SIDE/WHAT`.
    pub name: String,
    /// The file, relative to the workspace.
    pub file: String,
    /// The text that is replaced.
    pub find: String,
    /// The replacement.
    pub replace: String,
    /// Which occurrence of the text, if there are several.
    pub occurrence: Occurrence,
    /// The resulting error, in one line.
    pub breaks: String,
    /// The tests that must fail.
    pub tests: Tests,
    /// Why no test can fail, if that is the case.
    pub survives: Option<String>,
}

/// Tests that must fail: all of them are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tests {
    /// Unit tests of a package's library whose path contains one of these.
    Units {
        package: String,
        filters: Vec<String>,
    },
    /// Scenarios whose name matches one of these globs.
    Scenarios { place: PlayedOn, globs: Vec<String> },
}

/// Where to play scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayedOn {
    /// The series of a guest's kernel; `None` for this machine.
    pub kernel: Option<&'static str>,
    /// Which hooks it uses.
    pub tier: TierLimit,
}

impl fmt::Display for PlayedOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kernel {
            Some(kernel) => write!(f, "kernel {kernel} {}", self.tier.name()),
            None => write!(f, "this machine {}", self.tier.name()),
        }
    }
}

impl fmt::Display for Tests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Units { package, filters } => {
                write!(f, "{package}: {}", filters.join(" "))
            }
            Self::Scenarios { place, globs } => write!(f, "{place}: {}", globs.join(" ")),
        }
    }
}

impl Mutation {
    /// Whether it needs a guest.
    pub fn is_for_guests(&self) -> bool {
        matches!(&self.tests, Tests::Scenarios { place, .. } if place.kernel.is_some())
    }

    /// Its place in an order that needs few rebuilds: mutations of the same part with the same kind of tests come one
    /// after the other.
    pub fn rank(&self) -> (bool, u8) {
        let (is_ebpf, is_shared) = (
            self.file.starts_with("probe-ebpf/src/"),
            self.file.starts_with("probe-ebpf/"),
        );
        let rank = match (&self.tests, is_ebpf, is_shared) {
            (Tests::Scenarios { .. }, true, _) => 0,
            (Tests::Scenarios { .. }, false, true) => 1,
            (Tests::Scenarios { .. }, false, false) => 2,
            (Tests::Units { .. }, ..) => 3,
        };
        (self.is_for_guests(), rank)
    }
}

/// An entry as written in the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    file: String,
    find: String,
    replace: String,
    #[serde(default)]
    occurrence: Occurrence,
    breaks: String,
    #[serde(default)]
    units: Vec<String>,
    package: Option<String>,
    #[serde(default)]
    scenarios: Vec<String>,
    tier: Option<String>,
    kernel: Option<String>,
    survives: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    mutation: Vec<Written>,
}

/// Reads the list of the workspace.
pub fn read(workspace: &Workspace) -> Result<Vec<Mutation>> {
    read_from(&workspace.root.join(DIRECTORY))
}

fn read_from(directory: &Path) -> Result<Vec<Mutation>> {
    let failed = |path: &Path| format!("can't read {}", path.display());
    let entries = fs::read_dir(directory).with_context(|| failed(directory))?;
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<PathBuf>>>()?;
    paths.retain(|path| {
        path.extension()
            .is_some_and(|extension| extension == "toml")
    });
    paths.sort();
    let mut mutations: Vec<Mutation> = Vec::new();
    let mut names = BTreeSet::new();
    for path in paths {
        let text = fs::read_to_string(&path).with_context(|| failed(&path))?;
        for mutation in parse(&text).with_context(|| path.display().to_string())? {
            let name = &mutation.name;
            ensure!(names.insert(name.clone()), "{name} is there twice");
            mutations.push(mutation);
        }
    }
    ensure!(
        !mutations.is_empty(),
        "there are no mutations in {}",
        directory.display()
    );
    Ok(mutations)
}

fn parse(text: &str) -> Result<Vec<Mutation>> {
    let file: File = toml::from_str(text)?;
    let checked = |written: Written| {
        let name = written.name.clone();
        checked(written).with_context(|| name)
    };
    file.mutation.into_iter().map(checked).collect()
}

fn checked(written: Written) -> Result<Mutation> {
    let path = Path::new(&written.file);
    ensure!(
        path.is_relative() && !written.file.contains(".."),
        "{} leads out of the workspace",
        written.file
    );
    ensure!(!written.find.is_empty(), "there is nothing to find");
    ensure!(written.find != written.replace, "it changes nothing");
    ensure!(!written.breaks.is_empty(), "it does not say what it breaks");
    let tests = tests(&written)?;
    Ok(Mutation {
        name: written.name,
        file: written.file,
        find: written.find,
        replace: written.replace,
        occurrence: written.occurrence,
        breaks: written.breaks,
        tests,
        survives: written.survives,
    })
}

fn tests(written: &Written) -> Result<Tests> {
    match (written.units.is_empty(), written.scenarios.is_empty()) {
        (true, true) => bail!("it names no tests"),
        (false, false) => bail!("it names unit tests and scenarios"),
        (false, true) => {
            ensure!(
                written.tier.is_none() && written.kernel.is_none(),
                "unit tests have no tier and no kernel"
            );
            let package = match &written.package {
                Some(package) => package.as_str(),
                None if written.file.starts_with("probe-ebpf/wire/") => "twtrace-wire",
                None if written.file.starts_with("probe-user/core/") => "twtrace-core",
                None => "probe-user",
            };
            Ok(Tests::Units {
                package: package.to_owned(),
                filters: written.units.clone(),
            })
        }
        (true, false) => {
            ensure!(written.package.is_none(), "scenarios have no package");
            let kernel = written.kernel.as_deref().map(kernels::series).transpose()?;
            Ok(Tests::Scenarios {
                place: PlayedOn {
                    kernel: kernel.map(|series: &KernelSeries| series.name),
                    tier: tier(written.tier.as_deref().unwrap_or("best"))?,
                },
                globs: written.scenarios.clone(),
            })
        }
    }
}

const TIERS: [TierLimit; 5] = [
    TierLimit::Best,
    TierLimit::NoFentry,
    TierLimit::Tracepoints,
    TierLimit::Classic,
    TierLimit::Inferred,
];

fn tier(name: &str) -> Result<TierLimit> {
    let mut all = TIERS.into_iter();
    all.find(|tier| tier.name() == name)
        .with_context(|| format!("there is no tier {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mutations::replace::replaced;

    const UNITS: &str = r#"
        [[mutation]]
        name = "user/a"
        file = "probe-user/src/a.rs"
        find = 'x'
        replace = ''
        breaks = "all"
        units = ["a::"]
    "#;

    fn with(line: &str) -> Result<Vec<Mutation>> {
        parse(&format!("{UNITS}{line}"))
    }

    #[test]
    fn tests_are_of_the_package_that_is_changed() {
        let wire = UNITS.replace("probe-user/src", "probe-ebpf/wire/src");
        for (text, package) in [(UNITS, "probe-user"), (&wire, "twtrace-wire")] {
            let expected = Tests::Units {
                package: package.to_owned(),
                filters: vec!["a::".to_owned()],
            };
            assert_eq!(parse(text).unwrap()[0].tests, expected);
        }
        let other = with("package = 'xtask'").unwrap();
        assert_eq!(other[0].tests.to_string(), "xtask: a::");
    }

    #[test]
    fn scenarios_are_played_here_unless_a_kernel_is_named() {
        let here = UNITS.replace("units", "scenarios");
        let mutation = |text: &str| parse(text).unwrap().remove(0);
        let first = mutation(&here);
        assert_eq!(first.tests.to_string(), "this machine best: a::");
        assert!(!first.is_for_guests());
        let guest = mutation(&format!("{here}kernel = '6.1'\ntier = 'no-fentry'"));
        assert_eq!(guest.tests.to_string(), "kernel 6.1 no-fentry: a::");
        assert!(guest.is_for_guests() && guest.rank() > first.rank());
    }

    #[test]
    fn mistakes_are_named() {
        for (line, word) in [
            ("scenarios = ['b']", "unit tests and scenarios"),
            ("tier = 'best'", "no tier"),
            ("teir = 'best'", "teir"),
            ("occurrence = '3/2'", "occurrence"),
        ] {
            let error = format!("{:#}", with(line).unwrap_err());
            assert!(error.contains(word), "{error}");
        }
        for (from, to, word) in [
            ("replace = ''", "replace = 'x'", "changes nothing"),
            ("find = 'x'", "find = ''", "nothing to find"),
            ("probe-user/src", "/etc", "leads out"),
            ("probe-user/src", "../x", "leads out"),
            ("units = [\"a::\"]", "units = []", "no tests"),
            (
                "units = [\"a::\"]",
                "scenarios = ['a']\ntier = 'x'",
                "no tier",
            ),
        ] {
            let error = format!("{:#}", parse(&UNITS.replace(from, to)).unwrap_err());
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn the_list_follows_the_code() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let all = read_from(&root.join(DIRECTORY)).unwrap();
        let is_of = |it: &&Mutation, side: &str| it.file.starts_with(side);
        for (side, least) in [("probe-ebpf/src/", 22), ("probe-user/", 18)] {
            assert!(all.iter().filter(|it| is_of(it, side)).count() >= least);
        }
        for it in all {
            let code = fs::read_to_string(root.join(&it.file))
                .unwrap_or_else(|error| panic!("{}: {}: {error}", it.name, it.file));
            let changed = replaced(&code, &it.find, &it.replace, it.occurrence);
            changed.unwrap_or_else(|error| panic!("{}: {}: {error:#}", it.name, it.file));
        }
    }
}
