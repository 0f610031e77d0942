//! Facts that no dice hit: a row that another invocation has claimed, numbers exactly at a limit, and the words for rare cases.

use jiff::SignedDuration;

use super::{
    index_facts, row,
    sampled::{ago, digest, tag},
};
use crate::{
    alert::image::ImageAlert,
    decide::{
        ChildFacts, Effect, Facts, INDEX_FOLLOWS, LeadingIndex, Leave, Limit, MAX_LOOKED_AT, Plan, Question, Replaced,
        SourceImage, SourceRank, Step, decide, release_step, step::REFUSAL_STANDS, verdict, words,
    },
    evaluate::{Evaluation, Names, Verdict, evaluate, evaluate_remembered},
    finding::{NoScan, Scan, ScanEvent, ScanMode, Severity, SeverityCounts, UNLISTED},
    ids::{ImageKey, Region, RepositoryKey},
    image::{Arrival, Child, Image, ImageStatus, Way},
    ledger::{
        AlertRecord, Block, Cause, MAX_INDEXES, MAX_RETURNS, RETURN_WINDOW_SECONDS, RecordedFinding, Row, ScanRecord,
        Undertaken,
    },
    marker::quarantine_tag,
    notice::{AlertKind, LEASE_SECONDS},
    policy::{Action, BlockMethod, Policy},
    release::TimedRelease,
    repository::access::LambdaAccess,
    state::State,
    testing::{finding, image, image_key, now, policy, policy_in, recorded, release, scan},
    told::ToldFindings,
    uses::Uses,
};

const SECOND: SignedDuration = SignedDuration::from_secs(1);

fn told() -> ToldFindings {
    ToldFindings::none(RepositoryKey::of(&image_key()))
}

/// An image that was never pulled, with these findings; each question is answered.
fn facts(findings: &[(&str, Severity)]) -> Facts {
    let findings = findings.iter().map(|(id, severity)| finding(id, *severity)).collect();
    Facts {
        image: Some(image(&image_key())),
        scan: Scan::Complete(scan(findings)),
        looked_again: true,
        replaced: Replaced::Nothing,
        lambda: Some(LambdaAccess::No),
        uses: Some(Uses::Nobody),
        told: Some(told()),
        ..Facts::about(image_key(), "me")
    }
}

fn critical() -> Facts {
    facts(&[("CVE-2026-1", Severity::Critical)])
}

fn applied(policy: &Policy, facts: &Facts) -> Step {
    match decide(policy, facts, now()) {
        Plan::Apply(step) => *step,
        other => panic!("{other:?}"),
    }
}

fn alert_of(policy: &Policy, facts: &Facts) -> Option<ImageAlert> {
    match decide(policy, facts, now()) {
        Plan::Apply(step) => step.alert,
        Plan::Leave(Leave::Unchanged) => None,
        other => panic!("{other:?}"),
    }
}

fn block(method: BlockMethod) -> Block {
    Block {
        method,
        at: ago(30),
        confirmed: true,
        tags: Vec::new(),
        returns: Vec::new(),
        undone_at: None,
        release_refused_at: None,
        told: false,
    }
}

fn leading(name: char, state: State) -> LeadingIndex {
    LeadingIndex {
        digest: digest(name),
        row: Some(Row {
            tags: vec![tag("v9")],
            ..row(state, None, None)
        }),
        looking: None,
    }
}

fn claim() -> Undertaken {
    Undertaken {
        by: "another".to_owned(),
        at: now(),
        with_index: true,
    }
}

fn left(facts: &Facts, row: Row) -> Option<Leave> {
    let facts = Facts {
        row: Some(row),
        ..facts.clone()
    };
    match decide(&policy(""), &facts, now()) {
        Plan::Leave(leave) => Some(leave),
        Plan::Ask(_) | Plan::Apply(_) => None,
    }
}

#[test]
fn the_same_plan_of_another_invocation_is_in_progress() {
    let facts = critical();
    let planned = applied(&policy(""), &facts);
    assert_eq!(planned.effect, Some(Effect::Archive));
    let claimed = Row {
        undertaken: Some(claim()),
        ..planned.row
    };
    let begun = claimed.block.clone().unwrap();
    let in_progress = [
        ("as planned", claimed.clone()),
        (
            "since",
            Row {
                since: ago(60),
                ..claimed.clone()
            },
        ),
        (
            "generation",
            Row {
                generation: 9,
                ..claimed.clone()
            },
        ),
        (
            "cause",
            Row {
                cause: None,
                ..claimed.clone()
            },
        ),
        (
            "unjudged",
            Row {
                unjudged: true,
                ..claimed.clone()
            },
        ),
        (
            "block",
            Row {
                block: Some(Block { at: ago(2), ..begun }),
                ..claimed.clone()
            },
        ),
        (
            "alert",
            Row {
                alert: None,
                ..claimed.clone()
            },
        ),
        (
            "limit",
            Row {
                limited_until: Some(ago(9)),
                ..claimed.clone()
            },
        ),
        (
            "refused",
            Row {
                refused_until: Some(ago(9)),
                ..claimed.clone()
            },
        ),
        (
            "available",
            Row {
                available_since: Some(ago(9)),
                ..claimed.clone()
            },
        ),
    ];
    for (what, row) in in_progress {
        assert_eq!(left(&facts, row), Some(Leave::InProgress), "{what}");
    }
    let busy = [
        (
            "reason",
            Row {
                reason: "another.".to_owned(),
                ..claimed.clone()
            },
        ),
        (
            "state",
            Row {
                state: State::Review,
                ..claimed.clone()
            },
        ),
        (
            "policy",
            Row {
                policy: "another".to_owned(),
                ..claimed.clone()
            },
        ),
        (
            "findings",
            Row {
                findings: Vec::new(),
                ..claimed.clone()
            },
        ),
    ];
    for (what, row) in busy {
        assert_eq!(left(&facts, row), Some(Leave::Busy), "{what}");
    }
    let arrived = |facts: &Facts| Facts {
        arrival: Some(Arrival {
            way: Way::Pushed(None),
            at: Some(ago(1)),
        }),
        ..facts.clone()
    };
    assert_eq!(
        left(&arrived(&facts), claimed),
        Some(Leave::Busy),
        "it may have arrived since then"
    );

    let clean = self::facts(&[]);
    let claimed = Row {
        undertaken: Some(claim()),
        ..applied(&policy(""), &clean).row
    };
    assert_eq!(left(&clean, claimed.clone()), Some(Leave::InProgress));
    assert_eq!(left(&arrived(&clean), claimed), Some(Leave::InProgress));
}

