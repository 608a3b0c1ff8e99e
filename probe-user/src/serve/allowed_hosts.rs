//! Names that a request may be addressed to.
//!
//! A page in a browser can make its own name resolve to this host (DNS rebinding), and would then read the answers as its
//! own. The browser says that name in the `Host` header.

use std::net::IpAddr;

use hyper::Uri;

/// Names besides `localhost`; addresses are always allowed, as no page has one of this host as its origin.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedHosts {
    /// In lower case.
    names: Vec<String>,
}

impl AllowedHosts {
    pub fn new(names: &[String]) -> Self {
        let names = names
            .iter()
            .map(|name| normalised(name).to_ascii_lowercase());
        Self {
            names: names.collect(),
        }
    }

    /// Whether a request may be answered. Clients without a `Host` header are no browsers.
    pub fn allow(&self, host: Option<&[u8]>) -> bool {
        let Some(host) = host else {
            return true;
        };
        let Ok(host) = std::str::from_utf8(host) else {
            return false;
        };
        // The same syntax, and one host only.
        let Ok(uri) = format!("http://{host}/").parse::<Uri>() else {
            return false;
        };
        if uri.authority().map(|it| it.as_str()) != Some(host) || host.contains('@') {
            return false;
        }
        let name = normalised(uri.host().unwrap_or_default()).to_ascii_lowercase();
        let address = name.trim_start_matches('[').trim_end_matches(']');
        name == "localhost"
            || name.ends_with(".localhost")
            || address.parse::<IpAddr>().is_ok()
            || self.names.contains(&name)
    }
}

/// Without the dot at the end of a fully qualified name.
fn normalised(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_other_hosts_are_refused() {
        let hosts = AllowedHosts::new(&["Node1.example".to_owned()]);
        let allows = |host: &str| hosts.allow(Some(host.as_bytes()));
        for host in [
            "localhost",
            "LOCALHOST:10660",
            "localhost.:10660",
            "app.localhost",
            "127.0.0.1:10660",
            "10.1.2.3",
            "[::1]:10660",
            "node1.example:10660",
            "node1.example.",
        ] {
            assert!(allows(host), "{host}");
        }
        for host in [
            "",
            ":10660",
            "attacker.example",
            "attacker.example:10660",
            "localhost.attacker.example",
            "127.0.0.1.attacker.example",
            "localhost@attacker.example",
            "attacker.example@localhost",
            "xlocalhost",
            "localhost/",
            "localhost, attacker.example",
            "node2.example",
            "[attacker.example]",
        ] {
            assert!(!allows(host), "{host}");
        }
        assert!(hosts.allow(None));
        assert!(!hosts.allow(Some(b"local\xffhost")));
    }
}
