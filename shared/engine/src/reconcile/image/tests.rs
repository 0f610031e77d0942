mod blocks;
mod both;
mod chosen;
mod costs;
mod evidence;
mod family;
mod followers;
mod gate;
mod gate_beside_others;
mod index;
mod kinds;
mod many;
mod mixed;
mod pieces;
mod previews;
mod released;
mod remembered;
mod shared_children;
mod source;
mod turns;
mod uses;
mod visible;

use std::{collections::BTreeSet, time::Duration};

use futures_util::future::join;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::reconcile::ReconcileError;
use guard_core::{
    decide::{Facts, SourceImage},
    finding::{Epss, Finding, NoScan, Scan, ScanEvent, ScanStart, ScanTrigger, Severity, SeverityCounts},
    ids::{Digest, ImageKey, ImageRef, RepositoryKey, RepositoryName, Tag},
    image::{Arrival, Image, ImageStatus, Way},
    ledger::{MAX_RETURNS, Row},
    marker::quarantine_tag,
    notice::AlertKind,
    policy::Policy,
    state::State,
};
use guard_ports::{Clock as _, PortError, Retry};
use guard_testkit::{Fault, Parts, World, finding, image, image_key, now, policy, policy_in, run, run_and_crash, scan};

/// An image of the same repository.
fn key(digest: &str) -> ImageKey {
    ImageKey {
        digest: digest.parse().unwrap(),
        ..image_key()
    }
}

/// An index.
fn index() -> ImageKey {
    key("sha256:1d")
}

/// The image of that index which has the finding.
fn bad() -> ImageKey {
    key("sha256:a6")
}

/// The other image of it.
fn other() -> ImageKey {
    key("sha256:a4")
}

fn request(actor: &str) -> Request {
    let key = image_key();
    Request {
        account: key.account,
        region: key.region,
        repository: key.repository,
        image: ImageRef::Digest(key.digest),
        hints: Hints::default(),
        actor: actor.to_owned(),
    }
}

/// An event that says that a scan is done and has found this number of CRITICAL findings.
fn announced(critical: u64) -> ScanEvent {
    ScanEvent {
        at: now(),
        counts: [(Severity::Critical, critical)].into(),
        total: Some(critical),
    }
}

fn arrived(way: Way) -> Hints {
    Hints {
        arrival: Some(Arrival { way, at: Some(now()) }),
        ..Hints::default()
    }
}

async fn look(world: &World, policy: &Policy, request: &Request) -> Result<Outcome, ReconcileError> {
    reconcile(&world.services(policy), policy, request).await
}

/// The same without time passing, through the whole path.
#[track_caller]
fn settle(world: &World, policy: &Policy) -> Outcome {
    run(look(world, policy, &request("one"))).unwrap()
}

/// The same by a sweep that has read all indexes: an image that no row names as a child has no index.
#[track_caller]
fn settle_alone(world: &World, policy: &Policy) -> Outcome {
    let hints = Hints {
        indexes_read: true,
        ..Hints::default()
    };
    let request = Request {
        hints,
        ..request("one")
    };
    run(look(world, policy, &request)).unwrap()
}

const EXCEPTED: &str = r#""exceptions": [{"vulnerability": "CVE-2026-1", "repositories": ["pipeops-*"], "owner": "o", "reason": "r", "expires": "2026-11-30"}]"#;

const ATTESTATION: &str = r#"{"config": {"mediaType": "application/vnd.oci.image.config.v1+json"},
    "layers": [{"mediaType": "application/vnd.in-toto+json"}]}"#;

fn critical() -> Scan {
    Scan::Complete(scan(vec![finding("CVE-2026-1", Severity::Critical)]))
}

fn clean() -> Scan {
    Scan::Complete(scan(vec![]))
}

fn world(scan: Scan) -> World {
    World::with(&image_key(), image(&image_key()), scan)
}

fn status(world: &World) -> ImageStatus {
    world.image_of(&image_key()).unwrap().status
}

fn tags(world: &World) -> BTreeSet<String> {
    world
        .image_of(&image_key())
        .unwrap()
        .tags
        .into_iter()
        .map(String::from)
        .collect()
}

fn told(world: &World) -> Vec<String> {
    world
        .sent()
        .iter()
        .map(|sent| {
            let alert: serde_json::Value = serde_json::from_str(&sent.message.default).unwrap();
            alert["kind"].as_str().unwrap().to_owned()
        })
        .collect()
}

fn told_ids(world: &World) -> BTreeSet<String> {
    world
        .sent()
        .iter()
        .map(|sent| {
            let alert: serde_json::Value = serde_json::from_str(&sent.message.default).unwrap();
            alert["id"].as_str().unwrap().to_owned()
        })
        .collect()
}

/// The longest chain of calls of which each began after the one before had ended.
fn longest_chain(world: &World) -> usize {
    let calls = world.calls();
    let mut depth = vec![1; calls.len()];
    for later in 0..calls.len() {
        for earlier in 0..later {
            if calls[earlier].ended.is_some_and(|ended| ended < calls[later].began) {
                depth[later] = depth[later].max(depth[earlier] + 1);
            }
        }
    }
    depth.into_iter().max().unwrap_or(0)
}

#[test]
fn each_verdict_has_its_state_and_its_alert() {
    for (scan, state, alerts) in [
        (clean(), State::Allowed, vec![]),
        (
            Scan::Complete(scan(vec![finding("CVE-2026-1", Severity::Medium)])),
            State::Allowed,
            vec![],
        ),
        (
            Scan::Complete(scan(vec![finding("CVE-2026-1", Severity::Low)])),
            State::Allowed,
            vec![],
        ),
        (
            Scan::Complete(scan(vec![finding("CVE-2026-1", Severity::High)])),
            State::Review,
            vec!["image-review"],
        ),
        (critical(), State::Blocked, vec!["image-blocked"]),
        (
            Scan::Unavailable(NoScan::Failed),
            State::Unscannable,
            vec!["scan-failed"],
        ),
        (
            Scan::Unavailable(NoScan::Unsupported),
            State::Unscannable,
            vec!["scan-failed"],
        ),
        (Scan::Unavailable(NoScan::EligibilityExpired), State::Stale, vec![]),
        (
            Scan::Unavailable(NoScan::UnknownStatus("NEW".into())),
            State::Unscannable,
            vec!["scan-failed"],
        ),
        (Scan::InProgress, State::Pending, vec!["scan-overdue"]),
        (Scan::Absent, State::Pending, vec!["scan-overdue"]),
    ] {
        let world = world(scan.clone());
        let outcome = settle(&world, &policy(""));
        assert_eq!(outcome.state, Some(state), "{scan:?}");
        assert_eq!(told(&world), alerts, "{scan:?}");
        assert_eq!(
            status(&world) == ImageStatus::Archived,
            state == State::Blocked,
            "{scan:?}"
        );
        world.forget_calls();
        assert_eq!(settle(&world, &policy("")).outcome, OutcomeKind::Unchanged, "{scan:?}");
        assert_eq!(world.writes(), 0, "a second look changes nothing: {scan:?}");
        assert_eq!(told(&world), alerts);
    }
}

#[test]
fn a_block_takes_five_round_trips_and_no_change_takes_one() {
    let world = world(critical());
    let announced = Request {
        hints: Hints {
            announced: Some(announced(1)),
            ..Hints::default()
        },
        ..request("one")
    };
    run(look(&world, &policy(""), &announced)).unwrap();
    assert_eq!(longest_chain(&world), 5);
    world.forget_calls();
    settle(&world, &policy(""));
    assert_eq!((longest_chain(&world), world.calls().len()), (1, 3));
}

#[test]
fn a_blocked_image_says_why_after_the_scanner_has_forgotten_it() {
    let world = world(critical());
    settle(&world, &policy(""));
    let row = world.row_of(&image_key()).unwrap();
    assert_eq!(row.findings[0].id, "CVE-2026-1");
    assert!(row.block.as_ref().unwrap().confirmed);
    assert!(row.alert.as_ref().unwrap().sent_at.is_some());
    let outcome = settle(&world, &policy(""));
    assert_eq!(outcome.state, Some(State::Blocked));
    insta::assert_snapshot!(outcome.reason.unwrap(), @"1 finding blocks deployment: CVE-2026-1 CRITICAL in openssl (policy: severities.CRITICAL).");
}