/// A claim without an alert of its own is a lease as well, by itself or together with that of an index. It ends with the step.
#[test]
fn a_claim_of_a_change_is_a_lease() {
    let facts = Facts {
        indexes: vec![leading('d', State::Blocked)],
        indexes_known: Some(true),
        ..critical()
    };
    let step = applied(&policy(""), &facts);
    assert!(step.effect.is_some() && step.alert.is_none(), "{step:?}");
    let by_us = |with_index| {
        Some(Undertaken {
            by: facts.actor.clone(),
            at: now(),
            with_index,
        })
    };
    assert_eq!(step.row.undertaken, by_us(false));
    assert_eq!(step.completed(None, None, now()).undertaken, None);
    let others = Facts {
        actor: "another".to_owned(),
        ..facts.clone()
    };
    assert_eq!(left(&others, step.row.clone()), Some(Leave::InProgress));
    // An index that is not blocked has come. Only a block together with an index is one that this index does not disturb.
    let held = Facts {
        indexes: vec![leading('d', State::Allowed)],
        ..others
    };
    assert_eq!(left(&held, step.row.clone()), Some(Leave::Busy));
    let together = Row {
        undertaken: by_us(true),
        ..step.row
    };
    assert_eq!(left(&held, together), Some(Leave::InProgress));
    // An alert is the lease of the other steps.
    let alone = applied(&policy(""), &critical());
    assert!(alone.effect.is_some() && alone.alert.is_some(), "{alone:?}");
    assert_eq!(alone.row.undertaken, None);
}

#[test]
fn a_child_that_is_blocked_together_with_its_index_is_in_progress() {
    let facts = Facts {
        indexes: vec![leading('d', State::Allowed)],
        ..critical()
    };
    let held = applied(&policy(""), &facts).row;
    assert_eq!(held.state, State::BlockDeferred);
    let claimed = Row {
        state: State::Blocked,
        reason: "Its index is blocked.".to_owned(),
        undertaken: Some(claim()),
        ..held.clone()
    };
    assert_eq!(left(&facts, claimed), Some(Leave::InProgress));
    // An alert that is being sent is no claim of that kind.
    let alerts = Row {
        reason: "another.".to_owned(),
        alert: Some(AlertRecord {
            id: "one".to_owned(),
            kind: AlertKind::BlockDeferred,
            claimed_at: now(),
            claimed_by: "another".to_owned(),
            sent_at: None,
            no_news: false,
        }),
        ..held
    };
    assert_eq!(left(&facts, alerts), Some(Leave::Busy));
    // Only a deferred block is held.
    let alone = critical();
    let other = Row {
        reason: "another.".to_owned(),
        undertaken: Some(claim()),
        ..applied(&policy(""), &alone).row
    };
    assert_eq!(left(&alone, other), Some(Leave::Busy));
}

#[test]
fn a_block_that_was_begun_in_the_same_moment_is_done() {
    let mut facts = critical();
    let mut row = applied(&policy(""), &facts).row;
    row.alert.as_mut().unwrap().sent_at = Some(now());
    row.block.as_mut().unwrap().told = true;
    facts.row = Some(row);
    let again = applied(&policy(""), &facts);
    assert_eq!(again.effect, Some(Effect::Archive));
    assert!(again.alert.is_none());
}

#[test]
fn a_deleted_image_keeps_its_last_alert_only_if_that_was_sent() {
    let known = row(State::Blocked, Some(Severity::Critical), Some(BlockMethod::Archive));
    for sent_at in [Some(ago(60)), None] {
        let mut facts = critical();
        let mut before = known.clone();
        before.alert.as_mut().unwrap().sent_at = sent_at;
        (facts.image, facts.row) = (None, Some(before.clone()));
        let step = applied(&policy(""), &facts);
        assert_eq!(step.row.closed_at, Some(now()));
        assert_eq!(step.row.alert, before.alert.filter(|_| sent_at.is_some()));
        assert_eq!((step.row.block, step.alert), (before.block, None));
    }
}

