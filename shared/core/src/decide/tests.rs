//! The whole decision table, as a snapshot to be read in review, and what must hold in every row of it.

mod due_limits;
mod limits;
mod sampled;
mod sampled_due;

use std::{collections::BTreeSet, fmt::Write as _};

use super::*;
use crate::{
    finding::{Finding, Fix, Severity},
    ids::{RepositoryKey, Tag},
    image::{Child, Image},
    ledger::{AlertRecord, Block, RecordedFinding},
    notice::AlertKind,
    policy::{BlockMethod, Policy},
    testing::{finding, image, image_key, now, policy, policy_in, recorded, scan},
    told::ToldFindings,
};

const EXCEPTION: &str = r#""exceptions": [{"vulnerability": "CVE-2026-1", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-12-31"}]"#;
const EXPIRED: &str = r#""exceptions": [{"vulnerability": "*", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-11-23"}]"#;

const RULES: &str = r#""rules": [
    {"exploit": true, "action": "block"},
    {"severities": ["CRITICAL"], "fix": "unavailable", "action": "monitor"},
    {"min_score": 9.0, "package_types": ["OS"], "action": "review"},
    {"severities": ["MEDIUM"], "more_than": 1, "action": "review"}]"#;

/// The row of an image whose one finding was of this severity.
fn row(state: State, severity: Option<Severity>, method: Option<BlockMethod>) -> Row {
    let kind = match state {
        State::Blocked => Some(AlertKind::ImageBlocked),
        State::BlockDeferred => Some(AlertKind::BlockDeferred),
        State::Review => Some(AlertKind::ImageReview),
        State::Unscannable | State::Stale => Some(AlertKind::ScanFailed),
        State::Pending | State::Allowed | State::NotAnImage => None,
    };
    let earlier = now() - SignedDuration::from_hours(2);
    let entry = image(&image_key());
    Row {
        state,
        generation: 3,
        policy: String::new(),
        no_scan: match state {
            State::Unscannable => Some(NoScan::Failed),
            State::Stale => Some(NoScan::EligibilityExpired),
            State::Pending
            | State::Allowed
            | State::Review
            | State::Blocked
            | State::BlockDeferred
            | State::NotAnImage => None,
        },
        findings: severity
            .map(|severity| RecordedFinding {
                first_seen: earlier,
                ..recorded("CVE-2026-1", severity)
            })
            .into_iter()
            .collect(),
        block: method.map(|method| Block {
            method,
            at: earlier,
            confirmed: true,
            tags: Vec::new(),
            returns: Vec::new(),
            release_refused_at: None,
            told: false,
            undone_at: None,
        }),
        alert: kind.map(|kind| AlertRecord {
            id: "before".to_owned(),
            kind,
            claimed_at: earlier,
            claimed_by: "before".to_owned(),
            sent_at: Some(earlier),
            no_news: false,
        }),
        available_since: entry.available_since(),
        tags: entry.tags,
        ..Row::first(image_key(), &policy(""), earlier)
    }
}

fn priors() -> Vec<(&'static str, Option<Row>)> {
    let critical = Some(Severity::Critical);
    let closed = Row {
        closed_at: Some(now()),
        ..row(State::Blocked, critical, Some(BlockMethod::Archive))
    };
    vec![
        ("none", None),
        ("Pending", Some(row(State::Pending, None, None))),
        ("Allowed", Some(row(State::Allowed, None, None))),
        ("Review", Some(row(State::Review, Some(Severity::High), None))),
        (
            "Blocked archive",
            Some(row(State::Blocked, critical, Some(BlockMethod::Archive))),
        ),
        (
            "Blocked flag",
            Some(row(State::Blocked, critical, Some(BlockMethod::Flag))),
        ),
        ("BlockDeferred", Some(row(State::BlockDeferred, critical, None))),
        ("Unscannable", Some(row(State::Unscannable, None, None))),
        ("Blocked, deleted", Some(closed)),
    ]
}