#[test]
fn the_block_of_an_image_in_use_is_deferred() {
    fn days(n: i64) -> SignedDuration {
        SignedDuration::from_hours(24 * n)
    }
    let pulled = |image: &mut Image| image.last_pulled_at = Some(now() - days(2));
    let long_unused = |image: &mut Image| {
        image.pushed_at = Some(now() - days(200));
        image.last_pulled_at = Some(now() - days(100));
    };
    let old_and_never_pulled = |image: &mut Image| image.pushed_at = Some(now() - days(100));
    let nothing_known = |image: &mut Image| image.pushed_at = None;
    type Change = dyn Fn(&mut Image);
    let cases: [(&str, &Change, State); 4] = [
        ("pulled two days ago", &pulled, State::BlockDeferred),
        ("not pulled for long", &long_unused, State::Blocked),
        ("old, and nobody knows", &old_and_never_pulled, State::BlockDeferred),
        ("nothing known", &nothing_known, State::BlockDeferred),
    ];
    for (case, change, state) in cases {
        let mut image = image(&image_key());
        change(&mut image);
        let world = World::with(&image_key(), image, critical());
        assert_eq!(settle(&world, &policy("")).state, Some(state), "{case}");
        assert_eq!(settle(&world, &policy("")).outcome, OutcomeKind::Unchanged);
        assert_eq!(
            status(&world) == ImageStatus::Archived,
            state == State::Blocked,
            "{case}"
        );
        let kind = if state == State::BlockDeferred {
            "block-deferred"
        } else {
            "image-blocked"
        };
        assert_eq!(told(&world), [kind], "{case}");
    }
    let mut used = scan(vec![finding("CVE-2026-1", Severity::Critical)]);
    used.in_use_count = Some(3);
    let world = world(Scan::Complete(used));
    assert_eq!(settle(&world, &policy("")).state, Some(State::BlockDeferred));
    insta::assert_snapshot!(world.row_of(&image_key()).unwrap().reason, @"1 finding blocks deployment: CVE-2026-1 CRITICAL in openssl (policy: severities.CRITICAL). It is not blocked: it is in use, by 3 workloads that Inspector knows of.");
    let all_the_same = policy(r#""block": {"when_in_use": "block"}"#);
    assert_eq!(settle(&world, &all_the_same).state, Some(State::Blocked));
}

#[test]
fn a_deferred_block_is_made_when_the_image_is_no_longer_used() {
    let mut image = image(&image_key());
    image.last_pulled_at = Some(now());
    let world = World::with(&image_key(), image, critical());
    settle(&world, &policy(""));
    world.set_now(now() + SignedDuration::from_hours(24 * 91));
    assert_eq!(settle(&world, &policy("")).state, Some(State::Blocked));
    assert_eq!(told(&world), ["block-deferred", "image-blocked"]);
}

#[test]
fn a_blocked_image_that_is_pushed_again_is_blocked_again_before_it_is_scanned() {
    let world = world(critical());
    settle(&world, &policy(""));
    for round in 1..=2 {
        world.push_again(&image_key(), now() + SignedDuration::from_mins(round));
        let outcome = settle(&world, &policy(""));
        assert_eq!((outcome.state, outcome.effect), (Some(State::Blocked), Some("archive")));
        assert_eq!(status(&world), ImageStatus::Archived);
        assert_eq!(settle(&world, &policy("")).outcome, OutcomeKind::Unchanged);
    }
    assert_eq!(told(&world), ["image-blocked", "image-bypass", "image-bypass"]);
    assert_eq!(told_ids(&world).len(), 3);
}

#[test]
fn a_blocked_image_that_comes_back_is_not_protected_by_being_pulled() {
    let world = world(critical());
    settle(&world, &policy(""));
    let mut back = world.image_of(&image_key()).unwrap();
    back.status = ImageStatus::Active;
    back.last_pulled_at = Some(now());
    world.push(&image_key(), back);
    assert_eq!(settle(&world, &policy("")).state, Some(State::Blocked));
    assert_eq!(status(&world), ImageStatus::Archived);
}

#[test]
fn a_blocked_image_that_was_deleted_and_pushed_again_is_blocked_again() {
    let world = world(critical());
    settle(&world, &policy(""));
    world.delete(&image_key());
    assert_eq!(settle(&world, &policy("")).outcome, OutcomeKind::Closed);
    let row = world.row_of(&image_key()).unwrap();
    assert_eq!(row.expires_at(), Some(now() + SignedDuration::from_hours(24 * 90)));
    assert_eq!(settle(&world, &policy("")).outcome, OutcomeKind::NoSuchImage);
    world.push(&image_key(), image(&image_key()));
    assert_eq!(settle(&world, &policy("")).state, Some(State::Blocked));
    assert_eq!(told(&world), ["image-blocked", "image-bypass"]);
    assert_eq!(world.row_of(&image_key()).unwrap().expires_at(), None);
}

#[test]
fn an_allowed_image_that_was_deleted_and_pushed_again_is_pending() {
    let world = world(clean());
    settle(&world, &policy(""));
    world.delete(&image_key());
    settle(&world, &policy(""));
    let mut back = image(&image_key());
    back.pushed_at = Some(now());
    world.push(&image_key(), back);
    assert_eq!(settle(&world, &policy("")).state, Some(State::Pending));
}

#[test]
fn an_image_that_improves_is_released_and_only_if_we_had_blocked_it() {
    let excepted = policy(EXCEPTED);
    let ours = world(critical());
    settle(&ours, &policy(""));
    let outcome = settle(&ours, &excepted);
    assert_eq!((outcome.state, outcome.effect), (Some(State::Allowed), Some("restore")));
    ours.finish_restore(&image_key());
    settle(&ours, &excepted);
    assert_eq!(told(&ours), ["image-blocked", "image-released"]);
    assert_eq!(settle(&ours, &excepted).outcome, OutcomeKind::Unchanged);
    assert_eq!(ours.row_of(&image_key()).unwrap().block, None);

    // The exception ends: what it covered counts again, although no scanner has looked meanwhile.
    ours.set_now("2026-12-01T00:00:00Z".parse().unwrap());
    let mut image = ours.image_of(&image_key()).unwrap();
    image.status = ImageStatus::Active;
    ours.push(&image_key(), image);
    assert_eq!(settle(&ours, &excepted).state, Some(State::Blocked));

    let foreign = world(Scan::Absent);
    let mut archived = guard_testkit::image(&image_key());
    archived.status = ImageStatus::Archived;
    foreign.push(&image_key(), archived);
    assert_eq!(settle(&foreign, &excepted).outcome, OutcomeKind::ArchivedByOthers);
    assert_eq!(foreign.writes(), 0);
}

#[test]
fn a_release_is_alerted_when_the_image_can_be_pulled_again() {
    let excepted = policy(EXCEPTED);
    let world = world(critical());
    settle(&world, &policy(""));
    let outcome = settle(&world, &excepted);
    assert_eq!((outcome.effect, outcome.alert), (Some("restore"), None));
    let row = world.row_of(&image_key()).unwrap();
    insta::assert_snapshot!(row.reason, @"Findings: 1 CRITICAL. None needs review, 1 is excepted by the policy (exceptions[0] of o, until 2026-11-30). It is being restored, which takes up to about 20 minutes; until then it cannot be pulled.");
    assert_eq!(row.block.unwrap().undone_at, Some(now()));
    world.forget_calls();
    assert_eq!(
        settle(&world, &excepted).outcome,
        OutcomeKind::Unchanged,
        "it is on its way"
    );
    assert_eq!(world.writes(), 0);

    world.finish_restore(&image_key());
    let outcome = settle(&world, &excepted);
    assert_eq!((outcome.effect, outcome.alert), (None, Some(AlertKind::ImageReleased)));
    insta::assert_snapshot!(outcome.reason.unwrap(), @"Findings: 1 CRITICAL. None needs review, 1 is excepted by the policy (exceptions[0] of o, until 2026-11-30).");
    assert_eq!(world.row_of(&image_key()).unwrap().block, None);
    assert_eq!(settle(&world, &excepted).outcome, OutcomeKind::Unchanged);
}

#[test]
fn an_exception_that_is_withdrawn_during_the_restore_blocks_again_and_nobody_bypassed_anything() {
    let world = world(critical());
    settle(&world, &policy(""));
    settle(&world, &policy(EXCEPTED));
    assert_eq!(settle(&world, &policy("")).state, Some(State::Blocked));
    world.finish_restore(&image_key());
    let outcome = settle(&world, &policy(""));
    assert_eq!((outcome.state, outcome.effect), (Some(State::Blocked), Some("archive")));
    assert_eq!(told(&world), ["image-blocked", "image-blocked"]);
    assert_eq!(settle(&world, &policy("")).outcome, OutcomeKind::Unchanged);
}

#[test]
fn an_image_that_comes_back_is_blocked_five_times_in_an_hour_and_then_the_block_is_deferred() {
    let world = world(critical());
    settle(&world, &policy(""));
    let again = |minute: i64| {
        world.set_now(now() + SignedDuration::from_mins(minute));
        world.push_again(&image_key(), now() + SignedDuration::from_mins(minute));
        let pushed = Request {
            hints: arrived(Way::Pushed("v1.2.3".parse().ok())),
            ..request("one")
        };
        run(look(&world, &policy(""), &pushed)).unwrap()
    };
    for minute in 1..=5 {
        assert_eq!(again(minute).effect, Some("archive"), "{minute}");
    }
    let held = again(6);
    assert_eq!((held.state, held.effect), (Some(State::BlockDeferred), None));
    assert_eq!(held.alert, Some(AlertKind::ImageBypass));
    insta::assert_snapshot!(held.reason.unwrap(), @"1 finding blocks deployment: CVE-2026-1 CRITICAL in openssl (policy: severities.CRITICAL). It is not blocked: it keeps coming back, and was blocked again 5 times within an hour; after 13:01 UTC it can be.");
    for minute in 7..=9 {
        let outcome = again(minute);
        assert_eq!(
            (outcome.state, outcome.effect, outcome.alert),
            (Some(State::BlockDeferred), None, None),
            "{minute}"
        );
    }
    assert_eq!(told(&world).len(), 1 + MAX_RETURNS + 1);
    assert_eq!(again(62).effect, Some("archive"), "the first return is an hour old");
}

/// Another image of the repository, pushed ten days ago and pulled yesterday, with these findings.
fn running(world: &World, digest: &str, findings: Vec<Finding>) -> ImageKey {
    let key = ImageKey {
        digest: digest.parse().unwrap(),
        ..image_key()
    };
    let day = SignedDuration::from_hours(24);
    let running = Image {
        tags: vec!["v1.2.2".parse().unwrap()],
        pushed_at: Some(now() - 10 * day),
        last_pulled_at: Some(now() - day),
        ..image(&key)
    };
    world.push(&key, running);
    world.complete_scan(&key, scan(findings));
    key
}

#[test]
fn the_block_of_an_image_no_worse_than_the_running_one_is_deferred() {
    let known = || finding("CVE-2026-1", Severity::Critical);
    let another = || finding("CVE-2026-2", Severity::Critical);
    for (before, after, state, why) in [
        (
            vec![known(), another()],
            vec![known()],
            State::BlockDeferred,
            "a part of what runs",
        ),
        (
            vec![known()],
            vec![known(), finding("CVE-2026-3", Severity::High)],
            State::BlockDeferred,
            "what is not worth a block does not count",
        ),
        (vec![known()], vec![known(), another()], State::Blocked, "one more"),
        (vec![], vec![known()], State::Blocked, "what runs is clean"),
    ] {
        for announced in [None, Some(announced(1))] {
            let world = world(Scan::Complete(scan(after.clone())));
            running(&world, "sha256:01", before.clone());
            let request = Request {
                hints: Hints {
                    announced,
                    ..Hints::default()
                },
                ..request("one")
            };
            let look = || run(look(&world, &policy(""), &request)).unwrap();
            assert_eq!(look().state, Some(state), "{why}");
            assert_eq!(look().outcome, OutcomeKind::Unchanged, "{why}");
            let off = policy(r#""block": {"not_worse_than_running": false}"#);
            assert_eq!(settle(&world, &off).state, Some(State::Blocked), "{why}");
        }
    }
    let world = world(critical());
    let predecessor = running(&world, "sha256:01", vec![known()]);
    let held = settle(&world, &policy(""));
    insta::assert_snapshot!(held.reason.unwrap(), @"1 finding blocks deployment: CVE-2026-1 CRITICAL in openssl (policy: severities.CRITICAL). It is not blocked: it is no worse than `v1.2.2` (01), which it replaces and which was last pulled on 2026-11-23: all that blocks it is in that one too.");
    // It is no excuse any more when it is no longer used.
    let later = now() + SignedDuration::from_hours(24 * 90);
    world.set_now(later);
    let mut old = world.image_of(&predecessor).unwrap();
    old.last_pulled_at = Some(now() - SignedDuration::from_hours(24));
    world.push(&predecessor, old);
    let mut new = world.image_of(&image_key()).unwrap();
    new.pushed_at = Some(later);
    world.push(&image_key(), new);
    assert_eq!(settle(&world, &policy("")).state, Some(State::Blocked));
}

#[test]
fn an_invocation_that_takes_over_an_alert_has_it_for_as_long_as_the_one_before() {
    let world = world(critical());
    let at = |seconds: i64, actor: &str| {
        world.set_now(now() + SignedDuration::from_secs(seconds));
        run(look(&world, &policy(""), &request(actor)))
    };
    world.fail("sns:Publish", Fault::Before(Retry::Later));
    assert!(at(0, "one").is_err());
    world.fail("sns:Publish", Fault::Before(Retry::Later));
    assert!(at(60, "two").is_err());
    // "One" has had its time, "two" has not.
    assert!(matches!(
        at(70, "three").map(|outcome| outcome.outcome),
        Ok(OutcomeKind::InProgress) | Err(ReconcileError::Busy(_))
    ));
    assert_eq!(told(&world), [] as [&str; 0]);
    at(120, "three").unwrap();
    assert_eq!(told(&world), ["image-blocked"]);
}

#[test]
fn a_predecessor_that_is_blocked_itself_excuses_nothing() {
    let world = world(critical());
    let predecessor = running(&world, "sha256:01", vec![finding("CVE-2026-1", Severity::Critical)]);
    let flag = policy(r#""block": {"method": "flag", "when_in_use": "block"}"#);
    let request = Request {
        image: ImageRef::Digest(predecessor.digest.clone()),
        ..request("one")
    };
    assert_eq!(run(look(&world, &flag, &request)).unwrap().state, Some(State::Blocked));
    assert_eq!(settle(&world, &flag).state, Some(State::Blocked));
}

#[test]
fn a_tag_that_breaks_the_rules_blocks_the_image_until_it_is_gone() {
    let rules = |method: &str| {
        policy(&format!(
            r#""block": {{"method": "{method}"}}, "repositories": [{{"match": "*", "tags": {{"forbidden": ["v1.2.3"], "reserved": ["prod"],
            "on_violation": "block"}}}}]"#
        ))
    };
    for (scan, afterwards) in [
        (Scan::Absent, State::Pending),
        (Scan::InProgress, State::Pending),
        (clean(), State::Allowed),
        (Scan::Unavailable(NoScan::Failed), State::Unscannable),
    ] {
        let mut entry = image(&image_key());
        entry.tags.push("prod".parse().unwrap());
        entry.pushed_at = Some(now());
        let world = World::with(&image_key(), entry, scan.clone());
        let outcome = settle(&world, &rules("archive"));
        assert_eq!(
            (outcome.state, outcome.effect),
            (Some(State::Blocked), Some("archive")),
            "{scan:?}"
        );
        insta::allow_duplicates! {
            insta::assert_snapshot!(outcome.reason.unwrap(), @"Its tag `v1.2.3` must not be used: `v1.2.3` is forbidden (policy: tags.forbidden).");
        }
        assert_eq!(told(&world), ["image-blocked"]);
        assert_eq!(
            settle(&world, &rules("archive")).outcome,
            OutcomeKind::Unchanged,
            "{scan:?}"
        );

        // The tag is removed: what is known of the image otherwise counts, and nothing is known where nothing was scanned.
        let mut entry = world.image_of(&image_key()).unwrap();
        entry.tags.retain(|tag| tag.as_str() == "prod");
        world.push(&image_key(), entry);
        assert_eq!(settle(&world, &rules("archive")).effect, Some("restore"), "{scan:?}");
        world.finish_restore(&image_key());
        let released = settle(&world, &rules("archive"));
        assert_eq!(
            (released.state, released.alert),
            (Some(afterwards), Some(AlertKind::ImageReleased)),
            "{scan:?}"
        );
        assert_eq!(
            settle(&world, &rules("archive")).outcome,
            OutcomeKind::Unchanged,
            "{scan:?}"
        );
    }
    // A quarantine takes the tag, and does not give it back.
    let quarantined = world(clean());
    settle(&quarantined, &rules("quarantine-tag"));
    assert_eq!(
        settle(&quarantined, &rules("quarantine-tag")).outcome,
        OutcomeKind::Unchanged
    );
    assert_eq!(tags(&quarantined), ["blocked-ab12ab12ab12".to_owned()].into());
    let alert: serde_json::Value = serde_json::from_str(&quarantined.sent()[0].message.default).unwrap();
    assert!(
        alert["steps"][0]["text"]
            .as_str()
            .unwrap()
            .starts_with("Push it under a tag")
    );
    // A finding that blocks says more than the tag.
    let both = world(critical());
    let outcome = settle(&both, &rules("archive"));
    assert!(outcome.reason.unwrap().starts_with("1 finding blocks"));
}

