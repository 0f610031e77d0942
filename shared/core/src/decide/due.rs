//! The images of a repository that must be reconciled, by the registry's list and the ledger alone.
//!
//! A sweep does not reconcile every image: three calls for each, hour after hour, would only find the same result. It reads the
//! list of images and the ledger's rows page by page. It reconciles the images for which the two differ, and those for which
//! time alone changes something. Changes that neither shows are found by periodic reconciles.

use std::{
    collections::{BTreeMap, hash_map::DefaultHasher},
    hash::{Hash, Hasher as _},
};

use jiff::{SignedDuration, Timestamp};

use crate::{
    decide::{
        facts::is_judged_as_image,
        family::{INDEX_FOLLOWS, MAX_LOOKED_AT},
        source::{may_be_source, verdict},
        step::REFUSAL_STANDS,
    },
    finding::ScanMode,
    ids::{Digest, Region, RepositoryName, Tag},
    image::{Image, ImageKind, ImageStatus, ListedImage},
    ledger::{Cause, MAX_INDEXES, Row, Source},
    marker::{is_mark, quarantine_tag},
    notice::AlertKind,
    policy::{Action, BlockMethod, BlockRules, Policy, WhenInUse},
    release::TimedRelease,
    replication::{is_destination, rules},
    state::State,
    uses::{GRACE, Phase, UseRow},
};

/// Why an image must be reconciled, most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Due {
    /// It is blocked, and the registry shows that it can be pulled; or the block was never confirmed.
    NotBlocked,
    /// Nothing is remembered of it.
    New,
    /// The scanner has a result that the image was not evaluated by.
    Scanned,
    /// An alert was never sent.
    AlertOwed,
    /// It was released, and may have arrived; or the reason to defer its block has ended.
    Waiting,
    /// It was evaluated under another policy.
    AnotherPolicy,
    /// An exception has ended that covered one of its findings.
    ExceptionEnded,
    /// A release that a person gave is not carried out yet, or has ended.
    Release,
    /// It is pending for too long.
    Overdue,
    /// Its tags changed, or it was pushed again or restored.
    Changed,
    /// It is a copy, and its source in another region has another verdict than it was decided by, or was not known as such.
    Source,
    /// It does not fit its index or its children, or that index no longer exists.
    Family,
    /// There is no such image any more.
    Gone,
    /// Its state may have changed without a sign in the list or the ledger, and its periodic reconcile is due.
    Turn,
}

impl Due {
    /// The word for logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotBlocked => "not-blocked",
            Self::New => "new",
            Self::Scanned => "scanned",
            Self::AlertOwed => "alert-owed",
            Self::Waiting => "waiting",
            Self::AnotherPolicy => "another-policy",
            Self::ExceptionEnded => "exception-ended",
            Self::Release => "release",
            Self::Overdue => "overdue",
            Self::Changed => "changed",
            Self::Source => "source",
            Self::Family => "family",
            Self::Gone => "gone",
            Self::Turn => "turn",
        }
    }

    /// The sentence for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::NotBlocked => "it is blocked, and can be pulled, or the block was never confirmed.",
            Self::New => "nothing is remembered of it.",
            Self::Scanned => "the scanner has a result that it was not evaluated by.",
            Self::AlertOwed => "an alert was never sent.",
            Self::Waiting => "it was released and may have arrived, or what deferred its block is over.",
            Self::AnotherPolicy => "it was evaluated under another policy.",
            Self::ExceptionEnded => "an exception has ended that covered one of its findings.",
            Self::Release => "a person's release is not carried out yet, or has ended.",
            Self::Overdue => "it waits for its scan.",
            Self::Changed => "its tags changed, or it was pushed again or restored.",
            Self::Source => "its source in another region was evaluated otherwise.",
            Self::Family => "it does not fit the index that references it, or the images that it references.",
            Self::Gone => "the registry does not list it any more.",
            Self::Turn => "it is its turn: what has become of it shows neither in the list nor in the ledger.",
        }
    }
}