fn scans() -> Vec<(&'static str, Scan)> {
    let of = |severity| Scan::Complete(scan(vec![finding("CVE-2026-1", severity)]));
    vec![
        ("absent", Scan::Absent),
        ("running", Scan::InProgress),
        ("archived", Scan::Archived),
        ("failed", Scan::Unavailable(NoScan::Failed)),
        ("expired", Scan::Unavailable(NoScan::EligibilityExpired)),
        ("clean", Scan::Complete(scan(vec![]))),
        ("MEDIUM", of(Severity::Medium)),
        ("HIGH", of(Severity::High)),
        ("CRITICAL", of(Severity::Critical)),
    ]
}

/// Only `rules` distinguish these from the others of their severity.
fn scans_for_rules() -> Vec<(&'static str, Scan)> {
    let of = |finding| Scan::Complete(scan(vec![finding]));
    let unfixable = Finding {
        fix: Fix::Unavailable,
        ..finding("CVE-2026-1", Severity::Critical)
    };
    let exploited = Finding {
        exploit: Some(true),
        ..finding("CVE-2026-1", Severity::Medium)
    };
    let scored = Finding {
        score: Some(9.8),
        ..finding("CVE-2026-1", Severity::Medium)
    };
    vec![
        ("no fix", of(unfixable)),
        ("exploit", of(exploited)),
        ("scored", of(scored)),
    ]
}

fn images() -> Vec<(&'static str, Image)> {
    let fresh = image(&image_key());
    let pulled = Image {
        last_pulled_at: Some(now() - SignedDuration::from_hours(24)),
        ..fresh.clone()
    };
    let archived = Image {
        status: ImageStatus::Archived,
        ..fresh.clone()
    };
    vec![("unused", fresh), ("pulled", pulled), ("archived", archived)]
}

fn policies() -> Vec<(&'static str, Policy)> {
    vec![
        ("default", policy("")),
        ("report", policy_in("report", "")),
        ("exception", policy(EXCEPTION)),
        ("expired exception", policy(EXPIRED)),
        (
            "strict",
            policy(
                r#""severities": {"HIGH": "block"}, "scan": {"on_failure": "block"}, "block": {"when_in_use": "block"}"#,
            ),
        ),
        ("rules", policy(RULES)),
    ]
}

/// Whether a scanner can give this answer for such an image: it cannot read the archive.
fn possible(image: &Image, scan: &Scan) -> bool {
    (image.status == ImageStatus::Archived) == (*scan == Scan::Archived)
}

