use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;

const SEQUENCE: u32 = 7;

fn message(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(((HEADER_BYTES + payload.len()) as u32).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(SEQUENCE.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(((4 + value.len()) as u16).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A row from 40000 to 80, uid 1000, inode 99, cookie 5 << 32 | 6.
fn payload(family: i32, state: u8, timer: u8, expires_ms: i32, ends: [[u8; 16]; 2]) -> Vec<u8> {
    let mut bytes = vec![family as u8, state, timer, 0];
    bytes.extend(40_000_u16.to_be_bytes());
    bytes.extend(80_u16.to_be_bytes());
    bytes.extend(ends[0]);
    bytes.extend(ends[1]);
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(6_u32.to_ne_bytes());
    bytes.extend(5_u32.to_ne_bytes());
    bytes.extend(expires_ms.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(1000_u32.to_ne_bytes());
    bytes.extend(99_u32.to_ne_bytes());
    assert_eq!(bytes.len(), ROW_BYTES);
    bytes
}

fn v4(address: [u8; 4]) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&address);
    bytes
}

fn parsed(payload: &[u8]) -> SocketRow {
    let mut rows = Vec::new();
    let datagram = message(SOCK_DIAG_BY_FAMILY, 2, payload);
    assert_eq!(
        parse(&datagram, SEQUENCE, &mut rows),
        Ok(DumpProgress::default())
    );
    assert_eq!(rows.len(), 1);
    rows[0]
}

#[test]
fn a_full_socket_has_its_times() {
    let mut info = vec![0_u8; 232];
    info[52..56].copy_from_slice(&2000_u32.to_ne_bytes());
    info[56..60].copy_from_slice(&500_u32.to_ne_bytes());
    let ends = [v4([10, 0, 0, 1]), v4([10, 0, 0, 2])];
    let mut bytes = payload(libc::AF_INET, 8, 0, 0, ends);
    bytes.extend(attribute(14, &[0; 5]));
    bytes.extend(attribute(INET_DIAG_INFO, &info));
    assert_eq!(
        parsed(&bytes),
        SocketRow {
            state: TcpState::CloseWait,
            local: (Ipv4Addr::new(10, 0, 0, 1), 40_000).into(),
            remote: (Ipv4Addr::new(10, 0, 0, 2), 80).into(),
            mapped: false,
            v6only: None,
            uid: 1000,
            inode: 99,
            cookie: 5 << 32 | 6,
            timer: Timer::Off,
            retransmits: 0,
            expires: None,
            times: Some(Times {
                since_data: Duration::from_secs(2),
                since_ack: Duration::from_millis(500),
            }),
            queue: None,
        }
    );
}

#[test]
fn mini_sockets_are_known_by_their_timer() {
    let ends = [v4([10, 0, 0, 1]), v4([10, 0, 0, 2])];
    let waiting = parsed(&payload(libc::AF_INET, 5, 3, 59_000, ends));
    assert!(waiting.is_mini());
    assert_eq!(waiting.state, TcpState::FinWait2);
    assert_eq!(waiting.expires, Some(Duration::from_secs(59)));
    // A full socket in FIN_WAIT2, orphaned and overdue.
    let full = parsed(&payload(libc::AF_INET, 5, 2, -4, ends));
    assert!(!full.is_mini());
    assert_eq!(full.expires, Some(Duration::ZERO));
}

#[test]
fn mapped_addresses_are_written_as_ipv4_and_listeners_say_what_they_take() {
    let mapped = Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets();
    let row = parsed(&payload(libc::AF_INET6, 1, 0, 0, [mapped, mapped]));
    assert!(row.mapped);
    assert_eq!(row.local, (Ipv4Addr::LOCALHOST, 40_000).into());

    for (flag, v6only) in [(0, false), (1, true)] {
        let mut bytes = payload(libc::AF_INET6, 10, 0, 0, [[0; 16]; 2]);
        bytes.extend(attribute(INET_DIAG_SKV6ONLY, &[flag]));
        let row = parsed(&bytes);
        assert_eq!((row.mapped, row.v6only), (false, Some(v6only)));
        assert_eq!(row.local, (Ipv6Addr::UNSPECIFIED, 40_000).into());
    }
}

#[test]
fn states_of_later_kernels_do_no_harm() {
    let bound = parsed(&payload(libc::AF_INET, 13, 0, 0, [[0; 16]; 2]));
    assert_eq!(bound.state, TcpState::Close);
    let unknown = parsed(&payload(libc::AF_INET, 99, 9, 0, [[0; 16]; 2]));
    assert_eq!(
        (unknown.state, unknown.timer),
        (TcpState::Unknown, Timer::Other)
    );
}

#[test]
fn ends_and_refusals_are_told_apart() {
    let parsed = |datagram: &[u8]| parse(datagram, SEQUENCE, &mut Vec::new());
    let interrupted = DumpProgress {
        is_done: true,
        is_interrupted: true,
    };
    let done = message(NLMSG_DONE, 2 | NLM_F_DUMP_INTR, &0_i32.to_ne_bytes());
    assert_eq!(parsed(&done), Ok(interrupted));
    for kind in [NLMSG_DONE, NLMSG_ERROR] {
        let refusal = message(kind, 0, &(-libc::ENOENT).to_ne_bytes());
        assert_eq!(parsed(&refusal), Err(MessageError::Refused(libc::ENOENT)));
    }
    assert_eq!(
        parse(&done, SEQUENCE + 1, &mut Vec::new()),
        Ok(DumpProgress::default())
    );
    assert_eq!(parsed(&done[..10]), Err(MessageError::Malformed));
    // A length that does not even cover the header must not cause an endless loop.
    let mut endless = done;
    endless[..4].copy_from_slice(&0_u32.to_ne_bytes());
    assert_eq!(parsed(&endless), Err(MessageError::Malformed));
}

proptest! {
    #[test]
    fn hostile_bytes_do_no_harm(datagram: Vec<u8>) {
        let _ = parse(&datagram, SEQUENCE, &mut Vec::new());
    }

    #[test]
    fn hostile_rows_do_no_harm(mut row in proptest::collection::vec(any::<u8>(), 0..200), v6: bool) {
        if let Some(family) = row.first_mut() {
            *family = if v6 { libc::AF_INET6 } else { libc::AF_INET } as u8;
        }
        let _ = parse(&message(SOCK_DIAG_BY_FAMILY, 2, &row), SEQUENCE, &mut Vec::new());
    }
}
