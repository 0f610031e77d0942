//! The policy: from the document that people write to what the rules read.
//!
//! A document becomes a [`Policy`] once, at start, or not at all: an error names the place in the document.

mod document;
mod exception;
mod replication;
mod repository;
mod rule;

use std::{collections::BTreeMap, fmt};

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use sha2::{Digest as _, Sha256};

pub use document::{Action, BlockMethod, Document, Mode, NoScanAction, WhenInUse, WhenLambdaMayPull};
use document::{Artifacts, TagViolationAction};
pub use exception::Exception;
pub use replication::{MAX_REGIONS, ReplicationRules};
pub use rule::{LEAST_EPSS, Maximum};

use crate::{
    alert::budget::Budget,
    finding::{Finding, Fix, NoScan, Severity, SeverityCounts},
    glob::{Glob, InvalidGlob},
    ids::{Region, RepositoryName, TopicArn},
    repository::{lifecycle::Lifecycle, posture::PostureRules, route::RouteTag, tags::TagRules},
    text::{self, hex},
};

/// The farthest day on which an exception may end, counted from the day the policy is read.
pub const MAX_EXCEPTION_DAYS: i64 = 180;

/// For so many days after a pull an image counts as in use, where nobody counts the workloads that run it: absence of evidence is no evidence.
/// Tasks, pods and hosts that run for longer without a pull are rare.
const IN_USE_DAYS: i64 = 90;

/// The same where Amazon Inspector counts them. It is for how long Inspector looks at an image after its last use by default (Inspector user
/// guide, "Configuring the Amazon ECR re-scan duration").
const IN_USE_DAYS_COUNTED: i64 = 14;

/// The longest key of a repository's tag, in characters (ECR API reference, "Tag").
const MAX_TAG_KEY: usize = 128;

/// At most so many characters of a ticket stand in the name of an exception.
const MAX_TICKET: usize = 60;

/// A policy that is not one: where, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy is not valid at `{path}`: {problem}")]
pub struct PolicyError {
    /// Place in the document, such as `exceptions[0].expires`.
    pub path: String,
    /// What is wrong there.
    pub problem: String,
}

impl PolicyError {
    fn at(path: impl Into<String>, problem: impl fmt::Display) -> Self {
        Self {
            path: path.into(),
            problem: problem.to_string(),
        }
    }
}

/// What the policy says when there is a usable scan, and when there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanRules {
    /// How long an image may be without a result.
    pub grace: SignedDuration,
    on_failure: NoScanAction,
    on_unsupported: NoScanAction,
    on_stale: NoScanAction,
    artifacts: Artifacts,
}

/// How and when images are blocked.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockRules {
    /// How.
    pub method: BlockMethod,
    /// What happens when the image is in use.
    pub when_in_use: WhenInUse,
    /// Whether an image counts as in use that was pulled at any time, and that Lambda may pull.
    pub when_lambda_may_pull: WhenLambdaMayPull,
    /// As the policy says it.
    in_use: Option<SignedDuration>,
    /// An image that is no worse than the one it replaces is held.
    pub not_worse_than_running: bool,
}

impl BlockRules {
    /// How long after a pull an image counts as in use. `counted`: the scanner counts the workloads that run it, so that a pull is not the only
    /// evidence.
    pub fn in_use(&self, counted: bool) -> SignedDuration {
        let days = if counted { IN_USE_DAYS_COUNTED } else { IN_USE_DAYS };
        self.in_use.unwrap_or(SignedDuration::from_hours(24 * days))
    }
}

/// When the daily digest is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestRules {
    /// Whether it is.
    pub enabled: bool,
    /// The hour (UTC) from which on it is, 0 to 23.
    pub hour: u32,
}

/// How a document is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    /// All that is wrong is refused.
    Strict,
    /// What is refused since this version is not.
    Deployed,
}

/// What holds for the repositories that a glob matches.
#[derive(Debug, Clone, PartialEq)]
pub struct RepositoryRules {
    /// The glob.
    pub matches: Glob,
    route: Option<String>,
    mode: Option<Mode>,
    /// How its images are blocked, where the entry says anything of that.
    block: Option<BlockRules>,
    says_how_to_block: bool,
    /// Rules for tags.
    pub tags: Option<TagRules>,
    /// Settings that the repository must have.
    pub posture: Option<PostureRules>,
    lifecycle: Option<Lifecycle>,
    lifecycle_of_copies: Option<Lifecycle>,
    /// Where its images must be as well.
    pub replication: Option<ReplicationRules>,
}

