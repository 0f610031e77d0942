//! Gather facts, decide, tell, record: for a copy where it arrives, and for a repository's copies where they come from.
//!
//! Nothing here changes an image: whether a copy is blocked is for [`reconcile`](crate::reconcile::image::reconcile).

use std::collections::BTreeMap;

use futures_util::future::{join3, try_join_all};
use serde::Serialize;

use crate::reconcile::image::AT_ONCE;
use guard_core::{
    alert::repository::{RepositoryAlert, RepositoryAlertKind},
    ids::{Digest, ImageKey, ImageRef, Region, Tag},
    image::{Image, children},
    ledger::Row,
    policy::Policy,
    registry::RegistryKey,
    replication::{
        self, ReplicationRules,
        backfill::{self, BackfillPlan, BackfillStart},
        ledger::{BackfillRow, MAX_REMEMBERED, ReplicaRow, ReplicaState},
        readiness::{Expected, Readiness},
        replica::{
            self, ChildrenHere, CopyState, ReplicaEvent, ReplicaFacts, ReplicaLeave, ReplicaPlan, ReplicaStep,
            TagPlace, Told,
        },
        source::{self, Copies, SourceFacts, SourceStep},
    },
    repository::ledger::RepositoryKey,
};
use guard_ports::{
    Clock, Ledger, Notifier, PortError, Registry, Replication, ReplicationLedger, ReplicationWriter, RepositoryLedger,
    Retry, Written,
};

/// The ports that copies need.
#[derive(Debug)]
pub struct ReplicationPorts<'a, R, E, W, L, N, C> {
    /// The registry here.
    pub registry: &'a R,
    /// Registries in other regions.
    pub elsewhere: &'a E,
    /// What starts backfills; `None` where the policy enforces nowhere. It is not used for a repository that the policy only reports on.
    pub writer: Option<&'a W>,
    /// The ledger.
    pub ledger: &'a L,
    /// The topics.
    pub notifier: &'a N,
    /// The time.
    pub clock: &'a C,
}

/// A copy to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaRequest {
    /// The copy.
    pub image: ImageKey,
    /// The registry that it comes from.
    pub source: RegistryKey,
    /// What an event said, if one led here.
    pub event: Option<ReplicaEvent>,
    /// The invocation, by an id that a retry of the same event keeps.
    pub actor: String,
}

/// What came of looking at a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplicaOutcome {
    /// How it stands.
    pub state: ReplicaState,
    /// The region that it comes from.
    pub source: Region,
    /// What is missing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Seconds from push to arrival, where that was not known before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<u64>,
    /// The kinds of the alerts that were sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<RepositoryAlertKind>,
}

/// What came of looking at a repository's copies.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ReplicationOutcome {
    /// How ready each region is.
    pub readiness: Vec<Readiness>,
    /// Copies in this region that were looked at again.
    pub looked: u64,
    /// The kinds of the alerts that were sent.
    pub alerts: Vec<RepositoryAlertKind>,
    /// The regions to which a backfill was begun.
    pub backfills: Vec<Region>,
}

/// Why it did not succeed. Nothing is lost: it can be done again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReplicationError {
    /// A call failed.
    #[error("could not {doing} `{of}`: {source}")]
    Port {
        /// What was being done.
        doing: &'static str,
        /// The image or repository.
        of: String,
        /// The call that failed.
        source: Box<PortError>,
    },
    /// Others changed the row again and again.
    #[error("others are changing the ledger's row of the copy of `{0}`")]
    Contended(String),
}

impl ReplicationError {
    /// Whether trying again can help.
    pub fn retry(&self) -> Retry {
        match self {
            Self::Port { source, .. } => source.retry,
            Self::Contended(_) => Retry::Later,
        }
    }

    /// A stable word for alarms.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Port { source, .. } => match source.retry {
                Retry::Later => "CallFailed",
                Retry::Never => "CallRefused",
            },
            Self::Contended(_) => "Contended",
        }
    }
}

/// How often it is started over because somebody else wrote the row in between.
const MAX_ATTEMPTS: usize = 3;

