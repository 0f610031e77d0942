//! Gather facts, decide, act, record: for a repository and for a tag that was pushed, as `reconcile` does it for an image.

use std::collections::BTreeMap;

use futures_util::{
    future::{join, try_join5},
    stream::{self, StreamExt as _},
};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    reconcile::ReconcileError,
    route::topic,
    tag_removal::{Claims, TagRemoval, Taken},
};
use guard_core::{
    alert::repository::RepositoryAlert,
    ids::{Digest, ImageKey, ImageRef, RepositoryKey, Tag},
    image::{Image, children, leads_to_others},
    notice::RepositoryAlertKind,
    policy::{BlockMethod, Policy, RepositoryRules, WhenInUse},
    repository::{
        decide::{
            OptOut, Preview, Previewed, RepositoryEffect, RepositoryFacts, RepositoryLeave, RepositoryPlan,
            RepositoryStep, decide, is_previewing, opt_out, tags_may_matter,
        },
        ledger::{RepositoryRow, TagRow},
        posture::ListedSettings,
        removal::{Damage, Pushed},
        tag::{self, TagFacts, TagPlan, TagStep},
    },
    state::State,
    uses::{Uses, WhenUnknown, unknown},
};
use guard_ports::{
    Clock as _, Keys as _, Ledger as _, Notifier as _, PortError, Registry as _, Repositories as _,
    RepositoryLedger as _, RepositoryWriter as _, Retry, Services, UseLedger as _, Written,
};

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct RepositoryOutcome {
    /// How the repository has opted out: shown each time, so that it cannot hide.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opt_out: Option<String>,
    /// The settings that were changed, and `untag`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<&'static str>,
    /// The kinds of the alerts that were sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<RepositoryAlertKind>,
    /// ECR does not know yet what a lifecycle policy would do, which is neither a failure nor trouble: a later look asks again.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub waits: bool,
}

impl RepositoryOutcome {
    /// Both in one.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.opt_out = self.opt_out.or(other.opt_out);
        self.changed.extend(other.changed);
        self.alerts.extend(other.alerts);
        self.waits |= other.waits;
        self
    }

    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How often it is started over: somebody else wrote the row in between, or the registry refused a change.
const MAX_ATTEMPTS: usize = 6;

/// Brings a repository's settings to what the policy says, or tells that they are not. `listed`: what is known of them; if everything is
/// in order by that, the registry is asked for nothing that it holds.
///
/// # Errors
/// A call failed, or others are at work on the same repository.
pub async fn reconcile_repository(
    services: &impl Services,
    policy: &Policy,
    key: &RepositoryKey,
    listed: Option<&ListedSettings>,
    actor: &str,
) -> Result<RepositoryOutcome, ReconcileError> {
    let run = Run { services, policy, key };
    let rules = policy.repository(&key.repository);
    if !rules.is_some_and(RepositoryRules::has_settings) {
        return Ok(RepositoryOutcome::default());
    }
    if let Some(listed) = listed
        && run.is_in_order(listed, actor).await?
    {
        return Ok(RepositoryOutcome::default());
    }
    let mut done = RepositoryOutcome::default();
    let mut refused = BTreeMap::new();
    for _ in 0..MAX_ATTEMPTS {
        let mut facts = run.gather(None, actor).await?;
        facts.refused.clone_from(&refused);
        let mut plan = decide(policy, &facts, services.clock().now());
        if let RepositoryPlan::Preview(text) = &plan {
            let Some(writer) = run.writer() else {
                return Err(ReconcileError::ReportMode(key.clone()));
            };
            let begun = is_previewing(facts.row.as_ref(), text, services.clock().now());
            let preview = writer.preview_lifecycle_policy(key, text, begun).await;
            let preview = preview.map_err(|source| run.failed("preview the lifecycle policy of", source))?;
            done.waits = preview.is_none();
            facts.preview = Some(match preview {
                Some(preview) => Previewed::Ready(run.with_uses(preview, text).await?),
                None => Previewed::NotYet,
            });
            plan = decide(policy, &facts, services.clock().now());
            if let RepositoryPlan::Apply(step) = &plan
                && !run.is_as_read(&facts, step).await?
            {
                continue;
            }
        }
        match plan {
            RepositoryPlan::Apply(step) => {
                let Applied::Done {
                    changed,
                    refusals,
                    alerts,
                } = run.apply(&step).await?
                else {
                    continue;
                };
                done.changed.extend(changed);
                done.alerts.extend(alerts);
                done.opt_out = step.row.opt_out;
                if refusals.is_empty() {
                    return Ok(done);
                }
                refused.extend(refusals);
            }
            RepositoryPlan::Leave(leave) => {
                if leave == RepositoryLeave::OptedOut
                    && let OptOut::Ignore(reason) = opt_out(&facts.tags)
                {
                    done.opt_out = Some(format!("ignore: {reason}"));
                }
                done.opt_out = done.opt_out.or(facts.row.and_then(|row| row.opt_out));
                return Ok(done);
            }
            // It was answered already.
            RepositoryPlan::Preview(_) => return Ok(done),
        }
    }
    Err(ReconcileError::Contended(key.into()))
}

