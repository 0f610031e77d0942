use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use guard_core::{finding::Severity, testing::now};

use super::*;
use crate::{
    UNUSABLE,
    testing::{Desk, said},
};

/// A function with these answers, one after the other; the last one is given again and again.
#[derive(Debug, Default)]
pub(crate) struct FakeGate {
    pub(crate) answers: Mutex<VecDeque<Result<String, Silence>>>,
    pub(crate) asked: Mutex<Vec<(String, GateRequest)>>,
    pub(crate) pauses: Mutex<Vec<u64>>,
}

impl Gatekeeper for Arc<FakeGate> {
    fn ask(&self, function: &str, request: &str) -> Result<String, Silence> {
        let request = GateRequest::parse(request).unwrap();
        self.asked.lock().unwrap().push((function.to_owned(), request));
        let mut answers = self.answers.lock().unwrap();
        if answers.len() > 1 {
            answers.pop_front().unwrap()
        } else {
            answers.front().unwrap().clone()
        }
    }

    fn pause(&self, time: Duration) {
        self.pauses.lock().unwrap().push(time.as_secs());
    }
}

fn desk(answers: impl IntoIterator<Item = Result<String, Silence>>) -> (Desk, Arc<FakeGate>) {
    let gate = Arc::new(FakeGate {
        answers: Mutex::new(answers.into_iter().collect()),
        ..FakeGate::default()
    });
    let desk = Desk {
        gate: Some(Arc::clone(&gate)),
        ..Desk::default()
    };
    (desk, gate)
}

const IMAGE: &str = "123456789012.dkr.ecr.us-west-2.amazonaws.com/team/api:v1.2.3";

/// An answer about one image.
fn about(decision: Decision, state: &str) -> Answer {
    let image = ImageAnswer {
        image: IMAGE.to_owned(),
        repository: Some("team/api".to_owned()),
        tag: Some("v1.2.3".to_owned()),
        digest: None,
        pinned: (decision != Decision::Unavailable).then(|| {
            format!(
                "123456789012.dkr.ecr.us-west-2.amazonaws.com/team/api@sha256:b1{}",
                "0".repeat(62)
            )
        }),
        decision,
        state: state.to_owned(),
        mode: Some("enforce".to_owned()),
        reason: format!("It is {state}."),
        would: None,
        findings: Vec::new(),
        more: 0,
        scanned_at: None,
        policy: None,
        warnings: Vec::new(),
        next: Vec::new(),
        retry_after_seconds: matches!(decision, Decision::Wait | Decision::Unavailable).then_some(20),
    };
    Answer::of(vec![image], now())
}

/// The answer about an image that is blocked.
pub(crate) fn denied() -> Result<String, Silence> {
    let mut denied = about(Decision::Deny, "Blocked");
    let image = &mut denied.images[0];
    image.reason =
        "1 finding blocks deployment: CVE-2026-1111 CRITICAL in openssl (policy: severities.CRITICAL).".to_owned();
    image.findings = vec![FindingEntry {
        id: "CVE-2026-1111".to_owned(),
        severity: Severity::Critical,
        package: Some("openssl 3.0.1".to_owned()),
        fixed_in: Some("3.0.9".to_owned()),
    }];
    image.more = 2;
    image.next = vec!["Update to openssl 3.0.9 or newer, build, and push under a new tag.".to_owned()];
    json_of(&denied)
}

fn json_of(answer: &Answer) -> Result<String, Silence> {
    Ok(json!(answer).to_string())
}

fn silent(is_final: bool) -> Result<String, Silence> {
    Err(Silence {
        why: "lambda:Invoke failed with `TooManyRequestsException`".to_owned(),
        is_final,
    })
}

const FAIL: [&str; 4] = ["gate", "--on-unavailable", "fail", IMAGE];
const GO_ON: [&str; 4] = ["gate", "--on-unavailable", "allow", IMAGE];

fn with(words: &[&'static str], more: &[&'static str]) -> Vec<&'static str> {
    [words, more].concat()
}

