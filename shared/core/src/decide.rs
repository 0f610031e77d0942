//! From facts to a plan: what state an image is in, what is done about it, and who is told.
//!
//! `decide` is a function: the same facts, policy and time give the same plan, and carrying a plan out makes the next plan empty.

mod due;
mod index;
mod source;
mod step;
mod visible;
mod words;

use std::{borrow::Cow, collections::BTreeMap};

use jiff::{SignedDuration, Timestamp};

use crate::{
    evaluate::{Evaluation, Verdict, evaluate, evaluate_remembered},
    finding::{Epss, Finding, Findings, NoScan, Scan, ScanEvent, ScanStart, ScanTrigger},
    ids::{ImageKey, Region, Tag},
    image::{Arrival, Content, Image, ImageKind, ImageStatus},
    ledger::{Block, Cause, MAX_RETURNS, RETURN_WINDOW_SECONDS, RecordedFinding, Row, ScanRecord},
    marker::{is_mark, quarantine_tag},
    notice::{AlertKind, LEASE_SECONDS},
    policy::{Action, BlockMethod, BlockRules, NoScanAction, Policy, WhenInUse, WhenLambdaMayPull},
    predecessor::Predecessor,
    repository::access::LambdaAccess,
    state::State,
    told::ToldFindings,
};
pub use due::{Due, LONG_TURN_HOURS, Survey, TURN_HOURS, Turns};
pub use index::{ChildFacts, Children, INDEX_FOLLOWS, LeadingIndex, MAX_LOOKED_AT, to_look_at};
pub use source::{SourceImage, may_be_copied_from, may_be_source, verdict};
use step::Draft;
pub use step::{Effect, Step};
pub use visible::RESULT_AWAITED;

/// All that is known of one image at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Which image.
    pub key: ImageKey,
    /// The image, as the registry shows it; `None`: there is none.
    pub image: Option<Image>,
    /// What its manifest is; `None`: nobody has looked. That is done where [`Facts::needs_manifest`] says so.
    pub content: Option<Content>,
    /// What the scanner says.
    pub scan: Scan,
    /// What the ledger remembers.
    pub row: Option<Row>,
    /// Whether the repository is scanned without anybody asking. Only asked after a push.
    pub trigger: Option<ScanTrigger>,
    /// What came of asking for a scan, if that was done just now.
    pub scan_start: Option<ScanStart>,
    /// What the registry said when it was to be blocked just now, and refused.
    pub block_failure: Option<String>,
    /// What the registry said when a block was to be undone just now, and refused.
    pub release_failure: Option<String>,
    /// The image was read once more, after the row.
    pub looked_again: bool,
    /// It was to be blocked just now, and the hourly limit was reached.
    pub limit: Option<Limit>,
    /// What an event said of a scan's result, if one led here.
    pub announced: Option<ScanEvent>,
    /// How it came to be pullable, if an event said so.
    pub arrival: Option<Arrival>,
    /// Which image it replaces.
    pub replaced: Replaced,
    /// Whether AWS Lambda may pull it, by its repository's policy; `None`: nobody has looked yet.
    pub lambda: Option<LambdaAccess>,
    /// Of an index: the images that it leads to.
    pub children: Children,
    /// Of an index: how many more entries it has, of which nothing is known.
    pub more_children: u64,
    /// When the images that it leads to were last pulled, one for each that was; `None`: nobody has looked yet.
    pub children_pulled: Option<Vec<Timestamp>>,
    /// The indexes that lead to it.
    pub indexes: Vec<LeadingIndex>,
    /// Before this look, a sweep has read all indexes of the repository: those that it knows nothing of do not lead to it.
    pub indexes_read: bool,
    /// Whether all indexes of the repository are known at this moment, with all that they lead to; `None`: nobody has looked.
    pub indexes_known: Option<bool>,
    /// The image that it is a copy of; `None`: as far as known, it is none.
    pub source: Option<SourceImage>,
    /// No event led here: a sweep found it.
    pub found: bool,
    /// Which findings the people of its repository were told of; `None`: nobody has looked yet.
    pub told: Option<ToldFindings>,
    /// What events said of how likely its vulnerabilities are exploited. The registry's answers do not have that.
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

    /// Whether its manifest must be looked into to know what it is. That is done once: the row remembers the answer. Each look counts as
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

    /// Whether the scanner counts the workloads that run the image, now; for an index, those of all images that it leads to. Where it is not
    /// known to, a pull is the only evidence of use.
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
        matches!(&self.scan, Scan::Complete(scan) if scan.counts_use())
    }

    /// Whether it is something else than an image: its manifest says so, or for an index, those of all its entries.
    fn is_not_an_image(&self, policy: &Policy, image: &Image) -> bool {
        let known = self.row.as_ref().is_some_and(Row::is_not_an_image);
        if image.kind() == ImageKind::Index {
            return match &self.children {
                // One of its entries may have turned out to be an image: a scanner could scan it, or the policy asks to judge it.
                Children::NotAsked => known && self.row.as_ref().is_some_and(|row| row.children.is_empty()),
                Children::Known(children) => {
                    self.more_children == 0 && children.iter().all(ChildFacts::is_not_an_image)
                }
                Children::Unknown => false,
            };
        }
        let says = known || matches!(self.content, Some(Content::Artifact(_)));
        // What a scanner could scan is an image, whatever it calls itself.
        says && !self.is_runnable(image)
            && !matches!(self.scan, Scan::Complete(_))
            && !is_judged_as_image(policy, image)
    }

    /// Whether it is known to be an image, though the registry gives it another type.
    fn is_runnable(&self, image: &Image) -> bool {
        let scanned = image.kind() == ImageKind::Artifact && matches!(self.scan, Scan::Complete(_));
        scanned || self.content == Some(Content::Image) || self.row.as_ref().is_some_and(|row| row.runnable)
    }

    /// The findings of a scan with what is known of their EPSS: from the event that led here, otherwise what the ledger remembers
    /// of an earlier one.
    fn with_epss<'a>(&self, scan: &'a Findings) -> Cow<'a, Findings> {
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
    fn row_with_epss<'a>(&self, row: &'a Row) -> Cow<'a, Row> {
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

    fn known_epss(&self) -> BTreeMap<&str, f64> {
        let remembered = self.row.iter().flat_map(|row| row.findings.iter().chain(&row.excepted));
        let remembered = remembered.filter_map(|finding| Some((finding.id.as_str(), finding.epss?)));
        let said = self.epss.iter().map(|epss| (epss.vulnerability.as_str(), epss.score));
        // Of two of the same id, the later one stays.
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
    /// This is the first image of the hour that is held for it: people are told once.
    pub first: bool,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Plan {
    /// Nothing.
    Leave(Leave),
    /// Something must be asked first; then decide again.
    Ask(Question),
    /// Carry out a step.
    Apply(Box<Step>),
}

/// What must be asked before anything can be decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// The scanner, for a scan. The answer goes to [`Facts::scan_start`].
    Scan,
    /// The registry, for the image once more. The answer goes to [`Facts::image`], and [`Facts::looked_again`] is set.
    Again,
    /// The registry, which image this one replaces. The answer goes to [`Facts::replaced`].
    Replaced,
    /// The registry and the ledger, which images this index leads to. The answer goes to [`Facts::children`].
    Children,
    /// The registry, whether AWS Lambda may pull. The answer goes to [`Facts::lambda`].
    Lambda,
    /// The registry, when those images were last pulled. The answer goes to [`Facts::children_pulled`].
    ChildrenPulled,
    /// The registry and the ledger, whether all indexes of the repository are known. The answer goes to [`Facts::indexes_known`]; indexes
    /// that lead to the image, and that it does not know of, go to [`Facts::indexes`].
    Indexes,
    /// The ledger, which findings people were told of. The answer goes to [`Facts::told`].
    Told,
}

