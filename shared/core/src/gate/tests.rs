//! The forms of the gate: what counts as which answer, and how ECS's words are read.

use std::{collections::BTreeSet, iter};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{
    form::{Answer, Asked, Decision, ImageAnswer},
    hook::{HookAnswer, HookRequest, HookStatus},
    verdict::{Known, SeenImage, What, answer},
};
use crate::{
    decide::Judgement,
    finding::NoScan,
    image::{Image, ImageStatus},
    ledger::Row,
    state::State,
    testing,
};

const IMAGE: &str = "123456789012.dkr.ecr.us-west-2.amazonaws.com/api:1";

fn now() -> Timestamp {
    "2026-11-30T08:00:00Z".parse().unwrap()
}

fn image(decision: Decision) -> ImageAnswer {
    ImageAnswer::new(&Asked::new(IMAGE), decision, "State", String::new())
}

#[test]
fn a_wait_outranks_what_could_not_be_found_out() {
    use Decision::{Allow, Deny, Unavailable, Wait};
    for (decisions, expected, exit_code) in [
        (&[Wait, Unavailable][..], Wait, 3),
        (&[Unavailable, Allow, Wait], Wait, 3),
        (&[Unavailable, Allow], Unavailable, 4),
        (&[Wait, Deny, Unavailable], Deny, 1),
        (&[Allow], Allow, 0),
    ] {
        let answer = Answer::of(decisions.iter().map(|decision| image(*decision)).collect(), now());
        assert_eq!(
            (answer.decision, answer.exit_code),
            (expected, exit_code),
            "{decisions:?}"
        );
    }
}

fn call(details: &Value) -> Value {
    json!({"lifecycleStage": "PRE_SCALE_UP", "executionDetails": {"targetServiceRevisionArn": "revision/1"}, "hookDetails": details})
}

fn hook(payload: &Value) -> HookRequest {
    HookRequest::parse(&payload.to_string()).unwrap_or_else(|| panic!("a hook: {payload}"))
}

/// The answers of a hook with these details that waits for `minutes` and a second.
fn after(details: &Value, minutes: i64) -> HookAnswer {
    let first = hook(&call(details)).waits(None, now());
    assert_eq!(first.hook_status, HookStatus::InProgress, "{details}");
    let later = now() + SignedDuration::from_secs(minutes * 60 + 1);
    hook(&call(&json!(first.hook_details))).waits(None, later)
}

