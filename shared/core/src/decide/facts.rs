//! All that is known of one image at one moment, and what follows from it at once.

use std::{borrow::Cow, collections::BTreeMap};

use jiff::{SignedDuration, Timestamp};

use super::family::{ChildFacts, Children, LeadingIndex};
use crate::{
    finding::{Epss, Finding, Findings, Scan, ScanEvent, ScanStart, ScanTrigger},
    ids::{ImageKey, Region},
    image::{Arrival, Content, Image, ImageKind},
    ledger::{RecordedFinding, Row, Undertaken},
    notice::{AlertKind, LEASE_SECONDS},
    policy::Policy,
    predecessor::Predecessor,
    repository::access::LambdaAccess,
    told::ToldFindings,
    uses::Uses,
};

/// All that is known of one image at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Which image.
    pub key: ImageKey,
    /// The image, as the registry shows it; `None`: there is none.
    pub image: Option<Image>,
    /// The content of its manifest; `None`: nobody has read it. [`Facts::needs_manifest`] says when it is read.
    pub content: Option<Content>,
    /// The answer of the scanner.
    pub scan: Scan,
    /// Nobody has asked the scanner, and by its row's record the answer would say how the image is used: a pull counts as long as then.
    pub would_count_use: bool,
    /// Its row in the ledger.
    pub row: Option<Row>,
    /// Whether the repository is scanned without anybody asking. Only asked after a push.
    pub trigger: Option<ScanTrigger>,
    /// The result of a request for a scan, if one was made just now.
    pub scan_start: Option<ScanStart>,
    /// The registry's refusal of a block, if it has refused one just now.
    pub block_failure: Option<String>,
    /// The registry's refusal of a release, if it has refused one just now.
    pub release_failure: Option<String>,
    /// The image was read once more, after the row.
    pub looked_again: bool,
    /// It was to be blocked just now, and the hourly limit was reached.
    pub limit: Option<Limit>,
    /// The scan result of the event that caused this reconcile, if one did.
    pub announced: Option<ScanEvent>,
    /// How it came to be pullable, if an event said so.
    pub arrival: Option<Arrival>,
    /// Which image it replaces.
    pub replaced: Replaced,
    /// Whether AWS Lambda may pull it, by its repository's policy; `None`: nobody has looked yet.
    pub lambda: Option<LambdaAccess>,
    /// Which workloads use it, or what is pulled with it; `None`: nobody has looked yet.
    pub uses: Option<Uses>,
    /// For an index: its children.
    pub children: Children,
    /// For an index: the number of further entries, which are not known.
    pub more_children: u64,
    /// When its children were last pulled, one time for each that was; `None`: nobody has asked yet.
    pub children_pulled: Option<Vec<Timestamp>>,
    /// Its parent indexes.
    pub indexes: Vec<LeadingIndex>,
    /// A sweep has read all indexes of the repository before this reconcile: those without a record of the image do not
    /// reference it.
    pub indexes_read: bool,
    /// Whether all indexes of the repository are known at this moment, with all their children; `None`: nobody has checked.
    pub indexes_known: Option<bool>,
    /// The image that it is a copy of; `None`: as far as known, it is none.
    pub source: Option<SourceImage>,
    /// No event led here: a sweep found it.
    pub found: bool,
    /// The findings that the people of its repository were notified of; `None`: nobody has asked yet.
    pub told: Option<ToldFindings>,
    /// The exploit probabilities that events gave for its vulnerabilities. The registry's answers do not have them.
    pub epss: Vec<Epss>,
    /// The invocation that asks.
    pub actor: String,
}

impl Facts {
    /// Nothing is known yet.
    pub fn about(key: ImageKey, actor: &str) -> Self {
        Self {
            key,
            image: None,
            content: None,
            scan: Scan::Absent,
            would_count_use: false,
            row: None,
            trigger: None,
            scan_start: None,
            block_failure: None,
            release_failure: None,
            looked_again: false,
            limit: None,
            announced: None,
            arrival: None,
            replaced: Replaced::NotAsked,
            lambda: None,
            uses: None,
            children: Children::NotAsked,
            more_children: 0,
            children_pulled: None,
            indexes: Vec::new(),
            indexes_read: false,
            indexes_known: None,
            source: None,
            found: false,
            told: None,
            epss: Vec::new(),
            actor: actor.to_owned(),
        }
    }

