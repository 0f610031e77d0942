//! The record of an image: one row of the ledger.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{
    finding::{Finding, Fix, NoScan, ScanEvent, ScanMode, Severity, SeverityCounts},
    ids::{Digest, ImageKey, Region, Tag},
    image::Child,
    notice::AlertKind,
    policy::{Action, BlockMethod, Policy},
    release::TimedRelease,
    state::State,
    text,
};

/// A finding that decided the state, as it is remembered: the scanner forgets an image once it is archived.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RecordedFinding {
    /// CVE or advisory id.
    pub id: String,
    /// Other ids of the same vulnerability.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub related: Vec<String>,
    /// Severity.
    pub severity: Severity,
    /// Vulnerable package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// The kind of that package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package_type: Option<String>,
    /// Installed version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed: Option<String>,
    /// Version with the fix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed_in: Option<String>,
    /// Whether there is a fix.
    pub fix: Fix,
    /// Whether an exploit is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exploit: Option<bool>,
    /// Score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// EPSS, as the last event of Inspector about it said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epss: Option<f64>,
    /// Where it is described.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Its action, exceptions aside.
    pub action: Action,
    /// The rule of the policy that says so, such as `severities.CRITICAL`.
    pub rule: String,
    /// When it was first seen in this image.
    pub first_seen: Timestamp,
    /// How many findings it stands for: more than one only if the scanner counted them and did not list them.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub stands_for: u64,
    /// The exception that took it out of the decision, as people find it: its place in the policy, and its ticket if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exception: Option<String>,
    /// The scope of that exception: its globs of vulnerability and package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excepted_by: Option<String>,
}

fn one() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_one(number: &u64) -> bool {
    *number == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The packages to update with the versions that fix findings, `openssl 3.0.9`, each once, in the order of the findings.
pub fn fixes<'a>(findings: impl IntoIterator<Item = &'a RecordedFinding>) -> Vec<String> {
    let mut fixes: Vec<String> = Vec::new();
    for finding in findings {
        if let (Some(package), Some(version)) = (&finding.package, &finding.fixed_in) {
            let fix = format!("{} {}", text::line(package, 60), text::line(version, 40));
            if !fixes.contains(&fix) {
                fixes.push(fix);
            }
        }
    }
    fixes
}

impl RecordedFinding {
    /// The identity of a finding: the vulnerability and its package.
    pub fn identity(&self) -> (&str, Option<&str>) {
        (&self.id, self.package.as_deref())
    }

    /// The finding as the scanner gave it.
    pub fn finding(&self) -> Finding {
        Finding {
            id: self.id.clone(),
            related: self.related.clone(),
            severity: self.severity,
            package: self.package.clone(),
            package_type: self.package_type.clone(),
            installed: self.installed.clone(),
            fixed_in: self.fixed_in.clone(),
            fix: self.fix,
            exploit: self.exploit,
            score: self.score,
            epss: self.epss,
            url: self.url.clone(),
        }
    }
}

/// Findings that an exception took out of the decision, and of which only the worst is remembered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OmittedExcepted {
    /// The scope of the exception: its globs of vulnerability and package. Only an exception with the same scope covers them
    /// again.
    pub scope: String,
    /// How many they are.
    pub number: u64,
    /// The worst of them.
    pub worst: RecordedFinding,
}

/// ECR has shown a change by then: how long that takes is documented nowhere.
const SHOWN_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// The block of an image: how it was kept from being deployed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// How.
    pub method: BlockMethod,
    /// When it was decided.
    pub at: Timestamp,
    /// Whether the registry has confirmed it.
    pub confirmed: bool,
    /// For `quarantine-tag`: the tags that were removed, to be restored at release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// When it was blocked again because it had come back: within the last [`RETURN_WINDOW_SECONDS`], oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub returns: Vec<Timestamp>,
    /// When it was undone, while the image cannot be pulled again yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undone_at: Option<Timestamp>,
    /// When the registry last refused to undo it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_refused_at: Option<Timestamp>,
    /// The alert about the block was about this image, and not only about its index or source: then one about this image says
    /// that the block has ended.
    #[serde(default, skip_serializing_if = "is_false")]
    pub told: bool,
}

