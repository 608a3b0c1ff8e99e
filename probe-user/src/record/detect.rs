//! Tells recordings from other files by how they begin, so that none is overwritten by mistake.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;

use serde::Deserialize;

use super::frames::MAGIC;
use super::observation::ObservationKind;

/// Bytes of a file that are examined.
const BEGIN: u64 = 64 << 10;

/// The fields of a line that decide.
#[derive(Deserialize)]
struct Line {
    event: String,
    format: Option<u32>,
    part: Option<u32>,
}

/// Whether an open file is a recording: Zstandard frames, or JSON lines that begin with a `start` and have
/// observations. The lines of `trace --json` have none: they are output that can be overwritten. False if the file
/// can't be read, or is not a regular one.
pub fn is_recording(file: &File) -> bool {
    let is_regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
    // A new description of the same file: `file` may be open for writing only, and its position stays.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let Some(opened) = is_regular.then(|| File::open(path).ok()).flatten() else {
        return false;
    };
    let mut begin = Vec::new();
    opened.take(BEGIN).read_to_end(&mut begin).is_ok() && begins_a_recording(&begin)
}

fn begins_a_recording(begin: &[u8]) -> bool {
    if begin.starts_with(&MAGIC) {
        return true;
    }
    let mut lines = begin.split(|byte| *byte == b'\n');
    let first = lines.next().map(serde_json::from_slice::<Line>);
    let Some(Ok(start)) = first else {
        return false;
    };
    start.event == "start"
        && start.format.is_some()
        && (start.part > Some(1) || lines.any(is_observation))
}

/// Decides by the first fields: a long line may be cut off.
fn is_observation(line: &[u8]) -> bool {
    const FIELD: &str = "\"event\":";
    /// The times before the field have this many bytes at most.
    const FIELDS: usize = 128;
    let begin = String::from_utf8_lossy(&line[..line.len().min(FIELDS)]);
    let Some((_, rest)) = begin.split_once(FIELD) else {
        return false;
    };
    let word = rest.split(',').next().unwrap_or(rest);
    serde_json::from_str::<ObservationKind>(word).is_ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const START: &str =
        r#"{"ts":"2026-11-25T16:00:00Z","mono_ns":1,"event":"start","format":1,"part":1}"#;
    const SOCKETS: &str = r#"{"ts":"2026-11-25T16:00:00Z","mono_ns":1,"event":"sockets","part":1,"#;
    const EVENT: &str = r#"{"ts":"2026-11-25T16:00:00Z","mono_ns":1,"event":"reset"}"#;

    #[test]
    fn recordings_are_told_from_output() {
        let compressed = zstd::bulk::compress(START.as_bytes(), 1).unwrap();
        assert!(begins_a_recording(&compressed));
        let later_part = START.replace("\"part\":1", "\"part\":2");
        for (text, is_recording) in [
            (format!("{START}\n{SOCKETS}"), true),
            (format!("{START}\n{EVENT}\n{SOCKETS}"), true),
            (format!("{later_part}\n{EVENT}\n"), true),
            (format!("{START}\n{EVENT}\n"), false),
            (format!("{EVENT}\n{SOCKETS}"), false),
            ("TIME EVENT\n".to_owned(), false),
            (String::new(), false),
        ] {
            assert_eq!(begins_a_recording(text.as_bytes()), is_recording, "{text}");
        }
    }

    #[test]
    fn a_file_that_is_open_for_writing_is_examined() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&MAGIC).unwrap();
        let open = File::options().write(true).open(file.path()).unwrap();
        assert!(is_recording(&open));
        assert!(!is_recording(&File::open("/dev/null").unwrap()));
    }
}
