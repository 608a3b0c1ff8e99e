//! Filters that are typed while a view is open: the same words as on the command line.

use clap::Parser;
use twtrace_core::event::words::Word;
use twtrace_core::filter::Filter;

use super::FilterArgs;
use crate::enrich::netns_arg::NetnsArg;

/// A command line of filters alone.
#[derive(Debug, Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct Words {
    #[command(flatten)]
    filter: FilterArgs,
}

/// Parses a typed filter. Quotes keep blanks in a name together.
///
/// # Errors
/// The error, in one line.
pub fn display_filter(text: &str) -> Result<Filter, String> {
    let words = split(text)?;
    let words = Words::try_parse_from(words).map_err(|error| in_one_line(&error))?;
    words
        .filter
        .unchecked()
        .map_err(|error| format!("{:#}", anyhow::Error::from(error)))
}

/// The words of such a filter; empty for none.
pub fn filter_words(args: &FilterArgs) -> String {
    let mut words = Vec::new();
    let mut add = |option: &str, values: Vec<String>| {
        words.extend(values.iter().map(|value| format!("--{option} {value}")));
    };
    add("pid", texts(&args.pid));
    add("comm", args.comm.clone());
    add("container", texts(&args.container));
    add("pod", texts(&args.pod));
    add("unit", texts(&args.unit));
    add("local", texts(&args.local));
    add("remote", texts(&args.remote));
    add("netns", args.netns.iter().map(of_netns).collect());
    add(
        "side",
        args.side.iter().map(|it| it.word().into()).collect(),
    );
    add(
        "event",
        args.event.iter().map(|it| it.word().into()).collect(),
    );
    words.join(" ")
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(T::to_string).collect()
}

fn of_netns(netns: &NetnsArg) -> String {
    match netns {
        NetnsArg::Inode(inode) => inode.to_string(),
        NetnsArg::Path(path) => path.display().to_string(),
        NetnsArg::Name(name) => name.clone(),
    }
}

/// The first line of clap's message, and the values it would accept.
fn in_one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    let text = lines.join(" ");
    text.strip_prefix("error: ").unwrap_or(&text).to_owned()
}

/// Splits words like a shell: separated by blanks, except within quotes.
fn split(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for char in text.chars() {
        match (quote, char) {
            (Some(open), _) if char == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(char);
                word.get_or_insert_default();
            }
            (None, _) if char.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(char),
        }
    }
    words.extend(word);
    match quote {
        Some(open) => Err(format!("a {open} is not closed")),
        None => Ok(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_command_line() {
        let filter =
            display_filter("--pid 4000000000 --comm 'my proxy' --remote :80 --event reset")
                .unwrap();
        assert_eq!(filter.pids, [4_000_000_000]);
        assert_eq!(filter.comms, ["my proxy"]);
        assert_eq!(filter.remote.len(), 1);
        assert!(display_filter("  ").unwrap().is_by_process());
    }

    #[test]
    fn words_come_back() {
        let text = "--pid 7 --comm nginx --container 0123456789ab --pod 3f1b2c4d --unit a.service --remote [::1]:80 --netns 42 --side client --event reset";
        let args = Words::try_parse_from(text.split(' ')).unwrap().filter;
        assert_eq!(filter_words(&args), text);
    }

    #[test]
    fn mistakes_are_told_in_a_line() {
        for (text, word) in [
            ("--side left", "possible values: unknown, client, server"),
            ("--remote example.org", "10.0.0.0/8"),
            ("nginx", "nginx"),
            ("--help", "--help"),
            ("--comm 'x", "not closed"),
            ("--netns /proc/0/ns/net", "/proc/0/ns/net"),
            ("--container abc", "6 digits"),
        ] {
            let mistake = display_filter(text).unwrap_err();
            assert!(mistake.contains(word), "{mistake}");
            assert!(!mistake.contains('\n'), "{mistake}");
        }
    }
}
