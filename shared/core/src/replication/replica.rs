//! From facts about one copy to a plan: whether it is complete and in time, and the alert.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::{
    alert::{NextStep, repository::RepositoryAlert},
    ids::{Digest, ImageKey, RegistryKey, RepositoryKey, Tag},
    image::{Image, ImageKind, ImageStatus},
    notice::{Change, Note, RepositoryAlertKind as Kind, Settle, settle},
    policy::Policy,
    replication::{
        ledger::{MAX_TAGS, Missing, NotPullable, ReplicaRow, ReplicaRowSchema, ReplicaState},
        rules,
    },
    text,
};

/// The part of an event about a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaEvent {
    /// It has arrived; otherwise, ECR gave up.
    pub arrived: bool,
    /// The tag that it was pushed with; where no event said so, the tags that its source has.
    pub tags: Vec<Tag>,
}

/// So long a push and an arrival are news.
const NEWS: SignedDuration = SignedDuration::from_hours(24);

/// Where a tag leads that a copy should have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagPlace {
    /// Here.
    pub here: Option<Image>,
    /// In the source; only asked where it is not on the copy here.
    pub in_source: Told<Option<Digest>>,
}

/// The answer of the registry that an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told<T> {
    /// It was not asked.
    NotAsked,
    /// It says this.
    Says(T),
    /// It gives no answer; its message. It may be in another account.
    Refuses(String),
}

impl<T> Told<T> {
    /// The answer, if there is one.
    pub fn says(&self) -> Option<&T> {
        match self {
            Self::Says(answer) => Some(answer),
            Self::NotAsked | Self::Refuses(_) => None,
        }
    }
}

/// The children of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChildrenHere {
    /// It is no index, or it cannot be pulled, so that nobody can read it.
    NotAsked,
    /// Its manifest cannot be had or understood.
    Unknown,
    /// These.
    Known(ListedHere),
}

/// The children of an index, and their state here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListedHere {
    /// All of it.
    pub children: Vec<Digest>,
    /// Children that are not here.
    pub absent: Vec<Digest>,
    /// Children in the archive, not by a block of ours.
    pub archived: Vec<Digest>,
    /// Children on their way back from there.
    pub returning: Vec<Digest>,
}

/// How far ECR is with a copy, as the registry says that it is copied from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyState {
    /// It has arrived.
    Complete,
    /// It has not.
    Missing(Missing),
    /// There is no such image in the source.
    NoSuchImage,
}

/// All that is known of one copy at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplicaFacts {
    /// The copy.
    pub key: ImageKey,
    /// The registry that it comes from.
    pub source: RegistryKey,
    /// The event that caused this reconcile, if one did.
    pub event: Option<ReplicaEvent>,
    /// Tags that the source has by the ledger, that the copy does not have, and of which no event has come.
    pub source_tags: Vec<Tag>,
    /// The copy, as the registry here shows it.
    pub image: Option<Image>,
    /// We have blocked it here, so that it cannot be pulled for a good reason.
    pub is_blocked: bool,
    /// Where its tags lead.
    pub tags: BTreeMap<Tag, TagPlace>,
    /// Its children.
    pub children: ChildrenHere,
    /// When it was pushed in the source, as far as known.
    pub pushed_at: Option<Timestamp>,
    /// How far ECR is; only asked where it did not arrive.
    pub status: Told<CopyState>,
    /// An alert of the source has said already that it is late; or a backfill has brought it, or may have.
    pub told_late: bool,
    /// The row in the ledger.
    pub row: Option<ReplicaRow>,
    /// The invocation that asks.
    pub actor: String,
}

impl ReplicaFacts {
    /// Nothing is known yet.
    pub fn about(key: ImageKey, source: RegistryKey, event: Option<ReplicaEvent>, actor: &str) -> Self {
        Self {
            key,
            source,
            event,
            source_tags: Vec::new(),
            image: None,
            is_blocked: false,
            tags: BTreeMap::new(),
            children: ChildrenHere::NotAsked,
            pushed_at: None,
            status: Told::NotAsked,
            told_late: false,
            row: None,
            actor: actor.to_owned(),
        }
    }