impl Block {
    /// Whether a quarantine was begun, and nobody has seen that the tags are gone.
    pub fn is_taking_tags(&self) -> bool {
        self.method == BlockMethod::QuarantineTag && !self.confirmed
    }

    /// Whether its archiving was begun a moment ago and was not seen in the registry, which may show it later than it answers.
    pub(crate) fn may_show_later(&self, now: Timestamp) -> bool {
        let is_begun = !self.confirmed && self.undone_at.is_none();
        self.method == BlockMethod::Archive && is_begun && now.duration_since(self.at) < SHOWN_AFTER
    }
}

/// The most times within [`RETURN_WINDOW_SECONDS`] that an image which comes back is blocked again. A program brings it back
/// that often; endless writes and alerts would help nobody.
pub const MAX_RETURNS: usize = 5;

/// The time in which returns are counted.
pub const RETURN_WINDOW_SECONDS: i64 = 3600;

/// The invocation that has undertaken a change of the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Undertaken {
    /// The invocation (Lambda's request id, which a retry of the same event keeps).
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// It blocks the image together with its index.
    #[serde(default, skip_serializing_if = "is_false")]
    pub with_index: bool,
}

/// The last alert about an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertRecord {
    /// Its id, the same however often it is delivered.
    pub id: String,
    /// Its kind.
    pub kind: AlertKind,
    /// When an invocation undertook to act and to send it. Others leave it to that one, for [`LEASE_SECONDS`](crate::notice::LEASE_SECONDS).
    pub claimed_at: Timestamp,
    /// The invocation that undertook it (Lambda's request id, which a retry of the same event keeps).
    pub claimed_by: String,
    /// When the topic accepted it. `None`: still pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// It was not sent: people had been notified of all its findings with another image of the repository.
    #[serde(default, skip_serializing_if = "is_false")]
    pub no_news: bool,
}

/// The scan that a row was decided on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanRecord {
    /// Which scanner.
    pub mode: ScanMode,
    /// When it finished. `None`: the scanner lists nothing, and nothing says that this is its result; it was taken for one when the time
    /// was over that it is waited for.
    pub completed_at: Option<Timestamp>,
    /// The scanner said how the image was used, if only that it was not.
    #[serde(default, skip_serializing_if = "is_false")]
    pub counts_use: bool,
}

/// Where a copy comes from, and what of its source it was decided by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The region.
    pub region: Region,
    /// The verdict of the source, as `decide` sums it up; `None`: the ledger had nothing of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
    /// The source was blocked.
    #[serde(default, skip_serializing_if = "is_false")]
    pub blocked: bool,
    /// It was evaluated by findings of the source, and not by a scan here.
    #[serde(default, skip_serializing_if = "is_false")]
    pub judged: bool,
}

/// Why an image is blocked, or its block deferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// By findings.
    Findings,
    /// Because there is no usable scan.
    NoScan,
    /// For a tag that it must not have, whatever its findings are.
    Tag,
    /// Because the image is that it is a copy of, whatever its findings are.
    Source,
}