/// Why nothing is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// There is no such image, and nothing is remembered of it.
    NoSuchImage,
    /// It is no image: an attestation, a chart, a cache, or an index that leads to nothing else.
    NotAnImage,
    /// Somebody else archived it before it was ever judged.
    ArchivedByOthers,
    /// Everything is as it should be.
    Unchanged,
    /// Another invocation is carrying out this very plan.
    InProgress,
    /// Another invocation is carrying out another plan: to be tried again when it is done.
    Busy,
    /// An event said that there is a scan result, and the scanner does not show it yet: to be tried again.
    ResultNotVisible,
}

/// ECR scans an image at most once in 24 hours (user guide, "Scan images for OS vulnerabilities").
const SCAN_REQUEST_INTERVAL: SignedDuration = SignedDuration::from_hours(24);

/// Why an image that should be blocked is not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Hold {
    /// It is in use; the evidence.
    InUse(String),
    /// It is no worse than the image that it replaces.
    NotWorse(Predecessor),
    /// The policy only reports; in what words.
    ReportMode(&'static str),
    /// The registry refused; what it said.
    Refused(String),
    /// The limit of blocks in an hour is reached; until when.
    Limit(Timestamp),
    /// An index that leads to it is not blocked.
    Index,
    /// It may be one of an index that nobody has looked at yet.
    IndexesNotRead,
    /// The indexes that are known to lead to it are blocked, and it may be one of an index that nobody has looked at yet.
    MoreIndexesNotRead,
    /// Its source is not blocked; the region.
    Source(Region),
    /// The registry does not archive it, and every index that leads to it is blocked.
    OnlyIndex,
    /// It came back more often than it is blocked again in an hour; until when.
    Returns(Timestamp),
}

impl Hold {
    fn reason(&self) -> String {
        match self {
            Self::InUse(evidence) => evidence.clone(),
            Self::NotWorse(predecessor) => words::not_worse(predecessor),
            Self::ReportMode(why) => words::report_mode(why),
            Self::Refused(answer) => answer.clone(),
            Self::Limit(until) => words::limit_reached(*until),
            Self::Index => words::INDEX_NOT_BLOCKED.to_owned(),
            Self::IndexesNotRead => words::INDEXES_NOT_READ.to_owned(),
            Self::MoreIndexesNotRead => words::MORE_INDEXES_NOT_READ.to_owned(),
            Self::Source(region) => words::source_not_blocked(region),
            Self::OnlyIndex => words::ONLY_INDEX_BLOCKED.to_owned(),
            Self::Returns(until) => words::returns(*until),
        }
    }
}

/// What the verdict rests on.
enum Basis {
    /// On findings: those of the scanner, or those that the ledger remembers.
    Findings(Evaluation, Option<ScanRecord>),
    /// There is no usable scan.
    NoScan(NoScan),
    /// On nothing yet: the scan will come.
    Waiting,
}

