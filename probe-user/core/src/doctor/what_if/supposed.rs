//! What is supposed of a host: settings and a load that it does not have.

use std::fmt;
use std::str::FromStr;

use crate::model::budget::ports::PortRange;
use crate::model::budget::sysctls::{TwReuse, TwTimeout};

/// One supposition, `NAME=VALUE`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// `tcp_tw_reuse`
    TwReuse(TwReuse),
    /// `ip_local_port_range`, also `range`
    Range(PortRange),
    /// `tcp_tw_timeout`, of kernels that have it
    TwTimeout(TwTimeout),
    /// `keepalive`: the fraction of connections that are not opened since an open one is used again, 0 to 1.
    KeepAlive(f64),
    /// `destinations`: to how many addresses or ports the connections to one go instead.
    Destinations(u16),
}

/// All suppositions, each name at most once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Supposed {
    /// `tcp_tw_reuse`
    pub tw_reuse: Option<TwReuse>,
    /// `ip_local_port_range`
    pub range: Option<PortRange>,
    /// `tcp_tw_timeout`
    pub tw_timeout: Option<TwTimeout>,
    /// See [`Change::KeepAlive`].
    pub keepalive: Option<f64>,
    /// See [`Change::Destinations`].
    pub destinations: Option<u16>,
}

/// An invalid supposition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SupposedError {
    /// Not of the form, or an unknown name.
    #[error(
        "{0:?}: write NAME=VALUE with one of the names tcp_tw_reuse, ip_local_port_range (or range), tcp_tw_timeout, \
         keepalive and destinations"
    )]
    Name(String),
    /// A value that the name does not take.
    #[error("{name}={value}: write {expected}")]
    Value {
        /// The name.
        name: &'static str,
        /// The value.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A name twice.
    #[error("{0} is given twice")]
    Twice(&'static str),
}

impl Change {
    fn name(self) -> &'static str {
        match self {
            Self::TwReuse(_) => "tcp_tw_reuse",
            Self::Range(_) => "ip_local_port_range",
            Self::TwTimeout(_) => "tcp_tw_timeout",
            Self::KeepAlive(_) => "keepalive",
            Self::Destinations(_) => "destinations",
        }
    }
}

impl FromStr for Change {
    type Err = SupposedError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || SupposedError::Name(text.to_owned());
        let (name, value) = text.split_once('=').ok_or_else(unknown)?;
        let number = || value.parse::<u64>().ok();
        let (name, change, expected) = match name.trim() {
            "tcp_tw_reuse" => (
                "tcp_tw_reuse",
                number().and_then(TwReuse::from_number).map(Self::TwReuse),
                "0 (never), 1 (always) or 2 (between loopback addresses)",
            ),
            "ip_local_port_range" | "range" => (
                "range",
                // The second is the kernel's form.
                value.replace('-', " ").parse().ok().map(Self::Range),
                "two ports such as 1024-65535",
            ),
            "tcp_tw_timeout" => (
                "tcp_tw_timeout",
                number()
                    .and_then(TwTimeout::from_seconds)
                    .map(Self::TwTimeout),
                "seconds, at least 1",
            ),
            "keepalive" => (
                "keepalive",
                value
                    .parse()
                    .ok()
                    .filter(|part| (0.0..=1.0).contains(part))
                    .map(Self::KeepAlive),
                "a number from 0 to 1: the part of the connections that would not be opened",
            ),
            "destinations" => (
                "destinations",
                value
                    .parse()
                    .ok()
                    .filter(|count| *count > 0)
                    .map(Self::Destinations),
                "a number from 1 to 65535: to how many addresses the connections to one would go",
            ),
            _ => return Err(unknown()),
        };
        change.ok_or_else(|| SupposedError::Value {
            name,
            value: value.to_owned(),
            expected,
        })
    }
}

impl Supposed {
    /// Combines them.
    ///
    /// # Errors
    /// If a name is given twice.
    pub fn of(changes: &[Change]) -> Result<Self, SupposedError> {
        let mut supposed = Self::default();
        for change in changes {
            let is_twice = match *change {
                Change::TwReuse(reuse) => supposed.tw_reuse.replace(reuse).is_some(),
                Change::Range(range) => supposed.range.replace(range).is_some(),
                Change::TwTimeout(timeout) => supposed.tw_timeout.replace(timeout).is_some(),
                Change::KeepAlive(part) => supposed.keepalive.replace(part).is_some(),
                Change::Destinations(count) => supposed.destinations.replace(count).is_some(),
            };
            if is_twice {
                return Err(SupposedError::Twice(change.name()));
            }
        }
        Ok(supposed)
    }
}

/// As it is written on the command line.
impl fmt::Display for Supposed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            self.tw_reuse
                .map(|reuse| format!("tcp_tw_reuse={}", reuse.number())),
            self.range
                .map(|range| format!("ip_local_port_range={range}")),
            self.tw_timeout
                .map(|timeout| format!("tcp_tw_timeout={}", timeout.seconds())),
            self.keepalive.map(|part| format!("keepalive={part}")),
            self.destinations
                .map(|count| format!("destinations={count}")),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supposed(texts: &[&str]) -> Result<Supposed, SupposedError> {
        let changes: Result<Vec<Change>, _> = texts.iter().map(|text| text.parse()).collect();
        Supposed::of(&changes?)
    }

    #[test]
    fn each_name_takes_its_values() {
        let all = [
            "tcp_tw_reuse=1",
            "range=1024-65535",
            "tcp_tw_timeout=5",
            "keepalive=0.9",
            "destinations=2",
        ];
        let text = supposed(&all).unwrap().to_string();
        assert_eq!(
            text,
            "tcp_tw_reuse=1, ip_local_port_range=1024-65535, tcp_tw_timeout=5, keepalive=0.9, destinations=2"
        );
        let again: Vec<&str> = text.split(", ").collect();
        assert_eq!(supposed(&again), supposed(&all));
        assert_eq!(
            supposed(&["ip_local_port_range=1024 65535"]),
            supposed(&["range=1024-65535"])
        );
    }

    #[test]
    fn errors_name_what_is_wrong() {
        for (texts, part) in [
            (&["tcp_tw_reuse"][..], "NAME=VALUE"),
            (&["tw=1"], "tcp_tw_timeout, keepalive"),
            (&["tcp_tw_reuse=3"], "tcp_tw_reuse=3: write 0 (never)"),
            (&["range=2-1"], "range=2-1: write two ports"),
            (&["range=1024"], "two ports"),
            (&["keepalive=1.1"], "from 0 to 1"),
            (&["keepalive=NaN"], "from 0 to 1"),
            (&["destinations=0"], "from 1"),
            (&["tcp_tw_timeout=0"], "at least 1"),
            (&["range=1-2", "ip_local_port_range=3-4"], "given twice"),
        ] {
            let error = supposed(texts).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
