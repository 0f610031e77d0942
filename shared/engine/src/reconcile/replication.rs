//! Gather facts, decide, notify, record: for a copy in its own region, and for a repository's copies in the region of their
//! source.
//!
//! Nothing here changes an image: whether a copy is blocked is for [`reconcile`](crate::reconcile::image::reconcile).

use std::{collections::BTreeMap, convert::Infallible};

use futures_util::future::{join_all, join3, join4, try_join_all};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use tracing::debug;

use crate::{
    execute::{Action, Claim, Executed, execute},
    reconcile::{ReconcileError, Subject, repository::tell},
};
use guard_core::{
    alert::repository::RepositoryAlert,
    decide::{TURN_HOURS, Turns},
    ids::{Digest, ImageKey, ImageRef, Region, RegistryKey, RepositoryKey, Tag},
    image::{Image, ImageStatus, children},
    ledger::Row,
    notice::RepositoryAlertKind,
    policy::{Policy, ReplicationRules},
    replication::{
        self,
        backfill::{self, AGAIN_HOURS, BackfillPlan, BackfillStart, BackfillWish, Lane},
        ledger::{BackfillRow, MAX_REMEMBERED, NotPullable, ReplicaRow, ReplicaState},
        readiness::{Expected, Readiness},
        replica::{
            self, ChildrenHere, CopyState, ListedHere, ReplicaEvent, ReplicaFacts, ReplicaLeave, ReplicaPlan,
            ReplicaStep, TagPlace, Told,
        },
        source::{self, Copies, SourceFacts, SourcePlan, SourceStep},
    },
    state::State,
    summary::day_of_summary,
};
use guard_ports::{
    Clock as _, Ledger as _, PortError, Registry as _, Replication as _, ReplicationLedger as _,
    ReplicationWriter as _, RepositoryLedger as _, Retry, Services, SweepLedger as _, Written,
};

/// A copy to reconcile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaRequest {
    /// The copy.
    pub image: ImageKey,
    /// The registry that it comes from.
    pub source: RegistryKey,
    /// The event that caused this reconcile, if one did.
    pub event: Option<ReplicaEvent>,
    /// Tags that the source has by the ledger, that the copy does not have, and of which no event has come. A sweep finds them.
    pub source_tags: Vec<Tag>,
    /// The invocation, by an id that a retry of the same event keeps.
    pub actor: String,
}

/// The result of the reconcile of a copy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplicaOutcome {
    /// How it stands.
    pub state: ReplicaState,
    /// The region that it comes from.
    pub source: Region,
    /// The missing parts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Seconds from push to arrival, where that was not known before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lag_seconds: Option<u64>,
    /// The kinds of the alerts that were sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<RepositoryAlertKind>,
}

/// The result of the reconcile of a repository's copies.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ReplicationOutcome {
    /// How ready each region is.
    pub readiness: Vec<Readiness>,
    /// Copies in this region that were reconciled.
    pub looked: u64,
    /// Every copy on the list here has been reconciled, now or before.
    pub all_seen: bool,
    /// The time was over before everything was reconciled, and nothing else prevented it: the rest is for another invocation.
    pub is_cut: bool,
    /// The failures. They kept nothing else from being reconciled.
    #[serde(skip)]
    pub errors: Vec<ReconcileError>,
    /// The kinds of the alerts that were sent.
    pub alerts: Vec<RepositoryAlertKind>,
    /// The regions to which a backfill was begun.
    pub backfills: Vec<Region>,
}

/// How often it is started over because somebody else wrote the row in between.
const MAX_ATTEMPTS: usize = 3;

/// Up to this number, copies here that were incomplete at their last reconcile are all reconciled by every sweep. With more,
/// each is reconciled once a day.
const MAX_LOOKS: usize = 100;

/// The number of copies that are reconciled at the same time.
const LOOKS_AT_ONCE: usize = 8;

