use super::samples::search;
use super::*;
use crate::event::samples;

const NETNS: u32 = 4_026_531_840;

fn counts(evidence: &Evidence) -> Vec<(Pool, PoolCounts)> {
    let mut counts: Vec<_> = evidence.of(NETNS).collect();
    counts.sort_by_key(|(pool, _)| *pool);
    counts
}

#[test]
fn failures_and_time_waits_go_to_their_tuple() {
    let mut evidence = Evidence::default();
    evidence.note(&samples::time_wait());
    evidence.note(&search(PortOp::Connect, 0, Some(libc::EADDRNOTAVAIL)));
    // The four-tuple is taken: that says nothing about the range.
    evidence.note(&search(PortOp::Connect, 40_000, Some(libc::EADDRNOTAVAIL)));
    evidence.note(&search(PortOp::Connect, 0, None));
    assert_eq!(
        counts(&evidence),
        [(
            Pool::Connect {
                source: Some("10.0.0.1".parse().unwrap()),
                destination: "[2001:db8::2]:80".parse().unwrap(),
                own: None,
            },
            PoolCounts {
                made: 1,
                failures: 1
            }
        )]
    );
}

#[test]
fn what_nothing_is_told_of_any_more_is_forgotten() {
    let mut evidence = Evidence::default();
    evidence.note(&samples::time_wait());
    evidence.note(&search(PortOp::Connect, 0, Some(libc::EADDRNOTAVAIL)));
    evidence.age();
    let [(_, kept)] = counts(&evidence)[..] else {
        panic!("it was told of");
    };
    assert_eq!((kept.made, kept.failures), (1, 0));
    evidence.age();
    assert_eq!((counts(&evidence).len(), evidence.kept), (0, 0));
    assert_eq!(evidence.namespaces().count(), 0);
}

#[test]
fn sockets_with_a_range_of_their_own_have_a_pool_of_their_own() {
    let mut evidence = Evidence::default();
    let own = Some(SocketRange { low: 5, high: 9 });
    for errno in [None, Some(libc::EADDRNOTAVAIL)] {
        let mut event = search(PortOp::Connect, 0, errno);
        if let EventFacts::PortAlloc(facts) = &mut event.facts {
            facts.socket_range = own;
        }
        evidence.note(&event);
    }
    let counts = counts(&evidence);
    assert!(matches!(counts[0].0, Pool::Connect { own: found, .. } if found == own));
    assert_eq!((counts.len(), counts[0].1.failures), (1, 1));
}

#[test]
fn a_bind_then_a_connect_of_one_process_make_a_pool() {
    let pool = Pool::Bind {
        source: "10.0.0.1".parse().unwrap(),
    };
    let mut evidence = Evidence::default();
    evidence.note(&search(PortOp::Connect, 40_000, None));
    assert!(counts(&evidence).is_empty());
    evidence.note(&search(PortOp::Bind, 0, None));
    assert!(counts(&evidence).is_empty());
    evidence.note(&search(PortOp::Connect, 40_000, None));
    assert_eq!(counts(&evidence), [(pool, PoolCounts::default())]);
    evidence.note(&search(PortOp::Bind, 0, Some(libc::EADDRINUSE)));
    assert_eq!(counts(&evidence)[0].1.failures, 1);
}

#[test]
fn an_unknown_source_is_none() {
    let mut evidence = Evidence::default();
    let mut event = search(PortOp::Connect, 0, Some(libc::EADDRNOTAVAIL));
    event.local = Some("0.0.0.0:0".parse().unwrap());
    evidence.note(&event);
    assert!(matches!(
        counts(&evidence)[0].0,
        Pool::Connect { source: None, .. }
    ));
}

#[test]
fn what_is_taken_piece_by_piece_adds_up_to_the_whole() {
    let mut events = vec![
        search(PortOp::Connect, 40_000, None),
        search(PortOp::Bind, 0, None),
    ];
    events.extend(std::iter::repeat_n(samples::time_wait(), 2));
    events.push(search(PortOp::Connect, 0, Some(libc::EADDRNOTAVAIL)));
    events.push(samples::time_wait());
    events.push(search(PortOp::Connect, 40_000, None));
    for piece in 1..=events.len() {
        let (mut whole, mut taken, mut added) = (
            Evidence::default(),
            Evidence::default(),
            Evidence::default(),
        );
        for events in events.chunks(piece) {
            events.iter().for_each(|event| whole.note(event));
            events.iter().for_each(|event| taken.note(event));
            added.add(taken.take());
        }
        assert_eq!(taken.take(), EvidenceDelta::default());
        assert_eq!(counts(&added), counts(&whole), "{piece} at a time");
        assert_eq!(counts(&added).len(), 2);
    }
}

#[test]
fn a_namespace_whose_number_is_another_ones_is_void_in_pieces_too() {
    let before = samples::time_wait();
    let mut now = search(PortOp::Connect, 0, Some(libc::EADDRNOTAVAIL));
    now.netns_nth = 1;
    let events = [before.clone(), now, before];
    for piece in 1..=events.len() {
        let (mut taken, mut added) = (Evidence::default(), Evidence::default());
        for events in events.chunks(piece) {
            events.iter().for_each(|event| taken.note(event));
            added.add(taken.take());
        }
        let [(_, counts)] = counts(&added)[..] else {
            panic!("not one budget, {piece} at a time");
        };
        assert_eq!((counts.made, counts.failures), (0, 1), "{piece} at a time");
    }
}

#[test]
fn there_is_an_end_to_it() {
    let mut evidence = Evidence::default();
    let mut event = search(PortOp::Connect, 0, Some(libc::EADDRNOTAVAIL));
    for number in 0..MAX_KEYS as u32 + 7 {
        let address = std::net::Ipv4Addr::from_bits(number);
        event.remote = Some(SocketAddr::new(IpAddr::V4(address), 80));
        evidence.note(&event);
    }
    assert_eq!(evidence.further_failures(), 7);
    assert_eq!(counts(&evidence).len(), MAX_KEYS);
}
