//! Many small repositories, chosen by fixed dice around each limit: which of their images a sweep reconciles, and why.

use jiff::{SignedDuration, Timestamp};

use super::sampled::{METHODS, STATES, ago, digest, tag};
use crate::{
    decide::{Due, LONG_TURN_HOURS, Survey, TURN_HOURS, Turns, step::REFUSAL_STANDS, verdict},
    finding::{NoScan, ScanEvent, ScanMode, Severity, SeverityCounts},
    ids::{ImageKey, Region},
    image::{Child, Image, ImageStatus, ListedImage},
    ledger::{AlertRecord, Block, Cause, OmittedExcepted, RecordedFinding, Row, ScanRecord, Source},
    marker::quarantine_tag,
    notice::AlertKind,
    policy::{Action, Policy},
    release::TimedRelease,
    state::State,
    testing::{Dice, Tally, around, image, image_key, now, policy, policy_in, recorded, registry_key, release},
    uses::{GRACE, Phase, SourceKind, UseRow, UseRowSchema, Via, Workload, WorkloadKind, WorkloadSource},
};

const NAMES: [char; 6] = ['a', 'b', 'c', 'd', 'e', 'f'];
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CHART: &str = "application/vnd.cncf.helm.config.v1+json";

fn policies() -> Vec<Policy> {
    [
        "",
        "",
        "",
        r#""block": {"when_in_use": "block", "method": "flag"}"#,
        r#""block": {"method": "quarantine-tag", "in_use_days": 3}"#,
        r#""scan": {"artifacts": "judge"}"#,
        r#""repositories": [{"match": "*", "replication": {"regions": ["us-west-2"], "max_lag_minutes": 60}}]"#,
        r#""repositories": [{"match": "*", "replication": {"regions": ["us-west-2", "eu-west-1"], "max_lag_minutes": 60}}]"#,
        r#""exceptions": [{"vulnerability": "CVE-2026-1", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-12-31"},
            {"vulnerability": "CVE-2026-2", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-11-23"}]"#,
    ]
    .into_iter()
    .map(policy)
    .chain([policy_in("report", "")])
    .collect()
}

fn one(dice: &mut Dice, name: char) -> Image {
    let mut one = Image {
        digest: digest(name),
        ..image(&image_key())
    };
    let mark = quarantine_tag(&one.digest).unwrap();
    one.tags = dice.mostly(
        vec![tag("v1.2.3")],
        &[
            Vec::new(),
            Vec::new(),
            vec![mark.clone()],
            vec![mark, tag("v1")],
            vec![tag("z"), tag("a")],
        ],
    );
    one.status = dice.mostly(
        ImageStatus::Active,
        &[
            ImageStatus::Archived,
            ImageStatus::Archived,
            ImageStatus::Activating,
            ImageStatus::Other("LEAVING".to_owned()),
        ],
    );
    let limits = [
        around(SignedDuration::from_mins(30)),
        around(SignedDuration::from_hours(24)),
        around(SignedDuration::from_mins(15)),
    ]
    .concat();
    one.pushed_at = dice.mostly(
        Some(ago(60 * 48)),
        &limits.into_iter().map(Some).chain([None]).collect::<Vec<_>>(),
    );
    let days = [3, 14, 90].map(|days| SignedDuration::from_hours(24 * days));
    let windows: Vec<_> = days
        .into_iter()
        .flat_map(|window| [around(window), around(window + SignedDuration::from_hours(6))].concat())
        .collect();
    one.last_pulled_at = dice.mostly(None, &windows.into_iter().map(Some).collect::<Vec<_>>());
    match dice.below(8) {
        0 | 1 => {
            one.manifest_media_type = Some(INDEX.to_owned());
            one.artifact_media_type = None;
        }
        2 => one.artifact_media_type = Some(CHART.to_owned()),
        _ => {}
    }
    one
}

fn listed(dice: &mut Dice, image: &Image) -> ListedImage {
    ListedImage {
        image: image.clone(),
        bytes: 1,
        scan_status: dice.mostly(
            Some("COMPLETE".to_owned()),
            &[
                None,
                None,
                Some("ACTIVE".to_owned()),
                Some("IN_PROGRESS".to_owned()),
                Some("FAILED".to_owned()),
            ],
        ),
        scanned_at: dice.mostly(
            Some(ago(50)),
            &[
                None,
                None,
                Some(ago(50) + SignedDuration::from_secs(1)),
                Some(ago(50) + SignedDuration::from_millis(1)),
            ],
        ),
    }
}

fn block(dice: &mut Dice) -> Block {
    let refusal = around(REFUSAL_STANDS);
    Block {
        method: dice.of(&METHODS),
        at: ago(60),
        confirmed: !dice.one_in(8),
        tags: Vec::new(),
        returns: Vec::new(),
        undone_at: dice.mostly(None, &[Some(ago(10)), None]),
        release_refused_at: dice.mostly(None, &[None, Some(refusal[0]), Some(refusal[1]), Some(refusal[2])]),
        told: true,
    }
}

fn excepted(dice: &mut Dice) -> RecordedFinding {
    RecordedFinding {
        exception: dice.maybe(&[
            "exceptions[0]".to_owned(),
            "exceptions[1]".to_owned(),
            "exceptions[9]".to_owned(),
        ]),
        action: dice.of(&[Action::Block, Action::Review]),
        ..recorded("CVE-2026-1", Severity::Critical)
    }
}

/// A row that fits the image, mostly.
fn row(dice: &mut Dice, policy: &Policy, image: &Image) -> Row {
    let key = ImageKey {
        digest: image.digest.clone(),
        ..image_key()
    };
    let state = dice.of(&STATES);
    let ends = [ago(-1), now(), ago(1)];
    let scan = ScanRecord {
        mode: dice.mostly(ScanMode::Basic, &[ScanMode::Enhanced]),
        completed_at: dice.mostly(Some(ago(50)), &[None]),
        counts_use: false,
    };
    let is_index = image.manifest_media_type.as_deref() == Some(INDEX);
    let mut several = |number: usize| {
        (0..dice.below(number))
            .map(|_| digest(dice.of(&NAMES)))
            .collect::<Vec<_>>()
    };
    let (below, above) = (several(4), several(3));
    let many = (0..9).map(|at| digest(NAMES[at % NAMES.len()])).collect();
    let looked_for = around(SignedDuration::from_hours(3));
    let (one, other) = (excepted(dice), excepted(dice));
    Row {
        state,
        policy: dice.mostly(policy.sha256.clone(), &["another".to_owned(), policy.sha256.clone()]),
        no_scan: (matches!(state, State::Unscannable | State::Stale) || dice.one_in(12)).then_some(NoScan::Failed),
        scan: dice.mostly(Some(scan), &[None]),
        cause: dice.maybe(&[Cause::Tag, Cause::Findings]),
        unjudged: dice.one_in(4),
        excepted: dice.mostly(Vec::new(), &[vec![one]]),
        omitted_excepted: dice.mostly(
            Vec::new(),
            &[
                Vec::new(),
                vec![OmittedExcepted {
                    scope: "s".to_owned(),
                    number: 2,
                    worst: other,
                }],
            ],
        ),
        block: (state == State::Blocked && !dice.one_in(6) || dice.one_in(10)).then(|| block(dice)),
        alert: dice
            .mostly(
                None,
                &[None, Some(AlertKind::ScanOverdue), Some(AlertKind::ImageReview)],
            )
            .map(|kind| AlertRecord {
                id: "one".to_owned(),
                kind,
                claimed_at: ago(60),
                claimed_by: "me".to_owned(),
                sent_at: (!dice.one_in(8)).then(|| ago(59)),
                no_news: false,
            }),
        release: dice.one_in(8).then(|| {
            let until = dice.of(&ends);
            TimedRelease {
                told_at: dice.maybe(&[ago(89)]),
                ..release(until)
            }
        }),
        scan_event: dice
            .mostly(None, &looked_for.map(Some))
            .filter(|_| dice.one_in(3))
            .map(|at| ScanEvent {
                at,
                counts: SeverityCounts::new(),
                total: None,
            }),
        limited_until: dice.mostly(None, &ends.map(Some)).filter(|_| dice.one_in(3)),
        refused_until: dice.mostly(None, &ends.map(Some)).filter(|_| dice.one_in(3)),
        runs: dice.one_in(10),
        uses_unknown: dice.one_in(10),
        tags: dice.mostly(
            image.tags.iter().rev().cloned().collect(),
            &[vec![tag("other")], image.tags.clone(), image.tags.clone()],
        ),
        available_since: dice.mostly(image.available_since(), &[None, image.available_since()]),
        children: if is_index || dice.one_in(10) {
            below
                .into_iter()
                .map(|digest| Child { digest, platform: None })
                .collect()
        } else {
            Vec::new()
        },
        more_children: u64::from(dice.one_in(10)),
        indexes: if dice.one_in(10) {
            many
        } else if is_index {
            Vec::new()
        } else {
            above
        },
        more_indexes: dice.one_in(10),
        alone: dice.one_in(4),
        runnable: dice.one_in(6),
        not_reached: dice.one_in(15),
        source: dice.mostly(
            None,
            &[Some(Source {
                region: "eu-west-1".parse().unwrap(),
                verdict: Some("0123456789ab".to_owned()),
                blocked: false,
                judged: dice.clone().one_in(2),
            })],
        ),
        closed_at: dice.mostly(None, &[None, None, Some(ago(20))]),
        ..Row::first(key, policy, ago(120))
    }
}

/// The row of another region, and the source that follows it.
fn elsewhere(dice: &mut Dice, row: &mut Row) -> Row {
    let region: Region = dice.of(&[
        "eu-west-1".parse().unwrap(),
        "eu-central-1".parse().unwrap(),
        registry_key().region,
    ]);
    let mut there = row.clone();
    there.image.region = region;
    there.closed_at = None;
    there.source = dice.mostly(
        None,
        &[Some(Source {
            region: dice.clone().of(&["eu-north-1".parse().unwrap(), registry_key().region]),
            verdict: None,
            blocked: false,
            judged: false,
        })],
    );
    there.available_since = dice.mostly(Some(ago(60 * 72)), &[None, row.available_since, Some(ago(1))]);
    if let Some(source) = row.source.as_mut().filter(|_| dice.one_in(2)) {
        source.verdict = Some(verdict(&there));
    }
    there
}

fn use_of(dice: &mut Dice, name: char) -> UseRow {
    let region = registry_key().region;
    let recently = around(GRACE + SignedDuration::from_hours(6));
    let gone: Vec<Option<Timestamp>> = around(GRACE)
        .into_iter()
        .chain(recently)
        .map(Some)
        .chain([None, None])
        .collect();
    UseRow {
        schema: UseRowSchema::V1,
        image: ImageKey {
            digest: digest(name),
            ..image_key()
        },
        workloads: vec![Workload {
            phase: dice.of(&[Phase::Running, Phase::Desired, Phase::Rollback]),
            kind: WorkloadKind::EcsService,
            name: "api".to_owned(),
            within: None,
            version: None,
            source: WorkloadSource {
                account: registry_key().account,
                region,
                kind: SourceKind::Ecs,
            },
            via: Via::Digest,
        }],
        more: Vec::new(),
        changed_at: ago(1),
        since: ago(600),
        gone_at: dice.of(&gone),
        generation: 1,
    }
}

fn survey(dice: &mut Dice, policy: &Policy) -> (Vec<(String, String)>, String) {
    let since = dice.maybe(&[ago(60), ago(60 * 5), ago(60 * 24), ago(60 * 24 * 8)]);
    let mut survey = Survey::new(policy, &image_key().repository, Turns::new(since, now()), now());
    let names = NAMES.get(..1 + dice.below(5)).unwrap_or_default();
    let region = registry_key().region;
    let mut list = Vec::new();
    for name in names {
        let image = one(dice, *name);
        let mut row = row(dice, policy, &image);
        if dice.one_in(5) {
            let there = elsewhere(dice, &mut row);
            survey.remember_elsewhere(&there, &region);
        }
        if dice.one_in(5) {
            survey.remember_use(&use_of(dice, *name));
        }
        if !dice.one_in(6) {
            survey.remember(&row);
        }
        if !dice.one_in(8) {
            list.push(listed(dice, &image));
        }
    }
    let waits = survey.waits_for_uses();
    if dice.one_in(2) {
        survey.uses_are_known();
    }
    for listed in &list {
        survey.see(listed);
    }
    let summary = format!(
        "{} rows, waits for uses: {waits}, knows all indexes: {}",
        survey.rows(),
        survey.knows_all_indexes()
    );
    let complete = !dice.one_in(4);
    let states = |name: &str| list.iter().any(|listed| listed.image.digest.as_str().contains(name));
    let due = survey.finish(complete);
    let order: Vec<&str> = due.iter().map(|(_, due)| due.as_str()).collect();
    let summary = format!("{summary}; due: {}", order.join(", "));
    let each = due.iter().map(|(digest, due)| {
        let name = digest.as_str().get(7..8).unwrap_or_default();
        (
            format!("{name}, listed: {}", states(&name.repeat(64))),
            due.as_str().to_owned(),
        )
    });
    (each.collect(), summary)
}

#[test]
fn each_reason_has_a_word_and_a_sentence() {
    let all = [
        Due::NotBlocked,
        Due::New,
        Due::Scanned,
        Due::AlertOwed,
        Due::Waiting,
        Due::AnotherPolicy,
        Due::ExceptionEnded,
        Due::Release,
        Due::Overdue,
        Due::Changed,
        Due::Source,
        Due::Family,
        Due::Gone,
        Due::Turn,
    ];
    let lines: Vec<String> = all
        .iter()
        .map(|due| format!("{}: {}", due.as_str(), due.meaning()))
        .collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn which_images_are_due() {
    let policies = policies();
    let mut tally = Tally::default();
    for seed in 0..2000 {
        let mut dice = Dice::new(seed);
        let policy = dice.of(&policies);
        let name = format!("case {seed}");
        let (each, summary) = survey(&mut dice, &policy);
        for (image, due) in each {
            tally.see(&name, format!("image {image}: {due}"));
        }
        for part in summary.split("; ") {
            tally.see(&name, part);
        }
    }
    insta::assert_snapshot!(tally.to_string());
}

#[test]
fn each_subject_has_its_turn_once_in_a_period() {
    for hours in [TURN_HOURS, LONG_TURN_HOURS] {
        for name in 0..50 {
            let begin = now();
            let at = |hour: u64| begin + SignedDuration::from_hours(i64::try_from(hour).unwrap());
            let turns = (1..=hours).filter(|hour| Turns::new(Some(at(hour - 1)), at(*hour)).has(&name, hours));
            assert_eq!(turns.count(), 1, "{name}");
            let alone = (1..=hours).filter(|hour| Turns::new(None, at(*hour)).has(&name, hours));
            assert_eq!(alone.count(), 1, "{name}");
            // One late sweep takes all hours since the last one.
            assert!(Turns::new(Some(begin), at(hours)).has(&name, hours), "{name}");
            assert!(!Turns::new(Some(at(hours)), at(hours)).has(&name, hours), "{name}");
        }
    }
}