/// The part of a row that says whether its image is due: a hundred bytes, where a row may have a hundred thousand.
#[derive(Debug, Clone)]
struct Remembered {
    state: State,
    /// The action of the worst finding that an exception took out of the evaluation.
    excepted: Option<Action>,
    /// The same for exceptions that are for the tag or the digest of an index: they do not hold for other indexes of the image.
    excepted_by_index: Option<Action>,
    /// It is not deployed because of a tag of its own, which says nothing of an index.
    by_tag: bool,
    waits_behind_its_tag: bool,
    closed: bool,
    not_an_image: bool,
    blocked: bool,
    same_policy: bool,
    due: Option<Due>,
    block: Option<RememberedBlock>,
    told_overdue: bool,
    judged_at: Option<Timestamp>,
    judged: bool,
    /// A scanner keeps watching it, or its answer is not certain: it is asked every day.
    daily: bool,
    no_scan: bool,
    tags: u64,
    available_since: Option<Timestamp>,
    children: Vec<Digest>,
    more_children: bool,
    indexes: Vec<Digest>,
    more_indexes: bool,
    /// It has no tag, and no sweep has checked yet whether it has a parent index.
    may_be_led_to: bool,
    /// Its manifest was read, where the registry gives it another type than a container's.
    runnable: bool,
    not_reached: bool,
    runs: bool,
    uses_unknown: bool,
    tagged: bool,
    /// A person has released it, and that is in force.
    released: bool,
    limited_until: Option<Timestamp>,
    source: Option<Source>,
    seen: bool,
}

fn excepted(row: &Row) -> Option<Action> {
    let listed = row.excepted.iter().map(|finding| finding.action);
    let omitted = row.omitted_excepted.iter().map(|omitted| omitted.worst.action);
    listed.chain(omitted).max()
}

/// The same image in another region.
#[derive(Debug)]
struct RememberedElsewhere {
    region: Region,
    verdict: String,
    may_be_source: bool,
    available_since: Option<Timestamp>,
    both_ways: bool,
}

/// How workloads use an image.
#[derive(Debug, Clone, Copy)]
struct RememberedUse {
    gone_at: Option<Timestamp>,
    runs: bool,
}

#[derive(Debug, Clone, Copy)]
struct RememberedBlock {
    method: BlockMethod,
    /// It is being undone, or should be.
    undone: bool,
    /// The registry has just refused to undo it.
    just_refused: bool,
    /// The policy asks for a stronger method.
    less: bool,
}

/// The survey of a whole repository: first all rows are [remembered](Self::remember), then all images of the list are
/// [seen](Self::see).
#[derive(Debug)]
pub struct Survey<'a> {
    policy: &'a Policy,
    block: &'a BlockRules,
    enforces: bool,
    now: Timestamp,
    turns: Turns,
    rows: BTreeMap<Digest, Remembered>,
    elsewhere: BTreeMap<Digest, Vec<RememberedElsewhere>>,
    /// How workloads use its images.
    uses: BTreeMap<Digest, RememberedUse>,
    /// It is known by now who uses its images.
    uses_known: bool,
    due: BTreeMap<Digest, Due>,
    /// There is an index of which not all entries are known.
    unread_index: bool,
    /// Indexes that were seen and are not in the archive.
    indexes: usize,
    /// How many are asked for again in this sweep because their manifest could not be read.
    read_again: usize,
}

/// The number of entries of a repository whose manifests every sweep reads again, after an earlier read failed. Mostly a single
/// read was refused; where all are refused, the rest is read once a day.
const READ_AGAIN: usize = 10;

/// After the last known use of an image has become too old, sweeps of this time reconcile the image; later ones do so only
/// periodically.
const RECENTLY: SignedDuration = SignedDuration::from_hours(6);

/// Statuses of a scan that has a result, or will have one.
const AWAITED_OR_THERE: [&str; 4] = ["COMPLETE", "ACTIVE", "IN_PROGRESS", "PENDING"];

/// For this time after the push, every sweep reconciles an image without a sign of a scan; later sweeps do so only
/// periodically.
const SCAN_AWAITED: SignedDuration = SignedDuration::from_hours(24);

/// A result that an event has announced, and that does not show, is looked for by every sweep for so long: until after the time that it is
/// waited for, whatever sweep comes late.
const RESULT_LOOKED_FOR: SignedDuration = SignedDuration::from_hours(3);

/// The hours within which each image is reconciled whose state can change without a visible sign: a deferred block,
/// unscannable, pending for long, watched by Inspector, or without a certain answer of it.
pub const TURN_HOURS: u64 = 24;

