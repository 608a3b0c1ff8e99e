use super::*;
use crate::event::samples;
use crate::model::socket::Times;
use crate::model::socket::samples::socket;

const NETNS: u32 = 42;

/// A connection whose peer has closed: the inode of its descriptor, and how long ago payload and an acknowledgement
/// arrived, seconds.
fn left(local: &str, remote: &str, inode: u32, data_s: u64, ack_s: u64) -> SocketRow {
    let mut row = socket(TcpState::CloseWait, local, remote, inode);
    row.times = Some(Times {
        since_data: Duration::from_secs(data_s),
        since_ack: Duration::from_secs(ack_s),
    });
    row
}

fn sockets(rows: Vec<SocketRow>) -> [NetnsSockets; 1] {
    [NetnsSockets { netns: NETNS, rows }]
}

/// Rows of the connections, with the names that /proc shows.
fn rows_of(
    namespaces: &[NetnsSockets],
    filter: &Filter,
    holders: impl FnMut(u32) -> Vec<Process>,
) -> Vec<CloseWaitRow> {
    rows(&connections(namespaces, holders), None, filter, |_| None)
}

/// Inodes below 10 are held by the process of that number, higher ones by both processes of their digits.
fn holders(inode: u32) -> Vec<Process> {
    let pids = [inode / 10, inode % 10];
    let pids = pids.into_iter().filter(|pid| *pid != 0);
    pids.map(|pid| samples::process(pid, "leaky")).collect()
}

fn summary(rows: &[CloseWaitRow]) -> Vec<(Option<u32>, Side, String, u64, u64)> {
    rows.iter()
        .map(|row| {
            let pid = row.process.as_ref().map(|process| process.key.tgid);
            let destination = row.destination.to_string();
            (pid, row.side, destination, row.count, row.shared)
        })
        .collect()
}

#[test]
fn connections_are_summed_up_by_process_and_destination() {
    let rows = rows_of(
        &sockets(vec![
            socket(TcpState::Listen, "0.0.0.0:80", "0.0.0.0:0", 9),
            left("10.0.0.1:80", "10.0.0.2:40000", 1, 9, 7),
            left("10.0.0.1:80", "10.0.0.3:40001", 1, 20, 5),
            left("10.0.0.1:40000", "10.0.0.9:5432", 1, 3, 2),
            left("10.0.0.1:80", "10.0.0.4:40002", 0, 1, 1),
        ]),
        &Filter::default(),
        holders,
    );
    assert_eq!(
        summary(&rows),
        [
            (Some(1), Side::Server, ":80".into(), 2, 0),
            (Some(1), Side::Client, "10.0.0.9:5432".into(), 1, 0),
            (None, Side::Server, ":80".into(), 1, 0),
        ]
    );
    // The bounds of the oldest one: the largest of each.
    assert_eq!(rows[0].oldest_ns, Some(7_000_000_000));
    assert_eq!(rows[0].oldest_at_most_ns, Some(20_000_000_000));
    assert_eq!(rows[2].unattributed, Some(NoHolder::NotAccepted));
    assert_eq!(
        serde_json::to_string(&rows[1]).unwrap(),
        r#"{"process":{"pid":1,"comm":"leaky","uid":1000},"unattributed":null,"netns":42,"side":"client","remote":"10.0.0.9:5432","local":null,"count":1,"shared":0,"oldest_ns":2000000000,"oldest_at_most_ns":3000000000,"stayed":0,"half_closed":0}"#
    );
    assert_eq!(
        serde_json::to_value(NoHolder::NotAccepted).unwrap(),
        NoHolder::NotAccepted.word()
    );
}

#[test]
fn a_socket_of_two_processes_counts_for_both() {
    let rows = rows_of(
        &sockets(vec![
            left("10.0.0.1:40000", "10.0.0.9:80", 12, 1, 1),
            left("10.0.0.1:40001", "10.0.0.9:80", 2, 1, 1),
        ]),
        &Filter::default(),
        holders,
    );
    let remote = || "10.0.0.9:80".to_owned();
    assert_eq!(
        summary(&rows),
        [
            (Some(2), Side::Client, remote(), 2, 1),
            (Some(1), Side::Client, remote(), 1, 1),
        ]
    );
}

