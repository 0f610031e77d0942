//! Rows and lists for the rules of a sweep that no dice hit: many indexes, and times exactly at a limit.

use jiff::{SignedDuration, Timestamp};

use super::sampled::{ago, tag};
use crate::{
    decide::{Due, INDEX_FOLLOWS, MAX_LOOKED_AT, Survey, Turns, step::REFUSAL_STANDS},
    finding::{NoScan, ScanEvent, ScanMode, Severity, SeverityCounts},
    ids::{Digest, ImageKey},
    image::{Child, Image, ImageStatus, ListedImage},
    ledger::{AlertRecord, Block, Cause, MAX_INDEXES, RecordedFinding, Row, ScanRecord},
    notice::AlertKind,
    policy::{BlockMethod, Policy},
    release::TimedRelease,
    state::State,
    testing::{image, image_key, now, policy, policy_in, recorded, registry_key, release},
    uses::{Phase, SourceKind, UseRow, UseRowSchema, Via, Workload, WorkloadKind, WorkloadSource},
};

const SECOND: SignedDuration = SignedDuration::from_secs(1);

fn digest(number: usize) -> Digest {
    format!("sha256:{number:064x}").parse().unwrap()
}

fn key(number: usize) -> ImageKey {
    ImageKey {
        digest: digest(number),
        ..image_key()
    }
}

/// An image that fits `row`.
fn listed(number: usize) -> ListedImage {
    ListedImage {
        image: Image {
            digest: digest(number),
            tags: vec![tag("v1")],
            pushed_at: Some(ago(60 * 48)),
            ..image(&image_key())
        },
        bytes: 1,
        scan_status: Some("COMPLETE".to_owned()),
        scanned_at: Some(ago(50)),
    }
}

fn listed_index(number: usize) -> ListedImage {
    let mut index = listed(number);
    index.image.manifest_media_type = Some("application/vnd.oci.image.index.v1+json".to_owned());
    index.image.artifact_media_type = None;
    (index.scan_status, index.scanned_at) = (None, None);
    index
}

fn row(number: usize, state: State) -> Row {
    Row {
        state,
        tags: vec![tag("v1")],
        available_since: Some(ago(60 * 48)),
        scan: Some(ScanRecord {
            mode: ScanMode::Basic,
            completed_at: Some(ago(50)),
            counts_use: false,
        }),
        ..Row::first(key(number), &policy(""), ago(120))
    }
}

fn block(method: BlockMethod) -> Block {
    Block {
        method,
        at: ago(60),
        confirmed: true,
        tags: Vec::new(),
        returns: Vec::new(),
        undone_at: None,
        release_refused_at: None,
        told: true,
    }
}

fn child(number: usize) -> Child {
    Child {
        digest: digest(number),
        platform: None,
    }
}

/// A release that is in force, and was alerted.
fn alerted_release() -> TimedRelease {
    TimedRelease {
        told_at: Some(ago(89)),
        ..release(ago(-60))
    }
}

/// The images that are due at an hour that is nobody's turn.
fn due_under(policy: &Policy, rows: &[Row], list: &[ListedImage], complete: bool) -> Vec<(Digest, Due)> {
    let mut survey = Survey::new(policy, &image_key().repository, Turns::new(Some(now()), now()), now());
    for row in rows {
        survey.remember(row);
    }
    for listed in list {
        survey.see(listed);
    }
    survey.finish(complete)
}

fn due(rows: &[Row], list: &[ListedImage]) -> Vec<(Digest, Due)> {
    due_under(&policy(""), rows, list, false)
}

fn only(number: usize, due: Due) -> Vec<(Digest, Due)> {
    vec![(digest(number), due)]
}

fn used(number: usize, phase: Phase) -> UseRow {
    UseRow {
        schema: UseRowSchema::V1,
        image: key(number),
        workloads: vec![Workload {
            phase,
            kind: WorkloadKind::EcsService,
            name: "api".to_owned(),
            within: None,
            version: None,
            source: WorkloadSource {
                account: registry_key().account,
                region: registry_key().region,
                kind: SourceKind::Ecs,
            },
            via: Via::Digest,
        }],
        more: Vec::new(),
        changed_at: ago(1),
        since: ago(600),
        gone_at: None,
        generation: 1,
    }
}

