use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    ledger::MAX_RECORDED_FINDINGS,
    notice::{Note, RepositoryAlertKind},
    repository::ledger::RepositoryRowSchema,
    testing::{image, image_key, now, policy, recorded},
};

fn key() -> RepositoryKey {
    let image = image_key();
    RepositoryKey {
        account: image.account,
        region: image.region,
        repository: image.repository,
    }
}

fn digest(number: u32) -> Digest {
    format!("sha256:{number:064x}").parse().unwrap()
}

fn row(number: u32, state: State, hours: i64) -> Row {
    let since = now() - SignedDuration::from_hours(hours);
    let mut row: Row = serde_json::from_value(json!({
        "schema": "ecr-guard/row/v1", "image": image_key(), "state": "Pending", "reason": "because", "since": since,
        "generation": 1, "policy": "", "tags": ["v1"], "available_since": since
    }))
    .unwrap();
    row.image.digest = digest(number);
    row.state = state;
    row
}

fn rated(number: u32, state: State, hours: i64, severity: Severity) -> Row {
    Row {
        findings: vec![recorded("CVE-2026-1", severity)],
        ..row(number, state, hours)
    }
}

fn listed(number: u32, hours: i64) -> ListedImage {
    let mut image = image(&image_key());
    image.digest = digest(number);
    image.pushed_at = Some(now() - SignedDuration::from_hours(hours));
    ListedImage {
        image,
        bytes: 100,
        scan_status: None,
        scanned_at: None,
    }
}