/// The same for images that have a verdict by basic scanning, which the list does not show; and for those that Inspector has let go.
pub const LONG_TURN_HOURS: u64 = 7 * 24;

impl<'a> Survey<'a> {
    /// `turns`: whose turn it is.
    pub fn new(policy: &'a Policy, repository: &RepositoryName, turns: Turns, now: Timestamp) -> Self {
        Self {
            policy,
            block: policy.block(repository),
            enforces: policy.enforces(repository),
            now,
            turns,
            rows: BTreeMap::new(),
            elsewhere: BTreeMap::new(),
            uses: BTreeMap::new(),
            uses_known: false,
            due: BTreeMap::new(),
            unread_index: false,
            indexes: 0,
            read_again: 0,
        }
    }

    /// Takes a row into account.
    pub fn remember(&mut self, row: &Row) {
        let remembered = Remembered {
            state: row.state,
            excepted: excepted(row),
            excepted_by_index: self.excepted_by_index(row),
            by_tag: row.cause == Some(Cause::Tag),
            waits_behind_its_tag: row.waits_behind_its_tag(),
            closed: row.closed_at.is_some(),
            not_an_image: row.is_not_an_image(),
            blocked: row.state == State::Blocked,
            same_policy: row.policy == self.policy.sha256,
            due: self.due_by_itself(row),
            block: row.block.as_ref().map(|block| RememberedBlock {
                method: block.method,
                undone: block.undone_at.is_some() || block.release_refused_at.is_some(),
                just_refused: block
                    .release_refused_at
                    .is_some_and(|at| self.now.duration_since(at) < REFUSAL_STANDS),
                less: block.method < self.policy.block_method(&row.image.repository, row.pulled_through),
            }),
            told_overdue: row
                .alert
                .as_ref()
                .is_some_and(|alert| alert.kind == AlertKind::ScanOverdue),
            judged_at: row.scan.as_ref().and_then(|scan| scan.completed_at),
            judged: row.scan.is_some(),
            daily: row
                .scan
                .as_ref()
                .is_some_and(|scan| scan.mode == ScanMode::Enhanced || scan.completed_at.is_none()),
            no_scan: row.no_scan.is_some(),
            tags: hash_of_tags(&row.tags),
            available_since: row.available_since,
            children: row.children.iter().map(|child| child.digest.clone()).collect(),
            more_children: row.more_children > 0,
            indexes: row.indexes.clone(),
            more_indexes: row.more_indexes,
            runnable: row.runnable,
            not_reached: row.not_reached,
            runs: row.runs,
            uses_unknown: row.uses_unknown && row.state == State::BlockDeferred,
            may_be_led_to: row.tags.is_empty() && row.indexes.is_empty() && !row.alone,
            tagged: !row.tags.is_empty(),
            released: row
                .release
                .as_ref()
                .is_some_and(|release| release.is_in_force(self.now)),
            limited_until: row.limited_until,
            source: row.source.clone(),
            seen: false,
        };
        self.rows.insert(row.image.digest.clone(), remembered);
    }

    /// The action of the worst finding that an exception took out of the evaluation which does not hold for the image by itself.
    fn excepted_by_index(&self, row: &Row) -> Option<Action> {
        let omitted = row.omitted_excepted.iter().map(|omitted| &omitted.worst);
        let through_index = row.excepted.iter().chain(omitted).filter(|finding| {
            let mut exceptions = self.policy.exceptions.iter();
            let named = exceptions.find(|exception| finding.exception.as_deref() == Some(exception.name.as_str()));
            let of = &row.image;
            named.is_some_and(|exception| !exception.applies(&of.repository, &of.digest, &row.tags, self.now))
        });
        through_index.map(|finding| finding.action).max()
    }

    /// Takes a row of another region into account: the image may be the source of one in `region`. Where the policy does not speak of
    /// copies, that is not kept.
    pub fn remember_elsewhere(&mut self, row: &Row, region: &Region) {
        if rules(self.policy, &row.image.repository).is_none() {
            return;
        }
        let elsewhere = self.elsewhere.entry(row.image.digest.clone()).or_default();
        elsewhere.push(RememberedElsewhere {
            region: row.image.region.clone(),
            verdict: verdict(row),
            may_be_source: may_be_source(self.policy, row, region, Some(Timestamp::MAX)),
            available_since: row.available_since,
            both_ways: is_destination(self.policy, &row.image.repository, &row.image.region),
        });
    }

