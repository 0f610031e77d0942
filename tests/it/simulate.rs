//! The answer of `simulate` about a policy is what sweeps then do: ledgers that the engine has made, and the engine itself as the
//! oracle.

mod played;

use std::io::Cursor;

use ecr_guard_cli::{
    judged::{Judge, Judged, Outcome, PolicyText},
    known::Known,
    snapshot::{Snapshot, Writing},
};
use jiff::Timestamp;
use shared::{
    core::{
        finding::Severity,
        ids::ImageKey,
        ledger::Row,
        policy::Policy,
        snapshot::{
            SNAPSHOT_SCHEMA, SnapshotAccess, SnapshotHeader, SnapshotLine, SnapshotListed, SnapshotPolicy,
            SnapshotRecord,
        },
        state::State,
    },
    ports::{Clock as _, Listing as _, UseLedger as _},
    testing::{
        World,
        explore::{Choices, Exploration, Story},
        finding, image, image_key, now, run, scan,
        sweep::sweep,
    },
};

use self::played::{Played, Written, repository};

/// A snapshot of what the worlds of two regions have, as the command line would take it.
fn known(worlds: &[&World], images: &[(usize, ImageKey)], access: Option<&str>, policy: &str) -> Known {
    let taken_at = worlds[0].now();
    let account = image_key().account;
    let mut records = vec![SnapshotRecord::Policy(SnapshotPolicy {
        sha256: "of the ledger".to_owned(),
        deployed: true,
        document: policy.to_owned(),
    })];
    let rows = images.iter().filter_map(|(place, key)| worlds[*place].row_of(key));
    records.extend(rows.map(|row| SnapshotRecord::Image(Box::new(row))));
    for (place, world) in worlds.iter().enumerate() {
        let repository = repository(place);
        let page = run(world.images(&repository, None)).unwrap();
        let listed = page.map(|page| {
            assert_eq!(page.next, None);
            page.items
        });
        records.extend(listed.into_iter().flatten().map(|listed| {
            let repository = repository.clone();
            SnapshotRecord::Listed(Box::new(SnapshotListed { repository, listed }))
        }));
        records.push(SnapshotRecord::ListedAll(repository.clone()));
        records.extend(world.use_rows().into_iter().map(SnapshotRecord::Use));
        records.extend(world.refused_pulls().into_iter().map(SnapshotRecord::RefusedPull));
        let states = run(world.index_states(&account)).unwrap();
        records.extend(states.into_iter().map(SnapshotRecord::Uses));
        let copies = images.iter().filter_map(|(_, key)| world.replica_row_of(key));
        records.extend(copies.map(SnapshotRecord::Copy));
        records.push(SnapshotRecord::Access(SnapshotAccess {
            repository,
            document: access.map(str::to_owned),
        }));
    }
    let mut bytes: Vec<u8> = Vec::new();
    let mut writing = Writing::new(&mut bytes);
    let header = SnapshotHeader {
        schema: SNAPSHOT_SCHEMA.to_owned(),
        taken_at,
        version: "0.1.0".to_owned(),
        table: "t".to_owned(),
        region: image_key().region,
        repository: None,
    };
    writing.line(&SnapshotLine::Snapshot(header)).unwrap();
    for record in records {
        writing.line(&SnapshotLine::Record(record)).unwrap();
    }
    writing.end().unwrap();
    Known::read(Snapshot::open("worlds", Cursor::new(bytes)).unwrap()).unwrap()
}

/// The answer about each image under `policy`. `old`: the policy that the ledger was made under.
fn said(known: &mut Known, policy: &str, old: &str, images: &[(usize, ImageKey)]) -> Vec<Judged> {
    let at = known.snapshot.header.taken_at;
    let [policy, old] = [policy, old].map(|document| PolicyText::read(document, at).unwrap());
    let mut judge = Judge::new(&policy, &[&old], at);
    let answer = |(_, key): &(usize, ImageKey)| {
        let id = known.id(key).unwrap();
        judge.image(known, id).unwrap()
    };
    images.iter().map(answer).collect()
}

fn agrees(judged: &Judged, row: Option<&Row>) -> bool {
    let open = row.filter(|row| row.closed_at.is_none());
    match (&judged.outcome, open) {
        // A copy is what it is by itself, if the block of its source is deferred.
        (Outcome::State(State::Blocked), Some(row)) if !judged.unless.is_empty() => {
            matches!(row.state, State::Blocked | State::BlockDeferred) || row.source.is_some()
        }
        (Outcome::State(said), Some(row)) => *said == row.state,
        (Outcome::Gone | Outcome::LeftAlone, None) => true,
        (Outcome::Unknown(_), _) => true,
        _ => false,
    }
}

fn read(document: &str, at: Timestamp) -> Policy {
    Policy::from_deployed_json(document, at).unwrap()
}

/// The sweeps until nothing changes any more: a family may need a second one, and copies one more.
const SWEEPS: usize = 4;

