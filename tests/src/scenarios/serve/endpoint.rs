//! The endpoint, used by a well-behaved client.

use std::{net::TcpListener, process::Command};

use anyhow::{Result, ensure};

use super::service::{self, Service};
use crate::{
    runner::Context,
    sys::http::{ask, get},
};

/// Each page, in each form.
pub fn endpoint(context: &Context) -> Result<()> {
    let service = Service::start(context, &[])?;
    let at = service.address;
    for (path, status, says) in [
        ("/", 200, "/metrics"),
        ("/healthz", 200, "ok"),
        ("/readyz", 200, "ok"),
        ("/metrics", 200, "# TYPE twtrace_"),
        ("/metrics?name[]=x", 200, "# TYPE twtrace_"),
        ("/metric", 404, "there is /metrics"),
    ] {
        let answer = get(at, path)?;
        ensure!(
            answer.status == status && answer.body.contains(says),
            "{path}: {answer:?}"
        );
    }
    let text = get(at, "/metrics")?;
    ensure!(
        text.headers.contains("text/plain; version=0.0.4") && !text.body.contains("# EOF"),
        "{text:?}"
    );
    let open = ask(
        at,
        "GET",
        "/metrics",
        "application/openmetrics-text;version=1.0.0",
    )?;
    ensure!(
        open.headers.contains("application/openmetrics-text") && open.body.ends_with("# EOF\n"),
        "{open:?}"
    );
    let head = ask(at, "HEAD", "/metrics", "*/*")?;
    ensure!(head.status == 200 && head.body.is_empty(), "{head:?}");
    let post = ask(at, "POST", "/metrics", "*/*")?;
    ensure!(
        post.status == 405 && post.headers.to_lowercase().contains("allow: get, head"),
        "{post:?}"
    );
    let said = service.stop()?;
    ensure!(said.len() == 1, "more than where it serves: {said:?}");
    Ok(())
}

/// Other hosts may reach it, without a password: it says so, in one line.
pub fn beyond_loopback(context: &Context) -> Result<()> {
    let mut command = Command::new(&context.twtrace);
    command
        .args(["serve", "--listen", "0.0.0.0:0"])
        .args(context.tier.options());
    let service = Service::of(command)?;
    let page = get(([127, 0, 0, 1], service.address.port()).into(), "/metrics")?;
    ensure!(
        page.status == 200 && page.headers.contains("x-content-type-options: nosniff"),
        "{page:?}"
    );
    let said = service.stop()?;
    ensure!(
        said.len() == 2 && said[0].contains("without TLS or a password"),
        "{said:?}"
    );
    Ok(())
}

/// Nothing is traced if the endpoint can't listen.
pub fn port_taken(context: &Context) -> Result<()> {
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?.to_string();
    let mut command = Command::new(&context.twtrace);
    command.args(["serve", "--listen", &address]);
    let (code, said) = service::refused(command)?;
    ensure!(
        code == 1 && said.contains(&address) && said.contains("--listen takes another"),
        "{code}: {said}"
    );
    Ok(())
}
