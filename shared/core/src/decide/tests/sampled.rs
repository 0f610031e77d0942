//! Many cases of facts, chosen by fixed dice around each limit, and all that is decided about them, counted line by line. A change of a rule
//! shows in the lines that it moves, each with the number of the first case that has it.

use crate::{
    alert::image::ImageAlert,
    decide::{
        ChildFacts, Children, Effect, Facts, LeadingIndex, Limit, Opinion, Plan, Question, RESULT_AWAITED, Replaced,
        SCAN_REQUEST_INTERVAL, SourceImage, decide, judge, may_be_copied_from, may_be_source, pull_refused,
        refuses_pull, steps_for, to_look_at, words,
    },
    finding::{
        Findings, Fix, NOT_REMEMBERED, NoScan, Scan, ScanEvent, ScanMode, ScanStart, ScanTrigger, Severity,
        SeverityCounts, UNLISTED,
    },
    ids::{Digest, ImageKey, ImageRef, RepositoryKey, Tag},
    image::{Arrival, Child, Content, Image, ImageStatus, Way},
    ledger::{
        AlertRecord, Block, Cause, OmittedExcepted, RETURN_WINDOW_SECONDS, RecordedFinding, Row, ScanRecord, Source,
        Undertaken,
    },
    marker::quarantine_tag,
    notice::{AlertKind, LEASE_SECONDS},
    policy::{BlockMethod, Policy},
    predecessor::Predecessor,
    release::{Ended, Requester, TimedRelease},
    repository::access::LambdaAccess,
    state::State,
    testing::{Dice, Tally, around, image, image_key, now, policy, policy_in, recorded, registry_key, scan},
    told::ToldFindings,
    uses::{
        GRACE, Phase, RefusedPull, RefusedPullSchema, SourceKind, UsedBy, Uses, Via, Workload, WorkloadKind,
        WorkloadSource,
    },
};
use jiff::{SignedDuration, Timestamp};

pub(super) const STATES: [State; 8] = [
    State::Blocked,
    State::BlockDeferred,
    State::Allowed,
    State::Review,
    State::Pending,
    State::Unscannable,
    State::Stale,
    State::NotAnImage,
];
pub(super) const METHODS: [BlockMethod; 3] = [BlockMethod::Archive, BlockMethod::QuarantineTag, BlockMethod::Flag];

pub(super) fn ago(minutes: i64) -> Timestamp {
    now() - SignedDuration::from_mins(minutes)
}

pub(super) fn digest(of: char) -> Digest {
    format!("sha256:{}", of.to_string().repeat(64)).parse().unwrap()
}

pub(super) fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

/// The subject of a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Theme {
    Image,
    Index,
    Child,
    Copy,
}

