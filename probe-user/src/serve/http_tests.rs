//! Tests with real sockets, and a tracer that only counts its requests.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::serve::health::ServiceStage;

struct Endpoint {
    address: SocketAddr,
    health: Arc<Health>,
    asked: Arc<AtomicUsize>,
}

/// Both ends of all connections are this process's.
fn raise_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: a struct to write to, and one to read.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max.min(8_192);
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
}

fn endpoint() -> Endpoint {
    raise_limit();
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let (page_requests, mut asked) = mpsc::channel::<PageRequest>(4);
    let health = Arc::new(Health::default());
    let times = Arc::new(AtomicUsize::new(0));
    let hosts = AllowedHosts::new(&["node1.example".to_owned()]);
    start(listener, page_requests, Arc::clone(&health), hosts, || {}).unwrap();
    let counted = Arc::clone(&times);
    std::thread::spawn(move || {
        while let Some(PageRequest { format, reply }) = asked.blocking_recv() {
            counted.fetch_add(1, Ordering::Relaxed);
            let _ = reply.send(format!("{format:?}\n").into());
        }
    });
    Endpoint {
        address,
        health,
        asked: times,
    }
}

impl Endpoint {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        let patience = Some(Duration::from_secs(30));
        stream.set_read_timeout(patience).unwrap();
        stream
    }

    /// Sends a request, and returns the whole answer.
    fn ask(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn get(&self, path: &str, header: &str) -> String {
        self.ask(&format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\n{header}Connection: close\r\n\r\n"
        ))
    }
}

#[test]
fn pages_come_in_the_form_that_is_asked_for() {
    let endpoint = endpoint();
    let text = endpoint.get("/metrics", "");
    assert!(text.starts_with("HTTP/1.1 200 "), "{text}");
    assert!(text.contains("content-type: text/plain; version=0.0.4") && text.ends_with("Text\n"));
    let open = endpoint.get(
        "/metrics",
        "Accept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n",
    );
    assert!(open.contains("openmetrics-text; version=1.0.0") && open.ends_with("OpenMetrics\n"));
    assert!(endpoint.get("/", "").contains("/readyz"));
    assert!(endpoint.get("/other", "").starts_with("HTTP/1.1 404 "));
    let refused = endpoint
        .ask("POST /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert!(refused.starts_with("HTTP/1.1 405 ") && refused.contains("allow: GET, HEAD"));
    let head =
        endpoint.ask("HEAD /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"));
}

#[test]
fn readiness_is_that_of_the_tracer() {
    let endpoint = endpoint();
    assert!(endpoint.get("/healthz", "").starts_with("HTTP/1.1 200 "));
    let starting = endpoint.get("/readyz", "");
    assert!(starting.starts_with("HTTP/1.1 503 ") && starting.contains("not begun"));
    endpoint.health.reach(ServiceStage::Tracing);
    assert!(endpoint.get("/readyz", "").ends_with("ok\n"));
}

#[test]
fn many_scrapes_are_few_collections() {
    let endpoint = endpoint();
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..25 {
                    assert!(endpoint.get("/metrics", "").ends_with("Text\n"));
                }
            });
        }
    });
    let most = 2 + began.elapsed().as_secs() as usize;
    let asked = endpoint.asked.load(Ordering::Relaxed);
    assert!((1..=most).contains(&asked), "{asked} of at most {most}");
}

#[test]
fn a_request_that_is_too_large_is_refused() {
    let endpoint = endpoint();
    let mut stream = endpoint.connect();
    let header = format!(
        "GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n",
        "x".repeat(1 << 20)
    );
    // The server may refuse it before everything is sent.
    let _ = stream.write_all(header.as_bytes());
    let mut answer = [0; 12];
    if stream.read_exact(&mut answer).is_ok() {
        assert_eq!(&answer, b"HTTP/1.1 431");
    }
    assert!(endpoint.get("/metrics", "").ends_with("Text\n"));
}

