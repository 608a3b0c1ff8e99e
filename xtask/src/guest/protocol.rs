//! Lines of a guest's first process (`tests/src/bin/guest_init.rs`) on its second serial line, between the output of
//! the commands it runs.

/// Prefix of guest_init's own lines.
const MARK: &str = "@@twtrace ";

/// One line from a guest.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// The guest is set up; commands follow.
    Ready,
    /// The command with that index begins.
    Begin(usize),
    /// The command that ran last has ended, with this exit code (128 + n for signal n).
    Exit(i32),
    /// All commands are done.
    End,
    /// Output of a command, or a message of guest_init.
    Text(&'a str),
}

impl<'a> Line<'a> {
    /// Distinguishes a marked line from other text.
    pub fn parse(text: &'a str) -> Self {
        let Some(mark) = text.strip_prefix(MARK) else {
            return Self::Text(text);
        };
        let (word, rest) = mark.split_once(' ').unwrap_or((mark, ""));
        let parsed = match word {
            "ready" => Some(Self::Ready),
            "begin" => rest.parse().ok().map(Self::Begin),
            "exit" => rest.parse().ok().map(Self::Exit),
            "end" => Some(Self::End),
            _ => None,
        };
        parsed.unwrap_or(Self::Text(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_told_from_text() {
        assert_eq!(Line::parse("@@twtrace ready"), Line::Ready);
        assert_eq!(Line::parse("@@twtrace begin 2"), Line::Begin(2));
        assert_eq!(Line::parse("@@twtrace exit 137"), Line::Exit(137));
        assert_eq!(
            Line::parse("@@twtrace exit x"),
            Line::Text("@@twtrace exit x")
        );
        assert_eq!(
            Line::parse("ok @@twtrace end"),
            Line::Text("ok @@twtrace end")
        );
    }
}
