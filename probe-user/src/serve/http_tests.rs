//! Tests with real sockets, and a tracer that only counts its requests.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::serve::connections::MAX_CONNECTIONS;
use crate::serve::health::ServiceStage;

struct Endpoint {
    address: SocketAddr,
    health: Arc<Health>,
    asked: Arc<AtomicUsize>,
}

fn endpoint() -> Endpoint {
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let (page_requests, mut asked) = mpsc::channel::<PageRequest>(4);
    let health = Arc::new(Health::default());
    let times = Arc::new(AtomicUsize::new(0));
    start(listener, page_requests, Arc::clone(&health), || {}).unwrap();
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
            "GET {path} HTTP/1.1\r\nHost: x\r\n{header}Connection: close\r\n\r\n"
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
        .ask("POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    assert!(refused.starts_with("HTTP/1.1 405 ") && refused.contains("allow: GET, HEAD"));
    let head = endpoint.ask("HEAD /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
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
