//! Commands in the blocks of a page of documentation.

use anyhow::{Context as _, Result, bail, ensure};

/// Kinds of blocks without commands.
const WITHOUT_COMMANDS: [&str; 5] = ["text", "toml", "yaml", "json", "promql"];

/// A block of a page.
#[derive(Debug, PartialEq, Eq)]
pub struct Block {
    pub kind: String,
    /// Line of the page on which its contents begin.
    pub line: usize,
    pub text: String,
}

/// A command line, as it stands in a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Line of the page.
    pub line: usize,
    pub command: String,
}

/// All blocks of a page.
///
/// # Errors
/// If one has no end.
pub fn blocks(page: &str) -> Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (number, text) in (1..).zip(page.lines()) {
        match (text.strip_prefix("```"), &mut open) {
            (Some(kind), None) => {
                open = Some(Block {
                    kind: kind.to_owned(),
                    line: number + 1,
                    text: String::new(),
                });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (None, Some(block)) => {
                block.text.push_str(text);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    ensure!(open.is_none(), "a block has no end");
    Ok(blocks)
}

impl Block {
    /// Its commands: of `console` those behind a prompt, of `sh` every line.
    ///
    /// # Errors
    /// If the block is of another kind, or a command has no end.
    pub fn commands(&self) -> Result<Vec<Line>> {
        let has_prompts = match self.kind.as_str() {
            "console" => true,
            "sh" => false,
            kind if WITHOUT_COMMANDS.contains(&kind) => return Ok(Vec::new()),
            kind => bail!("line {}: no kind of block: {kind:?}", self.line - 1),
        };
        let mut commands = Vec::new();
        let mut lines = (self.line..).zip(self.text.lines());
        while let Some((line, text)) = lines.next() {
            let begins = if has_prompts {
                text.strip_prefix("$ ").or_else(|| text.strip_prefix("# "))
            } else {
                Some(text).filter(|text| !text.is_empty() && !text.starts_with('#'))
            };
            let Some(begins) = begins else {
                continue;
            };
            let mut command = begins.to_owned();
            while !is_complete(&command) {
                let (_, more) = lines
                    .next()
                    .with_context(|| format!("line {line}: no end: {command}"))?;
                command.push('\n');
                command.push_str(more);
            }
            commands.push(Line { line, command });
        }
        // Otherwise the kind is wrong, and commands in it would not be run.
        ensure!(!commands.is_empty(), "line {}: no command", self.line);
        Ok(commands)
    }
}

/// Whether a shell would read no further line.
fn is_complete(command: &str) -> bool {
    let mut quote = None;
    let mut is_escaped = false;
    for char in command.chars() {
        match (char, quote) {
            _ if is_escaped => is_escaped = false,
            ('\\', None | Some('"')) => is_escaped = true,
            ('\'' | '"', None) => quote = Some(char),
            (char, Some(open)) if char == open => quote = None,
            _ => {}
        }
    }
    quote.is_none() && !is_escaped && !command.trim_end().ends_with('|')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commands(page: &str) -> Result<Vec<(usize, String)>> {
        let mut found = Vec::new();
        for block in blocks(page)? {
            let lines = block.commands()?.into_iter();
            found.extend(lines.map(|line| (line.line, line.command)));
        }
        Ok(found)
    }

    #[test]
    fn commands_and_output_are_distinguished() -> Result<()> {
        let page = "Text $ no\n\n```console\n$ a | jq '.x\n    | .y'\nout\n# b |\n  c\n```\n\n```sh\n# comment\nd \"e'\" # f\n\ng\n```\n```text\n$ h\n```\n";
        let found = commands(page)?;
        let expected = [
            (4, "a | jq '.x\n    | .y'"),
            (7, "b |\n  c"),
            (13, "d \"e'\" # f"),
            (15, "g"),
        ];
        let expected = expected.map(|(line, command)| (line, command.to_owned()));
        assert_eq!(found, expected);
        Ok(())
    }

    #[test]
    fn what_is_not_known_is_an_error() {
        for (page, says) in [
            ("```\n$ a\n```\n", "line 1: no kind of block: \"\""),
            ("```shell\na\n```\n", "\"shell\""),
            ("```console\nonly output\n```\n", "line 2: no command"),
            ("```console\n$ a 'b\n```\n", "line 2: no end"),
            ("```sh\na\n", "has no end"),
        ] {
            let error = commands(page).map_or_else(|error| error.to_string(), |_| String::new());
            assert!(error.contains(says), "{page}: {error}");
        }
    }
}