    /// Takes into account what workloads do with an image.
    pub fn remember_use(&mut self, row: &UseRow) {
        let remembered = RememberedUse {
            gone_at: row.gone_at,
            runs: row.workloads.iter().any(|workload| workload.phase == Phase::Running),
        };
        self.uses.insert(row.image.digest.clone(), remembered);
    }

    /// Whether an image is held because it was not known who uses it.
    pub fn waits_for_uses(&self) -> bool {
        self.rows.values().any(|row| row.uses_unknown && !row.closed)
    }

    /// Takes into account that it is known by now who uses the images.
    pub fn uses_are_known(&mut self) {
        self.uses_known = true;
    }

    /// Whether the uses by workloads contradict the state: the block is deferred, and the last use has ended for good; or the
    /// image is blocked, and a workload runs it.
    fn by_uses(&self, digest: &Digest, row: &Remembered) -> Option<Due> {
        if row.uses_unknown && self.uses_known {
            return Some(Due::Waiting);
        }
        if self.block.when_in_use != WhenInUse::Hold {
            return None;
        }
        // Workloads name an index, or one of its images.
        let together = std::iter::once(digest).chain(&row.children).chain(&row.indexes);
        let used: Vec<&RememberedUse> = together.filter_map(|digest| self.uses.get(digest)).collect();
        let is_over = |at: Timestamp| {
            let over = self.now.duration_since(at) - GRACE;
            !over.is_negative() && over < RECENTLY
        };
        let is_blocked = row.blocked
            && row
                .block
                .is_some_and(|block| !block.undone && block.method != BlockMethod::Flag);
        let runs = used.iter().any(|used| used.gone_at.is_none() && used.runs);
        let last = used.iter().filter_map(|used| used.gone_at).max();
        let is_free = used.iter().all(|used| used.gone_at.is_some());
        let due = is_blocked && runs || row.state == State::BlockDeferred && is_free && last.is_some_and(is_over);
        due.then_some(Due::Waiting)
    }

    /// The reason that the row alone gives.
    fn due_by_itself(&self, row: &Row) -> Option<Due> {
        if row.alert.as_ref().is_some_and(|alert| alert.sent_at.is_none()) {
            return Some(Due::AlertOwed);
        }
        if row.state == State::Blocked && row.block.as_ref().is_some_and(|block| !block.confirmed) {
            return Some(Due::NotBlocked);
        }
        if row
            .limited_until
            .max(row.refused_until)
            .is_some_and(|until| until <= self.now)
        {
            return Some(Due::Waiting);
        }
        let is_due = |release: &TimedRelease| match release.is_in_force(self.now) {
            true => release.told_at.is_none() && matches!(row.state, State::Blocked | State::BlockDeferred),
            // It has its turn when the hour of the limit is over.
            false => row.limited_until.is_none(),
        };
        if row.release.as_ref().is_some_and(is_due) {
            return Some(Due::Release);
        }
        let awaited = row.scan_event.as_ref().map(|event| self.now.duration_since(event.at));
        if awaited.is_some_and(|since| since < RESULT_LOOKED_FOR) {
            return Some(Due::Scanned);
        }
        let holds = |name: &str| {
            let mut exceptions = self.policy.exceptions.iter();
            exceptions.any(|exception| exception.name == name && self.now < exception.ends)
        };
        let omitted = row.omitted_excepted.iter().map(|omitted| &omitted.worst);
        let mut excepted = row
            .excepted
            .iter()
            .chain(omitted)
            .filter_map(|finding| finding.exception.as_deref());
        excepted.any(|name| !holds(name)).then_some(Due::ExceptionEnded)
    }

    /// Takes an image of the list into account. All rows must have been remembered before.
    pub fn see(&mut self, listed: &ListedImage) {
        let digest = &listed.image.digest;
        let mut due = self.why(listed);
        if due.is_none() && self.read_again < READ_AGAIN && self.is_unread(&listed.image) {
            self.read_again += 1;
            due = Some(Due::Turn);
        }
        self.unread_index |= self.may_lead_to_unknown_images(&listed.image);
        self.indexes += usize::from(is_index_there(&listed.image));
        if let Some(row) = self.rows.get_mut(digest) {
            row.seen = true;
        }
        if let Some(due) = due {
            self.due.insert(digest.clone(), due);
        }
    }

