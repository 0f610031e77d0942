use std::io::Cursor;

use guard_core::{
    finding::Severity,
    ids::RepositoryKey,
    ledger::Row,
    snapshot::{SnapshotLine, SnapshotRecord},
    testing::{image, image_key, now, policy, recorded},
};
use proptest::prelude::*;

use super::Snapshot;
use crate::{
    OK, UNUSABLE,
    testing::{Desk, header, listed, snapshot},
};

fn records() -> Vec<SnapshotRecord> {
    let row = Row {
        findings: vec![recorded("CVE-2026-1", Severity::Critical)],
        ..Row::first(image_key(), &policy(""), now())
    };
    vec![
        SnapshotRecord::Image(Box::new(row)),
        listed(image(&image_key())),
        SnapshotRecord::ListedAll(RepositoryKey::of(&image_key())),
    ]
}

/// All that a file has, or why it is no snapshot.
fn read(bytes: Vec<u8>) -> Result<Vec<SnapshotRecord>, String> {
    let mut snapshot = Snapshot::open("s.jsonl", Cursor::new(bytes)).map_err(|why| why.to_string())?;
    let mut found = Vec::new();
    let each = snapshot.each(|at, record| {
        found.push((at, record));
        Ok(())
    });
    each.map_err(|why| why.to_string())?;
    for (at, record) in &found {
        assert_eq!(snapshot.record(*at).unwrap(), *record, "by its place");
    }
    Ok(found.into_iter().map(|(_, record)| record).collect())
}

#[test]
fn a_snapshot_is_read_as_it_was_written() {
    let bytes = snapshot(&records());
    assert_eq!(read(bytes.clone()).unwrap(), records());
    let windows = String::from_utf8(bytes).unwrap().replace('\n', "\r\n");
    assert_eq!(read(format!("\u{feff}{windows}").into_bytes()).unwrap(), records());
}

#[test]
fn the_command_saves_a_ledger() {
    let desk = Desk::with(records());
    let (code, out, trouble) = desk.run("ecr-guard snapshot --region eu-central-1 --table t s.jsonl");
    assert_eq!((code, trouble.as_str()), (OK, ""));
    insta::assert_snapshot!(out, @"s.jsonl: 3 records of table t in eu-central-1.");
    let saved = desk.files.lock().unwrap().get("s.jsonl").cloned().unwrap();
    assert_eq!(read(saved).unwrap(), records());
    let (place, extent) = desk.asked.lock().unwrap().first().cloned().unwrap();
    assert_eq!((place.table.as_str(), extent.registries), ("t", true));
    let (code, out, _) = desk.run("ecr-guard snapshot --ledger-only -");
    assert_eq!(code, OK);
    assert_eq!(read(out.into_bytes()).unwrap(), records());
    assert!(!desk.asked.lock().unwrap().last().unwrap().1.registries);
    assert_eq!(
        desk.run("ecr-guard snapshot --region us-west-2 --region eu-west-1 s").0,
        UNUSABLE
    );
}

#[test]
fn a_ledger_that_cannot_be_read_leaves_no_file() {
    let desk = Desk {
        ledger: Err("dynamodb:Scan failed with `AccessDeniedException`.".to_owned()),
        ..Desk::default()
    };
    let (code, out, trouble) = desk.run("ecr-guard snapshot s.jsonl");
    assert_eq!((code, out.as_str()), (UNUSABLE, ""));
    assert_eq!(trouble, "dynamodb:Scan failed with `AccessDeniedException`.\n");
    assert!(desk.files.lock().unwrap().is_empty());
}

#[test]
fn what_is_no_snapshot_is_refused_with_its_place() {
    let good = String::from_utf8(snapshot(&records())).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let of = |lines: &[&str]| {
        lines
            .iter()
            .map(|line| format!("{line}\n"))
            .collect::<String>()
            .into_bytes()
    };
    let first = SnapshotLine::Snapshot(header()).write().unwrap();
    let newer = first.replace("snapshot/v1", "snapshot/v2");
    let worse = lines[1].replace(r#""Pending""#, r#""Lost""#);
    let mut not_utf8 = of(&lines);
    not_utf8.insert(lines[0].len() + 3, 0xff);
    let answers = [
        read(Vec::new()),
        read(b"{\"version\": 1}\n".to_vec()),
        read(vec![0x1f, 0x8b, 8, 0]),
        read(of(&lines[1..])),
        read(of(&[&newer])),
        read(of(&[lines[0], &worse, lines[4]])),
        read(of(&lines[..3])),
        read(of(&[lines[0], lines[1], lines[4]])),
        read(of(&[lines[0], lines[0]])),
        read([of(&lines), of(&lines[1..2])].concat()),
        read(not_utf8),
        read([of(&lines[..1]), vec![b' '; 5_000_000]].concat()),
    ];
    let answers = answers.map(|answer| answer.unwrap_err());
    insta::assert_snapshot!(answers.join("\n"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_a_file_has_it_is_read_or_refused(at in any::<prop::sample::Index>(), with in prop::collection::vec(any::<u8>(), 0..9), cut in any::<bool>()) {
        let good = snapshot(&records());
        let place = at.index(good.len());
        let mut bytes = good.clone();
        if cut { bytes.truncate(place) } else { bytes.splice(place..place, with.iter().copied()); }
        match read(bytes.clone()) {
            Ok(read) => prop_assert!(bytes == good || !cut || place + 1 == good.len() || read == records()),
            Err(why) => prop_assert!(why.starts_with("s.jsonl:"), "{}", why),
        }
    }
}