#[test]
fn only_a_known_word_lets_a_deployment_go_on_after_a_wait() {
    for (details, expected) in [
        (json!({}), HookStatus::Succeeded),
        (Value::Null, HookStatus::Succeeded),
        (json!(""), HookStatus::Succeeded),
        (json!({"on_unavailable": null}), HookStatus::Succeeded),
        (json!({"on_unavailable": "CONTINUE"}), HookStatus::Succeeded),
        (json!({"on_unavailable": "continue"}), HookStatus::Succeeded),
        (json!({"on_unavailable": "ROLLBACK"}), HookStatus::Failed),
        (json!({"on_unavailable": "fail"}), HookStatus::Failed),
        (json!({"on_unavailable": "ROLBACK"}), HookStatus::Failed),
        (json!({"on_unavailable": ""}), HookStatus::Failed),
        (json!({"on_unavailable": true}), HookStatus::Failed),
        // As a document in a string, as Terraform's `jsonencode` writes it.
        (json!(r#"{"on_unavailable": "ROLLBACK"}"#), HookStatus::Failed),
        (json!(r#"{"on_unavailable": "CONTINUE"}"#), HookStatus::Succeeded),
        // Details that cannot be read.
        (json!("on_unavailable = ROLLBACK"), HookStatus::Failed),
        (json!(["ROLLBACK"]), HookStatus::Failed),
    ] {
        assert_eq!(after(&details, 10).hook_status, expected, "{details}");
    }
}

#[test]
fn the_minutes_of_a_wait_are_read_in_every_form_of_a_number() {
    for (minutes, ends_after) in [
        (json!(60), 60),
        (json!(60.0), 60),
        (json!("60"), 60),
        (json!("60.0"), 60),
        (json!(0.5), 1),
        (json!(1e9), 1440),
        (json!("NaN"), 10),
        (json!("ten"), 10),
        (json!(null), 10),
    ] {
        for details in [
            json!({"give_up_minutes": minutes}),
            json!(json!({"give_up_minutes": minutes}).to_string()),
        ] {
            let status = |after_minutes: i64| after(&details, after_minutes).hook_status;
            assert_eq!(status(ends_after), HookStatus::Succeeded, "{details}");
            assert_eq!(status(ends_after - 1), HookStatus::InProgress, "{details}");
        }
    }
    // No wait at all.
    let answer = hook(&call(&json!({"give_up_minutes": -5}))).waits(None, now());
    assert_eq!(answer.hook_status, HookStatus::Succeeded);
}

#[test]
fn a_wait_is_that_of_one_stage_and_one_revision() {
    let first = hook(&call(&json!({}))).waits(None, now());
    let later = now() + SignedDuration::from_mins(11);
    let mut again = call(&json!(first.hook_details));
    assert_eq!(hook(&again).waits(None, later).hook_status, HookStatus::Succeeded);
    again["executionDetails"]["targetServiceRevisionArn"] = json!("revision/2");
    assert_eq!(hook(&again).waits(None, later).hook_status, HookStatus::InProgress);
    again["executionDetails"] = json!({});
    let unnamed = hook(&again).waits(None, later);
    assert_eq!(unnamed.hook_status, HookStatus::InProgress);
    // A revision that nobody names waits no longer than any other.
    again["hookDetails"] = json!(unnamed.hook_details);
    let last = hook(&again).waits(None, later + SignedDuration::from_mins(11));
    assert_eq!(last.hook_status, HookStatus::Succeeded);
}

#[test]
fn a_call_of_ecs_is_known_by_any_of_its_members() {
    for payload in [
        json!({"executionDetails": {}}),
        json!({"hookDetails": {}}),
        json!({"resourceArn": "service-deployment/prod/api/1"}),
        json!({"lifecycleStage": "PRE_SCALE_UP"}),
        json!({"targetServiceRevisionArn": "revision/1"}),
    ] {
        // A stage that is not named is no reason to check nothing.
        assert_eq!(hook(&payload).passes(), None, "{payload}");
    }
    for payload in [
        json!({}),
        json!([]),
        json!({"schema": "ecr-guard/gate/v1", "images": [IMAGE], "resourceArn": "mine"}),
        json!({"images": [IMAGE]}),
    ] {
        assert_eq!(HookRequest::parse(&payload.to_string()), None, "{payload}");
    }
}

/// An image in a state, as a reconcile would leave it; `no_scan`: why there is no result; `hold`: the rule that defers its
/// block.
fn seen(state: State, no_scan: Option<NoScan>, hold: Option<&'static str>, status: ImageStatus) -> SeenImage {
    let key = testing::image_key();
    let row = Row {
        state,
        no_scan,
        reason: "why".to_owned(),
        ..Row::first(key.clone(), &testing::policy(""), testing::now())
    };
    let image = Image {
        status,
        ..testing::image(&key)
    };
    let judgement = Judgement {
        row,
        hold,
        not_visible: false,
    };
    SeenImage {
        key,
        image,
        what: What::Image(Box::new(judgement)),
    }
}

/// State, why there is no scan, cause of a hold, settings, minutes since the push, answer.
type Case = (State, Option<NoScan>, Option<&'static str>, String, i64, Decision);

/// Every state of an image, under every setting that decides about it, where the policy enforces and where it reports.
#[test]
fn every_state_has_one_answer_in_each_mode() {
    use Decision::{Allow, Deny, Wait};
    let (warn, deny) = ("", r#""gate": {"review": "deny", "held": "deny"}"#);
    let (young, old) = (5, 60);
    let on = |what: &str, action: &str| format!(r#""scan": {{"grace_minutes": 30, "{what}": "{action}"}}"#);
    let mut table: Vec<Case> = vec![
        (State::Allowed, None, None, deny.to_owned(), young, Allow),
        (State::Blocked, None, None, warn.to_owned(), young, Deny),
        (State::Review, None, None, warn.to_owned(), young, Allow),
        (State::Review, None, None, deny.to_owned(), young, Deny),
        (State::NotAnImage, None, None, deny.to_owned(), young, Allow),
        // Within the grace it waits, whatever the policy does later.
        (State::Pending, None, None, on("on_failure", "monitor"), young, Wait),
        (State::Pending, None, None, on("on_failure", "monitor"), old, Allow),
        (State::Pending, None, None, on("on_failure", "review"), old, Deny),
        (State::Pending, None, None, on("on_failure", "block"), old, Deny),
        // Nobody said why there is no result.
        (State::Unscannable, None, None, warn.to_owned(), young, Deny),
        (State::Stale, None, None, warn.to_owned(), young, Deny),
    ];
    for hold in ["in-use", "no-worse", "used-by-workload", "lambda-may-pull"] {
        table.push((State::BlockDeferred, None, Some(hold), warn.to_owned(), young, Allow));
        table.push((State::BlockDeferred, None, Some(hold), deny.to_owned(), young, Deny));
    }
    for hold in [
        None,
        Some("limit"),
        Some("refused"),
        Some("index-not-blocked"),
        Some("of tomorrow"),
    ] {
        table.push((State::BlockDeferred, None, hold, warn.to_owned(), young, Deny));
    }
    for (state, why, what) in [
        (State::Unscannable, NoScan::Unsupported, "on_unsupported"),
        (State::Unscannable, NoScan::Failed, "on_failure"),
        (State::Stale, NoScan::EligibilityExpired, "on_stale"),
    ] {
        for (action, decision) in [("block", Deny), ("review", Allow), ("monitor", Allow)] {
            table.push((state, Some(why.clone()), None, on(what, action), young, decision));
        }
        let denied = format!("{}, {deny}", on(what, "review"));
        table.push((state, Some(why.clone()), None, denied, young, Deny));
        let monitored = format!("{}, {deny}", on(what, "monitor"));
        table.push((state, Some(why), None, monitored, young, Allow));
    }
    let mut texts = BTreeSet::new();
    for (state, no_scan, hold, members, minutes, expected) in table {
        let what = format!("{state:?} {no_scan:?} {hold:?} {members} {minutes}");
        let asked = Asked::new(IMAGE);
        let of = |mode: &str, status| {
            let mut seen = seen(state, no_scan.clone(), hold, status);
            seen.image.pushed_at = Some(testing::now() - SignedDuration::from_mins(minutes));
            let policy = testing::policy_in(mode, &members);
            answer(&policy, testing::now(), &asked, &Known::Image(Box::new(seen)))
        };
        let enforced = of("enforce", ImageStatus::Active);
        assert_eq!((enforced.decision, enforced.would), (expected, None), "{what}");
        assert_eq!(enforced.state, state.as_str(), "{what}");
        assert_eq!(enforced.retry_after_seconds.is_some(), expected == Wait, "{what}");
        // An image that is allowed although it is not `Allowed` has a warning.
        let warns = expected == Allow && state != State::Allowed;
        assert_eq!(!enforced.warnings.is_empty(), warns, "{what}");
        assert_eq!(enforced.next.is_empty(), expected != Deny, "{what}");

        texts.insert(text(&enforced));

        let reported = of("report", ImageStatus::Active);
        texts.insert(text(&reported));
        let would = (expected == Deny).then_some(Deny);
        let lets = if expected == Deny { Allow } else { expected };
        assert_eq!((reported.decision, reported.would), (lets, would), "{what}");
        assert_eq!(reported.mode.as_deref(), Some("report"), "{what}");

        // An image that cannot be pulled is never allowed, in no mode.
        for mode in ["enforce", "report"] {
            for (status, instead) in [(ImageStatus::Archived, Deny), (ImageStatus::Activating, Wait)] {
                let answer = of(mode, status);
                let expected = if expected == Allow { instead } else { expected };
                assert_eq!(answer.decision, expected, "{what} {mode}");
                texts.insert(text(&answer));
            }
        }
    }
    insta::assert_snapshot!(texts.into_iter().collect::<Vec<_>>().join("\n"));
}

/// All that an answer says to its reader.
fn text(answer: &ImageAnswer) -> String {
    let mode = answer.mode.as_deref().unwrap_or("-");
    let first = format!("{:?}, {} in {mode}: {}", answer.decision, answer.state, answer.reason);
    let warnings = answer.warnings.iter().map(|line| format!("  warning: {line}"));
    let next = answer.next.iter().map(|line| format!("  next: {line}"));
    let lines: Vec<String> = iter::once(first).chain(warnings).chain(next).collect();
    lines.join("\n")
}

/// An entry that is no image to evaluate has the same answer in each mode, except one that is not guarded.
#[test]
fn what_cannot_be_judged_is_never_allowed_unless_the_policy_says_so() {
    let asked = Asked::new(IMAGE);
    let open = r#""gate": {"unguarded": "allow"}"#;
    let shut = r#""gate": {"unguarded": "deny"}"#;
    let not_guarded = || Known::NotGuarded("it is of another registry".to_owned());
    for (known, members, expected, state) in [
        (Known::Malformed, open, Decision::Deny, "Invalid"),
        (Known::NotFound, open, Decision::Deny, "NotFound"),
        (Known::Moved(None), open, Decision::Deny, "Moved"),
        (
            Known::Moved(Some(testing::image_key().digest)),
            open,
            Decision::Deny,
            "Moved",
        ),
        (
            Known::Unavailable("it is down".to_owned()),
            open,
            Decision::Unavailable,
            "Unavailable",
        ),
        (not_guarded(), "", Decision::Allow, "NotGuarded"),
        (not_guarded(), open, Decision::Allow, "NotGuarded"),
        (not_guarded(), shut, Decision::Deny, "NotGuarded"),
    ] {
        for mode in ["enforce", "report"] {
            let policy = testing::policy_in(mode, members);
            let answer = answer(&policy, testing::now(), &asked, &known);
            let found = (answer.decision, answer.state.as_str(), answer.pinned);
            assert_eq!(found, (expected, state, None), "{mode} {members}");
        }
    }
    for what in [What::NotAnImage, What::ArchivedByOthers] {
        let expected = if what == What::NotAnImage {
            Decision::Allow
        } else {
            Decision::Deny
        };
        let status = if what == What::NotAnImage {
            ImageStatus::Active
        } else {
            ImageStatus::Archived
        };
        for mode in ["enforce", "report"] {
            let seen = SeenImage {
                what: what.clone(),
                ..seen(State::Allowed, None, None, status.clone())
            };
            let policy = testing::policy_in(mode, "");
            let answer = answer(&policy, testing::now(), &asked, &Known::Image(Box::new(seen)));
            assert_eq!(answer.decision, expected, "{what:?} {mode}");
        }
    }
}

#[test]
fn an_image_that_only_may_be_in_use_is_allowed_with_a_warning() {
    for (hold, unknown, warned) in [
        ("used-by-workload", true, true),
        ("used-by-workload", false, false),
        ("lambda-may-pull", false, true),
        ("in-use", false, false),
    ] {
        let mut seen = seen(State::BlockDeferred, None, Some(hold), ImageStatus::Active);
        if let What::Image(judgement) = &mut seen.what {
            judgement.row.uses_unknown = unknown;
        }
        let policy = testing::policy("");
        let answer = answer(
            &policy,
            testing::now(),
            &Asked::new(IMAGE),
            &Known::Image(Box::new(seen)),
        );
        assert_eq!(answer.decision, Decision::Allow, "{hold}");
        let says_so = answer.warnings.iter().any(|warning| warning.contains("not known"));
        assert_eq!(says_so, warned, "{hold} {unknown}: {:?}", answer.warnings);
    }
}