    fn why(&self, listed: &ListedImage) -> Option<Due> {
        let image = &listed.image;
        let scanned = matches!(listed.scan_status.as_deref(), Some("COMPLETE" | "ACTIVE"));
        let pullable = image.status != ImageStatus::Archived;
        let Some(row) = self.rows.get(&image.digest).filter(|row| !row.closed) else {
            // Somebody else archived it before it was ever evaluated.
            return pullable.then_some(Due::New);
        };
        // An entry that a scanner could scan is an image, whatever type it has.
        let may_be_judged = !row.same_policy && is_judged_as_image(self.policy, image);
        if row.not_an_image && !scanned && !may_be_judged {
            // A block from before that was known is being undone; or it is an index, and one of its entries turned out to be an
            // image.
            let owed = row.due.filter(|due| *due == Due::AlertOwed);
            let leads_to_an_image = || self.below(row).any(|child| !child.not_an_image && !child.closed);
            return owed
                .or_else(|| self.by_block(row, listed))
                .or_else(|| leads_to_an_image().then_some(Due::Family));
        }
        if row.not_reached {
            return pullable.then_some(Due::New);
        }
        if row.due.is_some() {
            return row.due;
        }
        if let Some(due) = self.by_block(row, listed) {
            return Some(due);
        }
        if !row.same_policy && row.block.is_some() && !self.enforces {
            // In report mode a block cannot be undone, so that its row may stay as it is.
            return self.turns.has(&image.digest, TURN_HOURS).then_some(Due::Turn);
        }
        if !row.same_policy {
            // An image that somebody else archived while it was pending is left alone.
            return (pullable || row.state != State::Pending).then_some(Due::AnotherPolicy);
        }
        if self.newly_scanned(row, listed) {
            return Some(Due::Scanned);
        }
        if hash_of_tags(&image.tags) != row.tags || image.available_since() != row.available_since {
            return Some(Due::Changed);
        }
        if self.does_not_follow(&image.digest, row) {
            return Some(Due::Source);
        }
        if self.does_not_fit(row) {
            return Some(Due::Family);
        }
        self.by_time(row, listed)
    }

    /// A blocked image that is not blocked in the list, or a released one that is not back yet.
    fn by_block(&self, row: &Remembered, listed: &ListedImage) -> Option<Due> {
        let image = &listed.image;
        let Some(block) = row.block else {
            // Something else kept it from being pulled, and does so no more.
            return (row.blocked && image.status == ImageStatus::Active).then_some(Due::NotBlocked);
        };
        let in_force = match block.method {
            // Whatever the method is, nobody can pull it from there.
            BlockMethod::Archive | BlockMethod::QuarantineTag if image.status.is_in_archive() => true,
            BlockMethod::Archive => false,
            // With an index above it, it may have no tags of its own.
            BlockMethod::QuarantineTag => {
                (!row.indexes.is_empty() && image.tags.is_empty())
                    || quarantine_tag(&image.digest).is_some_and(|mark| image.tags.contains(&mark))
                        && image.tags.iter().all(|tag| is_mark(tag, &image.digest))
            }
            BlockMethod::Flag => true,
        };
        match (block.undone, row.blocked) {
            (true, _) if block.just_refused => None,
            (true, _) => (image.status != ImageStatus::Activating).then_some(Due::Waiting),
            (false, true) => (!in_force).then_some(Due::NotBlocked),
            // When it was deferred, ECR did not show yet that it had taken effect.
            (false, false) => {
                let is_archived = block.method == BlockMethod::Archive && image.status == ImageStatus::Archived;
                (is_archived && self.enforces).then_some(Due::Waiting)
            }
        }
    }