/// Decides.
pub fn decide(policy: &Policy, facts: &Facts, now: Timestamp) -> Plan {
    let prior = facts.row.as_ref();
    let Some(image) = facts
        .image
        .as_ref()
        .filter(|_| facts.scan_start != Some(ScanStart::ImageGone))
    else {
        return match prior {
            Some(row) if row.closed_at.is_none() => Plan::Apply(Box::new(Step::close(row, now))),
            _ => Plan::Leave(Leave::NoSuchImage),
        };
    };
    if facts.may_have_fewer_indexes() {
        return Plan::Ask(Question::Indexes);
    }
    let facts = &*facts.with_visible_scan(policy, image, now);
    let prior = facts.row.as_ref();
    if facts.is_not_an_image(policy, image) {
        return not_an_image(policy, facts, image, now);
    }
    if image.kind() == ImageKind::Index && facts.children == Children::NotAsked {
        return Plan::Ask(Question::Children);
    }

    let is_index = image.kind() == ImageKind::Index;
    let (basis, of) = if is_index {
        basis_of_index(policy, facts, image, now)
    } else {
        (basis(policy, facts, image, now), Vec::new())
    };
    if is_index && prior.is_none() && image.status == ImageStatus::Archived {
        return Plan::Leave(Leave::ArchivedByOthers);
    }
    if scan_should_be_requested(policy, facts, image, &basis, now) {
        return Plan::Ask(Question::Scan);
    }
    let by_tag = tag_that_blocks(policy, facts, image);
    let cause = if by_tag.is_some() { Cause::Tag } else { Cause::Source };
    let by_source = || facts.blocked_source().map(words::source_blocked);
    if let Some(reason) = by_tag.or_else(by_source).filter(|_| !blocks(&basis)) {
        let draft = Draft::new(facts, image, policy, now).because(cause);
        let draft = match &basis {
            Basis::Findings(evaluation, scan) => draft.judged(evaluation, scan.clone()),
            Basis::NoScan(why) => draft.without_scan(why),
            Basis::Waiting => draft,
        };
        let draft = blocked(policy, facts, image, draft, reason, None, now);
        return draft.map_or_else(Plan::Ask, Draft::plan);
    }
    let was_blocked = prior.is_some_and(|row| row.block.is_some());
    if facts.scan == Scan::NotVisible && facts.announced.is_some() && !is_index {
        // A verdict from before stands until then.
        return not_visible(policy, facts, image, now);
    }
    let draft = match basis {
        // The registry's word for it: what the scanner says of an archived image, whether that it is archived or that there is no scan, is
        // not documented.
        Basis::Waiting if is_archived(facts, image) && !is_index && !was_blocked => {
            return Plan::Leave(Leave::ArchivedByOthers);
        }
        Basis::Waiting if facts.announced.is_some() && !is_index && !matches!(facts.scan, Scan::Refused(_)) => {
            return not_visible(policy, facts, image, now);
        }
        Basis::Waiting => Ok(released(policy, facts, image, waiting(policy, facts, image, &of, now))),
        Basis::NoScan(why) => match policy.without_scan(&why) {
            NoScanAction::Block => {
                let draft = Draft::new(facts, image, policy, now).without_scan(&why);
                let draft = draft.because(Cause::NoScan);
                let reason = words::on(&of, words::no_scan(&why));
                blocked(policy, facts, image, draft, reason, None, now)
            }
            action => {
                let state = if why == NoScan::EligibilityExpired {
                    State::Stale
                } else {
                    State::Unscannable
                };
                // Inspector lets go of every image that nobody uses: that is the normal end, and asks nobody to do anything.
                let asks = why != NoScan::EligibilityExpired || is_known_to_be_used(policy, facts, image, now);
                let alert = (action == NoScanAction::Review && asks).then_some(AlertKind::ScanFailed);
                let draft = Draft::new(facts, image, policy, now).without_scan(&why);
                Ok(released(
                    policy,
                    facts,
                    image,
                    draft.state(state, words::on(&of, words::no_scan(&why))).alert(alert),
                ))
            }
        },
        Basis::Findings(evaluation, scan) => {
            let is_unconfirmed = scan.as_ref().is_some_and(|scan| scan.completed_at.is_none());
            let draft = Draft::new(facts, image, policy, now).judged(&evaluation, scan);
            match evaluation.verdict {
                Verdict::Pass => {
                    let mut reason = words::allowed(&evaluation);
                    if is_unconfirmed {
                        reason = format!("{reason} {}", words::NOT_CONFIRMED);
                    }
                    Ok(released(policy, facts, image, draft.state(State::Allowed, reason)))
                }
                Verdict::Review => {
                    let draft = draft.state(State::Review, words::on(&of, words::review(&evaluation)));
                    Ok(released(
                        policy,
                        facts,
                        image,
                        draft.alert(Some(AlertKind::ImageReview)),
                    ))
                }
                Verdict::Block => {
                    let reason = words::on(&of, words::block(&evaluation));
                    let draft = draft.because(Cause::Findings);
                    blocked(policy, facts, image, draft, reason, Some(&evaluation), now)
                }
            }
        }
    };
    draft.map_or_else(Plan::Ask, Draft::plan)
}

/// It is no image: that is remembered, nobody is told, and what was done to it before that was known is undone.
fn not_an_image(policy: &Policy, facts: &Facts, image: &Image, now: Timestamp) -> Plan {
    let known = facts.row.as_ref().filter(|row| row.closed_at.is_none());
    // Once a scanner can scan it, it follows the indexes that lead to it: they are remembered.
    let is_linked = |row: &Row| step::indexes(facts) == (row.indexes.clone(), row.more_indexes);
    if known.is_some_and(|row| row.is_not_an_image() && row.block.is_none() && is_linked(row)) {
        return Plan::Leave(Leave::NotAnImage);
    }
    let draft = Draft::new(facts, image, policy, now);
    let draft = draft.state(State::NotAnImage, words::not_an_image(facts.content.as_ref()));
    released(policy, facts, image, draft).plan()
}

/// Whether the policy asks to judge it as an image, whatever it is.
fn is_judged_as_image(policy: &Policy, image: &Image) -> bool {
    policy.judges_artifacts() && image.kind() == ImageKind::Artifact && !image.belongs_to_another()
}

fn blocks(basis: &Basis) -> bool {
    matches!(basis, Basis::Findings(evaluation, _) if evaluation.verdict == Verdict::Block)
}

fn is_archived(facts: &Facts, image: &Image) -> bool {
    facts.scan == Scan::Archived || image.status == ImageStatus::Archived
}

/// An event announced a result that does not show: what it said is remembered, and it is tried again.
fn not_visible(policy: &Policy, facts: &Facts, image: &Image, now: Timestamp) -> Plan {
    let row = facts.row.as_ref();
    let known = row.and_then(|row| row.scan_event.as_ref());
    // Of a deleted image nothing is kept; and whoever is at work on the row must not find it changed.
    let closed = row.is_some_and(|row| row.closed_at.is_some() || leased(row, &facts.actor, now));
    match facts.scan_event().filter(|event| known != Some(event) && !closed) {
        Some(event) => Plan::Apply(Box::new(Step::awaiting(facts, image, policy, event.clone(), now))),
        None => Plan::Leave(Leave::ResultNotVisible),
    }
}