    /// Whether ECR gave up on it, as far as was said; what is true is for [`Self::status`] to say.
    fn said_failed(&self) -> bool {
        match &self.event {
            Some(event) => !event.arrived,
            None => self.row.as_ref().is_some_and(|row| row.state == ReplicaState::Failed),
        }
    }

    /// Whether the source must be asked how far ECR is.
    pub fn needs_status(&self) -> bool {
        self.image.is_none() || self.said_failed()
    }

    /// Seconds from the push in the source to the arrival here.
    pub fn lag_seconds(&self) -> Option<u64> {
        let arrived = self.image.as_ref()?.pushed_at?;
        // Less than nothing: it was pushed again, or got another tag, after the copy had come.
        u64::try_from(arrived.duration_since(self.pushed_at?).as_secs()).ok()
    }

    /// Whether an alert says that it came late: it has come just now, and it was pushed not long ago. An image that comes later
    /// than that was pushed before it was to be copied (a new rule, a backfill), or the source's sweep has alerted it long ago.
    pub fn is_late(&self, lag: u64, max_lag: SignedDuration, now: Timestamp) -> bool {
        let lag = SignedDuration::from_secs(i64::try_from(lag).unwrap_or(i64::MAX));
        let arrived = self.image.as_ref().and_then(|image| image.pushed_at);
        let is_news = arrived.is_some_and(|at| now.duration_since(at) <= NEWS);
        is_news && lag > max_lag && lag <= max_lag.saturating_add(NEWS)
    }

    /// The tags that it should have, by what the ledger remembers and an event says; the last ones.
    pub fn tags(&self) -> Vec<Tag> {
        let mut tags: Vec<Tag> = self.row.as_ref().map(|row| row.tags.clone()).unwrap_or_default();
        for tag in self.event.iter().flat_map(|event| &event.tags) {
            tags.retain(|known| known != tag);
            tags.push(tag.clone());
        }
        keep_last(&mut tags);
        tags
    }

    /// Further tags of the source, which ECR has as much time for as for an image: those that a sweep misses now, and those that one has
    /// missed before.
    pub fn tags_to_come(&self) -> Vec<Tag> {
        let known = self.tags();
        let awaited = self.row.iter().flat_map(|row| row.awaited.keys());
        let all: BTreeSet<&Tag> = self.source_tags.iter().chain(awaited).collect();
        let to_come = all.into_iter().filter(|tag| !known.contains(tag));
        to_come.take(MAX_TAGS).cloned().collect()
    }
}

fn keep_last(tags: &mut Vec<Tag>) {
    let superfluous = tags.len().saturating_sub(MAX_TAGS);
    tags.drain(..superfluous);
}

/// The changes, in this order: write `row`, send `alerts`, write [`ReplicaStep::completed`]. Without alerts, writing `row` is
/// all.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplicaStep {
    /// The row.
    pub row: ReplicaRow,
    /// The alerts.
    pub alerts: Vec<RepositoryAlert>,
    /// Seconds that the copy took, if that is known only now.
    pub lag_seconds: Option<u64>,
}

impl ReplicaStep {
    /// The row to write when all alerts are sent.
    pub fn completed(&self, now: Timestamp) -> ReplicaRow {
        let mut row = self.row.clone();
        row.generation += 1;
        Note::all_sent(&mut row.notes, now);
        row
    }
}

/// The plan.
#[derive(Debug, Clone, PartialEq)]
pub enum ReplicaPlan {
    /// Nothing.
    Leave(ReplicaLeave),
    /// Carry out a step.
    Apply(Box<ReplicaStep>),
}