fn summary_at(images: &[ListedImage], rows: &[Row], at: Timestamp) -> RepositorySummary {
    let policy = policy(r#""repositories": [{"match": "*", "lifecycle": {"expire_untagged_days": 1}}]"#);
    let mut builder = SummaryBuilder::new(&policy, &key(), at);
    images.iter().for_each(|image| builder.image(image));
    rows.iter().for_each(|row| builder.row(row));
    builder.finish(None)
}

fn summary(images: &[ListedImage], rows: &[Row]) -> RepositorySummary {
    summary_at(images, rows, now())
}

fn news(summary: &RepositorySummary, day: &str) -> News {
    summary.days.get(&day.parse().unwrap()).copied().unwrap_or_default()
}

#[test]
fn images_are_counted_with_their_bytes_and_what_would_be_deleted() {
    let mut archived = listed(2, 30);
    archived.image.status = ImageStatus::Archived;
    let mut child = listed(3, 30);
    child.image.tags.clear();
    let mut old = listed(4, 30);
    old.image.tags.clear();
    let mut index = row(1, State::Allowed, 30);
    index.children = vec![crate::image::Child {
        digest: digest(3),
        platform: None,
    }];
    let summary = summary(&[listed(1, 30), archived, child, old], &[index]);
    assert_eq!((summary.images, summary.archived), (4, 1));
    assert_eq!((summary.bytes, summary.archived_bytes), (400, 100));
    assert_eq!(summary.surplus, Some(Surplus { images: 1, bytes: 100 }));
    let without_lifecycle = policy("");
    assert_eq!(
        SummaryBuilder::new(&without_lifecycle, &key(), now())
            .finish(None)
            .surplus,
        None
    );
}

#[test]
fn states_are_counted_and_the_worst_are_named() {
    let mut rows: Vec<Row> = (0..7)
        .map(|n| rated(n, State::BlockDeferred, 50 + i64::from(n), Severity::High))
        .collect();
    rows.push(rated(10, State::BlockDeferred, 1, Severity::Critical));
    rows.push(rated(11, State::Blocked, 60, Severity::Critical));
    rows.push(rated(12, State::Blocked, 50, Severity::Critical));
    rows.push(row(13, State::Allowed, 50));
    let summary = summary(&[], &rows);
    let states: Vec<_> = summary
        .states
        .iter()
        .map(|(state, count)| (state.as_str(), *count))
        .collect();
    assert_eq!(states, [("Allowed", 1), ("Blocked", 2), ("Held", 8)]);
    let named = |cases: &Cases| cases.worst.iter().map(|case| case.digest.clone()).collect::<Vec<_>>();
    assert_eq!(summary.held.total, 8);
    // The worst, then those that have been so the longest.
    assert_eq!(named(&summary.held), [10, 6, 5, 4, 3].map(digest));
    // People do not know yet of the latest block.
    assert_eq!(named(&summary.blocked), [12, 11].map(digest));
    assert_eq!(summary.review, Cases::default());
}

#[test]
fn what_is_clean_by_an_answer_without_a_time_and_what_nobody_could_reconcile_is_counted() {
    let scanned = |number, state, at: Option<Timestamp>| {
        let mut row = row(number, state, 1);
        row.scan = Some(serde_json::from_value(json!({"mode": "enhanced", "completed_at": at})).unwrap());
        row
    };
    let not_reached = Row {
        image: row(5, State::Pending, 1).image,
        ..Row::not_reached(image_key(), &policy(""), "a call failed", now())
    };
    let closed = Row {
        closed_at: Some(now()),
        ..not_reached.clone()
    };
    let rows = [
        scanned(1, State::Allowed, None),
        scanned(2, State::Allowed, Some(now())),
        scanned(3, State::Review, None),
        row(4, State::Allowed, 1),
        not_reached,
        closed,
    ];
    let summary = summary(&[], &rows);
    assert_eq!((summary.unconfirmed, summary.not_reached), (1, 1));
    let text = serde_json::to_string(&self::summary(&[], &[])).unwrap();
    assert!(!text.contains("unconfirmed") && !text.contains("not_reached"), "{text}");
}

#[test]
fn what_does_not_count_is_left_out() {
    let mut elsewhere = row(1, State::Blocked, 1);
    elsewhere.image.region = "us-east-1".parse().unwrap();
    let mut another = row(2, State::Blocked, 1);
    another.image.repository = "another".parse().unwrap();
    let mut closed = row(3, State::Blocked, 1);
    closed.closed_at = Some(now());
    assert_eq!(summary(&[], &[elsewhere, another, closed]), summary(&[], &[]));
}

#[test]
fn a_scan_and_a_return_from_the_archive_are_overdue_after_their_time() {
    let block = |minutes| {
        let at = now() - SignedDuration::from_mins(minutes);
        let block = json!({"method": "archive", "at": at, "confirmed": true, "undone_at": at});
        Some(serde_json::from_value(block).unwrap())
    };
    let returning = |minutes| Row {
        block: block(minutes),
        ..row(1, State::Allowed, 9)
    };
    let waiting = |minutes| Row {
        available_since: Some(now() - SignedDuration::from_mins(minutes)),
        ..row(1, State::Pending, 9)
    };
    for (row, overdue, why) in [
        (waiting(30), 0, "within the grace"),
        (waiting(31), 1, "longer than the grace"),
        (returning(60), 0, "ECR takes its time"),
        (returning(61), 1, "it should have been back"),
        (row(1, State::Stale, 9), 0, "it does not wait"),
    ] {
        assert_eq!(summary(&[], &[row]).overdue.total, overdue, "{why}");
    }
}

#[test]
fn what_is_new_is_counted_by_the_day_in_utc() {
    let mut released = row(5, State::Allowed, 90);
    released.alert = Some(
        serde_json::from_value(json!({"id": "a", "kind": "image-released", "claimed_by": "b",
            "claimed_at": "2026-11-23T23:59:59Z"}))
        .unwrap(),
    );
    let mut signature = listed(4, 1);
    signature.image.tags = vec![format!("sha256-{}.sig", "a".repeat(64)).parse().unwrap()];
    let rows = [
        row(1, State::Blocked, 12),
        row(2, State::Blocked, 13),
        row(3, State::BlockDeferred, 37),
        row(4, State::Review, 3),
        released,
    ];
    let summary = summary(&[listed(1, 12), listed(2, 13), listed(3, 37), signature], &rows);
    let expected = News {
        pushed: 1,
        blocked: 1,
        review: 1,
        ..News::default()
    };
    assert_eq!(news(&summary, "2026-11-24"), expected);
    let expected = News {
        pushed: 1,
        blocked: 1,
        released: 1,
        ..News::default()
    };
    assert_eq!(news(&summary, "2026-11-23"), expected);
    assert_eq!(summary.days.len(), 2);
}

#[test]
fn what_is_known_of_the_repository_itself_is_in_it() {
    let policy = policy("");
    let change = crate::notice::Change {
        setting: "posture.encryption".to_owned(),
        old: "AES256".to_owned(),
        new: "KMS".to_owned(),
    };
    let note = |kind, changes| Note {
        kind,
        id: String::new(),
        changes,
        reason: String::new(),
        claimed_at: now(),
        claimed_by: String::new(),
        sent_at: None,
    };
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let repository = RepositoryRow {
        schema: RepositoryRowSchema::V1,
        repository: key(),
        generation: 1,
        policy: String::new(),
        opt_out: Some("report: moving".to_owned()),
        notes: vec![
            note(RepositoryAlertKind::PostureDrift, vec![change.clone(), change.clone()]),
            note(RepositoryAlertKind::PostureRepaired, vec![change]),
        ],
        repairs: BTreeMap::from([(
            "posture.scan_on_push".to_owned(),
            vec![at("2026-11-23T20:00:00Z"), at("2026-11-24T03:00:00Z")],
        )]),
        held: None,
        previewing: None,
        checked: None,
        route: None,
    };
    let mut builder = SummaryBuilder::new(&policy, &key(), now());
    builder.repository(&repository);
    let ready = Readiness {
        expected: 3,
        present: 2,
        late: 1,
        ..Readiness::of("us-east-1".parse().unwrap())
    };
    builder.copies(std::slice::from_ref(&ready), false);
    let summary = builder.finish(None);
    assert_eq!(summary.opt_out.as_deref(), Some("report: moving"));
    assert_eq!(summary.drift, 2);
    assert_eq!(summary.readiness, [ready]);
    assert_eq!(
        (
            news(&summary, "2026-11-23").repaired,
            news(&summary, "2026-11-24").repaired
        ),
        (1, 1)
    );
}

#[test]
fn exceptions_in_use_are_named_with_the_images_that_need_them() {
    let excepted = |number, names: &[&str]| Row {
        excepted: names
            .iter()
            .map(|name| crate::ledger::RecordedFinding {
                excepted_by: None,
                exception: Some((*name).to_owned()),
                ..recorded("CVE-2026-1", Severity::Critical)
            })
            .collect(),
        ..row(number, State::Allowed, 90)
    };
    let rows = [
        excepted(1, &["exceptions[0]", "exceptions[0]"]),
        excepted(2, &["exceptions[0]", "exceptions[2] SEC-1"]),
    ];
    let expected = BTreeMap::from([("exceptions[0]".to_owned(), 2), ("exceptions[2] SEC-1".to_owned(), 1)]);
    assert_eq!(summary(&[], &rows).exceptions, expected);
}

#[test]
fn a_quarantined_image_is_named_by_the_tag_that_it_had() {
    let block = json!({"method": "quarantine-tag", "at": now(), "confirmed": true, "tags": ["v9"]});
    let quarantined = Row {
        block: Some(serde_json::from_value(block).unwrap()),
        tags: vec!["blocked-000000000001".parse().unwrap()],
        ..row(1, State::Blocked, 1)
    };
    let summary = summary(&[], &[quarantined]);
    let tags: Vec<_> = summary
        .blocked
        .worst
        .iter()
        .map(|case| case.tag.clone().unwrap().to_string())
        .collect();
    assert_eq!(tags, ["v9"]);
}

#[test]
fn nothing_is_written_where_nothing_happens_and_days_that_are_over_are_nothing() {
    let (images, rows) = (
        [listed(1, 1), listed(2, 13)],
        [rated(1, State::Blocked, 1, Severity::Critical)],
    );
    let first = summary(&images, &rows);
    assert!(differs(None, &first));
    let after = |hours| summary_at(&images, &rows, now() + SignedDuration::from_hours(hours));
    // Once a day, to show that somebody has looked.
    let (mut last, mut written) = (first.clone(), 0);
    for hours in 0..200 {
        let next = after(hours);
        if differs(Some(&last), &next) {
            (last, written) = (next, written + 1);
            assert_eq!(
                (now() + SignedDuration::from_hours(hours)).as_second() % 86_400,
                0,
                "after {hours} hours"
            );
        }
    }
    assert_eq!(written, 8);
    let after_two_days = after(48);
    assert_ne!(after_two_days.days, first.days);
    let mut more = rows.to_vec();
    more.push(row(2, State::Allowed, 1));
    let changed = [
        summary(&images, &more),
        summary(&images[..1], &rows),
        summary(&images, &[row(1, State::Blocked, 1)]),
        summary(&images, &[]),
    ];
    for changed in changed {
        assert!(differs(Some(&first), &changed), "{changed:?}");
    }
    let mut builder_policy = first.clone();
    builder_policy.generation = 7;
    assert!(
        !differs(Some(&builder_policy), &first),
        "the number of the write says nothing"
    );
}

#[test]
fn the_version_follows_that_of_the_row_before() {
    let policy = policy("");
    let mut before = summary(&[], &[]);
    assert_eq!(before.generation, 1);
    before.generation = 7;
    let next = SummaryBuilder::new(&policy, &key(), now()).finish(Some(&before));
    assert_eq!(next.generation, 8);
}

fn any_row() -> impl Strategy<Value = Row> {
    let states = proptest::sample::select(vec![
        State::Pending,
        State::Allowed,
        State::Review,
        State::Blocked,
        State::BlockDeferred,
        State::Unscannable,
        State::Stale,
    ]);
    let severity = proptest::option::of(proptest::sample::select(Severity::ALL.to_vec()));
    (states, 0..60_i64, severity, "\\PC{0,400}", 0..40_u32).prop_map(|(state, hours, severity, reason, number)| Row {
        reason,
        findings: severity
            .map(|severity| recorded("CVE-2026-1", severity))
            .into_iter()
            .collect(),
        ..row(number, state, hours)
    })
}

proptest! {
    #[test]
    fn a_summary_is_small_and_the_same_in_any_order_and_comes_back_from_the_ledger(
        rows in proptest::collection::vec(any_row(), 0..60),
        turn in 0..60_usize,
    ) {
        let mut rows = rows;
        // An image has one row.
        rows.sort_by(|a, b| a.image.cmp(&b.image));
        rows.dedup_by(|a, b| a.image == b.image);
        let first = summary(&[], &rows);
        let turn = turn % rows.len().max(1);
        rows.rotate_left(turn);
        let other = summary(&[], &rows);
        prop_assert!(!differs(Some(&first), &other));
        prop_assert_eq!(first.states.values().sum::<u64>(), u64::try_from(rows.len()).unwrap());
        let json = serde_json::to_string(&first).unwrap();
        // Far below DynamoDB's 400 KB for an item, however many findings a row has.
        prop_assert!(json.len() < 100 * MAX_RECORDED_FINDINGS);
        prop_assert_eq!(serde_json::from_str::<RepositorySummary>(&json).unwrap(), first);
    }
}

#[test]
fn what_a_person_has_released_is_named_with_its_end_and_not_among_the_held() {
    let mut released = row(1, State::BlockDeferred, 5);
    released.release = Some(crate::release::TimedRelease {
        until: now() + SignedDuration::from_hours(4),
        by: crate::release::Requester {
            account: key().account,
            name: "role/oncall".to_owned(),
            session: Some("alice".to_owned()),
        },
        reason: "checkout is down".to_owned(),
        ticket: Some("SEC-77".to_owned()),
        given_at: now(),
        ended: None,
        told_at: Some(now()),
        end_told_at: None,
    });
    let summary = summary(&[listed(1, 30)], &[released.clone()]);
    assert_eq!((summary.released.total, summary.held.total), (1, 0));
    insta::assert_snapshot!(summary.released.worst[0].reason, @"Released by role/oncall of 123456789012, session `alice` until 2026-11-24 16:00 UTC (SEC-77): checkout is down.");
    // After its end it is one of those whose block is deferred for another reason.
    let later = summary_at(&[listed(1, 30)], &[released], now() + SignedDuration::from_hours(4));
    assert_eq!((later.released.total, later.held.total), (0, 1));
}
