//! The decision of a policy about an image, by the facts of a snapshot: the same pure decision as a function's, without its
//! effects.
//!
//! A snapshot has the ledger's record of a scan. A fact that it does not have, and that a function would ask for, is named: see
//! [`Judged::unless`] and [`Outcome::Unknown`].

use guard_core::{
    decide::{
        ChildFacts, Children, Facts, HOLD_RULES, LeadingIndex, Opinion, Question, Replaced, SourceImage, SourceRank,
        Survey, Turns, judge, may_be_source,
    },
    finding::{NOT_REMEMBERED, Scan, Severity},
    ids::{ImageKey, Region, RepositoryKey},
    image::{Image, ImageStatus},
    ledger::{Cause, Row},
    policy::{Action, BlockMethod, Policy},
    predecessor::{Predecessor, replaced_by},
    replication::is_destination,
    repository::access::lambda_may_pull,
    state::State,
    uses::Uses,
};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    known::{ImageId, Known},
    ledgers::NotRead,
};

/// A policy with its document.
#[derive(Debug)]
pub struct PolicyText {
    /// The policy.
    pub policy: Policy,
    /// Its document, with all defaults written out.
    written_out: Value,
}

impl PolicyText {
    /// A document as the functions read one that is deployed.
    ///
    /// # Errors
    /// It is none.
    pub fn read(document: &str, now: Timestamp) -> Result<Self, NotRead> {
        let invalid = |error: guard_core::policy::PolicyError| NotRead::new(error.to_string());
        Ok(Self {
            policy: Policy::from_deployed_json(document, now).map_err(invalid)?,
            written_out: Policy::written_out(document).map_err(invalid)?,
        })
    }

    /// Its document, with all defaults written out.
    pub fn document(&self) -> String {
        format!("{:#}", self.written_out)
    }
}

/// The result for an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// This state.
    State(State),
    /// There is no such image any more.
    Gone,
    /// Nobody has reconciled it yet, so that nothing is known of it.
    New,
    /// Somebody else archived it before it was evaluated: it is left alone.
    LeftAlone,
    /// The known facts do not suffice; why.
    Unknown(String),
}

impl Outcome {
    /// The word for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::State(state) => state.as_str(),
            Self::Gone => "gone",
            Self::New => "new",
            Self::LeftAlone => "left-alone",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// The decision of a policy about an image.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    /// The result.
    pub outcome: Outcome,
    /// The sentence that its row would have.
    pub reason: String,
    /// The part of the policy that decides.
    pub rule: Option<String>,
    /// The word for why it is not blocked.
    pub hold: Option<&'static str>,
    /// It is blocked, unless one of these keeps it from that, which a snapshot does not show.
    pub unless: Vec<&'static str>,
    /// The row that a reconcile would write.
    pub row: Option<Box<Row>>,
}

/// The words of holds that rest on what becomes of another image.
const NO_WORSE: &str = "no-worse";
const INDEX_NOT_BLOCKED: &str = "index-not-blocked";

/// The most questions about an image; each is asked once.
const MAX_QUESTIONS: usize = 12;

/// An index may reference an index, and no deeper than this.
const MAX_DEPTH: usize = 4;

/// The way from the image that is asked about to one that decides about it.
#[derive(Debug, Clone, Copy, Default)]
struct Way {
    /// The number of steps.
    steps: usize,
    /// It has reached the source of a copy: ECR does not copy copies, so that no further source decides.
    to_source: bool,
}

impl Way {
    /// The way to a child of an index: what its own indexes become does not decide.
    const TO_CHILD: Self = Self {
        steps: MAX_DEPTH.saturating_sub(1),
        to_source: false,
    };
}