    fn newly_scanned(&self, row: &Remembered, listed: &ListedImage) -> bool {
        if listed.image.status != ImageStatus::Active {
            return false;
        }
        let waits = row.state == State::Pending || row.no_scan;
        match (listed.scan_status.as_deref(), listed.scanned_at, row.judged_at) {
            (Some("COMPLETE" | "ACTIVE"), _, _) if waits => true,
            // The scan ended without a result, or there is none any more. That makes no blocked or deferred image better.
            (Some(status), _, _) if !AWAITED_OR_THERE.contains(&status) => {
                // An image that was evaluated by its source does not need a scan here.
                let by_source = row.source.as_ref().is_some_and(|source| source.judged);
                !row.no_scan && !by_source && matches!(row.state, State::Pending | State::Allowed | State::Review)
            }
            // To the second: the two answers of the registry need not have the same fractions.
            (_, Some(scanned), Some(judged)) => scanned.as_second() > judged.as_second(),
            // An image that was evaluated by an answer without a time of completion is reconciled every day.
            (Some("COMPLETE" | "ACTIVE"), Some(_), None) => !row.no_scan && !row.judged && row.children.is_empty(),
            _ => false,
        }
    }

    /// Whether the source of a copy has another verdict than the copy was decided by; or there is one that it does not know of.
    fn does_not_follow(&self, digest: &Digest, row: &Remembered) -> bool {
        let mut elsewhere = self.elsewhere.get(digest).into_iter().flatten();
        match &row.source {
            Some(source) => {
                let there = elsewhere.find(|other| other.region == source.region);
                there.map(|there| &there.verdict) != source.verdict.as_ref()
            }
            None => elsewhere
                .any(|other| other.may_be_source && (!other.both_ways || other.available_since < row.available_since)),
        }
    }

    /// Whether an image and its parent index contradict each other: the step between them was lost.
    fn does_not_fit(&self, row: &Remembered) -> bool {
        let above = row.indexes.iter().filter_map(|digest| self.rows.get(digest));
        let bad = |row: &Remembered| {
            matches!(row.state, State::Blocked | State::BlockDeferred)
                && !(row.by_tag && row.state == State::BlockDeferred)
        };
        // An image that is on its way back needs nothing more.
        let is_kept = |row: &Remembered| row.block.is_some_and(|block| !block.undone);
        let mut above = above.filter(|index| !index.not_an_image);
        if above.clone().any(|index| index.closed) {
            return true;
        }
        if self.enforces && is_kept(row) && above.any(|index| index.state != State::Blocked) {
            return true;
        }
        if self.enforces && row.state == State::BlockDeferred && self.are_its_many_indexes_blocked(row) {
            return true;
        }
        if row.children.is_empty() {
            return false;
        }
        let below: Vec<&Remembered> = self.below(row).collect();
        // An entry that is no image does not count for the index.
        let counting = || below.iter().filter(|child| !child.not_an_image);
        let not_images = below.iter().filter(|child| child.not_an_image).count();
        let open = || counting().filter(|child| !child.closed);
        let all_there = open().count() + not_images == row.children.len();
        let all_known = all_there && open().all(|child| child.state != State::Pending && !child.waits_behind_its_tag);
        match row.state {
            State::Pending => all_known || open().any(|child| bad(child)),
            // An image without a tag may wait for another index to be read: see `finish`.
            State::Blocked => self.enforces && open().any(|child| child.tagged && self.waits_for_nothing(child)),
            State::BlockDeferred => self.enforces && open().any(|child| is_kept(child)),
            // The row of such an index records no finding. So only an exception that does not hold for the image by itself counts.
            State::Unscannable | State::Stale => {
                let passed_over =
                    |child: &Remembered| child.same_policy && child.excepted_by_index >= Some(Action::Review);
                open().any(|child| is_kept(child) || bad(child) || child.state == State::Review || passed_over(child))
            }
            State::Allowed => {
                let passed_over = |child: &Remembered| self.is_passed_over(row, child, Action::Review);
                open().any(|child| is_kept(child) || bad(child) || child.state == State::Review || passed_over(child))
            }
            State::Review => {
                open().any(|child| is_kept(child) || bad(child) || self.is_passed_over(row, child, Action::Block))
            }
            State::NotAnImage => open().next().is_some(),
        }
    }

    /// Whether an exception takes a finding with at least this action from a child, and none takes such a finding from its
    /// index: an exception may be for the tag of another index.
    fn is_passed_over(&self, index: &Remembered, child: &Remembered, least: Action) -> bool {
        child.same_policy && child.excepted >= Some(least) && child.excepted > index.excepted
    }

