use proptest::prelude::*;

use super::*;
use crate::{
    notice::Change,
    policy::Policy,
    testing::{now, registry_key},
    uses::WorkloadSource,
};

fn topic(name: &str) -> TopicArn {
    format!("arn:aws:sns:us-west-2:123456789012:{name}").parse().unwrap()
}

/// A policy with exceptions that end on these days, for the vulnerabilities `CVE-0`, `CVE-1` and so on.
fn policy(ends: &[&str]) -> Policy {
    let exceptions: Vec<String> = ends
        .iter()
        .enumerate()
        .map(|(n, day)| {
            format!(r#"{{"vulnerability": "CVE-{n}", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "{day}"}}"#)
        })
        .collect();
    let json = format!(
        r#"{{"version": 1, "mode": "enforce", "exceptions": [{}],
        "routes": {{"default": "{}", "team": "{}"}}}}"#,
        exceptions.join(","),
        topic("default"),
        topic("team"),
    );
    Policy::from_json(&json, now()).unwrap()
}

fn problem(about: &str) -> Problem {
    Problem {
        about: about.to_owned(),
        change: Change {
            setting: about.to_owned(),
            old: "none".to_owned(),
            new: "some".to_owned(),
        },
    }
}

fn facts(policy: &Policy, problems: &[&str], row: Option<RegistryRow>) -> RegistryFacts {
    RegistryFacts {
        key: registry_key(),
        found: Found {
            problems: problems.iter().map(|about| problem(about)).collect(),
            exceptions: vec![[topic("default"), topic("team")].into(); policy.exceptions.len()],
            signing: false,
        },
        incomplete: Vec::new(),
        row,
        actor: "me".to_owned(),
    }
}

fn step(plan: RegistryPlan) -> RegistryStep {
    match plan {
        RegistryPlan::Apply(step) => *step,
        other => panic!("{other:?}"),
    }
}

fn told(step: &RegistryStep) -> RegistryRow {
    let ids: BTreeSet<&str> = step.alerts.iter().map(|(_, alert)| alert.id.as_str()).collect();
    step.completed(&ids, now())
}

fn titles(step: &RegistryStep) -> Vec<String> {
    let title = |(topic, alert): &(TopicArn, RegistryAlert)| {
        format!("{}: {}", topic.as_str().rsplit(':').next().unwrap(), alert.title)
    };
    let mut titles: Vec<String> = step.alerts.iter().map(title).collect();
    titles.sort();
    titles
}

#[test]
fn a_problem_is_alerted_once_while_it_lasts_and_again_when_it_comes_back() {
    let policy = policy(&[]);
    let first = step(decide_registry(
        &policy,
        &facts(&policy, &["scanning", "replication"], None),
        now(),
    ));
    assert_eq!(
        titles(&first),
        ["default: 123456789012 in us-west-2: 2 settings of the registry are not what the policy needs"]
    );
    let row = told(&first);
    let lasting = facts(&policy, &["scanning", "replication"], Some(row.clone()));
    assert_eq!(decide_registry(&policy, &lasting, now()), RegistryPlan::Unchanged);

    let another = step(decide_registry(
        &policy,
        &facts(&policy, &["scanning", "more"], Some(row)),
        now(),
    ));
    assert_eq!(
        titles(&another),
        ["default: 123456789012 in us-west-2: more is not what the policy needs"]
    );
    let row = told(&another);
    let healed = step(decide_registry(&policy, &facts(&policy, &[], Some(row)), now()));
    assert_eq!((titles(&healed), healed.row.notes.len()), (vec![], 0));
    let back = step(decide_registry(
        &policy,
        &facts(&policy, &["scanning"], Some(healed.row)),
        now(),
    ));
    assert_eq!(back.alerts.len(), 1);
    assert_ne!(back.alerts[0].1.id, first.alerts[0].1.id);
}