impl RepositoryRules {
    /// The lifecycle policy that the repository must have in a region. Where copies arrive, it archives nothing because nobody pulls it.
    pub fn lifecycle_in(&self, region: &Region) -> Option<&Lifecycle> {
        let has_copies = |rules: &ReplicationRules| rules.regions.contains(region);
        if self.replication.as_ref().is_some_and(has_copies) {
            self.lifecycle_of_copies.as_ref()
        } else {
            self.lifecycle.as_ref()
        }
    }

    /// Whether settings are asked of the repository.
    pub fn has_settings(&self) -> bool {
        self.posture.is_some() || self.lifecycle.is_some()
    }
}

/// A policy, ready to be asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    mode: Mode,
    /// The rules for findings, in 12 characters: the same as long as these are. Exceptions are not among them.
    pub judging: String,
    /// SHA-256 of the document, without regard to white space and the order of members: which policy a decision was made under.
    pub sha256: String,
    /// When there is no usable scan.
    pub scan: ScanRules,
    block: BlockRules,
    /// How many images of an account and region are blocked in an hour at most.
    pub max_blocks_per_hour: u64,
    /// Findings that do not count.
    pub exceptions: Vec<Exception>,
    /// When the daily digest is sent.
    pub digest: DigestRules,
    /// How many alerts a topic gets one by one.
    pub alerts: Budget,
    severities: BTreeMap<Severity, Action>,
    unfixable: BTreeMap<Severity, Action>,
    exploitable: Option<Action>,
    rules: rule::Rules,
    repositories: Vec<RepositoryRules>,
    routes: BTreeMap<String, TopicArn>,
    default_route: TopicArn,
    route_by_tag: Option<String>,
}

/// What one finding leads to, and the place in the policy that says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Consequence {
    /// What it leads to.
    pub action: Action,
    /// Which rule said so.
    pub rule: Rule,
}

impl Consequence {
    /// This, unless `other` is worse.
    pub fn at_least(self, other: Self) -> Self {
        if other.action > self.action { other } else { self }
    }
}

/// The rules for findings, by their place in the policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// `severities.<SEVERITY>`.
    Severity(Severity),
    /// `unfixable.<SEVERITY>`.
    Unfixable(Severity),
    /// `exploitable`.
    Exploitable,
    /// `rules[<number>]`.
    Listed(usize),
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Severity(severity) => write!(f, "severities.{severity}"),
            Self::Unfixable(severity) => write!(f, "unfixable.{severity}"),
            Self::Exploitable => f.write_str("exploitable"),
            Self::Listed(index) => write!(f, "rules[{index}]"),
        }
    }
}

impl Policy {
    /// Reads a policy document that is deployed: what is refused since this version is a remark until the next one, so that functions
    /// start. Otherwise as [`Policy::from_json`].
    ///
    /// # Errors
    /// As [`Policy::from_json`].
    pub fn from_deployed_json(json: &str, now: Timestamp) -> Result<Self, PolicyError> {
        Self::read(json, Reading::Deployed, now)
    }

    /// Reads a policy document.
    ///
    /// `now` is needed because an exception must end within [`MAX_EXCEPTION_DAYS`]; one that has ended is no error, it just does
    /// not count any more.
    ///
    /// # Errors
    /// The document is not JSON, has an unknown or missing field, or says something that makes no sense. The error names the place.
    pub fn from_json(json: &str, now: Timestamp) -> Result<Self, PolicyError> {
        Self::read(json, Reading::Strict, now)
    }

    fn read(json: &str, reading: Reading, now: Timestamp) -> Result<Self, PolicyError> {
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let document: Document = serde_path_to_error::deserialize(&mut deserializer)
            .map_err(|error| PolicyError::at(error.path().to_string().replace('?', "."), error.inner()))?;
        deserializer.end().map_err(|error| PolicyError::at(".", error))?;
        let canonical: serde_json::Value = serde_json::from_str(json).map_err(|error| PolicyError::at(".", error))?;
        let rules = ["severities", "unfixable", "exploitable", "rules"].map(|member| canonical.get(member));
        let judging = hash(&serde_json::json!(rules)).chars().take(12).collect();
        Self::compile(document, hash(&canonical), judging, reading, now)
    }

