//! The gate: the same decision without its effects.

use super::*;
use crate::gate::Gate;
use guard_core::{
    decide::Judgement,
    gate::{
        Answer, Asked, Decision, ImageAnswer, Known, SeenImage, What, answer,
        hook::{HookRequest, HookStatus},
    },
};
use guard_ports::Revisions;

const HOST: &str = "123456789012.dkr.ecr.us-west-2.amazonaws.com";

fn by_tag() -> String {
    format!("{HOST}/{}:v1.2.3", image_key().repository)
}

fn by_digest() -> String {
    format!("{HOST}/{}@{}", image_key().repository, image_key().digest)
}

/// A hook of ECS, after the new tasks run.
const SCALED_UP: &str = r#"{"lifecycleStage": "POST_SCALE_UP", "targetServiceRevisionArn": "revision/1"}"#;

/// The gate of the registry of that image.
fn gate<'a, S>(services: &'a S, policy: &'a Policy, key: &'a ImageKey) -> Gate<'a, S> {
    Gate {
        services,
        policy,
        account: &key.account,
        region: &key.region,
        actor: "gate",
    }
}

fn ask_all(world: &World, policy: &Policy, images: &[&str]) -> Answer {
    let asked: Vec<Asked> = images.iter().map(|image| Asked::new(image)).collect();
    let services = world.writing(false);
    let key = image_key();
    let gate = gate(&services, policy, &key);
    let answer = run(gate.answer(&asked));
    assert_eq!(world.writes(), 0, "it only reads");
    answer
}

#[track_caller]
fn ask(world: &World, policy: &Policy, image: &str) -> ImageAnswer {
    world.forget_calls();
    let mut answer = ask_all(world, policy, &[image]);
    assert_eq!(answer.images.len(), 1);
    answer.images.remove(0)
}

fn operations(world: &World) -> Vec<&'static str> {
    world.calls().iter().map(|call| call.operation).collect()
}

#[test]
fn the_answer_is_that_of_the_next_reconcile_before_and_after_it() {
    for (scan, members, decision, state) in [
        (clean(), "", Decision::Allow, "Allowed"),
        (critical(), "", Decision::Deny, "Blocked"),
        (critical(), EXCEPTED, Decision::Allow, "Allowed"),
        (
            Scan::Complete(scan(vec![finding("CVE-2026-2", Severity::High)])),
            "",
            Decision::Allow,
            "Review",
        ),
        (
            Scan::Complete(scan(vec![finding("CVE-2026-2", Severity::High)])),
            r#""gate": {"review": "deny"}"#,
            Decision::Deny,
            "Review",
        ),
        (
            Scan::Unavailable(NoScan::Unsupported),
            "",
            Decision::Allow,
            "Unscannable",
        ),
        (
            Scan::Unavailable(NoScan::Unsupported),
            r#""scan": {"on_unsupported": "block"}"#,
            Decision::Deny,
            "Blocked",
        ),
    ] {
        let (world, policy) = (world(scan), policy(members));
        let before = ask(&world, &policy, &by_digest());
        assert_eq!((before.decision, before.state.as_str()), (decision, state), "{members}");
        let outcome = settle(&world, &policy);
        assert_eq!(outcome.state.map(State::as_str), Some(state), "{members}");
        let after = ask(&world, &policy, &by_digest());
        assert_eq!((after.decision, after.state.as_str()), (decision, state), "{members}");
        assert_eq!(before.findings, after.findings, "{members}");
    }
}

#[test]
fn an_answer_names_the_digest_to_deploy_and_what_can_be_done() {
    let world = world(Scan::Complete(scan(vec![Finding {
        fixed_in: Some("3.0.2".to_owned()),
        ..finding("CVE-2026-1", Severity::Critical)
    }])));
    let answer = ask(&world, &policy(""), &by_tag());
    assert_eq!(answer.pinned.as_deref(), Some(by_digest().as_str()));
    assert_eq!(answer.tag.as_deref(), Some("v1.2.3"));
    assert_eq!(answer.findings[0].package.as_deref(), Some("openssl 3.0.1"));
    assert_eq!(answer.next[0], "Update openssl to 3.0.2, build and push again.");
}