fn explore(choices: &mut Choices, story: &mut Story) -> Result<(), String> {
    let mut played = Played::new(choices, story);
    let old = Written::any(choices);
    let new = if choices.one_in(4) { old } else { old.changed(choices) };
    let (old, new) = (old.document(), new.document());
    story.line(|| format!("old: {old}\nnew: {new}"));
    let policy = read(&old, now());
    played.index_workloads(&policy, choices, story);
    played.sweep(&policy, SWEEPS);
    for _ in 0..choices.below(8) {
        played.happens(&policy, choices, story);
    }
    let at = played.worlds[0].now();
    let after = read(&new, at);
    played.index_workloads(&after, choices, story);
    let worlds: Vec<&World> = played.worlds.iter().collect();
    let mut known = known(&worlds, &played.images, played.access.as_deref(), &old);
    let before: Vec<Option<Row>> = played
        .images
        .iter()
        .map(|(place, key)| worlds[*place].row_of(key))
        .collect();
    let said = said(&mut known, &new, &old, &played.images);
    played.sweep(&after, SWEEPS);
    let ended = policy.exceptions.iter().filter(|exception| exception.has_ended(at));
    let ended: Vec<&str> = ended.map(|exception| exception.name.as_str()).collect();
    let names = before.iter().flatten().flat_map(|row| &row.excepted);
    let names = names.filter_map(|finding| finding.exception.as_deref());
    story.count(
        "exceptions that ended",
        names.filter(|name| ended.contains(name)).count(),
    );
    for (((place, key), judged), before) in played.images.iter().zip(&said).zip(&before) {
        let row = played.worlds[*place].row_of(key);
        count(judged, row.as_ref(), story);
        if !agrees(judged, row.as_ref()) {
            let is = row.as_ref().map(|row| row.state.as_str());
            let name = |judged: &Judged| judged.outcome.word();
            story.line(|| format!("row before: {}", serde_json::to_string(before).unwrap()));
            story.line(|| format!("row after: {}", serde_json::to_string(&row).unwrap()));
            return Err(format!(
                "said {}, is {is:?}: {} {}: said: {} {:?}, is: {}",
                name(judged),
                key.region,
                key,
                judged.reason,
                judged.hold,
                row.map(|row| row.reason).unwrap_or_default()
            ));
        }
    }
    Ok(())
}

fn count(judged: &Judged, row: Option<&Row>, story: &mut Story) {
    story.count("images", 1);
    story.count("unknown", usize::from(matches!(judged.outcome, Outcome::Unknown(_))));
    let Some(row) = row else { return };
    story.count("follow their source", usize::from(row.source.is_some()));
    story.count("blocked", usize::from(row.state == State::Blocked));
    let held = match judged.hold {
        Some("used-by-workload") if row.uses_unknown => "held: uses are not known",
        Some("used-by-workload") => "held: a workload",
        Some("released") => "held: a release",
        Some("in-use") => "held: in use",
        Some("source-not-blocked") => "held: its source",
        _ => return,
    };
    story.count(held, 1);
}

/// A failure names the number of its scenario. `ECR_GUARD_SEED` repeats that one, and `ECR_GUARD_SCENARIOS` runs more of them.
#[test]
fn what_is_said_of_a_policy_is_what_sweeps_then_do() {
    let exploration = Exploration::new("simulate", 450);
    let explored = exploration.run(explore);
    explored.assert_none();
    // A single scenario, or a handful, need not have all of it.
    if explored.count("images") > 2_000 {
        for played in [
            "copies",
            "exceptions that ended",
            "follow their source",
            "held: a release",
            "held: a workload",
            "held: in use",
            "held: its source",
            "held: uses are not known",
            "refused pulls",
            "regions with enhanced scanning",
        ] {
            assert!(explored.count(played) > 0, "{played}: {explored}");
        }
        let (unknown, images) = (explored.count("unknown"), explored.count("images"));
        assert!(unknown * 20 < images, "{explored}");
    }
}

/// The answer is seldom "unknown": where a stricter policy asks for what the ledger has not remembered, and nowhere else.
#[test]
fn unknown_is_what_the_ledger_does_not_remember() {
    let severities = [Severity::Critical, Severity::High, Severity::Medium, Severity::Low];
    let images: Vec<(usize, ImageKey)> = (1..=severities.len())
        .map(|number| {
            let digest = format!("sha256:{number:064x}").parse().unwrap();
            (0, ImageKey { digest, ..image_key() })
        })
        .collect();
    let document = |members: &str| {
        let comma = if members.is_empty() { "" } else { ", " };
        format!(
            r#"{{"version": 1, "mode": "enforce", "routes": {{"default": "arn:aws:sns:us-west-2:123456789012:alerts"}}{comma}{members}}}"#
        )
    };
    let outcomes = |new: &str| {
        let world = World::new();
        for ((_, key), severity) in images.iter().zip(severities) {
            world.push(key, image(key));
            world.complete_scan(key, scan(vec![finding("CVE-2026-1", severity)]));
        }
        let old = document("");
        sweep(&world, &read(&old, now()));
        let mut known = known(&[&world], &images, None, &old);
        let judged = said(&mut known, &document(new), &old, &images);
        judged
            .iter()
            .map(|judged| judged.outcome.word())
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(outcomes(""), "Blocked Review Allowed Allowed");
    assert_eq!(
        outcomes(r#""severities": {"HIGH": "block"}"#),
        "Blocked Blocked Allowed Allowed"
    );
    assert_eq!(
        outcomes(r#""severities": {"MEDIUM": "block"}"#),
        "Blocked Review unknown Allowed"
    );
    assert_eq!(
        outcomes(r#""severities": {"CRITICAL": "review"}, "accept_risk": true"#),
        "Review Review Allowed Allowed"
    );
    // A rule may be for any of those that are not remembered.
    let rule = r#""rules": [{"vulnerabilities": ["CVE-2026-*"], "action": "block"}]"#;
    assert_eq!(outcomes(rule), "Blocked Blocked unknown unknown");
}