struct Case {
    policy: (&'static str, Policy),
    prior: (&'static str, Option<Row>),
    image: (&'static str, Image),
    scan: (&'static str, Scan),
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for policy in policies() {
        for prior in priors() {
            for image in images() {
                let more = if policy.0 == "rules" {
                    scans_for_rules()
                } else {
                    Vec::new()
                };
                for scan in scans().into_iter().chain(more) {
                    if possible(&image.1, &scan.1) {
                        cases.push(Case {
                            policy: policy.clone(),
                            prior: prior.clone(),
                            image: image.clone(),
                            scan,
                        });
                    }
                }
            }
        }
    }
    cases
}

fn facts(case: &Case) -> Facts {
    Facts {
        image: Some(case.image.1.clone()),
        scan: case.scan.1.clone(),
        row: case.prior.1.clone(),
        replaced: Replaced::Nothing,
        told: Some(ToldFindings::none(RepositoryKey::of(&image_key()))),
        ..Facts::about(image_key(), "one")
    }
}

fn decided(case: &Case) -> Plan {
    decide(&case.policy.1, &facts(case), now())
}

fn describe(plan: &Plan) -> String {
    match plan {
        Plan::Leave(leave) => format!("{leave:?}"),
        Plan::Ask(question) => format!("Ask {question:?}"),
        Plan::Apply(step) => {
            let effect = step.effect.as_ref().map_or("-", Effect::as_str);
            let alert = step.alert.as_ref().map_or("-", |alert| alert.kind.as_str());
            format!("{:<12} {effect:<8} {alert}", step.row.state.as_str())
        }
    }
}

#[test]
fn the_decision_table() {
    let mut table =
        String::from("policy             before           image    scan      | state        effect   alert\n");
    for case in cases() {
        writeln!(
            table,
            "{:<18} {:<16} {:<8} {:<9} | {}",
            case.policy.0,
            case.prior.0,
            case.image.0,
            case.scan.0,
            describe(&decided(&case))
        )
        .unwrap();
    }
    insta::assert_snapshot!(table);
}

/// Title, reason and steps of every alert of the table, and the reasons of plans without an alert, each once.
#[test]
fn every_text_of_the_decision_table() {
    let mut texts = BTreeSet::new();
    for case in cases() {
        let Plan::Apply(step) = decided(&case) else { continue };
        let Some(alert) = &step.alert else {
            texts.insert(format!("{}: {}", step.row.state.as_str(), step.row.reason));
            continue;
        };
        let steps: Vec<&str> = alert.next_steps.iter().map(|step| step.text.as_str()).collect();
        texts.insert(format!(
            "{}: {}\n  {}\n  - {}",
            alert.kind.as_str(),
            alert.title,
            alert.reason,
            steps.join("\n  - ")
        ));
    }
    insta::assert_snapshot!(texts.into_iter().collect::<Vec<_>>().join("\n"));
}

/// An index for two platforms, whose images are in these states, each with one finding of that severity.
fn index_facts(prior: Option<&Row>, image: &Image, children: &[Option<(State, Option<Severity>)>]) -> Facts {
    let of = |n: usize, known: &Option<(State, Option<Severity>)>| ChildFacts {
        child: Child {
            digest: format!("sha256:c{n}").parse().unwrap(),
            platform: Some(format!("linux/{n}")),
        },
        row: known.map(|(state, severity)| Row {
            block: None,
            ..row(state, severity, None)
        }),
    };
    Facts {
        image: Some(Image {
            manifest_media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
            ..image.clone()
        }),
        row: prior.cloned(),
        replaced: Replaced::Nothing,
        told: Some(ToldFindings::none(RepositoryKey::of(&image_key()))),
        children: Children::Known(children.iter().enumerate().map(|(n, known)| of(n, known)).collect()),
        children_pulled: Some(vec![]),
        ..Facts::about(image_key(), "one")
    }
}

#[test]
fn the_decision_table_of_indexes() {
    let clean = Some((State::Allowed, None));
    let high = Some((State::Review, Some(Severity::High)));
    let critical = Some((State::BlockDeferred, Some(Severity::Critical)));
    let failed = Some((State::Unscannable, None));
    let pending = Some((State::Pending, None));
    let children = [
        ("clean, clean", [clean, clean]),
        ("clean, pending", [clean, pending]),
        ("clean, missing", [clean, None]),
        ("clean, failed", [clean, failed]),
        ("clean, HIGH", [clean, high]),
        ("HIGH, pending", [high, pending]),
        ("failed, HIGH", [failed, high]),
        ("clean, CRITICAL", [clean, critical]),
        ("missing, CRITICAL", [None, critical]),
    ];
    let mut table =
        String::from("policy             before           index    images            | state        effect   alert\n");
    for policy in policies() {
        for prior in priors() {
            for image in images() {
                for (name, children) in &children {
                    let facts = index_facts(prior.1.as_ref(), &image.1, children);
                    let plan = decide(&policy.1, &facts, now());
                    if let Plan::Apply(step) = &plan {
                        // A fact that is not known of one child is not known of the index.
                        let known = children.iter().flatten().all(|(state, _)| *state == State::Allowed);
                        let stood = prior.1.as_ref().is_some_and(|row| row.state == State::Allowed);
                        let excepted = policy.0 == "exception";
                        assert!(
                            step.row.state != State::Allowed
                                || known && children.iter().all(Option::is_some)
                                || stood
                                || excepted,
                            "{} {} {} {name}",
                            policy.0,
                            prior.0,
                            image.0
                        );
                    }
                    writeln!(
                        table,
                        "{:<18} {:<16} {:<8} {name:<17} | {}",
                        policy.0,
                        prior.0,
                        image.0,
                        describe(&plan)
                    )
                    .unwrap();
                }
            }
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn what_holds_in_every_row() {
    for case in cases() {
        let plan = decided(&case);
        let name = format!(
            "{} / {} / {} / {}: {}",
            case.policy.0,
            case.prior.0,
            case.image.0,
            case.scan.0,
            describe(&plan)
        );
        let Plan::Apply(step) = &plan else { continue };

        // Unknown is never clean: only a finished scan, or a verdict that stood before, can allow.
        if step.row.state == State::Allowed {
            let stood = case
                .prior
                .1
                .as_ref()
                .is_some_and(|row| row.no_scan.is_none() && row.state != State::Pending);
            assert!(matches!(case.scan.1, Scan::Complete(_)) || stood, "{name}");
            assert!(!matches!(case.scan.1, Scan::Unavailable(_)), "{name}");
        }
        // Nothing changes in report mode.
        assert!(case.policy.0 != "report" || step.effect.is_none(), "{name}");
        // An image in use is not blocked, unless the policy says so or we had blocked it before.
        let ours = case.prior.1.as_ref().is_some_and(|row| row.block.is_some());
        if case.image.0 == "pulled" && case.policy.0 != "strict" && !ours {
            assert_ne!(step.effect, Some(Effect::Archive), "{name}");
        }
        // Only what we blocked is brought back.
        assert!(step.effect != Some(Effect::Restore) || ours, "{name}");
        // No effect is silent.
        assert!(step.effect.is_none() || step.alert.is_some(), "{name}");
    }
}

#[test]
fn an_expired_exception_decides_nothing() {
    for case in cases().into_iter().filter(|case| case.policy.0 == "expired exception") {
        let plain = Case {
            policy: ("default", policy("")),
            ..case
        };
        let with_expired = Case {
            policy: ("expired", policy(EXPIRED)),
            prior: plain.prior.clone(),
            image: plain.image.clone(),
            scan: plain.scan.clone(),
        };
        assert_eq!(
            describe(&decided(&plain)),
            describe(&decided(&with_expired)),
            "{} {}",
            plain.prior.0,
            plain.scan.0
        );
    }
}

#[test]
fn one_more_finding_never_makes_it_better() {
    let rank = |plan: &Plan, case: &Case| {
        let state = match plan {
            Plan::Apply(step) => step.row.state,
            Plan::Leave(_) | Plan::Ask(_) => case.prior.1.as_ref().map_or(State::Pending, |row| row.state),
        };
        match state {
            State::Allowed | State::Pending | State::NotAnImage => 0,
            State::Review | State::Unscannable | State::Stale => 1,
            State::BlockDeferred | State::Blocked => 2,
        }
    };
    for case in cases() {
        let Scan::Complete(findings) = &case.scan.1 else {
            continue;
        };
        for severity in Severity::ALL {
            let mut more = findings.clone();
            more.findings.push(finding("CVE-2026-9", severity));
            let worse = Case {
                policy: case.policy.clone(),
                prior: case.prior.clone(),
                image: case.image.clone(),
                scan: (case.scan.0, Scan::Complete(more)),
            };
            assert!(
                rank(&decided(&worse), &worse) >= rank(&decided(&case), &case),
                "{severity}: {}",
                case.scan.0
            );
        }
    }
}

mod turns {
    use jiff::{SignedDuration, Timestamp};

    use super::super::{LONG_TURN_HOURS, TURN_HOURS, Turns};

    /// At whatever times sweeps run, each subject is due once in its period.
    #[test]
    fn no_turn_is_left_out_and_none_is_taken_twice() {
        let begin: Timestamp = "2026-11-24T12:07:00Z".parse().unwrap();
        let after = |minutes: i64| begin + SignedDuration::from_mins(minutes);
        for steps in [vec![15], vec![60], vec![59, 61], vec![20, 200, 60], vec![60 * 23, 60]] {
            for hours in [TURN_HOURS, LONG_TURN_HOURS] {
                for what in ["a", "b", "c", "d", "e"] {
                    let (mut minutes, mut since, mut turns) = (0, None, 0);
                    for step in steps.iter().cycle().take(400) {
                        turns += usize::from(Turns::new(since, after(minutes)).has(&what, hours));
                        since = Some(after(minutes));
                        minutes += step;
                    }
                    let last = (since.unwrap().as_second() / 3600 - begin.as_second() / 3600) + 1;
                    let expected = (0..last).filter(|hour| Turns::new(None, after(60 * hour)).has(&what, hours));
                    assert_eq!(turns, expected.count(), "{what} {steps:?} {hours}");
                }
            }
        }
        // After a pause that is longer, once.
        assert!(Turns::new(Some(begin), after(60 * 24 * 9)).has(&"a", TURN_HOURS));
        assert!(!Turns::new(Some(after(60)), after(61)).has(&"a", 1), "the same hour");
    }
}

#[test]
fn the_lease_of_another_invocation_ends_after_its_time_or_with_its_alert() {
    let mut row = row(State::Blocked, Some(Severity::Critical), Some(BlockMethod::Archive));
    let after = |seconds| now() + SignedDuration::from_secs(seconds);
    if let Some(alert) = &mut row.alert {
        (alert.claimed_at, alert.sent_at) = (now(), None);
        alert.claimed_by = "one".to_owned();
    }
    // Source: `notice::LEASE_SECONDS`, 45: longer than a function of events runs, shorter than Lambda's first wait.
    assert!(facts::leased(&row, "two", after(0)));
    assert!(facts::leased(&row, "two", after(44)));
    assert!(!facts::leased(&row, "two", after(45)));
    assert!(!facts::leased(&row, "one", after(0)), "it is its own");
    if let Some(alert) = &mut row.alert {
        alert.sent_at = Some(now());
    }
    assert!(!facts::leased(&row, "two", after(1)), "the alert is sent");
    row.alert = None;
    assert!(!facts::leased(&row, "two", after(1)), "nothing is claimed");
}

#[test]
fn a_refusal_is_remembered_until_its_time_and_not_at_it() {
    let mut facts = Facts::about(image_key(), "one");
    assert_eq!(facts::remembered_refusal(&facts, now()), None);
    let until = now() + SignedDuration::from_hours(24);
    let mut row = row(State::BlockDeferred, Some(Severity::Critical), None);
    row.refused_until = Some(until);
    facts.row = Some(row);
    assert_eq!(facts::remembered_refusal(&facts, now()), Some(until));
    assert_eq!(facts::remembered_refusal(&facts, until), None);
}

#[test]
fn an_alert_about_the_limit_stays_pending_until_it_is_sent() {
    let mut facts = Facts::about(image_key(), "one");
    assert!(!facts::limit_is_to_be_told(&facts));
    for (kind, sent_at, is_pending) in [
        (AlertKind::BlockLimit, None, true),
        (AlertKind::BlockLimit, Some(now()), false),
        (AlertKind::BlockDeferred, None, false),
    ] {
        let mut row = row(State::BlockDeferred, Some(Severity::Critical), None);
        if let Some(alert) = &mut row.alert {
            (alert.kind, alert.sent_at) = (kind, sent_at);
        }
        assert!(row.alert.is_some());
        facts.row = Some(row);
        assert_eq!(facts::limit_is_to_be_told(&facts), is_pending, "{kind:?} {sent_at:?}");
    }
}

#[test]
fn two_of_the_four_effects_keep_an_image_from_being_deployed() {
    let tag: Tag = "v1".parse().unwrap();
    let (mark, remove) = (tag.clone(), vec![tag.clone()]);
    assert!(Effect::Archive.blocks());
    assert!(Effect::Quarantine { mark, remove }.blocks());
    assert!(!Effect::Restore.blocks());
    let restore = vec![tag.clone()];
    assert!(!Effect::Unquarantine { mark: tag, restore }.blocks());
}

#[test]
fn the_row_of_an_image_that_is_gone_is_closed_when_nobody_is_at_work_on_it() {
    let mut row = row(
        State::Blocked,
        Some(Severity::Critical),
        Some(BlockMethod::QuarantineTag),
    );
    if let Some(alert) = &mut row.alert {
        (alert.claimed_at, alert.sent_at) = (now(), None);
        alert.claimed_by = "one".to_owned();
    }
    let plan = |row: &Row, actor: &str, at: Timestamp| {
        let facts = Facts {
            row: Some(row.clone()),
            ..Facts::about(image_key(), actor)
        };
        decide(&policy(""), &facts, at)
    };
    let closed = |plan: Plan| matches!(plan, Plan::Apply(step) if step.row.closed_at.is_some());
    let after = |seconds| now() + SignedDuration::from_secs(seconds);
    assert_eq!(plan(&row, "two", after(44)), Plan::Leave(Leave::InProgress));
    assert!(closed(plan(&row, "two", after(45))));
    assert!(closed(plan(&row, "one", after(1))), "it is its own");
    row.closed_at = Some(now());
    assert_eq!(plan(&row, "two", after(1)), Plan::Leave(Leave::NoSuchImage));
}

#[test]
fn a_row_says_which_tags_an_invocation_was_taking_when_it_ended() {
    let of = |state, method, confirmed, with_tags: bool, undone| {
        let mut row = row(state, Some(Severity::Critical), Some(method));
        if let Some(block) = &mut row.block {
            block.confirmed = confirmed;
            block.tags = if with_tags {
                vec!["v1".parse().unwrap()]
            } else {
                Vec::new()
            };
            block.undone_at = undone;
        }
        let is_taking_tags = row.block.as_ref().is_some_and(Block::is_taking_tags);
        (is_taking_tags, row.is_taking_mark())
    };
    use BlockMethod::{Archive, QuarantineTag};
    // A quarantine.
    assert_eq!(of(State::Blocked, QuarantineTag, false, true, None), (true, false));
    assert_eq!(of(State::Blocked, QuarantineTag, true, true, None), (false, false));
    assert_eq!(of(State::Blocked, Archive, false, true, None), (false, false));
    // Its end, also of one by an earlier method.
    assert_eq!(of(State::Allowed, QuarantineTag, true, false, None), (false, true));
    assert_eq!(of(State::Allowed, Archive, true, true, None), (false, true));
    assert_eq!(of(State::Allowed, Archive, true, false, None), (false, false));
    assert_eq!(
        of(State::Allowed, QuarantineTag, true, false, Some(now())),
        (false, false)
    );
    assert_eq!(
        of(State::BlockDeferred, QuarantineTag, false, true, None),
        (true, false)
    );
    let free = Row {
        block: None,
        ..row(State::Allowed, None, None)
    };
    assert!(!free.is_taking_mark());
}

#[test]
fn a_row_says_whether_a_release_restores_tags() {
    let tags = |texts: &[&str]| -> Vec<Tag> { texts.iter().map(|text| text.parse().unwrap()).collect() };
    let of = |state, method| {
        let mut row = row(state, Some(Severity::Critical), Some(method));
        row.block.as_mut().unwrap().tags = tags(&["main", "v1"]);
        row
    };
    use BlockMethod::{Archive, QuarantineTag};
    let blocked = of(State::Blocked, QuarantineTag);
    assert!(blocked.restores_at_release(&tags(&["v1", "main"])));
    assert!(!blocked.restores_at_release(&tags(&["v1", "v2"])), "one more was taken");
    assert!(
        !of(State::Allowed, QuarantineTag).restores_at_release(&tags(&["v1"])),
        "the release has begun"
    );
    assert!(!of(State::Blocked, Archive).restores_at_release(&tags(&["v1"])));
    let free = Row { block: None, ..blocked };
    assert!(!free.restores_at_release(&tags(&["v1"])));
}
