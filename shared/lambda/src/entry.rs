//! From an event to `reconcile`: the same for every function that EventBridge invokes.

use crate::{
    error::HandlerError,
    report,
    repositories::{Push, RecentLooks, look_after_push, pushed},
};
use guard_core::{
    ids::{ImageRef, RepositoryName, Tag},
    policy::Policy,
};
use guard_engine::reconcile::image::{Hints, Request, reconcile};
use guard_events::{Event, ImageName};
use guard_ports::{Clock as _, Services};

pub use crate::{invocation::Invocation, report::Handled};

/// The part of an event that a function uses.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each event or message, and it is moved once"
)]
#[derive(Debug, Clone, PartialEq)]
pub enum Selection {
    /// This image is reconciled.
    Look {
        /// Its repository.
        repository: RepositoryName,
        /// The image.
        image: ImageRef,
        /// Further facts from the event.
        hints: Hints,
    },
    /// There is nothing to reconcile.
    Ignore(&'static str),
}

impl Selection {
    /// The image that an event names, or nothing if it names a repository only.
    pub fn look(name: &ImageName, hints: Hints) -> Self {
        match name.image() {
            Some(image) => Self::Look {
                repository: name.repository.clone(),
                image,
                hints,
            },
            None => Self::Ignore("it names no image"),
        }
    }
}

/// The context of a handler of events.
#[derive(Debug)]
pub struct EventContext<'a, S, T> {
    /// The services that it reads and changes.
    pub services: &'a S,
    /// The policy.
    pub policy: &'a Policy,
    /// The request of an event.
    pub select: fn(&Event) -> T,
    /// The repositories that this process has just reconciled.
    pub recent: &'a RecentLooks,
}

/// An event as Lambda hands it over.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// For which invocation.
    pub invocation: &'a Invocation,
    /// Its text.
    pub payload: &'a str,
}

/// The request of an event.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each event, and it is moved once"
)]
enum Asked {
    /// This image is reconciled; the event names these tags of it.
    Look(Request, Vec<Tag>),
    /// There is nothing to reconcile.
    Nothing(&'static str),
}

/// Handles an event that names an image, and writes its line.
///
/// # Errors
/// The event does not say what it is about, or the image could not be brought to its state.
pub async fn image_event<S: Services>(
    context: EventContext<'_, S, Selection>,
    received: Received<'_>,
) -> Result<Handled, HandlerError> {
    let (event_id, asked) = received.read(context.select);
    let result = async {
        match asked? {
            Asked::Nothing(why) => Ok(Handled::Ignored { why }),
            Asked::Look(request, _) => {
                let looked = reconcile(context.services, context.policy, &request).await;
                Ok(Handled::Looked(looked?))
            }
        }
    }
    .await;
    let now = context.services.clock().now();
    report::write(received.invocation.function, &event_id, &result, now);
    result
}

/// Handles an event as [`image_event`] does, and reconciles the repository after an image that was pushed or restored.
///
/// # Errors As [`image_event`]; or the repository could not be reconciled.
pub async fn push_event<S: Services>(
    context: EventContext<'_, S, Selection>,
    received: Received<'_>,
) -> Result<Handled, HandlerError> {
    let EventContext {
        services,
        policy,
        select,
        recent,
    } = context;
    let (event_id, asked) = received.read(select);
    let result = async {
        let (request, tags) = match asked? {
            Asked::Nothing(why) => return Ok(Handled::Ignored { why }),
            Asked::Look(request, tags) => (request, tags),
        };
        let pushed = pushed(&request, services.clock().now());
        let looked = reconcile(services, policy, &request).await;
        if request.hints.arrival.is_none() {
            return Ok(Handled::Looked(looked?));
        }
        let push = Push {
            tags,
            state: looked.as_ref().ok().and_then(|outcome| outcome.state),
            pushed,
            actor: request.actor.clone(),
        };
        // Also where the image could not be brought to its state: the one does not wait for the other. The event comes back for
        // the image then, and a repository that is correct by now costs no more than a reconcile.
        let repository = look_after_push(services, policy, recent, &request.repository_key(), &push).await;
        let mut outcome = looked?;
        outcome.repository_rules = Some(repository?).filter(|rules| !rules.is_empty()).map(Box::new);
        Ok(Handled::Looked(outcome))
    }
    .await;
    report::write(received.invocation.function, &event_id, &result, services.clock().now());
    result
}

impl Received<'_> {
    /// Reads the event: its id, or that of the invocation if it has none, and what it asks for.
    fn read(&self, select: fn(&Event) -> Selection) -> (String, Result<Asked, HandlerError>) {
        let Self { invocation, payload } = *self;
        let event = match guard_events::parse(payload) {
            Ok(event) => event,
            Err(error) => return (invocation.request_id.clone(), Err(error.into())),
        };
        let (account, region) = event.registry();
        if (account, region) != (&invocation.account, &invocation.region) {
            let why = "an event of another account or region: the function there handles it";
            return (event.id, Ok(Asked::Nothing(why)));
        }
        let asked = match select(&event) {
            Selection::Ignore(why) => Asked::Nothing(why),
            Selection::Look {
                repository,
                image,
                hints,
            } => {
                let request = Request {
                    account: account.clone(),
                    region: region.clone(),
                    repository,
                    image,
                    hints,
                    actor: invocation.request_id.clone(),
                };
                let tags = event.body.name().map(|name| name.tags.clone()).unwrap_or_default();
                Asked::Look(request, tags)
            }
        };
        (event.id, Ok(asked))
    }
}
