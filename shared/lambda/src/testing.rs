//! A function's handler in the world: the whole way from an event's text to what is true afterwards.

use jiff::Timestamp;

use crate::{
    entry::{EventContext, Handled, Invocation, Received, Selection, push_event},
    error::HandlerError,
    replication::{CopySelection, copy_event},
    repositories::RecentLooks,
    worker::{SqsEvent, SqsMessage},
};
use guard_core::policy::Policy;
use guard_engine::reconcile::image::Outcome;
use guard_events::Event;
use guard_testkit::{World, image_key, run};

fn invocation() -> Invocation {
    let key = image_key();
    Invocation {
        function: "on-test",
        request_id: "8a6e4b50-4f4c-4a3b-9a3e-3f1d0d9a0001".to_owned(),
        account: key.account,
        region: key.region,
        until: Timestamp::MAX,
    }
}

/// A message of the workers' queue.
pub fn message(id: &str, body: String) -> SqsMessage {
    let mut message = SqsMessage::default();
    (message.message_id, message.body) = (Some(id.to_owned()), Some(body));
    message
}

/// The payload that Lambda hands over from the workers' queue.
pub fn batch(messages: Vec<SqsMessage>) -> SqsEvent {
    let mut batch = SqsEvent::default();
    batch.records = messages;
    batch
}

/// Handles an event as the function `function` does, in the account and region of [`image_key`].
///
/// # Errors
/// As the handler.
pub fn handle_event(
    world: &World,
    policy: &Policy,
    select: fn(&Event) -> Selection,
    payload: &str,
) -> Result<Handled, HandlerError> {
    let (recent, invocation) = (RecentLooks::default(), invocation());
    let received = Received {
        invocation: &invocation,
        payload,
    };
    let context = EventContext {
        services: &world.services(policy),
        policy,
        select,
        recent: &recent,
    };
    run(push_event(context, received))
}

/// Handles an event about copies as `on-replication` does, in the account and region of [`image_key`].
///
/// # Errors
/// As the handler.
pub fn handle_copy_event(
    world: &World,
    policy: &Policy,
    select: fn(&Event) -> CopySelection,
    payload: &str,
) -> Result<Handled, HandlerError> {
    let (recent, invocation) = (RecentLooks::default(), invocation());
    let received = Received {
        invocation: &invocation,
        payload,
    };
    let context = EventContext {
        services: &world.services(policy),
        policy,
        select,
        recent: &recent,
    };
    run(copy_event(context, received))
}

/// Handles an event that has an image to reconcile.
///
/// # Panics
/// It is ignored, or it fails.
#[track_caller]
#[expect(clippy::panic, reason = "a test that is wrong in itself should stop at once")]
pub fn look_at_event(world: &World, policy: &Policy, select: fn(&Event) -> Selection, payload: &str) -> Outcome {
    match handle_event(world, policy, select, payload) {
        Ok(Handled::Looked(outcome)) => outcome,
        other => panic!("an image should be reconciled: {other:?}"),
    }
}