/// At most so many copies here are looked at in one look at a repository; the next sweep looks at the next ones.
const MAX_LOOKS: usize = 100;

/// Looks whether a copy is here, with its tags and all that it leads to, in time, or why not; tells what is wrong with it, once.
///
/// # Errors
/// A call failed, or others are at work on the same copy.
pub async fn reconcile_replica<R, E, W, L, N, C>(
    ports: &ReplicationPorts<'_, R, E, W, L, N, C>,
    policy: &Policy,
    request: &ReplicaRequest,
) -> Result<ReplicaOutcome, ReplicationError>
where
    R: Registry,
    E: Replication,
    L: Ledger + ReplicationLedger,
    N: Notifier,
    C: Clock,
{
    for _ in 0..MAX_ATTEMPTS {
        let facts = gather(ports, request).await?;
        let step = match replica::decide(policy, &facts, ports.clock.now()) {
            ReplicaPlan::Apply(step) => step,
            ReplicaPlan::Leave(leave) => {
                let row = facts.row.as_ref();
                debug_assert!(row.is_some() || leave == ReplicaLeave::Unchanged);
                return Ok(outcome(request, row, None, Vec::new()));
            }
        };
        if let Some(alerts) = apply(ports, policy, &request.image, &step).await? {
            return Ok(outcome(request, Some(&step.row), step.lag_seconds, alerts));
        }
    }
    Err(ReplicationError::Contended(request.image.to_string()))
}

fn outcome(
    request: &ReplicaRequest,
    row: Option<&ReplicaRow>,
    lag_seconds: Option<u64>,
    alerts: Vec<RepositoryAlertKind>,
) -> ReplicaOutcome {
    let incomplete = row
        .into_iter()
        .flat_map(|row| &row.notes)
        .filter(|note| note.kind == RepositoryAlertKind::ReplicaIncomplete);
    ReplicaOutcome {
        state: row.map_or(ReplicaState::Gone, |row| row.state),
        source: request.source.region.clone(),
        missing: incomplete
            .flat_map(|note| note.changes.iter().map(|change| change.setting.clone()))
            .collect(),
        lag_seconds,
        alerts,
    }
}

fn failed(doing: &'static str, of: &impl ToString) -> impl FnOnce(PortError) -> ReplicationError {
    let of = of.to_string();
    move |source| ReplicationError::Port {
        doing,
        of,
        source: Box::new(source),
    }
}

/// The same image where it comes from.
fn in_source(request: &ReplicaRequest) -> ImageKey {
    ImageKey {
        account: request.source.account.clone(),
        region: request.source.region.clone(),
        ..request.image.clone()
    }
}

/// What the source says, or why it does not: an error that trying again does not help is an answer too.
fn told<T>(result: Result<T, PortError>) -> Result<Told<T>, PortError> {
    match result {
        Ok(answer) => Ok(Told::Says(answer)),
        Err(error) if error.retry == Retry::Never => Ok(Told::Refuses(error.to_string())),
        Err(error) => Err(error),
    }
}

