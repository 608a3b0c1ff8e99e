//! The HTTP endpoint, on a thread of its own without any privileges: it requests pages from the tracer, at most once
//! per second, and no client can block the tracer.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST, HeaderValue,
    X_CONTENT_TYPE_OPTIONS,
};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::allowed_hosts::AllowedHosts;
use super::connections::{Activity, Connections, MAX_CONNECTIONS};
use super::health::Health;
use crate::output::prometheus::Format;

/// Between two collections: more frequent scrapes get the same page.
const COLLECTED_FOR: Duration = Duration::from_secs(1);
/// The tracer answers well within this, or something is wrong.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// Time for a client to send a request, or the next one: more than between two scrapes.
const ASKED_WITHIN: Duration = Duration::from_secs(130);
/// Input buffer of one connection, bytes.
const MAX_REQUEST_BYTES: usize = 16 << 10;
/// How often to check whether a connection can be closed for another.
const BETWEEN_SHEDDING: Duration = Duration::from_millis(5);
/// Connections that wait to be accepted. With fewer, those that come at once would be sent again after a second.
const BACKLOG: libc::c_int = 4_096;
/// Requests that wait for a page. Other connections are there for `/healthz`, even if the tracer does not answer.
const MAX_SCRAPES: usize = MAX_CONNECTIONS / 2;

const INDEX: &str = "twtrace\n\n/metrics  for Prometheus: text or OpenMetrics\n/healthz  200 while the tracer's loop \
                     runs\n/readyz   200 while it counts\n";

/// A request to the tracer.
#[derive(Debug)]
pub struct PageRequest {
    pub format: Format,
    /// Receives the page.
    pub reply: oneshot::Sender<Bytes>,
}

/// Listens, so that an unavailable port is reported before anything else is done.
///
/// # Errors
/// If the address or port is not available.
pub fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(listen)?;
    listener.set_nonblocking(true)?;
    // SAFETY: integers only. A listening socket changes its backlog.
    if unsafe { libc::listen(listener.as_raw_fd(), BACKLOG) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(listener)
}

/// Serves until the process ends. `confine` drops what the thread does not need.
///
/// # Errors
/// If the thread can't be started.
pub fn start(
    listener: TcpListener,
    page_requests: mpsc::Sender<PageRequest>,
    health: Arc<Health>,
    hosts: AllowedHosts,
    confine: impl FnOnce() + Send + 'static,
) -> io::Result<()> {
    let pages = Arc::new(Pages {
        page_requests,
        health,
        hosts,
        scrapes: Semaphore::new(MAX_SCRAPES),
        is_crowded: AtomicBool::new(false),
        collected: Mutex::default(),
    });
    let serve = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        confine();
        let served = runtime.and_then(|runtime| runtime.block_on(accept_all(listener, pages)));
        if let Err(error) = served {
            log::error!("metrics are not served any more: {error}");
        }
    };
    std::thread::Builder::new()
        .name("http".to_owned())
        .spawn(serve)
        .map(drop)
}

