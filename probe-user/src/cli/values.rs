//! Values of options that clap does not parse by itself.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use twtrace_core::event::words::Word;
use twtrace_wire::EventKind;

/// `10s`, `1ms`, `1m 30s`; also a bare 0.
pub fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text)
        .map_err(|error| format!("{error}: write a number with its unit, such as 10s or 500us"))
}

/// How long to measure: `10s`, `5m`; a bare number is seconds. Never 0.
pub fn span(text: &str) -> Result<Duration, String> {
    if text.starts_with("--") {
        return Err("a time is missing before it: write 10s, for example".to_owned());
    }
    let is_bare = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let span = match text.parse() {
        Ok(seconds) if is_bare => Duration::from_secs(seconds),
        _ => duration(text)?,
    };
    if span.is_zero() {
        return Err("nothing can be measured in no time: write 10s, for example".to_owned());
    }
    Ok(span)
}

/// Between two redraws: `2s`, `500ms`; a bare number is seconds.
pub fn interval(text: &str) -> Result<Duration, String> {
    let interval = span(text)?;
    if interval < Duration::from_millis(100) {
        return Err("too short: write 100ms or more".to_owned());
    }
    Ok(interval)
}

/// A pid. Names are a frequent mistake.
pub fn pid(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) => Err("no process has pid 0".to_owned()),
        Ok(pid) => Ok(pid),
        Err(_) if text.bytes().any(|byte| byte.is_ascii_alphabetic()) => {
            Err(format!("not a pid: use --comm {text} for a process's name"))
        }
        Err(_) => Err("not a pid, such as 4711".to_owned()),
    }
}

/// An address and a port to listen on.
pub fn listen(text: &str) -> Result<SocketAddr, String> {
    let port = |port: &str| port.parse::<u16>().ok();
    if let Some(port) = text.strip_prefix("localhost:").and_then(port) {
        return Ok((Ipv4Addr::LOCALHOST, port).into());
    }
    if let Some(port) = text.strip_prefix(':').and_then(port) {
        return Err(format!(
            "no address: write 127.0.0.1:{port}, or 0.0.0.0:{port} for all addresses of this host"
        ));
    }
    text.parse().map_err(|_| {
        "write an address and a port, such as 127.0.0.1:10660 or [::1]:10660".to_owned()
    })
}

/// A name of a host, as requests have it. One with a port would match none.
pub fn host_name(text: &str) -> Result<String, String> {
    let is_part = |part: &str| {
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !part.is_empty() && part.bytes().all(is_of_name)
    };
    if text
        .strip_suffix('.')
        .unwrap_or(text)
        .split('.')
        .all(is_part)
    {
        Ok(text.to_owned())
    } else {
        Err("write a name without scheme and port, such as node1.example".to_owned())
    }
}

/// Bytes: `4096`, `500M` (powers of ten), `2GiB`.
pub fn size(text: &str) -> Result<u64, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let factor: u64 = match unit.trim_start() {
        "" | "B" => 1,
        "k" | "K" | "kB" => 1_000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "T" | "TB" => 1_000_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return Err("write a number of bytes, such as 500M or 2GiB".to_owned()),
    };
    number
        .parse()
        .ok()
        .and_then(|number: u64| number.checked_mul(factor))
        .filter(|bytes| *bytes > 0)
        .ok_or_else(|| "write a number of bytes, such as 500M or 2GiB".to_owned())
}

/// Rows of a table: 1 or more.
pub fn rows(text: &str) -> Result<NonZeroUsize, String> {
    text.parse()
        .map_err(|_| "write a number of rows, such as 10".to_owned())
}

/// A limit for files that are written in parts: smaller ones would hold nothing.
pub fn size_of_files(text: &str) -> Result<u64, String> {
    const SMALLEST: u64 = 1_000;
    match size(text)? {
        bytes if bytes < SMALLEST => Err(format!(
            "{bytes} bytes hold next to nothing: write a size with its unit, such as 500M"
        )),
        bytes => Ok(bytes),
    }
}