/// The row of one image in one region.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Form of this document.
    pub schema: RowSchema,
    /// The image.
    pub image: ImageKey,
    /// Its state.
    pub state: State,
    /// One sentence: why.
    pub reason: String,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// Number of the write that made this row; a write must name the one before (optimistic lock).
    pub generation: u64,
    /// SHA-256 of the policy it was decided under.
    pub policy: String,
    /// The scan it was decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan: Option<ScanRecord>,
    /// All findings by severity.
    #[serde(default)]
    pub counts: SeverityCounts,
    /// Why there is no usable scan, if that is what it was decided on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no_scan: Option<NoScan>,
    /// The words of the scanner for that, at most 300 characters. The alert of an index quotes those of its children.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanner_says: Option<String>,
    /// Why it is blocked, or its block deferred. Rows of earlier versions do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<Cause>,
    /// With a [cause](Self::cause): nothing was known of its findings.
    #[serde(default, skip_serializing_if = "is_false")]
    pub unjudged: bool,
    /// The rules for findings that evaluated those which `counts` has and which are not remembered, because they were below
    /// review ([`Policy::judging`](super::policy::Policy::judging)). `None`: there are none, or it is the row of an earlier
    /// version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judged_by: Option<String>,
    /// The findings at or above review, worst first, at most [`MAX_RECORDED_FINDINGS`].
    #[serde(default)]
    pub findings: Vec<RecordedFinding>,
    /// How many more there are.
    #[serde(default)]
    pub omitted_findings: u64,
    /// The worst of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst_omitted: Option<RecordedFinding>,
    /// Findings that exceptions took out of the decision: they decide again when the exception ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub excepted: Vec<RecordedFinding>,
    /// Those that are left out of the list: one entry for each exception.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub omitted_excepted: Vec<OmittedExcepted>,
    /// The block. Only a block in this record is ever undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block: Option<Block>,
    /// The last alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alert: Option<AlertRecord>,
    /// A person lets it be pulled for a time. It stays after its end until the image is blocked again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<TimedRelease>,
    /// The last event about its scan, until there is a result, and as long as what it counted is not listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan_event: Option<ScanEvent>,
    /// ECR has fetched it, or a parent index of it, through a pull through cache: it comes back with the next pull of the tag,
    /// even after a block here.
    #[serde(default, skip_serializing_if = "is_false")]
    pub pulled_through: bool,
    /// When a scan was asked for; it is not asked for again within 24 hours, which is ECR's own limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan_requested_at: Option<Timestamp>,
    /// The hourly limit of blocks was reached: it is not tried again before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limited_until: Option<Timestamp>,
    /// The registry refused to block this image, to which an index leads: as long as one does, it is not tried again before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_until: Option<Timestamp>,
    /// Its block is deferred although every parent index is blocked, because it is known to run by itself.
    #[serde(default, skip_serializing_if = "is_false")]
    pub runs: bool,
    /// It is held because it was not known whether workloads use it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub uses_unknown: bool,
    /// The invocation that changes it without an alert of its own, until that is done. Others leave it to that one, for
    /// [`LEASE_SECONDS`](crate::notice::LEASE_SECONDS). A change with an alert has the lease of that alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undertaken: Option<Undertaken>,
    /// Its tags at the last reconcile.
    #[serde(default)]
    pub tags: Vec<Tag>,
    /// When it became pullable, as far as known at the last reconcile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub available_since: Option<Timestamp>,
    /// For an index: its children.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Child>,
    /// For an index: the number of further entries, which are not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more_children: u64,
    /// Its parent indexes, as far as known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<Digest>,
    /// It has more parent indexes than [`MAX_INDEXES`]. Those that are not recorded count as one that is not blocked, until a
    /// sweep finds that the whole repository has no more than that.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more_indexes: bool,
    /// A sweep had read all indexes of the repository, and none referenced it. Only then an image without a tag is blocked: it
    /// may be a child of an index that nobody has read yet.
    #[serde(default, skip_serializing_if = "is_false")]
    pub alone: bool,
    /// The last day on which the scanner knew of a workload that ran it. Recorded for children, since their index has no scan
    /// of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_on: Option<Timestamp>,
    /// Earlier versions said by this what [`State::NotAnImage`] says now; it is only read. See [`Row::is_not_an_image`].
    #[serde(default, skip_serializing_if = "is_false")]
    pub referrer: bool,
    /// The registry gives it another type than a container's, and it is an image all the same: its manifest says so, or a scanner
    /// could scan it. That never changes, so that nobody looks into its manifest again.
    #[serde(default, skip_serializing_if = "is_false")]
    pub runnable: bool,
    /// Nobody could reconcile it yet, because calls failed: see [`Row::not_reached`].
    #[serde(default, skip_serializing_if = "is_false")]
    pub not_reached: bool,
    /// Where it was copied from, if it is a copy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The image was deleted; the row is kept for [`CLOSED_ROW_DAYS`], since a push of the same digest would bring it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_at: Option<Timestamp>,
}

/// The only form of a row that exists so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowSchema {
    /// First form.
    #[serde(rename = "ecr-guard/row/v1")]
    V1,
}

/// A row is kept below this, so that it fits into an item of `DynamoDB`, with its keys: 400 KB.
pub const MAX_ROW_BYTES: usize = 360_000;

/// At most this many findings are kept in a row, so that it stays far below DynamoDB's 400 KB for an item.
pub const MAX_RECORDED_FINDINGS: usize = 300;

/// For how many days the row of a deleted image is kept.
pub const CLOSED_ROW_DAYS: i64 = 90;