#[test]
fn a_bypass_says_how_and_how_to_find_out_who() {
    let mut said = String::new();
    for way in [Way::Pushed("v1.2.3".parse().ok()), Way::Pushed(None), Way::Restored] {
        let world = world(critical());
        settle(&world, &policy(""));
        world.push_again(&image_key(), now());
        let request = Request {
            hints: arrived(way),
            ..request("one")
        };
        run(look(&world, &policy(""), &request)).unwrap();
        let alert: serde_json::Value = serde_json::from_str(&world.sent()[1].message.default).unwrap();
        said.push_str(alert["reason"].as_str().unwrap());
        said.push('\n');
        let step = &alert["steps"][0];
        said.push_str(&format!(
            "{} {}\n",
            step["text"].as_str().unwrap(),
            step["command"].as_str().unwrap()
        ));
    }
    insta::assert_snapshot!(said, @"
    It was pushed again as `v1.2.3` at 2026-11-24 12:00 UTC. 1 finding blocks deployment: CVE-2026-1 CRITICAL in openssl (policy: severities.CRITICAL).
    Find out who brings it back: aws cloudtrail lookup-events --region us-west-2 --lookup-attributes AttributeKey=EventName,AttributeValue=PutImage --start-time 2026-11-24T11:45:00Z --end-time 2026-11-24T12:15:00Z
    It was pushed again without a tag at 2026-11-24 12:00 UTC. 1 finding blocks deployment: CVE-2026-1 CRITICAL in openssl (policy: severities.CRITICAL).
    Find out who brings it back: aws cloudtrail lookup-events --region us-west-2 --lookup-attributes AttributeKey=EventName,AttributeValue=PutImage --start-time 2026-11-24T11:45:00Z --end-time 2026-11-24T12:15:00Z
    It was restored from the archive at 2026-11-24 12:00 UTC. 1 finding blocks deployment: CVE-2026-1 CRITICAL in openssl (policy: severities.CRITICAL).
    Find out who brings it back: aws cloudtrail lookup-events --region us-west-2 --lookup-attributes AttributeKey=EventName,AttributeValue=UpdateImageStorageClass --start-time 2026-11-24T11:45:00Z --end-time 2026-11-24T12:15:00Z
    ");
}

#[test]
fn an_archived_image_is_not_released_because_nothing_is_known_of_it() {
    let world = world(critical());
    settle(&world, &policy(""));
    for nothing in [
        Scan::Absent,
        Scan::InProgress,
        Scan::Unavailable(NoScan::Failed),
        Scan::Unavailable(NoScan::FindingsUnavailable),
    ] {
        let mut back = world.image_of(&image_key()).unwrap();
        back.status = ImageStatus::Active;
        world.push(&image_key(), back);
        world.set_scan(&image_key(), nothing.clone());
        assert_eq!(settle(&world, &policy("")).state, Some(State::Blocked), "{nothing:?}");
        assert_eq!(status(&world), ImageStatus::Archived, "{nothing:?}");
    }
}

#[test]
fn a_failed_scan_is_explained_in_the_words_of_the_scanner() {
    let words = "The scan \"x\" failed: see evil.example\u{202e}\n<!channel>";
    let world = world(Scan::Explained(NoScan::Failed, words.to_owned()));
    settle(&world, &policy(""));
    let message = world.sent().pop().unwrap().message;
    let json: serde_json::Value = serde_json::from_str(&message.default).unwrap();
    assert_eq!(json["kind"], "scan-failed");
    assert_eq!(
        json["reason"],
        "The scan failed, so nothing is known about this image. The scanner says: \"The scan 'x' failed: see evil.example <!channel>\""
    );
    assert!(
        message.email.contains("evil[.]example") && !message.email.contains("evil.example"),
        "{}",
        message.email
    );
    assert!(!message.https.contains("<!channel>"), "{}", message.https);
}

#[test]
fn blocked_for_want_of_a_scan_is_not_released_by_being_archived() {
    let strict = policy(r#""scan": {"on_failure": "block"}"#);
    let world = world(Scan::Unavailable(NoScan::Failed));
    assert_eq!(settle(&world, &strict).state, Some(State::Blocked));
    assert_eq!(settle(&world, &strict).outcome, OutcomeKind::Unchanged);
    assert_eq!(told(&world), ["image-blocked"]);
}

#[test]
fn quarantine_marks_first_and_a_release_restores_what_it_took() {
    let quarantine = policy(r#""block": {"method": "quarantine-tag"}"#);
    let world = world(critical());
    settle(&world, &quarantine);
    let mark = String::from(quarantine_tag(&image_key().digest).unwrap());
    assert_eq!(mark, "blocked-ab12ab12ab12");
    assert_eq!(tags(&world), [mark.clone()].into());
    let operations: Vec<_> = world
        .calls()
        .iter()
        .filter(|call| call.mutates)
        .map(|call| call.operation)
        .collect();
    assert_eq!(operations, ["ecr:PutImage", "ecr:BatchDeleteImage"]);

    // Somebody gives it a new tag: it is taken as well, and remembered.
    let mut image = world.image_of(&image_key()).unwrap();
    image.tags.push("v9".parse().unwrap());
    world.push(&image_key(), image);
    assert_eq!(settle(&world, &quarantine).alert, Some(AlertKind::ImageBypass));
    assert_eq!(tags(&world), [mark].into());

    world.complete_scan(&image_key(), scan(vec![]));
    assert_eq!(settle(&world, &quarantine).effect, Some("unquarantine"));
    assert_eq!(tags(&world), ["v1.2.3".to_owned(), "v9".to_owned()].into());
    assert_eq!(told(&world), ["image-blocked", "image-bypass", "image-released"]);
    assert_eq!(settle(&world, &quarantine).outcome, OutcomeKind::Unchanged);
}

#[test]
fn a_release_does_not_take_a_tag_from_the_image_that_has_it_now() {
    let quarantine = policy(r#""block": {"method": "quarantine-tag"}"#);
    let world = world(critical());
    settle(&world, &quarantine);
    let mut next = image_key();
    next.digest = "sha256:cc".parse().unwrap();
    world.push(&next, image(&next));
    world.complete_scan(&image_key(), scan(vec![]));
    settle(&world, &quarantine);
    assert_eq!(world.image_of(&next).unwrap().tags, ["v1.2.3".parse::<Tag>().unwrap()]);
    assert_eq!(
        tags(&world),
        ["blocked-ab12ab12ab12".to_owned()].into(),
        "its last tag stays, or the registry would delete it"
    );
}

#[test]
fn a_flag_changes_nothing_in_the_registry() {
    let flag = policy(r#""block": {"method": "flag"}"#);
    let world = world(critical());
    assert_eq!(settle(&world, &flag).state, Some(State::Blocked));
    assert_eq!(told(&world), ["image-blocked"]);
    assert!(world.calls().iter().all(|call| !call.mutates));
    assert_eq!(settle(&world, &flag).outcome, OutcomeKind::Unchanged);
    world.complete_scan(&image_key(), scan(vec![]));
    settle(&world, &flag);
    assert_eq!(told(&world), ["image-blocked", "image-released"]);
}

fn numbered(n: usize) -> ImageKey {
    ImageKey {
        digest: format!("sha256:{n:064}").parse().unwrap(),
        ..image_key()
    }
}

#[test]
fn the_hourly_limit_defers_what_comes_after_it_and_is_alerted_once() {
    let limited = policy(r#""block": {"max_blocks_per_hour": 3}"#);
    let world = World::new();
    let look_at = |n: usize| {
        let request = Request {
            image: ImageRef::Digest(numbered(n).digest),
            ..request("one")
        };
        run(look(&world, &limited, &request)).unwrap()
    };
    for n in 0..10 {
        world.push(&numbered(n), image(&numbered(n)));
        world.set_scan(&numbered(n), critical());
        let expected = if n < 3 { State::Blocked } else { State::BlockDeferred };
        assert_eq!(look_at(n).state, Some(expected), "image {n}");
    }
    assert_eq!(
        told(&world),
        ["image-blocked", "image-blocked", "image-blocked", "block-limit"]
    );
    insta::assert_snapshot!(world.row_of(&numbered(9)).unwrap().reason, @"1 finding blocks deployment: CVE-2026-1 CRITICAL in openssl (policy: severities.CRITICAL). It is not blocked: as many images as the policy allows were blocked in this hour; after 13:00 UTC it can be.");

    world.forget_calls();
    for n in 0..10 {
        assert_eq!(look_at(n).outcome, OutcomeKind::Unchanged, "image {n}");
    }
    assert_eq!(world.writes(), 0, "within the hour nothing is tried again");

    world.set_now(now() + SignedDuration::from_hours(1));
    for n in 3..10 {
        let expected = if n < 6 { State::Blocked } else { State::BlockDeferred };
        assert_eq!(look_at(n).state, Some(expected), "image {n} in the next hour");
    }
    assert_eq!(
        told(&world).iter().filter(|kind| *kind == "block-limit").count(),
        2,
        "once an hour"
    );
}

#[test]
fn the_alert_of_the_limit_is_not_lost_when_it_cannot_be_sent() {
    let limited = policy(r#""block": {"max_blocks_per_hour": 1}"#);
    let world = World::new();
    for n in 0..2 {
        world.push(&numbered(n), image(&numbered(n)));
        world.set_scan(&numbered(n), critical());
    }
    let look_at = |n: usize, actor| {
        let request = Request {
            image: ImageRef::Digest(numbered(n).digest),
            ..request(actor)
        };
        run(look(&world, &limited, &request))
    };
    look_at(0, "one").unwrap();
    world.fail("sns:Publish", Fault::Before(Retry::Later));
    assert!(look_at(1, "two").is_err());
    assert_eq!(look_at(1, "two").unwrap().state, Some(State::BlockDeferred));
    assert_eq!(told(&world), ["image-blocked", "block-limit"]);
}

#[test]
fn blocking_again_what_came_back_is_not_limited() {
    let limited = policy(r#""block": {"max_blocks_per_hour": 1}"#);
    let world = world(critical());
    settle(&world, &limited);
    for minute in 1..4 {
        world.push_again(&image_key(), now() + SignedDuration::from_mins(minute));
        assert_eq!(settle(&world, &limited).state, Some(State::Blocked));
    }
}

#[test]
fn report_mode_alerts_and_changes_nothing() {
    let report = policy_in("report", "");
    let world = world(critical());
    assert_eq!(settle(&world, &report).state, Some(State::BlockDeferred));
    assert_eq!(told(&world), ["block-deferred"]);
    insta::assert_snapshot!(world.row_of(&image_key()).unwrap().reason, @"1 finding blocks deployment: CVE-2026-1 CRITICAL in openssl (policy: severities.CRITICAL). It is not blocked: the policy is in report mode, in which nothing is changed.");
    assert_eq!(settle(&world, &report).outcome, OutcomeKind::Unchanged);
    assert_eq!(
        settle(&world, &policy("")).state,
        Some(State::Blocked),
        "enforcing it later blocks it"
    );
    let excepted = policy_in(
        "report",
        r#""exceptions": [{"vulnerability": "*", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-12-31"}]"#,
    );
    world.forget_calls();
    assert_eq!(
        settle(&world, &excepted).outcome,
        OutcomeKind::Unchanged,
        "nor does it undo"
    );
    assert_eq!(world.writes(), 0);
    assert_eq!(status(&world), ImageStatus::Archived);
}

#[test]
fn a_new_finding_in_a_blocked_image_is_alerted_once_and_an_old_one_never_again() {
    let flag = policy(r#""block": {"method": "flag"}"#);
    let world = world(critical());
    settle(&world, &flag);
    let first_seen = world.row_of(&image_key()).unwrap().findings[0].first_seen;
    world.set_now(now() + SignedDuration::from_hours(1));
    let two = vec![
        finding("CVE-2026-1", Severity::Critical),
        finding("CVE-2026-2", Severity::Critical),
    ];
    world.complete_scan(&image_key(), scan(two));
    settle(&world, &flag);
    assert_eq!(told(&world).len(), 2);
    assert_eq!(world.row_of(&image_key()).unwrap().findings[0].first_seen, first_seen);
    world.complete_scan(
        &image_key(),
        scan(vec![
            finding("CVE-2026-2", Severity::Critical),
            finding("CVE-2026-3", Severity::High),
        ]),
    );
    settle(&world, &flag);
    assert_eq!(
        told(&world).len(),
        2,
        "one is gone, and a milder one came: nothing new blocks it"
    );
    assert_eq!(told_ids(&world).len(), 2);
}

#[test]
fn a_scan_is_asked_for_where_none_starts_by_itself_and_not_twice_a_day() {
    let mut fresh = image(&image_key());
    fresh.pushed_at = Some(now());
    let after_push = Request {
        hints: arrived(Way::Pushed(None)),
        ..request("one")
    };
    let push = |world: &World| run(look(world, &policy(""), &after_push)).unwrap();
    for (answer, state, alerts) in [
        (ScanStart::Started, State::Pending, 0),
        (ScanStart::LimitExceeded, State::Pending, 0),
        (ScanStart::Archived, State::Pending, 0),
        (ScanStart::Unsupported, State::Unscannable, 1),
        (ScanStart::NotOffered("enhanced".into()), State::Unscannable, 1),
    ] {
        let world = World::with(&image_key(), fresh.clone(), Scan::Absent);
        world.set_trigger(&image_key().repository, ScanTrigger::Manual);
        world.set_scan_start(answer.clone());
        assert_eq!(push(&world).state, Some(state), "{answer:?}");
        world.forget_calls();
        assert_eq!(push(&world).outcome, OutcomeKind::Unchanged, "{answer:?}");
        assert_eq!(world.writes(), 0, "{answer:?}");
        assert_eq!(told(&world).len(), alerts, "{answer:?}");
    }
    let gone = World::with(&image_key(), fresh.clone(), Scan::Absent);
    gone.set_trigger(&image_key().repository, ScanTrigger::Manual);
    gone.set_scan_start(ScanStart::ImageGone);
    assert_eq!(push(&gone).outcome, OutcomeKind::NoSuchImage);

    let automatic = World::with(&image_key(), fresh, Scan::Absent);
    push(&automatic);
    assert!(automatic.calls().iter().all(|call| !call.mutates));
}

#[test]
fn a_result_that_is_announced_and_not_visible_is_waited_for() {
    let announced = Request {
        hints: Hints {
            announced: Some(announced(0)),
            ..Hints::default()
        },
        ..request("one")
    };
    for nothing in [Scan::Absent, Scan::InProgress] {
        let world = world(nothing);
        // The facts of the event are recorded once, for a later reconcile without it.
        for writes in [1, 0] {
            let error = run(look(&world, &policy(""), &announced)).unwrap_err();
            assert_eq!((error.code(), error.retry()), ("ResultNotVisible", Retry::Later));
            assert_eq!(world.writes(), writes);
            world.forget_calls();
        }
        let row = world.row_of(&image_key()).unwrap();
        assert_eq!(
            (row.state, row.scan_event),
            (State::Pending, announced.hints.announced.clone())
        );
    }
    // With a verdict from before, that one stands.
    let allowed = world(clean());
    settle(&allowed, &policy(""));
    allowed.set_scan(&image_key(), Scan::InProgress);
    assert_eq!(
        run(look(&allowed, &policy(""), &announced)).unwrap().state,
        Some(State::Allowed)
    );
}

#[test]
fn referrers_are_left_alone() {
    let mut referrer = image(&image_key());
    referrer.subject = Some("sha256:bb".parse().unwrap());
    referrer.artifact_media_type = Some("application/vnd.dev.sigstore.bundle.v0.3+json".into());
    referrer.tags.clear();
    let world = World::with(&image_key(), referrer.clone(), Scan::Absent);
    let bundle = r#"{"config": {"mediaType": "application/vnd.oci.empty.v1+json"}}"#;
    world.set_manifest(&image_key(), bundle);
    assert_eq!(settle(&world, &policy("")).outcome, OutcomeKind::NotAnImage);
    assert_eq!(world.writes(), 1, "that it is none is remembered");
    assert_eq!(settle(&world, &policy("")).outcome, OutcomeKind::NotAnImage);
    assert_eq!((world.writes(), world.sent().len()), (1, 0));
    let disguised = World::with(&image_key(), referrer, critical());
    assert_eq!(
        settle_alone(&disguised, &policy("")).state,
        Some(State::Blocked),
        "what could be scanned is an image"
    );
}

#[test]
fn an_attestation_that_looks_like_an_image_is_left_alone_unless_it_could_be_scanned() {
    let untagged = Image {
        tags: Vec::new(),
        ..image(&image_key())
    };
    for nothing in [
        Scan::Absent,
        Scan::InProgress,
        Scan::Unavailable(NoScan::Unsupported),
        Scan::Unavailable(NoScan::Failed),
    ] {
        let world = World::with(&image_key(), untagged.clone(), nothing.clone());
        world.set_manifest(&image_key(), ATTESTATION);
        assert_eq!(
            settle(&world, &policy("")).outcome,
            OutcomeKind::NotAnImage,
            "{nothing:?}"
        );
        assert_eq!(world.writes(), 1, "that it is one is remembered");
        world.forget_calls();
        assert_eq!(settle(&world, &policy("")).outcome, OutcomeKind::NotAnImage);
        assert_eq!((world.writes(), world.sent().len()), (0, 0));
        assert!(!world.calls().iter().any(|call| call.operation == "ecr:BatchGetImage"));
        world.set_scan(&image_key(), critical());
        assert_eq!(
            settle_alone(&world, &policy("")).state,
            Some(State::Blocked),
            "what was scanned is an image"
        );
    }
    let again = World::with(&image_key(), untagged.clone(), Scan::Absent);
    again.set_manifest(&image_key(), ATTESTATION);
    settle(&again, &policy(""));
    again.delete(&image_key());
    assert_eq!(settle(&again, &policy("")).outcome, OutcomeKind::Closed);
    again.push(&image_key(), untagged.clone());
    assert_eq!(
        settle(&again, &policy("")).outcome,
        OutcomeKind::NotAnImage,
        "deleted and pushed again"
    );

    let scanned = World::with(&image_key(), untagged.clone(), critical());
    scanned.set_manifest(&image_key(), ATTESTATION);
    assert_eq!(settle_alone(&scanned, &policy("")).state, Some(State::Blocked));

    let tagged = world(Scan::Unavailable(NoScan::Unsupported));
    tagged.set_manifest(&image_key(), ATTESTATION);
    assert_eq!(
        settle(&tagged, &policy("")).state,
        Some(State::Unscannable),
        "what has a tag is meant to be pulled"
    );

    let closed = World::with(&image_key(), untagged.clone(), Scan::Unavailable(NoScan::Unsupported));
    closed.fail("ecr:BatchGetImage", Fault::Before(Retry::Never));
    let outcome = settle(&closed, &policy(""));
    assert_eq!(
        outcome.state,
        Some(State::Unscannable),
        "what cannot be looked into is an image"
    );
    let said = outcome.not_read.unwrap();
    assert!(said.starts_with("ecr:BatchGetImage failed with"), "{said}");

    // The manifest of an untagged image is read once.
    let child = World::with(
        &image_key(),
        Image {
            pushed_at: Some(now()),
            ..untagged
        },
        Scan::InProgress,
    );
    assert_eq!(settle(&child, &policy("")).state, Some(State::Pending));
    child.forget_calls();
    settle(&child, &policy(""));
    assert!(child.calls().iter().all(|call| call.operation != "ecr:BatchGetImage"));
}

#[test]
fn a_tag_is_resolved_once_and_an_unknown_one_is_no_error() {
    let by_tag = |tag: &str| Request {
        image: ImageRef::Tag(tag.parse().unwrap()),
        ..request("one")
    };
    let world = world(critical());
    assert_eq!(
        run(look(&world, &policy(""), &by_tag("nope"))).unwrap().outcome,
        OutcomeKind::NoSuchImage
    );
    let outcome = run(look(&world, &policy(""), &by_tag("v1.2.3"))).unwrap();
    assert_eq!(outcome.digest, Some(image_key().digest));
    assert_eq!(outcome.state, Some(State::Blocked));
}

#[test]
fn a_refused_block_is_alerted_and_is_an_error() {
    let world = world(critical());
    for attempt in 1..=3 {
        world.fail("ecr:UpdateImageStorageClass", Fault::Before(Retry::Never));
        let error = run(look(&world, &policy(""), &request("one"))).unwrap_err();
        assert_eq!(error.code(), "BlockRefused", "attempt {attempt}");
        assert_eq!(told(&world), ["block-deferred"], "told once, attempt {attempt}");
        let row = world.row_of(&image_key()).unwrap();
        assert_eq!((row.state, row.block), (State::BlockDeferred, None));
    }
    insta::assert_snapshot!(world.row_of(&image_key()).unwrap().reason, @"1 finding blocks deployment: CVE-2026-1 CRITICAL in openssl (policy: severities.CRITICAL). It is not blocked: the registry refused (ecr:UpdateImageStorageClass failed with `Injected`).");
    assert_eq!(
        settle(&world, &policy("")).state,
        Some(State::Blocked),
        "when it is allowed again, it is blocked"
    );
}

#[test]
fn a_refused_quarantine_is_alerted_and_what_follows_is_a_block_like_any_other() {
    let quarantine = policy(r#""block": {"method": "quarantine-tag"}"#);
    for operation in ["ecr:PutImage", "ecr:BatchDeleteImage"] {
        let world = world(critical());
        for _ in 0..2 {
            world.fail(operation, Fault::Before(Retry::Never));
            let error = run(look(&world, &quarantine, &request("one"))).unwrap_err();
            assert_eq!(
                (error.code(), told(&world)),
                ("BlockRefused", vec!["block-deferred".to_owned()]),
                "{operation}"
            );
            assert!(tags(&world).contains("v1.2.3"), "{operation}");
        }
        let due = crate::testing::sweep(&world, &quarantine).due;
        assert!(due.is_empty() || due.contains_key("turn"), "{operation}: {due:?}");
        settle(&world, &quarantine);
        assert_eq!(world.row_of(&image_key()).unwrap().state, State::Blocked, "{operation}");
        assert_eq!(told(&world), ["block-deferred", "image-blocked"], "{operation}");
        world.complete_scan(&image_key(), scan(vec![]));
        settle(&world, &quarantine);
        assert_eq!(tags(&world), ["v1.2.3".to_owned()].into(), "{operation}");
    }
}

#[test]
fn two_invocations_at_once_block_once_and_alert_once() {
    let world = world(critical());
    let policy = policy("");
    let (one, two) = (request("one"), request("two"));
    let (first, second) = run(join(look(&world, &policy, &one), look(&world, &policy, &two)));
    let outcomes = BTreeSet::from([
        format!("{:?}", first.unwrap().outcome),
        format!("{:?}", second.unwrap().outcome),
    ]);
    assert_eq!(
        outcomes,
        BTreeSet::from(["Applied".to_owned(), "InProgress".to_owned()])
    );
    assert_eq!(told(&world), ["image-blocked"]);
    assert_eq!(world.calls().iter().filter(|call| call.mutates).count(), 1);
}

#[test]
fn another_plan_waits_until_the_one_that_is_carried_out_is_done() {
    let world = world(critical());
    let strict = policy("");
    // The first invocation has claimed its step, and is about to send the alert.
    for polls in 0..40 {
        if world.row_of(&image_key()).is_some() {
            break;
        }
        run_and_crash(look(&world, &strict, &request("one")), polls);
    }
    let excepted = policy(
        r#""exceptions": [{"vulnerability": "*", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-12-31"}]"#,
    );
    let error = run(look(&world, &excepted, &request("two"))).unwrap_err();
    assert_eq!(error.code(), "Busy");
    world.set_now(now() + SignedDuration::from_secs(46));
    assert!(
        run(look(&world, &excepted, &request("two"))).is_ok(),
        "nobody is waited for that long"
    );
}

/// At least this must be true of any way in which the work can be interrupted, once it is done again and nothing goes wrong.
#[track_caller]
fn assert_settled(world: &World, policy: &Policy, most_deliveries: usize, case: &str) {
    world.heal();
    world.set_now(now() + SignedDuration::from_mins(2));
    run(look(world, policy, &request("later"))).unwrap();
    assert_eq!(world.row_of(&image_key()).unwrap().state, State::Blocked, "{case}");
    assert_eq!(status(world), ImageStatus::Archived, "{case}");
    let deliveries = told(world).len();
    assert!(
        (1..=most_deliveries).contains(&deliveries),
        "{deliveries} deliveries: {case}"
    );
    assert_eq!(
        told_ids(world).len(),
        1,
        "one alert, however often it is delivered: {case}"
    );
    world.forget_calls();
    assert_eq!(settle(world, policy).outcome, OutcomeKind::Unchanged, "{case}");
    assert_eq!(world.writes(), 0, "{case}");
}

#[test]
fn a_crash_at_any_point_loses_nothing() {
    let policy = policy("");
    for first in 0..40 {
        for second in 0..40 {
            let world = world(critical());
            run_and_crash(look(&world, &policy, &request("one")), first);
            // Lambda delivers the event again, under the same request id.
            world.set_now(now() + SignedDuration::from_secs(60));
            run_and_crash(look(&world, &policy, &request("one")), second);
            assert_settled(&world, &policy, 3, &format!("crashes after {first} and {second} polls"));
        }
    }
}

#[test]
fn a_call_that_fails_at_any_point_loses_nothing() {
    let policy = policy("");
    let operations = [
        "ecr:DescribeImages",
        "ecr:DescribeImageScanFindings",
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        "ecr:UpdateImageStorageClass",
        "sns:Publish",
    ];
    for operation in operations {
        for fault in [Fault::Before(Retry::Later), Fault::After(Retry::Later)] {
            for skipped in 0..2 {
                let world = world(critical());
                if skipped == 1 {
                    // The fault hits the second call of that operation instead of the first.
                    for polls in 0..40 {
                        if world
                            .calls()
                            .iter()
                            .any(|call| call.operation == operation && call.ended.is_some())
                        {
                            break;
                        }
                        world.forget_calls();
                        run_and_crash(look(&world, &policy, &request("one")), polls);
                    }
                }
                world.fail(operation, fault.clone());
                let result = run(look(&world, &policy, &request("one")));
                if let Err(error) = &result {
                    assert_eq!(error.retry(), Retry::Later, "{error}");
                }
                assert_settled(&world, &policy, 3, &format!("{operation} {fault:?}"));
            }
        }
    }
}

#[test]
fn a_publish_that_fails_does_not_keep_the_image_from_being_blocked() {
    let world = world(critical());
    world.fail("sns:Publish", Fault::Before(Retry::Later));
    assert!(run(look(&world, &policy(""), &request("one"))).is_err());
    assert_eq!(status(&world), ImageStatus::Archived);
    settle(&world, &policy(""));
    assert_eq!(told(&world), ["image-blocked"]);
}

#[test]
fn an_archive_that_does_not_happen_is_noticed() {
    // The registry answers that the image is archived, and goes on showing it as it was.
    let world = world(critical());
    let policy = policy("");
    let request = request("one");
    let future = look(&world, &policy, &request);
    let undo = async {
        loop {
            if world.image_of(&image_key()).unwrap().status == ImageStatus::Archived {
                world.push(&image_key(), image(&image_key()));
                return;
            }
            std::future::poll_fn({
                let mut first = true;
                move |_| {
                    if std::mem::take(&mut first) {
                        std::task::Poll::Pending
                    } else {
                        std::task::Poll::Ready(())
                    }
                }
            })
            .await;
        }
    };
    let (result, ()) = run(join(future, undo));
    assert_eq!(result.unwrap_err().code(), "NotVerified");
}

fn any_scan() -> impl Strategy<Value = Scan> {
    let severity = prop_oneof![
        Just(Severity::Critical),
        Just(Severity::High),
        Just(Severity::Medium),
        Just(Severity::Low),
        Just(Severity::Undefined)
    ];
    let findings = proptest::collection::vec((0..6u8, severity), 0..5).prop_map(|findings| {
        Scan::Complete(scan(
            findings
                .into_iter()
                .map(|(n, severity)| finding(&format!("CVE-2026-{n}"), severity))
                .collect(),
        ))
    });
    prop_oneof![
        4 => findings,
        1 => Just(Scan::Absent),
        1 => Just(Scan::InProgress),
        1 => Just(Scan::Unavailable(NoScan::Failed)),
        1 => Just(Scan::Unavailable(NoScan::EligibilityExpired)),
    ]
}

#[derive(Debug, Clone)]
enum Happening {
    Scanned(Scan),
    PushedAgain,
    Deleted,
    Pushed,
    Pulled,
    Policy(usize),
    Hours(i64),
    Epss(u8, f64),
}

fn any_happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => any_scan().prop_map(Happening::Scanned),
        1 => Just(Happening::PushedAgain),
        1 => Just(Happening::Deleted),
        1 => Just(Happening::Pushed),
        1 => Just(Happening::Pulled),
        2 => (0..POLICIES.len()).prop_map(Happening::Policy),
        2 => (1..900i64).prop_map(Happening::Hours),
        1 => (0..6u8, 0.1..1.0f64).prop_map(|(n, score)| Happening::Epss(n, score)),
    ]
}

const POLICIES: [(&str, &str); 8] = [
    ("enforce", ""),
    ("enforce", r#""block": {"method": "quarantine-tag"}"#),
    ("enforce", r#""block": {"method": "flag", "when_in_use": "block"}"#),
    (
        "enforce",
        r#""severities": {"HIGH": "block"}, "scan": {"on_failure": "block", "on_stale": "monitor"}"#,
    ),
    (
        "enforce",
        r#""exceptions": [{"vulnerability": "CVE-2026-0", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-12-31"},
        {"vulnerability": "CVE-2026-1", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-12-31"},
        {"vulnerability": "CVE-2026-1", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-12-01"}]"#,
    ),
    ("enforce", r#""block": {"max_blocks_per_hour": 1}"#),
    (
        "enforce",
        r#""rules": [{"min_epss": 0.5, "action": "block"}, {"severities": ["HIGH"], "fix": "unavailable", "action": "monitor"},
        {"severities": ["MEDIUM", "LOW"], "more_than": 2, "action": "block"}]"#,
    ),
    ("report", ""),
];

/// A MEDIUM finding of enhanced scanning.
fn medium() -> Scan {
    Scan::Complete(scan(vec![finding("CVE-2026-1", Severity::Medium)]))
}

fn with_epss(vulnerability: &str, score: f64) -> Request {
    let hints = Hints {
        epss: Epss::new(vulnerability, score).into_iter().collect(),
        ..Hints::default()
    };
    Request {
        hints,
        ..request("one")
    }
}

#[test]
fn what_an_event_says_of_epss_decides_and_is_remembered() {
    let policy = policy(r#""rules": [{"min_epss": 0.5, "action": "review"}]"#);
    let world = world(medium());
    assert_eq!(settle(&world, &policy).state, Some(State::Allowed));
    for (vulnerability, score) in [("CVE-2026-1", 0.49), ("CVE-2026-2", 0.9)] {
        let outcome = run(look(&world, &policy, &with_epss(vulnerability, score))).unwrap();
        assert_eq!(outcome.state, Some(State::Allowed), "{vulnerability} {score}");
    }
    let outcome = run(look(&world, &policy, &with_epss("CVE-2026-1", 0.75))).unwrap();
    assert_eq!(outcome.state, Some(State::Review));
    insta::assert_snapshot!(outcome.reason.unwrap(), @"1 finding needs review before deployment: CVE-2026-1 MEDIUM in openssl (policy: rules[0]).");
    let row = world.row_of(&image_key()).unwrap();
    assert_eq!(
        (row.findings[0].epss, row.findings[0].rule.as_str()),
        (Some(0.75), "rules[0]")
    );

    // No later event need say it again; not even a scan need be there.
    assert_eq!(settle(&world, &policy).outcome, OutcomeKind::Unchanged);
    world.set_scan(&image_key(), Scan::InProgress);
    assert_eq!(settle(&world, &policy).state, Some(State::Review));
    // One that says otherwise counts.
    let outcome = run(look(&world, &policy, &with_epss("CVE-2026-1", 0.2))).unwrap();
    assert_eq!(outcome.state, Some(State::Allowed));
    assert_eq!(told(&world), ["image-review"]);
}

#[test]
fn an_outcome_names_the_exceptions_that_are_of_use_and_those_that_are_not() {
    let entry = |id: &str, more: &str| {
        format!(
            r#"{{"vulnerability": "{id}", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-12-31"{more}}}"#
        )
    };
    let excepted = policy(&format!(
        r#""exceptions": [{}, {}]"#,
        entry("CVE-2025-1", ""),
        entry("CVE-2026-1", r#", "ticket": "SEC-12""#)
    ));
    let world = world(critical());
    for _ in 0..2 {
        let outcome = settle(&world, &excepted);
        assert_eq!(outcome.exceptions_used, ["exceptions[1] SEC-12"]);
        assert_eq!(outcome.exceptions_unused, ["exceptions[0]"]);
    }
    let row = world.row_of(&image_key()).unwrap();
    assert_eq!(row.excepted[0].exception.as_deref(), Some("exceptions[1] SEC-12"));
    insta::assert_snapshot!(row.reason, @"Findings: 1 CRITICAL. None needs review, 1 is excepted by the policy (exceptions[1] SEC-12 of o, until 2026-12-31).");
    world.set_scan(&image_key(), Scan::InProgress);
    let outcome = settle(&world, &excepted);
    assert_eq!((outcome.exceptions_used.len(), outcome.exceptions_unused.len()), (0, 0));
}

#[test]
fn only_some_of_many_exceptions_are_named() {
    let entries: Vec<String> = (1..=5)
        .map(|n| {
            format!(
                r#"{{"vulnerability": "CVE-2026-{n}", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-12-31"}}"#
            )
        })
        .collect();
    let findings = (1..=5).map(|n| finding(&format!("CVE-2026-{n}"), Severity::High));
    let world = world(Scan::Complete(scan(findings.collect())));
    let outcome = settle(&world, &policy(&format!(r#""exceptions": [{}]"#, entries.join(", "))));
    insta::assert_snapshot!(outcome.reason.unwrap(), @"Findings: 5 HIGH. None needs review, 5 are excepted by the policy (exceptions[0] of o, until 2026-12-31; exceptions[1] of o, until 2026-12-31; exceptions[2] of o, until 2026-12-31; and 2 more).");
}

#[test]
fn more_findings_than_a_row_holds_are_not_forgotten_when_the_policy_changes() {
    let findings = (0..400).map(|n| finding(&format!("CVE-2026-{n:03}"), Severity::Critical));
    let world = world(Scan::Complete(scan(findings.collect())));
    settle(&world, &policy(""));
    let row = world.row_of(&image_key()).unwrap();
    assert_eq!((row.findings.len(), row.omitted_findings), (300, 100));
    // All findings in the row are excepted, or made better: the others are still there, at the second reconcile too.
    let kept = r#"["CVE-2026-0*", "CVE-2026-1*", "CVE-2026-2*"]"#;
    for members in [
        format!(r#""rules": [{{"vulnerabilities": {kept}, "action": "inform"}}]"#),
        r#""exceptions": [{"vulnerability": "CVE-2026-0*", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-12-31"},
            {"vulnerability": "CVE-2026-1*", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-12-31"},
            {"vulnerability": "CVE-2026-2*", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-12-31"}]"#
            .to_owned(),
    ] {
        let changed = policy(&members);
        for _ in 0..3 {
            assert_eq!(settle(&world, &changed).state, Some(State::Blocked), "{members}");
        }
    }
    let milder = policy(r#""severities": {"CRITICAL": "monitor"}"#);
    assert_eq!(
        settle(&world, &milder).state,
        Some(State::Review),
        "the least that was left out"
    );
}

/// Lets something happen, a second later.
fn happen(world: &World, happening: &Happening, rules: &mut Policy, at: &mut Timestamp) {
    *at += SignedDuration::from_secs(1);
    world.set_now(*at);
    match happening {
        Happening::Scanned(scan) => world.set_scan(&image_key(), scan.clone()),
        Happening::PushedAgain => world.push_again(&image_key(), *at),
        Happening::Deleted => world.delete(&image_key()),
        Happening::Pushed => {
            if world.image_of(&image_key()).is_none() {
                let pushed = Image {
                    pushed_at: Some(*at),
                    ..image(&image_key())
                };
                world.push(&image_key(), pushed);
            }
        }
        Happening::Pulled => {
            let found = world.image_of(&image_key());
            if let Some(mut image) = found.filter(|image| image.status == ImageStatus::Active) {
                image.last_pulled_at = Some(*at);
                world.push(&image_key(), image);
            }
        }
        Happening::Policy(n) => *rules = policy_in(POLICIES[*n].0, POLICIES[*n].1),
        Happening::Hours(hours) => {
            *at += SignedDuration::from_hours(*hours);
            world.set_now(*at);
        }
        Happening::Epss(..) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_a_second_reconcile_finds_nothing_to_do(happenings in proptest::collection::vec(any_happening(), 1..12)) {
        let world = world(Scan::Absent);
        let mut rules = policy("");
        let mut at = now();
        for happening in happenings {
            happen(&world, &happening, &mut rules, &mut at);
            let asked = match &happening {
                Happening::Epss(n, score) => with_epss(&format!("CVE-2026-{n}"), *score),
                _ => request("one"),
            };
            let existed = world.image_of(&image_key()).is_some();
            let before = world.calls().len();
            let outcome = run(look(&world, &rules, &asked)).unwrap();
            // Nothing that we do ever makes an image disappear.
            prop_assert_eq!(existed, world.image_of(&image_key()).is_some());
            if !rules.enforces_anywhere() {
                prop_assert!(world.calls()[before..].iter().all(|call| !call.mutates));
            }
            // Whatever is not known is not allowed, unless it was before.
            let scan = match &happening { Happening::Scanned(scan) => Some(scan), _ => None };
            if let (Some(Scan::Unavailable(_)), Some(state)) = (scan, outcome.state) {
                let archived = world.image_of(&image_key()).is_some_and(|image| image.status == ImageStatus::Archived);
                prop_assert!(state != State::Allowed || archived || !existed, "{:?} {:?}", scan, outcome);
            }
            world.forget_calls();
            let again = run(look(&world, &rules, &request("two"))).unwrap();
            prop_assert!(!matches!(again.outcome, OutcomeKind::Applied | OutcomeKind::Closed), "{:?} after {:?}", again, outcome);
            prop_assert_eq!(world.writes(), 0);
        }
        let alerts = world.sent().len();
        prop_assert_eq!(told_ids(&world).len(), alerts, "without failures, no alert is sent twice");
    }
}