#[test]
fn filters_apply_to_each_connection() {
    let namespaces = sockets(vec![
        left("10.0.0.1:40000", "10.0.0.9:80", 1, 1, 1),
        left("10.0.0.1:40001", "10.0.0.9:81", 2, 1, 1),
        left("10.0.0.1:40002", "10.0.0.8:80", 0, 1, 1),
    ]);
    let pids = |filter: Filter| -> Vec<Option<u32>> {
        let rows = rows_of(&namespaces, &filter, holders);
        rows.iter()
            .map(|row| row.process.as_ref().map(|process| process.key.tgid))
            .collect()
    };
    let default = Filter::default;
    assert_eq!(
        pids(Filter {
            pids: vec![2],
            ..default()
        }),
        [Some(2)]
    );
    let remote = vec!["10.0.0.9:80".parse().unwrap()];
    assert_eq!(
        pids(Filter {
            remote,
            ..default()
        }),
        [Some(1)]
    );
    let local = vec![":40002".parse().unwrap()];
    assert_eq!(pids(Filter { local, ..default() }), [None]);
    assert!(
        pids(Filter {
            netns: vec![1],
            ..default()
        })
        .is_empty()
    );
    assert!(
        pids(Filter {
            sides: vec![Side::Server],
            ..default()
        })
        .is_empty()
    );
}

#[test]
fn listeners_take_what_they_say() {
    let mut v6 = socket(TcpState::Listen, "[::]:80", "[::]:0", 1);
    let has = |row: SocketRow, local: &str| Listeners::of(&[row]).have(local.parse().unwrap());
    v6.v6only = Some(false);
    assert!(has(v6, "10.0.0.1:80") && has(v6, "[::1]:80") && !has(v6, "[::1]:81"));
    v6.v6only = Some(true);
    assert!(!has(v6, "10.0.0.1:80") && has(v6, "[::1]:80"));
    let one = socket(TcpState::Listen, "10.0.0.1:80", "0.0.0.0:0", 1);
    assert!(has(one, "10.0.0.1:80") && !has(one, "10.0.0.2:80"));
}

#[test]
fn what_stays_is_known_by_age_or_by_an_earlier_sample() {
    let namespaces = sockets(vec![
        // Old; the peer acknowledged just now; new; its peer still waits for an answer.
        left("10.0.0.1:80", "10.0.0.9:1", 1, 9, 9),
        left("10.0.0.1:80", "10.0.0.9:2", 2, 9, 1),
        left("10.0.0.1:80", "10.0.0.9:3", 3, 1, 1),
        left("10.0.0.1:80", "10.0.0.1:4", 4, 70, 70),
        socket(TcpState::FinWait2, "10.0.0.1:4", "10.0.0.1:80", 5),
        socket(TcpState::Listen, "10.0.0.1:80", "0.0.0.0:0", 6),
    ]);
    let now = connections(&namespaces, |_| Vec::new());
    let row = |earlier| rows(&now, earlier, &Filter::default(), |_| None).remove(0);
    let alone = row(None);
    assert_eq!(
        (alone.count, alone.stayed, alone.half_closed),
        (4, Some(1), 1)
    );
    assert_eq!(alone.stayed_ns, Some(9_000_000_000));
    let earlier = |before_s| Earlier {
        connections: &now[..2],
        before: Duration::from_secs(before_s),
    };
    let compared = row(Some(earlier(10)));
    assert_eq!(
        (compared.stayed, compared.stayed_ns),
        (Some(2), Some(10_000_000_000))
    );
    // Two samples in quick succession prove nothing.
    assert_eq!(row(Some(earlier(4))).stayed, Some(1));
}