    /// The image, its parent indexes and its children. Somebody who pulls a multi-platform image pulls an index and one of its
    /// children; the workload decides which of them it names.
    pub fn pulled_together(&self) -> Vec<ImageKey> {
        let indexes = self.indexes.iter().map(|index| &index.digest);
        let children = self.children().iter().map(|child| &child.child.digest);
        let others = indexes.chain(children).filter(|digest| **digest != self.key.digest);
        let others = others.map(|digest| ImageKey {
            digest: digest.clone(),
            ..self.key.clone()
        });
        std::iter::once(self.key.clone()).chain(others).collect()
    }

    /// Whether its manifest must be read to know its kind. That is done once: the row remembers the answer. Each read counts as
    /// a pull for everybody who does not have an exclusion from the record of pull times, as the roles of `guard` have.
    pub fn needs_manifest(&self, policy: &Policy) -> bool {
        let is_known = self
            .row
            .as_ref()
            .is_some_and(|row| row.is_not_an_image() || row.runnable);
        let is_new = self.row.as_ref().is_none_or(|row| row.closed_at.is_some());
        !is_known
            && !matches!(self.scan, Scan::Complete(_))
            && self.image.as_ref().is_some_and(|image| match image.kind() {
                ImageKind::Index => false,
                ImageKind::Artifact => !is_judged_as_image(policy, image),
                // With a container's configuration it is an image, unless it is an attestation: those have no tag of their own.
                ImageKind::Image => is_new && !image.has_ordinary_tag(),
            })
    }

    /// Whether the scanner counts the workloads that run the image, now; for an index, those of all its children. Where it is
    /// not known to count them, a pull is the only evidence of use.
    pub fn counts_use(&self) -> bool {
        let counts = |row: &Row| row.scan.as_ref().is_some_and(|scan| scan.counts_use);
        let mut images = self
            .children()
            .iter()
            .filter(|child| !child.is_not_an_image())
            .peekable();
        if images.peek().is_some() {
            return images.all(|child| child.row.as_ref().is_some_and(counts));
        }
        self.would_count_use || matches!(&self.scan, Scan::Complete(scan) if scan.counts_use())
    }

    /// Whether it is something else than an image: its manifest says so, or for an index, those of all its entries.
    pub(super) fn is_not_an_image(&self, policy: &Policy, image: &Image) -> bool {
        let known = self.row.as_ref().is_some_and(Row::is_not_an_image);
        if image.kind() == ImageKind::Index {
            return match &self.children {
                // One of its entries may have turned out to be an image: a scanner could scan it, or the policy has it
                // evaluated.
                Children::NotAsked => known && self.row.as_ref().is_some_and(|row| row.children.is_empty()),
                Children::Known(children) => {
                    self.more_children == 0 && children.iter().all(ChildFacts::is_not_an_image)
                }
                Children::Unknown => false,
            };
        }
        let says = known || matches!(self.content, Some(Content::Artifact(_)));
        // An entry that a scanner could scan is an image, whatever type it has.
        says && !self.is_runnable(image)
            && !matches!(self.scan, Scan::Complete(_))
            && !is_judged_as_image(policy, image)
    }

    /// Whether it is known to be an image, though the registry gives it another type.
    pub(super) fn is_runnable(&self, image: &Image) -> bool {
        let scanned = image.kind() == ImageKind::Artifact && matches!(self.scan, Scan::Complete(_));
        scanned || self.content == Some(Content::Image) || self.row.as_ref().is_some_and(|row| row.runnable)
    }

    /// The findings of a scan with what is known of their EPSS: from the event that led here, otherwise what the ledger remembers
    /// of an earlier one.
    pub(super) fn with_epss<'a>(&self, scan: &'a Findings) -> Cow<'a, Findings> {
        let known = self.known_epss();
        let score = |finding: &Finding| known.get(finding.id.as_str()).copied();
        let mut scan = Cow::Borrowed(scan);
        if scan.findings.iter().any(|finding| score(finding).is_some()) {
            for finding in &mut scan.to_mut().findings {
                finding.epss = score(finding).or(finding.epss);
            }
        }
        scan
    }

    /// The same for the findings that a row remembers.
    pub(super) fn row_with_epss<'a>(&self, row: &'a Row) -> Cow<'a, Row> {
        let mut row = Cow::Borrowed(row);
        for epss in &self.epss {
            let Row { findings, excepted, .. } = row.to_mut();
            let same = |finding: &&mut RecordedFinding| finding.id == epss.vulnerability;
            for finding in findings.iter_mut().chain(excepted).filter(same) {
                finding.epss = Some(epss.score);
            }
        }
        row
    }

    pub(super) fn known_epss(&self) -> BTreeMap<&str, f64> {
        let remembered = self.row.iter().flat_map(|row| row.findings.iter().chain(&row.excepted));
        let remembered = remembered.filter_map(|finding| Some((finding.id.as_str(), finding.epss?)));
        let said = self.epss.iter().map(|epss| (epss.vulnerability.as_str(), epss.score));
        // The later one of two with the same id stays.
        remembered.chain(said).collect()
    }
}