/// How many indexes of a preview are looked into, how many of them at once, and how many images of one.
const MAX_INDEXES: usize = 500;
const INDEXES_AT_ONCE: usize = 8;
const MAX_CHILDREN_LOOKED_AT: usize = 200;

/// When something was last pulled.
#[derive(Default)]
struct LastPull {
    at: Option<Timestamp>,
    /// Not all of it could be looked at.
    unknown: bool,
}

/// What came of a step.
enum Applied {
    /// All that could be done is.
    Done {
        changed: Vec<&'static str>,
        refusals: Vec<(&'static str, String)>,
        alerts: Vec<RepositoryAlertKind>,
    },
    /// Somebody else wrote the row; nothing was done.
    Conflict,
}

struct Run<'a, S> {
    services: &'a S,
    policy: &'a Policy,
    key: &'a RepositoryKey,
}

impl<S: Services> Run<'_, S> {
    /// What changes this repository; `None`: the policy only reports on it.
    fn writer(&self) -> Option<&S::Writer> {
        self.services
            .writer()
            .filter(|_| self.policy.enforces(&self.key.repository))
    }
}

impl<S: Services> Run<'_, S> {
    fn failed(&self, doing: &'static str, source: PortError) -> ReconcileError {
        ReconcileError::port(doing, self.key, source)
    }

    async fn tell(&self, alerts: &[RepositoryAlert]) -> Result<Vec<RepositoryAlertKind>, ReconcileError> {
        if alerts.is_empty() {
            return Ok(Vec::new());
        }
        let topic = topic(self.services, self.policy, self.key).await;
        for alert in alerts {
            let brief = alert.brief(topic);
            let message = alert.message(self.policy.contact(&self.key.repository));
            let told = self.services.notifier().tell_now(&brief, &message).await;
            told.map_err(|source| self.failed("tell of", source))?;
        }
        Ok(alerts.iter().map(|alert| alert.kind).collect())
    }
}

