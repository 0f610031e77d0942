//! How a step is made: its row, its effect, its alert.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use sha2::{Digest as _, Sha256};

use crate::{
    alert::{AlertAction, ExceptionEntry, HoldNote, MAX_EXCEPTIONS, image::ImageAlert},
    calendar::day_of,
    decide::{
        facts::{Facts, ImageCase, is_followed_by_another, leased, remembered_refusal},
        family::Children,
        hold::{Hold, RELEASED},
        next_steps::{Situation, next_steps},
        plan::{Effect, Leave, Plan, Question, Release, Step, explain_mark, forget_block, sorted_tags},
        words,
    },
    evaluate::{Evaluation, Judged},
    finding::{NoScan, Scan, ScanEvent},
    ids::{Digest, RepositoryName, Tag},
    image::{Child, ImageKind, ImageStatus},
    ledger::{
        AlertRecord, Block, Cause, MAX_INDEXES, MAX_RECORDED_FINDINGS, RecordedFinding, Row, ScanRecord, Undertaken,
    },
    notice::AlertKind,
    policy::{Action, BlockMethod},
    release::TimedRelease,
    state::State,
    text::hex,
};

impl Step {
    /// Remembers what an event said of a result that does not show yet.
    pub(super) fn awaiting(case: ImageCase<'_>, event: ScanEvent) -> Self {
        let row = match &case.facts.row {
            Some(row) => Row {
                generation: row.generation + 1,
                ..row.clone()
            },
            None => Row {
                reason: words::NOT_VISIBLE.to_owned(),
                ..Draft::new(case).row
            },
        };
        Self {
            awaits_result: true,
            ..Self::only(Row {
                scan_event: Some(event),
                ..row
            })
        }
    }
}

/// A step in the making.
pub(super) struct Draft<'a> {
    case: ImageCase<'a>,
    row: Row,
    effect: Option<Effect>,
    kind: Option<AlertKind>,
    action: Option<AlertAction>,
    hold: Option<Hold>,
    again: bool,
    counts_as_block: bool,
    releases: Release,
    /// It alerts about a release that a person gave.
    tells_release: bool,
    /// Something is known of its findings, or why there are none.
    judged: bool,
    keep: bool,
}

impl<'a> Draft<'a> {
    pub(super) fn new(case: ImageCase<'a>) -> Self {
        let ImageCase {
            policy,
            facts,
            image,
            now,
        } = case;
        let prior = facts.row.as_ref();
        let requested_now = facts.scan_start.is_some().then_some(now);
        let (indexes, more_indexes) = indexes(facts);
        let row = Row {
            generation: prior.map_or(0, |row| row.generation) + 1,
            scan: prior.and_then(|row| row.scan.clone()),
            counts: prior.map(|row| row.counts.clone()).unwrap_or_default(),
            block: prior.and_then(|row| row.block.clone()),
            alert: prior.and_then(|row| row.alert.clone()),
            release: prior.and_then(|row| row.release.clone()),
            scan_event: facts.scan_event_to_keep(),
            pulled_through: facts.is_pulled_through(),
            scan_requested_at: requested_now.or(prior.and_then(|row| row.scan_requested_at)),
            tags: sorted_tags(image),
            available_since: image.available_since(),
            children: children(facts),
            more_children: more_children(facts),
            indexes,
            more_indexes,
            alone: facts.is_alone(image, now),
            used_on: used_on(facts, now),
            runnable: image.kind() != ImageKind::Index && facts.is_runnable(image),
            source: facts.source_record(image),
            ..Row::first(facts.key.clone(), policy, now)
        };
        Self {
            case,
            row,
            effect: None,
            kind: None,
            action: None,
            hold: None,
            again: false,
            counts_as_block: false,
            releases: Release::No,
            tells_release: false,
            judged: false,
            keep: false,
        }
    }