async fn gather<R, E, W, L, N, C>(
    ports: &ReplicationPorts<'_, R, E, W, L, N, C>,
    request: &ReplicaRequest,
) -> Result<ReplicaFacts, ReplicationError>
where
    R: Registry,
    E: Replication,
    L: Ledger + ReplicationLedger,
{
    let image = &request.image;
    let source = in_source(request);
    let looking = || failed("look at the copy of", image);
    let by_digest = ImageRef::Digest(image.digest.clone());
    // The ledger is this account's.
    let is_own = source.account == image.account;
    let source_row = async {
        if is_own {
            ports.ledger.row(&source).await
        } else {
            Ok(None)
        }
    };
    let (here, row, source_row) = join3(
        ports.registry.image(&image.repository, &by_digest),
        ports.ledger.replica_row(image),
        source_row,
    )
    .await;
    let mut facts = ReplicaFacts {
        image: here.map_err(looking())?,
        row: row.map_err(looking())?,
        ..ReplicaFacts::about(
            image.clone(),
            request.source.clone(),
            request.event.clone(),
            &request.actor,
        )
    };
    let source_row = source_row.map_err(looking())?;
    let status = async {
        if !facts.needs_status() {
            return Ok(Told::NotAsked);
        }
        let said = told(ports.elsewhere.copies(&source).await)?;
        Ok(match said {
            Told::Says(None) => Told::Says(CopyState::NoSuchImage),
            Told::Says(Some(mut copies)) => {
                let not_begun = CopyState::Missing(replication::ledger::Missing::NotBegun);
                Told::Says(copies.remove(&image.region).unwrap_or(not_begun))
            }
            Told::NotAsked => Told::NotAsked,
            Told::Refuses(why) => Told::Refuses(why),
        })
    };
    let (status, tags, children_here) = join3(
        status,
        tags(ports, request, &facts, &source),
        children_here(ports, image, &facts),
    )
    .await;
    let pushed_at = pushed_at(ports, &facts, &source, source_row.as_ref()).await;
    facts.status = status.map_err(looking())?;
    facts.tags = tags.map_err(looking())?;
    facts.children = children_here.map_err(looking())?;
    facts.pushed_at = pushed_at.map_err(looking())?;
    facts.told_late = if facts.lag_seconds().is_some() && facts.row.is_none() && is_own {
        let row = ports
            .ledger
            .replication_row(&RepositoryKey::of(&source), &image.region)
            .await;
        row.map_err(looking())?
            .is_some_and(|row| row.missing.contains_key(&image.digest))
    } else {
        false
    };
    Ok(facts)
}

/// When it was pushed in the source: by the ledger, or else by the registry there. Only asked while the lag is not known.
async fn pushed_at<R, E, W, L, N, C>(
    ports: &ReplicationPorts<'_, R, E, W, L, N, C>,
    facts: &ReplicaFacts,
    source: &ImageKey,
    source_row: Option<&Row>,
) -> Result<Option<jiff::Timestamp>, PortError>
where
    E: Replication,
{
    if facts.image.is_none() || facts.row.as_ref().is_some_and(|row| row.lag_seconds.is_some()) {
        return Ok(None);
    }
    if let Some(at) = source_row.and_then(|row| row.available_since) {
        return Ok(Some(at));
    }
    if facts.row.is_some() {
        // It was asked when the copy came.
        return Ok(None);
    }
    let by_digest = ImageRef::Digest(source.digest.clone());
    let found = told(ports.elsewhere.image_in(&RepositoryKey::of(source), &by_digest).await)?;
    Ok(found.says().and_then(|image| image.as_ref()?.pushed_at))
}

/// Where the tags lead that the copy should have.
async fn tags<R, E, W, L, N, C>(
    ports: &ReplicationPorts<'_, R, E, W, L, N, C>,
    request: &ReplicaRequest,
    facts: &ReplicaFacts,
    source: &ImageKey,
) -> Result<BTreeMap<Tag, TagPlace>, PortError>
where
    R: Registry,
    E: Replication,
{
    let Some(image) = &facts.image else {
        return Ok(BTreeMap::new());
    };
    let place = async |tag: Tag| {
        let by_tag = ImageRef::Tag(tag.clone());
        let here = if image.tags.contains(&tag) {
            Some(image.clone())
        } else {
            ports.registry.image(&request.image.repository, &by_tag).await?
        };
        let leads_here = here.as_ref().is_some_and(|holder| holder.digest == image.digest);
        let in_source = if leads_here {
            Told::NotAsked
        } else {
            match told(ports.elsewhere.image_in(&RepositoryKey::of(source), &by_tag).await)? {
                Told::Says(holder) => Told::Says(holder.map(|holder: Image| holder.digest)),
                Told::NotAsked => Told::NotAsked,
                Told::Refuses(why) => Told::Refuses(why),
            }
        };
        Ok((tag, TagPlace { here, in_source }))
    };
    let tags = replica::tags(facts.row.as_ref(), facts.event.as_ref());
    let places = try_join_all(tags.into_iter().map(place)).await?;
    Ok(places.into_iter().collect())
}

