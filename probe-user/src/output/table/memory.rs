//! One line: what TIME_WAIT costs.

use crate::model::memory::{CacheRow, Memory};
use crate::output::quantity::bytes;

/// `tw_sock_TCP 80 of 256B = 20.5kB, tcp_bind_bucket not known: …`, with the sum of mini-sockets before it.
pub fn render(memory: &Memory) -> String {
    let sum = match memory.time_wait_bytes {
        Some(sum) => format!("{} in mini-sockets", bytes(sum)),
        None => "not known".to_owned(),
    };
    let caches: Vec<String> = memory.caches.iter().map(cache).collect();
    format!("{sum} ({})\n", caches.join(", "))
}

fn cache(row: &CacheRow) -> String {
    let figures = (row.active_objects, row.object_bytes, row.held_bytes);
    match (figures, &row.why) {
        ((Some(objects), Some(size), Some(held)), _) => format!(
            "{}: {objects} of {}, {} held",
            row.name,
            bytes(size),
            bytes(held)
        ),
        (_, Some(why)) => format!("{}: {why}", row.name),
        (_, None) => format!("{}: -", row.name),
    }
}
