//! From an event to `reconcile`: the same for every function that EventBridge invokes.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::{
    error::HandlerError,
    report,
    repositories::{Push, RecentLooks, look_after_push},
};
use guard_core::{
    ids::{AccountId, ImageRef, Region, RepositoryKey, RepositoryName, Tag},
    policy::Policy,
    repository::removal::Pushed,
    text,
};
use guard_engine::reconcile::image::{Hints, Outcome, Request, reconcile};
use guard_events::{Event, ImageName};
use guard_ports::{Clock as _, Services};

/// The function that is running, where, and for which event.
#[derive(Debug, Clone, PartialEq)]
pub struct Invocation {
    /// The function's name, as it stands in this repository: `on-push`.
    pub function: &'static str,
    /// Lambda's request id: the same when Lambda delivers an event again.
    pub request_id: String,
    /// The account that it works in.
    pub account: AccountId,
    /// The region that it works in.
    pub region: Region,
    /// When nothing new is begun any more in it.
    pub until: Timestamp,
}

/// So long before Lambda ends an invocation nothing new is begun: an image takes up to three calls of 12 seconds after its claim.
pub const RESERVE: SignedDuration = SignedDuration::from_secs(60);

/// What a function makes of an event.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each event or message, and it is moved once"
)]
#[derive(Debug, Clone, PartialEq)]
pub enum Selection {
    /// This image is looked at.
    Look {
        /// Its repository.
        repository: RepositoryName,
        /// The image.
        image: ImageRef,
        /// What the event says beside.
        hints: Hints,
    },
    /// There is nothing to look at.
    Ignore(&'static str),
}

impl Invocation {
    /// From the context that Lambda gives, whose ARN says where the function is: `arn:aws:lambda:REGION:ACCOUNT:function:NAME`.
    ///
    /// # Errors
    /// The ARN is not one.
    pub fn new(function: &'static str, context: &lambda_runtime::Context) -> Result<Self, HandlerError> {
        let arn = &context.invoked_function_arn;
        let mut parts = arn.split(':').skip(3);
        let (region, account) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        match (region.parse(), account.parse()) {
            (Ok(region), Ok(account)) => Ok(Self {
                function,
                request_id: context.request_id.clone(),
                account,
                region,
                until: until(context),
            }),
            _ => Err(HandlerError::Context(text::line(arn, 200))),
        }
    }
}

fn until(context: &lambda_runtime::Context) -> Timestamp {
    let deadline = i64::try_from(context.deadline).ok();
    let deadline = deadline.and_then(|deadline| Timestamp::from_millisecond(deadline).ok());
    deadline.map_or(Timestamp::MAX, |deadline| deadline - RESERVE)
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

/// What came of an event.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
#[expect(clippy::large_enum_variant, reason = "there is one of them for an event")]
pub enum Handled {
    /// An image was looked at.
    Looked(Outcome),
    /// There was nothing to look at.
    Ignored {
        /// Why.
        why: &'static str,
    },
}

/// An event as Lambda hands it over.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// For which invocation.
    pub invocation: &'a Invocation,
    /// Its text.
    pub payload: &'a str,
}

/// What an event asks for.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each event, and it is moved once"
)]
enum Asked {
    /// This image is looked at; the event names these tags of it.
    Look(Request, Vec<Tag>),
    /// There is nothing to look at.
    Nothing(&'static str),
}

/// Handles an event that asks to look at an image, and writes its line.
///
/// # Errors
/// The event does not say what it is about, or the image could not be brought to its state.
pub async fn image_event(
    services: &impl Services,
    policy: &Policy,
    select: impl FnOnce(&Event) -> Selection,
    received: Received<'_>,
) -> Result<Handled, HandlerError> {
    let (event_id, asked) = received.read(select);
    let result = async {
        match asked? {
            Asked::Nothing(why) => Ok(Handled::Ignored { why }),
            Asked::Look(request, _) => Ok(Handled::Looked(reconcile(services, policy, &request).await?)),
        }
    }
    .await;
    report::write(received.invocation.function, &event_id, &result, services.clock().now());
    result
}

/// Handles an event as [`image_event`] does, and looks at the repository after an image that was pushed or restored.
///
/// # Errors
/// As [`image_event`]; or the repository could not be looked at.
pub async fn push_event(
    services: &impl Services,
    policy: &Policy,
    recent: &RecentLooks,
    select: impl FnOnce(&Event) -> Selection,
    received: Received<'_>,
) -> Result<Handled, HandlerError> {
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
            actor: request.actor,
        };
        let key = RepositoryKey {
            account: request.account,
            region: request.region,
            repository: request.repository,
        };
        // Also where the image could not be brought to its state: the one does not wait for the other. The event comes
        // back for the image then, and what is right by now costs no more than a look.
        let repository = look_after_push(services, policy, recent, &key, &push).await;
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
    fn read(&self, select: impl FnOnce(&Event) -> Selection) -> (String, Result<Asked, HandlerError>) {
        let Self { invocation, payload } = *self;
        let event = match guard_events::parse(payload) {
            Ok(event) => event,
            Err(error) => return (invocation.request_id.clone(), Err(error.into())),
        };
        let (account, region) = event.registry();
        if (account, region) != (&invocation.account, &invocation.region) {
            let why = "an event of another account or region: the function there looks at it";
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

/// The image that has just got the tags of an event, by what the event says.
pub(super) fn pushed(request: &Request, now: Timestamp) -> Option<Pushed> {
    match (&request.image, &request.hints.arrival) {
        (ImageRef::Digest(digest), Some(arrival)) => Some(Pushed {
            digest: digest.clone(),
            at: arrival.at.unwrap_or(now),
        }),
        _ => None,
    }
}
