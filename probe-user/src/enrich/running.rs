//! The processes that run now, by what filters know of them.

use std::fs;

use twtrace_core::event::comm::Comm;
use twtrace_core::event::place::Place;

use super::cgroup_lines;

/// Calls `visit` with the name and the place of each process, as far as they can be read.
pub fn each(mut visit: impl FnMut(Comm, Option<Place>)) {
    let Ok(entries) = fs::read_dir("/proc") else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_process = name.as_encoded_bytes().iter().all(u8::is_ascii_digit);
        if is_process && let Ok(mut comm) = fs::read(entry.path().join("comm")) {
            comm.truncate(comm.len() - usize::from(comm.ends_with(b"\n")));
            let cgroup = fs::read(entry.path().join("cgroup")).ok();
            let place = cgroup.and_then(|text| cgroup_lines::choose(&text));
            visit(Comm::from_bytes(&comm), place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_visited() {
        let own = fs::read_to_string("/proc/self/comm").unwrap();
        let mut is_found = false;
        each(|comm, _| is_found |= comm.is_of(own.trim_end()));
        assert!(is_found, "{own}");
    }
}
