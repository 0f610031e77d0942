//! From an event to `reconcile`: the same for every function that EventBridge invokes.

use jiff::Timestamp;
use serde::Serialize;

use super::{
    error::HandlerError,
    report,
    repositories::{AfterPush, NothingMore},
};
use guard_core::{
    alert::text,
    ids::{AccountId, ImageRef, Region, RepositoryName},
    policy::Policy,
    repository::{ledger::RepositoryKey, removal::Pushed},
};
use guard_engine::reconcile::image::{Hints, Outcome, Ports, Request, reconcile};
use guard_events::{self, Event, ImageName};
use guard_ports::{Clock, Ledger, Notifier, Registry, RegistryWriter, RepositoryLedger, Scanner};

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
}

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
            }),
            _ => Err(HandlerError::Context(text::line(arn, 200))),
        }
    }
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

/// Handles one event, and writes its line.
///
/// # Errors
/// The event does not say what it is about, or the image could not be brought to its state.
pub async fn handle<R, W, S, L, N, C>(
    ports: &Ports<'_, R, W, S, L, N, C>,
    policy: &Policy,
    select: impl FnOnce(&Event) -> Selection,
    invocation: &Invocation,
    payload: &str,
) -> Result<Handled, HandlerError>
where
    R: Registry,
    W: RegistryWriter,
    S: Scanner,
    L: Ledger + RepositoryLedger,
    N: Notifier,
    C: Clock,
{
    handle_and(ports, policy, select, invocation, payload, &NothingMore).await
}

/// Handles one event as [`handle`] does, and looks at more after an image that was pushed or restored.
///
/// # Errors
/// As [`handle`]; or what is looked at after the image could not be.
pub async fn handle_and<R, W, S, L, N, C>(
    ports: &Ports<'_, R, W, S, L, N, C>,
    policy: &Policy,
    select: impl FnOnce(&Event) -> Selection,
    invocation: &Invocation,
    payload: &str,
    after_push: &impl AfterPush,
) -> Result<Handled, HandlerError>
where
    R: Registry,
    W: RegistryWriter,
    S: Scanner,
    L: Ledger + RepositoryLedger,
    N: Notifier,
    C: Clock,
{
    let mut event_id = invocation.request_id.clone();
    let result = async {
        let event = guard_events::parse(payload)?;
        event_id.clone_from(&event.id);
        let (account, region) = event.registry();
        if (account, region) != (&invocation.account, &invocation.region) {
            let why = "an event of another account or region: the function there looks at it";
            return Ok(Handled::Ignored { why });
        }
        match select(&event) {
            Selection::Ignore(why) => Ok(Handled::Ignored { why }),
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
                let pushed = pushed(&request, ports.clock.now());
                let arrived = request.hints.arrival.is_some();
                let looked = reconcile(ports, policy, &request).await;
                if !arrived {
                    return Ok(Handled::Looked(looked?));
                }
                let key = RepositoryKey {
                    account: request.account,
                    region: request.region,
                    repository: request.repository,
                };
                let tags = event.body.name().map(|name| name.tags.as_slice()).unwrap_or_default();
                let state = looked.as_ref().ok().and_then(|outcome| outcome.state);
                // Also where the image could not be brought to its state: the one does not wait for the other. The event comes
                // back for the image then, and what is right by now costs no more than a look.
                let repository = after_push
                    .look(&key, tags, state, pushed.as_ref(), &request.actor)
                    .await;
                let mut outcome = looked?;
                outcome.repository_rules = Some(repository?).filter(|rules| !rules.is_empty()).map(Box::new);
                Ok(Handled::Looked(outcome))
            }
        }
    }
    .await;
    report::write(invocation.function, &event_id, &result, ports.clock.now());
    result
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