/// Why nothing is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaLeave {
    /// Nothing has changed, and no alert is pending.
    Unchanged,
    /// Another invocation holds the lease.
    InProgress,
}

/// A problem of the copy.
struct Finding {
    state: ReplicaState,
    not_pullable: Option<NotPullable>,
    told: Vec<(Kind, Vec<Change>, String)>,
    tags: Vec<Tag>,
    awaited: BTreeMap<Tag, Timestamp>,
}

/// Decides.
pub fn decide(policy: &Policy, facts: &ReplicaFacts, now: Timestamp) -> ReplicaPlan {
    let prior = facts.row.as_ref();
    let leased = |note: &Note| note.is_undertaken_by_another(&facts.actor, now);
    if prior.is_some_and(|row| row.notes.iter().any(leased)) {
        return ReplicaPlan::Leave(ReplicaLeave::InProgress);
    }
    let max_lag = rules(policy, &facts.key.repository).map(|rules| rules.max_lag);
    let Finding {
        state,
        not_pullable,
        mut told,
        tags,
        awaited,
    } = find_out(facts, max_lag, now);
    let known_lag = prior.and_then(|row| row.lag_seconds);
    let lag_seconds = facts.lag_seconds().filter(|_| known_lag.is_none());
    let lag = known_lag.or(lag_seconds);
    let told_before = prior.is_some_and(|row| row.notes.iter().any(|note| note.kind == Kind::ReplicationLate));
    if let (Some(lag), Some(max_lag)) = (lag, max_lag)
        && state != ReplicaState::Gone
        && (told_before || (lag_seconds.is_some() && !facts.told_late && facts.is_late(lag, max_lag, now)))
    {
        told.push(late(facts, lag, max_lag));
    }
    let generation = prior.map_or(0, |row| row.generation) + 1;
    let (notes, owed) = settle(Settle {
        prior: prior.map_or(&[], |row| row.notes.as_slice()),
        told,
        open: &std::collections::BTreeSet::new(),
        subject: &format!(
            "{}{}",
            ReplicaRow::partition_key(&facts.key),
            ReplicaRow::sort_key(&facts.key)
        ),
        generation,
        actor: &facts.actor,
        now,
    });
    let row = ReplicaRow {
        schema: ReplicaRowSchema::V1,
        image: facts.key.clone(),
        source: facts.source.clone(),
        generation,
        state,
        not_pullable,
        since: prior.filter(|row| row.state == state).map_or(now, |row| row.since),
        tags,
        awaited,
        children: match &facts.children {
            ChildrenHere::Known(listed) if listed.absent.is_empty() && listed.archived.is_empty() => {
                listed.children.clone()
            }
            ChildrenHere::Known(_) => Vec::new(),
            ChildrenHere::NotAsked | ChildrenHere::Unknown => prior.map(|row| row.children.clone()).unwrap_or_default(),
        },
        lag_seconds: lag,
        notes,
    };
    let unchanged = owed.is_empty()
        && match prior {
            Some(prior) => {
                ReplicaRow {
                    generation: prior.generation,
                    ..row.clone()
                } == *prior
            }
            // Nobody need remember what never was.
            None => state == ReplicaState::Gone,
        };
    if unchanged {
        return ReplicaPlan::Leave(ReplicaLeave::Unchanged);
    }
    let alerts = owed.iter().map(|note| alert(facts, note)).collect();
    ReplicaPlan::Apply(Box::new(ReplicaStep {
        row,
        alerts,
        lag_seconds,
    }))
}