/// After this number of failures in a row nothing new is begun here: AWS fails or throttles.
const MAX_TROUBLE: usize = LOOKS_AT_ONCE;

/// The errors of one kind of work that are named: a thousand images fail for the same reason.
const MAX_ERRORS: usize = 5;

/// Checks whether a copy is here, with its tags and all its children, in time, or why not; alerts each problem once.
///
/// # Errors
/// A call failed, or others are at work on the same copy.
pub async fn reconcile_replica(
    services: &impl Services,
    policy: &Policy,
    request: &ReplicaRequest,
) -> Result<ReplicaOutcome, ReconcileError> {
    for _ in 0..MAX_ATTEMPTS {
        let facts = gather(services, policy, request).await?;
        debug!(of = %request.image, recorded = facts.row.is_some(), "facts of the copy gathered");
        let step = match replica::decide(policy, &facts, services.clock().now()) {
            ReplicaPlan::Apply(step) => step,
            ReplicaPlan::Leave(leave) => {
                debug!(of = %request.image, why = ?leave, "decided: nothing is to be done about the copy");
                let row = facts.row.as_ref();
                debug_assert!(row.is_some() || leave == ReplicaLeave::Unchanged);
                return Ok(outcome(request, row, None, Vec::new()));
            }
        };
        let action = CopyAction {
            services,
            policy,
            key: &RepositoryKey::of(&request.image),
            of: request.image.to_string(),
            step: &*step,
            alerts: Vec::new(),
        };
        match execute(action).await? {
            Executed::Conflict => {}
            Executed::Stopped(never) => match never {},
            Executed::Done(alerts) => return Ok(outcome(request, Some(&step.row), step.lag_seconds, alerts)),
        }
    }
    Err(ReconcileError::Contended(Subject::Copies(request.image.to_string())))
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

fn failed(doing: &'static str, of: &impl ToString) -> impl FnOnce(PortError) -> ReconcileError {
    let of = Subject::Copies(of.to_string());
    move |source| ReconcileError::port(doing, of, source)
}

/// The same image where it comes from.
fn in_source(request: &ReplicaRequest) -> ImageKey {
    ImageKey {
        account: request.source.account.clone(),
        region: request.source.region.clone(),
        ..request.image.clone()
    }
}

/// The source's answer, or why there is none: a permanent error is an answer too.
fn told<T>(result: Result<T, PortError>) -> Result<Told<T>, PortError> {
    match result {
        Ok(answer) => Ok(Told::Says(answer)),
        Err(error) if error.retry == Retry::Never => Ok(Told::Refuses(error.to_string())),
        Err(error) => Err(error),
    }
}

async fn gather(
    services: &impl Services,
    policy: &Policy,
    request: &ReplicaRequest,
) -> Result<ReplicaFacts, ReconcileError> {
    let image = &request.image;
    let source = in_source(request);
    let looking = || failed("reconcile the copy of", image);
    let by_digest = ImageRef::Digest(image.digest.clone());
    // The ledger is this account's.
    let is_own = source.account == image.account;
    let source_row = async {
        if is_own {
            services.ledger().row(&source).await
        } else {
            Ok(None)
        }
    };
    let (here, row, source_row) = join3(
        services.registry().image(&image.repository, &by_digest),
        services.ledger().replica_row(image),
        source_row,
    )
    .await;
    let mut facts = ReplicaFacts {
        image: here.map_err(looking())?,
        row: row.map_err(looking())?,
        source_tags: request.source_tags.clone(),
        ..ReplicaFacts::about(
            image.clone(),
            request.source.clone(),
            request.event.clone(),
            &request.actor,
        )
    };
    let source_row = source_row.map_err(looking())?;
    if facts.image.as_ref().is_some_and(|image| image.status.is_in_archive()) {
        facts.is_blocked = is_blocked(services, image).await.map_err(looking())?;
    }
    let status = async {
        if !facts.needs_status() {
            return Ok(Told::NotAsked);
        }
        let said = told(services.elsewhere().copies(&source).await)?;
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
        tags(services, request, &facts, &source),
        children_here(services, image, &facts),
    )
    .await;
    let pushed_at = pushed_at(services, &facts, &source, source_row.as_ref()).await;
    facts.status = status.map_err(looking())?;
    facts.tags = tags.map_err(looking())?;
    facts.children = children_here.map_err(looking())?;
    facts.pushed_at = pushed_at.map_err(looking())?;
    let rules = replication::rules(policy, &image.repository);
    let now = services.clock().now();
    if let (Some(lag), Some(rules), None, true) = (facts.lag_seconds(), rules, &facts.row, is_own)
        && facts.is_late(lag, rules.max_lag, now)
    {
        facts.told_late = is_told_late(services, rules, &source, &image.region, now)
            .await
            .map_err(looking())?;
    }
    Ok(facts)
}

/// Another image of the same repository.
fn image_beside(image: &ImageKey, digest: &Digest) -> ImageKey {
    ImageKey {
        digest: digest.clone(),
        ..image.clone()
    }
}

/// Whether a block of ours keeps an image out of reach. A rest of an undone block, such as a mark, does not.
async fn is_blocked(services: &impl Services, image: &ImageKey) -> Result<bool, PortError> {
    let row = services.ledger().row(image).await?;
    Ok(row.is_some_and(|row| row.closed_at.is_none() && row.state == State::Blocked))
}

/// Whether an alert of the source has named this copy already, or a backfill of ours has brought it, or may have.
async fn is_told_late(
    services: &impl Services,
    rules: &ReplicationRules,
    source: &ImageKey,
    to: &Region,
    now: Timestamp,
) -> Result<bool, PortError> {
    let row = services
        .ledger()
        .replication_row(&RepositoryKey::of(source), to)
        .await?;
    if row.is_some_and(|row| row.missing.contains_key(&source.digest)) {
        return Ok(true);
    }
    if !rules.backfill {
        return Ok(false);
    }
    let from = RegistryKey {
        account: source.account.clone(),
        region: source.region.clone(),
    };
    let backfill = services.ledger().backfill_row(&from, to).await?;
    let lately = SignedDuration::from_hours(AGAIN_HOURS);
    Ok(backfill.is_some_and(|row| row.status.is_open() || now.duration_since(row.claimed_at) < lately))
}

/// When it was pushed in the source: by the ledger, or else by the registry there. Only asked while the lag is not known.
async fn pushed_at(
    services: &impl Services,
    facts: &ReplicaFacts,
    source: &ImageKey,
    source_row: Option<&Row>,
) -> Result<Option<jiff::Timestamp>, PortError> {
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
    let found = told(
        services
            .elsewhere()
            .image_in(&RepositoryKey::of(source), &by_digest)
            .await,
    )?;
    Ok(found.says().and_then(|image| image.as_ref()?.pushed_at))
}

/// Where the tags lead that the copy should have.
async fn tags(
    services: &impl Services,
    request: &ReplicaRequest,
    facts: &ReplicaFacts,
    source: &ImageKey,
) -> Result<BTreeMap<Tag, TagPlace>, PortError> {
    let Some(image) = &facts.image else {
        return Ok(BTreeMap::new());
    };
    let place = async |tag: Tag| {
        let by_tag = ImageRef::Tag(tag.clone());
        let here = if image.tags.contains(&tag) {
            Some(image.clone())
        } else {
            services.registry().image(&request.image.repository, &by_tag).await?
        };
        let leads_here = here.as_ref().is_some_and(|holder| holder.digest == image.digest);
        let in_source = if leads_here {
            Told::NotAsked
        } else {
            match told(services.elsewhere().image_in(&RepositoryKey::of(source), &by_tag).await)? {
                Told::Says(holder) => Told::Says(holder.map(|holder: Image| holder.digest)),
                Told::NotAsked => Told::NotAsked,
                Told::Refuses(why) => Told::Refuses(why),
            }
        };
        Ok((tag, TagPlace { here, in_source }))
    };
    let tags = facts.tags().into_iter().chain(facts.tags_to_come());
    let places = try_join_all(tags.map(place)).await?;
    Ok(places.into_iter().collect())
}

/// The children of the copy, and those that are not here.
async fn children_here(
    services: &impl Services,
    image: &ImageKey,
    facts: &ReplicaFacts,
) -> Result<ChildrenHere, PortError> {
    if !facts.image.as_ref().is_some_and(replica::leads_to_images) {
        return Ok(ChildrenHere::NotAsked);
    }
    let manifest = match services.registry().manifest(image).await {
        Ok(manifest) => manifest,
        Err(error) if error.retry == Retry::Later => return Err(error),
        Err(_) => None,
    };
    let listed = manifest.and_then(|manifest| children(&manifest));
    let Some(listed) = listed.filter(|listed| listed.more == 0) else {
        return Ok(ChildrenHere::Unknown);
    };
    let children: Vec<Digest> = listed.children.into_iter().map(|child| child.digest).collect();
    let found = services.registry().images_of(&image.repository, &children).await?;
    let mut here = ListedHere::default();
    for (child, found) in children.iter().zip(found) {
        let list = match found {
            None => &mut here.absent,
            Some(found) if !found.status.is_in_archive() => continue,
            Some(_) if is_blocked(services, &image_beside(image, child)).await? => continue,
            Some(found) if found.status == ImageStatus::Archived => &mut here.archived,
            Some(_) => &mut here.returning,
        };
        list.push(child.clone());
    }
    here.children = children;
    Ok(ChildrenHere::Known(here))
}

/// A step for a copy, or for the copies of a repository in a region.
trait CopyStep {
    /// The action of writing its row.
    const RECORDING: &str;

    fn alerts(&self) -> &[RepositoryAlert];

    /// Writes its row: as it is, or with all alerts sent.
    async fn write(&self, services: &impl Services, told_at: Option<Timestamp>) -> Result<Written, PortError>;
}

impl CopyStep for ReplicaStep {
    const RECORDING: &str = "record the copy of";

    fn alerts(&self) -> &[RepositoryAlert] {
        &self.alerts
    }

    async fn write(&self, services: &impl Services, told_at: Option<Timestamp>) -> Result<Written, PortError> {
        let completed = told_at.map(|now| self.completed(now));
        let row = completed.as_ref().unwrap_or(&self.row);
        services.ledger().write_replica_row(row).await
    }
}

impl CopyStep for SourceStep {
    const RECORDING: &str = "record the copies of";

    fn alerts(&self) -> &[RepositoryAlert] {
        &self.alerts
    }

    async fn write(&self, services: &impl Services, told_at: Option<Timestamp>) -> Result<Written, PortError> {
        let completed = told_at.map(|now| self.completed(now));
        let row = completed.as_ref().unwrap_or(&self.row);
        services.ledger().write_replication_row(row).await
    }
}

/// How such a step is carried out: nothing is changed, and alerts are sent.
struct CopyAction<'a, S, T> {
    services: &'a S,
    policy: &'a Policy,
    /// The repository whose topic is notified.
    key: &'a RepositoryKey,
    /// The copy, or the repository.
    of: String,
    step: &'a T,
    alerts: Vec<RepositoryAlertKind>,
}