async fn accept_all(listener: TcpListener, pages: Arc<Pages>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut tasks = JoinSet::new();
    let mut connections = Connections::default();
    loop {
        pages
            .is_crowded
            .store(connections.is_crowded(), Ordering::Relaxed);
        let has_room = connections.has_room() || connections.shed();
        tokio::select! {
            biased;
            Some(ended) = tasks.join_next_with_id() => {
                connections.closed(ended.map_or_else(|error| error.id(), |(id, ())| id));
            }
            () = tokio::time::sleep(BETWEEN_SHEDDING), if !has_room => {}
            accepted = listener.accept(), if has_room => match accepted {
                Ok((stream, peer)) => {
                    let activity = connections.activity();
                    let task = tasks.spawn(serve(stream, Arc::clone(&pages), Arc::clone(&activity)));
                    connections.opened(task, activity, peer.ip().to_canonical());
                    // Its request may be there: it is read before another connection is accepted.
                    tokio::task::yield_now().await;
                }
                Err(error) => {
                    // An error of the connection, or there are no descriptors left for now.
                    log::debug!("accepting a connection: {error}");
                    connections.shed();
                    tokio::time::sleep(BETWEEN_SHEDDING).await;
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, pages: Arc<Pages>, activity: Arc<Activity>) {
    let service = service_fn(|request| {
        let (pages, activity) = (Arc::clone(&pages), Arc::clone(&activity));
        async move {
            activity.busy();
            let mut response = pages.answer(&request).await;
            if pages.is_crowded.load(Ordering::Relaxed) {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            activity.idle();
            Ok::<_, Infallible>(response)
        }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(ASKED_WITHIN)
        .max_buf_size(MAX_REQUEST_BYTES)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        log::debug!("a connection: {error}");
    }
}

/// The pages of the endpoint.
struct Pages {
    page_requests: mpsc::Sender<PageRequest>,
    health: Arc<Health>,
    hosts: AllowedHosts,
    /// Requests that wait for a page.
    scrapes: Semaphore,
    /// Whether all connections are taken: each is closed after its answer then.
    is_crowded: AtomicBool,
    /// The latest page of each format, and when it was requested.
    collected: Mutex<[Option<(Instant, Bytes)>; Format::ALL.len()]>,
}

type Answer = Response<Full<Bytes>>;

impl Pages {
    async fn answer(&self, request: &Request<Incoming>) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".into());
            let allowed = HeaderValue::from_static("GET, HEAD");
            answer.headers_mut().insert(ALLOW, allowed);
            return answer;
        }
        match request.uri().path() {
            "/metrics" if !self.is_host_allowed(request) => plain(
                StatusCode::MISDIRECTED_REQUEST,
                "not a name of this host: --allowed-hosts adds it\n".into(),
            ),
            "/metrics" => self.metrics(format_of(request)).await,
            "/healthz" => judged(self.health.alive()),
            "/readyz" => judged(self.health.ready()),
            "/" => plain(StatusCode::OK, INDEX.into()),
            _ => plain(
                StatusCode::NOT_FOUND,
                "there is /metrics, /healthz and /readyz\n".into(),
            ),
        }
    }

    /// Whether the request is addressed to this host. `/healthz` and `/readyz` say nothing that is worth asking: a
    /// checker may use any name.
    fn is_host_allowed(&self, request: &Request<Incoming>) -> bool {
        let mut hosts = request.headers().get_all(HOST).iter();
        let host = hosts.next().map(HeaderValue::as_bytes);
        self.hosts.allow(host) && hosts.next().is_none()
    }

    async fn metrics(&self, format: Format) -> Answer {
        match self.page(format).await {
            Ok(page) => {
                let content_type = HeaderValue::from_static(format.content_type());
                answer(StatusCode::OK, content_type, page)
            }
            Err(why) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n").into()),
        }
    }

    async fn page(&self, format: Format) -> Result<Bytes, &'static str> {
        let _scrape = self.scrapes.try_acquire().map_err(|_| "too many scrapes")?;
        // Concurrent requests wait for the same page.
        let mut collected = self.collected.lock().await;
        let kept = &mut collected[format as usize];
        if let Some((at, page)) = kept
            && at.elapsed() < COLLECTED_FOR
        {
            return Ok(page.clone());
        }
        let asked_at = Instant::now();
        let (reply, answer) = oneshot::channel();
        let asking = async {
            self.page_requests
                .send(PageRequest { format, reply })
                .await
                .ok()?;
            answer.await.ok()
        };
        match timeout(ANSWERED_WITHIN, asking).await {
            Ok(Some(page)) => {
                *kept = Some((asked_at, page.clone()));
                Ok(page)
            }
            Ok(None) => Err("the tracer has ended"),
            Err(_) => Err("the tracer did not answer in time"),
        }
    }
}

/// OpenMetrics if the client accepts it, text otherwise.
fn format_of(request: &Request<Incoming>) -> Format {
    let accepted = request.headers().get_all(ACCEPT).iter();
    let mut accepted = accepted.filter_map(|accepted| accepted.to_str().ok());
    if accepted.any(|accepted| accepted.contains("application/openmetrics-text")) {
        Format::OpenMetrics
    } else {
        Format::Text
    }
}

fn judged(is_well: Result<(), String>) -> Answer {
    match is_well {
        Ok(()) => plain(StatusCode::OK, "ok\n".into()),
        Err(why) => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n").into()),
    }
}

fn plain(status: StatusCode, text: Bytes) -> Answer {
    let content_type = HeaderValue::from_static("text/plain; charset=utf-8");
    answer(status, content_type, text)
}

fn answer(status: StatusCode, content_type: HeaderValue, body: Bytes) -> Answer {
    let mut answer = Response::new(Full::new(body));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Names of processes are untrusted: no browser takes them for a page.
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    answer
}

#[cfg(test)]
#[path = "http_tests.rs"]
mod tests;