#[test]
fn a_pending_alert_is_taken_over_under_its_id() {
    let mut facts = critical();
    let mut row = applied(&policy(""), &facts).row;
    row.alert = Some(AlertRecord {
        id: "pending".to_owned(),
        kind: AlertKind::ImageBlocked,
        claimed_at: now() - SignedDuration::from_secs(LEASE_SECONDS),
        claimed_by: "another".to_owned(),
        sent_at: None,
        no_news: false,
    });
    facts.row = Some(row);
    let step = applied(&policy(""), &facts);
    let record = step.row.alert.unwrap();
    assert_eq!(record.id, "pending");
    assert_eq!((record.claimed_at, record.claimed_by.as_str()), (now(), "me"));
    assert_eq!(step.alert.unwrap().id, "pending");
}

#[test]
fn each_alert_has_an_id_of_its_own() {
    let one = alert_of(&policy(""), &critical()).unwrap().id;
    assert_eq!(one.len(), 32);
    let other = Facts {
        row: Some(row(State::Allowed, None, None)),
        ..critical()
    };
    assert_ne!(alert_of(&policy(""), &other).unwrap().id, one);
}

fn released_by(until: jiff::Timestamp) -> Facts {
    let mut facts = critical();
    facts.image.as_mut().unwrap().status = ImageStatus::Archived;
    facts.row = Some(Row {
        release: Some(release(until)),
        ..row(State::Blocked, Some(Severity::Critical), Some(BlockMethod::Archive))
    });
    facts
}

#[test]
fn each_release_is_told_under_an_id_of_its_own() {
    let id = |until| {
        let alert = alert_of(&policy(""), &released_by(until)).unwrap();
        assert_eq!(alert.kind, AlertKind::ImageReleased);
        alert.id
    };
    assert_eq!(id(ago(-60)).len(), 32);
    assert_eq!(id(ago(-60)), id(ago(-60)));
    assert_ne!(id(ago(-60)), id(ago(-61)));
}

#[test]
fn a_release_that_the_registry_refused_is_not_told() {
    let facts = Facts {
        release_failure: Some("AccessDenied".to_owned()),
        ..released_by(ago(-60))
    };
    let step = applied(&policy(""), &facts);
    assert_eq!(step.row.state, State::Blocked);
    assert!(!step.tells_release);
    assert!(step.alert.is_none());
}

#[test]
fn the_end_of_a_release_is_told_where_the_block_is_deferred() {
    let reports = policy_in("report", "");
    let with = |release: Option<TimedRelease>| Facts {
        row: Some(Row {
            release,
            policy: reports.sha256.clone(),
            ..row(State::BlockDeferred, Some(Severity::Critical), None)
        }),
        ..critical()
    };
    assert!(alert_of(&reports, &with(None)).is_none());
    assert!(alert_of(&reports, &with(Some(release(ago(1))))).is_some());
    let known = TimedRelease {
        end_told_at: Some(ago(1)),
        ..release(ago(1))
    };
    assert!(alert_of(&reports, &with(Some(known))).is_none());
}

#[test]
fn a_finding_that_people_know_is_no_news() {
    let mut facts = facts(&[("CVE-2026-1", Severity::High)]);
    let known = told().with(&[recorded("CVE-2026-1", Severity::High)], ago(60)).unwrap();
    facts.told = Some(known);
    let step = applied(&policy(""), &facts);
    assert_eq!(step.row.state, State::Review);
    assert!(step.alert.is_none());
    let record = step.row.alert.clone().unwrap();
    assert_eq!((record.sent_at, record.no_news), (Some(now()), true));

    facts.found = true;
    assert!(
        applied(&policy(""), &facts).alert.is_some(),
        "the summary of a sweep names it"
    );
    facts.found = false;

    // A pending alert is sent: it was begun when the finding was news.
    facts.row = Some(Row {
        alert: Some(AlertRecord {
            id: "pending".to_owned(),
            sent_at: None,
            no_news: false,
            claimed_at: ago(60),
            ..record
        }),
        ..step.row
    });
    assert_eq!(applied(&policy(""), &facts).alert.unwrap().id, "pending");

    facts.row = None;
    facts.told = Some(told());
    assert!(applied(&policy(""), &facts).alert.is_some());
}

#[test]
fn a_finding_that_enters_the_list_is_new_if_there_are_more_or_it_is_worse() {
    let before = Row {
        omitted_findings: 1,
        worst_omitted: Some(recorded("CVE-2026-8", Severity::High)),
        ..row(State::Review, Some(Severity::High), None)
    };
    let alerts = |found: &[(&str, Severity)], before: &Row| {
        let facts = Facts {
            row: Some(before.clone()),
            ..facts(found)
        };
        alert_of(&policy(""), &facts).is_some()
    };
    let (second, third, fourth) = (
        ("CVE-2026-2", Severity::High),
        ("CVE-2026-3", Severity::High),
        ("CVE-2026-4", Severity::High),
    );
    assert!(!alerts(&[second], &before));
    assert!(!alerts(&[second, third], &before));
    assert!(alerts(&[second, third, fourth], &before));
    let milder = Row {
        worst_omitted: Some(RecordedFinding {
            severity: Severity::Medium,
            ..recorded("CVE-2026-8", Severity::High)
        }),
        ..before
    };
    assert!(alerts(&[second], &milder));
}