impl<S: Services> Run<'_, S> {
    /// Whether nothing is to be done by what is listed, and by what no list shows. A list may be old: it saves calls where nothing is to be
    /// done, and nothing is done by it.
    async fn is_in_order(&self, listed: &ListedSettings, actor: &str) -> Result<bool, ReconcileError> {
        let row = self.services.ledger().repository_row(self.key).await;
        let row = row.map_err(|source| self.failed("look at", source))?;
        if tags_may_matter(self.policy, self.key, row.as_ref()) {
            return Ok(false);
        }
        let facts = self.gather(Some((listed, row)), actor).await?;
        let plan = decide(self.policy, &facts, self.services.clock().now());
        Ok(plan == RepositoryPlan::Leave(RepositoryLeave::Unchanged))
    }

    /// All that is needed to decide: one round of concurrent calls, and a second one for what the first one names. What is `known` is
    /// not asked for, and tags are not either then.
    async fn gather(
        &self,
        known: Option<(&ListedSettings, Option<RepositoryRow>)>,
        actor: &str,
    ) -> Result<RepositoryFacts, ReconcileError> {
        let (key, services) = (self.key, self.services);
        let (listed, row) = known.unzip();
        let rules = self.policy.repository(&key.repository);
        let posture = rules.and_then(|rules| rules.posture.as_ref());
        let access = async {
            match posture {
                Some(_) => services.registry().repository_policy(key).await,
                None => Ok(None),
            }
        };
        let lifecycle = async {
            match rules.and_then(|rules| rules.lifecycle_in(&key.region)) {
                Some(_) => services.registry().lifecycle_policy(key).await,
                None => Ok(None),
            }
        };
        let trigger = async {
            match (posture.filter(|posture| posture.scan_on_push), listed) {
                (Some(_), Some(listed)) => Ok(Some(listed.trigger)),
                (Some(_), None) => services.registry().scan_trigger(&key.repository).await,
                (None, _) => Ok(None),
            }
        };
        let repository = async {
            match listed {
                Some(listed) => Ok(Some(listed.repository.clone())),
                None => services.registry().repository(key).await,
            }
        };
        let tags = async {
            match listed {
                Some(_) => Ok(BTreeMap::new()),
                None => services.registry().repository_tags(key).await,
            }
        };
        let looked = try_join5(repository, tags, access, lifecycle, trigger);
        let row = async {
            match row {
                Some(row) => Ok(row),
                None => services.ledger().repository_row(key).await,
            }
        };
        let (looked, row) = join(looked, row).await;
        let failed = |source| self.failed("look at", source);
        let (repository, tags, access, lifecycle, trigger) = looked.map_err(failed)?;
        let mut facts = RepositoryFacts {
            repository,
            tags,
            trigger,
            access,
            lifecycle,
            row: row.map_err(failed)?,
            ..RepositoryFacts::about(key.clone(), actor)
        };
        let arn = facts
            .repository
            .as_ref()
            .and_then(|repository| repository.encryption.key.clone());
        let kms = async {
            match arn.filter(|_| posture.is_some()) {
                Some(arn) => services.keys().key(&arn).await.map(Some),
                None => Ok(None),
            }
        };
        let mode = async {
            match listed {
                Some(listed) => Ok(Some(listed.scan_mode)),
                None if facts.is_not_covered() => services.registry().scan_mode().await.map(Some),
                None => Ok(None),
            }
        };
        let (kms, mode) = join(kms, mode).await;
        (facts.kms, facts.scan_mode) = (kms.map_err(failed)?, mode.map_err(failed)?);
        Ok(facts)
    }

    /// What a lifecycle policy would take, with what is known of its use.
    async fn with_uses(&self, preview: Preview, text: &str) -> Result<Preview, ReconcileError> {
        let used = self.used(&preview, text).await?;
        self.with_what_they_lead_to(Preview { used, ..preview }).await
    }

    /// What workloads would lose by a lifecycle policy, or why that is not known; `None`: nothing, or nobody looks.
    async fn used(&self, preview: &Preview, text: &str) -> Result<Option<String>, ReconcileError> {
        let Some(rules) = &self.policy.workloads else {
            return Ok(None);
        };
        if self.policy.block(&self.key.repository).when_in_use != WhenInUse::Hold {
            return Ok(None);
        }
        // What nobody pulls for so long may run all the same: nobody asks ECR before it archives that.
        let archives_unpulled = text.contains("sinceImagePulled");
        if preview.total == 0 && !archives_unpulled {
            return Ok(None);
        }
        let failed = |source| self.failed("look up who uses the images of", source);
        let (ledger, now) = (self.services.ledger(), self.services.clock().now());
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            let page = ledger.uses_in(self.key, after.as_deref()).await.map_err(failed)?;
            if let Some(unreadable) = page.unreadable.into_iter().next() {
                return Err(failed(unreadable));
            }
            rows.extend(page.items.into_iter().filter(|row| row.counts(now)));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        let state = ledger
            .index_state(&self.key.account, &self.key.region)
            .await
            .map_err(failed)?;
        // An index goes with the images that it leads to.
        let of_preview: Vec<ImageKey> = preview
            .images
            .iter()
            .map(|image| self.key.image(&image.digest))
            .collect();
        let known = ledger.rows_of(&of_preview).await.map_err(failed)?;
        let below = known.into_iter().flatten().flat_map(|row| row.children);
        let mut taken = of_preview.clone();
        taken.extend(below.map(|child| self.key.image(&child.digest)));
        if archives_unpulled {
            taken.extend(rows.iter().map(|row| row.image.clone()));
        }
        Ok(match Uses::of(rules, &taken, &rows, state.as_ref(), now) {
            Uses::By(used) => {
                let names = taken.first().map(|image| used.names(image)).unwrap_or_default();
                Some(if archives_unpulled {
                    format!("it would archive, now or later, images that are in use: {names}")
                } else {
                    format!("it would delete or archive images that are in use: {names}")
                })
            }
            Uses::Nobody | Uses::Unknown(_) if rules.when_unknown == WhenUnknown::Ignore => None,
            // Also where nothing would be taken yet.
            Uses::Nobody | Uses::Unknown(_) => unknown(rules, self.key, state.as_ref(), now)
                .map(|why| format!("it is not known who uses the images that it would take: {why}")),
        })
    }

    /// Who pulls a multi-platform image pulls the index and one of its images, and for which of them ECR records it is not documented: a pull of
    /// any of them counts for the index, which takes them along.
    async fn with_what_they_lead_to(&self, mut preview: Preview) -> Result<Preview, ReconcileError> {
        let now = self.services.clock().now();
        // One that is in use is enough to hold the policy.
        if preview
            .images
            .iter()
            .any(|image| image.is_in_use(self.policy.block(&self.key.repository), now))
        {
            return Ok(preview);
        }
        let indexes = preview.images.iter().enumerate().filter(|(_, image)| image.is_index);
        let indexes: Vec<(usize, Digest)> = indexes.map(|(place, image)| (place, image.digest.clone())).collect();
        let looks = indexes.into_iter().enumerate().map(|(n, (place, index))| async move {
            let found = if n < MAX_INDEXES {
                self.last_pull(index).await?
            } else {
                LastPull {
                    at: None,
                    unknown: true,
                }
            };
            Ok::<_, ReconcileError>((place, found))
        });
        let looked: Vec<_> = stream::iter(looks).buffer_unordered(INDEXES_AT_ONCE).collect().await;
        for found in looked {
            let (place, found) = found?;
            if let Some(image) = preview.images.get_mut(place) {
                image.last_pulled_at = image.last_pulled_at.max(found.at);
                image.unknown = found.unknown;
            }
        }
        Ok(preview)
    }

    /// When something that an index leads to was last pulled, at any depth.
    async fn last_pull(&self, index: Digest) -> Result<LastPull, ReconcileError> {
        let failed = |source| self.failed("look at an index of", source);
        let (mut found, mut next) = (LastPull::default(), vec![index]);
        let mut looked = 0;
        while let Some(digest) = next.pop() {
            let manifest = self
                .services
                .registry()
                .manifest(&self.key.image(&digest))
                .await
                .map_err(failed)?;
            // Without a manifest it is deleted or in the archive, from where nothing is pulled.
            let Some(listed) = manifest.as_deref().and_then(children) else {
                continue;
            };
            found.unknown |= listed.more > 0;
            for child in listed.children {
                looked += 1;
                if looked > MAX_CHILDREN_LOOKED_AT {
                    found.unknown = true;
                    return Ok(found);
                }
                let by_digest = ImageRef::Digest(child.digest.clone());
                let image = self
                    .services
                    .registry()
                    .image(&self.key.repository, &by_digest)
                    .await
                    .map_err(failed)?;
                let Some(image) = image else { continue };
                found.at = found.at.max(image.last_pulled_at);
                if leads_to_others(image.manifest_media_type.as_deref()) {
                    next.push(child.digest);
                }
            }
        }
        Ok(found)
    }

    /// Whether the documents that are to be written are still those that were read: a preview takes its time, and what others change meanwhile
    /// must not be undone.
    async fn is_as_read(&self, facts: &RepositoryFacts, step: &RepositoryStep) -> Result<bool, ReconcileError> {
        let failed = |source| self.failed("look at", source);
        for effect in &step.effects {
            let is_same = match effect {
                RepositoryEffect::Access(_) => {
                    self.services
                        .registry()
                        .repository_policy(self.key)
                        .await
                        .map_err(failed)?
                        == facts.access
                }
                RepositoryEffect::Lifecycle(_) => {
                    self.services
                        .registry()
                        .lifecycle_policy(self.key)
                        .await
                        .map_err(failed)?
                        == facts.lifecycle
                }
                RepositoryEffect::TagMutability(_) | RepositoryEffect::ScanOnPush => true,
            };
            if !is_same {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn apply(&self, step: &RepositoryStep) -> Result<Applied, ReconcileError> {
        let record = |source| self.failed("record", source);
        let written = self.services.ledger().write_repository_row(&step.row).await;
        if written.map_err(record)? == Written::Conflict {
            return Ok(Applied::Conflict);
        }
        let (mut changed, mut refusals) = (Vec::new(), Vec::new());
        for effect in &step.effects {
            match self.bring_about(effect).await {
                Ok(()) => changed.push(effect.setting()),
                Err(ReconcileError::Port { source, .. }) if source.retry == Retry::Never => {
                    refusals.push((effect.setting(), source.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        if !refusals.is_empty() {
            // What is told depends on what was refused: decided again, on what is true by now.
            return Ok(Applied::Done {
                changed,
                refusals,
                alerts: Vec::new(),
            });
        }
        let alerts = self.tell(&step.alerts).await?;
        if !step.alerts.is_empty() || !step.effects.is_empty() {
            let completed = step.completed(self.services.clock().now());
            if self
                .services
                .ledger()
                .write_repository_row(&completed)
                .await
                .map_err(record)?
                == Written::Conflict
            {
                return Err(ReconcileError::Contended(self.key.into()));
            }
        }
        Ok(Applied::Done {
            changed,
            refusals,
            alerts,
        })
    }

    async fn bring_about(&self, effect: &RepositoryEffect) -> Result<(), ReconcileError> {
        let Some(writer) = self.writer() else {
            // `decide` plans no effect in report mode; if it ever did, this is where it ends.
            return Err(ReconcileError::ReportMode(self.key.clone()));
        };
        let key = self.key;
        let result = match effect {
            RepositoryEffect::TagMutability(mutability) => writer.set_tag_mutability(key, mutability).await,
            RepositoryEffect::ScanOnPush => writer.set_scan_on_push(key).await,
            RepositoryEffect::Access(text) => writer.set_repository_policy(key, text.as_deref()).await,
            RepositoryEffect::Lifecycle(text) => writer.set_lifecycle_policy(key, text).await,
        };
        result.map_err(|source| self.failed("change", source))
    }
}

/// A tag to judge, and what is known of why.
#[derive(Debug, Clone, Copy)]
pub struct TagRequest<'a> {
    /// The tag.
    pub tag: &'a Tag,
    /// The state of the image that was just judged.
    pub state: Option<State>,
    /// The image that has just got the tag, by what an event says.
    pub pushed: Option<&'a Pushed>,
    /// The invocation, by an id that a retry of the same event keeps.
    pub actor: &'a str,
}

/// Judges a tag that was pushed.
///
/// # Errors
/// A call failed, or others are at work on the same tag.
pub async fn reconcile_tag(
    services: &impl Services,
    policy: &Policy,
    key: &RepositoryKey,
    request: &TagRequest<'_>,
) -> Result<RepositoryOutcome, ReconcileError> {
    let run = Run { services, policy, key };
    let TagRequest {
        tag,
        state,
        pushed,
        actor,
    } = *request;
    let mut facts = TagFacts {
        key: key.clone(),
        tag: tag.clone(),
        holder: None,
        state,
        opted_out: false,
        row: None,
        refused: None,
        actor: actor.to_owned(),
    };
    // Without rules, a tag matters only where a quarantine may be taking it.
    let has_rules = tag::rules(policy, &facts).is_some();
    if !has_rules && (run.writer().is_none() || policy.block(&key.repository).method != BlockMethod::QuarantineTag) {
        return Ok(RepositoryOutcome::default());
    }
    let mut done = RepositoryOutcome::default();
    for _ in 0..MAX_ATTEMPTS {
        let by_tag = ImageRef::Tag(tag.clone());
        let (holder, row) = join(
            services.registry().image(&key.repository, &by_tag),
            services.ledger().tag_row(key, tag),
        )
        .await;
        let failed = |source| run.failed("look at a tag of", source);
        (facts.holder, facts.row) = (holder.map_err(failed)?, row.map_err(failed)?);
        let now = services.clock().now();
        if let Some(writer) = run.writer() {
            let (row, holder) = (facts.row.as_ref(), facts.holder.as_ref());
            let damage = Box::pin(run.removal(writer).look_into(row, holder, pushed)).await;
            if let Some(damage) = damage.map_err(|source| run.failed("give back a tag of", source))? {
                done.alerts.push(damage.kind());
                continue;
            }
        }
        if !has_rules {
            let seen = seen_with(facts.row.as_ref(), facts.holder.as_ref(), now);
            match seen {
                Some(row) if run.write_tag(&row).await? == Written::Conflict => continue,
                _ => return Ok(done),
            }
        }
        if tag::may_be_removed(policy, &facts) {
            let tags = services.registry().repository_tags(key).await.map_err(failed)?;
            facts.opted_out = matches!(opt_out(&tags), OptOut::Ignore(_) | OptOut::Report(_));
        }
        let step = match tag::decide(policy, &facts, services.clock().now()) {
            TagPlan::Apply(step) => step,
            TagPlan::Leave | TagPlan::InProgress => return Ok(done),
            TagPlan::Later => return Err(ReconcileError::Contended(key.into())),
        };
        if run.write_tag(&step.row).await? == Written::Conflict {
            continue;
        }
        let taken = match run.untag(&step).await {
            Ok(taken) => taken,
            Err(ReconcileError::Port { source, .. }) if source.retry == Retry::Never && facts.refused.is_none() => {
                facts.refused = Some(source.to_string());
                continue;
            }
            Err(error) => return Err(error),
        };
        let mut answered = true;
        if let Some(taken) = taken {
            done.changed.push("untag");
            done.alerts.extend(taken.damage.iter().map(Damage::kind));
            answered = taken.unanswered.is_empty();
        }
        done.alerts.extend(run.tell(&step.alerts).await?);
        let must_complete = !step.alerts.is_empty() || step.untag.is_some();
        if must_complete && run.write_tag(&step.completed(answered, services.clock().now())).await? == Written::Conflict
        {
            return Err(ReconcileError::Contended(key.into()));
        }
        return Ok(done);
    }
    Err(ReconcileError::Contended(key.into()))
}

impl<S: Services> Run<'_, S> {
    async fn write_tag(&self, row: &TagRow) -> Result<Written, ReconcileError> {
        let written = self.services.ledger().write_tag_row(row).await;
        written.map_err(|source| self.failed("record a tag of", source))
    }

    fn removal<'a>(&'a self, writer: &'a S::Writer) -> TagRemoval<'a, S> {
        TagRemoval {
            services: self.services,
            writer,
            policy: self.policy,
        }
    }

    /// Removes the tag, if that is planned. What the registry refuses is an error.
    async fn untag(&self, step: &TagStep) -> Result<Option<Taken>, ReconcileError> {
        let Some(untag) = &step.untag else { return Ok(None) };
        let Some(writer) = self.writer() else {
            return Err(ReconcileError::ReportMode(self.key.clone()));
        };
        let image = self.key.image(&step.row.digest);
        let failed = |source| self.failed("remove a tag of", source);
        let tag = std::slice::from_ref(&step.row.tag);
        let removal = self.removal(writer);
        // Boxed, because it is seldom done and would make every look larger.
        let taken = Box::pin(removal.take(&image, tag, &untag.mark, Claims::Written)).await;
        let taken = taken.map_err(failed)?;
        match taken.refused {
            Some(source) => Err(failed(source)),
            None => Ok(Some(taken)),
        }
    }
}

/// The row of a tag that is being removed, when another image has the tag by now: it says which.
fn seen_with(row: Option<&TagRow>, holder: Option<&Image>, now: Timestamp) -> Option<TagRow> {
    let (row, holder) = (row?, holder?);
    (row.removal.is_some() && row.digest != holder.digest).then(|| TagRow {
        digest: holder.digest.clone(),
        since: now,
        generation: row.generation + 1,
        ..row.clone()
    })
}

#[cfg(test)]
mod tests;