#[test]
fn clients_that_only_hold_connections_open_keep_nobody_out() {
    let endpoint = endpoint();
    let mut held: Vec<TcpStream> = (0..MAX_CONNECTIONS + 20)
        .map(|_| endpoint.connect())
        .collect();
    for stream in &mut held {
        // Some have been closed already.
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nX: ");
    }
    for _ in 0..3 {
        assert!(endpoint.get("/metrics", "").ends_with("Text\n"));
    }
    drop(held);
}

#[test]
fn names_of_other_hosts_get_no_page() {
    let endpoint = endpoint();
    let of = |hosts: &str| {
        let request = format!("GET /metrics HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
        endpoint.ask(&request)[..12].to_owned()
    };
    assert_eq!(of("Host: attacker.example:10660\r\n"), "HTTP/1.1 421");
    assert_eq!(of("Host: localhost\r\nHost: localhost\r\n"), "HTTP/1.1 421");
    for host in ["localhost:1", "node1.example", "[::1]:10660", "192.0.2.1"] {
        assert_eq!(of(&format!("Host: {host}\r\n")), "HTTP/1.1 200", "{host}");
    }
    assert_eq!(of(""), "HTTP/1.1 200");
}

#[test]
fn health_is_answered_beside_a_thousand_idle_connections_a_second() {
    let endpoint = endpoint();
    let is_over = AtomicBool::new(false);
    let answered: Vec<bool> = std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut held = std::collections::VecDeque::new();
                while !is_over.load(Ordering::Relaxed) {
                    held.extend(TcpStream::connect(endpoint.address));
                    if held.len() > MAX_CONNECTIONS {
                        held.pop_front();
                    }
                    std::thread::sleep(Duration::from_millis(2));
                }
            });
        }
        let ask = || {
            endpoint.health.beat();
            let mut answer = [0; 12];
            let is_well = TcpStream::connect(endpoint.address).is_ok_and(|mut stream| {
                let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
                stream.write_all(b"GET /healthz HTTP/1.1\r\n\r\n").is_ok()
                    && stream.read_exact(&mut answer).is_ok()
                    && &answer == b"HTTP/1.1 200"
            });
            std::thread::sleep(Duration::from_millis(20));
            is_well
        };
        let answered = (0..100).map(|_| ask()).collect();
        is_over.store(true, Ordering::Relaxed);
        answered
    });
    let well = answered.iter().filter(|is_well| **is_well).count();
    // On a host without other load, all.
    assert!(well >= 95, "{well} of {}", answered.len());
}

#[test]
fn clients_that_are_never_idle_keep_nobody_out() {
    let endpoint = endpoint();
    let is_over = AtomicBool::new(false);
    let connect = || TcpStream::connect(endpoint.address).unwrap();
    let mut busy: Vec<TcpStream> = (0..MAX_CONNECTIONS).map(|_| connect()).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut answer = [0; 4_096];
            while !is_over.load(Ordering::Relaxed) {
                for stream in &mut busy {
                    let asked = stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
                    if asked.is_err() || stream.read(&mut answer).unwrap_or(0) == 0 {
                        *stream = connect();
                    }
                }
            }
        });
        for _ in 0..20 {
            endpoint.health.beat();
            let answer = endpoint.get("/healthz", "");
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn scrapes_that_wait_leave_room_for_health() {
    raise_limit();
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    // A tracer that never answers.
    let (page_requests, _waiting) = mpsc::channel::<PageRequest>(1_000);
    let hosts = AllowedHosts::default();
    start(listener, page_requests, Arc::default(), hosts, || {}).unwrap();
    let send = |path: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        stream
    };
    let waiting: Vec<TcpStream> = (0..2 * MAX_CONNECTIONS).map(|_| send("/metrics")).collect();
    let mut asking = send("/healthz");
    // Long before the others get the answer that there is no page.
    asking.set_read_timeout(Some(ANSWERED_WITHIN / 2)).unwrap();
    let mut answer = String::new();
    asking.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    drop(waiting);
}