impl<S: Services, T: CopyStep> Action for CopyAction<'_, S, T> {
    type Done = Vec<RepositoryAlertKind>;
    type Stop = Infallible;

    fn subject(&self) -> Subject {
        Subject::Copies(self.of.clone())
    }

    fn is_only_a_record(&self) -> bool {
        self.step.alerts().is_empty()
    }

    async fn claim(&mut self) -> Result<Claim<Infallible>, ReconcileError> {
        let written = self.step.write(self.services, None).await;
        Ok(match written.map_err(failed(T::RECORDING, &self.of))? {
            Written::Yes => Claim::Holds,
            Written::Conflict => Claim::Conflict,
        })
    }

    async fn effect(&mut self) -> Result<Option<Infallible>, ReconcileError> {
        Ok(None)
    }

    async fn tell(&mut self) -> Result<(), ReconcileError> {
        let told = tell(self.services, self.policy, self.key, self.step.alerts()).await;
        self.alerts = told.map_err(failed("send the alert about the copies of", self.key))?;
        Ok(())
    }

    async fn record(&mut self) -> Result<Written, ReconcileError> {
        let written = self.step.write(self.services, Some(self.services.clock().now())).await;
        written.map_err(failed(T::RECORDING, &self.of))
    }

    fn done(self) -> Vec<RepositoryAlertKind> {
        self.alerts
    }
}

