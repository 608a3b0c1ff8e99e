use proptest::prelude::*;

use super::*;

fn passes(filter: &str, end: &str) -> bool {
    let filter: AddressFilter = filter
        .parse()
        .unwrap_or_else(|error| panic!("{filter}: {error}"));
    filter.matches(end.parse().unwrap())
}

#[test]
fn every_way_of_writing_it() {
    for (filter, inside, outside) in [
        ("10.0.0.1", "10.0.0.1:5", "10.0.0.2:5"),
        ("10.0.0.0/8", "10.255.1.2:5", "11.0.0.0:5"),
        ("10.1.2.3/8", "10.255.1.2:5", "11.0.0.0:5"),
        ("10.0.0.1:80", "10.0.0.1:80", "10.0.0.1:81"),
        ("10.0.0.0/8:80", "10.9.9.9:80", "10.9.9.9:81"),
        (":443", "[::1]:443", "[::1]:444"),
        ("*:443", "10.0.0.1:443", "10.0.0.1:444"),
        ("::1", "[::1]:80", "[::2]:80"),
        ("[::1]", "[::1]:80", "[::2]:80"),
        ("[::1]:80", "[::1]:80", "[::1]:81"),
        ("2001:db8::/32", "[2001:db8:1::1]:1", "[2001:db9::1]:1"),
        ("[2001:db8::/32]:80", "[2001:db8::1]:80", "[2001:db8::1]:81"),
        ("[2001:db8::]/32:80", "[2001:db8::1]:80", "[2001:db8::1]:81"),
        ("::ffff:10.0.0.1", "10.0.0.1:5", "10.0.0.2:5"),
        ("::ffff:10.0.0.0/104", "10.9.0.1:5", "11.0.0.2:5"),
        ("10.0.0.1", "[::ffff:10.0.0.1]:5", "[::1]:5"),
        ("0.0.0.0/0", "10.0.0.1:5", "[::1]:5"),
        ("::/0", "[::1]:5", "10.0.0.1:5"),
        ("localhost", "127.0.0.1:5", "127.0.0.2:5"),
        ("Localhost:80", "[::1]:80", "[::1]:81"),
    ] {
        assert!(passes(filter, inside), "{filter} should pass {inside}");
        assert!(!passes(filter, outside), "{filter} should stop {outside}");
    }
}

#[test]
fn what_is_not_an_address_is_refused() {
    for text in [
        "",
        "443",
        "[::1",
        "[::1]x",
        "[10.0.0.1]:80",
        "10.0.0.1/",
        "10.0.0.1/-1",
        "::1/x",
        "[]:80",
        "1:2:3:80",
        "10.0.0",
        "10.0.0.0/8/8",
    ] {
        assert_eq!(
            text.parse::<AddressFilter>(),
            Err(AddressFilterError::Malformed),
            "{text}"
        );
    }
    for (text, wrong) in [
        (":", ""),
        ("10.0.0.1:", ""),
        (":65536", "65536"),
        (":+80", "+80"),
        ("10.0.0.1:http", "http"),
        ("[::1]:", ""),
    ] {
        let port = AddressFilterError::Port(wrong.to_owned());
        assert_eq!(text.parse::<AddressFilter>(), Err(port), "{text}");
    }
    for (text, name) in [("x", "x"), ("example.org:80", "example.org")] {
        let host = AddressFilterError::HostName(name.to_owned());
        assert_eq!(text.parse::<AddressFilter>(), Err(host), "{text}");
    }
    assert_eq!(
        "10.0.0.0/33".parse::<AddressFilter>(),
        Err(AddressFilterError::Prefix(33))
    );
    assert_eq!(
        "::/129".parse::<AddressFilter>(),
        Err(AddressFilterError::Prefix(129))
    );
}

fn addresses() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
    ]
}

proptest! {
    #[test]
    fn any_text_is_parsed_without_a_panic(text in "[\\[\\]:/.*0-9a-f]{0,24}|\\PC*") {
        let _ = text.parse::<AddressFilter>();
    }

    #[test]
    fn what_is_printed_parses_to_the_same(
        address in addresses(),
        prefix in 0_u8..=128,
        port in any::<Option<u16>>(),
        host in 0..3,
    ) {
        let prefix = if address.is_ipv4() { prefix.min(32) } else { prefix };
        let filter = match host {
            0 => AddressFilter { host: Host::Any, port: Some(port.unwrap_or(80)) },
            1 => AddressFilter { host: Host::Localhost, port },
            _ => {
                let network = Network::new(address, Some(prefix)).unwrap();
                AddressFilter { host: Host::Network(network), port }
            }
        };
        prop_assert_eq!(filter.to_string().parse(), Ok(filter));
    }

    #[test]
    fn an_end_passes_its_own_address_network_and_port(
        address in addresses(),
        port in any::<u16>(),
        prefix in 0_u8..=128,
    ) {
        let end = SocketAddr::new(address, port);
        let prefix = if address.is_ipv4() { prefix.min(32) } else { prefix };
        for text in [
            end.to_string(),
            address.to_string(),
            format!("{address}/{prefix}"),
            format!(":{port}"),
        ] {
            let filter: AddressFilter = text.parse().unwrap();
            // A network that contains the v4-mapped addresses among others is an IPv6 one.
            if address.to_canonical() == address {
                prop_assert!(filter.matches(end), "{}", text);
            }
        }
    }
}