#[test]
fn a_row_names_a_thousand_indexes() {
    let of = |number: usize| {
        let index = |at: usize| LeadingIndex {
            digest: format!("sha256:{at:064x}").parse().unwrap(),
            row: None,
            looking: None,
        };
        let facts = Facts {
            indexes: (0..number).map(index).collect(),
            ..facts(&[])
        };
        let row = applied(&policy(""), &facts).row;
        (row.indexes.len(), row.more_indexes)
    };
    assert_eq!(of(MAX_INDEXES), (MAX_INDEXES, false));
    assert_eq!(of(MAX_INDEXES + 1), (MAX_INDEXES, true));
}

#[test]
fn an_image_is_alone_once_its_index_would_have_come() {
    for (age, alone) in [(INDEX_FOLLOWS, true), (INDEX_FOLLOWS - SECOND, false)] {
        let mut facts = facts(&[]);
        let image = facts.image.as_mut().unwrap();
        (image.tags, image.pushed_at) = (Vec::new(), Some(now() - age));
        facts.indexes_read = true;
        assert_eq!(applied(&policy(""), &facts).row.alone, alone, "{age:?}");
    }
}

#[test]
fn a_refused_block_of_a_child_stands_for_a_while() {
    let mut facts = Facts {
        indexes: vec![leading('d', State::Blocked)],
        block_failure: Some("AccessDenied".to_owned()),
        ..critical()
    };
    facts.image.as_mut().unwrap().tags = Vec::new();
    let step = applied(&policy(""), &facts);
    assert_eq!(step.row.refused_until, Some(now() + REFUSAL_STANDS));
}

/// A quarantine, where the policy asks for the archive by now.
fn quarantined(block: Block, alert: AlertKind) -> Facts {
    let mut facts = critical();
    let image = facts.image.as_mut().unwrap();
    image.tags = vec![quarantine_tag(&image.digest).unwrap()];
    let before = row(State::Blocked, Some(Severity::Critical), None);
    facts.row = Some(Row {
        alert: before.alert.clone().map(|record| AlertRecord { kind: alert, ..record }),
        block: Some(Block { told: true, ..block }),
        ..before
    });
    facts
}

#[test]
fn a_stronger_block_is_alerted_where_the_weaker_one_stood() {
    let stood = block(BlockMethod::QuarantineTag);
    let begun = Block {
        confirmed: false,
        ..stood.clone()
    };
    let undone = Block {
        undone_at: Some(ago(10)),
        ..stood.clone()
    };
    for (what, block, alerted) in [
        ("stood", stood, true),
        ("begun", begun, false),
        ("undone", undone, false),
    ] {
        let step = applied(&policy(""), &quarantined(block, AlertKind::ImageBlocked));
        assert_eq!(step.effect, Some(Effect::Archive), "{what}");
        assert_eq!(step.alert.is_some(), alerted, "{what}");
    }
}

const QUARANTINE: &str = r#""block": {"method": "quarantine-tag", "workloads": {"sources": ["ecs"]}}"#;

/// An image whose only tag is the mark that a release has left, with this block.
fn marked(block: Option<Block>) -> Facts {
    let mut facts = critical();
    let image = facts.image.as_mut().unwrap();
    image.tags = vec![quarantine_tag(&image.digest).unwrap()];
    facts.row = Some(Row {
        block,
        tags: image.tags.clone(),
        ..row(State::BlockDeferred, Some(Severity::Critical), None)
    });
    facts
}

#[test]
fn a_mark_that_a_release_has_left_is_no_block() {
    let undone = Block {
        undone_at: Some(ago(10)),
        ..block(BlockMethod::QuarantineTag)
    };
    for block in [None, Some(undone)] {
        let facts = marked(block);
        let used = Facts {
            uses: Some(Uses::Unknown("no list".to_owned())),
            ..facts.clone()
        };
        let by_lambda = Facts {
            image: facts.image.clone().map(|image| Image {
                last_pulled_at: Some(ago(60 * 24 * 100)),
                ..image
            }),
            lambda: Some(LambdaAccess::Yes),
            ..facts.clone()
        };
        let limited = Facts {
            limit: Some(Limit {
                until: ago(-30),
                first: false,
            }),
            ..facts.clone()
        };
        for (hold, facts) in [
            ("it is not known whether it is in use", &used),
            ("lets AWS Lambda pull", &by_lambda),
            ("as many images as the policy allows", &limited),
        ] {
            let step = applied(&policy(QUARANTINE), facts);
            assert_eq!(step.row.state, State::BlockDeferred, "{hold}");
            assert!(step.row.reason.contains(hold), "{}", step.row.reason);
        }
        // Once nothing holds it, it is blocked like any other image: with a record, and in the hour's limit.
        let step = applied(&policy(QUARANTINE), &facts);
        let mark = facts.image.as_ref().unwrap().tags[0].clone();
        let remove = Vec::new();
        assert_eq!(step.effect, Some(Effect::Quarantine { mark, remove }));
        assert!(step.counts_as_block);
        let done = step.completed(facts.image.as_ref(), None, now());
        let made = done.block.as_ref().unwrap();
        assert_eq!((done.state, made.method), (State::Blocked, BlockMethod::QuarantineTag));
        assert!(made.confirmed && made.undone_at.is_none());
        let again = Facts {
            row: Some(done),
            ..facts
        };
        assert_eq!(
            decide(&policy(QUARANTINE), &again, now()),
            Plan::Leave(Leave::Unchanged)
        );
    }
}