#[test]
fn an_exception_is_alerted_once_to_each_topic_within_its_last_days() {
    for (day, told, why) in [
        ("2026-12-01", 0, "more than a week is left"),
        ("2026-11-30", 2, "seven days are left"),
        ("2026-11-24", 2, "today is its last day"),
        ("2026-11-23", 0, "it has ended"),
    ] {
        let policy = policy(&[day]);
        let plan = decide_registry(&policy, &facts(&policy, &[], None), now());
        let alerts = match plan {
            RegistryPlan::Apply(step) => titles(&step),
            _ => Vec::new(),
        };
        let all = ["default", "team"].map(|topic| format!("{topic}: exceptions[0] ends on {day}"));
        assert_eq!(alerts, all[..told], "{why}");
    }
}

#[test]
fn an_exception_is_the_same_wherever_it_stands_and_another_one_when_it_is_renewed() {
    let one = policy(&["2026-11-28"]);
    let row = told(&step(decide_registry(&one, &facts(&one, &[], None), now())));
    let mut moved = policy(&["2027-03-01", "2026-11-28"]);
    moved.exceptions[1].vulnerability = "CVE-0".parse().unwrap();
    moved.exceptions[1].owner = "somebody else".to_owned();
    let plan = decide_registry(&moved, &facts(&moved, &[], Some(row.clone())), now());
    assert_eq!(plan, RegistryPlan::Unchanged);
    let renewed = policy(&["2026-11-29"]);
    assert_eq!(
        step(decide_registry(&renewed, &facts(&renewed, &[], Some(row)), now()))
            .alerts
            .len(),
        2
    );
}

#[test]
fn what_was_not_sent_stays_pending_under_the_same_id_and_is_left_to_the_lease_holder() {
    let policy = policy(&["2026-11-28"]);
    let first = step(decide_registry(&policy, &facts(&policy, &["scanning"], None), now()));
    let ids = |step: &RegistryStep| {
        step.alerts
            .iter()
            .map(|(_, alert)| alert.id.clone())
            .collect::<BTreeSet<_>>()
    };
    assert_eq!(ids(&first).len(), 3);

    // It crashed before it sent an alert.
    let again = step(decide_registry(
        &policy,
        &facts(&policy, &["scanning", "more"], Some(first.row.clone())),
        now(),
    ));
    assert!(ids(&again).is_superset(&ids(&first)), "the same alerts");
    assert_eq!(ids(&again).len(), 4, "and one more");

    let mut other = facts(&policy, &["scanning"], Some(first.row.clone()));
    other.actor = "another".to_owned();
    assert_eq!(decide_registry(&policy, &other, now()), RegistryPlan::InProgress);
    assert_eq!(
        ids(&step(decide_registry(&policy, &other, now() + REGISTRY_LEASE))),
        ids(&first)
    );

    // One topic did not accept it.
    let sent: BTreeSet<&str> = first
        .alerts
        .iter()
        .skip(1)
        .map(|(_, alert)| alert.id.as_str())
        .collect();
    let row = first.completed(&sent, now());
    let rest = step(decide_registry(
        &policy,
        &facts(&policy, &["scanning"], Some(row)),
        now(),
    ));
    assert_eq!(ids(&rest), [first.alerts[0].1.id.clone()].into());
}