    pub(super) fn prior_block(&self) -> Option<&'a Block> {
        self.case.facts.row.as_ref().and_then(|row| row.block.as_ref())
    }

    /// Decided on findings.
    pub(super) fn judged(mut self, evaluation: &Evaluation, scan: Option<ScanRecord>) -> Self {
        self.row.scan = scan;
        self.row.counts.clone_from(&evaluation.counts);
        self.row.findings = evaluation.findings.iter().map(|judged| self.record(judged)).collect();
        self.row.excepted = evaluation.excepted.iter().map(|judged| self.record(judged)).collect();
        // Findings that were left out before are still left out, unless they were read now.
        let remembered = self
            .case
            .facts
            .judging_source(self.case.image)
            .or(self.case.facts.row.as_ref())
            .filter(|row| row.scan == self.row.scan && !matches!(self.case.facts.scan, Scan::Complete(_)));
        if let Some(row) = remembered {
            self.row.omitted_findings = row.omitted_findings;
            self.row.worst_omitted.clone_from(&row.worst_omitted);
        }
        self.row.omitted_excepted.clone_from(&evaluation.omitted_excepted);
        let worst_before = self.row.worst_omitted.clone();
        self.row.omit(MAX_RECORDED_FINDINGS);
        self.row.worst_omitted = worse(self.row.worst_omitted.take(), worst_before);
        self.row.omit_excepted(MAX_RECORDED_FINDINGS);
        self.row.fit();
        self.row.judged_by = (!self.row.not_remembered().is_empty()).then(|| self.case.policy.judging.clone());
        self.judged = true;
        self
    }

    /// Why it is to be blocked.
    pub(super) fn because(mut self, cause: Cause) -> Self {
        self.row.cause = Some(cause);
        self
    }

    /// Decided without a usable scan. Earlier findings are no longer known to be true, and not known to be false.
    pub(super) fn without_scan(mut self, why: &NoScan, said: Option<&str>) -> Self {
        self.row.no_scan = Some(why.clone());
        self.row.scanner_says = said.map(str::to_owned);
        self.judged = true;
        self
    }

    pub(super) fn state(mut self, state: State, reason: String) -> Self {
        self.row.state = state;
        self.row.reason = reason;
        self
    }

    pub(super) fn action(mut self, method: BlockMethod, done: bool) -> Self {
        self.action = Some(AlertAction { method, done });
        self
    }

    pub(super) fn hold(mut self, why: Hold) -> Self {
        self.row.limited_until = why.limited_until;
        self.row.runs = why.is_use && self.case.facts.is_led_to();
        self.row.uses_unknown = why.uses_unknown;
        if why.refused {
            let again = self.case.now + REFUSAL_STANDS;
            self.row.refused_until = remembered_refusal(self.case.facts, self.case.now).or(Some(again));
        }
        self.hold = Some(why);
        self
    }

    pub(super) fn alert(mut self, kind: Option<AlertKind>) -> Self {
        self.kind = kind;
        self
    }

    /// The same event has happened again: its alert is sent again.
    pub(super) fn happened_again(mut self) -> Self {
        self.again = true;
        self
    }

    pub(super) fn block(mut self, effect: Effect, method: BlockMethod, counts: bool, returns: Vec<Timestamp>) -> Self {
        let before = self.row.block.take();
        let told = before.as_ref().is_some_and(|block| block.told);
        let mut tags = before.map(|block| block.tags).unwrap_or_default();
        if let Effect::Quarantine { remove, .. } = &effect {
            let known: BTreeSet<Tag> = tags.iter().cloned().collect();
            tags.extend(remove.iter().filter(|tag| !known.contains(tag)).cloned());
        }
        self.row.block = Some(Block {
            method,
            at: self.case.now,
            confirmed: false,
            tags,
            returns,
            undone_at: None,
            release_refused_at: None,
            told,
        });
        self.effect = Some(effect);
        self.counts_as_block = counts;
        self
    }

    /// It is blocked by a method that needs no change. Tags that an earlier method has taken are remembered.
    pub(super) fn without_effect(mut self, method: BlockMethod) -> Self {
        let before = self.row.block.take();
        let told = before.as_ref().is_some_and(|block| block.told);
        let tags = before.map(|block| block.tags).unwrap_or_default();
        self.row.block = Some(Block {
            method,
            at: self.case.now,
            confirmed: true,
            tags,
            returns: Vec::new(),
            undone_at: None,
            release_refused_at: None,
            told,
        });
        self
    }

    /// The registry shows that the block is in force, even if the invocation that began it did not live to see it.
    pub(super) fn in_force(mut self) -> Self {
        if let Some(block) = &mut self.row.block {
            block.confirmed = true;
            block.release_refused_at = None;
        }
        self
    }

    pub(super) fn without_block(mut self) -> Self {
        self.row.block = None;
        self
    }

    /// Alerts about the release that a person gave, unless the block could not be undone.
    pub(super) fn telling_release(mut self) -> Self {
        if self.row.state == State::BlockDeferred && !self.keep {
            self.kind = Some(AlertKind::ImageReleased);
            self.tells_release = true;
        }
        self
    }

    /// The release that a person gave, if it is over.
    fn ended_release(&self) -> Option<&TimedRelease> {
        let release = self.row.release.as_ref();
        release.filter(|release| !release.is_in_force(self.case.now))
    }

    /// `complete`: nothing else has to be released with it.
    pub(super) fn release(mut self, effect: Option<Effect>, complete: bool) -> Self {
        self.effect = effect;
        self.releases = if complete { Release::Pullable } else { Release::Later };
        self
    }

    /// The block was undone, and the registry is restoring the image.
    pub(super) fn being_restored(mut self) -> Self {
        self.row.reason = match (&self.row.block, &self.case.image.status) {
            (Some(block), ImageStatus::Archived) if block.method == BlockMethod::QuarantineTag => {
                words::archived_by_others(&self.row.reason)
            }
            _ => words::being_restored(&self.row.reason),
        };
        if let Some(block) = &mut self.row.block {
            block.undone_at.get_or_insert(self.case.now);
        }
        self.alert(None)
    }

    /// The block should be undone, and the registry refused for good: it stays, and so does the state.
    pub(super) fn not_released(mut self, failure: &str) -> Self {
        self.row.state = State::Blocked;
        self.row.cause = self.case.facts.row.as_ref().and_then(|row| row.cause);
        self.row.reason = words::not_released(&self.row.reason, failure);
        if let Some(block) = &mut self.row.block {
            block.release_refused_at = Some(self.case.now);
        }
        self.kind = None;
        self
    }

    /// The alert that is due.
    pub(super) fn due_alert(&self) -> Option<AlertKind> {
        self.kind
    }

    pub(super) fn case(&self) -> ImageCase<'a> {
        self.case
    }

    /// The state stays what it was.
    pub(super) fn keep(mut self) -> Self {
        self.keep = true;
        self
    }

    /// The row with its state and reasons, and the word of the rule that holds the image.
    pub(super) fn judgement(self) -> (Row, Option<&'static str>) {
        let hold = self.hold.map(|hold| hold.cause);
        match self.case.facts.row.as_ref().filter(|_| self.keep) {
            Some(row) => (row.clone(), hold),
            None => (self.row, hold),
        }
    }

    pub(super) fn plan(mut self) -> Plan {
        if self.keep {
            return Plan::Leave(Leave::Unchanged);
        }
        self.leave_to_other_alerts();
        if !matches!(self.row.state, State::Blocked | State::BlockDeferred) {
            self.row.cause = None;
        }
        self.row.unjudged = self.row.cause.is_some() && !self.judged;
        let prior = self.case.facts.row.as_ref().filter(|row| row.closed_at.is_none());
        self.forget_begun_block();
        if let Some(block) = prior.and_then(|row| self.may_still_take_effect(row)) {
            // The registry may show its archiving later: without the block in the row nobody would undo it.
            (self.row.block, self.releases) = (Some(block.clone()), Release::No);
        }
        let is_let_go = self.row.block.is_none() || self.releases == Release::Pullable;
        if is_let_go && self.effect.is_none() {
            explain_mark(&mut self.row, self.case.image);
        }
        if let Some(leave) = prior.and_then(|row| self.leave_to_lease_holder(row)) {
            return Plan::Leave(leave);
        }
        let same_state = prior.filter(|row| row.state == self.row.state);
        if let Some(row) = same_state {
            self.row.since = row.since;
        }
        if self.asks_for_news(same_state) {
            return Plan::Ask(Question::Told);
        }
        let is_end_untold = |release: &TimedRelease| release.end_told_at.is_none();
        self.again |= self.row.state == State::BlockDeferred && self.ended_release().is_some_and(is_end_untold);
        let alert = self.owed_alert(same_state);
        let is_done = self.row.state != State::BlockDeferred && self.effect.is_none() && alert.is_none();
        if is_done && self.ended_release().is_some() {
            self.row.release = None;
        }
        if self.releases == Release::Pullable && alert.is_none() && self.effect.is_none() {
            forget_block(&mut self.row);
        }
        // After a block that was refused or one too many, the ledger still says what was begun.
        let unchanged = alert.is_none()
            && self.effect.is_none()
            && self.case.facts.block_failure.is_none()
            && self.case.facts.release_failure.is_none()
            && self.case.facts.limit.is_none()
            && prior.is_some_and(|row| {
                Row {
                    generation: row.generation,
                    ..self.row.clone()
                } == *row
            });
        if unchanged {
            return Plan::Leave(Leave::Unchanged);
        }
        let asks_for_a_look = alert.as_ref().is_some_and(|alert| {
            matches!(
                alert.kind,
                AlertKind::ImageReview | AlertKind::ScanFailed | AlertKind::ScanOverdue
            )
        });
        let waits_for_summary = asks_for_a_look && self.is_found_first();
        let told = self.case.facts.told.as_ref().filter(|_| alert.is_some());
        let told = told.and_then(|told| told.with(self.deciding(), self.case.now));
        if alert.is_none() {
            self.row.undertaken = self.lease_of_change();
        }
        Plan::Apply(Box::new(Step {
            row: self.row,
            effect: self.effect,
            alert,
            counts_as_block: self.counts_as_block,
            awaits_result: false,
            waits_for_summary,
            told,
            tells_release: self.tells_release,
            releases: self.releases,
        }))
    }

    /// The lease of a change without an alert.
    fn lease_of_change(&self) -> Option<Undertaken> {
        self.effect.as_ref().map(|_| Undertaken {
            by: self.case.facts.actor.clone(),
            at: self.case.now,
            with_index: false,
        })
    }

    /// A block that was only begun is forgotten when it is deferred, except for tags that may be missing already, and for a block that took effect all the
    /// same and is undone now: until the image can be pulled, its row says so.
    fn forget_begun_block(&mut self) {
        if self.row.state == State::BlockDeferred {
            let is_undone = self.effect.is_some();
            let is_remembered = |block: &Block| block.confirmed || is_undone || !block.tags.is_empty();
            self.row.block = self.row.block.take().filter(is_remembered);
        }
    }

    /// No alert, if the alert of an index or of the source covers it.
    fn leave_to_other_alerts(&mut self) {
        if self.case.facts.is_led_to() && !self.speaks_for_itself() {
            self.kind = None;
        }
        let releases = self.releases != Release::No;
        if self.case.facts.is_told_of_source(self.row.state, releases)
            && !(self.speaks_for_itself() || self.kind == Some(AlertKind::BlockDeferred))
        {
            self.kind = None;
        }
    }

    /// The block that was begun a moment ago and does not show, although the image is not to be blocked any more.
    fn may_still_take_effect<'r>(&self, row: &'r Row) -> Option<&'r Block> {
        let is_let_go = self.row.state != State::Blocked && self.effect.is_none();
        // A refused call does not take effect. A limit of now says nothing of a call before.
        let is_refused = self.case.facts.block_failure.is_some();
        if !is_let_go || is_refused || self.case.image.status != ImageStatus::Active {
            return None;
        }
        row.block.as_ref().filter(|block| block.may_show_later(self.case.now))
    }

    /// How the image is left, if another invocation holds the lease of its row.
    fn leave_to_lease_holder(&self, row: &Row) -> Option<Leave> {
        if !leased(row, &self.case.facts.actor, self.case.now) {
            return None;
        }
        // An image that is blocked together with its index is held here, until that index is blocked.
        let is_held = is_followed_by_another(row, &self.case.facts.actor, self.case.now)
            && self.row.state == State::BlockDeferred;
        let same = !self.again && self.records_the_same(row, is_held);
        // An image that arrived just now may have arrived after the other invocation has read the registry for the last
        // time.
        let may_be_missed = self.case.facts.arrival.is_some() && self.effect.is_some();
        Some(if same && !may_be_missed {
            Leave::InProgress
        } else {
            Leave::Busy
        })
    }

    /// Whether this row, which another invocation has claimed, records what this step would record. The members that the claim itself has changed,
    /// or that its effect changes, are not compared. Findings of a child may be new to the index: then the claim does not record them.
    fn records_the_same(&self, claimed: &Row, is_held: bool) -> bool {
        let (state, reason) = if is_held {
            (claimed.state, claimed.reason.clone())
        } else {
            (self.row.state, self.row.reason.clone())
        };
        let planned = Row {
            state,
            reason,
            since: claimed.since,
            generation: claimed.generation,
            cause: claimed.cause,
            unjudged: claimed.unjudged,
            block: claimed.block.clone(),
            alert: claimed.alert.clone(),
            release: claimed.release.clone(),
            limited_until: claimed.limited_until,
            refused_until: claimed.refused_until,
            undertaken: claimed.undertaken.clone(),
            available_since: claimed.available_since,
            ..self.row.clone()
        };
        planned == *claimed
    }

    /// Whether an alert is about this image and nothing else, though the alert of an index or a source covers it otherwise.
    fn speaks_for_itself(&self) -> bool {
        match self.kind {
            _ if self.tells_release => true,
            Some(AlertKind::ImageBypass) => true,
            // A blocked index references it, and it can be pulled.
            Some(AlertKind::BlockDeferred) => self.row.runs,
            Some(AlertKind::ImageReleased) => self.prior_block().is_some_and(|block| block.told),
            Some(
                AlertKind::ImageBlocked
                | AlertKind::ImageReview
                | AlertKind::BlockLimit
                | AlertKind::ScanFailed
                | AlertKind::ScanOverdue
                | AlertKind::PullRefused,
            )
            | None => false,
        }
    }

    /// The pending alert, if any; the row is made to say so.
    fn owed_alert(&mut self, same_state: Option<&Row>) -> Option<ImageAlert> {
        let prior = same_state.and_then(|row| row.alert.as_ref());
        let Some(kind) = self.kind else {
            // An alert that was never sent about a state that has passed is not pending any more.
            self.row.alert = self.row.alert.take().filter(|alert| alert.sent_at.is_some());
            return None;
        };
        if self.tells_release {
            let record = AlertRecord {
                id: self.release_alert_id(),
                kind,
                claimed_at: self.case.now,
                claimed_by: self.case.facts.actor.clone(),
                sent_at: None,
                no_news: false,
            };
            let alert = self.compose(&record);
            self.row.alert = Some(record);
            return Some(alert);
        }
        let record = match prior.filter(|_| self.was_told(kind, same_state)) {
            Some(alert) => {
                if alert.sent_at.is_some() {
                    return None;
                }
                // Pending since an earlier attempt: the same alert, under the same id.
                AlertRecord {
                    claimed_at: self.case.now,
                    claimed_by: self.case.facts.actor.clone(),
                    ..alert.clone()
                }
            }
            _ => AlertRecord {
                id: self.alert_id(kind),
                kind,
                claimed_at: self.case.now,
                claimed_by: self.case.facts.actor.clone(),
                sent_at: None,
                no_news: false,
            },
        };
        if record.id != prior.map_or("", |alert| &alert.id) && self.is_no_news(kind) {
            self.row.alert = Some(AlertRecord {
                sent_at: Some(self.case.now),
                no_news: true,
                ..record
            });
            return None;
        }
        let alert = self.compose(&record);
        if let (AlertKind::ImageBlocked | AlertKind::ImageBypass, Some(block)) = (kind, &mut self.row.block) {
            block.told = true;
        }
        self.row.alert = Some(record);
        Some(alert)
    }

    /// Whether an alert of the prior row, sent or pending, says the same as one of this kind would.
    fn was_told(&self, kind: AlertKind, same_state: Option<&Row>) -> bool {
        let prior = same_state.and_then(|row| row.alert.as_ref());
        let is_released = self.hold.as_ref().is_some_and(|hold| hold.cause == RELEASED);
        let says_released = |alert: &AlertRecord| is_released && alert.kind == AlertKind::ImageReleased;
        prior.is_some_and(|alert| speaks_of(alert.kind, kind) || says_released(alert))
            && !self.again
            && !self.has_new_findings(same_state)
    }

    /// Whether the findings that people were notified of must be read before this alert is sent.
    fn asks_for_news(&self, same_state: Option<&Row>) -> bool {
        let review = self.kind == Some(AlertKind::ImageReview);
        review && self.case.facts.told.is_none() && !self.was_told(AlertKind::ImageReview, same_state)
    }

    /// Whether a sweep found it before anybody had evaluated it.
    fn is_found_first(&self) -> bool {
        self.case.facts.found && self.case.facts.row.is_none()
    }

    /// Whether people know all of it: a build with the findings of the one before is no news. A block is always alerted.
    fn is_no_news(&self, kind: AlertKind) -> bool {
        let told = self.case.facts.told.as_ref().filter(|_| kind == AlertKind::ImageReview);
        // The summary of a sweep names its first finds, image by image.
        told.filter(|_| !self.is_found_first()).is_some_and(|told| {
            let mut deciding = self.deciding().peekable();
            deciding.peek().is_some() && deciding.all(|finding| told.knows(finding, self.case.now))
        })
    }

    fn has_new_findings(&self, same_state: Option<&Row>) -> bool {
        let known: BTreeSet<_> = same_state
            .into_iter()
            .flat_map(|row| &row.findings)
            .map(|finding| (finding.identity(), finding.action))
            .collect();
        let all = |row: &Row| row.omitted_findings.saturating_add(row.findings.len() as u64);
        let more = same_state.is_none_or(|row| all(&self.row) > all(row));
        // A finding that enters the list because another one is fixed was there before.
        let left_out = same_state.and_then(|row| row.worst_omitted.as_ref());
        let is_worse = |finding: &RecordedFinding| {
            left_out.is_none_or(|left_out| (finding.action, finding.severity) > (left_out.action, left_out.severity))
        };
        self.deciding()
            .any(|finding| !known.contains(&(finding.identity(), finding.action)) && (more || is_worse(finding)))
    }

    /// The findings at the level of the verdict.
    fn deciding(&self) -> impl Iterator<Item = &RecordedFinding> {
        let level = match self.row.state {
            State::Blocked | State::BlockDeferred => Some(Action::Block),
            State::Review => Some(Action::Review),
            State::Pending | State::Allowed | State::Unscannable | State::Stale | State::NotAnImage => None,
        };
        self.row
            .findings
            .iter()
            .filter(move |finding| Some(finding.action) == level)
    }

    /// That of a release that a person gave: the same however often it is sent, and another one for the next release.
    fn release_alert_id(&self) -> String {
        let release = serde_json::to_string(&self.row.release).unwrap_or_default();
        let image = &self.row.image;
        let kind = AlertKind::ImageReleased.as_str();
        let parts = [
            kind,
            image.account.as_str(),
            image.region.as_str(),
            &image.to_string(),
            &release,
        ];
        let text = parts.join("\0");
        hex(&Sha256::digest(text)).chars().take(32).collect()
    }

    /// Made once and kept in the row, so that a later attempt sends the alert under the same id.
    fn alert_id(&self, kind: AlertKind) -> String {
        let mut hash = Sha256::new();
        let mut add = |part: &str| {
            hash.update(part.as_bytes());
            hash.update([0]);
        };
        let image = &self.row.image;
        for part in [
            kind.as_str(),
            image.account.as_str(),
            image.region.as_str(),
            image.repository.as_str(),
        ] {
            add(part);
        }
        add(image.digest.as_str());
        add(&self.row.since.to_string());
        add(&self.row.generation.to_string());
        hex(&hash.finalize()).chars().take(32).collect()
    }

    fn compose(&self, record: &AlertRecord) -> ImageAlert {
        let findings: Vec<RecordedFinding> = self.deciding().cloned().collect();
        let level = findings.first().map(|finding| finding.action);
        let others = self.row.findings.iter().filter(|finding| Some(finding.action) != level);
        let all_decide = findings.len() == self.row.findings.len();
        ImageAlert {
            id: record.id.clone(),
            kind: record.kind,
            state: self.row.state,
            severity: findings.iter().map(|finding| finding.severity).max(),
            time: self.case.now,
            image: self.row.image.clone(),
            tags: self.case.image.tags.clone(),
            title: words::title(record.kind, &self.row, self.told_release()),
            reason: self.told_reason(record.kind),
            release: self.told_release().cloned(),
            next_steps: next_steps(&Situation {
                kind: record.kind,
                row: &self.row,
                findings: &findings,
                hold: self.hold.as_ref(),
                arrival: self.case.facts.arrival.as_ref(),
                scanned: self.scanned(&findings),
                policy: Some(self.case.policy),
            }),
            exceptions: proposed_exceptions(record.kind, &self.row.image.repository, &findings, self.case.now),
            omitted_findings: if all_decide { self.row.omitted_findings } else { 0 },
            // Once the image is archived, nobody can read them from the registry.
            other_findings: others.chain(&self.row.excepted).cloned().collect(),
            omitted_other_findings: if all_decide { 0 } else { self.row.omitted_findings },
            // Without a scan, the counts of the one before say nothing.
            counts: match self.row.no_scan {
                None => self.row.counts.clone(),
                Some(_) => BTreeMap::new(),
            },
            hold: self
                .hold
                .as_ref()
                .filter(|_| self.row.state == State::BlockDeferred)
                .map(|hold| HoldNote {
                    cause: hold.cause,
                    reason: hold.reason.clone(),
                    ends: hold.ends.unwrap_or_default(),
                    until: hold.until,
                }),
            findings,
            action: self.action.clone(),
        }
    }

    /// The release that the alert is about.
    fn told_release(&self) -> Option<&TimedRelease> {
        self.row.release.as_ref().filter(|_| self.tells_release)
    }

    /// The reason, as the alert gives it; where a release has ended, that comes first.
    fn told_reason(&self, kind: AlertKind) -> String {
        let arrival = self.case.facts.arrival.as_ref();
        let reason = words::told_reason(kind, &self.row, self.prior_block(), arrival);
        match self.told_release() {
            Some(_) => self.row.reason.clone(),
            None => match self.ended_release() {
                Some(ended) => format!("{} {reason}", ended.has_ended()),
                None => reason,
            },
        }
    }

    /// The image whose scan shows the findings: the image itself, or for an index one of its children.
    fn scanned(&self, findings: &[RecordedFinding]) -> &Digest {
        let worst = findings.first().map(RecordedFinding::identity);
        let has_it = |row: &Row| row.findings.iter().any(|finding| Some(finding.identity()) == worst);
        let children = self.case.facts.children();
        let child = children
            .iter()
            .find(|child| child.row.as_ref().is_some_and(has_it))
            .or(children.first());
        child.map_or(&self.row.image.digest, |child| &child.child.digest)
    }

    fn record(&self, judged: &Judged) -> RecordedFinding {
        let finding = &judged.finding;
        let (id, package) = (
            cut(&finding.id, 200),
            finding.package.as_deref().map(|text| cut(text, 200)),
        );
        let first_seen = self
            .case
            .facts
            .row
            .iter()
            .chain(self.case.facts.source_row())
            .chain(self.case.facts.children().iter().filter_map(|child| child.row.as_ref()))
            .flat_map(|row| row.findings.iter().chain(&row.excepted))
            .find(|known| known.identity() == (id.as_str(), package.as_deref()))
            .map_or(self.case.now, |known| known.first_seen);
        RecordedFinding {
            id,
            related: finding.related.clone(),
            severity: finding.severity,
            package,
            package_type: finding.package_type.as_deref().map(|text| cut(text, 50)),
            installed: finding.installed.as_deref().map(|text| cut(text, 100)),
            fixed_in: finding.fixed_in.as_deref().map(|text| cut(text, 100)),
            fix: finding.fix,
            exploit: finding.exploit,
            score: finding.score,
            epss: finding.epss,
            url: finding.url.as_deref().map(|text| cut(text, 300)),
            action: judged.consequence.action,
            rule: judged.consequence.rule.to_string(),
            first_seen,
            stands_for: judged.stands_for,
            exception: judged.exception.as_ref().map(|exception| exception.name.clone()),
            excepted_by: judged.exception.as_ref().map(|exception| exception.scope.clone()),
        }
    }
}