#[test]
fn an_image_that_is_not_blocked_says_why_it_has_the_mark() {
    const WHY: &str = " It keeps the tag `blocked-ab12ab12ab12`: ECR deletes an image with its last tag.";
    let clean = || Scan::Complete(scan(vec![]));
    let says = |facts: &Facts| applied(&policy(QUARANTINE), facts).row.reason.matches(WHY).count();
    let marked = |scan| Facts { scan, ..marked(None) };
    for (scan, state) in [
        (clean(), State::Allowed),
        (
            Scan::Complete(scan(vec![finding("CVE-2026-1", Severity::High)])),
            State::Review,
        ),
        (Scan::Unavailable(NoScan::Failed), State::Unscannable),
        (Scan::Unavailable(NoScan::EligibilityExpired), State::Stale),
    ] {
        let mut facts = marked(scan);
        facts.row = Some(row(State::Allowed, None, None));
        let step = applied(&policy(QUARANTINE), &facts);
        assert_eq!((step.row.state, says(&facts)), (state, 1));
        if let Some(alert) = &step.alert {
            assert!(alert.reason.ends_with(WHY), "{}", alert.reason);
        }
    }
    let mut held = marked(critical().scan);
    held.uses = Some(Uses::Unknown("no list".to_owned()));
    assert_eq!(says(&held), 1);
    let facts = marked(critical().scan);
    assert_eq!((says(&facts), says(&marked(Scan::Absent))), (0, 0), "blocked, pending");
    // It has another tag, of its own or of ours.
    for other in ["v1", "quarantine-ab12ab12ab12"] {
        let mut facts = marked(clean());
        facts.image.as_mut().unwrap().tags.push(tag(other));
        assert_eq!(says(&facts), 0, "{other}");
    }
    // While it is released, that is not known yet; then the registry shows that the mark stays.
    let mut facts = Facts {
        scan: clean(),
        ..self::marked(Some(block(BlockMethod::QuarantineTag)))
    };
    facts.row.as_mut().unwrap().state = State::Blocked;
    let step = applied(&policy(QUARANTINE), &facts);
    assert_eq!(step.effect.as_ref().map(Effect::as_str), Some("unquarantine"));
    let done = |image: &Image| step.completed(Some(image), None, now());
    let image = facts.image.clone().unwrap();
    let row = done(&image);
    assert_eq!((row.block.is_none(), row.reason.matches(WHY).count()), (true, 1));
    let tagged = Image {
        tags: vec![tag("v1")],
        ..image
    };
    assert_eq!(done(&tagged).reason.matches(WHY).count(), 0);
    let again = Facts {
        row: Some(row),
        ..facts
    };
    assert_eq!(
        decide(&policy(QUARANTINE), &again, now()),
        Plan::Leave(Leave::Unchanged)
    );
}

#[test]
fn an_alert_about_the_limit_stays_one_where_a_stronger_block_waits() {
    let mut facts = quarantined(block(BlockMethod::QuarantineTag), AlertKind::BlockLimit);
    facts.limit = Some(Limit {
        until: ago(-30),
        first: false,
    });
    let row = facts.row.as_mut().unwrap();
    let record = row.alert.as_mut().unwrap();
    (record.sent_at, record.claimed_by) = (None, "me".to_owned());
    row.block.as_mut().unwrap().told = false;
    let step = applied(&policy(""), &facts);
    assert_eq!(step.row.state, State::Blocked);
    assert!(!step.row.block.unwrap().told, "it says nothing of the block");
    assert_eq!(step.alert.unwrap().kind, AlertKind::BlockLimit);
}

#[test]
fn a_block_that_was_only_begun_is_not_said_to_be_done() {
    let mut facts = critical();
    facts.image.as_mut().unwrap().last_pulled_at = Some(ago(60));
    for told in [true, false] {
        facts.row = Some(Row {
            block: Some(Block {
                confirmed: false,
                told,
                ..block(BlockMethod::Archive)
            }),
            ..row(State::Blocked, Some(Severity::Critical), None)
        });
        let step = applied(&policy(""), &facts);
        assert_eq!(step.row.state, State::BlockDeferred);
        let alert = step.alert.unwrap();
        assert_eq!(alert.kind, AlertKind::BlockDeferred);
        assert!(!alert.action.unwrap().done, "told: {told}");
    }
}