    fn compile(
        document: Document,
        sha256: String,
        judging: String,
        reading: Reading,
        now: Timestamp,
    ) -> Result<Self, PolicyError> {
        if document.version != 1 {
            return Err(PolicyError::at(
                "version",
                format!("version {} is not known, only 1 is", document.version),
            ));
        }
        let mut routes = BTreeMap::new();
        for (name, arn) in &document.routes {
            let arn: TopicArn = arn
                .parse()
                .map_err(|error| PolicyError::at(format!("routes.{name}"), error))?;
            routes.insert(name.clone(), arn);
        }
        let default_route = routes
            .get("default")
            .cloned()
            .ok_or_else(|| PolicyError::at("routes", "`default` is missing: alerts would have nowhere to go"))?;

        let key_length = document.route_by_tag.as_ref().map(|key| key.chars().count());
        if key_length.is_some_and(|length| !(1..=MAX_TAG_KEY).contains(&length)) {
            let problem = format!("the key of a tag has 1 to {MAX_TAG_KEY} characters");
            return Err(PolicyError::at("route_by_tag", problem));
        }

        let mut severities: BTreeMap<Severity, Action> = Severity::ALL.map(|s| (s, default_action(s))).into();
        severities.extend(by_severity("severities", &document.severities)?);

        let grace_minutes = between("scan.grace_minutes", document.scan.grace_minutes, 1, 1440)?;
        let max_blocks = between("block.max_blocks_per_hour", document.block.max_blocks_per_hour, 1, 1000)?;
        let block = BlockRules {
            method: document.block.method,
            when_in_use: document.block.when_in_use,
            when_lambda_may_pull: document.block.when_lambda_may_pull,
            in_use: in_use("block.in_use_days", document.block.in_use_days)?,
            not_worse_than_running: document.block.not_worse_than_running,
        };
        // What the roles may do follows from it, and nothing else does: infra/modules/guard reads it.
        let mut kept = document.block.keep_release_of.iter().flatten();
        if let Some(n) = kept.position(|method| *method == BlockMethod::Flag) {
            let problem = "what was only flagged has nothing to undo: `archive` and `quarantine-tag` have";
            return Err(PolicyError::at(format!("block.keep_release_of[{n}]"), problem));
        }

        let hour = between("digest.hour", document.digest.hour, 0, 23)?;
        let alerts = Budget {
            per_hour: between(
                "alerts.max_single_per_hour",
                document.alerts.max_single_per_hour,
                1,
                1000,
            )?
            .into(),
            per_day: between(
                "alerts.max_single_per_day",
                document.alerts.max_single_per_day,
                1,
                10_000,
            )?
            .into(),
        };

        let mut repositories = Vec::new();
        for (index, section) in document.repositories.iter().enumerate() {
            let path = |field: &str| format!("repositories[{index}].{field}");
            if let Some(route) = &section.route
                && !routes.contains_key(route)
            {
                return Err(PolicyError::at(
                    path("route"),
                    format!("there is no route `{route}` in `routes`"),
                ));
            }
            let matches: Glob = glob(&section.matches, || path("match"))?;
            if let Some(earlier) = repositories.iter().position(|r: &RepositoryRules| r.matches == matches) {
                let problem = format!(
                    "`{}` stands already in `repositories[{earlier}]`, which wins",
                    section.matches
                );
                return Err(PolicyError::at(path("match"), problem));
            }
            // With a mode that never counts, people would believe that they enforce, or that they do not.
            let decides = section.mode.is_some() || section.block.is_some();
            let covers = |earlier: &RepositoryRules| earlier.matches.matches(&section.matches);
            if let Some(earlier) = repositories.iter().position(covers).filter(|_| decides) {
                let problem = format!(
                    "`repositories[{earlier}]` comes first and matches all that `{}` does, so that `mode` and `block` here never count: put \
                     this entry before it",
                    section.matches
                );
                return Err(PolicyError::at(path("match"), problem));
            }
            let lifecycle = repository::lifecycle(index, section, reading)?;
            repositories.push(RepositoryRules {
                matches,
                route: section.route.clone(),
                mode: section.mode,
                block: repository::block(index, section, &block)?,
                says_how_to_block: section.block.as_ref().is_some_and(|block| block.method.is_some()),
                tags: repository::tags(index, section)?,
                posture: repository::posture(index, section)?,
                lifecycle_of_copies: lifecycle.as_ref().and_then(Lifecycle::without_unpulled),
                lifecycle,
                replication: repository::replication(index, section)?,
            });
        }

        let mut exceptions = Vec::new();
        for (index, section) in document.exceptions.into_iter().enumerate() {
            exceptions.push(exception(index, section, now)?);
        }

        Ok(Self {
            mode: document.mode,
            judging,
            sha256,
            scan: ScanRules {
                grace: SignedDuration::from_mins(grace_minutes.into()),
                on_failure: document.scan.on_failure,
                on_unsupported: document.scan.on_unsupported,
                on_stale: document.scan.on_stale,
                artifacts: document.scan.artifacts,
            },
            block,
            max_blocks_per_hour: max_blocks.into(),
            exceptions,
            digest: DigestRules {
                enabled: document.digest.enabled,
                hour,
            },
            alerts,
            severities,
            unfixable: by_severity("unfixable", &document.unfixable)?,
            exploitable: document.exploitable,
            rules: rule::Rules::new(&document.rules)?,
            repositories,
            routes,
            default_route,
            route_by_tag: document.route_by_tag,
        })
    }