/// A file to be written.
pub fn file(text: &str) -> Result<PathBuf, String> {
    match text {
        "-" => Err(
            "a file is written, not standard output: write its name (./- for a file of that name)"
                .to_owned(),
        ),
        _ => Ok(text.into()),
    }
}

/// Parses a power of two within bounds.
pub fn power_of_two(
    low: u32,
    high: u32,
) -> impl Fn(&str) -> Result<u32, String> + Clone + Send + Sync + 'static {
    move |text| {
        text.parse()
            .ok()
            .filter(|number: &u32| number.is_power_of_two() && (low..=high).contains(number))
            .ok_or_else(|| format!("not a power of two from {low} to {high}"))
    }
}

/// Parses one of a set's words.
pub fn words<T: Word + Send + Sync>() -> impl TypedValueParser<Value = T> {
    PossibleValuesParser::new(T::MEMBERS.iter().map(|member| member.word()))
        .try_map(|word| T::from_word(&word).ok_or("not one of the possible values"))
}

/// Parses a kind of event. Accepts what `ss`, tcpdump and programmers call them.
pub fn event_kind() -> impl TypedValueParser<Value = EventKind> {
    let aliases = |kind: EventKind| -> &'static [&'static str] {
        match kind {
            EventKind::TimeWait => &["time-wait", "timewait", "tw"],
            EventKind::TimeWaitOverflow => &["time-wait-overflow", "overflow"],
            EventKind::TimeWaitEnd => &["time-wait-end"],
            EventKind::Reset => &["rst", "resets"],
            EventKind::Abort => &["aborts"],
            EventKind::PortAlloc => &["port-alloc", "port"],
            EventKind::NoAddress => &["no-address"],
        }
    };
    let values = EventKind::MEMBERS
        .iter()
        .map(move |kind| PossibleValue::new(kind.word()).aliases(aliases(*kind).iter().copied()));
    PossibleValuesParser::new(values).try_map(move |word| {
        let mut kinds = EventKind::MEMBERS.iter();
        let is_it = |kind: &&EventKind| kind.word() == word || aliases(**kind).contains(&&*word);
        kinds
            .find(is_it)
            .copied()
            .ok_or("not one of the possible values")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_names_have_no_port() {
        for right in ["node1", "node1.example", "Node-1.example."] {
            assert_eq!(host_name(right).unwrap(), right);
        }
        for wrong in ["", ".", "node1:10660", "http://node1", "*.example", "a..b"] {
            assert!(host_name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_bare_number_is_seconds_and_no_time_is_refused() {
        assert_eq!(span("5"), Ok(Duration::from_secs(5)));
        assert_eq!(span("1m 30s"), Ok(Duration::from_secs(90)));
        for text in ["0", "0s", "0ms", "00"] {
            assert!(span(text).unwrap_err().contains("10s"), "{text}");
        }
        for text in ["", "soon", "5 seconds or so", "99999999999999999999999"] {
            assert!(span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_name_is_not_a_pid() {
        assert_eq!(pid("7"), Ok(7));
        assert!(pid("nginx").unwrap_err().contains("--comm nginx"));
        for text in ["", "0", "-1", "4294967296", "1 2"] {
            assert!(pid(text).is_err(), "{text}");
        }
    }

    #[test]
    fn where_to_listen_is_an_address_and_a_port() {
        assert_eq!(listen("[::1]:7"), Ok("[::1]:7".parse().unwrap()));
        assert_eq!(listen("localhost:7"), Ok("127.0.0.1:7".parse().unwrap()));
        assert!(listen(":7").unwrap_err().contains("127.0.0.1:7"));
        for text in [
            "",
            ":",
            "7",
            "127.0.0.1",
            ":http",
            "localhost",
            "example.org:7",
            ":99999",
        ] {
            let error = listen(text).unwrap_err();
            assert!(error.contains("127.0.0.1:10660"), "{text}: {error}");
        }
    }
}