#[test]
fn each_decision_has_its_exit_code() {
    for (decision, state, code) in [
        (Decision::Allow, "Allowed", 0),
        (Decision::Deny, "Blocked", 1),
        (Decision::Deny, "NotFound", 2),
        (Decision::Wait, "Pending", 3),
        (Decision::Unavailable, "Unavailable", 4),
    ] {
        let (desk, gate) = desk([json_of(&about(decision, state))]);
        let (got, out, trouble) = said(&desk, &FAIL);
        assert_eq!((got, trouble.as_str()), (code, ""), "{state}: {out}");
        let (got, out, _) = said(&desk, &with(&FAIL, &["--output", "json"]));
        let answer: Answer = serde_json::from_str(&out).unwrap();
        assert_eq!((got, answer.decision), (code, decision));
        assert_eq!(gate.pauses.lock().unwrap().as_slice(), [0; 0], "nobody asked to wait");
    }
}

#[test]
fn the_answer_says_what_to_deploy_and_why_not() {
    let allowed = about(Decision::Allow, "Allowed");
    let denied: Answer = serde_json::from_str(&denied().unwrap()).unwrap();
    let mut review = about(Decision::Allow, "Review");
    review.images[0].warnings = vec!["It needs a review.".to_owned()];
    review.images[0].mode = Some("report".to_owned());
    let hostile = {
        let mut answer = about(Decision::Deny, "Blocked");
        answer.images[0].reason = "x\n::error::y ##[error]z \u{1b}[31m\u{202e}".to_owned();
        answer
    };
    let invalid = Answer {
        error: Some("`images` has 51 entries".to_owned()),
        ..Answer::of(Vec::new(), now())
    };
    let unavailable = about(Decision::Unavailable, "Unavailable");
    let wait = about(Decision::Wait, "Pending");
    let all = [allowed, denied, review, hostile, invalid, unavailable, wait];
    let texts = all.map(|answer| said(&desk([json_of(&answer)]).0, &FAIL).1);
    insta::assert_snapshot!(texts.join("---\n"));
}