/// Why a tag of the image keeps it from being deployed. A tag that a quarantine has taken from it counts: it would come back.
fn tag_that_blocks(policy: &Policy, facts: &Facts, image: &Image) -> Option<String> {
    let rules = policy.repository(&facts.key.repository)?.tags.as_ref()?;
    let taken = facts
        .row
        .iter()
        .filter_map(|row| row.block.as_ref())
        .flat_map(|block| &block.tags);
    let (tag, violation) = rules.blocking(image.tags.iter().chain(taken), &image.digest)?;
    Some(words::tag(tag, &violation))
}

/// What an index is judged by: its images; and by what was known before, as long as one of them is not known again yet.
fn basis_of_index(policy: &Policy, facts: &Facts, image: &Image, now: Timestamp) -> (Basis, Vec<String>) {
    let sum = index::sum(policy, facts, image, now);
    let known = facts
        .row
        .as_ref()
        .filter(|row| row.closed_at.is_none() && row.state != State::Pending && row.no_scan.is_none())
        .filter(|row| !row.is_not_an_image())
        // Of what was blocked for a tag, or because its source was, before its images were judged, nothing is known by that.
        .filter(|row| !row.is_unjudged());
    let Some(row) = known.filter(|_| sum.incomplete) else {
        return (sum.basis, sum.of);
    };
    let names = facts
        .children()
        .iter()
        .fold(facts.names(image), |names, child| child.names(names));
    let remembered = evaluate_remembered(policy, row, &names, now);
    let waits = matches!(sum.basis, Basis::Waiting) || facts.children().is_empty();
    // As with an image: what is not known any more does not make a blocked index better, and a verdict stands until the next one.
    if waits || remembered.verdict == Verdict::Block && !blocks(&sum.basis) {
        return (Basis::Findings(remembered, None), Vec::new());
    }
    (sum.basis, sum.of)
}

fn basis(policy: &Policy, facts: &Facts, image: &Image, now: Timestamp) -> Basis {
    let names = facts.names(image);
    // A blocked or reviewed image that was deleted and pushed again is what it was; of any other, nothing is remembered.
    let prior = facts
        .row
        .as_ref()
        .filter(|row| row.closed_at.is_none() || matches!(row.state, State::Blocked | State::Held | State::Review))
        // What was no image was not judged.
        .filter(|row| !row.is_not_an_image());
    let remembered = |row: &Row| match &row.no_scan {
        Some(why) => Basis::NoScan(why.clone()),
        None => {
            let row = facts.row_with_epss(row);
            Basis::Findings(evaluate_remembered(policy, &row, &names, now), row.scan.clone())
        }
    };
    if let Some(source) = facts.judging_source(image) {
        return remembered(source);
    }
    match (&facts.scan, &facts.scan_start, prior) {
        // An empty answer that does not even say when it was complete does not free what is known to be bad.
        (Scan::Complete(findings), _, Some(row))
            if findings.completed_at.is_none() && findings.shows_none() && is_known_bad(row) =>
        {
            remembered(row)
        }
        (Scan::Complete(findings), _, _) => {
            let scan = ScanRecord {
                mode: findings.mode,
                completed_at: findings.completed_at,
                counts_use: findings.counts_use(),
            };
            let findings = facts.with_epss(findings);
            Basis::Findings(evaluate(policy, &names, &findings, now), Some(scan))
        }
        // What is not known any more does not make a blocked image better; but without what blocked it, it is just unknown.
        (Scan::Unavailable(why), _, Some(row)) if matches!(row.state, State::Blocked | State::Held) => {
            match remembered(row) {
                Basis::Findings(evaluation, scan) if evaluation.verdict == Verdict::Block => {
                    Basis::Findings(evaluation, scan)
                }
                Basis::Findings(..) | Basis::NoScan(_) | Basis::Waiting => Basis::NoScan(why.clone()),
            }
        }
        (Scan::Unavailable(why), _, _) => Basis::NoScan(why.clone()),
        (
            Scan::Absent | Scan::InProgress | Scan::NotVisible | Scan::Refused(_) | Scan::Archived,
            Some(ScanStart::Unsupported),
            _,
        ) => Basis::NoScan(NoScan::Unsupported),
        (
            Scan::Absent | Scan::InProgress | Scan::NotVisible | Scan::Refused(_) | Scan::Archived,
            Some(ScanStart::NotOffered(_)),
            _,
        ) => Basis::NoScan(NoScan::NotCovered),
        // A verdict stands until the next result is there.
        (Scan::Absent | Scan::InProgress | Scan::NotVisible | Scan::Refused(_) | Scan::Archived, _, Some(row))
            if row.state != State::Pending && !row.is_unjudged() =>
        {
            remembered(row)
        }
        (Scan::Absent | Scan::InProgress | Scan::NotVisible | Scan::Refused(_) | Scan::Archived, _, _) => {
            Basis::Waiting
        }
    }
}

/// Whether an image is blocked or held for findings.
fn is_known_bad(row: &Row) -> bool {
    matches!(row.state, State::Blocked | State::Held)
        && row.findings.iter().any(|finding| finding.action == Action::Block)
}

fn scan_should_be_requested(policy: &Policy, facts: &Facts, image: &Image, basis: &Basis, now: Timestamp) -> bool {
    let requested = facts.row.as_ref().and_then(|row| row.scan_requested_at);
    let about_to_be_blocked = matches!(
        basis,
        Basis::Findings(
            Evaluation {
                verdict: Verdict::Block,
                ..
            },
            _
        )
    );
    policy.enforces(&facts.key.repository)
        && image.kind() != ImageKind::Index
        && facts.trigger == Some(ScanTrigger::Manual)
        && facts.scan == Scan::Absent
        && facts.scan_start.is_none()
        && facts.judging_source(image).is_none()
        && image.status == ImageStatus::Active
        && requested.is_none_or(|at| now.duration_since(at) >= SCAN_REQUEST_INTERVAL)
        && !about_to_be_blocked
}