fn find_out(facts: &ReplicaFacts, max_lag: Option<SignedDuration>, now: Timestamp) -> Finding {
    let tags = facts.tags();
    let status = facts.status.says();
    if facts.image.is_none() && status == Some(&CopyState::NoSuchImage) {
        return Finding {
            state: ReplicaState::Gone,
            not_pullable: None,
            told: Vec::new(),
            tags: Vec::new(),
            awaited: BTreeMap::new(),
        };
    }
    let failed = match status {
        Some(CopyState::Missing(Missing::Failed(_))) => true,
        Some(CopyState::Complete) => false,
        _ => facts.said_failed(),
    };
    if failed {
        let told = vec![failure(facts)];
        return Finding {
            state: ReplicaState::Failed,
            not_pullable: None,
            told,
            tags,
            awaited: BTreeMap::new(),
        };
    }
    let Missed {
        changes: missing,
        tags,
        awaited,
    } = missing(facts, tags, max_lag, now);
    let not_pullable = not_pullable(facts);
    if missing.is_empty() {
        // A copy on its way back from the archive is there in half an hour: that is no news.
        return Finding {
            state: if not_pullable.is_some() {
                ReplicaState::Incomplete
            } else {
                ReplicaState::Complete
            },
            not_pullable,
            told: Vec::new(),
            tags,
            awaited,
        };
    }
    let reason = format!(
        "The copy of this image from {} {} ({}). A failover to {} would not find what is in the source.",
        facts.source.region,
        match not_pullable {
            Some(NotPullable::Missing) => "is gone",
            Some(NotPullable::Archived) => "cannot be pulled here",
            None => "is not complete here",
        },
        match missing.as_slice() {
            [change] => format!("{}: {}", change.setting, change.old),
            changes => format!("{} things are missing or wrong", changes.len()),
        },
        facts.key.region,
    );
    Finding {
        state: ReplicaState::Incomplete,
        not_pullable,
        told: vec![(Kind::ReplicaIncomplete, missing, reason)],
        tags,
        awaited,
    }
}

/// Why the copy cannot be pulled.
fn not_pullable(facts: &ReplicaFacts) -> Option<NotPullable> {
    let Some(image) = &facts.image else {
        return Some(NotPullable::Missing);
    };
    let is_archived = image.status.is_in_archive();
    let leads_nowhere = match &facts.children {
        ChildrenHere::Known(listed) => !listed.archived.is_empty() || !listed.returning.is_empty(),
        ChildrenHere::NotAsked | ChildrenHere::Unknown => false,
    };
    ((is_archived && !facts.is_blocked) || leads_nowhere).then_some(NotPullable::Archived)
}

/// The part that a copy lacks.
struct Missed {
    /// The missing parts.
    changes: Vec<Change>,
    /// The tags that the copy should have.
    tags: Vec<Tag>,
    /// Those that may still come; since when they are missed.
    awaited: BTreeMap<Tag, Timestamp>,
}

