//! From facts about a pushed tag to a plan: whether it breaks the rules, whether it moved, the change and the alert.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::{
    alert::{NextStep, repository::RepositoryAlert},
    finding::Severity,
    ids::{Digest, RepositoryKey, Tag},
    image::{Image, ImageStatus, names_a_subject},
    marker::{is_mark, untagged_mark},
    notice::{Change, Note, RepositoryAlertKind as Kind, Settle, settle},
    policy::{Policy, RepositoryRules},
    repository::{
        ledger::{Removal, TagRow, TagRowSchema},
        tag_checks::TagViolation,
        tags::{OnViolation, TagRules},
    },
    state::State,
    text,
};

/// All that is known of one tag at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct TagFacts {
    /// The repository.
    pub key: RepositoryKey,
    /// The tag.
    pub tag: Tag,
    /// The image that has it; `None`: none has.
    pub holder: Option<Image>,
    /// That image's state, as far as it was just evaluated.
    pub state: Option<State>,
    /// The repository has opted out of changes.
    pub opted_out: bool,
    /// The row in the ledger.
    pub row: Option<TagRow>,
    /// The tag was to be removed just now, and the registry refused; what it said.
    pub refused: Option<String>,
    /// The invocation that asks.
    pub actor: String,
}

/// A tag is removed from an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Untag {
    /// The tag that the image gets first, whatever other tags it has: others may be taking those at the same time.
    pub mark: Tag,
}

/// The changes: write `row`, remove the tag, send `alerts`, write [`TagStep::completed`].
#[derive(Debug, Clone, PartialEq)]
pub struct TagStep {
    /// The row.
    pub row: TagRow,
    /// The tag is removed from the image that the row names.
    pub untag: Option<Untag>,
    /// The alerts.
    pub alerts: Vec<RepositoryAlert>,
}

impl TagStep {
    /// The row to write when all changes are made and all alerts are sent. `answered`: the registry has said which image lost
    /// the tag.
    pub fn completed(&self, answered: bool, now: Timestamp) -> TagRow {
        let mut row = self.row.clone();
        row.generation += 1;
        if self.untag.is_some() && answered {
            row.removal = None;
        }
        Note::all_sent(&mut row.notes, now);
        row
    }
}

/// The plan.
#[derive(Debug, Clone, PartialEq)]
pub enum TagPlan {
    /// Nothing.
    Leave,
    /// Another invocation holds the lease.
    InProgress,
    /// Another invocation is removing the tag, and its answer is not there: this one comes later.
    Later,
    /// Carry out a step.
    Apply(Box<TagStep>),
}

/// The rules for a tag, if it is one that somebody chose.
pub fn rules<'a>(policy: &'a Policy, facts: &TagFacts) -> Option<&'a TagRules> {
    let rules: &RepositoryRules = policy.repository(&facts.key.repository)?;
    rules.tags.as_ref().filter(|_| !names_a_subject(&facts.tag))
}

/// Whether the tag may have to be removed: then it matters whether the repository has opted out.
pub fn may_be_removed(policy: &Policy, facts: &TagFacts) -> bool {
    let violated = |rules: &&TagRules| {
        let holder = facts.holder.as_ref();
        rules.on_violation == OnViolation::Untag
            && holder.is_some_and(|image| rules.violation(&facts.tag, &image.digest, facts.state).is_some())
    };
    policy.enforces(&facts.key.repository) && rules(policy, facts).as_ref().is_some_and(violated)
}