/// No result yet: within the grace that is normal, after it somebody must know.
fn waiting<'a>(policy: &'a Policy, facts: &'a Facts, image: &'a Image, of: &[String], now: Timestamp) -> Draft<'a> {
    let draft = Draft::new(facts, image, policy, now);
    let since = image.available_since().unwrap_or(now);
    // The wait for what does not show yet ends by itself; and that findings may not be read is told once for the region.
    let by_itself = match &facts.scan {
        Scan::NotVisible => Some(words::NOT_VISIBLE.to_owned()),
        Scan::Refused(why) => Some(words::refused(why)),
        Scan::Absent | Scan::InProgress | Scan::Archived | Scan::Unavailable(_) | Scan::Complete(_) => None,
    };
    let overdue = by_itself.is_none() && now.duration_since(since) > policy.scan.grace;
    // An index waits for other images now than it did before.
    let is_of_now = |row: &&Row| of.is_empty() && words::is_of_waiting(&row.reason);
    let prior = facts.row.as_ref().filter(is_of_now);
    let reason = by_itself.unwrap_or_else(|| words::pending(facts.scan_start.as_ref(), prior, overdue));
    draft
        .state(State::Pending, words::on(of, reason))
        .alert(overdue.then_some(AlertKind::ScanOverdue))
}

/// The image must not be deployed: block it, unless something speaks against it.
fn blocked<'a>(
    policy: &Policy,
    facts: &Facts,
    image: &Image,
    draft: Draft<'a>,
    reason: String,
    evaluation: Option<&Evaluation>,
    now: Timestamp,
) -> Result<Draft<'a>, Question> {
    let led_to = facts.is_led_to();
    let follows = facts.blocked_source().is_some();
    let wanted = wanted_method(policy, facts);
    let known = draft.prior_block();
    // A flag has kept nobody from pulling: where the policy asks for more by now, it is decided as if nothing had been done.
    let prior = known.filter(|block| block.method != BlockMethod::Flag || wanted == BlockMethod::Flag);
    // What a pull through cache has brought back would come back again: from now on it is flagged.
    let comes_back = facts.is_pulled_through() && wanted == BlockMethod::Flag && image.status == ImageStatus::Active;
    let prior = prior.filter(|block| !comes_back || block.method != BlockMethod::Archive);
    // What its own method has not brought about yet, or what somebody has undone.
    let undone = prior.is_some_and(|block| effect_of_block(block.method, image, prior, led_to).is_some());
    // What we had undone ourselves has not come back.
    let came_back = undone && prior.is_some_and(|block| block.confirmed && block.undone_at.is_none());
    if came_back && !facts.looked_again && !has_arrived_since(image, prior) {
        // Image and row are read at the same time, and ECR may show late what was done: the row may know of a block that the answer is
        // too old for.
        return Err(Question::Again);
    }
    // A block that was begun and never took effect has kept nobody from pulling; nor does one that we have undone. Then everything
    // that speaks against blocking is asked again.
    let stands = prior.is_some_and(|block| !undone || block.confirmed && block.undone_at.is_none());
    // What was done stays, though the policy asks for less by now. What must be done anew is done as the policy says now: for an earlier
    // method the role may have no permission any more (`changes` in infra/modules/guard/policy.tf).
    let stays = prior.filter(|_| stands && !came_back);
    let method = stays.map_or(wanted, |block| block.method.max(wanted));
    let needed = effect_of_block(method, image, prior, led_to);
    // The policy asks for more than was done. What that adds is decided as if nothing had been done; what was done stays.
    let adds = stands && !came_back && needed.is_some();
    let open = !stands || adds;
    let returns = prior.map(|block| recent_returns(block, now)).unwrap_or_default();
    let too_often = returns
        .first()
        .filter(|_| came_back && returns.len() >= MAX_RETURNS)
        .map(|oldest| *oldest + RETURN_WINDOW);

    // An image that comes back after it was blocked is not protected by what came back with it.
    // One that indexes lead to was asked for with them, with its pulls; what is known to run by now is left alone all the same.
    let rules = policy.block(&facts.key.repository);
    let in_use = match rules.when_in_use {
        WhenInUse::Hold if open => in_use(policy, facts, image, follows || led_to, now)?,
        WhenInUse::Hold | WhenInUse::Block => None,
    };
    // Blocking again what came back is not counted: it was counted when it was blocked. What an index leads to counts with it, and a
    // copy with its source.
    let counts = needed.is_some() && !came_back && !led_to && !follows;
    let limited = counts.then(|| limited_until(facts, now)).flatten();

    let held_by_source = !stands && facts.is_held_by_source(image);
    let held_by_index = if stands {
        // What came back with an index that is being judged goes with it.
        let with_index = || came_back && facts.open_indexes().any(LeadingIndex::is_being_judged);
        facts.has_more_indexes() || facts.open_indexes().any(LeadingIndex::needs_its_images) || with_index()
    } else {
        led_to && !facts.are_indexes_blocked()
    };
    let no_worse_than = match evaluation {
        Some(evaluation)
            if rules.not_worse_than_running && open && in_use.is_none() && !led_to && !follows && !held_by_source =>
        {
            match &facts.replaced {
                Replaced::NotAsked => return Err(Question::Replaced),
                Replaced::Image(predecessor) if predecessor.has_all(evaluation) => Some(predecessor.clone()),
                Replaced::Image(_) | Replaced::Nothing => None,
            }
        }
        Some(_) | None => None,
    };

    let reports = policy.report_mode(&facts.key.repository).filter(|_| needed.is_some());
    let only_index = led_to && (facts.block_failure.is_some() || remembered_refusal(facts, now).is_some());
    let is_new = !stands || came_back;
    let may_be_led_to = led_to || facts.indexes.iter().any(LeadingIndex::is_without_row);
    let asks = is_new && may_be_led_to && needed.is_some() && policy.enforces(&facts.key.repository);
    let may_have_more = if asks && !held_by_index && !held_by_source && !only_index {
        let known = facts.indexes_known.ok_or(Question::Indexes)?;
        // What came back, or has a tag that people may pull, does not wait for an index that nobody can read.
        !known && !came_back && image.tags.is_empty()
    } else {
        false
    };
    let awaits_indexes = facts.awaits_indexes(image, now);
    let held = match (&facts.block_failure, in_use) {
        _ if held_by_index => Some(Hold::Index),
        _ if may_have_more => Some(Hold::MoreIndexesNotRead),
        _ if !stands && awaits_indexes => Some(Hold::IndexesNotRead),
        _ if held_by_source => facts.source.as_ref().map(|source| Hold::Source(source.region.clone())),
        _ if only_index && needed.is_some() => Some(Hold::OnlyIndex),
        (Some(failure), _) => Some(Hold::Refused(words::block_failed(failure))),
        (None, Some(evidence)) => Some(Hold::InUse(evidence)),
        (None, None) => no_worse_than.map(Hold::NotWorse),
    };
    // Asked last, because it is one more call: only for what would be blocked otherwise, or be told of in report mode.
    let may_ask = open && !led_to && needed.is_some() && limited.is_none() && !awaits_indexes;
    let held = match held {
        None if may_ask => in_use_by_lambda(rules, facts, image)?.map(Hold::InUse),
        held => held,
    };
    let held = held
        .or(reports.map(Hold::ReportMode))
        .or(limited.map(Hold::Limit))
        .or(too_often.map(Hold::Returns));
    let Some(why) = held else {
        return Ok(done(
            facts,
            image,
            draft,
            reason,
            method,
            needed,
            came_back.then_some(returns),
            counts,
        ));
    };
    let kind = match &why {
        Hold::InUse(_) | Hold::NotWorse(_) | Hold::ReportMode(_) | Hold::Refused(_) => Some(AlertKind::ImageHeld),
        Hold::Returns(_) => Some(AlertKind::ImageBypass),
        // The index is told of, or the source; or what the next sweep finds.
        Hold::Index | Hold::IndexesNotRead | Hold::MoreIndexesNotRead | Hold::OnlyIndex | Hold::Source(_) => None,
        // The first image of the hour speaks for all: a hundred alerts would say no more.
        Hold::Limit(_) => limit_is_to_be_told(facts).then_some(AlertKind::BlockLimit),
    };
    let first_of_hour = facts.limit.is_some_and(|limit| limit.first);
    let draft = if adds && !matches!(why, Hold::Index) {
        // What was done before stays as it is.
        let kind = if led_to { None } else { Some(AlertKind::ImageBlocked) };
        let told = kind.filter(|_| !first_of_hour && !limit_is_to_be_told(facts));
        let reason = words::not_more_yet(&reason, method, &why.reason());
        let draft = draft.state(State::Blocked, reason).hold(why).in_force();
        let stays = prior.map_or(method, |block| block.method);
        draft
            .action(stays, true)
            .alert(told.or(limit_is_to_be_told(facts).then_some(AlertKind::BlockLimit)))
    } else {
        let undo = matches!(why, Hold::Index | Hold::InUse(_) | Hold::NotWorse(_) | Hold::Source(_));
        let draft = draft
            .state(State::Held, format!("{reason} It is not blocked: {}", why.reason()))
            .hold(why);
        let draft = if undo {
            undone_again(policy, facts, image, draft, kind)
        } else if prior.is_none() {
            draft.without_block().alert(kind)
        } else {
            draft.alert(kind)
        };
        draft.action(method, false)
    };
    Ok(if first_of_hour { draft.happened_again() } else { draft })
}