impl Row {
    /// Whether the end of a quarantine was begun, which gives the image its tags and takes our mark, and nothing says that it is done.
    pub fn is_taking_mark(&self) -> bool {
        let is_begun = |block: &Block| {
            let has_mark = block.method == BlockMethod::QuarantineTag || !block.tags.is_empty();
            has_mark && block.confirmed && block.undone_at.is_none()
        };
        self.state != State::Blocked && self.block.as_ref().is_some_and(is_begun)
    }

    /// Whether the image is in quarantine, and its release restores each of these tags.
    pub fn restores_at_release(&self, tags: &[Tag]) -> bool {
        let has_all = |block: &Block| {
            let has = |tag: &Tag| block.tags.contains(tag);
            block.method == BlockMethod::QuarantineTag && tags.iter().all(has)
        };
        self.state == State::Blocked && self.block.as_ref().is_some_and(has_all)
    }

    /// The first row of an image of which nothing is known.
    pub fn first(image: ImageKey, policy: &Policy, now: Timestamp) -> Self {
        Self {
            schema: RowSchema::V1,
            image,
            state: State::Pending,
            reason: String::new(),
            since: now,
            generation: 1,
            policy: policy.sha256.clone(),
            scan: None,
            counts: SeverityCounts::new(),
            no_scan: None,
            scanner_says: None,
            cause: None,
            unjudged: false,
            judged_by: None,
            findings: Vec::new(),
            omitted_findings: 0,
            worst_omitted: None,
            excepted: Vec::new(),
            omitted_excepted: Vec::new(),
            block: None,
            alert: None,
            release: None,
            scan_event: None,
            pulled_through: false,
            scan_requested_at: None,
            limited_until: None,
            refused_until: None,
            uses_unknown: false,
            undertaken: None,
            tags: Vec::new(),
            available_since: None,
            children: Vec::new(),
            more_children: 0,
            indexes: Vec::new(),
            more_indexes: false,
            alone: false,
            used_on: None,
            runs: false,
            referrer: false,
            runnable: false,
            not_reached: false,
            source: None,
            closed_at: None,
        }
    }

    /// The first row of an image that a sweep could not reconcile, because of `why`. The next reconcile treats the image as a
    /// new one.
    pub fn not_reached(image: ImageKey, policy: &Policy, why: &str, now: Timestamp) -> Self {
        Self {
            reason: format!("It could not be reconciled yet: {why}. Every sweep tries again."),
            not_reached: true,
            ..Self::first(image, policy, now)
        }
    }

    /// The tags that a quarantine has taken from it. They still name it: an exception may be for one of them.
    pub fn taken_tags(&self) -> &[Tag] {
        let block = self.block.as_ref().filter(|_| self.closed_at.is_none());
        block.map_or(&[][..], |block| &block.tags)
    }

    /// The partition key: `<account>#<repository>`.
    pub fn partition_key(image: &ImageKey) -> String {
        format!("{}#{}", image.account, image.repository)
    }

    /// The prefix of the sort keys of images' rows.
    pub const SORT_KEY_PREFIX: &'static str = "image#";

    /// The sort key: `image#<digest>#<region>`.
    pub fn sort_key(image: &ImageKey) -> String {
        format!("{}{}#{}", Self::SORT_KEY_PREFIX, image.digest, image.region)
    }

    /// The prefix of the sort keys of an image's rows in all regions: `image#<digest>#`.
    pub fn regions_prefix(image: &ImageKey) -> String {
        format!("{}{}#", Self::SORT_KEY_PREFIX, image.digest)
    }

    /// Whether its manifest has said that it is no image. A digest stands for one manifest: it holds for the row of a deleted one too.
    pub fn is_not_an_image(&self) -> bool {
        self.state == State::NotAnImage || self.referrer
    }

    /// Whether it is blocked, or its block deferred, for something else than its findings, and nothing was known of those.
    pub fn is_unjudged(&self) -> bool {
        matches!(self.state, State::Blocked | State::BlockDeferred)
            && match self.cause {
                Some(_) => self.unjudged,
                // For a row of an earlier version this is a guess; the next reconcile of the image records it.
                None => {
                    self.no_scan.is_none()
                        && self.findings.is_empty()
                        && self.excepted.is_empty()
                        && self.scan.is_none()
                }
            }
    }

