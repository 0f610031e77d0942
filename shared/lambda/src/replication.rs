//! From an event about a copy to `reconcile`, and to a look at the copy as such.

use std::time::Duration;

use super::{
    entry::{Handled, Received, pushed},
    error::HandlerError,
    report,
    repositories::{Push, RecentLooks, look_after_push},
};
use guard_core::{
    ids::{ImageKey, ImageRef, Region, RegistryKey, RepositoryKey, RepositoryName},
    image::{Arrival, Way},
    policy::Policy,
    replication::replica::ReplicaEvent,
    state::State,
};
use guard_engine::reconcile::{
    ReconcileError,
    image::{Hints, Outcome, OutcomeKind, Request, reconcile},
    replication::{ReplicaRequest, reconcile_replica},
};
use guard_events::Event;
use guard_ports::{Clock as _, Ledger as _, Services};

/// What an event about copies asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopySelection {
    /// This copy has arrived here, or has not.
    Copy {
        /// Its repository.
        repository: RepositoryName,
        /// The image.
        image: ImageRef,
        /// The registry that it comes from.
        source: RegistryKey,
        /// What the event says.
        event: ReplicaEvent,
    },
    /// In another region, something was done with an image of which there may be a copy here.
    Source {
        /// Its repository.
        repository: RepositoryName,
        /// The image.
        image: ImageRef,
        /// That region.
        region: Region,
        /// It went to the archive: if that was a block of ours, the ledger says so, at once or soon.
        archived: bool,
    },
    /// There is nothing to look at.
    Ignore(&'static str),
}

/// How often, and after how much time, the ledger is asked anew whether a source is blocked: what was written in another region is
/// seen here within a second or so (DynamoDB developer guide, "Global tables").
const MAX_TURNS: usize = 3;
const TURN: Duration = Duration::from_secs(2);

/// Handles one event, and writes its line.
///
/// The image is brought to its state first, so that what is blocked in its source is blocked here before anything is told. What can
/// be done is done where something else could not be.
///
/// # Errors
/// The event does not say what it is about, or what it is about could not be looked at.
pub async fn copy_event(
    services: &impl Services,
    policy: &Policy,
    recent: &RecentLooks,
    select: impl FnOnce(&Event) -> CopySelection,
    received: Received<'_>,
) -> Result<Handled, HandlerError> {
    let Received { invocation, payload } = received;
    let mut event_id = invocation.request_id.clone();
    let result = async {
        let event = guard_events::parse(payload)?;
        event_id.clone_from(&event.id);
        if event.account != invocation.account {
            let why = "an event of another account: the function there looks at it";
            return Ok(Handled::Ignored { why });
        }
        match select(&event) {
            CopySelection::Ignore(why) => Ok(Handled::Ignored { why }),
            CopySelection::Copy { .. } if event.region != invocation.region => {
                let why = "a copy in another region: the function there looks at it";
                Ok(Handled::Ignored { why })
            }
            CopySelection::Copy {
                repository,
                image,
                source,
                event: said,
            } => {
                let arrival = Arrival {
                    way: Way::Replicated(source.region.clone()),
                    at: event.time,
                };
                let own = source.account == invocation.account;
                let hints = Hints {
                    arrival: said.arrived.then_some(arrival),
                    // The ledger has nothing of other accounts.
                    source: own.then(|| source.region.clone()),
                    ..Hints::default()
                };
                let request = Request {
                    account: invocation.account.clone(),
                    region: invocation.region.clone(),
                    repository,
                    image,
                    hints,
                    actor: invocation.request_id.clone(),
                };
                copied(services, policy, recent, request, Said { source, event: said }).await
            }
            CopySelection::Source { region, .. } if region == invocation.region => Ok(Handled::Ignored {
                why: "an image of this region: another function looks at it",
            }),
            CopySelection::Source {
                repository,
                image,
                region,
                archived,
            } => {
                let ImageRef::Digest(digest) = &image else {
                    // A tag may lead to another image here.
                    return Ok(Handled::Ignored {
                        why: "it names no digest",
                    });
                };
                let source = ImageKey {
                    account: invocation.account.clone(),
                    region: region.clone(),
                    repository: repository.clone(),
                    digest: digest.clone(),
                };
                wait_for_ledger(services, &source, archived).await?;
                let request = Request {
                    account: invocation.account.clone(),
                    region: invocation.region.clone(),
                    repository,
                    image,
                    hints: Hints {
                        source: Some(region),
                        ..Hints::default()
                    },
                    actor: invocation.request_id.clone(),
                };
                Ok(Handled::Looked(reconcile(services, policy, &request).await?))
            }
        }
    }
    .await;
    report::write(invocation.function, &event_id, &result, services.clock().now());
    result
}

/// What an event says of a copy.
struct Said {
    /// The registry that it comes from.
    source: RegistryKey,
    /// The rest.
    event: ReplicaEvent,
}

/// Looks at a copy: as an image, as a copy, and at its repository.
async fn copied(
    services: &impl Services,
    policy: &Policy,
    recent: &RecentLooks,
    request: Request,
    said: Said,
) -> Result<Handled, HandlerError> {
    let Said { source, event: said } = said;
    let arrived = said.arrived;
    let tags = said.tags.clone();
    let pushed = pushed(&request, services.clock().now());
    let looked = reconcile(services, policy, &request).await;
    let digest = match (&request.image, &looked) {
        (ImageRef::Digest(digest), _) => Some(digest.clone()),
        (ImageRef::Tag(_), Ok(outcome)) => outcome.digest.clone(),
        (ImageRef::Tag(_), Err(_)) => None,
    };
    let replica = match digest {
        Some(digest) => {
            let request = ReplicaRequest {
                image: ImageKey {
                    account: request.account.clone(),
                    region: request.region.clone(),
                    repository: request.repository.clone(),
                    digest,
                },
                source,
                event: Some(said),
                source_tags: Vec::new(),
                actor: request.actor.clone(),
            };
            reconcile_replica(services, policy, &request).await.map(Some)
        }
        None => Ok(None),
    };
    let rules = if arrived {
        let key = RepositoryKey {
            account: request.account,
            region: request.region,
            repository: request.repository,
        };
        let push = Push {
            tags,
            state: looked.as_ref().ok().and_then(|outcome: &Outcome| outcome.state),
            pushed,
            actor: request.actor,
        };
        look_after_push(services, policy, recent, &key, &push).await.map(Some)
    } else {
        Ok(None)
    };
    let mut outcome = looked?;
    outcome.replica = replica?.map(Box::new);
    outcome.repository_rules = rules?.filter(|rules| !rules.is_empty()).map(Box::new);
    if outcome.outcome == OutcomeKind::NoSuchImage && outcome.replica.as_ref().is_some_and(|one| !one.alerts.is_empty())
    {
        outcome.outcome = OutcomeKind::Applied;
    }
    Ok(Handled::Looked(outcome))
}

/// Waits until the ledger here says of a source what has just been done with it, for a few seconds at most: the sweep finds what comes
/// later.
async fn wait_for_ledger(services: &impl Services, source: &ImageKey, archived: bool) -> Result<(), HandlerError> {
    for _ in 0..MAX_TURNS {
        let row = services.ledger().row(source).await;
        let row = row.map_err(|error| ReconcileError::port("look at the source of", source, error))?;
        if row.is_none_or(|row| (row.state == State::Blocked) == archived) {
            return Ok(());
        }
        services.clock().pause(TURN).await;
    }
    Ok(())
}