#[test]
fn a_blocked_image_that_runs_is_due() {
    let hold = policy("");
    let block_all = policy(r#""block": {"when_in_use": "block"}"#);
    for (policy, phase, expected) in [
        (&hold, Phase::Running, only(1, Due::Waiting)),
        (&hold, Phase::Desired, Vec::new()),
        (&block_all, Phase::Running, Vec::new()),
    ] {
        let row = Row {
            policy: policy.sha256.clone(),
            block: Some(block(BlockMethod::Archive)),
            ..row(1, State::Blocked)
        };
        let mut archived = listed(1);
        archived.image.status = ImageStatus::Archived;
        let mut survey = Survey::new(policy, &image_key().repository, Turns::new(Some(now()), now()), now());
        survey.remember(&row);
        survey.remember_use(&used(1, phase));
        survey.see(&archived);
        assert_eq!(survey.finish(false), expected, "{phase:?}");
    }
}

#[test]
fn a_result_is_looked_for_until_the_limit() {
    let limit = SignedDuration::from_hours(3);
    for (since, expected) in [(limit, Vec::new()), (limit - SECOND, only(1, Due::Scanned))] {
        let row = Row {
            scan_event: Some(ScanEvent {
                at: now() - since,
                counts: SeverityCounts::new(),
                total: None,
            }),
            ..row(1, State::Allowed)
        };
        assert_eq!(due(&[row], &[listed(1)]), expected, "{since:?}");
    }
}

#[test]
fn a_refused_release_stands_until_the_limit() {
    let limit = REFUSAL_STANDS;
    for (since, expected) in [(limit, only(1, Due::Waiting)), (limit - SECOND, Vec::new())] {
        let row = Row {
            block: Some(Block {
                release_refused_at: Some(now() - since),
                ..block(BlockMethod::Flag)
            }),
            ..row(1, State::Blocked)
        };
        assert_eq!(due(&[row], &[listed(1)]), expected, "{since:?}");
    }
}

#[test]
fn ten_unread_indexes_are_read_again() {
    let rows: Vec<Row> = (0..12).map(|number| row(number, State::Allowed)).collect();
    let list: Vec<ListedImage> = (0..12).map(listed_index).collect();
    let due = due(&rows, &list);
    assert_eq!(due.len(), 10);
    assert!(due.iter().all(|(_, due)| *due == Due::Turn));
}

#[test]
fn an_image_of_more_indexes_is_due_once_the_repository_has_no_more() {
    let image = || Row {
        more_indexes: true,
        ..row(5000, State::Allowed)
    };
    let index = |number| Row {
        children: vec![child(6000)],
        ..row(number, State::Allowed)
    };
    for (number, expected) in [(MAX_INDEXES, only(5000, Due::Family)), (MAX_INDEXES + 1, Vec::new())] {
        let mut rows: Vec<Row> = (0..number).map(index).collect();
        rows.push(image());
        let mut list: Vec<ListedImage> = (0..number).map(listed_index).collect();
        list.push(listed(5000));
        // One that somebody else has archived references nothing that can be pulled.
        let mut archived = listed_index(7000);
        archived.image.status = ImageStatus::Archived;
        list.push(archived);
        assert_eq!(due_under(&policy(""), &rows, &list, true), expected, "{number} indexes");
    }
}

#[test]
fn a_child_whose_tag_defers_its_block_contradicts_no_index() {
    for (state, cause, expected) in [
        (State::BlockDeferred, Cause::Tag, Vec::new()),
        (State::BlockDeferred, Cause::Findings, only(1, Due::Family)),
        (State::Blocked, Cause::Tag, only(1, Due::Family)),
        (State::Allowed, Cause::Findings, Vec::new()),
    ] {
        let index = Row {
            children: vec![child(2)],
            ..row(1, State::Allowed)
        };
        let image = Row {
            cause: Some(cause),
            ..row(2, state)
        };
        assert_eq!(
            due(&[index, image], &[listed_index(1)]),
            expected,
            "{state:?} {cause:?}"
        );
    }
}

/// An image whose block is deferred, and its indexes, all of which are blocked.
fn deferred(indexes: usize) -> (Row, Vec<Row>) {
    let image = Row {
        indexes: (2..2 + indexes).map(digest).collect(),
        ..row(1, State::BlockDeferred)
    };
    (
        image,
        (2..2 + indexes).map(|number| row(number, State::Blocked)).collect(),
    )
}

#[test]
fn an_image_of_many_indexes_follows_the_last_of_them() {
    let (image, indexes) = deferred(MAX_LOOKED_AT + 1);
    let of = |image: &Row, indexes: &[Row]| {
        let rows = [std::slice::from_ref(image), indexes].concat();
        due(&rows, &[listed(1)])
    };
    assert_eq!(of(&image, &indexes), only(1, Due::Family));

    let (few, those) = deferred(MAX_LOOKED_AT);
    assert_eq!(of(&few, &those), [], "the reconcile of an index looks at it");
    assert_eq!(of(&image, &indexes[1..]), [], "one of them is not known");
    let mut one_allowed = indexes.clone();
    one_allowed[0].state = State::Allowed;
    assert_eq!(of(&image, &one_allowed), [], "one of them is not blocked");

    for (what, other) in [
        (
            "more indexes",
            Row {
                more_indexes: true,
                ..image.clone()
            },
        ),
        (
            "runs",
            Row {
                runs: true,
                ..image.clone()
            },
        ),
        (
            "released",
            Row {
                release: Some(alerted_release()),
                ..image.clone()
            },
        ),
        (
            "limit",
            Row {
                limited_until: Some(now() + SECOND),
                ..image.clone()
            },
        ),
        (
            "Review",
            Row {
                state: State::Review,
                ..image.clone()
            },
        ),
    ] {
        assert_eq!(of(&other, &indexes), [], "{what}");
    }
    let at_the_limit = Row {
        limited_until: Some(now()),
        refused_until: Some(now() + SECOND),
        ..image.clone()
    };
    assert_eq!(of(&at_the_limit, &indexes), only(1, Due::Family));
    let reports = policy_in("report", "");
    let under = |row: &Row| Row {
        policy: reports.sha256.clone(),
        ..row.clone()
    };
    let rows: Vec<Row> = indexes.iter().chain([&image]).map(under).collect();
    assert_eq!(due_under(&reports, &rows, &[listed(1)], false), []);
}

#[test]
fn a_blocked_index_is_due_for_a_child_that_waits_for_nothing() {
    let index = Row {
        children: vec![child(1)],
        block: Some(block(BlockMethod::Flag)),
        ..row(2, State::Blocked)
    };
    let of = |image: Row, others: &[Row]| {
        let rows = [&[image, index.clone()][..], others].concat();
        due(&rows, &[listed_index(2)])
    };
    let (image, _) = deferred(1);
    assert_eq!(of(image.clone(), &[]), only(2, Due::Family));
    for (what, other) in [
        (
            "runs",
            Row {
                runs: true,
                ..image.clone()
            },
        ),
        (
            "released",
            Row {
                release: Some(alerted_release()),
                ..image.clone()
            },
        ),
        (
            "Review",
            Row {
                state: State::Review,
                ..image.clone()
            },
        ),
        (
            "without a tag",
            Row {
                tags: Vec::new(),
                ..image.clone()
            },
        ),
        ("many indexes", deferred(MAX_LOOKED_AT + 1).0),
    ] {
        assert_eq!(of(other, &[]), [], "{what}");
    }
    assert_eq!(of(deferred(MAX_LOOKED_AT).0, &[]), only(2, Due::Family));

    let (of_two, _) = deferred(2);
    let closed = Row {
        closed_at: Some(ago(5)),
        ..row(3, State::Allowed)
    };
    for (other, expected) in [
        (row(3, State::Allowed), Vec::new()),
        (row(3, State::Blocked), only(2, Due::Family)),
        (row(3, State::NotAnImage), only(2, Due::Family)),
        (closed, only(2, Due::Family)),
    ] {
        let state = other.state;
        assert_eq!(of(of_two.clone(), &[other]), expected, "{state:?}");
    }
}

#[test]
fn a_block_waits_until_all_indexes_are_read() {
    let bare = |number| {
        let mut listed = listed(number);
        listed.image.tags = Vec::new();
        listed
    };
    let index = Row {
        children: vec![child(1)],
        block: Some(block(BlockMethod::Flag)),
        ..row(2, State::Blocked)
    };
    let (image, _) = deferred(1);
    let image = Row {
        tags: Vec::new(),
        ..image
    };
    let of = |image: Row, complete| {
        due_under(
            &policy(""),
            &[image, index.clone()],
            &[bare(1), listed_index(2)],
            complete,
        )
    };
    assert_eq!(of(image.clone(), true), only(1, Due::Family));
    assert_eq!(of(image.clone(), false), []);
    let review = Row {
        state: State::Review,
        ..image.clone()
    };
    assert_eq!(of(review, true), []);
    let alone = Row {
        indexes: Vec::new(),
        alone: true,
        ..image.clone()
    };
    assert_eq!(of(alone.clone(), true), []);
    let not_alone = Row { alone: false, ..alone };
    for (age, expected) in [
        (INDEX_FOLLOWS, only(1, Due::Family)),
        (INDEX_FOLLOWS - SECOND, Vec::new()),
    ] {
        let mut young = bare(1);
        young.image.pushed_at = Some(now() - age);
        let row = Row {
            available_since: Some(now() - age),
            ..not_alone.clone()
        };
        let found = due_under(&policy(""), &[row, index.clone()], &[young, listed_index(2)], true);
        assert_eq!(found, expected, "{age:?}");
    }
    // A row that was closed is not that of an archived image.
    let closed = Row {
        closed_at: Some(ago(5)),
        ..not_alone
    };
    let mut archived = bare(1);
    archived.image.status = ImageStatus::Archived;
    assert_eq!(due_under(&policy(""), &[closed], &[archived], true), []);
}

fn pending(told_overdue: bool, since: Timestamp) -> Row {
    let alert = AlertRecord {
        id: "one".to_owned(),
        kind: AlertKind::ScanOverdue,
        claimed_at: ago(60),
        claimed_by: "me".to_owned(),
        sent_at: Some(ago(59)),
        no_news: false,
    };
    Row {
        scan: None,
        alert: told_overdue.then_some(alert),
        available_since: Some(since),
        ..row(1, State::Pending)
    }
}

#[test]
fn a_scan_is_overdue_after_the_limit() {
    let grace = policy("").scan.grace;
    for (age, expected) in [(grace, Vec::new()), (grace + SECOND, only(1, Due::Overdue))] {
        let mut listed = listed(1);
        listed.image.pushed_at = Some(now() - age);
        (listed.scan_status, listed.scanned_at) = (Some("IN_PROGRESS".to_owned()), None);
        assert_eq!(due(&[pending(false, now() - age)], &[listed]), expected, "{age:?}");
    }
    let awaited = SignedDuration::from_hours(24);
    for (age, expected) in [(awaited, Vec::new()), (awaited - SECOND, only(1, Due::Overdue))] {
        let mut listed = listed(1);
        listed.image.pushed_at = Some(now() - age);
        (listed.scan_status, listed.scanned_at) = (None, None);
        assert_eq!(due(&[pending(true, now() - age)], &[listed]), expected, "{age:?}");
    }
}

#[test]
fn an_image_whose_scan_does_not_show_has_its_turn() {
    let all_hours = Turns::new(Some(now() - SignedDuration::from_hours(24 * 9)), now());
    let turn = |listed: &ListedImage| {
        let policy = policy("");
        let mut survey = Survey::new(&policy, &image_key().repository, all_hours, now());
        survey.remember(&row(1, State::Allowed));
        survey.see(listed);
        survey.finish(false)
    };
    let mut hidden = listed(1);
    (hidden.scan_status, hidden.scanned_at) = (None, None);
    assert_eq!(turn(&hidden), only(1, Due::Turn));
    assert_eq!(turn(&listed(1)), []);
    hidden.image.status = ImageStatus::Archived;
    assert_eq!(turn(&hidden), []);
}

#[test]
fn an_exception_ends_with_its_last_day() {
    let policy = policy(
        r#""exceptions": [{"vulnerability": "CVE-2026-1", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-12-31"}]"#,
    );
    let ends = policy.exceptions[0].ends;
    for (at, expected) in [(ends, only(1, Due::ExceptionEnded)), (ends - SECOND, Vec::new())] {
        let row = Row {
            policy: policy.sha256.clone(),
            excepted: vec![RecordedFinding {
                exception: Some(policy.exceptions[0].name.clone()),
                ..recorded("CVE-2026-1", Severity::Critical)
            }],
            ..row(1, State::Allowed)
        };
        let mut survey = Survey::new(&policy, &image_key().repository, Turns::new(Some(at), at), at);
        survey.remember(&row);
        survey.see(&listed(1));
        assert_eq!(survey.finish(false), expected, "{at}");
    }
}

/// An image of an index that could not be evaluated, because of another image. An exception for the tag of another index does not hold here.
#[test]
fn a_finding_that_is_excepted_for_another_index_contradicts_an_index_without_a_verdict() {
    let policy = policy(
        r#""exceptions": [
            {"vulnerability": "CVE-2026-1", "repositories": ["*"], "tag": "v2", "owner": "o", "reason": "r", "expires": "2026-12-31"},
            {"vulnerability": "CVE-2026-1", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-12-31"}]"#,
    );
    let index = Row {
        policy: policy.sha256.clone(),
        children: vec![child(1), child(2)],
        scan: None,
        no_scan: Some(NoScan::Failed),
        ..row(3, State::Unscannable)
    };
    for (tags, exception, expected) in [
        ("v1", 0, only(3, Due::Family)),
        ("v2", 0, Vec::new()),
        ("v1", 1, Vec::new()),
    ] {
        let image = Row {
            policy: policy.sha256.clone(),
            tags: vec![tag(tags)],
            excepted: vec![RecordedFinding {
                exception: Some(policy.exceptions[exception].name.clone()),
                ..recorded("CVE-2026-1", Severity::Critical)
            }],
            ..row(1, State::Allowed)
        };
        let due = due_under(&policy, &[image, index.clone()], &[listed_index(3)], false);
        assert_eq!(due, expected, "tagged {tags}, exception {exception}");
    }
}

#[test]
fn a_blocked_image_without_a_record_of_the_block_is_due_while_it_can_be_pulled() {
    let blocked = row(1, State::Blocked);
    let mut there = listed(1);
    let rows = std::slice::from_ref(&blocked);
    assert_eq!(due(rows, std::slice::from_ref(&there)), only(1, Due::NotBlocked));
    for status in [ImageStatus::Archived, ImageStatus::Activating] {
        there.image.status = status;
        assert!(due(rows, std::slice::from_ref(&there)).is_empty());
    }
}

#[test]
fn a_block_that_shows_after_it_was_deferred_is_due() {
    let begun = Block {
        confirmed: false,
        ..block(BlockMethod::Archive)
    };
    let deferred = Row {
        block: Some(begun),
        ..row(1, State::BlockDeferred)
    };
    let mut there = listed(1);
    let rows = [deferred.clone()];
    assert!(due(&rows, std::slice::from_ref(&there)).is_empty());
    there.image.status = ImageStatus::Archived;
    assert_eq!(due(&rows, std::slice::from_ref(&there)), only(1, Due::Waiting));
    let by_quarantine = Row {
        block: Some(block(BlockMethod::QuarantineTag)),
        ..deferred
    };
    assert!(due(&[by_quarantine], std::slice::from_ref(&there)).is_empty());
    // Nothing can be undone there.
    let reports = policy_in("report", "");
    assert!(!due_under(&reports, &rows, &[there], false).contains(&(digest(1), Due::Waiting)));
}