    /// Whether anything is changed in this repository.
    pub fn enforces(&self, repository: &RepositoryName) -> bool {
        self.report_mode(repository).is_none()
    }

    /// Whether anything is changed in any repository: only then there is anything that could.
    pub fn enforces_anywhere(&self) -> bool {
        let of_entries = self.repositories.iter().filter_map(|rules| rules.mode);
        of_entries.chain([self.mode]).any(|mode| mode == Mode::Enforce)
    }

    /// Why nothing is changed in this repository; `None`: what the policy says is done.
    pub fn report_mode(&self, repository: &RepositoryName) -> Option<&'static str> {
        match (self.repository(repository).and_then(|rules| rules.mode), self.mode) {
            (Some(Mode::Enforce), _) | (None, Mode::Enforce) => None,
            (Some(Mode::Report), _) => Some("the policy is in report mode for this repository"),
            (None, Mode::Report) => Some("the policy is in report mode"),
        }
    }

    /// How and when images of this repository are blocked.
    pub fn block(&self, repository: &RepositoryName) -> &BlockRules {
        let own = self.repository(repository).and_then(|rules| rules.block.as_ref());
        own.unwrap_or(&self.block)
    }

    /// How images of this repository are blocked. What a pull through cache has fetched comes back with the next pull of its tag, so that an
    /// archived one would come back and be archived for ever: it is flagged, unless the repository's own entry says how it is blocked.
    pub fn block_method(&self, repository: &RepositoryName, is_pulled_through: bool) -> BlockMethod {
        let says_how = || self.repository(repository).is_some_and(|rules| rules.says_how_to_block);
        if is_pulled_through && !says_how() {
            return BlockMethod::Flag;
        }
        self.block(repository).method
    }

    /// What a finding in an image of this repository leads to by itself, exceptions aside. See [`Policy::maxima`] for what many
    /// lead to together.
    pub fn consequence(&self, finding: &Finding, repository: &RepositoryName) -> Consequence {
        let severity = finding.severity;
        let unfixable = self
            .unfixable
            .get(&severity)
            .filter(|_| finding.fix == Fix::Unavailable);
        let by_severity = match unfixable {
            Some(&action) => Consequence {
                action,
                rule: Rule::Unfixable(severity),
            },
            None => {
                let action = self
                    .severities
                    .get(&severity)
                    .copied()
                    .unwrap_or(default_action(severity));
                Consequence {
                    action,
                    rule: Rule::Severity(severity),
                }
            }
        };
        let decided = self.rules.consequence(finding, repository, by_severity);
        match self.exploitable {
            Some(action) if finding.exploit == Some(true) => decided.at_least(Consequence {
                action,
                rule: Rule::Exploitable,
            }),
            _ => decided,
        }
    }

    /// Whether findings of these severities are likely to block an image: their severity does, before fix, exploit and exceptions
    /// are looked at.
    pub fn may_block(&self, counts: &SeverityCounts) -> bool {
        counts
            .iter()
            .any(|(severity, count)| *count > 0 && self.severities.get(severity) == Some(&Action::Block))
    }

    /// Of which findings an image may have only so many.
    pub fn maxima(&self) -> &[Maximum] {
        &self.rules.maxima
    }

    /// Whether what is no container image, and belongs to none, is judged like one.
    pub fn judges_artifacts(&self) -> bool {
        self.scan.artifacts == Artifacts::Judge
    }

    /// What the absence of a usable scan leads to.
    pub fn without_scan(&self, why: &NoScan) -> NoScanAction {
        match why {
            NoScan::Unsupported | NoScan::TooLarge => self.scan.on_unsupported,
            NoScan::EligibilityExpired => self.scan.on_stale,
            NoScan::Failed
            | NoScan::LimitExceeded
            | NoScan::FindingsUnavailable
            | NoScan::NotCovered
            | NoScan::UnknownStatus(_) => self.scan.on_failure,
        }
    }

    /// What holds for a repository: the first entry that matches.
    pub fn repository(&self, repository: &RepositoryName) -> Option<&RepositoryRules> {
        self.repositories
            .iter()
            .find(|rules| rules.matches.matches(repository.as_str()))
    }

    /// Whether settings are asked of any repository.
    pub fn has_settings(&self) -> bool {
        self.repositories.iter().any(RepositoryRules::has_settings)
    }

    /// The topic that alerts about a repository go to: by its tag, by its entry in `repositories`, or the default one. `tag`: what the
    /// repository's tag said when it was last read; `None`: not known.
    pub fn topic(&self, repository: &RepositoryName, tag: Option<&RouteTag>) -> &TopicArn {
        let by_tag = tag
            .filter(|tag| self.follows(tag))
            .and_then(|tag| self.routes.get(tag.value.as_ref()?));
        let by_entry = || {
            let route = self.repository(repository)?.route.as_ref()?;
            self.routes.get(route)
        };
        by_tag.or_else(by_entry).unwrap_or(&self.default_route)
    }

    /// The key of the tag that the route of a repository's alerts follows.
    pub fn route_by_tag(&self) -> Option<&str> {
        self.route_by_tag.as_deref()
    }

    fn follows(&self, tag: &RouteTag) -> bool {
        self.route_by_tag() == Some(&tag.tag)
    }

    /// Whether the tag should lead somewhere and does not: its value is no route, or there is none and no entry of `repositories` names
    /// one either.
    pub fn is_unrouted(&self, repository: &RepositoryName, tag: &RouteTag) -> bool {
        let has_route = || self.repository(repository).is_some_and(|rules| rules.route.is_some());
        self.follows(tag)
            && match &tag.value {
                Some(value) => !self.routes.contains_key(value),
                None => !has_route(),
            }
    }

    /// The topic of the route `default`.
    pub fn default_topic(&self) -> &TopicArn {
        &self.default_route
    }

    /// All topics, with the names of the routes that lead to them.
    pub fn topics(&self) -> BTreeMap<&TopicArn, Vec<&str>> {
        let mut topics: BTreeMap<&TopicArn, Vec<&str>> = BTreeMap::new();
        for (name, topic) in &self.routes {
            topics.entry(topic).or_default().push(name);
        }
        topics
    }

    /// What whoever keeps the policy should know of its rules and exceptions. Whoever loads a policy must say so.
    pub fn remarks(&self, now: Timestamp) -> Vec<String> {
        let mut remarks = self.rules.remarks().to_vec();
        remarks.extend(exception::remarks(&self.exceptions, now));
        for (index, rules) in self.repositories.iter().enumerate() {
            let mut lifecycle: Vec<String> = rules.lifecycle.iter().flat_map(Lifecycle::remarks).collect();
            if rules.replication.is_some() && rules.lifecycle.as_ref().is_some_and(Lifecycle::archives_unpulled) {
                lifecycle.push(
                    "it archives what nobody pulls, and nobody pulls copies. In the regions of `replication` it is left out; the next \
                     release refuses such a policy: leave it out here, or give repositories without copies an entry of their own"
                        .to_owned(),
                );
            }
            let lifecycle = lifecycle.into_iter();
            remarks.extend(lifecycle.map(|remark| format!("`repositories[{index}].lifecycle`: {remark}")));
        }
        remarks
    }
}

