//! `doctor --what-if`: what it forecasts then happens.

use std::{
    io,
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{
    Usage,
    own_namespace::{play_in_own, set_ipv4},
};
use crate::runner::Context;

pub const USAGES: &[Usage] = &[Usage {
    name: "usage/what_if",
    run: what_if,
}];

/// Between two connections.
const PACE: Duration = Duration::from_millis(4);
/// Long enough for TIME_WAITs older than the second after which they are reused.
const MEASURED_S: u64 = 4;

/// The ports that are held with tcp_tw_reuse, and the number of connections that a narrower range has room for.
fn what_if(context: &Context) -> Result<()> {
    play_in_own(|namespace| in_namespace(context, namespace))
}

fn in_namespace(context: &Context, namespace: &str) -> Result<()> {
    set_ipv4("ip_local_port_range", "40000 49999")?;
    set_ipv4("tcp_tw_reuse", "0")?;
    let supposed = measured(context, namespace, "127.79.0.1:8080", "tcp_tw_reuse=1")?;
    let then = &supposed["what_if"]["pools"][0]["then"];
    set_ipv4("tcp_tw_reuse", "1")?;
    let real = measured(context, namespace, "127.79.0.2:8080", "range=40000-40199")?;
    let held_for_s = |budget: &Value, per_s: &Value| -> Result<f64> {
        Ok((number(&budget["capacity"])? - number(&budget["free"])?) / number(per_s)?)
    };
    let pool = real["what_if"]["pools"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|pool| {
            pool["pool"]
                .as_str()
                .is_some_and(|it| it.ends_with("127.79.0.2:8080"))
        })
        .context("no pool of the second server")?;
    let real_s = held_for_s(
        &real["figures"]["fullest_budget"],
        &pool["connections_per_s"],
    )?;
    let forecast_s = number(&then["held"])? / number(&then["connections_per_s"])?;
    // Each port is held for about a second, at whatever rate this machine connects.
    ensure!(
        (forecast_s - real_s).abs() <= 0.1 * real_s,
        "{forecast_s} s were forecast, and it is {real_s} s: {then}, {real}"
    );
    ensure!(pool["then"]["capacity"] == 200, "{pool}");
    set_ipv4("tcp_tw_reuse", "0")?;
    set_ipv4("ip_local_port_range", "40000 40199")?;
    let server = Server::start("127.79.0.3:8080")?;
    // TIME_WAITs towards other destinations are not in the way.
    let connected = (0..300)
        .take_while(|_| connect_and_close(server.address).is_ok())
        .count();
    ensure!(connected == 200, "{connected} of 200 ports served");
    Ok(())
}

/// Closes first, and waits for the server: a RST of one that is late would end the TIME_WAIT.
fn connect_and_close(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.shutdown(Shutdown::Write)?;
    io::copy(&mut stream, &mut io::sink()).map(drop)
}

/// Accepts connections until it is dropped, and closes each after its client did.
struct Server {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Server {
    fn start(address: &str) -> Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            while !seen.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((mut stream, _)) => {
                        let _ = stream.set_nonblocking(false);
                        let _ = io::copy(&mut stream, &mut io::sink());
                    }
                    Err(_) => thread::sleep(Duration::from_millis(1)),
                }
            }
        });
        Ok(Self {
            address,
            is_over,
            thread: Some(thread),
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn number(value: &Value) -> Result<f64> {
    value
        .as_f64()
        .with_context(|| format!("{value} is no number"))
}

/// What doctor says while connections are opened and closed at one rate.
fn measured(context: &Context, namespace: &str, address: &str, what_if: &str) -> Result<Value> {
    let server = Server::start(address)?;
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let load = scope.spawn(|| -> Result<()> {
            let began = Instant::now();
            let mut count = 0;
            while !is_over.load(Ordering::Relaxed) {
                connect_and_close(server.address)?;
                count += 1;
                thread::sleep((PACE * count).saturating_sub(began.elapsed()));
            }
            Ok(())
        });
        let output = Command::new(&context.twtrace)
            .args(["doctor", "--json", "--what-if", what_if, "--duration"])
            .arg(format!("{MEASURED_S}s"))
            .arg("--netns")
            .arg(namespace)
            .args(context.tier.options())
            .stdin(Stdio::null())
            .output();
        is_over.store(true, Ordering::Relaxed);
        load.join().ok().context("the load panicked")??;
        let output = output?;
        ensure!(output.status.success(), "{output:?}");
        Ok(serde_json::from_slice(&output.stdout)?)
    })
}
