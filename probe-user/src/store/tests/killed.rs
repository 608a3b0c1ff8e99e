//! The process is killed.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use super::*;

const DIRECTORY: &str = "TWTRACE_TEST_HISTORY";

#[test]
#[ignore = "run by the test below, in a process of its own"]
fn writes_until_it_is_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let options = options(Path::new(&directory));
    let mut keeper = Keeper::open(options, Arc::default()).unwrap();
    for minute in 0.. {
        keeper.take(Box::new(interval(minute)), |id| {
            println!("committed {id}");
            std::io::stdout().flush().unwrap();
        });
    }
}

#[test]
fn what_was_committed_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let mut latest = 0;
    for round in 0..12_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::tests::killed::writes_until_it_is_killed"])
            .args(["--ignored", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let reading = thread::spawn(move || {
            let mut latest = None;
            for line in lines.map_while(Result::ok) {
                if let Some(id) = line.strip_prefix("committed ") {
                    latest = id.parse::<i64>().ok().or(latest);
                }
            }
            latest
        });
        thread::sleep(Duration::from_millis(150 + 37 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        latest = reading.join().unwrap().unwrap_or(latest);
        if latest == 0 {
            // It was killed before it created the file, so nothing was promised yet.
            continue;
        }
        let ids = ids(directory.path());
        let all: Vec<i64> = (1..=ids.len() as i64).collect();
        assert_eq!(ids, all, "none is missing in between");
        assert!(
            all.len() as i64 >= latest,
            "{latest} was committed, {} are there",
            all.len()
        );
        let connection = Connection::open(database::path_in(directory.path())).unwrap();
        let check: String = connection
            .query_row("PRAGMA integrity_check", [], |row| row.get(0))
            .unwrap();
        assert_eq!(check, "ok");
    }
    assert!(latest > 12, "only {latest} were committed");
    let merged = merged(directory.path(), Span::default(), &Filter::default());
    assert!(merged.report.history.unwrap().intervals >= latest as u64);
}