fn missing(facts: &ReplicaFacts, tags: Vec<Tag>, max_lag: Option<SignedDuration>, now: Timestamp) -> Missed {
    let change = |setting: String, old: &str, new: String| Change {
        setting,
        old: old.to_owned(),
        new,
    };
    let Some(image) = &facts.image else {
        let missing = change("image".to_owned(), NOT_THERE, "there, as ECR said".to_owned());
        return Missed {
            changes: vec![missing],
            tags,
            awaited: BTreeMap::new(),
        };
    };
    let mut missing = Vec::new();
    if image.status == ImageStatus::Archived && !facts.is_blocked {
        missing.push(change("image".to_owned(), ARCHIVED, "can be pulled".to_owned()));
    }
    let mut kept = Vec::new();
    let mut awaited = BTreeMap::new();
    // When a tag was pushed to the source nobody says: the time of an image's push does not change with it (aws/containers-roadmap#2746).
    let known = facts.row.as_ref().map(|row| &row.awaited);
    let missed_since = |tag: &Tag| known.and_then(|known| known.get(tag)).copied().unwrap_or(now);
    let may_come = |since: Timestamp| max_lag.is_none_or(|max_lag| now.duration_since(since) < max_lag);
    let to_come = facts.tags_to_come();
    for tag in tags.into_iter().chain(to_come.iter().cloned()) {
        let is_to_come = to_come.contains(&tag);
        let Some(place) = facts.tags.get(&tag) else {
            kept.push(tag);
            continue;
        };
        let leads_here = place.here.as_ref().is_some_and(|holder| holder.digest == image.digest);
        if !leads_here && !is_expected(image, place) {
            // The source has moved it on, or removed it.
            continue;
        }
        if !leads_here && is_to_come && may_come(missed_since(&tag)) {
            awaited.insert(tag.clone(), missed_since(&tag));
            continue;
        }
        if !leads_here {
            let is = place.here.as_ref().map_or_else(
                || NOT_THERE.to_owned(),
                |holder| format!("on {}", holder.digest.short()),
            );
            missing.push(change(
                format!("tag {tag}"),
                &is,
                format!("on {}", image.digest.short()),
            ));
        }
        kept.push(tag);
    }
    match &facts.children {
        ChildrenHere::Known(listed) => {
            let of = |child: &Digest| format!("image {child} of the index");
            let absent = listed.absent.iter();
            missing.extend(absent.map(|child| change(of(child), NOT_THERE, "there".to_owned())));
            let archived = listed.archived.iter();
            missing.extend(archived.map(|child| change(of(child), ARCHIVED, "can be pulled".to_owned())));
        }
        ChildrenHere::Unknown => {
            missing.push(change(
                "manifest of the index".to_owned(),
                UNREADABLE,
                "references images that are there".to_owned(),
            ));
        }
        ChildrenHere::NotAsked => {}
    }
    keep_last(&mut kept);
    Missed {
        changes: missing,
        tags: kept,
        awaited,
    }
}

const ARCHIVED: &str = "in the archive";

/// A part that is not in the region.
const NOT_THERE: &str = "not there";

/// A manifest whose images are not known.
const UNREADABLE: &str = "cannot be read";

/// Whether a tag that is not on the copy should be.
fn is_expected(image: &Image, place: &TagPlace) -> bool {
    match &place.in_source {
        Told::Says(holder) => holder.as_ref() == Some(&image.digest),
        // A newer image here has taken the tag, as far as can be seen from here.
        Told::NotAsked | Told::Refuses(_) => place
            .here
            .as_ref()
            .is_none_or(|holder| holder.pushed_at <= image.pushed_at),
    }
}

/// Whether an image that is here must be read for its children.
pub fn leads_to_images(image: &Image) -> bool {
    image.kind() == ImageKind::Index && matches!(image.status, ImageStatus::Active | ImageStatus::Other(_))
}

fn failure(facts: &ReplicaFacts) -> (Kind, Vec<Change>, String) {
    let mut notes = facts.row.iter().flat_map(|row| &row.notes);
    let told = notes.find(|note| note.kind == Kind::ReplicationFailed);
    // The alert stays as it is while the source gives no other answer.
    if let (Told::Refuses(_), Some(note)) = (&facts.status, told) {
        return (note.kind, note.changes.clone(), note.reason.clone());
    }
    let code = match &facts.status {
        Told::Says(CopyState::Missing(Missing::Failed(Some(code)))) => text::line(code, 100),
        Told::Says(CopyState::Missing(Missing::Failed(None))) => "FAILED, without a code".to_owned(),
        Told::Says(CopyState::Missing(Missing::InProgress)) => "FAILED; by now it is tried again".to_owned(),
        Told::Says(_) | Told::NotAsked => "FAILED".to_owned(),
        // Its message names a request, and stands in the reason only: changes are compared.
        Told::Refuses(_) => "FAILED; the source does not say why".to_owned(),
    };
    let answer = match &facts.status {
        Told::Refuses(why) => format!(" ({})", text::line(why, 200)),
        Told::Says(_) | Told::NotAsked => String::new(),
    };
    let reason = format!(
        "ECR did not copy this image from {} to {}: {code}{answer}.",
        facts.source.region, facts.key.region
    );
    let change = Change {
        setting: "replication".to_owned(),
        old: code,
        new: "COMPLETE".to_owned(),
    };
    (Kind::ReplicationFailed, vec![change], reason)
}

