use twtrace_core::event::errno::Errno;
use twtrace_core::event::{PortResult, samples};
use twtrace_wire::PortOp;

use super::*;

fn refused(port: u16) -> Event {
    let mut event = samples::port_alloc();
    if let EventFacts::PortAlloc(facts) = &mut event.facts {
        facts.op = PortOp::Bind;
        facts.requested = port;
        facts.result = PortResult::Failed(Errno(libc::EADDRINUSE as u16));
    }
    event
}

#[test]
fn a_port_waits_once_and_ports_are_bounded() {
    let mut watch = PortWatch::default();
    watch.note(&refused(80));
    watch.note(&refused(80));
    assert_eq!(watch.pending.len(), 1);
    // Not a fixed port.
    watch.note(&refused(0));
    for port in 1_000..2_000 {
        watch.note(&refused(port));
    }
    assert_eq!(watch.pending.len(), MAX_PENDING);
    watch.pending.clear();
    watch
        .listed
        .insert((refused(80).netns.unwrap(), 80), Instant::now());
    watch.note(&refused(80));
    assert!(watch.pending.is_empty());
}

#[test]
fn the_latest_creations_of_a_port_are_kept() {
    let mut watch = PortWatch::default();
    let event = samples::time_wait();
    let (netns, local) = (event.netns.unwrap(), event.local.unwrap());
    for port in 1..100 {
        let mut event = event.clone();
        event.remote = Some(SocketAddr::new(local.ip(), port));
        watch.note(&event);
        watch.note(&event);
    }
    let of_port = &watch.created[&(netns, local.port())];
    assert_eq!(of_port.len(), MAX_OF_PORT);
    assert_eq!(of_port[0].remote.port(), 84);
    assert_eq!(watch.kept, MAX_OF_PORT);
}

#[test]
fn creations_are_bounded_and_those_of_servers_stay() {
    let mut watch = PortWatch::default();
    let mut event = samples::time_wait();
    let (netns, ip) = (event.netns.unwrap(), event.local.unwrap().ip());
    event.side = Side::Server;
    event.local = Some(SocketAddr::new(ip, 80));
    watch.note(&event);
    event.side = Side::Client;
    for number in 0..2 * MAX_CREATED {
        event.local = Some(SocketAddr::new(ip, 1_000 + (number % 30_000) as u16));
        event.remote = Some(SocketAddr::new(ip, (number / 30_000) as u16 + 1));
        watch.note(&event);
        assert!(watch.kept <= MAX_CREATED);
    }
    assert_eq!(watch.created[&(netns, 80)].len(), 1);
}
