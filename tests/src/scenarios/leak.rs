//! Connections that the peer has closed and that stay open here.

use std::{net::SocketAddr, rc::Rc, time::Duration};

use anyhow::Result;

use super::{ReportRun, Scenario};
use crate::{
    actor::{
        Actor,
        command::{Connection, Fd},
    },
    expect::Side,
    stage::{
        Stage,
        finding::{CrowdRow, ExpectedCloseWait},
    },
    sys::proc_net::State,
};

pub const SCENARIOS: &[Scenario] = &[Scenario::both("leak", leak).reported(ReportRun {
    options: &[],
    loses: false,
    ends_before: false,
})];

const BY_SERVER: u64 = 5;
const BY_CLIENT: u64 = 3;
const HEALTHY: u64 = 4;
const NOT_ACCEPTED: u64 = 2;
/// From this age on a connection in CLOSE_WAIT was not only about to be closed.
pub const STAYED: Duration = Duration::from_millis(5_300);
/// The minimum age of the leak.
const AGE: Duration = Duration::from_millis(1200);

/// A server and a client that do not close what their peers closed, a child that has inherited some of it, and
/// connections that nobody accepts; beside them a server that closes correctly.
pub fn leak(stage: &Stage) -> Result<()> {
    let (leaky, its_listener, its_address) = server(stage, "ls")?;
    let (healthy, listener, address) = server(stage, "hs")?;
    let (_, _, deaf_address) = server(stage, "ds")?;
    let client = stage.actor("cl")?;
    for _ in 0..BY_SERVER {
        let at_client = client.connect(its_address)?;
        let at_server = leaky.accept(its_listener)?;
        client.close(&at_client)?;
        until_left(stage, &at_client, &at_server)?;
    }
    for _ in 0..HEALTHY {
        let at_client = client.connect(address)?;
        let at_server = healthy.accept(listener)?;
        client.close(&at_client)?;
        until_left(stage, &at_client, &at_server)?;
        healthy.await_end(&at_server)?;
        healthy.close(&at_server)?;
        stage.until_time_wait(&at_client)?;
    }
    let forgetful = stage.actor("lc")?;
    let mut child: Option<Rc<Actor>> = None;
    for _ in 0..BY_CLIENT {
        let at_client = forgetful.connect(address)?;
        let at_server = healthy.accept(listener)?;
        healthy.close(&at_server)?;
        until_left(stage, &at_server, &at_client)?;
        if child.is_none() {
            child = Some(stage.fork(&forgetful, "ch")?);
        }
    }
    for _ in 0..NOT_ACCEPTED {
        let at_client = client.connect(deaf_address)?;
        client.close(&at_client)?;
        stage.until_parked(&at_client)?;
    }
    let births = |actor: &Actor, side, births| CrowdRow {
        pid: Some(actor.pid),
        comm: actor.comm.clone(),
        side,
        births,
    };
    stage.expect_births(births(
        &client,
        Side::Client,
        BY_SERVER + HEALTHY + NOT_ACCEPTED,
    ));
    stage.expect_births(births(&healthy, Side::Server, BY_CLIENT));

    let age = stage.pause(AGE);
    let row = |actor: Option<&Actor>, side, count, shared| ExpectedCloseWait {
        pid: actor.map(|actor| actor.pid),
        comm: actor.map(|actor| actor.comm.clone()),
        side,
        destination: String::new(),
        count,
        shared,
        at_least_ns: u64::try_from(age.as_nanos()).unwrap_or(u64::MAX),
    };
    let port = |address: SocketAddr| format!(":{}", address.port());
    stage.expect_close_wait(ExpectedCloseWait {
        destination: port(its_address),
        ..row(Some(&leaky), Side::Server, BY_SERVER, 0)
    });
    stage.expect_close_wait(ExpectedCloseWait {
        destination: port(deaf_address),
        ..row(None, Side::Server, NOT_ACCEPTED, 0)
    });
    for (actor, count) in [(Some(&forgetful), BY_CLIENT), (child.as_ref(), 1)] {
        stage.expect_close_wait(ExpectedCloseWait {
            destination: address.to_string(),
            ..row(actor.map(|actor| &**actor), Side::Client, count, 1)
        });
    }
    Ok(())
}

pub fn server(stage: &Stage, role: &str) -> Result<(Rc<Actor>, Fd, SocketAddr)> {
    let server = stage.actor(role)?;
    let (listener, address) = server.listen(stage.ip.loopback_any_port())?;
    Ok((server, listener, address))
}

/// Waits until one end waits for the other's FIN, and the other end for its process.
pub fn until_left(stage: &Stage, closed: &Connection, left: &Connection) -> Result<()> {
    stage.until_parked(closed)?;
    stage.until_state(left.local, left.remote, State::CloseWait)
}