fn late(facts: &ReplicaFacts, lag: u64, max_lag: SignedDuration) -> (Kind, Vec<Change>, String) {
    let reason = format!(
        "This image arrived in {} {} minutes after its push in {}. The policy grants {}.",
        facts.key.region,
        lag.div_ceil(60),
        facts.source.region,
        max_lag.as_mins()
    );
    let change = Change {
        setting: "replication.max_lag_minutes".to_owned(),
        old: format!("{} minutes", lag.div_ceil(60)),
        new: format!("{} minutes", max_lag.as_mins()),
    };
    (Kind::ReplicationLate, vec![change], reason)
}

fn alert(facts: &ReplicaFacts, note: &Note) -> RepositoryAlert {
    let name = &facts.key.repository;
    let (here, source) = (&facts.key.region, &facts.source.region);
    let digest = &facts.key.digest;
    let tag = facts.event.as_ref().and_then(|event| event.tags.first().cloned());
    let tag = tag.or_else(|| facts.row.as_ref()?.tags.last().cloned());
    let look = format!(
        "See the image: aws ecr describe-images --region {here} --repository-name {name} --image-ids imageDigest={digest}"
    );
    let ask = format!(
        "Ask how far ECR is: aws ecr describe-image-replication-status --region {source} --repository-name {name} --image-id \
         imageDigest={digest}"
    );
    let is_archived = note.changes.iter().any(|change| change.old == ARCHIVED);
    let restore = is_archived.then(|| {
        format!(
            "Bring back what is in the archive, which takes up to 20 minutes: aws ecr update-image-storage-class --region {here} \
             --repository-name {name} --image-id imageDigest={digest} --target-storage-class STANDARD"
        )
    });
    let rule = is_archived.then(|| {
        format!("Find the rule that archived it: aws ecr get-lifecycle-policy --region {here} --repository-name {name}")
    });
    let has = |is: fn(&Change) -> bool| note.changes.iter().any(is);
    let of_tags = has(|change| change.setting.starts_with("tag ")).then(|| {
        format!(
            "A tag that cannot be moved stays where it is, and ECR leaves it out without a failure: compare it with {source}, then give \
             it to the right image, or deploy by digest."
        )
    });
    let is_missing = has(|change| change.old == NOT_THERE || change.old == UNREADABLE)
        .then(|| format!("Is something missing altogether? Push the image again in {source}, or start a backfill."));
    let (title, next_steps) = match note.kind {
        Kind::ReplicationFailed => (
            format!("{name}: an image was not copied to {here}"),
            vec![
                ask,
                format!(
                    "Check what ECR needs in {here}: a key that can be used, room in its quotas, for another account a registry policy \
                     that allows ecr:ReplicateImage and ecr:CreateRepository."
                ),
                format!("Then push the image again in {source}, or start a backfill."),
            ],
        ),
        Kind::ReplicationLate => (
            format!("{name}: an image came late to {here}"),
            vec![
                "Nothing has to be done for this image. ECR promises no time; if it happens often, the time that it takes is in the \
                 metric ReplicationLag."
                    .to_owned(),
                ask,
            ],
        ),
        _ => (
            format!("{name}: a copy in {here} is not complete"),
            restore
                .into_iter()
                .chain(rule)
                .chain([look])
                .chain(of_tags)
                .chain(is_missing)
                .collect(),
        ),
    };
    RepositoryAlert {
        copies_in: Some(here.clone()),
        id: note.id.clone(),
        kind: note.kind,
        severity: None,
        time: note.claimed_at,
        repository: RepositoryKey::of(&facts.key),
        digest: Some(digest.clone()),
        tag,
        title,
        reason: note.reason.clone(),
        changes: note.changes.clone(),
        next_steps: next_steps.into_iter().map(NextStep::from).collect(),
    }
}