/// The image is blocked. `needed`: what must be done for it; `returns`: it came back, and had done so at these times before.
#[expect(clippy::too_many_arguments, reason = "all of it was found out by the only caller")]
fn done<'a>(
    facts: &Facts,
    image: &Image,
    draft: Draft<'a>,
    reason: String,
    method: BlockMethod,
    needed: Option<Effect>,
    returns: Option<Vec<Timestamp>>,
    counts: bool,
) -> Draft<'a> {
    let known = draft.prior_block();
    let came_back = returns.is_some();
    let stood = |block: &Block| block.confirmed && block.undone_at.is_none() && block.method < method;
    let adds = needed.is_some() && known.is_some_and(stood);
    // It is blocked by less than before, and nothing is needed for that. So what a pull through cache has brought back is flagged from now on.
    let gives_way = known.filter(|block| needed.is_none() && block.method > method);
    // What was only begun has kept nobody from pulling.
    let is_bypass = came_back || gives_way.is_some_and(|block| block.confirmed && block.undone_at.is_none());
    let kind = match (is_bypass, facts.is_led_to()) {
        (true, _) => Some(AlertKind::ImageBypass),
        (false, false) => Some(AlertKind::ImageBlocked),
        (false, true) => None,
    };
    let draft = draft.state(State::Blocked, reason).action(method, true).alert(kind);
    let draft = if came_back || adds || gives_way.is_some() {
        draft.happened_again()
    } else {
        draft
    };
    let is_closed = facts.row.as_ref().is_some_and(|row| row.closed_at.is_some());
    match needed {
        Some(effect) => {
            let now = draft.now();
            let returns = returns.map(|returns| [returns, vec![now]].concat()).unwrap_or_default();
            draft.block(effect, method, counts, returns)
        }
        None if gives_way.is_some() || method == BlockMethod::Flag && known.is_none() => draft.without_effect(method),
        // Somebody else archived it, where the ledger knows of no block, or of one on an image that was deleted since: then it is
        // not for us to bring back.
        None if method == BlockMethod::Archive && is_closed && !is_still_ours(known, image) => draft.without_block(),
        None => draft.in_force(),
    }
}

