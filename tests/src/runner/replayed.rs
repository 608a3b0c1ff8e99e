//! The output of a trace is also a recording: its replay must print the same.

use std::{
    fs::File,
    io::{self, BufReader, Seek as _},
    os::fd::AsRawFd as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use super::{Context, verdicts::Verdict};

/// Reads the output with `twtrace trace --json --from`, and compares the lines.
pub fn compare(context: &Context, mut output: File) -> Result<Verdict> {
    output.rewind()?;
    // It has no name. Opened again, it has a position of its own.
    let again = File::open(format!("/proc/self/fd/{}", output.as_raw_fd()))?;
    let mut child = Command::new(&context.twtrace)
        .args(["trace", "--json", "--from", "-"])
        .stdin(again)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start the replay")?;
    let replay = child.stdout.take().context("no output")?;
    let first = first_difference(BufReader::new(output), BufReader::new(replay))?;
    let done = child.wait_with_output()?;
    let mut wrong = Vec::new();
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        wrong.push(format!(
            "the replay ended with {}: {}",
            done.status,
            said.trim()
        ));
    }
    wrong.extend(first);
    Ok(Verdict::of(wrong))
}

fn first_difference(
    live: impl io::BufRead,
    replay: impl io::BufRead,
) -> io::Result<Option<String>> {
    let (mut live, mut replay) = (live.split(b'\n'), replay.split(b'\n'));
    let mut number = 0;
    loop {
        number += 1;
        let (live, replay) = (live.next().transpose()?, replay.next().transpose()?);
        if live != replay {
            let text = |line: Option<Vec<u8>>| match line {
                Some(line) => String::from_utf8_lossy(&line).into_owned(),
                None => "nothing".to_owned(),
            };
            return Ok(Some(format!(
                "line {number} is {}, and was {}",
                text(replay),
                text(live)
            )));
        }
        if live.is_none() {
            return match number {
                // The first line is the `start` event.
                0..=2 => Ok(Some("no event was told".to_owned())),
                _ => Ok(None),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(live: &str, replay: &str) -> Option<String> {
        first_difference(live.as_bytes(), replay.as_bytes()).unwrap()
    }

    #[test]
    fn each_line_is_compared() {
        assert_eq!(difference("s\na\n", "s\na\n"), None);
        for replay in ["s\nb\n", "s\n", "s\na\na\n"] {
            assert!(difference("s\na\n", replay).is_some_and(|said| said.contains("line")));
        }
        assert!(difference("s\n", "s\n").is_some());
    }
}