/// Decides.
pub fn decide(policy: &Policy, facts: &TagFacts, now: Timestamp) -> TagPlan {
    let Some(rules) = rules(policy, facts) else {
        return TagPlan::Leave;
    };
    let prior = facts.row.as_ref();
    let leased = |note: &Note| note.is_undertaken_by_another(&facts.actor, now);
    if prior.is_some_and(|row| row.notes.iter().any(leased)) {
        return TagPlan::InProgress;
    }
    let digest = match (&facts.holder, prior) {
        (Some(image), _) => image.digest.clone(),
        // No image has it any more, perhaps by our own removal: a pending alert is still sent.
        (None, Some(row)) => row.digest.clone(),
        (None, None) => return TagPlan::Leave,
    };
    if is_mark(&facts.tag, &digest) {
        return TagPlan::Leave;
    }
    let (told, untag) = match &facts.holder {
        Some(image) => told_of_holder(policy, facts, rules, image, now),
        None => (still_owed(prior), None),
    };
    let under_way = prior.and_then(|row| row.removal.as_ref());
    if untag.is_some() && under_way.is_some_and(|removal| removal.is_under_way_by_another(&facts.actor, now)) {
        return TagPlan::Later;
    }
    let generation = prior.map_or(0, |row| row.generation) + 1;
    let (notes, owed) = settle(Settle {
        prior: prior.map_or(&[], |row| row.notes.as_slice()),
        told,
        open: &BTreeSet::new(),
        subject: &format!("{}{}", facts.key.partition_key(), facts.key.tag_sort_key(&facts.tag)),
        generation,
        actor: &facts.actor,
        now,
    });
    let row = TagRow {
        schema: TagRowSchema::V1,
        repository: facts.key.clone(),
        tag: facts.tag.clone(),
        since: prior.filter(|row| row.digest == digest).map_or(now, |row| row.since),
        removal: removal(facts, &digest, untag.as_ref(), now),
        earlier: match (prior, &untag) {
            (Some(prior), Some(_)) => prior.still_open(now),
            (Some(prior), None) => prior.earlier.clone(),
            (None, _) => Vec::new(),
        },
        digest,
        generation,
        notes,
    };
    let unchanged = untag.is_none()
        && owed.is_empty()
        && facts.refused.is_none()
        && prior.is_some_and(|prior| {
            TagRow {
                generation: prior.generation,
                ..row.clone()
            } == *prior
        });
    if unchanged {
        return TagPlan::Leave;
    }
    TagPlan::Apply(Box::new(TagStep {
        alerts: owed.iter().map(|note| alert(&row, note)).collect(),
        row,
        untag,
    }))
}

/// An alert: its kind, its changes, and its reason.
type Told = (Kind, Vec<Change>, String);

/// The alerts about a tag that an image has, and whether it is removed.
fn told_of_holder(
    policy: &Policy,
    facts: &TagFacts,
    rules: &TagRules,
    image: &Image,
    now: Timestamp,
) -> (Vec<Told>, Option<Untag>) {
    let digest = &image.digest;
    let is_moved = |row: &&TagRow| row.digest != *digest && !rules.may_move(&facts.tag);
    let mut told: Vec<Told> = Vec::new();
    if let Some(row) = facts.row.as_ref().filter(is_moved) {
        let change = Change {
            setting: facts.tag.to_string(),
            old: row.digest.to_string(),
            new: digest.to_string(),
        };
        let reason = "A deployment by this tag gets another image than before.".to_owned();
        told.push((Kind::TagMoved, vec![change], reason));
    }
    // A tag that blocks the image is alerted with the image.
    let blocks = rules.blocking([&facts.tag], digest).is_some();
    let violation = rules.violation(&facts.tag, digest, facts.state).filter(|_| !blocks);
    let Some(violation) = violation else {
        return (told, None);
    };
    let mark = untagged_mark(digest).filter(|_| rules.on_violation == OnViolation::Untag);
    let obstacle = obstacle(policy, facts, rules, image, now);
    let untag = mark.filter(|_| obstacle.is_none()).map(|mark| Untag { mark });
    told.push(violated(facts, image, &violation, untag.as_ref(), obstacle));
    (told, untag)
}

/// The alerts about a tag that no image has any more, and that last.
fn still_owed(prior: Option<&TagRow>) -> Vec<Told> {
    let notes = prior.iter().flat_map(|row| &row.notes);
    let lasting = notes.filter(|note| note.kind.lasts());
    lasting
        .map(|note| (note.kind, note.changes.clone(), note.reason.clone()))
        .collect()
}

