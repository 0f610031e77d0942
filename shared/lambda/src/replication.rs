//! From an event about a copy to `reconcile` of the image, and to the reconcile of the copy.

use std::time::Duration;

use crate::{
    entry::{EventContext, Received},
    error::HandlerError,
    invocation::Invocation,
    report::{self, Handled},
    repositories::{Push, look_after_push, pushed},
};
use guard_core::{
    ids::{ImageKey, ImageRef, Region, RegistryKey, RepositoryName},
    image::{Arrival, Way},
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

/// The request of an event about copies.
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
        /// The part of the event.
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
    /// There is nothing to reconcile.
    Ignore(&'static str),
}

/// How often, and after how much time, the ledger is asked anew whether a source is blocked: what was written in another region is
/// seen here within a second or so (DynamoDB developer guide, "Global tables").
const MAX_TURNS: usize = 3;
const TURN: Duration = Duration::from_secs(2);

/// The request of an event.
enum Asked {
    /// This copy is reconciled.
    Copy(Request, Said),
    /// This image is reconciled, once the ledger says the same of its source as the event.
    Source(Request, ImageKey, bool),
    /// There is nothing to reconcile.
    Nothing(&'static str),
}

/// The part of an event about a copy.
struct Said {
    /// The registry that it comes from.
    source: RegistryKey,
    /// The rest.
    event: ReplicaEvent,
}

/// Handles one event, and writes its line.
///
/// The image is brought to its state first, so that an image that is blocked in its source is blocked here before any alert. A
/// failure of one part does not keep the others from being done.
///
/// # Errors The event does not name its subject, or that could not be reconciled.
pub async fn copy_event<S: Services>(
    context: EventContext<'_, S, CopySelection>,
    received: Received<'_>,
) -> Result<Handled, HandlerError> {
    let Received { invocation, payload } = received;
    let mut event_id = invocation.request_id.clone();
    let result = async {
        let event = guard_events::parse(payload)?;
        event_id.clone_from(&event.id);
        match asked(&event, (context.select)(&event), invocation) {
            Asked::Nothing(why) => Ok(Handled::Ignored { why }),
            Asked::Copy(request, said) => copied(&context, request, said).await,
            Asked::Source(request, source, archived) => {
                wait_for_ledger(context.services, &source, archived).await?;
                let looked = reconcile(context.services, context.policy, &request).await;
                Ok(Handled::Looked(looked?))
            }
        }
    }
    .await;
    let now = context.services.clock().now();
    report::write(invocation.function, &event_id, &result, now);
    result
}

fn asked(event: &Event, selection: CopySelection, invocation: &Invocation) -> Asked {
    let request = |repository: RepositoryName, image, hints| Request {
        account: invocation.account.clone(),
        region: invocation.region.clone(),
        repository,
        image,
        hints,
        actor: invocation.request_id.clone(),
    };
    if event.account != invocation.account {
        return Asked::Nothing("an event of another account: the function there handles it");
    }
    match selection {
        CopySelection::Ignore(why) => Asked::Nothing(why),
        CopySelection::Copy { .. } if event.region != invocation.region => {
            Asked::Nothing("a copy in another region: the function there handles it")
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
            Asked::Copy(request(repository, image, hints), Said { source, event: said })
        }
        CopySelection::Source { region, .. } if region == invocation.region => {
            Asked::Nothing("an image of this region: another function handles it")
        }
        // A tag may be on another image here.
        CopySelection::Source {
            image: ImageRef::Tag(_),
            ..
        } => Asked::Nothing("it names no digest"),
        CopySelection::Source {
            repository,
            image: ImageRef::Digest(digest),
            region,
            archived,
        } => {
            let source = ImageKey {
                account: invocation.account.clone(),
                region: region.clone(),
                repository: repository.clone(),
                digest: digest.clone(),
            };
            let hints = Hints {
                source: Some(region),
                ..Hints::default()
            };
            Asked::Source(request(repository, ImageRef::Digest(digest), hints), source, archived)
        }
    }
}

/// Reconciles a copy: as an image, as a copy, and its repository.
async fn copied<S: Services>(
    context: &EventContext<'_, S, CopySelection>,
    request: Request,
    said: Said,
) -> Result<Handled, HandlerError> {
    let EventContext {
        services,
        policy,
        recent,
        ..
    } = *context;
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
    let key = request.repository_key();
    let replica = match digest {
        Some(digest) => {
            let request = ReplicaRequest {
                image: key.image(&digest),
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
        let row = row.map_err(|error| ReconcileError::port("read the source of", source, error))?;
        if row.is_none_or(|row| (row.state == State::Blocked) == archived) {
            return Ok(());
        }
        services.clock().pause(TURN).await;
    }
    Ok(())
}