proptest! {
    #[test]
    fn when_a_plan_is_carried_out_there_is_nothing_more_to_do(
        looks in proptest::collection::vec((0..8_u8, 0..8_u8, any::<bool>()), 1..8),
    ) {
        let days = ["2026-11-20", "2026-11-28", "2026-11-28", "2027-03-01"];
        let names = ["scanning a", "scanning b", "replication a"];
        let chosen = |bits: u8, all: &[&'static str]| -> Vec<&'static str> {
            all.iter().enumerate().filter(|(n, _)| bits >> n & 1 == 1).map(|(_, one)| *one).collect()
        };
        let mut row = None;
        for (problems, exceptions, crashes) in looks {
            let (problems, policy) = (chosen(problems, &names), policy(&chosen(exceptions, &days)));
            let plan = decide_registry(&policy, &facts(&policy, &problems, row.clone()), now());
            if let RegistryPlan::Apply(step) = plan {
                prop_assert_eq!(step.row.generation, row.as_ref().map_or(0, |row: &RegistryRow| row.generation) + 1);
                row = Some(if crashes || step.alerts.is_empty() { step.row.clone() } else { told(&step) });
            }
            if !crashes {
                let plan = decide_registry(&policy, &facts(&policy, &problems, row.clone()), now());
                prop_assert_eq!(plan, RegistryPlan::Unchanged);
            }
        }
    }
}

#[test]
fn unknown_users_of_images_are_alerted_once_a_day_with_the_permission_that_is_missing() {
    let policy = policy(&[]);
    let source = |account: &str, kind| WorkloadSource {
        account: account.parse().unwrap(),
        region: registry_key().region,
        kind,
    };
    let incomplete = |source: WorkloadSource, missing: Option<&str>| Incomplete {
        why: format!("{} has never been listed", source.kind),
        source,
        also: Vec::new(),
        missing: missing.map(str::to_owned),
    };
    let facts = |row| RegistryFacts {
        incomplete: vec![
            incomplete(source("123456789012", SourceKind::Lambda), Some("lambda:ListFunctions")),
            Incomplete {
                also: vec![SourceKind::Lambda, SourceKind::Batch],
                ..incomplete(source("222222222222", SourceKind::Ecs), Some("sts:AssumeRole"))
            },
            incomplete(source("123456789012", SourceKind::Kubernetes("prod".to_owned())), None),
        ],
        ..facts(&policy, &[], row)
    };
    let first = step(decide_registry(&policy, &facts(None), now()));
    let told: Vec<String> = first
        .alerts
        .iter()
        .map(|(_, alert)| format!("{}\n{}\n{}", alert.title, alert.reason, alert.next_steps[0].text))
        .collect();
    insta::assert_snapshot!(told.join("\n\n"));
    let ids: BTreeSet<&str> = first.alerts.iter().map(|(_, alert)| alert.id.as_str()).collect();
    let row = first.completed(&ids, now());
    assert_eq!(
        decide_registry(&policy, &facts(Some(row.clone())), now()),
        RegistryPlan::Unchanged
    );
    let tomorrow = now() + SignedDuration::from_hours(24);
    assert_eq!(
        step(decide_registry(&policy, &facts(Some(row)), tomorrow)).alerts.len(),
        3
    );
}

/// A row with these problems of a sweep that has just ended.
fn row_with(refused: Vec<RefusedAccess>, failing: Vec<FailingCall>) -> RegistryRow {
    RegistryRow {
        schema: RegistryRowSchema::V1,
        registry: registry_key(),
        generation: 4,
        notes: Vec::new(),
        digest: None,
        refused,
        failing,
        notes_of_failing: Vec::new(),
        swept: None,
    }
}

fn refused(operation: &str, images: u64) -> RefusedAccess {
    let message = format!("User: arn:aws:iam::123456789012:role/worker is not authorized to perform: {operation}");
    RefusedAccess {
        images,
        first: vec!["api@sha256:01".to_owned()],
        ..RefusedAccess::read(operation, &message, now())
    }
}

fn failing(images: u64) -> FailingCall {
    FailingCall {
        since: now() - SignedDuration::from_hours(1),
        images,
        ..FailingCall::new(
            "ecr:DescribeImages",
            "ThrottlingException",
            now(),
            vec!["api@sha256:01".to_owned()],
        )
    }
}

#[test]
fn each_missing_permission_and_each_failing_call_has_its_words() {
    let policy = policy(&[]);
    let mut row = row_with(
        vec![
            refused("ecr:DescribeImageScanFindings", 1),
            refused("ecr:BatchDeleteImage", 2),
            refused("ecr:UpdateImageStorageClass", 1),
        ],
        vec![failing(2)],
    );
    let words = |row: &RegistryRow| {
        let step = step(decide_registry(&policy, &facts(&policy, &[], Some(row.clone())), now()));
        assert_eq!(step.row.generation, 5);
        assert_eq!(told(&step).generation, 6);
        let words = |(_, alert): &(TopicArn, RegistryAlert)| {
            let steps: Vec<&str> = alert.next_steps.iter().map(|step| step.text.as_str()).collect();
            format!(
                "{:?}: {}\n{}\n- {}",
                alert.kind,
                alert.title,
                alert.reason,
                steps.join("\n- ")
            )
        };
        let mut all: Vec<String> = step.alerts.iter().map(words).collect();
        all.sort();
        all.join("\n\n")
    };
    insta::assert_snapshot!(words(&row));
    row.failing = vec![failing(1)];
    assert!(words(&row).contains(" 1 image waits. The first: api@sha256:01."));
}

#[test]
fn unknown_users_of_images_are_a_missing_access() {
    let policy = policy(&[]);
    let incomplete = Incomplete {
        why: "it has never been listed".to_owned(),
        source: WorkloadSource {
            account: registry_key().account,
            region: registry_key().region,
            kind: SourceKind::Ecs,
        },
        also: Vec::new(),
        missing: None,
    };
    let facts = RegistryFacts {
        incomplete: vec![incomplete],
        ..facts(&policy, &[], None)
    };
    let step = step(decide_registry(&policy, &facts, now()));
    assert_eq!(step.alerts[0].1.kind, Kind::AccessMissing);
}

#[test]
fn a_problem_is_shown_by_the_command_of_its_own_check() {
    let policy = policy(&[]);
    let commands = |setting: &str| -> Vec<String> {
        let step = step(decide_registry(&policy, &facts(&policy, &[setting], None), now()));
        let steps = step.alerts[0].1.next_steps.iter();
        steps.filter_map(|step| step.command.clone()).collect()
    };
    assert_eq!(
        commands("registry.scanning"),
        ["aws ecr get-registry-scanning-configuration --region us-west-2"]
    );
    assert_eq!(
        commands("registry.replication"),
        ["aws ecr describe-registry --region us-west-2"]
    );
    assert_eq!(commands("another"), [""; 0]);
}

#[test]
fn a_call_that_fails_again_on_the_same_day_is_not_alerted_again() {
    let policy = policy(&[]);
    let decided =
        |row: &RegistryRow, at: Timestamp| decide_registry(&policy, &facts(&policy, &[], Some(row.clone())), at);
    let first = step(decided(&row_with(Vec::new(), vec![failing(1)]), now()));
    assert_eq!(
        (
            first.alerts.len(),
            first.row.notes.len(),
            first.row.notes_of_failing.len()
        ),
        (1, 0, 1)
    );
    let mut row = told(&first);
    assert_eq!(decided(&row, now()), RegistryPlan::Unchanged);

    // Three hours later it has ended: its note stays until the day is over.
    let later = now() + SignedDuration::from_hours(3);
    let over = step(decided(&row, later));
    assert_eq!((over.alerts.len(), over.row.failing.len()), (0, 0));
    assert_eq!(over.row.notes_of_failing, row.notes_of_failing);
    row.failing = Vec::new();
    assert_eq!(decided(&row, later), RegistryPlan::Unchanged);
    row.failing = vec![failing(1)];
    assert_eq!(decided(&row, now()), RegistryPlan::Unchanged, "it begins again");
    row.failing = Vec::new();
    let tomorrow = step(decided(&row, now() + SignedDuration::from_hours(24)));
    assert_eq!((tomorrow.alerts.len(), tomorrow.row.notes_of_failing.len()), (0, 0));
}

#[test]
fn a_missing_permission_that_was_given_is_forgotten_at_once() {
    let policy = policy(&[]);
    let first = step(decide_registry(
        &policy,
        &facts(
            &policy,
            &[],
            Some(row_with(vec![refused("ecr:PutImage", 1)], Vec::new())),
        ),
        now(),
    ));
    assert_eq!((first.alerts.len(), first.row.notes.len()), (1, 1));
    let given = RegistryRow {
        refused: Vec::new(),
        ..told(&first)
    };
    let after = step(decide_registry(&policy, &facts(&policy, &[], Some(given)), now()));
    assert_eq!((after.alerts.len(), after.row.notes.len()), (0, 0));
}
