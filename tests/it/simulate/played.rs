//! A registry of two regions before somebody simulates a policy: pushes, copies, scans, workloads, releases, and time that passes.

use jiff::SignedDuration;
use serde_json::{Map, Value, json};
use shared::{
    core::{
        finding::{Finding, Findings, Fix, NoScan, Scan, ScanMode, Severity},
        ids::{ImageKey, Region, RegistryKey, RepositoryKey, registry_host},
        image::Image,
        policy::Policy,
        release::request::{AskedRelease, REQUEST_SCHEMA, ReleaseRequest, Verb},
        uses::{
            GRACE, Phase, RefusedPull, RefusedPullSchema, SourceKind, UseRow, UseRowSchema, Via, Workload,
            WorkloadKind, WorkloadSource,
        },
    },
    engine::release::Operator,
    ports::{Clock as _, UseLedger as _},
    testing::{
        StoredRepository, World,
        explore::{Choices, Story},
        finding, image, image_key, now, run, scan, signed_identity,
        sweep::{enqueue_known, work_in},
    },
};

use crate::operate::{FUNCTION, Sts, allowed};

/// Parts of policies. A policy has one of each; the first of each says nothing.
const PARTS: [&[&str]; 12] = [
    &[
        "{}",
        r#"{"severities": {"CRITICAL": "review"}, "accept_risk": true}"#,
        r#"{"severities": {"HIGH": "block"}}"#,
        r#"{"severities": {"HIGH": "block", "MEDIUM": "review"}}"#,
        r#"{"severities": {"MEDIUM": "block"}}"#,
        r#"{"severities": {"HIGH": "inform", "CRITICAL": "review"}, "accept_risk": true}"#,
    ],
    &[
        "{}",
        r#"{"exceptions": [{"vulnerability": "CVE-2026-1", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-12-31"}]}"#,
        r#"{"exceptions": [{"vulnerability": "CVE-2026-1", "repositories": ["*"], "owner": "o", "reason": "r", "expires": "2026-11-25"}]}"#,
        r#"{"exceptions": [{"vulnerability": "*", "repositories": ["*"], "tag": "v1", "owner": "o", "reason": "r", "expires": "2026-12-31"}]}"#,
        r#"{"exceptions": [{"vulnerability": "*", "repositories": ["*"], "tag": "index-0", "owner": "o", "reason": "r", "expires": "2026-12-01"}]}"#,
    ],
    &["{}", r#"{"unfixable": {"CRITICAL": "review"}}"#],
    &[
        "{}",
        r#"{"block": {"method": "quarantine-tag"}}"#,
        r#"{"block": {"method": "flag"}}"#,
    ],
    &["{}", "{}", r#"{"block": {"when_in_use": "block"}}"#],
    &[
        "{}",
        r#"{"block": {"in_use_days": 5}}"#,
        r#"{"block": {"in_use_days": 1}}"#,
    ],
    &["{}", r#"{"block": {"not_worse_than_running": false}}"#],
    &[
        "{}",
        r#"{"block": {"workloads": {"sources": ["ecs"]}}}"#,
        r#"{"block": {"workloads": {"sources": ["ecs"], "when_unknown": "ignore"}}}"#,
        r#"{"block": {"workloads": {"sources": ["ecs", "lambda"], "max_age_minutes": 1440}}}"#,
    ],
    &["{}", r#"{"block": {"when_lambda_may_pull": "ignore"}}"#],
    &[
        "{}",
        r#"{"repositories": {"replication": {"regions": ["us-east-1"], "max_lag_minutes": 30}}}"#,
        r#"{"repositories": {"replication": {"regions": ["us-east-1", "us-west-2"], "max_lag_minutes": 30}}}"#,
    ],
    &[
        "{}",
        r#"{"scan": {"on_failure": "block"}}"#,
        r#"{"scan": {"on_stale": "block"}}"#,
    ],
    &["{}", "{}", "{}", r#"{"mode": "report"}"#],
];

/// A policy, by the number of each of its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written([usize; PARTS.len()]);

impl Written {
    /// Any.
    pub(super) fn any(choices: &mut Choices) -> Self {
        Self(PARTS.map(|part| {
            if choices.one_in(2) {
                choices.below(part.len())
            } else {
                0
            }
        }))
    }

    /// This one, with some parts changed.
    pub(super) fn changed(self, choices: &mut Choices) -> Self {
        let mut changed = self;
        for (part, of) in changed.0.iter_mut().zip(PARTS) {
            if choices.one_in(4) {
                *part = choices.below(of.len());
            }
        }
        changed
    }

    /// Its document.
    pub(super) fn document(self) -> String {
        let mut document = json!({
            "version": 1, "mode": "enforce", "routes": {"default": "arn:aws:sns:us-west-2:123456789012:alerts"},
            "block": {"max_blocks_per_hour": 1000}, "release": allowed(),
        });
        for (part, of) in self.0.iter().zip(PARTS) {
            merge(&mut document, serde_json::from_str(of[*part]).unwrap());
        }
        let members = document.as_object_mut().unwrap();
        if let Some(mut entry) = members.remove("repositories") {
            merge(&mut entry, json!({"match": "*"}));
            members.insert("repositories".to_owned(), json!([entry]));
        }
        document.to_string()
    }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (name, value) in from {
                merge(into.entry(name).or_insert_with(|| Map::new().into()), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// The times that pass.
const TIMES: [SignedDuration; 5] = [
    SignedDuration::from_mins(10),
    SignedDuration::from_hours(2),
    SignedDuration::from_hours(26),
    SignedDuration::from_hours(24 * 8),
    SignedDuration::from_hours(24 * 20),
];

/// Indexes have the numbers from here on.
const FIRST_INDEX: usize = 1000;

/// The registries of both regions, and one ledger: each world has all rows of the other one.
#[derive(Debug)]
pub(super) struct Played {
    /// One world for each region.
    pub(super) worlds: [World; 2],
    /// All images, each with the place of its region in `worlds`.
    pub(super) images: Vec<(usize, ImageKey)>,
    /// The policy of the repository in all regions.
    pub(super) access: Option<String>,
    requests: u32,
}

fn region(place: usize) -> Region {
    ["us-west-2", "us-east-1"][place].parse().unwrap()
}

fn key(place: usize, number: usize) -> ImageKey {
    ImageKey {
        region: region(place),
        // The marks of a quarantine have the first digits.
        digest: format!("sha256:{number:08x}{}", "0".repeat(56)).parse().unwrap(),
        ..image_key()
    }
}

fn registry(place: usize) -> RegistryKey {
    RegistryKey {
        account: image_key().account,
        region: region(place),
    }
}

/// The repository in a region.
pub(super) fn repository(place: usize) -> RepositoryKey {
    RepositoryKey::of(&key(place, 0))
}

fn ecs(place: usize) -> WorkloadSource {
    WorkloadSource {
        account: image_key().account,
        region: region(place),
        kind: SourceKind::Ecs,
    }
}

fn some_findings(choices: &mut Choices) -> Vec<Finding> {
    let severities = [
        Severity::Critical,
        Severity::High,
        Severity::Medium,
        Severity::Low,
        Severity::Critical,
    ];
    let mut found: Vec<Finding> = Vec::new();
    for _ in 0..choices.below(4) {
        let (id, severity, fixed) = (choices.below(4), *choices.pick(&severities), choices.one_in(2));
        found.push(Finding {
            fix: if fixed { Fix::Available } else { Fix::Unavailable },
            fixed_in: fixed.then(|| "9.9".to_owned()),
            package: Some(format!("p{id}-{severity}")),
            ..finding(&format!("CVE-2026-{id}"), severity)
        });
    }
    found.sort_by(|a, b| (&a.id, &a.package).cmp(&(&b.id, &b.package)));
    found.dedup_by(|a, b| (&a.id, &a.package) == (&b.id, &b.package));
    found
}

fn some_scan(choices: &mut Choices, mode: ScanMode) -> Scan {
    let no_scan = match choices.below(12) {
        9 => NoScan::Failed,
        10 => NoScan::Unsupported,
        11 if mode == ScanMode::Enhanced => NoScan::EligibilityExpired,
        11 => return Scan::Absent,
        _ => {
            let in_use_count = match mode {
                ScanMode::Enhanced if choices.one_in(2) => Some(choices.below(2) as u64),
                _ => None,
            };
            return Scan::Complete(Findings {
                mode,
                in_use_count,
                last_in_use_at: in_use_count
                    .filter(|count| *count > 0 || choices.one_in(3))
                    .map(|_| now() - SignedDuration::from_hours(24)),
                ..scan(some_findings(choices))
            });
        }
    };
    Scan::Unavailable(no_scan)
}

impl Played {
    /// A registry with some images, indexes and copies.
    pub(super) fn new(choices: &mut Choices, story: &mut Story) -> Self {
        let modes = [(); 2].map(|()| {
            if choices.one_in(3) {
                ScanMode::Enhanced
            } else {
                ScanMode::Basic
            }
        });
        let lambda = json!({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"},
            "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]}]});
        let mut played = Self {
            worlds: [World::new(), World::new()],
            images: Vec::new(),
            access: choices.one_in(8).then(|| lambda.to_string()),
            requests: 0,
        };
        for (place, world) in played.worlds.iter().enumerate() {
            world.set_scan_mode(modes[place]);
            if modes[place] == ScanMode::Enhanced {
                story.count("regions with enhanced scanning", 1);
                world.list_scans();
            }
            world.create_repository(
                &repository(place).repository,
                StoredRepository {
                    repository: shared::core::repository::posture::Repository {
                        arn: format!(
                            "arn:aws:ecr:{}:123456789012:repository/{}",
                            region(place),
                            repository(place).repository
                        ),
                        tag_mutability: shared::core::repository::posture::TagMutability::Mutable,
                        scan_on_push: true,
                        encryption: shared::core::repository::posture::Encryption {
                            kind: "AES256".to_owned(),
                            key: None,
                        },
                    },
                    tags: std::collections::BTreeMap::new(),
                    policy: played.access.clone(),
                    lifecycle: None,
                },
            );
        }
        let images = 1 + choices.below(4);
        for number in 1..=images {
            played.push(number, modes, choices, story);
        }
        for index in 0..choices.below(3).min(images) {
            played.push_index(index, images, choices, story);
        }
        played
    }

    fn push(&mut self, number: usize, modes: [ScanMode; 2], choices: &mut Choices, story: &mut Story) {
        let pushed_days = *choices.pick(&[0_i64, 1, 30, 200]);
        let tag = (!choices.one_in(5)).then(|| format!("v{number}").parse().unwrap());
        // Where it is, and how much earlier than in the west it is in the east, in minutes.
        let east = [None, Some(-20), Some(-20), Some(20)][choices.below(4)];
        story.count("copies", usize::from(east.is_some()));
        let mut scanned = None;
        for place in 0..=usize::from(east.is_some()) {
            let key = key(place, number);
            let pushed_at = now() - SignedDuration::from_hours(24 * pushed_days + 1);
            let pushed_at = pushed_at - SignedDuration::from_mins(if place == 1 { east.unwrap_or(0) } else { 0 });
            let pulled_days = *choices.pick(&[None, Some(0_i64), Some(2), Some(10), Some(100)]);
            let pulled_days = pulled_days.filter(|days| *days <= pushed_days);
            let pushed = Image {
                tags: tag.clone().into_iter().collect(),
                pushed_at: Some(pushed_at),
                last_pulled_at: pulled_days.map(|days| now() - SignedDuration::from_hours(24 * days)),
                ..image(&key)
            };
            let known = match (place, choices.below(3)) {
                // The scanner of the other region has found the same, something else, or nothing.
                (1, 0) => Scan::Absent,
                (1, 1) if modes[0] == modes[1] => scanned.clone().unwrap_or(Scan::Absent),
                _ => some_scan(choices, modes[place]),
            };
            story.line(|| {
                format!(
                    "{key}: tags {:?}, pushed at {pushed_at}, pulled at {:?}, {known:?}",
                    pushed.tags, pushed.last_pulled_at
                )
            });
            self.worlds[place].push(&key, pushed.clone());
            self.worlds[1 - place].push_elsewhere(&key, pushed);
            if known != Scan::Absent {
                self.worlds[place].set_scan(&key, known.clone());
            }
            scanned = Some(known);
            self.images.push((place, key));
        }
    }

    fn push_index(&mut self, number: usize, images: usize, choices: &mut Choices, story: &mut Story) {
        let children: Vec<usize> = (1..=images)
            .filter(|child| child % 2 == number % 2 || choices.one_in(2))
            .collect();
        let entries: Vec<Value> = children
            .iter()
            .map(|child| {
                let digest = key(0, *child).digest;
                json!({"digest": digest, "platform": {"os": "linux", "architecture": format!("a{child}")}})
            })
            .collect();
        let places = 1 + choices.below(2);
        for place in 0..places {
            // No client can push an index whose images are not there.
            let is_whole = children
                .iter()
                .all(|child| self.images.contains(&(place, key(place, *child))));
            if !is_whole {
                continue;
            }
            let key = key(place, FIRST_INDEX + number);
            story.line(|| format!("{key}: index {number} of {children:?}"));
            self.worlds[place].push(
                &key,
                Image {
                    tags: vec![format!("index-{number}").parse().unwrap()],
                    pushed_at: Some(now() - SignedDuration::from_mins(40 - 20 * i64::try_from(place).unwrap())),
                    manifest_media_type: Some("application/vnd.oci.image.index.v1+json".to_owned()),
                    artifact_media_type: None,
                    ..image(&key)
                },
            );
            self.worlds[place].set_manifest(&key, &json!({"manifests": entries}).to_string());
            self.images.push((place, key));
        }
    }

    /// Time passes, in both regions. A call may have waited in one of them.
    fn later(&self, time: SignedDuration) {
        let at = self.worlds.iter().map(World::now).max().unwrap() + time;
        for world in &self.worlds {
            world.set_now(at);
        }
    }

    /// Each world has the rows of the other one.
    fn share(&self) {
        for (place, key) in &self.images {
            if let Some(row) = self.worlds[*place].row_of(key) {
                self.worlds[1 - place].remember(row);
            }
        }
    }

    /// Sweeps of both regions until nothing changes any more: what one of them finds another one may have to follow. Each image has its turn.
    pub(super) fn sweep(&self, policy: &Policy, sweeps: usize) {
        for _ in 0..sweeps {
            for (place, world) in self.worlds.iter().enumerate() {
                let sweep = shared::engine::sweep::Sweep {
                    registry: registry(place),
                    began: world.now(),
                    since: Some(world.now() - SignedDuration::from_hours(24 * 8)),
                    hops: 0,
                    until: jiff::Timestamp::MAX,
                };
                run(enqueue_known(world, policy, &sweep)).unwrap();
                while let [item] = world.take_items(1).as_slice() {
                    let (_, failures) = run(work_in(world, policy, &sweep, &item.work, "an-item"));
                    assert_eq!(failures, []);
                }
                self.share();
            }
        }
    }

    /// Workloads run before the next sweep, and the index of them may be complete.
    pub(super) fn index_workloads(&self, policy: &Policy, choices: &mut Choices, story: &mut Story) {
        let Some(rules) = &policy.workloads else { return };
        for _ in 0..choices.below(3) {
            let (place, key) = choices.pick(&self.images).clone();
            self.is_used(place, &key, choices, story);
        }
        for (place, world) in self.worlds.iter().enumerate() {
            if choices.one_in(2) {
                story.line(|| format!("the index of workloads in {} is complete", region(place)));
                world.complete_index(rules, &image_key().account, &region(place), world.now());
            }
        }
    }

    /// A workload uses an image, or did so.
    fn is_used(&self, place: usize, key: &ImageKey, choices: &mut Choices, story: &mut Story) {
        let world = &self.worlds[place];
        let at = world.now();
        let gone = choices.one_in(3);
        let gone_at = gone.then(|| at - *choices.pick(&[SignedDuration::ZERO, GRACE]));
        let phase = *choices.pick(&[Phase::Running, Phase::Desired, Phase::Rollback]);
        story.count("uses", 1);
        story.line(|| format!("{key} is used, {phase:?}, gone at {gone_at:?}"));
        world.set_use_row(uses(key, place, phase, at, gone_at));
    }

    /// Something happens.
    pub(super) fn happens(&mut self, policy: &Policy, choices: &mut Choices, story: &mut Story) {
        let (place, key) = choices.pick(&self.images).clone();
        let world = &self.worlds[place];
        let at = world.now();
        match choices.below(11) {
            0 | 10 => {
                let time = *choices.pick(&TIMES);
                story.line(|| format!("{time:#} pass"));
                self.later(time);
            }
            1 | 2 => {
                let hours = *choices.pick(&[1, 20]);
                self.ask(Verb::Release, Some(hours), policy, place, &key, story);
            }
            3 => self.ask(Verb::End, None, policy, place, &key, story),
            4 => {
                let pulled = world.pull(&key);
                story.line(|| format!("{key} is pulled: {pulled}"));
            }
            5 | 6 => self.is_used(place, &key, choices, story),
            7 => {
                if let Some(rules) = &policy.workloads {
                    story.line(|| format!("the index of workloads in {} is complete", region(place)));
                    world.complete_index(rules, &image_key().account, &region(place), at);
                }
            }
            8 => {
                let who = RefusedPull::who(&workload(place, Phase::Desired));
                let refused = RefusedPull {
                    schema: RefusedPullSchema::V1,
                    id: format!("{key}"),
                    image: key.clone(),
                    who,
                    claimed_at: at,
                    claimed_by: "on-pull".to_owned(),
                    sent_at: Some(at),
                    generation: 1,
                };
                story.count("refused pulls", 1);
                story.line(|| format!("{key}: a pull is refused"));
                run(world.write_refused_pull(&refused)).unwrap();
            }
            _ => {
                story.line(|| "a sweep".to_owned());
                self.sweep(policy, 1);
            }
        }
        self.later(SignedDuration::ZERO);
        self.share();
    }

    /// A person asks for a release, or for its end.
    fn ask(
        &mut self,
        action: Verb,
        hours: Option<u32>,
        policy: &Policy,
        place: usize,
        key: &ImageKey,
        story: &mut Story,
    ) {
        self.requests += 1;
        let world = &self.worlds[place];
        let asked = AskedRelease {
            schema: REQUEST_SCHEMA.to_owned(),
            id: format!("{:032x}", self.requests),
            action,
            image: format!("{}/{key}", registry_host(&key.account, &key.region)),
            hours,
            reason: hours.map(|_| "checkout is down".to_owned()),
            ticket: None,
        };
        let function = FUNCTION
            .trim_end_matches(":live")
            .replace("us-west-2", key.region.as_str());
        let mut identity = signed_identity(&asked, &function, world.now());
        identity.url = identity.url.replace("us-west-2", key.region.as_str());
        let operator = Operator {
            services: &world.services(policy),
            policy,
            account: &key.account,
            region: &key.region,
            function: &function,
            actor: &format!("request-{}", self.requests),
        };
        let payload = ReleaseRequest::json(&asked, &identity).to_string();
        let operated = run(operator.answer(&payload, &Sts));
        story.line(|| format!("{action:?} of {key}: {:?}", operated.answer));
        story.count("releases given or ended", usize::from(operated.alerts > 0));
    }
}

fn workload(place: usize, phase: Phase) -> Workload {
    Workload {
        phase,
        kind: WorkloadKind::EcsService,
        name: "api".to_owned(),
        within: Some("prod".to_owned()),
        version: Some("41".to_owned()),
        source: ecs(place),
        via: Via::Digest,
    }
}

fn uses(key: &ImageKey, place: usize, phase: Phase, at: jiff::Timestamp, gone_at: Option<jiff::Timestamp>) -> UseRow {
    UseRow {
        schema: UseRowSchema::V1,
        image: key.clone(),
        workloads: vec![workload(place, phase)],
        more: Vec::new(),
        changed_at: gone_at.unwrap_or(at),
        since: gone_at.unwrap_or(at) - SignedDuration::from_hours(1),
        gone_at,
        generation: 1,
    }
}