/// What the copy leads to, and what of that is not here.
async fn children_here<R, E, W, L, N, C>(
    ports: &ReplicationPorts<'_, R, E, W, L, N, C>,
    image: &ImageKey,
    facts: &ReplicaFacts,
) -> Result<ChildrenHere, PortError>
where
    R: Registry,
{
    if !facts.image.as_ref().is_some_and(replica::leads_to_images) {
        return Ok(ChildrenHere::NotAsked);
    }
    let manifest = match ports.registry.manifest(image).await {
        Ok(manifest) => manifest,
        Err(error) if error.retry == Retry::Later => return Err(error),
        Err(_) => None,
    };
    let listed = manifest.and_then(|manifest| children(&manifest));
    let Some(listed) = listed.filter(|listed| listed.more == 0) else {
        return Ok(ChildrenHere::Unknown);
    };
    let children: Vec<Digest> = listed.children.into_iter().map(|child| child.digest).collect();
    let refs: Vec<ImageRef> = children.iter().cloned().map(ImageRef::Digest).collect();
    let mut found = Vec::new();
    for some in refs.chunks(AT_ONCE) {
        found.extend(try_join_all(some.iter().map(|child| ports.registry.image(&image.repository, child))).await?);
    }
    let absent = children.iter().zip(found);
    let absent = absent
        .filter(|(_, found)| found.is_none())
        .map(|(child, _)| child.clone());
    let absent = absent.collect();
    Ok(ChildrenHere::Known(children, absent))
}

/// Carries out a step; the alerts that were sent. `None`: somebody else wrote the row, and nothing was done.
async fn apply<R, E, W, L, N, C>(
    ports: &ReplicationPorts<'_, R, E, W, L, N, C>,
    policy: &Policy,
    image: &ImageKey,
    step: &ReplicaStep,
) -> Result<Option<Vec<RepositoryAlertKind>>, ReplicationError>
where
    L: ReplicationLedger,
    N: Notifier,
    C: Clock,
{
    let recording = || failed("record the copy of", image);
    let written = ports.ledger.write_replica_row(&step.row).await;
    if written.map_err(recording())? == Written::Conflict {
        return Ok(None);
    }
    let alerts = tell(ports, policy, &RepositoryKey::of(image), &step.alerts).await?;
    if !alerts.is_empty() {
        let completed = step.completed(ports.clock.now());
        let written = ports.ledger.write_replica_row(&completed).await;
        if written.map_err(recording())? == Written::Conflict {
            return Err(ReplicationError::Contended(image.to_string()));
        }
    }
    Ok(Some(alerts))
}

async fn tell<R, E, W, L, N, C>(
    ports: &ReplicationPorts<'_, R, E, W, L, N, C>,
    policy: &Policy,
    key: &RepositoryKey,
    alerts: &[RepositoryAlert],
) -> Result<Vec<RepositoryAlertKind>, ReplicationError>
where
    N: Notifier,
{
    let topic = policy.topic(&key.repository);
    for alert in alerts {
        let brief = alert.brief(topic);
        let told = ports.notifier.tell_now(&brief, &alert.message()).await;
        told.map_err(failed("tell of the copies of", key))?;
    }
    Ok(alerts.iter().map(|alert| alert.kind).collect())
}