/// Defaults of the four severities that the product is built on; a severity that says nothing needs a person.
fn default_action(severity: Severity) -> Action {
    match severity {
        Severity::Critical => Action::Block,
        Severity::High | Severity::Undefined => Action::Review,
        Severity::Medium => Action::Monitor,
        Severity::Low | Severity::Informational => Action::Inform,
    }
}

fn exception(index: usize, section: document::ExceptionSection, now: Timestamp) -> Result<Exception, PolicyError> {
    let path = |field: &str| format!("exceptions[{index}].{field}");
    for (field, text) in [("owner", &section.owner), ("reason", &section.reason)] {
        if text.trim().is_empty() {
            return Err(PolicyError::at(
                path(field),
                "it is empty: somebody must answer for an exception, and say why",
            ));
        }
    }
    if section.repositories.is_empty() {
        return Err(PolicyError::at(
            path("repositories"),
            "an exception names its repositories; `*` is all of them",
        ));
    }
    let mut repositories = Vec::new();
    for (n, text) in section.repositories.iter().enumerate() {
        repositories.push(glob(text, || path(&format!("repositories[{n}]")))?);
    }
    let ends = section
        .expires
        .tomorrow()
        .and_then(|day| TimeZone::UTC.to_timestamp(day.at(0, 0, 0, 0)))
        .map_err(|error| PolicyError::at(path("expires"), error))?;
    let latest = now + SignedDuration::from_hours(24 * (MAX_EXCEPTION_DAYS + 1));
    if ends > latest {
        let problem = format!("an exception ends within {MAX_EXCEPTION_DAYS} days; renew it when the time comes");
        return Err(PolicyError::at(path("expires"), problem));
    }
    let package = section.package.as_deref();
    let tag = section.tag.as_deref();
    let ticket = section.ticket.as_deref().map(|ticket| text::line(ticket, MAX_TICKET));
    Ok(Exception {
        name: match ticket.filter(|ticket| !ticket.is_empty()) {
            Some(ticket) => format!("exceptions[{index}] {ticket}"),
            None => format!("exceptions[{index}]"),
        },
        vulnerability: glob(&section.vulnerability, || path("vulnerability"))?,
        package: package.map(|text| text_glob(text, || path("package"))).transpose()?,
        tag: tag.map(|text| glob(text, || path("tag"))).transpose()?,
        digest: section
            .digest
            .map(|digest| digest.parse().map_err(|error| PolicyError::at(path("digest"), error)))
            .transpose()?,
        repositories,
        owner: section.owner,
        reason: section.reason,
        ticket: section.ticket,
        ends,
    })
}

