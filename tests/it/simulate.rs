//! The answer of `simulate` about a policy is what sweeps then do: ledgers that sweeps have made, and the engine itself as the
//! oracle.

use std::io::Cursor;

use ecr_guard_cli::{
    judged::{Judge, Judged, Outcome, PolicyText},
    known::{ImageId, Known},
    snapshot::{Snapshot, Writing},
};
use jiff::{SignedDuration, Timestamp};
use proptest::{prelude::*, test_runner::RngSeed};
use shared::{
    core::{
        finding::{Finding, Fix, Severity},
        ids::{ImageKey, RepositoryKey},
        image::Image,
        policy::Policy,
        snapshot::{
            SNAPSHOT_SCHEMA, SnapshotAccess, SnapshotHeader, SnapshotLine, SnapshotListed, SnapshotPolicy,
            SnapshotRecord,
        },
        state::State,
    },
    ports::Listing as _,
    testing::{World, finding, image, image_key, now, run, scan, sweep::sweep},
};

/// Members of policies. Each is compared with each.
const POLICIES: [&str; 12] = [
    "",
    r#""severities": {"CRITICAL": "review"}, "accept_risk": true"#,
    r#""severities": {"HIGH": "block"}"#,
    r#""severities": {"HIGH": "block", "MEDIUM": "review"}"#,
    r#""severities": {"MEDIUM": "block"}"#,
    r#""severities": {"HIGH": "inform", "CRITICAL": "review"}, "accept_risk": true"#,
    r#""exceptions": [{"vulnerability": "CVE-2026-1", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-12-31"}]"#,
    r#""exceptions": [{"vulnerability": "*", "repositories": ["*"], "tag": "v1", "owner": "o", "reason": "r", "expires": "2026-12-31"}]"#,
    r#""unfixable": {"CRITICAL": "review"}"#,
    r#""block": {"max_blocks_per_hour": 1000, "when_in_use": "block"}"#,
    r#""block": {"max_blocks_per_hour": 1000, "method": "quarantine-tag"}"#,
    r#""block": {"max_blocks_per_hour": 1000, "in_use_days": 5, "not_worse_than_running": false}"#,
];

fn document(mode: &str, members: &str) -> String {
    let comma = if members.is_empty() { "" } else { ", " };
    let limit = if members.contains("max_blocks_per_hour") {
        ""
    } else {
        r#", "block": {"max_blocks_per_hour": 1000}"#
    };
    format!(
        r#"{{"version": 1, "mode": "{mode}", "routes": {{"default": "arn:aws:sns:us-west-2:123456789012:alerts"}}{comma}{members}{limit}}}"#
    )
}

/// The generated facts of an image.
#[derive(Debug, Clone)]
struct Given {
    findings: Vec<(u8, Severity, bool)>,
    tagged: bool,
    pushed_days: i64,
    pulled_days: Option<i64>,
}

fn given() -> impl Strategy<Value = Given> {
    let severity = prop::sample::select(vec![
        Severity::Critical,
        Severity::High,
        Severity::Medium,
        Severity::Low,
    ]);
    let findings = prop::collection::vec((0..4_u8, severity, any::<bool>()), 0..4);
    let pulled = prop::option::of(prop::sample::select(vec![0_i64, 2, 10, 100]));
    (
        findings,
        prop::bool::weighted(0.8),
        prop::sample::select(vec![0_i64, 1, 30, 200]),
        pulled,
    )
        .prop_map(|(findings, tagged, pushed_days, pulled_days)| Given {
            findings,
            tagged,
            pushed_days,
            pulled_days,
        })
}

fn key(number: usize) -> ImageKey {
    ImageKey {
        digest: format!("sha256:{number:064x}").parse().unwrap(),
        ..image_key()
    }
}

fn days(number: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * number)
}

fn found(findings: &[(u8, Severity, bool)]) -> Vec<Finding> {
    let of = |(id, severity, fixed): &(u8, Severity, bool)| Finding {
        fix: if *fixed { Fix::Available } else { Fix::Unavailable },
        fixed_in: fixed.then(|| "9.9".to_owned()),
        package: Some(format!("p{id}-{severity}")),
        ..finding(&format!("CVE-2026-{id}"), *severity)
    };
    let mut found: Vec<Finding> = findings.iter().map(of).collect();
    found.sort_by(|a, b| (&a.id, &a.package).cmp(&(&b.id, &b.package)));
    found.dedup_by(|a, b| (&a.id, &a.package) == (&b.id, &b.package));
    found
}