/// Looks at a repository's copies: those in other regions of the images that `expected` has gathered, and those here that were not
/// right when they were last looked at.
///
/// Where everything is there, that costs no call for an image: the ledger's rows of the copies say so, a thousand to a page.
///
/// # Errors
/// A call failed, or others are at work on the same rows.
pub async fn reconcile_replication<R, E, W, L, N, C>(
    ports: &ReplicationPorts<'_, R, E, W, L, N, C>,
    policy: &Policy,
    expected: &Expected<'_>,
    actor: &str,
) -> Result<ReplicationOutcome, ReplicationError>
where
    R: Registry,
    E: Replication,
    W: ReplicationWriter,
    L: Ledger + RepositoryLedger + ReplicationLedger,
    N: Notifier,
    C: Clock,
{
    let mut done = ReplicationOutcome::default();
    let Some(rules) = expected.rules() else { return Ok(done) };
    let key = &expected.key;
    let mut copies = Copies::default();
    let mut open = Vec::new();
    let mut unreadable = Vec::new();
    let mut after = None;
    loop {
        let page = ports.ledger.replica_rows(key, after.as_deref()).await;
        let page = page.map_err(failed("read the ledger's rows of the copies of", key))?;
        unreadable.extend(page.unreadable);
        for row in page.items {
            copies.remember(&row, &key.region);
            let is_here = row.image.region == key.region;
            if is_here && open.len() < MAX_LOOKS && must_be_looked_at(&row, expected) {
                open.push(row);
            }
        }
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let open = open.into_iter().map(|row| (row.image, row.source, None));
    // Those of which no event has come.
    let unseen = expected.copies().filter(|(digest, _)| !copies.has_seen(digest));
    let unseen = unseen.map(|(digest, source)| {
        let from = RegistryKey {
            account: key.account.clone(),
            region: source.region.clone(),
        };
        let event = ReplicaEvent {
            arrived: true,
            tags: source.tags.clone(),
        };
        (key.image(digest), from, Some(event))
    });
    for (image, source, event) in open.chain(unseen).take(MAX_LOOKS) {
        let request = ReplicaRequest {
            actor: format!("{actor}/{}", image.digest.short()),
            image,
            source,
            event,
        };
        let outcome = reconcile_replica(ports, policy, &request).await?;
        done.looked += 1;
        done.alerts.extend(outcome.alerts);
    }
    for to in rules.destinations(&key.region) {
        from_source(ports, policy, expected, rules, to, &copies, actor, &mut done).await?;
    }
    // What cannot be read must not hide the rest, nor be hidden by it.
    match unreadable.into_iter().next() {
        Some(error) => Err(failed("read the ledger's rows of the copies of", key)(error)),
        None => Ok(done),
    }
}

/// Whether a copy here must be looked at again.
fn must_be_looked_at(row: &ReplicaRow, expected: &Expected<'_>) -> bool {
    let owes = row.notes.iter().any(|note| note.sent_at.is_none());
    match row.state {
        ReplicaState::Incomplete | ReplicaState::Failed => true,
        ReplicaState::Complete => owes || !expected.is_listed(&row.image.digest),
        ReplicaState::Gone => owes,
    }
}

#[expect(clippy::too_many_arguments, reason = "what it finds goes to one place")]
async fn from_source<R, E, W, L, N, C>(
    ports: &ReplicationPorts<'_, R, E, W, L, N, C>,
    policy: &Policy,
    expected: &Expected<'_>,
    rules: &ReplicationRules,
    to: &Region,
    copies: &Copies,
    actor: &str,
    done: &mut ReplicationOutcome,
) -> Result<(), ReplicationError>
where
    E: Replication,
    W: ReplicationWriter,
    L: RepositoryLedger + ReplicationLedger,
    N: Notifier,
    C: Clock,
{
    let key = &expected.key;
    let writer = ports.writer.filter(|_| policy.enforces(&key.repository));
    let looking = || failed("look at the copies of", key);
    let there = RepositoryKey {
        region: to.clone(),
        ..key.clone()
    };
    let from = RegistryKey {
        account: key.account.clone(),
        region: key.region.clone(),
    };
    for _ in 0..MAX_ATTEMPTS {
        let (row, repository, backfill) = join3(
            ports.ledger.replication_row(key, to),
            ports.ledger.repository_row(&there),
            async {
                if rules.backfill {
                    ports.ledger.backfill_row(&from, to).await
                } else {
                    Ok(None)
                }
            },
        )
        .await;
        let (row, repository) = (row.map_err(looking())?, repository.map_err(looking())?);
        let backfill = backfill.map_err(looking())?;
        let mut facts = SourceFacts {
            expected,
            rules,
            to,
            copies,
            asked: BTreeMap::new(),
            has_drift: repository.is_some_and(|row| row.notes.iter().any(|note| note.kind.lasts())),
            row: row.as_ref(),
            backfill: backfill.as_ref(),
            actor,
        };
        for digest in source::questions(&facts, ports.clock.now()) {
            let image = key.image(&digest);
            let said = match ports.elsewhere.copies(&image).await.map_err(looking())? {
                None => CopyState::NoSuchImage,
                Some(mut said) => said
                    .remove(to)
                    .unwrap_or(CopyState::Missing(replication::ledger::Missing::NotBegun)),
            };
            facts.asked.insert(digest, said);
        }
        let plan = source::decide(&facts, writer.is_some(), ports.clock.now());
        if let Some(step) = &plan.step
            && !record(ports, policy, key, step, done).await?
        {
            continue;
        }
        done.readiness.push(plan.readiness);
        // In report mode none is begun, nor followed.
        if rules.backfill && writer.is_some() {
            back_fill(ports, &from, to, backfill.as_ref(), plan.wants_backfill, actor, done).await?;
        }
        return Ok(());
    }
    Err(ReplicationError::Contended(key.to_string()))
}

/// Carries out a step; whether the row could be written.
async fn record<R, E, W, L, N, C>(
    ports: &ReplicationPorts<'_, R, E, W, L, N, C>,
    policy: &Policy,
    key: &RepositoryKey,
    step: &SourceStep,
    done: &mut ReplicationOutcome,
) -> Result<bool, ReplicationError>
where
    L: ReplicationLedger,
    N: Notifier,
    C: Clock,
{
    let recording = || failed("record the copies of", key);
    let written = ports.ledger.write_replication_row(&step.row).await;
    if written.map_err(recording())? == Written::Conflict {
        return Ok(false);
    }
    let alerts = tell(ports, policy, key, &step.alerts).await?;
    if !alerts.is_empty() {
        let completed = step.completed(ports.clock.now());
        let written = ports.ledger.write_replication_row(&completed).await;
        if written.map_err(recording())? == Written::Conflict {
            return Err(ReplicationError::Contended(key.to_string()));
        }
    }
    done.alerts.extend(alerts);
    Ok(true)
}

/// Begins a backfill, or looks how the one stands that was begun.
async fn back_fill<R, E, W, L, N, C>(
    ports: &ReplicationPorts<'_, R, E, W, L, N, C>,
    from: &RegistryKey,
    to: &Region,
    row: Option<&BackfillRow>,
    wanted: bool,
    actor: &str,
    done: &mut ReplicationOutcome,
) -> Result<(), ReplicationError>
where
    E: Replication,
    W: ReplicationWriter,
    L: ReplicationLedger,
    C: Clock,
{
    let doing = || failed("follow the backfill to", to);
    // Whoever loses the race for the row leaves it to the other.
    match backfill::decide(row, from, to, wanted, actor, ports.clock.now()) {
        BackfillPlan::Leave => {}
        BackfillPlan::Start(row) => {
            let Some(writer) = ports.writer else { return Ok(()) };
            if ports.ledger.write_backfill_row(&row).await.map_err(doing())? == Written::Conflict {
                return Ok(());
            }
            // What ECR does not begin is told of copies that are late; that we may not ask is an error as well.
            let (start, denied) = match writer.start_backfill(from, to).await {
                Ok(start) => (start, None),
                Err(error) if error.retry == Retry::Never => (BackfillStart::Refused(error.to_string()), Some(error)),
                Err(error) => return Err(doing()(error)),
            };
            if matches!(start, BackfillStart::Started(_)) {
                done.backfills.push(to.clone());
            }
            let begun = backfill::begun(&row, start, ports.clock.now());
            ports.ledger.write_backfill_row(&begun).await.map_err(doing())?;
            if let Some(error) = denied {
                return Err(failed("begin a backfill to", to)(error));
            }
        }
        BackfillPlan::Look => {
            let Some(row) = row else { return Ok(()) };
            let all = ports.elsewhere.backfills().await.map_err(doing())?;
            let found = backfill::find(row, &all);
            let failures = match found.filter(|found| !found.status.is_open()) {
                Some(ended) => {
                    let failures = ports.elsewhere.backfill_failures(&ended.id, MAX_REMEMBERED).await;
                    failures.map_err(doing())?
                }
                None => Vec::new(),
            };
            let looked = backfill::looked(row, found, failures, ports.clock.now());
            ports.ledger.write_backfill_row(&looked).await.map_err(doing())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