/// Which image another one replaces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replaced {
    /// Nobody has looked yet.
    NotAsked,
    /// None that runs.
    Nothing,
    /// This one.
    Image(Predecessor),
}

/// The limit of blocks in an hour is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// When the hour is over.
    pub until: Timestamp,
    /// This image is the first of the hour whose block is deferred by the limit: one alert is sent.
    pub first: bool,
}

/// Whether the policy has it evaluated as an image, whatever it is.
pub(super) fn is_judged_as_image(policy: &Policy, image: &Image) -> bool {
    policy.judges_artifacts() && image.kind() == ImageKind::Artifact && !image.belongs_to_another()
}

/// Whether another invocation has undertaken a change or an alert of this row, and may still be at it.
pub fn leased(row: &Row, actor: &str, now: Timestamp) -> bool {
    let pending = row.alert.as_ref().filter(|alert| alert.sent_at.is_none());
    let tells = pending.is_some_and(|alert| is_at_it(&alert.claimed_by, alert.claimed_at, actor, now));
    tells || changing(row, actor, now).is_some()
}

/// Whether another invocation is blocking the image together with its index.
pub(super) fn is_followed_by_another(row: &Row, actor: &str, now: Timestamp) -> bool {
    changing(row, actor, now).is_some_and(|undertaken| undertaken.with_index)
}

/// The change without an alert that another invocation has undertaken.
fn changing<'r>(row: &'r Row, actor: &str, now: Timestamp) -> Option<&'r Undertaken> {
    let undertaken = row.undertaken.as_ref();
    undertaken.filter(|undertaken| is_at_it(&undertaken.by, undertaken.at, actor, now))
}

fn is_at_it(by: &str, since: Timestamp, actor: &str, now: Timestamp) -> bool {
    by != actor && now.duration_since(since) < SignedDuration::from_secs(LEASE_SECONDS)
}

/// The image in another region that this one is a copy of.
#[derive(Debug, Clone, PartialEq)]
pub struct SourceImage {
    /// The region.
    pub region: Region,
    /// Its row in the ledger.
    pub row: Option<Row>,
}

/// An image that is there, with what is known of it, under a policy, at a moment: what every rule is handed.
#[derive(Clone, Copy)]
pub(super) struct ImageCase<'a> {
    pub(super) policy: &'a Policy,
    pub(super) facts: &'a Facts,
    pub(super) image: &'a Image,
    pub(super) now: Timestamp,
}

/// Until when the ledger says that the hourly limit keeps an image from being blocked.
pub(super) fn remembered_limit(facts: &Facts, now: Timestamp) -> Option<Timestamp> {
    facts.row.as_ref()?.limited_until.filter(|until| now < *until)
}

/// Until when the block of a child is not tried again, because the registry refused it.
pub(super) fn remembered_refusal(facts: &Facts, now: Timestamp) -> Option<Timestamp> {
    facts.row.as_ref()?.refused_until.filter(|until| now < *until)
}

/// Whether this image's row carries the alert about the limit: that of the hour's first image, or one whose alert could not be
/// sent yet.
pub(super) fn limit_is_to_be_told(facts: &Facts) -> bool {
    let owed = facts.row.as_ref().and_then(|row| row.alert.as_ref());
    let owed = owed.is_some_and(|alert| alert.kind == AlertKind::BlockLimit && alert.sent_at.is_none());
    owed || facts.limit.is_some_and(|limit| limit.first)
}

impl ImageCase<'_> {
    pub(super) fn is_index(&self) -> bool {
        self.image.kind() == ImageKind::Index
    }
}