/// The copies to reconcile, and until when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyLook {
    /// Whose turn it is.
    pub turns: Turns,
    /// Nothing new is begun after that.
    pub until: Timestamp,
    /// Another invocation had not the time for all of it: copies that stay as they are have been reconciled.
    pub is_rest: bool,
}

/// Reconciles a repository's copies: those in other regions of the images that `expected` has gathered, and those here that
/// nobody has reconciled yet, or that are incomplete.
///
/// Where everything is there, that costs no call for an image: the ledger's rows of the copies say so, a thousand to a page. A
/// copy that cannot be reconciled keeps no other from it, and is unknown.
pub async fn reconcile_replication(
    services: &impl Services,
    policy: &Policy,
    expected: &Expected<'_>,
    look: CopyLook,
    actor: &str,
) -> ReplicationOutcome {
    let mut done = ReplicationOutcome::default();
    let Some(rules) = expected.rules() else { return done };
    let key = &expected.key;
    let mut rows = Rows::default();
    if let Err(error) = read_rows(services, expected, look.until, &mut rows).await {
        done.errors.push(error);
        let regions = rules.destinations(&key.region);
        done.readiness = regions.map(|to| unknown(expected, &Copies::default(), to)).collect();
        return done;
    }
    if !rows.all {
        done.is_cut = true;
        return done;
    }
    let run = CopiesRun {
        services,
        policy,
        expected,
        rules,
        look,
        actor,
    };
    run.look_here(&mut rows, &mut done).await;
    for to in rules.destinations(&key.region) {
        if done.is_cut || services.clock().now() >= look.until {
            done.is_cut = true;
            return done;
        }
        let at = done.readiness.len();
        let looked = run.readiness_of(to, &rows, &mut done).await;
        done.errors.extend(looked.err());
        if done.readiness.len() == at {
            done.readiness.push(unknown(expected, &rows.copies, to));
        }
    }
    // A row that cannot be read must not hide the rest, nor be hidden by it.
    let reading = || failed("read the ledger's rows of the copies of", key);
    let unreadable = rows.unreadable.into_iter().take(MAX_ERRORS);
    done.errors.extend(unreadable.map(|error| reading()(error)));
    done
}

