use std::fs;
use std::io::Cursor;

use super::*;
use crate::record::reader::RecordingReader;

fn start_line(part: u32) -> Vec<u8> {
    format!(
        "{{\"ts\":\"2026-11-25T16:00:00Z\",\"mono_ns\":1,\"event\":\"start\",\"format\":1,\"part\":{part},\"kernel\":\"6\",\"host\":\"h\"}}\n"
    )
    .into_bytes()
}

fn line(number: u64) -> String {
    format!(
        "{{\"ts\":\"2026-11-25T16:00:00Z\",\"mono_ns\":{number},\"event\":\"lost\",\"probe\":\"reset\",\"count\":1}}\n"
    )
}

fn read(bytes: Vec<u8>) -> Vec<u64> {
    let mut reader = RecordingReader::new("r".into(), Box::new(Cursor::new(bytes))).unwrap();
    let entries = std::iter::from_fn(|| reader.next().unwrap());
    entries.map(|entry| entry.at().mono_ns).collect()
}

const UNBOUNDED: Bounds = Bounds {
    max_bytes: None,
    keep: 4,
};

#[tokio::test(flavor = "current_thread")]
async fn what_is_written_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("r");
    let mut writer =
        RecordingWriter::create(&path, UNBOUNDED, false, Box::new(start_line)).unwrap();
    for number in 0..50_000 {
        writer.text().extend(line(number).bytes());
        writer.flush_due().await.unwrap();
    }
    let written = writer.finish().await.unwrap();
    let file = fs::read(&path).unwrap();
    assert_eq!(written.bytes, file.len() as u64);
    assert!(read(file).into_iter().eq(0..50_000));
}

#[tokio::test(flavor = "current_thread")]
async fn a_line_is_on_disk_within_a_second() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("r");
    let mut writer =
        RecordingWriter::create(&path, UNBOUNDED, false, Box::new(start_line)).unwrap();
    writer.text().extend(line(7).bytes());
    writer.flush_due().await.unwrap();
    let began = Instant::now();
    // As the live loop does, which polls at least every 50 ms.
    while read(fs::read(&path).unwrap()).is_empty() {
        writer.flush_due().await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(began.elapsed() < Duration::from_secs(20), "it never comes");
    }
    // The writer is not finished, as after a crash.
    assert_eq!(read(fs::read(&path).unwrap()), [7]);
}

#[tokio::test(flavor = "current_thread")]
async fn the_latest_parts_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("r");
    let bounds = Bounds {
        max_bytes: Some(40_000),
        keep: 2,
    };
    let mut writer = RecordingWriter::create(&path, bounds, false, Box::new(start_line)).unwrap();
    // Numbers that do not compress well, so that parts fill up.
    for number in 0..200_000_u64 {
        let scattered = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1;
        writer.text().extend(line(scattered).bytes());
        writer.flush_due().await.unwrap();
    }
    let written = writer.finish().await.unwrap();
    assert!(written.parts > 3, "{written:?}");
    let latest = RecordingReader::open(&path).unwrap();
    assert_eq!(latest.start().part, written.parts);
    let before = RecordingReader::open(&directory.path().join("r.1")).unwrap();
    assert_eq!(before.start().part, written.parts - 1);
    assert!(!directory.path().join("r.2").exists());
}

#[tokio::test(flavor = "current_thread")]
async fn a_full_disk_is_told_in_the_end() {
    let path = Path::new("/dev/full");
    let made = RecordingWriter::create(path, UNBOUNDED, false, Box::new(start_line));
    let error = made.err().unwrap().to_string();
    assert!(error.contains("/dev/full"), "{error}");
}

#[test]
fn frames_end_behind_lines() {
    assert_eq!(frame_end(b"a\nb\n"), 4);
    let mut long = vec![b'x'; FRAME_TEXT - 1];
    long.push(b'\n');
    long.extend(b"next\n");
    assert_eq!(frame_end(&long), FRAME_TEXT);
    let mut longer = vec![b'x'; FRAME_TEXT + 5];
    longer.extend(b"\nnext\n");
    assert_eq!(frame_end(&longer), FRAME_TEXT + 6);
}