/// A registry with these images, and an index of the first two.
fn world(images: &[Given], with_index: bool) -> World {
    let world = World::new();
    for (number, given) in images.iter().enumerate() {
        let key = key(number + 1);
        world.push(
            &key,
            Image {
                tags: given
                    .tagged
                    .then(|| format!("v{number}").parse().unwrap())
                    .into_iter()
                    .collect(),
                pushed_at: Some(now() - days(given.pushed_days) - SignedDuration::from_hours(1)),
                last_pulled_at: given
                    .pulled_days
                    .filter(|days| *days <= given.pushed_days)
                    .map(|n| now() - days(n)),
                ..image(&key)
            },
        );
        world.complete_scan(&key, scan(found(&given.findings)));
    }
    if with_index && images.len() > 1 {
        let index = key(1000);
        world.push(
            &index,
            Image {
                tags: vec!["index".parse().unwrap()],
                pushed_at: Some(now() - SignedDuration::from_mins(30)),
                manifest_media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
                artifact_media_type: None,
                ..image(&index)
            },
        );
        let entry = |number: usize, architecture: &str| {
            format!(
                r#"{{"digest": "{}", "platform": {{"os": "linux", "architecture": "{architecture}"}}}}"#,
                key(number).digest
            )
        };
        world.set_manifest(
            &index,
            &format!(r#"{{"manifests": [{}, {}]}}"#, entry(1, "amd64"), entry(2, "arm64")),
        );
    }
    world
}

fn keys(images: &[Given], with_index: bool) -> Vec<ImageKey> {
    let index = (with_index && images.len() > 1).then_some(1000);
    (1..=images.len()).chain(index).map(key).collect()
}

/// A snapshot of what the world has, as the command line would take it.
fn known(world: &World, keys: &[ImageKey], policy: &str) -> Known {
    let repository = RepositoryKey::of(&image_key());
    let mut records = vec![SnapshotRecord::Policy(SnapshotPolicy {
        sha256: "of the ledger".to_owned(),
        deployed: true,
        document: policy.to_owned(),
    })];
    records.extend(
        keys.iter()
            .filter_map(|key| world.row_of(key))
            .map(|row| SnapshotRecord::Image(Box::new(row))),
    );
    let page = run(world.images(&repository, None)).unwrap().unwrap();
    assert_eq!(page.next, None);
    records.extend(page.items.into_iter().map(|listed| {
        let repository = repository.clone();
        SnapshotRecord::Listed(Box::new(SnapshotListed { repository, listed }))
    }));
    records.push(SnapshotRecord::ListedAll(repository.clone()));
    records.push(SnapshotRecord::Access(SnapshotAccess {
        repository,
        document: None,
    }));
    let mut bytes: Vec<u8> = Vec::new();
    let mut writing = Writing::new(&mut bytes);
    let header = SnapshotHeader {
        schema: SNAPSHOT_SCHEMA.to_owned(),
        taken_at: now(),
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
    Known::read(Snapshot::open("world", Cursor::new(bytes)).unwrap()).unwrap()
}

fn text(document: &str, at: Timestamp) -> PolicyText {
    PolicyText::read(document, at).unwrap()
}

/// The answer about each image under `policy`. `old`: the policy that the ledger was made under.
fn said(known: &mut Known, policy: &PolicyText, old: &PolicyText, keys: &[ImageKey]) -> Vec<Judged> {
    let mut judge = Judge::new(policy, &[old], now());
    let ids: Vec<ImageId> = keys.iter().map(|key| known.id(key).unwrap()).collect();
    ids.into_iter().map(|id| judge.image(known, id).unwrap()).collect()
}

fn agrees(judged: &Judged, state: State) -> bool {
    match &judged.outcome {
        Outcome::State(State::Blocked) if !judged.unless.is_empty() => {
            matches!(state, State::Blocked | State::BlockDeferred)
        }
        Outcome::State(said) => *said == state,
        Outcome::Unknown(_) => true,
        Outcome::Gone | Outcome::New | Outcome::LeftAlone => false,
    }
}

fn read(document: &str) -> Policy {
    Policy::from_json(document, now()).unwrap()
}

/// The sweeps until nothing changes any more: a family may need a second one.
const SWEEPS: usize = 3;

proptest! {
    // Always the same cases: a change is compared with the run before it.
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, rng_seed: RngSeed::Fixed(20), ..ProptestConfig::default() })]

    #[test]
    fn what_is_said_of_a_policy_is_what_sweeps_then_do(
        images in prop::collection::vec(given(), 1..6),
        with_index in any::<bool>(),
        (old, new) in (0..POLICIES.len(), 0..POLICIES.len()),
        (old_enforces, new_enforces) in (any::<bool>(), prop::bool::weighted(0.8)),
    ) {
        let mode = |enforces: bool| if enforces { "enforce" } else { "report" };
        let (old, new) = (document(mode(old_enforces), POLICIES[old]), document(mode(new_enforces), POLICIES[new]));
        let world = world(&images, with_index);
        let keys = keys(&images, with_index);
        for _ in 0..SWEEPS {
            sweep(&world, &read(&old));
        }
        let mut known = known(&world, &keys, &old);
        let (old_text, new_text) = (text(&old, now()), text(&new, now()));
        let stay = said(&mut known, &old_text, &old_text, &keys);
        for (key, judged) in keys.iter().zip(&stay) {
            let row = world.row_of(key).unwrap();
            prop_assert!(agrees(judged, row.state), "{} under the same policy: said {:?}, is {:?}: {}", key, judged, row.state, row.reason);
            prop_assert!(!matches!(judged.outcome, Outcome::Unknown(_)), "{} under the same policy: {:?}", key, judged);
        }
        let become_ = said(&mut known, &new_text, &old_text, &keys);
        for _ in 0..SWEEPS {
            sweep(&world, &read(&new));
        }
        for (key, judged) in keys.iter().zip(&become_) {
            let row = world.row_of(key).unwrap();
            prop_assert!(agrees(judged, row.state), "{} from\n{}\nto\n{}\nsaid {:?}\nis {:?}: {}", key, old, new, judged, row.state, row.reason);
        }
    }
}

/// The answer is seldom "unknown": where a stricter policy asks for what the ledger has not remembered, and nowhere else.
#[test]
fn unknown_is_what_the_ledger_does_not_remember() {
    let of = |severity| Given {
        findings: vec![(1, severity, true)],
        tagged: true,
        pushed_days: 0,
        pulled_days: None,
    };
    let images = [
        of(Severity::Critical),
        of(Severity::High),
        of(Severity::Medium),
        of(Severity::Low),
    ];
    let keys = keys(&images, false);
    let outcomes = |new: &str| {
        let world = world(&images, false);
        let old = document("enforce", "");
        sweep(&world, &read(&old));
        let mut known = known(&world, &keys, &old);
        let judged = said(
            &mut known,
            &text(&document("enforce", new), now()),
            &text(&old, now()),
            &keys,
        );
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