#[test]
fn what_is_asked_for_may_not_be_there_or_not_be_ours() {
    let world = world(clean());
    world.guard_only(image_key().repository);
    let denying = policy(r#""gate": {"unguarded": "deny"}"#);
    let other_digest = format!("{HOST}/{}@sha256:{}", image_key().repository, "cd34".repeat(16));
    let moved = format!("{HOST}/{}:v1.2.3@sha256:{}", image_key().repository, "cd34".repeat(16));
    let both = format!("{HOST}/{}:v1.2.3@{}", image_key().repository, image_key().digest);
    for (image, decision, state, exit_code) in [
        (other_digest.as_str(), Decision::Deny, "NotFound", 2),
        (
            &format!("{HOST}/{}:v9", image_key().repository),
            Decision::Deny,
            "NotFound",
            2,
        ),
        (&moved, Decision::Deny, "Moved", 1),
        (&both, Decision::Allow, "Allowed", 0),
        (&format!("{HOST}/Not%20a%20Name:v1"), Decision::Deny, "Invalid", 2),
        ("", Decision::Deny, "Invalid", 2),
        (
            &by_tag().replace("amazonaws.com", "evil.example"),
            Decision::Deny,
            "Invalid",
            2,
        ),
        (
            &format!(
                "docker-pullable://{}",
                by_tag().replace("amazonaws.com", "evil.example")
            ),
            Decision::Deny,
            "Invalid",
            2,
        ),
        (
            &by_tag().replace("dkr.ecr.us-west-2.amazonaws.com", "DKR.ECR.us-west-2.EVIL.example"),
            Decision::Deny,
            "Invalid",
            2,
        ),
        (
            &by_tag().replace("amazonaws.com", "amazonaws.com:8443"),
            Decision::Deny,
            "Invalid",
            2,
        ),
        (&by_tag().replace("dkr.ecr", "DKR.ECR"), Decision::Allow, "Allowed", 0),
        (
            &by_tag().replace("amazonaws.com", "amazonaws.com:443"),
            Decision::Allow,
            "Allowed",
            0,
        ),
        ("docker.io/library/nginx:1", Decision::Allow, "NotGuarded", 0),
        (&format!("{HOST}/another:v1"), Decision::Allow, "NotGuarded", 0),
        (
            &by_tag().replace("us-west-2", "eu-west-1"),
            Decision::Allow,
            "NotGuarded",
            0,
        ),
        (
            &by_tag().replace("123456789012", "210987654321"),
            Decision::Allow,
            "NotGuarded",
            0,
        ),
    ] {
        let answer = ask_all(&world, &policy(""), &[image]);
        let found = (answer.decision, answer.images[0].state.as_str(), answer.exit_code);
        assert_eq!(found, (decision, state, exit_code), "{image}");
        if state == "NotGuarded" {
            assert!(!answer.images[0].warnings.is_empty(), "{image}");
            assert_eq!(ask_all(&world, &denying, &[image]).decision, Decision::Deny, "{image}");
        }
    }
    // The worst of all counts, and a missing image next to a blocked one is a denial.
    world.set_scan(&image_key(), critical());
    assert_eq!(ask_all(&world, &policy(""), &[&other_digest, &by_tag()]).exit_code, 1);
}

#[test]
fn without_a_result_nothing_is_allowed() {
    let pushed = image(&image_key()).pushed_at.unwrap();
    let not_visible = Scan::Complete(guard_core::finding::Findings {
        mode: guard_core::finding::ScanMode::Enhanced,
        completed_at: None,
        has_result: false,
        ..scan(vec![])
    });
    for scan in [Scan::Absent, Scan::InProgress, not_visible] {
        for (on_failure, after) in [
            ("review", Decision::Deny),
            ("block", Decision::Deny),
            ("monitor", Decision::Allow),
        ] {
            let world = world(scan.clone());
            let policy = policy(&format!(
                r#""scan": {{"grace_minutes": 30, "on_failure": "{on_failure}"}}"#
            ));
            world.set_now(pushed + SignedDuration::from_mins(4));
            let answer = ask(&world, &policy, &by_digest());
            assert_eq!((answer.decision, answer.state.as_str()), (Decision::Wait, "Pending"));
            assert_eq!(answer.retry_after_seconds, Some(24));
            if matches!(scan, Scan::Complete(_)) {
                // After that time such an answer is what it says.
                continue;
            }
            world.set_now(pushed + SignedDuration::from_mins(31));
            assert_eq!(
                ask(&world, &policy, &by_digest()).decision,
                after,
                "{scan:?} {on_failure}"
            );
        }
    }
}

#[test]
fn in_report_mode_it_allows_and_says_what_it_would_do() {
    let answer = ask(&world(critical()), &policy_in("report", ""), &by_digest());
    assert_eq!((answer.decision, answer.would), (Decision::Allow, Some(Decision::Deny)));
    assert_eq!(answer.mode.as_deref(), Some("report"));
    assert!(answer.warnings[0].contains("only reports"), "{:?}", answer.warnings);
}

#[test]
fn what_is_in_use_may_be_deployed_and_what_only_waits_for_us_may_not() {
    let held = world(critical());
    let pulled = Image {
        last_pulled_at: Some(now() - SignedDuration::from_hours(2)),
        ..image(&image_key())
    };
    held.push(&image_key(), pulled);
    let answer = ask(&held, &policy(""), &by_digest());
    assert_eq!(
        (answer.decision, answer.state.as_str()),
        (Decision::Allow, "BlockDeferred")
    );
    assert!(!answer.warnings.is_empty());
    let denied = ask(&held, &policy(r#""gate": {"deferred": "deny"}"#), &by_digest());
    assert_eq!(denied.decision, Decision::Deny);

    // The hourly limit says nothing for an image.
    let limited = world(critical());
    settle(&limited, &policy(""));
    let row = limited.row_of(&image_key()).unwrap();
    limited.remember(Row {
        generation: row.generation + 1,
        state: State::BlockDeferred,
        block: None,
        limited_until: Some(now() + SignedDuration::from_mins(30)),
        ..row
    });
    limited.push(&image_key(), image(&image_key()));
    let answer = ask(&limited, &policy(""), &by_digest());
    assert_eq!(
        (answer.decision, answer.state.as_str()),
        (Decision::Deny, "BlockDeferred")
    );
}

#[test]
fn what_somebody_else_has_archived_cannot_be_deployed() {
    let archived = |scan| {
        let world = world(scan);
        let image = Image {
            status: ImageStatus::Archived,
            ..image(&image_key())
        };
        world.push(&image_key(), image);
        ask(&world, &policy(""), &by_digest()).decision
    };
    assert_eq!(archived(Scan::Archived), Decision::Deny);
    assert_eq!(archived(clean()), Decision::Deny);
}

#[test]
fn a_call_that_fails_makes_it_unavailable() {
    for operation in [
        "dynamodb:GetItem",
        "ecr:DescribeImages",
        "ecr:DescribeImageScanFindings",
    ] {
        let world = world(clean());
        world.fail(operation, Fault::Before(Retry::Later));
        let answer = ask_all(&world, &policy(""), &[&by_tag()]);
        assert_eq!(
            (answer.decision, answer.exit_code),
            (Decision::Unavailable, 4),
            "{operation}"
        );
        assert!(answer.retry_after_seconds.is_some());
    }
}

/// Digest: one round of calls. Tag: one more before it.
#[test]
fn it_asks_no_more_than_it_must() {
    let (world, policy) = (world(clean()), policy(""));
    settle(&world, &policy);
    ask(&world, &policy, &by_digest());
    let mut operations = operations(&world);
    operations.sort_unstable();
    insta::assert_snapshot!(operations.join(" "));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// An allowed image is not blocked by the next reconcile of the same facts, and nothing is allowed without a result.
    #[test]
    fn what_the_gate_allows_the_next_reconcile_does_not_block(
        happenings in proptest::collection::vec((any_happening(), any::<bool>()), 1..12)
    ) {
        let world = world(Scan::Absent);
        let mut rules = policy("");
        let mut at = now();
        for (happening, looks) in happenings {
            happen(&world, &happening, &mut rules, &mut at);
            let answer = ask(&world, &rules, &by_digest());
            if !looks {
                // The row is older then when it is asked next.
                continue;
            }
            let outcome = run(look(&world, &rules, &request("one"))).unwrap();
            if answer.decision == Decision::Allow && answer.would.is_none() {
                prop_assert!(outcome.state != Some(State::Blocked), "{:?} then {:?}", answer, outcome);
                if outcome.state == Some(State::Pending) {
                    let monitors = rules.without_scan(&NoScan::Failed) == guard_core::policy::NoScanAction::Monitor;
                    prop_assert!(monitors || !rules.enforces_anywhere(), "{:?}", answer);
                }
            }
            if let Some(state) = outcome.state.filter(|_| !["NotFound", "Archived"].contains(&answer.state.as_str())) {
                prop_assert_eq!(answer.state.as_str(), state.as_str());
            }
        }
    }
}

const INDEX: &str = "sha256:1d";

/// An index with this number of children, none of them reconciled yet; the first one has these findings.
fn with_index(images: usize, findings: &[Finding]) -> World {
    let world = World::new();
    let key = |digest: &str| ImageKey {
        digest: digest.parse().unwrap(),
        ..image_key()
    };
    let mut manifests = Vec::new();
    for n in 0..images {
        let child = key(&format!("sha256:a{n}"));
        world.push(
            &child,
            Image {
                tags: Vec::new(),
                ..image(&child)
            },
        );
        world.complete_scan(&child, scan(if n == 0 { findings.to_vec() } else { Vec::new() }));
        manifests.push(format!(
            r#"{{"digest": "{}", "platform": {{"os": "linux", "architecture": "a{n}"}}}}"#,
            child.digest
        ));
    }
    let index = key(INDEX);
    let entry = Image {
        manifest_media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
        artifact_media_type: None,
        ..image(&index)
    };
    world.push(&index, entry);
    world.set_manifest(&index, &format!(r#"{{"manifests": [{}]}}"#, manifests.join(",")));
    world
}

#[test]
fn an_index_has_the_answer_of_the_worst_image_that_it_references() {
    let image = format!("{HOST}/{}@{INDEX}", image_key().repository);
    for (findings, decision) in [
        (vec![], Decision::Allow),
        (vec![finding("CVE-2026-1", Severity::Critical)], Decision::Deny),
    ] {
        let (world, policy) = (with_index(4, &findings), policy(""));
        assert_eq!(ask(&world, &policy, &image).decision, decision);
        let request = Request {
            image: ImageRef::Digest(INDEX.parse().unwrap()),
            ..request("one")
        };
        run(look(&world, &policy, &request)).unwrap();
        assert_eq!(ask(&world, &policy, &image).decision, decision, "after the look");
        // So has an image of it that is asked for by itself.
        let child = format!("{HOST}/{}@sha256:a0", image_key().repository);
        assert_eq!(ask(&world, &policy, &child).decision, decision);
    }
    // One of them waits.
    let world = with_index(2, &[]);
    let child = ImageKey {
        digest: "sha256:a1".parse().unwrap(),
        ..image_key()
    };
    world.set_scan(&child, Scan::InProgress);
    world.set_now(now() - SignedDuration::from_mins(50));
    assert_eq!(ask(&world, &policy(""), &image).decision, Decision::Wait);
}

/// A revision of these images.
struct Revision(Vec<String>);

impl Revisions for Revision {
    async fn images(&self, _: &str) -> Result<Vec<String>, PortError> {
        Ok(self.0.clone())
    }
}

#[test]
fn a_deployment_by_digest_is_evaluated_by_it_whatever_image_has_the_tag_by_now() {
    let (world, policy) = (world(clean()), policy(""));
    let moved = format!("{HOST}/{}:v9@{}", image_key().repository, image_key().digest);
    assert_eq!(ask(&world, &policy, &moved).state, "Moved", "a pipeline is told");
    let services = world.writing(false);
    let key = image_key();
    let gate = gate(&services, &policy, &key);
    let hook = HookRequest::parse(SCALED_UP).unwrap();
    let hooked = run(gate.hook(&hook, &Revision(vec![moved])));
    assert_eq!(hooked.answer.hook_status, HookStatus::Succeeded, "{:?}", hooked.images);
}

#[test]
fn what_others_have_written_is_one_line_in_each_part_of_an_answer() {
    let (world, policy) = (
        world(Scan::Complete(scan(vec![finding("CVE-2026-2", Severity::High)]))),
        policy(""),
    );
    settle(&world, &policy);
    let key = image_key();
    let mut row = world.row_of(&key).unwrap();
    row.reason = "one\n\u{1b}[31mtwo\u{202e}".to_owned();
    let seen = SeenImage {
        image: image(&key),
        key,
        what: What::Image(Box::new(Judgement {
            row,
            hold: None,
            not_visible: false,
        })),
    };
    let answer = answer(&policy, now(), &Asked::new(&by_tag()), &Known::Image(Box::new(seen)));
    assert_eq!(answer.decision, Decision::Allow);
    assert_eq!(answer.reason, "one two");
    assert_eq!(answer.warnings, ["one two"]);
}

#[test]
fn the_team_of_an_image_is_alerted_to_a_refused_deployment_and_to_no_other() {
    let image = by_digest();
    for (scan, members, status, alerts) in [
        (critical(), "", HookStatus::Failed, 1),
        (clean(), "", HookStatus::Succeeded, 0),
    ] {
        let (world, policy) = (world(scan), policy(members));
        let services = world.writing(false);
        let key = image_key();
        let gate = gate(&services, &policy, &key);
        let hook = HookRequest::parse(SCALED_UP).unwrap();
        let mut hooked = run(gate.hook(&hook, &Revision(vec![image.clone()])));
        assert_eq!((hooked.answer.hook_status, hooked.alerts), (status, 0));
        world.fail("sns:Publish", Fault::Before(Retry::Later));
        run(gate.tell_refused(&hook, &mut hooked));
        assert_eq!((hooked.alerts, hooked.not_told.is_some()), (0, alerts > 0));
        world.heal();
        run(gate.tell_refused(&hook, &mut hooked));
        assert_eq!((hooked.alerts, world.sent().len() as u64), (alerts, alerts));
    }
}