/// A region of which nobody can say how it stands.
fn unknown(expected: &Expected<'_>, copies: &Copies, to: &Region) -> Readiness {
    let number = source::number_expected(expected, copies);
    Readiness {
        expected: number,
        unknown: number,
        ..Readiness::of(to.clone())
    }
}

/// The ledger's rows of a repository's copies.
#[derive(Debug, Default)]
struct Rows {
    copies: Copies,
    /// Copies here that are not as their rows say.
    changed: Vec<ReplicaRow>,
    /// Copies here that were incomplete at their last reconcile.
    wrong: Vec<ReplicaRow>,
    unreadable: Vec<PortError>,
    /// The time was enough for all of them.
    all: bool,
}

async fn read_rows(
    services: &impl Services,
    expected: &Expected<'_>,
    until: Timestamp,
    rows: &mut Rows,
) -> Result<(), ReconcileError> {
    let key = &expected.key;
    let mut after = None;
    loop {
        let page = services.ledger().replica_rows(key, after.as_deref()).await;
        let page = page.map_err(failed("read the ledger's rows of the copies of", key))?;
        rows.unreadable.extend(page.unreadable);
        for row in page.items {
            rows.copies.remember(&row, &key.region);
            if row.image.region != key.region {
                continue;
            }
            match why(&row, expected) {
                Some(Why::Changed) => rows.changed.push(row),
                Some(Why::Wrong) => rows.wrong.push(row),
                None => {}
            }
        }
        after = page.next;
        if after.is_none() || services.clock().now() >= until {
            rows.all = after.is_none();
            return Ok(());
        }
    }
}