/// The entries that an alert of this kind proposes for the policy.
pub(super) fn proposed_exceptions(
    kind: AlertKind,
    repository: &RepositoryName,
    findings: &[RecordedFinding],
    now: Timestamp,
) -> Vec<ExceptionEntry> {
    match kind {
        AlertKind::ImageBlocked
        | AlertKind::BlockDeferred
        | AlertKind::ImageBypass
        | AlertKind::ImageReview
        | AlertKind::PullRefused => findings
            .iter()
            .filter_map(|finding| ExceptionEntry::proposed(finding, repository, now))
            .take(MAX_EXCEPTIONS)
            .collect(),
        AlertKind::ImageReleased | AlertKind::BlockLimit | AlertKind::ScanFailed | AlertKind::ScanOverdue => Vec::new(),
    }
}

/// For how long the registry's refusal stands to block a child, or to undo a block. Whether ECR archives such an image is
/// documented nowhere, and a refusal may have another cause that somebody removes: every hourly sweep asks again.
pub(super) const REFUSAL_STANDS: SignedDuration = SignedDuration::from_mins(50);

/// The children of an index, which never change.
fn children(facts: &Facts) -> Vec<Child> {
    match &facts.children {
        Children::Known(children) => children.iter().map(|child| child.child.clone()).collect(),
        Children::NotAsked | Children::Unknown => {
            facts.row.as_ref().map(|row| row.children.clone()).unwrap_or_default()
        }
    }
}