    /// Whether it was only evaluated by a tag of its own so far, and its findings are still to come.
    pub fn waits_behind_its_tag(&self) -> bool {
        self.cause == Some(Cause::Tag) && self.is_unjudged()
    }

    /// The findings that `counts` has and that are not remembered one by one.
    pub fn not_remembered(&self) -> SeverityCounts {
        let mut rest = self.counts.clone();
        for finding in self.findings.iter().chain(&self.excepted) {
            if let Some(count) = rest.get_mut(&finding.severity) {
                *count = count.saturating_sub(finding.stands_for);
            }
        }
        // Only the worst of the findings that were left out is known: the others are as bad or less.
        let excepted = self.omitted_excepted.iter().map(|one| (one.worst.severity, one.number));
        let omitted = self
            .worst_omitted
            .iter()
            .map(|worst| (worst.severity, self.omitted_findings));
        for (worst, mut number) in excepted.chain(omitted) {
            for (_, count) in rest.range_mut(..=worst).rev() {
                let taken = number.min(*count);
                *count -= taken;
                number -= taken;
            }
        }
        rest.retain(|_, count| *count > 0);
        rest
    }

    /// Whether it is of an index, and all its children are known.
    pub fn names_all_entries(&self) -> bool {
        let has_entries = !self.children.is_empty() && self.more_children == 0;
        self.closed_at.is_none() && (self.is_not_an_image() || has_entries)
    }

    /// Leaves out findings until the row fits into an item, however many the scanner lists: without its row an image is never
    /// blocked. Findings that are left out still count, by their number and by the worst of them.
    pub fn fit(&mut self) {
        let is_small = self.findings.len() + self.excepted.len() + self.tags.len() <= 200;
        while !is_small && self.bytes() > MAX_ROW_BYTES {
            if self.excepted.len() > self.findings.len() {
                self.omit_excepted(self.excepted.len() / 2);
            } else if self.findings.len() > 1 {
                self.omit(self.findings.len() / 2);
            } else {
                break;
            }
        }
    }

    fn bytes(&self) -> usize {
        serde_json::to_vec(self).map_or(usize::MAX, |json| json.len())
    }

    /// Keeps this many findings.
    pub fn omit(&mut self, keep: usize) {
        let left_out = self.findings.split_off(keep.min(self.findings.len()));
        self.omitted_findings = self.omitted_findings.saturating_add(left_out.len() as u64);
        // They are sorted, and worse than what was left out before.
        self.worst_omitted = left_out.into_iter().next().or(self.worst_omitted.take());
    }

    /// Keeps this many excepted findings.
    pub fn omit_excepted(&mut self, keep: usize) {
        for finding in self.excepted.split_off(keep.min(self.excepted.len())) {
            let scope = finding.excepted_by.clone().unwrap_or_default();
            let mut known = self.omitted_excepted.iter_mut();
            match known.find(|known| known.scope == scope && known.worst.exception == finding.exception) {
                Some(known) => known.number = known.number.saturating_add(finding.stands_for),
                None => self.omitted_excepted.push(OmittedExcepted {
                    scope,
                    number: finding.stands_for,
                    worst: finding,
                }),
            }
        }
    }

    /// When the row may be forgotten (the table's time to live). Only the row of a deleted image ever is.
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.closed_at?
            .checked_add(SignedDuration::from_hours(24 * CLOSED_ROW_DAYS))
            .ok()
    }
}

/// The numbers that are counted by the hour, for an account and region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// Images that were to be blocked.
    Blocks,
}

impl Counter {
    /// The sort key of the item that counts; its partition key is the account.
    pub fn sort_key(self, region: &Region, hour: Timestamp) -> String {
        let what = match self {
            Self::Blocks => "blocks",
        };
        format!("{what}#{region}#{hour}")
    }
}

/// The sort key of the item that names the image with the alert about the limit of an hour; its partition key is the account.
pub fn limit_key(region: &Region, hour: Timestamp) -> String {
    format!("blocks-refused#{region}#{hour}")
}

/// The most parent indexes that a row remembers: 75 KB of the 400 KB that an item may have. If there are more, the row says so,
/// and the image is not blocked any more.
pub const MAX_INDEXES: usize = 1000;