/// Why a copy here must be reconciled again.
enum Why {
    /// It differs from its row, or an alert about it is pending.
    Changed,
    /// It was not right, or tags of its source have not come yet.
    Wrong,
}

fn why(row: &ReplicaRow, expected: &Expected<'_>) -> Option<Why> {
    let owes = row.notes.iter().any(|note| note.sent_at.is_none());
    let is_right = expected.is_as_it_should_be(&row.image.digest);
    let is_whole = is_right && row.children.iter().all(|child| expected.is_as_it_should_be(child));
    match row.state {
        _ if owes => Some(Why::Changed),
        // The reconcile alerts a tag that it lost, or forgets one that has moved on.
        ReplicaState::Complete if !is_whole || expected.lacks_a_tag_of(row) => Some(Why::Changed),
        // Each look asks the source for them, until their time is over.
        ReplicaState::Complete if !row.awaited.is_empty() || !expected.tags_to_come(row).is_empty() => Some(Why::Wrong),
        ReplicaState::Complete => None,
        // It is back.
        ReplicaState::Incomplete if row.not_pullable == Some(NotPullable::Missing) && is_right => Some(Why::Changed),
        ReplicaState::Incomplete | ReplicaState::Failed => Some(Why::Wrong),
        ReplicaState::Gone => None,
    }
}

/// The reconcile of a repository's copies.
struct CopiesRun<'a, S> {
    services: &'a S,
    policy: &'a Policy,
    expected: &'a Expected<'a>,
    rules: &'a ReplicationRules,
    look: CopyLook,
    actor: &'a str,
}