    /// The remembered rows of the children of an index.
    fn below(&self, row: &Remembered) -> impl Iterator<Item = &Remembered> {
        row.children.iter().filter_map(|digest| self.rows.get(digest))
    }

    /// Whether an image of many indexes has to follow the last of them: the reconcile of one of them leaves it alone.
    fn are_its_many_indexes_blocked(&self, row: &Remembered) -> bool {
        let above = || row.indexes.iter().filter_map(|digest| self.rows.get(digest));
        let is_many = row.indexes.len() > MAX_LOOKED_AT && !row.more_indexes && !row.runs;
        let waits = row.limited_until.is_some_and(|until| self.now < until);
        is_many
            && !waits
            && !row.released
            && above().count() == row.indexes.len()
            && above().all(|index| index.state == State::Blocked)
    }

    /// Whether it has parent indexes, and all of them are blocked.
    fn is_led_to_by_blocked(&self, row: &Remembered) -> bool {
        !row.indexes.is_empty() && self.waits_for_nothing(row)
    }

    /// Whether its block is deferred, and all of its indexes are blocked, as far as a reconcile of one of them checks.
    fn waits_for_nothing(&self, row: &Remembered) -> bool {
        let mut above = row.indexes.iter().filter_map(|digest| self.rows.get(digest));
        // A running image is reconciled once a day.
        row.state == State::BlockDeferred
            && !row.runs
            && !row.released
            && row.indexes.len() <= MAX_LOOKED_AT
            && !above.any(|index| !index.closed && !index.not_an_image && index.state != State::Blocked)
    }

    /// The reason that time alone gives.
    fn by_time(&self, row: &Remembered, listed: &ListedImage) -> Option<Due> {
        let image = &listed.image;
        let since = image.available_since();
        let age = since.map(|since| self.now.duration_since(since));
        if row.state == State::Pending && image.status == ImageStatus::Active {
            let overdue = age.is_some_and(|age| age > self.policy.scan.grace);
            if overdue && !row.told_overdue {
                return Some(Due::Overdue);
            }
            // A scan that is under way will show in the list.
            let shows = listed.scan_status.is_some();
            if !shows && age.is_none_or(|age| age < SCAN_AWAITED) {
                return Some(Due::Overdue);
            }
        }
        // How long a pull counts depends on what the scanner says now.
        let pull_is_over = image.last_pulled_at.is_some_and(|at| {
            [true, false].into_iter().any(|counted| {
                let over = self.now.duration_since(at) - self.block.in_use(counted);
                !over.is_negative() && over < RECENTLY
            })
        });
        if row.state == State::BlockDeferred && self.block.when_in_use == WhenInUse::Hold && pull_is_over {
            return Some(Due::Waiting);
        }
        if let Some(due) = self.by_uses(&image.digest, row) {
            return Some(due);
        }
        let turn = match row.state {
            State::Pending | State::BlockDeferred | State::Unscannable => Some(TURN_HOURS),
            // The scanner has let it go.
            State::Stale => Some(LONG_TURN_HOURS),
            State::NotAnImage => None,
            State::Blocked if row.block.is_some_and(|block| block.less) => Some(TURN_HOURS),
            State::Allowed | State::Review | State::Blocked => {
                // An index is never scanned; what is archived has no scan.
                let shows = listed.scan_status.is_some() || listed.scanned_at.is_some();
                let scannable = image.kind() != ImageKind::Index && image.status == ImageStatus::Active;
                // Whether the list shows scans of Inspector is not to be relied on (aws/containers-roadmap#1662).
                match (scannable, row.daily, shows) {
                    (true, true, _) => Some(TURN_HOURS),
                    (true, false, false) => Some(LONG_TURN_HOURS),
                    _ => None,
                }
            }
        };
        turn.filter(|hours| self.turns.has(&image.digest, *hours))
            .map(|_| Due::Turn)
    }

    /// Whether it is an index, and not all of its children are known. An index that somebody else archived has none to read.
    fn may_lead_to_unknown_images(&self, image: &Image) -> bool {
        let row = self.rows.get(&image.digest).filter(|row| !row.closed);
        let is_known = match row {
            Some(row) => row.not_an_image || !row.children.is_empty() && !row.more_children,
            None => image.status == ImageStatus::Archived,
        };
        image.kind() == ImageKind::Index && !is_known
    }