/// The removal that the row remembers.
fn removal(facts: &TagFacts, digest: &Digest, untag: Option<&Untag>, now: Timestamp) -> Option<Removal> {
    if untag.is_some() {
        return Some(Removal {
            from: digest.clone(),
            at: now,
            by: facts.actor.clone(),
            checked: None,
            lost: false,
        });
    }
    // A refused removal removed nothing.
    let prior = facts.row.as_ref().filter(|_| facts.refused.is_none());
    prior.and_then(|row| row.removal.clone())
}

/// Why a tag that should be removed is not.
fn obstacle(policy: &Policy, facts: &TagFacts, rules: &TagRules, image: &Image, now: Timestamp) -> Option<String> {
    if rules.on_violation != OnViolation::Untag {
        return None;
    }
    if let Some(why) = policy.report_mode(&facts.key.repository) {
        return Some(why.to_owned());
    }
    if facts.opted_out {
        return Some("the repository has opted out of changes".to_owned());
    }
    if let Some(answer) = &facts.refused {
        return Some(format!("the registry refused ({})", text::line(answer, 200)));
    }
    if image.status == ImageStatus::Archived {
        return Some("the image is in the archive, from which nobody can pull it".to_owned());
    }
    let pulled = image
        .last_pulled_at
        .filter(|at| now.duration_since(*at) <= policy.block(&facts.key.repository).in_use(true));
    pulled.map(|at| format!("the image is in use: it was last pulled on {}", at.strftime("%Y-%m-%d")))
}

fn violated(
    facts: &TagFacts,
    image: &Image,
    violation: &TagViolation,
    untag: Option<&Untag>,
    obstacle: Option<String>,
) -> Told {
    let TagViolation {
        setting,
        wanted,
        allowed,
        ..
    } = violation;
    let change = Change {
        setting: (*setting).to_owned(),
        old: format!("{} on {}", facts.tag, image.digest.short()),
        new: wanted.clone(),
    };
    let mut reason = format!("The tag {} breaks the rule {setting}. {allowed}", facts.tag)
        .trim_end()
        .to_owned();
    match (untag, obstacle) {
        (Some(Untag { mark }), _) => reason.push_str(&format!(
            " It is removed; the image gets the tag {mark} first, which keeps it whatever becomes of its other tags."
        )),
        (None, Some(obstacle)) => reason.push_str(&format!(" It is not removed: {obstacle}.")),
        (None, None) => {}
    }
    (Kind::TagViolation, vec![change], reason)
}

fn alert(row: &TagRow, note: &Note) -> RepositoryAlert {
    let (name, tag) = (&row.repository.repository, &row.tag);
    let moved = note.kind == Kind::TagMoved;
    let title = if moved {
        format!("{name}:{tag} was moved to another image")
    } else {
        format!("{name}:{tag} breaks the rules for tags")
    };
    let steps = if moved {
        vec![
            "Find out who moved it; deploy by digest where it matters.".to_owned(),
            "Make tags immutable (posture.tag_mutability), or name the tags that move on purpose in the policy (tags.moving)."
                .to_owned(),
        ]
    } else {
        vec![
            "Push the image under a tag that the policy allows, and change the pipeline.".to_owned(),
            format!("Or ask the owners of the policy about the tags of {name}."),
        ]
    };
    RepositoryAlert {
        copies_in: None,
        id: note.id.clone(),
        kind: note.kind,
        severity: moved.then_some(Severity::Medium),
        time: note.claimed_at,
        repository: row.repository.clone(),
        digest: Some(row.digest.clone()),
        tag: Some(tag.clone()),
        title,
        reason: note.reason.clone(),
        changes: note.changes.clone(),
        next_steps: steps.into_iter().map(NextStep::from).collect(),
    }
}

#[cfg(test)]
mod tests;
