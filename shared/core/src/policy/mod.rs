//! The policy: from the document that people write to what the rules read.
//!
//! A document becomes a [`Policy`] once, at start, or not at all: an error names the place in the document.

mod block;
mod consequence;
mod contact;
mod document;
mod exception;
mod never;
mod reading;
mod release;
mod replication;
mod repository;
mod rule;
#[cfg(feature = "schema")]
mod schema;
mod summary;
mod workloads;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

pub use block::BlockRules;
pub use consequence::{Consequence, Rule};
use document::Artifacts;
pub use document::{
    Action, BlockMethod, Document, GateAnswer, Mode, NoScanAction, UnguardedAnswer, WhenInUse, WhenLambdaMayPull,
};
pub use exception::{Exception, MAX_EXCEPTION_DAYS};
pub use reading::{PolicyError, Remark};
use reading::{Reading, between};
pub use release::ReleaseRules;
pub use replication::{MAX_REGIONS, ReplicationRules};
pub use repository::RepositoryRules;
pub use rule::{LEAST_EPSS, Maximum};

use crate::{
    alert::{budget::Budget, contact::Contact},
    finding::{Finding, Fix, NoScan, Severity, SeverityCounts},
    ids::{RepositoryName, TopicArn},
    place,
    repository::{lifecycle::Lifecycle, route::RouteTag},
    text::{self, hex},
    uses::WorkloadRules,
};

/// The longest key of a repository's tag, in characters (ECR API reference, "Tag").
const MAX_TAG_KEY: usize = 128;

/// The actions with a usable scan, and those without one.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanRules {
    /// How long an image may be without a result.
    pub grace: SignedDuration,
    on_failure: NoScanAction,
    on_unsupported: NoScanAction,
    on_stale: NoScanAction,
    artifacts: Artifacts,
}

/// When the daily digest is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestRules {
    /// Whether it is.
    pub enabled: bool,
    /// The hour (UTC) from which on it is, 0 to 23.
    pub hour: u32,
}