fn policies() -> Vec<Policy> {
    let except = |id: &str| {
        format!(
            r#"{{"vulnerability": "{id}", "repositories": ["*"], "owner": "team", "reason": "no path", "expires": "2026-12-31"}}"#
        )
    };
    let excepted = format!(r#""exceptions": [{}, {}]"#, except("CVE-2026-1"), except("CVE-2026-7"));
    [
        r#""block": {"method": "flag"}"#,
        r#""block": {"method": "quarantine-tag"}"#,
        r#""block": {"when_in_use": "block", "not_worse_than_running": false}"#,
        r#""block": {"when_lambda_may_pull": "ignore", "in_use_days": 3}"#,
        r#""block": {"workloads": {"sources": ["ecs"]}}"#,
        r#""block": {"workloads": {"sources": ["ecs"], "when_unknown": "ignore"}, "not_worse_than_running": false}"#,
        r#""repositories": [{"match": "*", "tags": {"forbidden": ["v1*"], "on_violation": "block"}}]"#,
        r#""scan": {"artifacts": "judge", "on_failure": "block", "on_stale": "monitor", "on_unsupported": "monitor"}"#,
        r#""rules": [{"severities": ["HIGH"], "exploit": true, "action": "block"}, {"min_epss": 0.5, "action": "block"}, {"severities": ["MEDIUM"], "more_than": 1, "action": "review"}]"#,
        r#""repositories": [{"match": "*", "replication": {"regions": ["us-west-2"], "max_lag_minutes": 60}}]"#,
        &excepted,
    ]
    .into_iter()
    .map(policy)
    .chain([policy(""), policy_in("report", "")])
    .collect()
}

fn findings(dice: &mut Dice) -> Vec<RecordedFinding> {
    let severities = [
        Severity::Critical,
        Severity::Critical,
        Severity::High,
        Severity::Medium,
        Severity::Low,
    ];
    (0..dice.below(4))
        .map(|number| RecordedFinding {
            first_seen: ago(60 * (1 + number as i64)),
            exploit: dice.maybe(&[true, false]),
            epss: dice.maybe(&[0.2, 0.5, 0.9]),
            fix: dice.of(&[Fix::Available, Fix::Unavailable, Fix::Unknown]),
            fixed_in: dice.maybe(&["3.0.9".to_owned()]),
            package: dice.mostly(Some("openssl".to_owned()), &[None, Some("zlib".to_owned())]),
            ..recorded(
                dice.of(&[
                    "CVE-2026-1",
                    "CVE-2026-2",
                    "CVE-2026-3",
                    "CVE-2026-1",
                    UNLISTED,
                    NOT_REMEMBERED,
                ]),
                dice.of(&severities),
            )
        })
        .collect()
}

fn no_scan(dice: &mut Dice) -> NoScan {
    dice.of(&[
        NoScan::Failed,
        NoScan::Unsupported,
        NoScan::EligibilityExpired,
        NoScan::NotCovered,
        NoScan::UnknownStatus("NEW".to_owned()),
    ])
}

fn counts(dice: &mut Dice) -> SeverityCounts {
    dice.of(&[
        SeverityCounts::new(),
        [(Severity::Critical, 1)].into(),
        [(Severity::Medium, 3)].into(),
    ])
}

fn event(dice: &mut Dice) -> ScanEvent {
    let awaited = around(RESULT_AWAITED);
    ScanEvent {
        at: dice.of(&[awaited[0], awaited[1], awaited[2], ago(61), ago(60), ago(59), now()]),
        counts: counts(dice),
        total: dice.maybe(&[0, 1, 5]),
    }
}

fn scanned(dice: &mut Dice) -> Scan {
    if dice.one_in(3) {
        return dice.of(&[
            Scan::Absent,
            Scan::InProgress,
            Scan::NotVisible,
            Scan::Refused("AccessDenied".to_owned()),
            Scan::Archived,
            Scan::Unavailable(NoScan::Failed),
            Scan::Unavailable(NoScan::EligibilityExpired),
            Scan::Explained(NoScan::Unsupported, "no such system".to_owned()),
        ]);
    }
    let listed: Vec<_> = findings(dice).iter().map(RecordedFinding::finding).collect();
    let use_limit = around(SignedDuration::from_hours(24 * 14));
    let awaited = around(RESULT_AWAITED);
    Scan::Complete(Findings {
        mode: dice.of(&[ScanMode::Basic, ScanMode::Enhanced]),
        completed_at: dice.mostly(
            Some(ago(50)),
            &[None, Some(awaited[0]), Some(awaited[1]), Some(awaited[2])],
        ),
        counts: counts(dice),
        unlisted: dice.mostly(
            SeverityCounts::new(),
            &[[(Severity::High, 2)].into(), [(Severity::Critical, 1)].into()],
        ),
        hidden: dice.mostly(0, &[2]),
        has_result: !dice.one_in(4),
        in_use_count: dice.mostly(None, &[Some(0), Some(1), Some(3)]),
        last_in_use_at: dice.mostly(None, &use_limit.map(Some)),
        ..scan(listed)
    })
}

fn block(dice: &mut Dice) -> Block {
    let window = around(SignedDuration::from_secs(RETURN_WINDOW_SECONDS));
    let returns = if dice.one_in(3) {
        (0..3 + dice.below(4))
            .map(|_| dice.of(&window))
            .chain([ago(5)])
            .collect()
    } else {
        Vec::new()
    };
    Block {
        method: dice.of(&METHODS),
        at: dice.of(&[ago(30), ago(60), ago(60 * 24), ago(59)]),
        confirmed: !dice.one_in(4),
        tags: dice.mostly(Vec::new(), &[vec![tag("v1.2.3")], vec![tag("v1.2.3"), tag("latest")]]),
        returns,
        undone_at: dice.mostly(None, &[Some(ago(10))]),
        release_refused_at: dice.mostly(None, &[Some(ago(9))]),
        told: dice.one_in(2),
    }
}

fn alert(dice: &mut Dice) -> AlertRecord {
    let lease = around(SignedDuration::from_secs(LEASE_SECONDS));
    AlertRecord {
        id: "before".to_owned(),
        kind: dice.of(&[
            AlertKind::ImageBlocked,
            AlertKind::BlockDeferred,
            AlertKind::ImageReview,
            AlertKind::ImageReleased,
            AlertKind::BlockLimit,
            AlertKind::ScanFailed,
            AlertKind::ScanOverdue,
            AlertKind::ImageBypass,
        ]),
        claimed_at: dice.of(&lease),
        claimed_by: dice.of(&["me".to_owned(), "another".to_owned()]),
        sent_at: dice.mostly(Some(ago(60)), &[None]),
        no_news: dice.one_in(5),
    }
}

fn undertaken(at: Timestamp, with_index: bool) -> Option<Undertaken> {
    Some(Undertaken {
        by: "another".to_owned(),
        at,
        with_index,
    })
}

fn release(dice: &mut Dice) -> TimedRelease {
    let by = Requester {
        account: registry_key().account,
        name: "role/oncall".to_owned(),
        session: None,
    };
    TimedRelease {
        until: dice.of(&[ago(-60), now(), ago(60)]),
        by: by.clone(),
        reason: "a demo".to_owned(),
        ticket: Some("OPS-1".to_owned()),
        given_at: ago(120),
        ended: dice.mostly(None, &[Some(Ended { by, at: ago(1) })]),
        told_at: dice.maybe(&[ago(119)]),
        end_told_at: dice.maybe(&[ago(3)]),
    }
}

/// A row as an earlier reconcile may have left it.
fn row(dice: &mut Dice, key: &ImageKey) -> Row {
    let state = dice.mostly(State::Blocked, &STATES);
    let has_no_scan = matches!(state, State::Unscannable | State::Stale) || dice.one_in(8);
    let ends = [ago(-1), now(), ago(1)];
    let interval = around(SCAN_REQUEST_INTERVAL);
    let listed = findings(dice);
    let lease = around(SignedDuration::from_secs(LEASE_SECONDS));
    let (counts_use, is_blocked, is_judged) = (dice.one_in(2), dice.one_in(2), dice.one_in(2));
    Row {
        state,
        reason: dice.mostly(
            "as it was.".to_owned(),
            &[words::NOT_VISIBLE.to_owned(), words::refused("why")],
        ),
        generation: 3,
        policy: dice.mostly(policy("").sha256, &["another".to_owned()]),
        scan: dice.maybe(&[ScanRecord {
            mode: ScanMode::Basic,
            completed_at: Some(ago(50)),
            counts_use,
        }]),
        counts: counts(dice),
        no_scan: has_no_scan.then(|| no_scan(dice)),
        scanner_says: dice.maybe(&["no such system".to_owned()]),
        cause: dice.maybe(&[Cause::Findings, Cause::NoScan, Cause::Tag, Cause::Source]),
        unjudged: dice.one_in(5),
        judged_by: dice.maybe(&["another".to_owned(), policy("").judging]),
        omitted_findings: dice.mostly(0, &[2]),
        worst_omitted: dice.mostly(None, &[Some(recorded("CVE-2026-8", Severity::High))]),
        excepted: dice.mostly(Vec::new(), &[vec![recorded("CVE-2026-7", Severity::Critical)]]),
        omitted_excepted: dice.mostly(
            Vec::new(),
            &[vec![OmittedExcepted {
                scope: "CVE-2026-7|*".to_owned(),
                number: 2,
                worst: recorded("CVE-2026-7", Severity::Critical),
            }]],
        ),
        findings: listed,
        block: (state == State::Blocked || dice.one_in(3)).then(|| block(dice)),
        alert: dice.one_in(2).then(|| alert(dice)),
        release: dice.one_in(5).then(|| release(dice)),
        scan_event: dice.one_in(6).then(|| event(dice)),
        pulled_through: dice.one_in(10),
        scan_requested_at: dice.maybe(&interval),
        limited_until: dice.mostly(None, &ends.map(Some)),
        refused_until: dice.mostly(None, &ends.map(Some)),
        runs: dice.one_in(10),
        uses_unknown: dice.one_in(10),
        undertaken: dice.mostly(
            None,
            &[true, false]
                .map(|with_index| lease.map(|at| undertaken(at, with_index)))
                .concat(),
        ),
        tags: vec![tag("v1.2.3")],
        available_since: Some(ago(60)),
        children: dice.mostly(
            Vec::new(),
            &[vec![Child {
                digest: digest('c'),
                platform: None,
            }]],
        ),
        indexes: dice.mostly(Vec::new(), &[vec![digest('d')], vec![digest('e'), digest('d')]]),
        more_indexes: dice.one_in(12),
        alone: dice.one_in(6),
        used_on: dice.mostly(None, &around(SignedDuration::from_hours(24 * 14)).map(Some)),
        runnable: dice.one_in(10),
        source: dice.mostly(
            None,
            &[Some(Source {
                region: "eu-west-1".parse().unwrap(),
                verdict: Some("0123456789ab".to_owned()),
                blocked: is_blocked,
                judged: is_judged,
            })],
        ),
        closed_at: dice.mostly(None, &[None, Some(ago(20))]),
        ..Row::first(key.clone(), &policy(""), ago(120))
    }
}

fn entry(dice: &mut Dice, theme: Theme) -> Image {
    let mark = quarantine_tag(&image_key().digest).unwrap();
    let mut entry = image(&image_key());
    let usual = if theme == Theme::Child {
        Vec::new()
    } else {
        entry.tags.clone()
    };
    entry.tags = dice.mostly(
        usual,
        &[
            Vec::new(),
            vec![mark.clone()],
            vec![mark, tag("v1.2.3")],
            vec![tag("latest"), tag("v1.2.3")],
        ],
    );
    entry.status = dice.mostly(
        ImageStatus::Active,
        &[
            ImageStatus::Archived,
            ImageStatus::Activating,
            ImageStatus::Other("LEAVING".to_owned()),
        ],
    );
    let months = around(SignedDuration::from_hours(24 * 90));
    let weeks = around(SignedDuration::from_hours(24 * 14));
    let times: Vec<Timestamp> = [
        months,
        weeks,
        around(SignedDuration::from_mins(30)),
        around(SignedDuration::from_mins(15)),
    ]
    .concat();
    entry.pushed_at = dice.mostly(Some(ago(60)), &[None, Some(dice.clone().of(&times)), Some(ago(59))]);
    entry.last_pulled_at = dice
        .mostly(None, &months.map(Some))
        .max(dice.mostly(None, &weeks.map(Some)));
    entry.last_activated_at = dice.mostly(None, &[Some(ago(30)), Some(ago(29)), Some(ago(31))]);
    if theme == Theme::Index {
        entry.manifest_media_type = Some("application/vnd.oci.image.index.v1+json".to_owned());
        entry.artifact_media_type = None;
    } else if dice.one_in(10) {
        entry.artifact_media_type = Some("application/vnd.cncf.helm.config.v1+json".to_owned());
    }
    entry
}

fn children(dice: &mut Dice) -> Children {
    if dice.one_in(12) {
        return Children::Unknown;
    }
    let child = |dice: &mut Dice, name: char| ChildFacts {
        child: Child {
            digest: digest(name),
            platform: dice.maybe(&[format!("linux/{name}")]),
        },
        row: (!dice.one_in(5)).then(|| {
            let state = dice.of(&STATES);
            Row {
                state,
                block: dice.one_in(4).then(|| block(dice)),
                ..row(
                    dice,
                    &ImageKey {
                        digest: digest(name),
                        ..image_key()
                    },
                )
            }
        }),
    };
    Children::Known(
        (0..dice.below(4))
            .map(|at| child(dice, dice.clone().of(&['a', 'b', 'c']).max(['a', 'b', 'c'][at % 3])))
            .collect(),
    )
}

fn index(dice: &mut Dice) -> LeadingIndex {
    let name = dice.of(&['d', 'e']);
    LeadingIndex {
        digest: digest(name),
        row: (!dice.one_in(6)).then(|| Row {
            tags: dice.maybe(&[vec![tag("v2")]]).unwrap_or_default(),
            indexes: Vec::new(),
            ..row(
                dice,
                &ImageKey {
                    digest: digest(name),
                    ..image_key()
                },
            )
        }),
        looking: dice.mostly(None, &[Some(vec![tag("v2")]), Some(Vec::new())]),
    }
}

fn workload(phase: Phase) -> Workload {
    Workload {
        phase,
        kind: WorkloadKind::EcsService,
        name: "api".to_owned(),
        within: Some("prod".to_owned()),
        version: None,
        source: WorkloadSource {
            account: registry_key().account,
            region: registry_key().region,
            kind: SourceKind::Ecs,
        },
        via: Via::Digest,
    }
}

fn uses(dice: &mut Dice) -> Uses {
    match dice.below(3) {
        0 => Uses::Nobody,
        1 => Uses::Unknown("no list of `ecs`".to_owned()),
        _ => Uses::By(UsedBy {
            workloads: vec![workload(dice.of(&[Phase::Running, Phase::Desired]))],
            number: 1,
            since: ago(600),
            gone_at: dice.maybe(&around(GRACE)),
        }),
    }
}

/// The facts at first, and the answers to all questions.
struct Case {
    facts: Facts,
    again: Image,
    answers: Facts,
}

fn case(dice: &mut Dice, theme: Theme) -> Case {
    let key = image_key();
    let mut facts = Facts::about(key.clone(), "me");
    let image = entry(dice, theme);
    facts.image = (!dice.one_in(30)).then(|| image.clone());
    facts.content = dice.mostly(
        None,
        &[
            Some(Content::Image),
            Some(Content::Artifact("chart".to_owned())),
            Some(Content::Unknown),
        ],
    );
    facts.scan = if theme == Theme::Index {
        Scan::Absent
    } else {
        scanned(dice)
    };
    facts.row = (!dice.one_in(3)).then(|| row(dice, &key));
    facts.trigger = dice.maybe(&[ScanTrigger::Manual, ScanTrigger::Automatic]);
    facts.scan_start = dice.mostly(
        None,
        &[
            None,
            None,
            Some(ScanStart::Started),
            Some(ScanStart::LimitExceeded),
            Some(ScanStart::Unsupported),
            Some(ScanStart::ImageGone),
            Some(ScanStart::NotOffered("no".to_owned())),
        ],
    );
    facts.block_failure = dice.mostly(None, &[None, Some("AccessDenied".to_owned())]);
    facts.release_failure = dice.mostly(None, &[None, Some("AccessDenied".to_owned())]);
    let first = dice.one_in(2);
    facts.limit = dice.mostly(None, &[None, Some(Limit { until: ago(-30), first })]);
    facts.announced = dice.one_in(5).then(|| event(dice));
    facts.arrival = dice.mostly(
        None,
        &[
            Some(Arrival {
                way: Way::Pushed(Some(tag("v1.2.3"))),
                at: Some(ago(1)),
            }),
            Some(Arrival {
                way: Way::PulledThrough(None),
                at: None,
            }),
            Some(Arrival {
                way: Way::Restored,
                at: Some(ago(1)),
            }),
        ],
    );
    facts.found = dice.one_in(4);
    facts.indexes_read = dice.one_in(2);
    facts.epss = dice.mostly(
        Vec::new(),
        &[vec![crate::finding::Epss::new("CVE-2026-2", 0.7).unwrap()]],
    );
    if theme == Theme::Child {
        let number = dice.mostly(dice.clone().below(3), &[9]);
        facts.indexes = (0..=number).map(|_| index(dice)).collect();
    } else if dice.one_in(10) {
        facts.indexes = vec![index(dice)];
    }
    if theme == Theme::Copy || dice.one_in(20) {
        let there = ImageKey {
            region: "eu-west-1".parse().unwrap(),
            ..key.clone()
        };
        let closed = dice.one_in(8);
        facts.source = Some(SourceImage {
            region: there.region.clone(),
            row: (!dice.one_in(8)).then(|| Row {
                closed_at: closed.then(|| ago(3)),
                ..row(dice, &there)
            }),
        });
    }
    let mut answers = facts.clone();
    answers.scan_start = answers.scan_start.or(Some(dice.of(&[
        ScanStart::Started,
        ScanStart::LimitExceeded,
        ScanStart::Unsupported,
        ScanStart::ImageGone,
        ScanStart::Archived,
    ])));
    let runs = Image {
        digest: digest('f'),
        last_pulled_at: Some(ago(600)),
        ..image.clone()
    };
    let has = findings(dice).iter().map(RecordedFinding::finding).collect();
    answers.replaced = match Predecessor::new(&runs, &Scan::Complete(scan(has)), None).filter(|_| dice.one_in(2)) {
        Some(predecessor) => Replaced::Image(predecessor),
        None => Replaced::Nothing,
    };
    answers.lambda = Some(dice.of(&[
        LambdaAccess::No,
        LambdaAccess::No,
        LambdaAccess::Yes,
        LambdaAccess::Unknown("why".to_owned()),
    ]));
    answers.uses = Some(uses(dice));
    answers.children = if theme == Theme::Index {
        children(dice)
    } else {
        Children::NotAsked
    };
    answers.more_children = if theme == Theme::Index { dice.mostly(0, &[3]) } else { 0 };
    answers.children_pulled = Some(dice.mostly(
        Vec::new(),
        &[vec![ago(60 * 24 * 5)], vec![ago(60 * 24 * 91), ago(60 * 24 * 4)]],
    ));
    answers.indexes_known = Some(dice.one_in(2));
    let told = ToldFindings::none(RepositoryKey::of(&key));
    let known = told.with(&findings(dice), ago(dice.clone().of(&[60, 60 * 24 * 31])));
    answers.told = Some(known.unwrap_or(told));
    let again = Image {
        status: dice.mostly(image.status.clone(), &[ImageStatus::Archived]),
        ..image
    };
    Case { facts, again, answers }
}

/// The plan, after all questions; and which they were.
fn planned(policy: &Policy, case: &Case) -> (Facts, Plan, Vec<Question>) {
    let (mut facts, answers) = (case.facts.clone(), &case.answers);
    let mut asked = Vec::new();
    loop {
        let Plan::Ask(question) = decide(policy, &facts, now()) else {
            return (facts.clone(), decide(policy, &facts, now()), asked);
        };
        assert!(!asked.contains(&question), "{question:?} is asked once");
        asked.push(question);
        match question {
            Question::Scan => facts.scan_start.clone_from(&answers.scan_start),
            Question::Again => {
                facts.looked_again = true;
                facts.image = Some(case.again.clone());
            }
            Question::Replaced => facts.replaced = answers.replaced.clone(),
            Question::Children => {
                facts.children = answers.children.clone();
                facts.more_children = answers.more_children;
            }
            Question::Lambda => facts.lambda.clone_from(&answers.lambda),
            Question::Uses => facts.uses.clone_from(&answers.uses),
            Question::ChildrenPulled => facts.children_pulled.clone_from(&answers.children_pulled),
            Question::Indexes => facts.indexes_known = answers.indexes_known,
            Question::Told => facts.told.clone_from(&answers.told),
        }
    }
}

/// The image after an effect.
fn after(image: &Image, effect: Option<&Effect>, dice: &mut Dice) -> Image {
    let mut image = image.clone();
    match effect {
        None => {}
        Some(Effect::Archive) => image.status = ImageStatus::Archived,
        Some(Effect::Restore) => {
            image.status = dice.of(&[ImageStatus::Active, ImageStatus::Activating]);
            image.last_activated_at = Some(now());
        }
        Some(Effect::Quarantine { mark, .. }) => image.tags = vec![mark.clone()],
        Some(Effect::Unquarantine { mark, restore }) => {
            image.tags.extend(restore.iter().cloned());
            image.tags.retain(|tag| tag != mark);
        }
    }
    image
}

/// The members of a row; `but`: without those that another row has as well.
fn see_row(tally: &mut Tally, case: &str, name: &str, row: &Row, but: Option<&Row>) {
    let json = |row: &Row| serde_json::to_value(row).unwrap();
    let but = but.map(json).unwrap_or_default();
    let members = json(row).as_object().cloned().unwrap_or_default();
    let members = members.into_iter().filter(|(key, member)| but.get(key) != Some(member));
    let without = [
        "image",
        "schema",
        "policy",
        "first_seen",
        "id",
        "rule",
        "installed",
        "package_type",
        "verdict",
    ];
    tally.see_members(case, name, &serde_json::Value::Object(members.collect()), &without);
}

fn see_alert(tally: &mut Tally, case: &str, alert: &ImageAlert) {
    let mut say = |text: String| tally.see(case, format!("alert: {text}"));
    say(format!(
        "{:?} of {:?}, {} tags",
        alert.severity,
        alert.state,
        alert.tags.len()
    ));
    say(alert.title.clone());
    for sentence in alert.reason.split_inclusive(". ") {
        say(sentence.trim_end().to_owned());
    }
    for step in &alert.next_steps {
        say(format!("step {step:?}"));
    }
    let named = |findings: &[RecordedFinding]| {
        findings
            .iter()
            .map(|finding| finding.id.clone())
            .collect::<Vec<_>>()
            .join(" ")
    };
    say(format!(
        "findings {}, {} more",
        named(&alert.findings),
        alert.omitted_findings
    ));
    say(format!(
        "other findings {}, {} more",
        named(&alert.other_findings),
        alert.omitted_other_findings
    ));
    say(format!(
        "{} exceptions proposed, counts {:?}",
        alert.exceptions.len(),
        alert.counts
    ));
    say(format!("{:?}, release {}", alert.action, alert.release.is_some()));
    if let Some(hold) = &alert.hold {
        say(format!(
            "held by {} until {:?}, when {}",
            hold.cause, hold.until, hold.ends
        ));
    }
}

fn see(tally: &mut Tally, name: &str, policy: &Policy, case: &Case, dice: &mut Dice) {
    let (facts, plan, asked) = planned(policy, case);
    see_others(tally, name, policy, &facts);
    for question in asked {
        tally.see(name, format!("asks {question:?}"));
    }
    match judge(policy, &facts, now()) {
        Opinion::Opinion(judgement) => {
            tally.see(
                name,
                format!(
                    "judge: {:?} {:?} not visible: {}",
                    judgement.row.state, judgement.hold, judgement.not_visible
                ),
            );
        }
        other => tally.see(name, format!("judge: {other:?}")),
    }
    let step = match plan {
        Plan::Apply(step) => step,
        other => return tally.see(name, format!("plan: {other:?}")),
    };
    let hold = step
        .alert
        .as_ref()
        .and_then(|alert| alert.hold.as_ref())
        .map_or("", |hold| hold.cause);
    let effect = step.effect.as_ref().map(Effect::as_str);
    let kind = step.alert.as_ref().map(|alert| alert.kind);
    tally.see(name, format!("plan: {:?} {effect:?} {kind:?} {hold}", step.row.state));
    if let Some(effect @ (Effect::Quarantine { .. } | Effect::Unquarantine { .. })) = &step.effect {
        tally.see(name, format!("{effect:?}"));
    }
    for (flag, word) in [
        (step.counts_as_block, "counts as block"),
        (step.awaits_result, "awaits result"),
        (step.waits_for_summary, "waits for summary"),
        (step.told.is_some(), "remembers what was told"),
        (step.tells_release, "tells release"),
        (step.is_release(), "is release"),
    ] {
        if flag {
            tally.see(name, word);
        }
    }
    see_row(tally, name, "row", &step.row, facts.row.as_ref());
    if let Some(alert) = &step.alert {
        see_alert(tally, name, alert);
    }
    let Some(image) = &facts.image else { return };
    let image = after(image, step.effect.as_ref(), dice);
    let stays = dice.mostly(None, &[None, Some("no right")]);
    let row = step.completed(Some(&image).filter(|_| step.effect.is_some()), stays, now());
    see_row(tally, name, "completed", &row, Some(&step.row));
    // A plan that was carried out leaves less to do.
    let next = Facts {
        image: Some(image),
        row: Some(row),
        block_failure: None,
        release_failure: None,
        limit: None,
        arrival: None,
        ..facts
    };
    match decide(policy, &next, now()) {
        Plan::Apply(step) => tally.see(
            name,
            format!(
                "next: {:?} {:?} {:?}",
                step.row.state,
                step.effect.as_ref().map(Effect::as_str),
                step.alert.as_ref().map(|alert| alert.kind)
            ),
        ),
        other => tally.see(name, format!("next: {other:?}")),
    }
}

/// Further questions about an image, its relatives and its alerts.
fn see_others(tally: &mut Tally, name: &str, policy: &Policy, facts: &Facts) {
    let mut say = |text: String| tally.see(name, text);
    say(format!("needs its manifest: {}", facts.needs_manifest(policy)));
    let together = facts.pulled_together();
    let names: String = together
        .iter()
        .filter_map(|key| key.digest.as_str().get(7..8))
        .collect();
    say(format!("pulled together: {names}"));
    if let Some(there) = facts.source_row() {
        for region in ["us-west-2", "eu-west-1", "ap-south-1"] {
            let region = region.parse().unwrap();
            say(format!(
                "source for {region}: copied from {}, may be source {}",
                may_be_copied_from(policy, there, &region),
                may_be_source(policy, there, &region, Some(ago(60)))
            ));
        }
    }
    let Some(row) = &facts.row else { return };
    let looked = to_look_at(row, &facts.indexes);
    let names: String = looked
        .iter()
        .filter_map(|index| index.digest.as_str().get(7..8))
        .collect();
    say(format!("of {} indexes, to look at: {names}", facts.indexes.len()));
    for child in facts.children() {
        let state = child.row.as_ref().map(|row| row.state);
        say(format!(
            "{state:?} below {:?}, in accord: {}",
            row.state,
            child.is_in_accord(row)
        ));
    }
    let method = row.block.as_ref().map(|block| block.method);
    for by in [ImageRef::Tag(tag("v1")), ImageRef::Digest(digest('a'))] {
        let refuses = refuses_pull(row, &by);
        say(format!(
            "{:?} {method:?} refuses a pull by {}: {refuses}",
            row.state,
            matches!(by, ImageRef::Tag(_))
        ));
    }
    for step in steps_for(row) {
        say(format!("step by its row: {step:?}"));
    }
    let refused = RefusedPull {
        schema: RefusedPullSchema::V1,
        image: row.image.clone(),
        who: "api".to_owned(),
        id: "id".to_owned(),
        claimed_at: now(),
        claimed_by: "me".to_owned(),
        sent_at: None,
        generation: 1,
    };
    let alert = pull_refused(
        row,
        &refused,
        &workload(Phase::Running),
        "CannotPullContainerError",
        now(),
    );
    see_alert(tally, &format!("{name}, refused pull"), &alert);
}

fn tally(theme: Theme, number: u64) -> Tally {
    let policies = policies();
    let mut tally = Tally::default();
    for seed in 0..number {
        let mut dice = Dice::new(seed);
        let policy = dice.of(&policies);
        let case = case(&mut dice, theme);
        see(&mut tally, &format!("case {seed}"), &policy, &case, &mut dice);
    }
    tally
}

#[test]
fn what_is_decided_about_images() {
    insta::assert_snapshot!(tally(Theme::Image, 700).to_string());
}

#[test]
fn what_is_decided_about_indexes() {
    insta::assert_snapshot!(tally(Theme::Index, 500).to_string());
}

#[test]
fn what_is_decided_about_children_of_indexes() {
    insta::assert_snapshot!(tally(Theme::Child, 700).to_string());
}

#[test]
fn what_is_decided_about_copies() {
    insta::assert_snapshot!(tally(Theme::Copy, 400).to_string());
}

/// A step that stopped would otherwise stop again: the engine asks the same, and gets the same answer.
#[test]
fn a_block_that_stopped_is_not_planned_again() {
    let policies = METHODS.map(|method| {
        let method = serde_json::to_value(method).unwrap();
        policy(&format!(
            r#""block": {{"method": {method}, "workloads": {{"sources": ["ecs"]}}}}"#
        ))
    });
    let is_block = |plan: &Plan| matches!(plan, Plan::Apply(step) if step.effect.as_ref().is_some_and(Effect::blocks));
    let mut stopped = [0, 0];
    for seed in 0..1_000 {
        let mut dice = Dice::new(seed);
        let policy = dice.of(&policies);
        let theme = dice.of(&[Theme::Image, Theme::Index, Theme::Child, Theme::Copy]);
        let mut case = case(&mut dice, theme);
        // Nothing else holds it, for as long as nothing is known of a use.
        for image in case.facts.image.iter_mut().chain([&mut case.again]) {
            (image.pushed_at, image.last_pulled_at) = (Some(ago(600)), None);
            image.tags.retain(|_| seed % 3 > 0);
        }
        if theme != Theme::Index {
            case.facts.scan = Scan::Complete(scan(vec![recorded("CVE-2026-2", Severity::Critical).finding()]));
        }
        for row in case.facts.row.iter_mut().filter(|_| seed % 2 > 0) {
            (row.state, row.release, row.closed_at, row.alone) = (State::Blocked, None, None, false);
            if let Some(block) = &mut row.block {
                (block.confirmed, block.undone_at) = (true, None);
                block.returns.truncate(1);
            }
        }
        (case.facts.block_failure, case.facts.limit) = (None, None);
        (case.answers.uses, case.answers.replaced) = (Some(Uses::Nobody), Replaced::Nothing);
        (case.answers.children_pulled, case.answers.indexes_known) = (Some(Vec::new()), Some(true));
        let (facts, plan, _) = planned(&policy, &case);
        let Plan::Apply(step) = plan else { continue };
        let used = Uses::By(UsedBy {
            workloads: vec![workload(dice.of(&[Phase::Running, Phase::Desired, Phase::Rollback]))],
            number: 1,
            since: ago(1),
            gone_at: dice.maybe(&[ago(1)]),
        });
        let limit = Limit {
            until: ago(-30),
            first: dice.one_in(2),
        };
        let by_use = Facts {
            uses: Some(used),
            ..facts.clone()
        };
        let by_limit = Facts {
            limit: Some(limit),
            ..facts
        };
        let stops = [
            (by_use, step.effect.as_ref().is_some_and(Effect::blocks)),
            (by_limit, step.counts_as_block),
        ];
        for (place, (facts, _)) in stops.into_iter().enumerate().filter(|(_, (_, stops))| *stops) {
            let next = Case {
                facts,
                again: case.again.clone(),
                answers: case.answers.clone(),
            };
            let (_, plan, _) = planned(&policy, &next);
            assert!(!is_block(&plan), "case {seed}, {place}: {plan:?}");
            stopped[place] += 1;
        }
    }
    assert!(stopped.iter().all(|number| *number > 50), "{stopped:?}");
}
