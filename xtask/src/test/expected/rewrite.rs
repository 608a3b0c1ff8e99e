//! Writes the numbers of a run into `tests/expected.toml`, and keeps its comments.

use anyhow::{Context, Result, ensure};

use super::super::result::{Numbers, PhaseResult, PhaseVerdict};

/// What to do if numbers have changed for a reason.
pub const HOW: &str = "`cargo xtask test --update-expected` does it";

const SECTION: &str = "[phases]";
const KERNEL: &str = "machine_kernel";

/// The text with the numbers of these results, and how many lines changed.
///
/// # Errors
/// If a result is not successful, or the text has no section for numbers.
pub fn rewrite(text: &str, results: &[PhaseResult], release: &str) -> Result<(String, usize)> {
    let ill: Vec<&str> = results
        .iter()
        .filter(|result| !result.is_well())
        .map(|result| result.name.as_str())
        .collect();
    ensure!(ill.is_empty(), "not all is well: {}", ill.join(", "));
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut changed = 0;
    for result in results {
        let Some((passed, skipped)) = numbers(result) else {
            continue;
        };
        ensure!(passed > 0, "{}: none passed", result.name);
        let line = match skipped {
            0 => format!("\"{}\" = {{ passed = {passed} }}", result.name),
            _ => format!(
                "\"{}\" = {{ passed = {passed}, skipped = {skipped} }}",
                result.name
            ),
        };
        changed += usize::from(put(&mut lines, &result.name, line)?);
        if result.numbers != Numbers::AtLeast && result.name.starts_with("this machine") {
            changed += usize::from(put_kernel(&mut lines, release)?);
        }
    }
    lines.push(String::new());
    Ok((lines.join("\n"), changed))
}

/// The numbers of a phase that was run in full, under the same conditions as the numbers in the file.
fn numbers(result: &PhaseResult) -> Option<(u32, u32)> {
    match (&result.verdict, result.numbers) {
        (PhaseVerdict::Tests(tests), Numbers::AtLeast) => Some((tests.passed, tests.left_out)),
        (PhaseVerdict::Scenarios(outcome), Numbers::Same | Numbers::SameSum) => {
            outcome.counts.map(|counts| (counts.passed, counts.skipped))
        }
        // A guest that is not emulated plays more.
        _ => None,
    }
}

/// Replaces the line of the phase, or adds it after the others; returns whether that made a difference.
fn put(lines: &mut Vec<String>, name: &str, line: String) -> Result<bool> {
    let begin = lines
        .iter()
        .position(|line| line.trim() == SECTION)
        .with_context(|| format!("there is no section {SECTION}"))?
        + 1;
    let length = lines[begin..]
        .iter()
        .position(|line| line.starts_with('['))
        .unwrap_or(lines.len() - begin);
    let key = format!("\"{name}\" =");
    let section = &mut lines[begin..begin + length];
    if let Some(old) = section.iter_mut().find(|line| line.starts_with(&key)) {
        let differs = *old != line;
        *old = line;
        return Ok(differs);
    }
    let used = section
        .iter()
        .rposition(|line| !line.is_empty())
        .map_or(0, |last| last + 1);
    lines.insert(begin + used, line);
    Ok(true)
}

/// Notes the kernel of the machine's numbers: `6.18` from `6.18.44-cloud`.
fn put_kernel(lines: &mut [String], release: &str) -> Result<bool> {
    let line = lines
        .iter_mut()
        .find(|line| line.starts_with(KERNEL))
        .with_context(|| format!("there is no {KERNEL}"))?;
    let numbers: Vec<&str> = release.split(['.', '-']).take(2).collect();
    let new = format!("{KERNEL} = \"{}\"", numbers.join("."));
    let differs = *line != new;
    *line = new;
    Ok(differs)
}