    /// Whether its manifest had to be read and could not be: that of an index, or of what the registry gives another type than a container's.
    fn is_unread(&self, image: &Image) -> bool {
        let Some(row) = self.rows.get(&image.digest) else {
            return false;
        };
        let is_needed = match image.kind() {
            ImageKind::Index => row.children.is_empty() && !row.more_children,
            ImageKind::Artifact => !row.runnable && !row.judged && !is_judged_as_image(self.policy, image),
            ImageKind::Image => false,
        };
        // The registry gives no manifest of an archived image.
        is_needed && !row.closed && !row.not_an_image && image.status == ImageStatus::Active
    }

    /// Whether all indexes that were seen are known with all their children. If the whole list was seen, an image that no row
    /// names as a child has no index.
    pub fn knows_all_indexes(&self) -> bool {
        !self.unread_index
    }

    /// Whether a block is deferred only until a sweep has read all indexes, and that is now.
    fn waited_for_indexes(&self, row: &Remembered) -> bool {
        let is_old = row
            .available_since
            .is_some_and(|since| self.now.duration_since(since) >= INDEX_FOLLOWS);
        let waited = row.may_be_led_to && is_old || self.enforces && !row.tagged && self.is_led_to_by_blocked(row);
        !row.closed && row.seen && row.state == State::BlockDeferred && waited
    }

    /// Whether it had more indexes than its row remembers, and the whole repository has no more than that now.
    fn has_no_more_indexes(&self, row: &Remembered) -> bool {
        row.more_indexes && !row.closed && row.seen && self.indexes <= MAX_INDEXES
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows.len()
    }

    /// The images that are due, the most urgent first. `complete`: the whole list was seen, so that what was not on it is gone.
    pub fn finish(mut self, complete: bool) -> Vec<(Digest, Due)> {
        if complete && self.knows_all_indexes() {
            let is_due = |row| self.waited_for_indexes(row) || self.has_no_more_indexes(row);
            let rows = self.rows.iter().filter(|(_, row)| is_due(row));
            let waited: Vec<Digest> = rows.map(|(digest, _)| digest.clone()).collect();
            for digest in waited {
                self.due.entry(digest).or_insert(Due::Family);
            }
        }
        if complete {
            let gone = self.rows.into_iter().filter(|(_, row)| !row.seen && !row.closed);
            self.due.extend(gone.map(|(digest, _)| (digest, Due::Gone)));
        }
        let mut due: Vec<(Digest, Due)> = self.due.into_iter().collect();
        due.sort_by_key(|(_, why)| *why);
        due
    }
}

/// The subjects that a sweep reconciles periodically: each has one hour in a period, by a hash of its name. A sweep takes all
/// hours since the sweep before it, so that none is missed when sweeps are late, are left out, or meet in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turns {
    /// The first hour, since 1970.
    first: u64,
    /// The last one. Less than the first: the sweep before was in the same hour.
    last: u64,
}

impl Turns {
    /// For a sweep that began at `sweep`. `since`: the beginning of the one before it; `None`: this hour alone.
    pub fn new(since: Option<Timestamp>, sweep: Timestamp) -> Self {
        let hour = |at: Timestamp| u64::try_from(at.as_second() / 3600).unwrap_or_default();
        let last = hour(sweep);
        let first = since.map_or(last, |since| hour(since).saturating_add(1));
        Self { first, last }
    }

    /// Whether a subject with one hour in every `hours` is due.
    pub fn has(self, what: &impl Hash, hours: u64) -> bool {
        // How many hours before the last one it had its turn.
        let ago = (self.last % hours + hours - hash(what) % hours) % hours;
        self.last.checked_sub(ago).is_some_and(|turn| turn >= self.first)
    }
}

fn is_index_there(image: &Image) -> bool {
    image.kind() == ImageKind::Index && image.status != ImageStatus::Archived
}

/// The tags may have any order.
fn hash_of_tags(tags: &[Tag]) -> u64 {
    let mut tags: Vec<&Tag> = tags.iter().collect();
    tags.sort();
    hash(&tags)
}

/// The same for the same value in every process of one version: the keys of this hasher are constants.
fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
