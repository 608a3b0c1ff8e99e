//! How each command of the documentation is run, and which are not.

use super::blocks::Line;
use crate::runner;

/// How to run a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Not in a test.
    NotRun,
    /// It has to end with one of these exit codes; the last field is what it prints then.
    Run(&'static [i32], &'static str),
}

/// Pattern of a page, pattern of a command, why it is not run.
const NOT_RUN: &[(&str, &str, &str)] = &[
    ("*", "*cargo *", "builds, tests or measures everything"),
    ("*", "twtrace top *", "needs a terminal: top/* tests it"),
    (
        "docs/development.md",
        "cd tests/fuzz",
        "belongs to a run of the fuzzer",
    ),
    (
        "docs/packages.md",
        "*",
        "installs and starts a package: cargo xtask dist --test-guest does so",
    ),
    (
        "docs/metrics.md",
        "promtool *",
        "serve/prometheus runs it, where promtool is installed",
    ),
    (
        "docs/privileges.md",
        "setcap *",
        "changes an installed program",
    ),
];

/// Pattern of a page, pattern of a command, exit codes, what it prints then, why. Of other commands the exit code is 0.
const ENDS_OTHERWISE: &[(&str, &str, &[i32], &str, &str)] = &[
    (
        "*",
        "*--since 03:00 --until 03:20",
        &[0, 1],
        "",
        "the fixtures are of now, not of that night",
    ),
    (
        "README.md",
        "*doctor *--fail-on critical",
        &[0, 3],
        "",
        "the host may have such a finding",
    ),
    (
        "docs/containers.md",
        "*--container abc",
        &[2],
        "too short for the beginning of an id",
        "shows the error",
    ),
    (
        "docs/serve.md",
        "*wrong.toml*",
        &[2],
        "there is no option \"lisen\"",
        "shows the error",
    ),
    (
        "docs/privileges.md",
        "*-all,+bpf,+perfmon --inh-caps*",
        &[1],
        "missing CAP_DAC_READ_SEARCH",
        "shows the error",
    ),
];

fn matches(pattern: &str, text: &str) -> bool {
    runner::selected(&[pattern.to_owned()], text)
}

/// How to run a command of a page.
pub fn of(page: &str, line: &Line) -> Kind {
    let is_it = |of: &str, command: &str| matches(of, page) && matches(command, &line.command);
    if NOT_RUN.iter().any(|(of, command, _)| is_it(of, command)) {
        return Kind::NotRun;
    }
    let otherwise = ENDS_OTHERWISE
        .iter()
        .find(|(of, command, ..)| is_it(of, command));
    otherwise.map_or(Kind::Run(&[0], ""), |(_, _, codes, says, _)| {
        Kind::Run(codes, says)
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Result;

    use super::{super::pages, *};

    /// Commands of all pages.
    fn all() -> Result<Vec<(String, Line)>> {
        let mut all = Vec::new();
        for page in pages()? {
            for block in super::super::blocks::blocks(&page.text)? {
                let lines = block.commands()?.into_iter();
                all.extend(lines.map(|line| (page.path.clone(), line)));
            }
        }
        Ok(all)
    }

    #[test]
    fn every_command_of_every_page_is_read() -> Result<()> {
        let all = all()?;
        let run = all
            .iter()
            .filter(|(page, line)| of(page, line) != Kind::NotRun);
        let run: Vec<_> = run.collect();
        assert!(run.len() > 50, "only {} of {}", run.len(), all.len());
        let of_page = |page: &str| run.iter().filter(|(of, _)| of == page).count();
        assert!(of_page("README.md") > 18, "{}", of_page("README.md"));
        assert!(of_page("docs/recipes.md") > 12);
        Ok(())
    }

    /// What a list names is in a page; and it has a reason.
    #[test]
    fn lists_name_commands_that_exist() -> Result<()> {
        let all = all()?;
        let not_run = NOT_RUN.iter().map(|(of, command, why)| (of, command, why));
        let otherwise = ENDS_OTHERWISE
            .iter()
            .map(|(of, command, _, _, why)| (of, command, why));
        for (of, command, why) in not_run.chain(otherwise) {
            let is_it = |(page, line): &(String, Line)| {
                matches(of, page) && matches(command, &line.command)
            };
            assert!(all.iter().any(is_it), "{of}: {command}");
            assert!(!why.is_empty());
        }
        Ok(())
    }
}