/// Evaluates images of a snapshot under a policy.
pub struct Judge<'a> {
    policy: &'a PolicyText,
    now: Timestamp,
    /// The pulled images of the repository that was asked about last.
    pulled: Option<(RepositoryKey, Vec<Image>)>,
    /// The holds of other images on which the result for the evaluated image depends.
    doubts: Vec<&'static str>,
    /// Why it is not known what becomes of one of these images.
    unknown: Option<String>,
    /// Whether all indexes of the repository that was asked about last are known.
    indexes: Option<(RepositoryKey, bool)>,
    /// The policies that rows were decided under, as far as they are known.
    others: Vec<&'a PolicyText>,
}

impl std::fmt::Debug for Judge<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Judge")
            .field("policy", &self.policy.policy.sha256)
            .finish_non_exhaustive()
    }
}

impl<'a> Judge<'a> {
    /// `others`: policies that rows may have been decided under.
    pub fn new(policy: &'a PolicyText, others: &[&'a PolicyText], now: Timestamp) -> Self {
        Self {
            policy,
            now,
            pulled: None,
            doubts: Vec::new(),
            unknown: None,
            indexes: None,
            others: others.to_vec(),
        }
    }

    /// The decision of the policy about an image.
    ///
    /// # Errors
    /// The snapshot cannot be read.
    pub fn image(&mut self, known: &mut Known, id: ImageId) -> Result<Judged, NotRead> {
        self.at(known, id, Way::default())
    }

    fn at(&mut self, known: &mut Known, id: ImageId, way: Way) -> Result<Judged, NotRead> {
        let outer = (std::mem::take(&mut self.doubts), self.unknown.take());
        let judged = self.decided(known, id, way);
        (self.doubts, self.unknown) = outer;
        judged
    }

    fn decided(&mut self, known: &mut Known, id: ImageId, way: Way) -> Result<Judged, NotRead> {
        let only = |outcome| Judged {
            outcome,
            reason: String::new(),
            rule: None,
            hold: None,
            unless: Vec::new(),
            row: None,
        };
        let Some(key) = known.key(id) else {
            return Ok(only(Outcome::Unknown("it has no name".to_owned())));
        };
        let row = known.row(id)?.filter(|row| row.closed_at.is_none() && !row.not_reached);
        let listed = known.listed(id)?;
        let Some(row) = row else {
            return Ok(only(match listed {
                Some(listed) if listed.image.status == ImageStatus::Archived => Outcome::LeftAlone,
                Some(_) => Outcome::New,
                None => Outcome::Gone,
            }));
        };
        if listed.is_none() && known.is_listed(id) {
            return Ok(only(Outcome::Gone));
        }
        let is_seen = listed.is_some();
        let image = listed.map_or_else(|| remembered(&row), |listed| listed.image);
        let mut facts = Facts {
            image: Some(image),
            // The scanner is not asked; the ledger's record of its answer is evaluated.
            scan: Scan::Absent,
            would_count_use: row.scan.as_ref().is_some_and(|scan| scan.counts_use),
            // A sweep reads them all.
            looked_again: true,
            indexes_known: (!row.more_indexes).then_some(true),
            indexes_read: self.reads_indexes(known, id, &row)?,
            found: true,
            ..Facts::about(key, "ecr-guard")
        };
        let before = row.clone();
        facts.indexes = self.indexes(known, &row, way)?;
        let of_indexes = self.unknown.take();
        facts.source = self.source(known, &row, way)?;
        let of_source = self.unknown.take();
        facts.row = Some(row);
        let mut unless = Vec::new();
        for _ in 0..MAX_QUESTIONS {
            match judge(&self.policy.policy, &facts, self.now) {
                Opinion::Ask(question) => self.answer(question, known, id, &mut facts, &mut unless, way)?,
                Opinion::Gone => return Ok(only(Outcome::Gone)),
                Opinion::ArchivedByOthers => return Ok(only(Outcome::LeftAlone)),
                Opinion::NotAnImage => return Ok(only(Outcome::State(State::NotAnImage))),
                Opinion::Opinion(judgement) => {
                    unless.append(&mut self.doubts);
                    let found = Found {
                        before: &before,
                        row: judgement.row,
                        hold: judgement.hold,
                        unless,
                        is_seen,
                        of_indexes,
                        of_source,
                        of_others: self.unknown.take(),
                    };
                    return Ok(self.judged(found, &facts));
                }
            }
        }
        Ok(only(Outcome::Unknown(
            "the same question came again and again".to_owned(),
        )))
    }

    /// Whether the next sweep knows all indexes of the repository. Only of an image without a tag that matters: one of them may reference it.
    fn reads_indexes(&mut self, known: &mut Known, id: ImageId, row: &Row) -> Result<bool, NotRead> {
        let matters = row.tags.is_empty() && !row.alone || row.more_indexes;
        let Some(key) = known.repository(id).cloned().filter(|_| matters && known.is_listed(id)) else {
            return Ok(false);
        };
        if let Some((_, all)) = self.indexes.as_ref().filter(|(of, _)| *of == key) {
            return Ok(*all);
        }
        // As a sweep finds it out.
        let turns = Turns::new(None, self.now);
        let mut survey = Survey::new(&self.policy.policy, &key.repository, turns, self.now);
        let ids = known.images_of(&key);
        for id in &ids {
            if let Some(row) = known.row(*id)? {
                survey.remember(&row);
            }
        }
        for id in &ids {
            if let Some(listed) = known.listed(*id)? {
                survey.see(&listed);
            }
        }
        let all = survey.knows_all_indexes();
        self.indexes = Some((key, all));
        Ok(all)
    }

    /// The parent indexes of an image, each with the row that a reconcile would write.
    fn indexes(&mut self, known: &mut Known, row: &Row, way: Way) -> Result<Vec<LeadingIndex>, NotRead> {
        let mut indexes = Vec::new();
        for digest in &row.indexes {
            let key = ImageKey {
                digest: digest.clone(),
                ..row.image.clone()
            };
            // The index of a source may be a copy itself, where copies go both ways.
            let way = Way {
                to_source: false,
                ..way
            };
            indexes.push(LeadingIndex {
                digest: digest.clone(),
                row: self.would_be(known, &key, way)?,
                looking: None,
            });
        }
        Ok(indexes)
    }

    /// The row that a reconcile of an image would write, once its decision is carried out.
    fn would_be(&mut self, known: &mut Known, key: &ImageKey, way: Way) -> Result<Option<Row>, NotRead> {
        let Some(id) = known.id(key) else { return Ok(None) };
        let before = known.row(id)?;
        if way.steps >= MAX_DEPTH {
            return Ok(before);
        }
        let further = Way {
            steps: way.steps.saturating_add(1),
            ..way
        };
        let judged = self.at(known, id, further)?;
        self.doubts.extend(&judged.unless);
        if let Outcome::Unknown(why) = &judged.outcome {
            self.unknown.get_or_insert_with(|| why.clone());
        }
        let mut row = judged.row.map(|row| *row).or(before);
        if let Some(row) = &mut row {
            if judged.outcome == Outcome::Gone {
                row.closed_at = Some(self.now);
            }
            if let Some(block) = &mut row.block {
                block.confirmed = true;
            }
        }
        Ok(row)
    }

    /// The image in another region that this one is a copy of.
    fn source(&mut self, known: &mut Known, row: &Row, way: Way) -> Result<Option<SourceImage>, NotRead> {
        let Some(region) = self.source_region(known, row)? else {
            return Ok(None);
        };
        let key = ImageKey {
            region: region.clone(),
            ..row.image.clone()
        };
        let row = if way.to_source {
            known.row_of(&key)?
        } else {
            let way = Way { to_source: true, ..way };
            self.would_be(known, &key, way)?
        };
        Ok(Some(SourceImage { region, row }))
    }

    /// The region that an image was copied from, by its row, or by the rows of other regions.
    fn source_region(&self, known: &mut Known, row: &Row) -> Result<Option<Region>, NotRead> {
        if let Some(source) = &row.source {
            return Ok(Some(source.region.clone()));
        }
        let policy = &self.policy.policy;
        if !is_destination(policy, &row.image.repository, &row.image.region) {
            return Ok(None);
        }
        let mut rows = Vec::new();
        for other in known.named(&row.image.repository) {
            if other.region != row.image.region && other.account == row.image.account {
                rows.extend(known.row_of(&other.image(&row.image.digest))?);
            }
        }
        rows.retain(|other| may_be_source(policy, other, &row.image.region, row.available_since));
        let first = rows.into_iter().min_by_key(|row| SourceRank::of(policy, row));
        Ok(first.map(|row| row.image.region))
    }

    /// The row of a child of an index. A copy may be evaluated by its source; of any other, the remembered findings are evaluated.
    fn child(&mut self, known: &mut Known, key: &ImageKey) -> Result<Option<Row>, NotRead> {
        let row = known.row_of(key)?;
        let follows = match &row {
            Some(row) => row.closed_at.is_none() && self.source_region(known, row)?.is_some(),
            None => false,
        };
        if follows {
            self.would_be(known, key, Way::TO_CHILD)
        } else {
            Ok(row)
        }
    }

    fn answer(
        &mut self,
        question: Question,
        known: &mut Known,
        id: ImageId,
        facts: &mut Facts,
        unless: &mut Vec<&'static str>,
        way: Way,
    ) -> Result<(), NotRead> {
        match question {
            Question::Children => {
                let row = facts.row.clone();
                let Some(row) = row.filter(|row| !row.children.is_empty() || row.more_children > 0) else {
                    facts.children = Children::Unknown;
                    return Ok(());
                };
                let mut children = Vec::new();
                for child in &row.children {
                    let key = ImageKey {
                        digest: child.digest.clone(),
                        ..facts.key.clone()
                    };
                    children.push(ChildFacts {
                        child: child.clone(),
                        row: self.child(known, &key)?,
                    });
                }
                facts.children = Children::Known(children);
                facts.more_children = row.more_children;
                facts.uses = None;
            }
            Question::ChildrenPulled => {
                let mut pulled = Vec::new();
                for key in facts.pulled_together() {
                    if let Some(id) = known.id(&key).filter(|_| key != facts.key) {
                        pulled.extend(known.listed(id)?.and_then(|listed| listed.image.last_pulled_at));
                    }
                }
                facts.children_pulled = Some(pulled);
            }
            Question::Uses => {
                let images = facts.pulled_together();
                let mut rows = Vec::new();
                for id in images.iter().filter_map(|key| known.id(key)).collect::<Vec<_>>() {
                    rows.extend(known.used(id)?);
                }
                let state = known.index_state(&facts.key.account, &facts.key.region);
                facts.uses = Some(match &self.policy.policy.workloads {
                    Some(rules) => Uses::of(rules, &images, &rows, state, self.now),
                    None => Uses::Nobody,
                });
            }
            Question::Lambda => {
                let access = known.access(id);
                if access.is_none() {
                    unless.push("lambda-may-pull");
                }
                facts.lambda = Some(lambda_may_pull(access.flatten()));
            }
            Question::Replaced => facts.replaced = self.replaced(known, facts, way)?,
            Question::Indexes => facts.indexes_known = Some(true),
            Question::Again | Question::Scan | Question::Told => facts.looked_again = true,
        }
        Ok(())
    }

    /// Which image this one replaces, once the policy has done what it does to that one.
    fn replaced(&mut self, known: &mut Known, facts: &Facts, way: Way) -> Result<Replaced, NotRead> {
        let repository = RepositoryKey::of(&facts.key);
        if self.pulled.as_ref().is_none_or(|(key, _)| *key != repository) {
            self.pulled = Some((repository.clone(), known.pulled(&repository)?));
        }
        let counted = facts.row.as_ref().and_then(|row| row.scan.as_ref());
        let counted = counted.is_some_and(|scan| scan.counts_use);
        let since = self.now - self.policy.policy.block(&repository.repository).in_use(counted);
        let Some(image) = &facts.image else {
            return Ok(Replaced::Nothing);
        };
        let pulled = self.pulled.iter().flat_map(|(_, pulled)| pulled);
        let may_be = |other: &&Image| other.last_pulled_at >= Some(since) && other.pushed_at < image.pushed_at;
        let mut pulled: Vec<Image> = pulled.filter(may_be).cloned().collect();
        while let Some(other) = replaced_by(image, &pulled, since).cloned() {
            let row = self.would_be(known, &repository.image(&other.digest), way)?;
            let block = row.as_ref().and_then(|row| row.block.as_ref());
            let is_archived =
                block.is_some_and(|block| block.method == BlockMethod::Archive && block.undone_at.is_none());
            if !is_archived {
                let predecessor = Predecessor::new(&other, &Scan::Absent, row.as_ref());
                return Ok(predecessor.map_or(Replaced::Nothing, Replaced::Image));
            }
            // Nobody can pull it any more: another one runs.
            pulled.retain(|image| image.digest != other.digest);
        }
        Ok(Replaced::Nothing)
    }

    /// Sums up.
    fn judged(&self, found: Found<'_>, facts: &Facts) -> Judged {
        let Found {
            before,
            row,
            hold,
            mut unless,
            is_seen,
            of_indexes,
            of_source,
            of_others,
        } = found;
        let state = row.state;
        let is_new = before.state != State::Blocked;
        let children = facts.children().iter().filter_map(|child| child.row.as_ref());
        // An index has no scan of its own: it is in use while one of its children is.
        let counts_use = |row: &Row| row.scan.as_ref().is_some_and(|scan| scan.counts_use);
        if state == State::Blocked && is_new && std::iter::once(before).chain(children.clone()).any(counts_use) {
            unless.push("in-use");
        }
        let involved = std::iter::once(before).chain(children).chain(facts.source_row());
        // A finding that is not remembered may be one that the replaced image does not have.
        let is_certain = state == State::Blocked
            || state == State::BlockDeferred && !rests_on_stand_ins(&row) && hold != Some(NO_WORSE);
        // A block stands whatever becomes of others; anything else rests on some of them.
        let of_others = match hold {
            Some(INDEX_NOT_BLOCKED) => of_indexes,
            Some(NO_WORSE) => of_others,
            _ => of_others.filter(|_| !row.children.is_empty()),
        };
        let rests_on = of_source.or(of_others).filter(|_| state != State::Blocked);
        let forgets = involved.filter(|row| !self.remembers(row)).count() > 0;
        let outcome = if forgets && !is_certain {
            Outcome::Unknown(
                "the ledger does not remember findings below review one by one, and this policy may ask for more of them"
                    .to_owned(),
            )
        } else if let Some(why) = rests_on {
            Outcome::Unknown(why)
        } else if state == State::BlockDeferred && row.cause == Some(Cause::Source) && !unless.is_empty() {
            Outcome::Unknown(
                "the block of its source has a condition; without that block it is evaluated by itself".to_owned(),
            )
        } else if !is_seen && is_new && matches!(state, State::Blocked | State::BlockDeferred) {
            Outcome::Unknown(
                "it is Blocked or BlockDeferred: the snapshot does not say when it was last pulled (it has no list of the registry)"
                    .to_owned(),
            )
        } else {
            Outcome::State(state)
        };
        unless.sort_unstable();
        unless.dedup();
        if !matches!(outcome, Outcome::State(State::Blocked)) {
            unless.clear();
        }
        Judged {
            outcome,
            reason: row.reason.clone(),
            rule: rule(&row, hold),
            hold,
            unless,
            row: Some(Box::new(row)),
        }
    }

    /// Whether the row remembers all that this policy could make something of.
    fn remembers(&self, row: &Row) -> bool {
        let policy = &self.policy.policy;
        let rest = row.not_remembered();
        let same = match &row.judged_by {
            Some(rules) => *rules == policy.judging,
            None => row.policy == policy.sha256,
        };
        if rest.is_empty() || same {
            return true;
        }
        // A finding that was below review and matched a rule still has its effect, as long as the rules are the same.
        let was = self.others.iter().find(|other| match &row.judged_by {
            Some(rules) => *rules == other.policy.judging,
            None => row.policy == other.policy.sha256,
        });
        let Some(was) = was else { return false };
        let same_rules = ["unfixable", "exploitable", "rules"]
            .iter()
            .all(|member| was.written_out.get(member) == self.policy.written_out.get(member));
        same_rules && rest.keys().all(|severity| !self.raises(*severity, was))
    }

    /// Whether the policy says more of a severity by itself than the other one, and asks for a review at least.
    fn raises(&self, severity: Severity, was: &PolicyText) -> bool {
        let action = |policy: &PolicyText| {
            let word = policy.written_out.pointer(&format!("/severities/{severity}"));
            word.and_then(|word| serde_json::from_value::<Action>(word.clone()).ok())
        };
        let (new, old) = (action(self.policy), action(was));
        new.is_none_or(|new| new >= Action::Review) && new != old
    }
}