/// The answer of the function `gate` where findings alone do not give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateRules {
    /// About an image that a person must review.
    pub review: GateAnswer,
    /// About an image whose block is deferred, because it is in use or no worse than the running one.
    pub deferred: GateAnswer,
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
    /// Where it is looked up who uses images; `None`: that is not done.
    pub workloads: Option<WorkloadRules>,
    /// Findings that do not count.
    pub exceptions: Vec<Exception>,
    /// When the daily digest is sent.
    pub digest: DigestRules,
    /// How many alerts a topic gets one by one.
    pub alerts: Budget,
    /// Whom people ask about what is not about one repository.
    pub contact: Contact,
    /// The answer of `gate` about images that are not guarded.
    pub unguarded: UnguardedAnswer,
    gate: GateRules,
    release: Option<ReleaseRules>,
    severities: BTreeMap<Severity, Action>,
    unfixable: BTreeMap<Severity, Action>,
    exploitable: Option<Action>,
    rules: rule::Rules,
    repositories: Vec<RepositoryRules>,
    routes: BTreeMap<String, TopicArn>,
    default_route: TopicArn,
    route_by_tag: Option<String>,
    accept_risk: bool,
    /// Mistakes for which a document is refused that is not deployed yet.
    refused_later: Vec<Remark>,
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

    /// A policy document with all defaults written out, for a comparison with another one. Its contents are not checked.
    ///
    /// # Errors
    /// The document is not JSON, or has not the form of one.
    pub fn written_out(json: &str) -> Result<serde_json::Value, PolicyError> {
        let invalid = |error: serde_json::Error| PolicyError::at(".", error);
        let document: Document = serde_json::from_str(json).map_err(invalid)?;
        let mut value = serde_json::to_value(&document).map_err(invalid)?;
        if let Some(given) = value.get_mut("severities").and_then(serde_json::Value::as_object_mut) {
            for severity in Severity::ALL {
                let action = serde_json::to_value(default_action(severity)).map_err(invalid)?;
                given.entry(severity.as_str()).or_insert(action);
            }
        }
        Ok(value)
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
        let document: Document = place::read(json).map_err(|misread| PolicyError::at(misread.path, misread.problem))?;
        let canonical: serde_json::Value = serde_json::from_str(json).map_err(|error| PolicyError::at(".", error))?;
        let rules = ["severities", "unfixable", "exploitable", "rules"].map(|member| canonical.get(member));
        let hashes = Hashes {
            document: hash(&canonical),
            judging: hash(&serde_json::json!(rules)).chars().take(12).collect(),
        };
        Self::compile(document, hashes, reading, now)
    }

    fn compile(document: Document, hashes: Hashes, reading: Reading, now: Timestamp) -> Result<Self, PolicyError> {
        if document.version != 1 {
            return Err(PolicyError::at(
                "version",
                format!("version {} is not known, only 1 is", document.version),
            ));
        }
        let never = never::problems(&document);
        let later =
            |error: &PolicyError| Remark::at(&error.path, format!("{}. The next release refuses it", error.problem));
        let refused_later = never.iter().map(later).collect();
        let (routes, default_route) = routes(&document)?;
        let mut severities: BTreeMap<Severity, Action> = Severity::ALL.map(|s| (s, default_action(s))).into();
        severities.extend(by_severity("severities", &document.severities)?);
        let grace_minutes = between("scan.grace_minutes", document.scan.grace_minutes, 1, 1440)?;
        let max_blocks = between("block.max_blocks_per_hour", document.block.max_blocks_per_hour, 1, 1000)?;
        let block = block::read(&document.block)?;
        let hour = between("digest.hour", document.digest.hour, 0, 23)?;
        let alerts = budget(&document)?;
        let contact = contact::read("contact", &document.contact)?;
        let gate = GateRules {
            review: document.gate.review,
            deferred: document.gate.deferred,
        };
        let mut repositories = repository::entries(&document.repositories, &routes, &block, reading)?;
        for rules in &mut repositories {
            rules.contact = rules.contact.or(&contact);
        }
        let exceptions = document.exceptions.into_iter().enumerate();
        let exceptions = exceptions.map(|(index, section)| exception::read(index, section, now));
        let exceptions: Vec<Exception> = exceptions.collect::<Result<_, _>>()?;
        let release = document.release.as_ref().map(release::read).transpose()?.flatten();
        let rules = rule::Rules::new(&document.rules)?;
        let refused_later = match (reading, never.into_iter().next()) {
            (Reading::Strict, Some(problem)) => return Err(problem),
            _ => refused_later,
        };
        Ok(Self {
            mode: document.mode,
            judging: hashes.judging,
            sha256: hashes.document,
            exceptions,
            scan: ScanRules {
                grace: SignedDuration::from_mins(grace_minutes.into()),
                on_failure: document.scan.on_failure,
                on_unsupported: document.scan.on_unsupported,
                on_stale: document.scan.on_stale,
                artifacts: document.scan.artifacts,
            },
            block,
            max_blocks_per_hour: max_blocks.into(),
            workloads: document
                .block
                .workloads
                .as_ref()
                .map(workloads::workloads)
                .transpose()?,
            digest: DigestRules {
                enabled: document.digest.enabled,
                hour,
            },
            alerts,
            contact,
            unguarded: document.gate.unguarded,
            gate,
            release,
            severities,
            unfixable: by_severity("unfixable", &document.unfixable)?,
            exploitable: document.exploitable,
            rules,
            repositories,
            routes,
            default_route,
            route_by_tag: document.route_by_tag,
            accept_risk: document.accept_risk,
            refused_later,
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

    /// Who may release images; `None`: nobody.
    pub fn release(&self) -> Option<&ReleaseRules> {
        self.release.as_ref()
    }

    /// The answers of `gate` about images of this repository. Where its entry says nothing, the policy's own `gate` holds.
    pub fn gate(&self, repository: &RepositoryName) -> GateRules {
        let own = self.repository(repository).and_then(|rules| rules.gate);
        let (review, deferred) = own.unwrap_or_default();
        GateRules {
            review: review.unwrap_or(self.gate.review),
            deferred: deferred.unwrap_or(self.gate.deferred),
        }
    }

    /// How images of this repository are blocked. An image from a pull through cache comes back with the next pull of its tag,
    /// so that an archived one would come back and be archived for ever: it is flagged, unless the repository's own entry gives
    /// a method.
    pub fn block_method(&self, repository: &RepositoryName, is_pulled_through: bool) -> BlockMethod {
        let says_how = || self.repository(repository).is_some_and(|rules| rules.says_how_to_block);
        if is_pulled_through && !says_how() {
            return BlockMethod::Flag;
        }
        self.block(repository).method
    }

    /// The action for a single finding in an image of this repository, exceptions aside. See [`Policy::maxima`] for many
    /// together.
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

    /// Whether findings of these severities are likely to block an image: by their severity, before fix, exploit and exceptions
    /// are considered.
    pub fn may_block(&self, counts: &SeverityCounts) -> bool {
        counts
            .iter()
            .any(|(severity, count)| *count > 0 && self.severities.get(severity) == Some(&Action::Block))
    }

    /// The limits for the number of findings in an image.
    pub fn maxima(&self) -> &[Maximum] {
        &self.rules.maxima
    }

    /// Whether an entry that is no container image, and belongs to none, is evaluated like one.
    pub fn judges_artifacts(&self) -> bool {
        self.scan.artifacts == Artifacts::Judge
    }

    /// The action without a usable scan.
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

    /// The settings for a repository: the first entry that matches.
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

    /// Whom people ask about a repository.
    pub fn contact(&self, repository: &RepositoryName) -> &Contact {
        self.repository(repository)
            .map_or(&self.contact, |rules| &rules.contact)
    }

    /// The topic of the route `default`.
    pub fn default_topic(&self) -> &TopicArn {
        &self.default_route
    }

    /// All topics, with the names of their routes.
    pub fn topics(&self) -> BTreeMap<&TopicArn, Vec<&str>> {
        let mut topics: BTreeMap<&TopicArn, Vec<&str>> = BTreeMap::new();
        for (name, topic) in &self.routes {
            topics.entry(topic).or_default().push(name);
        }
        topics
    }

    /// Remarks for the owner of the policy about its rules and exceptions. A program that loads a policy must show them.
    pub fn remarks(&self, now: Timestamp) -> Vec<Remark> {
        let mut remarks = self.refused_later.clone();
        remarks.extend_from_slice(self.rules.remarks());
        remarks.extend(exception::remarks(&self.exceptions, now));
        if !self.accept_risk && self.severities.get(&Severity::Critical) != Some(&Action::Block) {
            remarks.push(Remark::at(
                "severities.CRITICAL",
                "a CRITICAL finding does not block an image by its severity. Known and meant? Then add \"accept_risk\": true to the policy",
            ));
        }
        for (index, rules) in self.repositories.iter().enumerate() {
            let mut lifecycle: Vec<String> = rules.lifecycle.iter().flat_map(Lifecycle::remarks).collect();
            if rules.replication.is_some() && rules.lifecycle.as_ref().is_some_and(Lifecycle::archives_unpulled) {
                lifecycle.push(
                    "it archives what nobody pulls, and nobody pulls copies. In the regions of `replication` it is left out; the next \
                     release refuses such a policy: leave it out here, or give repositories without copies an entry of their own"
                        .to_owned(),
                );
            }
            let path = format!("repositories[{index}].lifecycle");
            remarks.extend(lifecycle.into_iter().map(|text| Remark::at(&path, text)));
        }
        remarks.extend(self.unused_routes());
        remarks
    }

    /// Routes that no repository's alerts can take. Where a tag names the route, any may be named.
    fn unused_routes(&self) -> impl Iterator<Item = Remark> {
        let named = |name: &String| self.repositories.iter().any(|rules| rules.route.as_ref() == Some(name));
        let names = self.routes.keys().filter(|_| self.route_by_tag.is_none());
        let unused = names.filter(move |name| *name != "default" && !named(name));
        unused.map(|name| Remark::at(format!("routes.{name}"), "no entry of `repositories` names this route"))
    }
}

/// The hashes by which a policy is recognised.
struct Hashes {
    /// Hash of the whole document.
    document: String,
    /// Hash of the rules for findings.
    judging: String,
}

/// The topics by the names of their routes, and the topic of the route `default`.
fn routes(document: &Document) -> Result<(BTreeMap<String, TopicArn>, TopicArn), PolicyError> {
    let mut routes = BTreeMap::new();
    for (name, arn) in &document.routes {
        let arn: TopicArn = arn
            .parse()
            .map_err(|error| PolicyError::at(format!("routes.{name}"), error))?;
        routes.insert(name.clone(), arn);
    }
    let Some(default) = routes.get("default").cloned() else {
        let problem = "`default` is missing: alerts would have nowhere to go";
        return Err(PolicyError::at("routes", problem));
    };
    let key_length = document.route_by_tag.as_ref().map(|key| key.chars().count());
    if key_length.is_some_and(|length| !(1..=MAX_TAG_KEY).contains(&length)) {
        let problem = format!("the key of a tag has 1 to {MAX_TAG_KEY} characters");
        return Err(PolicyError::at("route_by_tag", problem));
    }
    Ok((routes, default))
}

/// How many alerts a topic gets one by one.
fn budget(document: &Document) -> Result<Budget, PolicyError> {
    let (hour, day) = (document.alerts.max_single_per_hour, document.alerts.max_single_per_day);
    Ok(Budget {
        per_hour: between("alerts.max_single_per_hour", hour, 1, 1000)?.into(),
        per_day: between("alerts.max_single_per_day", day, 1, 10_000)?.into(),
    })
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

/// SHA-256 of a value, without regard to white space and the order of members.
fn hash(value: &serde_json::Value) -> String {
    hex(&Sha256::digest(value.to_string()))
}

#[cfg(test)]
mod tests;