/// How the image is to be blocked. One that indexes lead to is blocked no more than they are: one that is only quarantined can be pulled by
/// its digest, and needs its images for that.
fn wanted_method(policy: &Policy, facts: &Facts) -> BlockMethod {
    let of_indexes = facts.open_indexes().filter_map(LeadingIndex::method).min();
    let method = policy.block_method(&facts.key.repository, facts.is_pulled_through());
    of_indexes.map_or(method, |of_indexes| of_indexes.min(method))
}

/// Whether the registry says that the image became pullable after it was blocked.
fn has_arrived_since(image: &Image, block: Option<&Block>) -> bool {
    let since = image.available_since();
    block.is_some_and(|block| block.method == BlockMethod::Archive && since.is_some_and(|since| since > block.at))
}

/// Whether a block of a row that was closed is still what keeps the image from being pulled. The registry may have said once that there is
/// no such image, and there was: then it is still in the archive, and older than its block.
fn is_still_ours(block: Option<&Block>, image: &Image) -> bool {
    block.is_some_and(|block| {
        block.method == BlockMethod::Archive
            && image.status == ImageStatus::Archived
            && image.available_since().is_some_and(|since| since <= block.at)
    })
}

/// The image may be deployed, as far as blocking goes: undo what we did to it, and only that.
fn released<'a>(policy: &Policy, facts: &Facts, image: &Image, draft: Draft<'a>) -> Draft<'a> {
    let Some(block) = draft.prior_block() else {
        return draft;
    };
    // Only our own tag is left, which could not be removed: that it can be pulled was told.
    let is_told = block.undone_at.is_some()
        && block.release_refused_at.is_some()
        && block.tags.iter().all(|tag| image.tags.contains(tag));
    let told = if is_told {
        draft.due_alert()
    } else {
        Some(AlertKind::ImageReleased)
    };
    undone_again(policy, facts, image, draft, told).action(block.method, true)
}

/// Undoes what we did to the image, and only that. `told`: the alert that is due once the image can be pulled.
fn undone_again<'a>(
    policy: &Policy,
    facts: &Facts,
    image: &Image,
    draft: Draft<'a>,
    told: Option<AlertKind>,
) -> Draft<'a> {
    let Some(block) = draft.prior_block() else {
        return draft.alert(told);
    };
    if facts.row.as_ref().is_some_and(|row| row.closed_at.is_some()) && !is_still_ours(Some(block), image) {
        // The block went with the image that was deleted. What this one is kept by, if anything, is not ours.
        return draft.release(None, true);
    }
    let effect = effect_of_release(block, image);
    let waits_for_children = facts.has_blocked_child();
    if effect.is_some() && !policy.enforces(&facts.key.repository) {
        // Without the means to undo a block, the block stays, and so does its state.
        return draft.keep();
    }
    if let Some(failure) = facts.release_failure.as_deref().filter(|_| effect.is_some()) {
        return draft.not_released(failure);
    }
    if effect.is_none()
        && (waits_for_children || block.method == BlockMethod::Archive && image.status == ImageStatus::Activating)
    {
        // People are told when it can be pulled, with all that it leads to; an event says when that is.
        return draft.being_restored();
    }
    // What was quarantined before it was archived gets its tags back when it is there again.
    let waits_for_tags = effect == Some(Effect::Restore) && !block.tags.is_empty();
    let complete = !waits_for_children && !waits_for_tags;
    draft.release(effect, complete).alert(told.filter(|_| complete))
}

const RETURN_WINDOW: SignedDuration = SignedDuration::from_secs(RETURN_WINDOW_SECONDS);

/// When an image was blocked again within the time that counts, oldest first.
fn recent_returns(block: &Block, now: Timestamp) -> Vec<Timestamp> {
    let recent = |at: &&Timestamp| now.duration_since(**at) < RETURN_WINDOW;
    block.returns.iter().filter(recent).copied().collect()
}

/// Until when the hourly limit keeps an image from being blocked.
fn limited_until(facts: &Facts, now: Timestamp) -> Option<Timestamp> {
    facts.limit.map(|limit| limit.until).or(remembered_limit(facts, now))
}

/// Until when the ledger says that the hourly limit keeps an image from being blocked.
fn remembered_limit(facts: &Facts, now: Timestamp) -> Option<Timestamp> {
    facts.row.as_ref()?.limited_until.filter(|until| now < *until)
}

/// Until when it is not tried again to block an image that an index leads to, because the registry refused.
fn remembered_refusal(facts: &Facts, now: Timestamp) -> Option<Timestamp> {
    facts.row.as_ref()?.refused_until.filter(|until| now < *until)
}

/// Whether this image's row is the one that the limit is told with: the hour's first, or one whose alert could not be sent yet.
fn limit_is_to_be_told(facts: &Facts) -> bool {
    let owed = facts.row.as_ref().and_then(|row| row.alert.as_ref());
    let owed = owed.is_some_and(|alert| alert.kind == AlertKind::BlockLimit && alert.sent_at.is_none());
    owed || facts.limit.is_some_and(|limit| limit.first)
}

/// What a block method needs to do to an image; `None`: it is in force already. `prior`: what was done to it.
fn effect_of_block(method: BlockMethod, image: &Image, prior: Option<&Block>, led_to: bool) -> Option<Effect> {
    match method {
        BlockMethod::Archive => match image.status {
            // On its way back it cannot be pulled yet; when it has arrived, an event says so.
            ImageStatus::Archived | ImageStatus::Activating => None,
            // A word that is not known here, after we have archived the image: it may be on its way there. That is how `read_back`
            // takes it, too. Before that, it is never taken for "cannot be pulled".
            ImageStatus::Other(_) if prior.is_some_and(is_archived_by_us) => None,
            ImageStatus::Active | ImageStatus::Other(_) => Some(Effect::Archive),
        },
        // Without a tag, what an index leads to can only be pulled by its digest, which a quarantine does not change.
        BlockMethod::QuarantineTag if led_to && image.tags.is_empty() => None,
        BlockMethod::QuarantineTag => {
            let mark = quarantine_tag(&image.digest)?;
            let others = image.tags.iter().filter(|tag| !is_mark(tag, &image.digest));
            let remove: Vec<Tag> = others.cloned().collect();
            if remove.is_empty() && image.tags.contains(&mark) {
                None
            } else {
                Some(Effect::Quarantine { mark, remove })
            }
        }
        BlockMethod::Flag => None,
    }
}

