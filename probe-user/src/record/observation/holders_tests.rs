//! Holders of ports and pools, there and back.

use twtrace_core::model::budget::holders::{CrowdedPool, PoolHolder, PoolHolders};
use twtrace_core::model::port_holders::{HolderKind, NoPortHolder, PortHolder, PortHolders};
use twtrace_wire::{Side, TcpState};

use super::*;

#[test]
fn who_has_a_port_or_a_pool() {
    let socket = |kind, processes| PortHolder {
        kind,
        state: TcpState::TimeWait,
        local: "10.0.0.1:80".parse().unwrap(),
        remote: "[2001:db8::1]:5".parse().unwrap(),
        v6only: true,
        left_ns: Some(7),
        side: Side::Server,
        processes,
        further_processes: 2,
        unattributed: Some(NoPortHolder::NotSeen),
    };
    goes_there_and_back(ObservationData::PortHolders(PortHolders {
        netns: 4,
        port: 80,
        sockets: vec![
            socket(HolderKind::TimeWait, Vec::new()),
            socket(HolderKind::Connection, vec![process(1), process(2)]),
        ],
        further: 3,
        why: Some("no way".to_owned()),
    }));
    let pool = |destination: Option<&str>| PoolHolders {
        netns: 4,
        pool: CrowdedPool {
            source: "10.0.0.1".parse().unwrap(),
            destination: destination.map(|it| it.parse().unwrap()),
            is_of_bind: destination.is_none(),
        },
        holders: vec![
            PoolHolder {
                process: Some(process(1)),
                live: 200,
            },
            PoolHolder {
                process: None,
                live: 3,
            },
        ],
    };
    goes_there_and_back(ObservationData::PoolHolders(vec![
        pool(None),
        pool(Some("10.0.0.2:80")),
    ]));
    goes_there_and_back(ObservationData::PoolHolders(Vec::new()));
}
