//! More TIME_WAITs than the kernel allows.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::{Scenario, close::parked};
use crate::{
    expect::Expected,
    stage::Stage,
    sys::proc_net::{self, KernelCounters},
};

pub const SCENARIOS: &[Scenario] = &[Scenario::both("max_tw_buckets", max_tw_buckets)];

const BUCKETS: usize = 5;
const CONNECTIONS: usize = 12;

/// The first ones leave a mini-socket, the others are refused one.
fn max_tw_buckets(stage: &Stage) -> Result<()> {
    stage.sysctl("ipv4/tcp_max_tw_buckets", &BUCKETS.to_string())?;
    let server = stage.actor("sv")?;
    let client = stage.actor("cl")?;
    let (listener, address) = server.listen(stage.ip.loopback_any_port())?;
    let before = KernelCounters::read()?.overflow;
    for index in 0..CONNECTIONS {
        let at_client = client.connect(address)?;
        // Stays open to the end: a FIN to a connection without mini-socket would be answered with a RST.
        server.accept(listener)?;
        client.close(&at_client)?;
        if index < BUCKETS {
            stage.until_parked(&at_client)?;
            stage.expect(parked(&at_client).own_client(&client).bytes(0, 0));
        } else {
            let start = Instant::now();
            stage.until("the client's end is gone", || {
                stage.ensure_not_stuck(&at_client, start)?;
                Ok(!proc_net::sockets()?
                    .iter()
                    .any(|socket| socket.local == at_client.local))
            })?;
            stage.expect(
                Expected::overflow()
                    .own_client(&client)
                    .ends(&at_client)
                    .bytes(0, 0),
            );
        }
    }
    let refused = KernelCounters::read()?.overflow - before;
    ensure!(
        refused == (CONNECTIONS - BUCKETS) as u64,
        "the kernel refused {refused} mini-sockets"
    );
    Ok(())
}