/// How many more entries an index has.
fn more_children(facts: &Facts) -> u64 {
    match &facts.children {
        Children::Known(_) => facts.more_children,
        Children::NotAsked | Children::Unknown => facts.row.as_ref().map_or(0, |row| row.more_children),
    }
}

/// The parent indexes of the image, without those that no longer exist, and whether there are more. Known ones stay: an index
/// that is forgotten could be the one that is in use.
pub(super) fn indexes(facts: &Facts) -> (Vec<Digest>, bool) {
    let known = facts.indexes.iter().filter(|index| !index.is_gone());
    let mut digests: Vec<Digest> = known.map(|index| index.digest.clone()).collect();
    let more = facts.has_more_indexes() || digests.len() > MAX_INDEXES;
    digests.truncate(MAX_INDEXES);
    (digests, more)
}

/// The last day on which the scanner knew of a workload that ran the image, if it has parent indexes.
fn used_on(facts: &Facts, now: Timestamp) -> Option<Timestamp> {
    let known = facts.row.as_ref().and_then(|row| row.used_on);
    let Scan::Complete(scan) = &facts.scan else {
        return known;
    };
    let running = scan.in_use_count.is_some_and(|count| count > 0).then_some(now);
    let used = scan.last_in_use_at.max(running).filter(|_| facts.is_led_to());
    used.map(day_of).max(known)
}