#[test]
fn the_request_is_what_the_gate_takes() {
    let (desk, gate) = desk([json_of(&about(Decision::Allow, "Allowed"))]);
    assert_eq!(
        said(&desk, &with(&FAIL, &["--run", "job 7", "--profile", "prod"])).0,
        OK
    );
    let asked = gate.asked.lock().unwrap();
    let (function, request) = &asked[0];
    assert_eq!(
        (function.as_str(), request.images.as_slice()),
        ("ecr-guard-gate", [IMAGE.to_owned()].as_slice())
    );
    let context = [("caller", "ecr-guard"), ("run", "job 7")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(request.context, context.into());
    let place = &desk.asked.lock().unwrap()[0].0;
    assert_eq!(
        (place.profile.as_deref(), place.region.clone()),
        (Some("prod"), "us-west-2".parse().ok())
    );
}

#[test]
fn it_is_asked_where_the_images_are() {
    let of = |words: &[&str]| {
        let (desk, _) = desk([json_of(&about(Decision::Allow, "Allowed"))]);
        let (code, _, trouble) = said(&desk, &[&["gate", "--on-unavailable", "fail"], words].concat());
        let region = desk
            .asked
            .lock()
            .unwrap()
            .first()
            .map(|(place, _)| place.region.clone());
        (
            code,
            region.map(|region| region.map(|region| region.to_string())),
            trouble,
        )
    };
    let other = IMAGE.replace("us-west-2", "eu-central-1");
    let (code, region, trouble) = of(&[IMAGE, &other]);
    assert_eq!((code, region), (UNUSABLE, None));
    assert!(trouble.contains("several regions"), "{trouble}");
    assert_eq!(of(&[&other]).1, Some(Some("eu-central-1".to_owned())));
    assert_eq!(of(&["nginx:1"]).1, Some(None));
    assert_eq!(
        of(&["nginx:1", "--region", "us-east-1"]).1,
        Some(Some("us-east-1".to_owned()))
    );
    let arn = "arn:aws:lambda:eu-west-1:123456789012:function:gate:live";
    assert_eq!(
        of(&["nginx:1", "--function", arn]).1,
        Some(Some("eu-west-1".to_owned()))
    );
}

#[test]
fn it_waits_until_there_is_a_result() {
    let wait = || json_of(&about(Decision::Wait, "Pending"));
    let (desk, gate) = desk([
        wait(),
        silent(false),
        wait(),
        json_of(&about(Decision::Allow, "Allowed")),
    ]);
    let (code, out, trouble) = said(&desk, &with(&FAIL, &["--wait"]));
    assert_eq!(code, OK, "{out}");
    assert_eq!(gate.pauses.lock().unwrap().as_slice(), [20, 15, 20]);
    insta::assert_snapshot!(trouble, @r"
    There is no result yet. It is asked again in 20 s.
    The gate did not answer: The gate cannot answer now: lambda:Invoke failed with `TooManyRequestsException`. It is asked again in 15 s.
    There is no result yet. It is asked again in 20 s.
    ");
}

#[test]
fn a_wait_ends() {
    let (desk, gate) = desk([json_of(&about(Decision::Wait, "Pending"))]);
    let (code, _, _) = said(&desk, &with(&GO_ON, &["--wait", "--timeout", "50s"]));
    assert_eq!(code, WAITING);
    assert_eq!(
        gate.pauses.lock().unwrap().as_slice(),
        [20, 20, 10],
        "the last question comes at the end of the time"
    );
    for wrong in ["0s", "25h", "soon", "-5m", "99999999999999999999h"] {
        let words = [
            "ecr-guard",
            "gate",
            "--on-unavailable",
            "fail",
            "--wait",
            "--timeout",
            wrong,
            IMAGE,
        ];
        use clap::Parser as _;
        assert!(crate::Arguments::try_parse_from(words).is_err(), "{wrong}");
    }
}

#[test]
fn a_gate_that_does_not_answer_allows_nothing_unless_that_was_said() {
    let (desk_, _) = desk([silent(false)]);
    assert_eq!(said(&desk_, &FAIL).0, UNAVAILABLE);
    let (code, out, trouble) = said(&desk_, &GO_ON);
    assert_eq!(code, OK);
    assert!(
        out.contains("unavailable: ") && trouble.contains("goes on all the same"),
        "{out}{trouble}"
    );
    // It said "wait" before.
    let (waits, _) = desk([json_of(&about(Decision::Wait, "Pending")), silent(false)]);
    let (code, _, trouble) = said(&waits, &with(&GO_ON, &["--wait"]));
    assert_eq!(code, WAITING);
    assert!(trouble.ends_with("that allows nothing.\n"), "{trouble}");
    // To ask again changes nothing.
    let (missing, gate) = desk([silent(true)]);
    assert_eq!(said(&missing, &with(&FAIL, &["--wait"])).0, UNAVAILABLE);
    assert_eq!(gate.asked.lock().unwrap().len(), 1);
}

#[test]
fn an_answer_that_is_none_of_a_gate_is_no_answer() {
    let allowed = json!(about(Decision::Allow, "Allowed"));
    let changed = |change: fn(&mut Value)| {
        let mut answer = allowed.clone();
        change(&mut answer);
        answer.to_string()
    };
    for body in [
        String::new(),
        "null".to_owned(),
        "{}".to_owned(),
        changed(|answer| answer["schema"] = json!("ecr-guard/gate-answer/v2")),
        changed(|answer| answer["exit_code"] = json!(7)),
        changed(|answer| answer["exit_code"] = json!(1)),
        changed(|answer| answer["decision"] = json!("deny")),
        changed(|answer| answer["decision"] = json!("perhaps")),
        changed(|answer| answer["images"] = json!([])),
    ] {
        let (desk, _) = desk([Ok(body.clone())]);
        let (code, out, _) = said(&desk, &FAIL);
        assert_eq!(code, UNAVAILABLE, "{body}: {out}");
    }
    // A later version may say more.
    let more = changed(|answer| answer["images"][0]["signature"] = json!("ok"));
    let (desk, _) = desk([Ok(more)]);
    let (code, out, _) = said(&desk, &with(&FAIL, &["--output", "json"]));
    assert_eq!(code, OK);
    assert!(out.contains("\"signature\": \"ok\""), "{out}");
}

#[test]
fn what_follows_without_an_answer_must_be_said() {
    use clap::Parser as _;
    let wrong = crate::Arguments::try_parse_from(["ecr-guard", "gate", IMAGE]).unwrap_err();
    assert!(wrong.to_string().contains("--on-unavailable"), "{wrong}");
    let many = vec![IMAGE; 51];
    let words = [&["ecr-guard", "gate", "--on-unavailable", "fail"], many.as_slice()].concat();
    assert!(crate::Arguments::try_parse_from(words).is_err());
}
