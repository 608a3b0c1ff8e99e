//! The cost of an event on its way through the program, stage by stage: time, and instructions, which do not depend on
//! the day or on other load.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use super::{spread::Spread, table::cell};

/// How much more than committed a stage may take, as a fraction: hash tables differ from run to run.
const TOLERANCE: f64 = 0.05;
/// Rounds that are timed, and rounds whose instructions are counted: the difference of two counts is the cost of the
/// events.
const TIMED: u64 = 2_000;
const COUNTED: [u64; 2] = [4, 24];

/// The program that runs one stage, and the committed figures.
#[derive(Clone, Debug)]
pub struct Given {
    /// The example program `path` of twtrace.
    pub program: PathBuf,
    /// A file of stages and their instructions.
    pub committed: PathBuf,
    /// Whether to write the measured figures to that file.
    pub commit: bool,
}

/// A table of stages.
pub fn measure(given: &Given, runs: u32) -> Result<String> {
    let (events, stages) = stages(&given.program)?;
    let committed = read(&given.committed)?;
    let has_valgrind = Command::new("valgrind").arg("--version").output().is_ok();
    let mut text = format!(
        "### The way of an event\n\nOne thread, {events} events again and again: four TIME_WAITs of ten, as many of \
         their ends, a RST, and a search for a port. Instructions by callgrind, beside those that are committed in \
         `{}`.\n\n\
         | stage | ns/event | instructions/event | committed | change |\n|---|---|---|---|---|\n",
        given.committed.file_name().unwrap_or_default().display()
    );
    let mut counted = BTreeMap::new();
    let mut worse = Vec::new();
    for stage in &stages {
        eprintln!("bench: path, {stage}");
        let times: Vec<f64> = (0..runs.max(3))
            .map(|_| {
                Ok(
                    output(Command::new(&given.program).args([stage, &TIMED.to_string()]))?
                        .parse()?,
                )
            })
            .collect::<Result<_>>()?;
        let known = committed.get(stage).copied();
        let (count, change) = if has_valgrind {
            let [few, many] = COUNTED.map(|rounds| instructions(&given.program, stage, rounds));
            let each = (many? - few?) / ((COUNTED[1] - COUNTED[0]) * events) as f64;
            counted.insert(stage.clone(), each);
            let change = known.map(|known| each / known - 1.0);
            if change.is_some_and(|change| change > TOLERANCE) {
                worse.push(stage.as_str());
            }
            let change =
                change.map_or_else(|| "-".to_owned(), |it| format!("{:+.1} %", it * 100.0));
            (format!("{each:.0}"), change)
        } else {
            ("-".to_owned(), "-".to_owned())
        };
        let known = known.map_or_else(|| "-".to_owned(), |known| format!("{known:.0}"));
        let time = cell(Spread::of(times), 0);
        let _ = writeln!(text, "| {stage} | {time} | {count} | {known} | {change} |");
    }
    text.push('\n');
    if !has_valgrind {
        text += "Instructions are not counted: valgrind is not installed.\n\n";
    }
    if !worse.is_empty() {
        let _ = write!(
            text,
            "More than {:.0} % above what is committed: {}.\n\n",
            TOLERANCE * 100.0,
            worse.join(", ")
        );
    }
    if given.commit && has_valgrind {
        let lines = stages
            .iter()
            .map(|stage| format!("{stage} {:.0}\n", counted[stage]));
        fs::write(&given.committed, lines.collect::<String>())?;
    }
    Ok(text)
}

/// Number of events in a round, and names of stages.
fn stages(program: &Path) -> Result<(u64, Vec<String>)> {
    let said = output(&mut Command::new(program))?;
    let mut words = said.split_whitespace().map(str::to_owned);
    let events = words.next().context("no number of events")?.parse()?;
    Ok((events, words.collect()))
}

/// Empty if there is no file.
fn read(path: &Path) -> Result<BTreeMap<String, f64>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        text => text.with_context(|| path.display().to_string())?,
    };
    let pairs = text.lines().map(|line| {
        let (stage, count) = line.split_once(' ').with_context(|| line.to_owned())?;
        Ok((stage.to_owned(), count.trim().parse()?))
    });
    pairs.collect()
}

fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("{command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Instructions of the whole program.
fn instructions(program: &Path, stage: &str, rounds: u64) -> Result<f64> {
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args([stage, &rounds.to_string()]);
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "valgrind: {said}");
    collected(&said).with_context(|| format!("valgrind: {said}"))
}

/// `==7== Collected : 123456`
fn collected(said: &str) -> Option<f64> {
    let (_, count) = said
        .lines()
        .find_map(|line| line.split_once("Collected : "))?;
    count.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_found_among_what_valgrind_says() {
        let said = "==7== Events    : Ir\n==7== Collected : 190034\n==7==\n";
        assert_eq!(collected(said), Some(190_034.0));
        assert_eq!(collected("==7== Events : Ir"), None);
    }
}