/// The result of a decision.
struct Found<'a> {
    before: &'a Row,
    row: Row,
    hold: Option<&'static str>,
    unless: Vec<&'static str>,
    /// The registry lists it.
    is_seen: bool,
    /// Why it is not known what becomes of its parent indexes.
    of_indexes: Option<String>,
    /// Why it is not known what becomes of its source.
    of_source: Option<String>,
    /// Why it is not known what becomes of its children, or of the image that it replaces.
    of_others: Option<String>,
}

fn rests_on_stand_ins(row: &Row) -> bool {
    let mut blocking = row.findings.iter().filter(|finding| finding.action == Action::Block);
    row.cause == Some(Cause::Findings) && !blocking.any(|finding| finding.id != NOT_REMEMBERED)
}

/// The image, as far as its row remembers it.
fn remembered(row: &Row) -> Image {
    let block = row.block.as_ref();
    let archived = block.is_some_and(|block| block.method == BlockMethod::Archive && block.confirmed);
    let status = match block.and_then(|block| block.undone_at) {
        _ if !archived => ImageStatus::Active,
        Some(_) => ImageStatus::Activating,
        None => ImageStatus::Archived,
    };
    let index = "application/vnd.oci.image.index.v1+json";
    Image {
        digest: row.image.digest.clone(),
        tags: row.tags.clone(),
        status,
        pushed_at: row.available_since,
        last_pulled_at: None,
        last_activated_at: None,
        manifest_media_type: (!row.children.is_empty() || row.more_children > 0).then(|| index.to_owned()),
        artifact_media_type: None,
        subject: None,
    }
}

/// The part of the policy that decides.
pub fn rule(row: &Row, hold: Option<&'static str>) -> Option<String> {
    if let Some(hold) = hold {
        let rule = HOLD_RULES.iter().find(|rule| rule.cause == hold);
        if let Some(setting) = rule.and_then(|rule| rule.setting) {
            return Some(setting.to_owned());
        }
    }
    match row.state {
        State::Blocked | State::BlockDeferred | State::Review => match row.cause {
            Some(Cause::Tag) => Some("repositories[].tags".to_owned()),
            Some(Cause::Source) => None,
            Some(Cause::NoScan) => Some("scan".to_owned()),
            Some(Cause::Findings) | None => row.findings.first().map(|finding| finding.rule.clone()),
        },
        State::Unscannable | State::Stale => Some("scan".to_owned()),
        State::Pending | State::Allowed | State::NotAnImage => None,
    }
}