/// A text of the scanner, within bounds: Inspector's API allows 1,024 characters for names and versions, which come from files
/// in the image.
fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

/// The worse of two findings, by action and severity.
fn worse(one: Option<RecordedFinding>, other: Option<RecordedFinding>) -> Option<RecordedFinding> {
    let rank = |finding: &Option<RecordedFinding>| finding.as_ref().map(|finding| (finding.action, finding.severity));
    if rank(&other) > rank(&one) { other } else { one }
}

/// Whether an alert that was sent says what another one would say.
fn speaks_of(sent: AlertKind, wanted: AlertKind) -> bool {
    use AlertKind::{BlockLimit, ImageBlocked, ImageBypass, ImageReleased, ImageReview, ScanFailed};
    sent == wanted
        || matches!(
            (sent, wanted),
            // Both say: blocked.
            (ImageBypass, ImageBlocked)
            // The alert about the limit was sent when the image was blocked already, and a stronger block was asked for.
            | (BlockLimit, ImageBlocked)
            // A release says what state the image is in now.
            | (ImageReleased, ImageReview | ScanFailed)
        )
}

#[cfg(test)]
mod tests {
    use super::worse;
    use crate::{finding::Severity, testing::recorded};

    #[test]
    fn the_worse_of_two_findings_stays_and_the_first_of_equal_ones() {
        let critical = Some(recorded("CVE-2026-1", Severity::Critical));
        let other = Some(recorded("CVE-2026-2", Severity::Critical));
        let high = Some(recorded("CVE-2026-3", Severity::High));
        assert_eq!(worse(high.clone(), critical.clone()), critical);
        assert_eq!(worse(critical.clone(), high), critical);
        assert_eq!(worse(critical.clone(), other), critical);
        assert_eq!(worse(None, critical.clone()), critical);
        assert_eq!(worse(critical.clone(), None), critical);
    }
}