/// ECR may show our archiving later than it has answered.
#[test]
fn a_block_that_was_begun_a_moment_ago_stays_until_it_would_show() {
    let begun = |at| Block {
        at,
        confirmed: false,
        ..block(BlockMethod::Archive)
    };
    let used = |block: Block| {
        let mut facts = critical();
        facts.image.as_mut().unwrap().last_pulled_at = Some(ago(60));
        facts.row = Some(Row {
            block: Some(block),
            ..row(State::Blocked, Some(Severity::Critical), None)
        });
        facts
    };
    let not_used = |block: Block| Facts {
        row: used(block).row,
        ..critical()
    };
    let stays = |facts: &Facts| {
        let step = applied(&policy(""), facts);
        let kept = facts.row.as_ref().unwrap().block.clone();
        let stays = step.row.state != State::Blocked && !step.is_release() && step.row.block == kept;
        if stays {
            assert_eq!(step.completed(facts.image.as_ref(), None, now()).block, kept);
        }
        stays
    };
    assert!(stays(&used(begun(ago(5) + SECOND))));
    assert!(!stays(&used(begun(ago(5)))));
    let clean = Facts {
        row: used(begun(ago(1))).row,
        ..facts(&[])
    };
    assert!(stays(&clean), "it has no finding any more");
    let limited = Facts {
        limit: Some(Limit {
            until: now(),
            first: false,
        }),
        ..not_used(begun(ago(1)))
    };
    assert!(stays(&limited), "the limit stopped another step");
    let others = [
        ("confirmed", used(block(BlockMethod::Archive))),
        (
            "undone",
            used(Block {
                undone_at: Some(ago(1)),
                ..begun(ago(1))
            }),
        ),
        (
            "by tag",
            used(Block {
                method: BlockMethod::QuarantineTag,
                ..begun(ago(1))
            }),
        ),
        (
            "tags are given back",
            Facts {
                row: used(Block {
                    tags: vec![tag("v9")],
                    ..begun(ago(1))
                })
                .row,
                ..facts(&[])
            },
        ),
        (
            "refused",
            Facts {
                block_failure: Some("no".to_owned()),
                ..not_used(begun(ago(1)))
            },
        ),
    ];
    for (case, facts) in others {
        assert!(!stays(&facts), "{case}");
    }
    let mut archived = clean.clone();
    archived.image.as_mut().unwrap().status = ImageStatus::Archived;
    assert_eq!(
        applied(&policy(""), &archived).effect,
        Some(Effect::Restore),
        "it shows"
    );
    assert_eq!(
        applied(&policy(""), &not_used(begun(ago(1)))).effect,
        Some(Effect::Archive),
        "it is to be blocked"
    );
}

#[test]
fn the_end_of_a_copy_s_block_is_told_where_the_block_was() {
    let region: Region = "eu-west-1".parse().unwrap();
    let there = ImageKey {
        region: region.clone(),
        ..image_key()
    };
    let mut facts = Facts {
        source: Some(SourceImage {
            region,
            row: Some(Row {
                image: there,
                ..row(State::BlockDeferred, Some(Severity::Critical), None)
            }),
        }),
        ..critical()
    };
    for (told, kind) in [(true, Some(AlertKind::ImageReleased)), (false, None)] {
        facts.row = Some(Row {
            block: Some(Block {
                confirmed: false,
                told,
                ..block(BlockMethod::Archive)
            }),
            ..row(State::Blocked, Some(Severity::Critical), None)
        });
        let step = applied(&policy(""), &facts);
        assert_eq!(step.row.state, State::BlockDeferred);
        assert_eq!(step.alert.map(|alert| alert.kind), kind, "told: {told}");
    }
}

const RELEASES: &str = r#""release": {"allow": true, "principals": ["arn:aws:iam::123456789012:role/oncall"]}"#;

#[test]
fn an_image_that_keeps_coming_back_is_let_go_for_a_while() {
    let mut facts = critical();
    let image = facts.image.as_mut().unwrap();
    (image.pushed_at, image.last_activated_at) = (Some(ago(600)), Some(ago(1)));
    let oldest = ago(50);
    let came = |number: usize| Row {
        block: Some(Block {
            returns: std::iter::once(oldest).chain((1..number).map(|_| ago(20))).collect(),
            ..block(BlockMethod::Archive)
        }),
        ..row(State::Blocked, Some(Severity::Critical), None)
    };
    facts.row = Some(came(MAX_RETURNS - 1));
    let policy = policy(RELEASES);
    let again = applied(&policy, &facts);
    assert_eq!(again.row.state, State::Blocked);
    let steps = |alert: &ImageAlert| {
        alert
            .next_steps
            .iter()
            .any(|step| format!("{step:?}").contains("release this image"))
    };
    assert!(steps(&again.alert.unwrap()), "on-call can release it");

    facts.row = Some(came(MAX_RETURNS));
    let let_go = applied(&policy, &facts);
    assert_eq!(let_go.row.state, State::BlockDeferred);
    let alert = let_go.alert.unwrap();
    assert_eq!(alert.kind, AlertKind::ImageBypass);
    assert!(
        alert.title.ends_with("keeps coming back, and is not blocked now"),
        "{}",
        alert.title
    );
    let window = SignedDuration::from_secs(RETURN_WINDOW_SECONDS);
    assert_eq!(alert.hold.as_ref().unwrap().until, Some(oldest + window));
    assert!(alert.reason.contains("after 12:10 UTC"), "{}", alert.reason);
    assert!(!steps(&alert), "there is nothing to release");
}

#[test]
fn the_step_to_a_release_names_its_limit() {
    let text = |members: &str| release_step(&policy(members), &image_key().repository).map(|step| format!("{step:?}"));
    assert_eq!(text(""), None);
    assert!(
        text(RELEASES)
            .unwrap()
            .contains("On-call can release this image for up to")
    );
}