fn is_archived_by_us(block: &Block) -> bool {
    block.method == BlockMethod::Archive && block.confirmed && block.undone_at.is_none()
}

fn effect_of_release(block: &Block, image: &Image) -> Option<Effect> {
    match (block.method, &image.status) {
        (BlockMethod::Archive, ImageStatus::Archived) => return Some(Effect::Restore),
        (BlockMethod::Archive, ImageStatus::Activating) => return None,
        // An earlier method may have taken tags.
        (BlockMethod::Archive | BlockMethod::Flag, _) if block.tags.is_empty() => return None,
        (BlockMethod::Archive | BlockMethod::Flag | BlockMethod::QuarantineTag, _) => {}
    }
    let mark = quarantine_tag(&image.digest)?;
    let mut restore = block.tags.iter().filter(|tag| !image.tags.contains(tag)).peekable();
    // Somebody may have taken our mark away: the tags are given back all the same.
    (restore.peek().is_some() || image.tags.contains(&mark)).then(|| Effect::Unquarantine {
        restore: restore.cloned().collect(),
        mark,
    })
}

/// The evidence that somebody uses the image; `None`: there is none.
///
/// No recorded pull means "never pulled" only for an image that is young: for an older one we cannot know who started it. `copy`: of one
/// whose source is blocked, only a use that is known counts; in a region that nobody runs anything in, no image has a pull.
///
/// Whoever pulls a multi-platform image pulls the index and one of the images that it leads to; for which of them ECR records the pull
/// is documented nowhere. So all of them count.
fn in_use(
    policy: &Policy,
    facts: &Facts,
    image: &Image,
    copy: bool,
    now: Timestamp,
) -> Result<Option<String>, Question> {
    let scan = &facts.scan;
    let rules = policy.block(&facts.key.repository);
    let window = rules.in_use(facts.counts_use());
    let recent = |at: Timestamp| now.duration_since(at) <= window;
    if let Scan::Complete(Findings {
        in_use_count,
        last_in_use_at,
        ..
    }) = scan
    {
        if let Some(count) = in_use_count.filter(|count| *count > 0) {
            return Ok(Some(words::in_use_by_scanner(count)));
        }
        if let Some(at) = last_in_use_at.filter(|at| recent(*at)) {
            return Ok(Some(words::in_use_at(at)));
        }
    }
    let by_children = facts
        .children()
        .iter()
        .filter_map(|child| child.row.as_ref()?.used_on)
        .max();
    if let Some(at) = by_children.filter(|at| recent(*at)) {
        return Ok(Some(words::in_use_at(at)));
    }
    let mut pulled_at = image.last_pulled_at;
    if !facts.children().is_empty() {
        let pulled = facts.children_pulled.as_ref().ok_or(Question::ChildrenPulled)?;
        pulled_at = pulled_at.max(pulled.iter().max().copied());
    }
    Ok(match (pulled_at, image.available_since()) {
        (Some(at), _) => recent(at).then(|| words::pulled(at)),
        (None, _) if copy => None,
        (None, Some(since)) if recent(since) => None,
        (None, since) => Some(words::use_unknown(since)),
    })
}

/// The evidence that a Lambda function may run the image; `None`: there is none. A function keeps a copy of its own for months, and fails when it
/// fetches the image again and there is none (Lambda developer guide, "Function lifecycle with images"); neither ECR nor Inspector knows of it.
fn in_use_by_lambda(rules: &BlockRules, facts: &Facts, image: &Image) -> Result<Option<String>, Question> {
    let children = facts.children_pulled.iter().flatten().copied();
    let pulled = children.chain(image.last_pulled_at).max();
    let (Some(at), WhenInUse::Hold, WhenLambdaMayPull::Hold) = (pulled, rules.when_in_use, rules.when_lambda_may_pull)
    else {
        return Ok(None);
    };
    match facts.lambda.as_ref().ok_or(Question::Lambda)? {
        LambdaAccess::No => Ok(None),
        LambdaAccess::Yes => Ok(Some(words::lambda_may_pull(at))),
        LambdaAccess::Unknown(why) => Ok(Some(words::lambda_unknown(at, why))),
    }
}

/// Whether a pull or a workload of late is recorded of the image, or of an image that it leads to.
fn is_known_to_be_used(policy: &Policy, facts: &Facts, image: &Image, now: Timestamp) -> bool {
    let of_children = facts.children().iter().filter_map(|child| child.row.as_ref()?.used_on);
    let pulled = facts.children_pulled.iter().flatten().copied();
    let own = facts.row.as_ref().and_then(|row| row.used_on);
    let used = of_children.chain(pulled).chain(own).chain(image.last_pulled_at);
    let rules = policy.block(&facts.key.repository);
    // It was Inspector that has let it go, which counts workloads.
    used.max()
        .is_some_and(|at| now.duration_since(at) <= rules.in_use(true))
}

/// Whether another invocation has undertaken the alert of this row, and may still be at it.
fn leased(row: &Row, actor: &str, now: Timestamp) -> bool {
    row.alert.as_ref().is_some_and(|alert| {
        alert.sent_at.is_none()
            && alert.claimed_by != actor
            && now.duration_since(alert.claimed_at) < SignedDuration::from_secs(LEASE_SECONDS)
    })
}

#[cfg(test)]
mod tests;