fn by_severity(path: &str, actions: &BTreeMap<String, Action>) -> Result<BTreeMap<Severity, Action>, PolicyError> {
    let severity = |word: &str| Severity::ALL.into_iter().find(|severity| severity.as_str() == word);
    actions
        .iter()
        .map(|(word, action)| match severity(word) {
            Some(severity) => Ok((severity, *action)),
            None => {
                let known = Severity::ALL.map(Severity::as_str).join(", ");
                Err(PolicyError::at(
                    format!("{path}.{}", text::line(word, 40)),
                    format!("a severity is one of {known}"),
                ))
            }
        })
        .collect()
}

fn glob(text: &str, path: impl FnOnce() -> String) -> Result<Glob, PolicyError> {
    text.parse()
        .map_err(|error: InvalidGlob| PolicyError::at(path(), error))
}

/// A glob for names of packages: some have blanks and letters of any language.
fn text_glob(text: &str, path: impl FnOnce() -> String) -> Result<Glob, PolicyError> {
    Glob::of_text(text).map_err(|error| PolicyError::at(path(), error))
}

/// How long an image counts as in use after a pull, where the policy says so.
fn in_use(path: &str, days: Option<u32>) -> Result<Option<SignedDuration>, PolicyError> {
    let days = days.map(|days| between(path, days, 1, 365)).transpose()?;
    Ok(days.map(|days| SignedDuration::from_hours(24 * i64::from(days))))
}

fn between(path: &str, value: u32, least: u32, most: u32) -> Result<u32, PolicyError> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(PolicyError::at(
            path,
            format!("{value} is not between {least} and {most}"),
        ))
    }
}

/// SHA-256 of a value, without regard to white space and the order of members.
fn hash(value: &serde_json::Value) -> String {
    hex(&Sha256::digest(value.to_string()))
}

#[cfg(test)]
mod tests;