#[test]
fn report_mode_alerts_without_knowing_the_workloads() {
    let reports = policy_in("report", r#""block": {"workloads": {"sources": ["ecs"]}}"#);
    let facts = Facts {
        uses: Some(Uses::Unknown("no list".to_owned())),
        ..critical()
    };
    let alert = alert_of(&reports, &facts).unwrap();
    assert_eq!(alert.hold.unwrap().cause, "report-mode");
}

#[test]
fn an_image_without_a_tag_that_came_back_is_not_taken_from_who_may_use_it() {
    let mut facts = critical();
    facts.image.as_mut().unwrap().tags.clear();
    facts.row = Some(Row {
        block: Some(block(BlockMethod::Archive)),
        ..row(State::Blocked, Some(Severity::Critical), None)
    });
    facts.uses = None;
    let workloads = policy(r#""block": {"workloads": {"sources": ["ecs"]}}"#);
    assert_eq!(decide(&workloads, &facts, now()), Plan::Ask(Question::Uses));
    facts.uses = Some(Uses::Unknown("no list".to_owned()));
    let step = applied(&workloads, &facts);
    assert_eq!((step.row.state, step.effect), (State::BlockDeferred, None));
    facts.uses = Some(Uses::Nobody);
    assert_eq!(applied(&workloads, &facts).effect, Some(Effect::Archive));
}

#[test]
fn a_block_that_was_only_begun_is_in_the_row_while_it_is_undone_and_not_longer() {
    let begun = Block {
        confirmed: false,
        ..block(BlockMethod::Archive)
    };
    let mut facts = critical();
    facts.image.as_mut().unwrap().status = ImageStatus::Archived;
    facts.row = Some(Row {
        block: Some(begun.clone()),
        release: Some(release(ago(-60))),
        ..row(State::Blocked, Some(Severity::Critical), None)
    });
    let step = applied(&policy(""), &facts);
    assert_eq!(
        (step.row.state, &step.effect),
        (State::BlockDeferred, &Some(Effect::Restore))
    );
    assert_eq!(step.row.block, Some(begun));
    let coming = Image {
        status: ImageStatus::Activating,
        ..facts.image.clone().unwrap()
    };
    let done = step.completed(Some(&coming), None, now());
    assert_eq!(done.block.unwrap().undone_at, Some(now()));
    // It never took effect.
    facts.image.as_mut().unwrap().status = ImageStatus::Active;
    assert_eq!(applied(&policy(""), &facts).row.block, None);
}

#[test]
fn a_completed_step_claims_nothing() {
    let mut step = applied(&policy(""), &critical());
    step.row.undertaken = Some(claim());
    assert_eq!(step.completed(None, None, now()).undertaken, None);
}

#[test]
fn a_missing_scan_that_blocks_goes_before_a_review() {
    let strict = policy(r#""scan": {"on_failure": "block"}"#);
    let children = [
        Some((State::Review, Some(Severity::High))),
        Some((State::Unscannable, None)),
    ];
    let facts = Facts {
        lambda: Some(LambdaAccess::No),
        ..index_facts(None, &image(&image_key()), &children)
    };
    assert_eq!(applied(&strict, &facts).row.cause, Some(Cause::NoScan));
}

#[test]
fn a_result_without_findings_is_believed_where_the_event_counted_none() {
    let mut facts = facts(&[]);
    facts.announced = Some(ScanEvent {
        at: now(),
        counts: SeverityCounts::new(),
        total: None,
    });
    assert_eq!(applied(&policy(""), &facts).row.state, State::Allowed);
}

#[test]
fn an_image_of_many_indexes_is_in_accord() {
    let index = row(State::Blocked, None, Some(BlockMethod::Archive));
    for (number, in_accord) in [(MAX_LOOKED_AT, false), (MAX_LOOKED_AT + 1, true)] {
        let child = ChildFacts {
            child: Child {
                digest: digest('c'),
                platform: None,
            },
            row: Some(Row {
                indexes: vec![digest('d'); number],
                ..row(State::BlockDeferred, None, None)
            }),
        };
        assert_eq!(child.is_in_accord(&index), in_accord, "{number}");
    }
}

#[test]
fn an_index_has_the_tags_of_now() {
    let index = leading('d', State::Allowed);
    assert_eq!(index.tags(), [tag("v9")]);
    let looking = LeadingIndex {
        looking: Some(vec![tag("v10")]),
        ..index
    };
    assert_eq!(looking.tags(), [tag("v10")]);
}

#[test]
fn the_verdict_of_a_source_is_twelve_characters_of_what_decides() {
    let scanned = |state, counts_use| Row {
        scan: Some(ScanRecord {
            mode: ScanMode::Basic,
            completed_at: Some(ago(50)),
            counts_use,
        }),
        ..row(state, Some(Severity::High), None)
    };
    let one = verdict(&scanned(State::Review, false));
    assert_eq!(one.len(), 12);
    assert_eq!(verdict(&scanned(State::Review, true)), one);
    assert_ne!(verdict(&scanned(State::Blocked, false)), one);
}

#[test]
fn an_older_image_is_the_source_where_copies_go_both_ways() {
    let both =
        policy(r#""repositories": [{"match": "*", "replication": {"regions": ["us-west-2"], "max_lag_minutes": 60}}]"#);
    let there = Row {
        available_since: Some(ago(60)),
        ..row(State::Allowed, None, None)
    };
    let rank = SourceRank::of(&both, &there);
    for (since, is_source) in [(ago(61), false), (ago(60), false), (ago(59), true)] {
        assert_eq!(rank.may_be_source_of(Some(since)), is_source, "{since}");
    }
    assert!(SourceRank::of(&policy(""), &there).may_be_source_of(Some(ago(61))));
}

#[test]
fn four_images_of_an_index_are_named() {
    let names = |number: usize| -> Vec<String> { (1..=number).map(|at| format!("linux/{at}")).collect() };
    let on = |number| words::on(&names(number), "it is so.".to_owned());
    assert_eq!(on(4), "On linux/1, linux/2, linux/3, linux/4: it is so.");
    assert_eq!(on(5), "On linux/1, linux/2, linux/3, linux/4, 1 more: it is so.");
}

#[test]
fn three_exceptions_are_named() {
    let reason = |number: usize| {
        let exceptions: Vec<String> = (1..=number)
            .map(|at| {
                format!(
                    r#"{{"vulnerability": "CVE-2026-{at}", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-12-31"}}"#
                )
            })
            .collect();
        let policy = policy(&format!(r#""exceptions": [{}]"#, exceptions.join(",")));
        let findings = (1..=number).map(|at| finding(&format!("CVE-2026-{at}"), Severity::Critical));
        let key = image_key();
        words::allowed(&evaluate(
            &policy,
            &Names::of(&key, &[]),
            &scan(findings.collect()),
            now(),
        ))
    };
    assert!(!reason(3).contains("more"), "{}", reason(3));
    assert!(reason(4).contains("and 1 more)"), "{}", reason(4));
}

#[test]
fn a_severity_without_findings_is_not_named() {
    let evaluation = Evaluation {
        verdict: Verdict::Pass,
        findings: Vec::new(),
        excepted: Vec::new(),
        omitted_excepted: Vec::new(),
        counts: [(Severity::High, 0), (Severity::Low, 2)].into(),
    };
    assert_eq!(words::allowed(&evaluation), "Findings: 2 LOW. None needs review.");
}

#[test]
fn the_scanner_is_quoted_for_each_child_that_it_says_something_else_of() {
    let said = |texts: &[&str]| {
        let said = texts.iter().zip(["linux/a", "linux/b"]);
        let said = said.map(|(text, child)| words::Said::of_child(child, text)).collect();
        words::no_scan(&NoScan::Failed, &words::Said::merge(said))
    };
    let different = said(&["no disk", "no time"]);
    assert!(different.contains(r#"of linux/a: "no disk""#), "{different}");
    assert!(different.contains(r#"of linux/b: "no time""#), "{different}");
    let same = said(&["no disk", "no disk"]);
    assert!(same.ends_with(r#"The scanner says: "no disk""#), "{same}");
    assert_eq!(same.matches("no disk").count(), 1);
}

#[test]
fn the_reason_to_wait_stays_as_it_was() {
    let waits = |state| Row {
        reason: "A scan was started; its result is awaited.".to_owned(),
        ..row(state, None, None)
    };
    assert_eq!(
        words::pending(None, Some(&waits(State::Pending)), false),
        waits(State::Pending).reason
    );
    assert_eq!(
        words::pending(None, Some(&waits(State::Review)), false),
        "No scan result yet."
    );
    assert!(words::is_of_waiting("No scan result yet."));
    assert!(!words::is_of_waiting(words::NOT_VISIBLE));
    assert!(!words::is_of_waiting(&words::refused("why")));
}

#[test]
fn a_release_by_an_exception_names_it() {
    let excepted = |exception: Option<&str>| Row {
        excepted: vec![RecordedFinding {
            exception: exception.map(str::to_owned),
            ..recorded("CVE-2026-1", Severity::Critical)
        }],
        ..row(State::Review, Some(Severity::High), None)
    };
    let reason = |row: &Row| words::told_reason(AlertKind::ImageReleased, row, None, None);
    let named = reason(&excepted(Some("exceptions[0]")));
    assert!(
        named.starts_with("It is released by exceptions[0], but must be reviewed."),
        "{named}"
    );
    let other = reason(&excepted(None));
    assert!(other.starts_with("It is released, but must be reviewed."), "{other}");
}

/// The verdict of a row, evaluated again.
fn remembered(policy: &Policy, row: &Row) -> Verdict {
    evaluate_remembered(policy, row, &Names::of(&row.image, &row.tags), now()).verdict
}

#[test]
fn findings_that_were_left_out_count_for_a_maximum() {
    let rules = policy(r#""rules": [{"severities": ["MEDIUM"], "more_than": 1, "action": "block"}]"#);
    let of = |omitted_findings| Row {
        policy: rules.sha256.clone(),
        omitted_findings,
        worst_omitted: Some(RecordedFinding {
            action: Action::Block,
            ..recorded("CVE-2026-8", Severity::Medium)
        }),
        ..row(State::Review, None, None)
    };
    assert_eq!(remembered(&rules, &of(1)), Verdict::Review);
    assert_eq!(remembered(&rules, &of(2)), Verdict::Block);
}

#[test]
fn only_what_nobody_can_name_is_capped() {
    let default = policy("");
    let unlisted = RecordedFinding {
        action: Action::Review,
        ..recorded(UNLISTED, Severity::Critical)
    };
    let of = |findings: Vec<RecordedFinding>| Row {
        policy: default.sha256.clone(),
        findings,
        ..row(State::Review, None, None)
    };
    assert_eq!(remembered(&default, &of(vec![unlisted.clone()])), Verdict::Review);
    let named = recorded("CVE-2026-1", Severity::Critical);
    assert_eq!(remembered(&default, &of(vec![unlisted, named])), Verdict::Block);
}

#[test]
fn a_count_of_none_is_no_finding() {
    let mut scan = scan(Vec::new());
    scan.unlisted = [(Severity::Critical, 0)].into();
    let key = image_key();
    let evaluation = evaluate(&policy(""), &Names::of(&key, &[]), &scan, now());
    assert_eq!(evaluation.verdict, Verdict::Pass);
    assert!(evaluation.findings.is_empty());
}