impl<S: Services> CopiesRun<'_, S> {
    fn registry(&self) -> RegistryKey {
        let key = &self.expected.key;
        RegistryKey {
            account: key.account.clone(),
            region: key.region.clone(),
        }
    }

    /// Reconciles copies here: those that differ from their rows, those that nobody has reconciled yet, and those that were
    /// incomplete before.
    async fn look_here(&self, rows: &mut Rows, done: &mut ReplicationOutcome) {
        let Self {
            services,
            policy,
            expected,
            look,
            actor,
            ..
        } = *self;
        let key = &expected.key;
        let mut wrong = std::mem::take(&mut rows.wrong);
        if look.is_rest {
            wrong.clear();
        } else if wrong.len() > MAX_LOOKS {
            wrong.retain(|row| look.turns.has(&row.image.digest, TURN_HOURS));
        }
        let known = wrong.into_iter().chain(std::mem::take(&mut rows.changed));
        let known = known.map(|row| (expected.tags_to_come(&row), row.image, row.source, None));
        // Those of which no event has come.
        let unseen = expected.copies().filter(|(digest, _)| !rows.copies.has_seen(digest));
        let unseen = unseen.map(|(digest, source)| {
            let from = RegistryKey {
                account: key.account.clone(),
                region: source.region.clone(),
            };
            let event = ReplicaEvent {
                arrived: true,
                tags: source.tags.clone(),
            };
            (Vec::new(), key.image(digest), from, Some(event))
        });
        let requests: Vec<ReplicaRequest> = known
            .chain(unseen)
            .map(|(source_tags, image, source, event)| ReplicaRequest {
                actor: format!("{actor}/{}", image.digest.short()),
                image,
                source,
                event,
                source_tags,
            })
            .collect();
        let is_new = |request: &&ReplicaRequest| request.event.is_some();
        let mut unseen = requests.iter().filter(is_new).count();
        let (mut trouble, mut named) = (0, 0);
        for some in requests.chunks(LOOKS_AT_ONCE) {
            if services.clock().now() >= look.until {
                done.is_cut = true;
                return;
            }
            let looked = join_all(some.iter().map(|request| reconcile_replica(services, policy, request))).await;
            for (request, looked) in some.iter().zip(looked) {
                match looked {
                    Ok(outcome) => {
                        trouble = 0;
                        done.looked += 1;
                        unseen -= usize::from(is_new(&request));
                        done.alerts.extend(outcome.alerts);
                    }
                    Err(error) => {
                        trouble += usize::from(error.retry() == Retry::Later);
                        if named < MAX_ERRORS {
                            done.errors.push(error);
                            named += 1;
                        }
                    }
                }
            }
            if trouble >= MAX_TROUBLE {
                return;
            }
        }
        done.all_seen = unseen == 0;
    }

    /// Looks how ready a region is for what is copied from here.
    async fn readiness_of(
        &self,
        to: &Region,
        rows: &Rows,
        done: &mut ReplicationOutcome,
    ) -> Result<(), ReconcileError> {
        let Self {
            services,
            policy,
            expected,
            rules,
            actor,
            ..
        } = *self;
        let key = &expected.key;
        let begins = services.backfills().is_some() && policy.enforces(&key.repository);
        let looking = || failed("reconcile the copies of", key);
        let there = RepositoryKey {
            region: to.clone(),
            ..key.clone()
        };
        let from = self.registry();
        for _ in 0..MAX_ATTEMPTS {
            let (row, repository, summary, backfill) = join4(
                services.ledger().replication_row(key, to),
                services.ledger().repository_row(&there),
                services.ledger().summary(&there),
                async {
                    if rules.backfill {
                        services.ledger().backfill_row(&from, to).await
                    } else {
                        Ok(None)
                    }
                },
            )
            .await;
            let (row, repository) = (row.map_err(looking())?, repository.map_err(looking())?);
            let summary = summary.map_err(looking())?;
            let looked_at = summary
                .as_ref()
                .and_then(|summary| day_of_summary(summary, services.clock().now()));
            let backfill = backfill.map_err(looking())?;
            let mut facts = SourceFacts {
                expected,
                rules,
                to,
                copies: &rows.copies,
                asked: BTreeMap::new(),
                all_seen_at: None,
                is_looked_at: looked_at.is_some(),
                has_drift: repository.is_some_and(|row| row.notes.iter().any(|note| note.kind.lasts())),
                row: row.as_ref(),
                backfill: backfill.as_ref(),
                actor,
            };
            // A row that cannot be read may be that of a copy that is there.
            if rows.unreadable.is_empty() {
                facts.all_seen_at = looked_at.filter(|_| summary.is_some_and(|summary| summary.copies_seen));
            }
            self.ask(&mut facts, &mut done.errors).await;
            let plan = self.decided(&facts, begins);
            if let Some(step) = &plan.step {
                let at = done.readiness.len();
                done.readiness.push(plan.readiness.clone());
                if !self.record(step, done).await? {
                    done.readiness.truncate(at);
                    continue;
                }
            } else {
                done.readiness.push(plan.readiness);
            }
            // In report mode none is begun, nor followed.
            if rules.backfill && begins {
                self.back_fill(to, backfill.as_ref(), plan.wish, done).await?;
            }
            return Ok(());
        }
        Err(ReconcileError::Contended(Subject::Copies(key.to_string())))
    }

    fn decided(&self, facts: &SourceFacts<'_>, begins: bool) -> SourcePlan {
        let (key, to) = (&self.expected.key, facts.to);
        debug!(of = %key, %to, recorded = facts.row.is_some(), "facts of the copies gathered");
        let plan = source::decide(facts, begins, self.services.clock().now());
        debug!(of = %key, %to, step = plan.step.is_some(), "decided about the copies");
        plan
    }

    /// Asks ECR about images of which nobody has seen a copy, as long as there is time.
    async fn ask(&self, facts: &mut SourceFacts<'_>, errors: &mut Vec<ReconcileError>) {
        let (services, key) = (self.services, &self.expected.key);
        let mut failures = 0;
        for digest in source::questions(facts, services.clock().now()) {
            if services.clock().now() >= self.look.until || failures >= MAX_ERRORS {
                break;
            }
            match services.elsewhere().copies(&key.image(&digest)).await {
                Ok(None) => {
                    facts.asked.insert(digest, CopyState::NoSuchImage);
                }
                Ok(Some(mut said)) => {
                    let not_begun = CopyState::Missing(replication::ledger::Missing::NotBegun);
                    facts.asked.insert(digest, said.remove(facts.to).unwrap_or(not_begun));
                }
                // Nothing is known of this one.
                Err(error) => {
                    failures += 1;
                    errors.push(failed("reconcile the copies of", key)(error));
                }
            }
        }
    }

    /// Carries out a step; whether the row could be written.
    async fn record(&self, step: &SourceStep, done: &mut ReplicationOutcome) -> Result<bool, ReconcileError> {
        let key = &self.expected.key;
        let action = CopyAction {
            services: self.services,
            policy: self.policy,
            key,
            of: key.to_string(),
            step,
            alerts: Vec::new(),
        };
        match execute(action).await? {
            Executed::Conflict => Ok(false),
            Executed::Stopped(never) => match never {},
            Executed::Done(alerts) => {
                done.alerts.extend(alerts);
                Ok(true)
            }
        }
    }

    /// Begins a backfill, or looks how the one stands that was begun.
    async fn back_fill(
        &self,
        to: &Region,
        row: Option<&BackfillRow>,
        wish: BackfillWish,
        done: &mut ReplicationOutcome,
    ) -> Result<(), ReconcileError> {
        let (services, from) = (self.services, &self.registry());
        let doing = || failed("follow the backfill to", to);
        // The invocation that loses the race for the row leaves it to the other.
        match backfill::decide(row, Lane { from, to }, wish, self.actor, services.clock().now()) {
            BackfillPlan::Leave => {}
            BackfillPlan::Start(row) => {
                let Some(writer) = services.backfills() else {
                    return Ok(());
                };
                if services.ledger().write_backfill_row(&row).await.map_err(doing())? == Written::Conflict {
                    return Ok(());
                }
                // A backfill that ECR does not begin is named in the alert about late copies; a missing permission for it is an
                // error as well.
                let (start, denied) = match writer.start_backfill(from, to).await {
                    Ok(start) => (start, None),
                    Err(error) if error.retry == Retry::Never => {
                        (BackfillStart::Refused(error.to_string()), Some(error))
                    }
                    Err(error) => return Err(doing()(error)),
                };
                if matches!(start, BackfillStart::Started(_)) {
                    done.backfills.push(to.clone());
                }
                let begun = backfill::begun(&row, start, services.clock().now());
                services.ledger().write_backfill_row(&begun).await.map_err(doing())?;
                if let Some(error) = denied {
                    return Err(failed("begin a backfill to", to)(error));
                }
            }
            BackfillPlan::Look => {
                let Some(row) = row else { return Ok(()) };
                let all = services.elsewhere().backfills().await.map_err(doing())?;
                let found = backfill::find(row, &all);
                let failures = match found.filter(|found| !found.status.is_open()) {
                    Some(ended) => {
                        let failures = services.elsewhere().backfill_failures(&ended.id, MAX_REMEMBERED).await;
                        failures.map_err(doing())?
                    }
                    None => Vec::new(),
                };
                let looked = backfill::looked(row, found, failures, services.clock().now());
                services.ledger().write_backfill_row(&looked).await.map_err(doing())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
