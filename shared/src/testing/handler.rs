//! A function's handler in the world: the whole way from an event's text to what is true afterwards.

use serde_json::{Value, json};

use super::{World, image_key, run};
use crate::{
    domain::policy::Policy,
    events::Event,
    reconcile::{Outcome, Ports},
    runtime::{
        entry::{Handled, Invocation, Selection, handle_and},
        error::HandlerError,
        replication::{self, CopySelection},
        repositories::{ItsRepository, RecentLooks},
    },
};

/// What a function needs, in the world.
fn ports<'a>(world: &'a World, policy: &Policy) -> Ports<'a, World, World, World, World, World, World> {
    Ports {
        registry: world,
        writer: policy.enforces_anywhere().then_some(world),
        scanner: world,
        ledger: world,
        notifier: world,
        clock: world,
    }
}

fn invocation() -> Invocation {
    let key = image_key();
    Invocation {
        function: "on-test",
        request_id: "8a6e4b50-4f4c-4a3b-9a3e-3f1d0d9a0001".to_owned(),
        account: key.account,
        region: key.region,
    }
}

/// Handles an event as the function `function` does, in the account and region of [`image_key`].
///
/// # Errors
/// As the handler.
pub fn handle_event(
    world: &World,
    policy: &Policy,
    select: impl FnOnce(&Event) -> Selection,
    payload: &str,
) -> Result<Handled, HandlerError> {
    let (ports, invocation) = (ports(world, policy), invocation());
    let recent = RecentLooks::default();
    let repository = ItsRepository::new(&ports, world, policy, &recent);
    run(handle_and(&ports, policy, select, &invocation, payload, &repository))
}

/// Handles an event about copies as `on-replication` does, in the account and region of [`image_key`].
///
/// # Errors
/// As the handler.
pub fn handle_copy_event(
    world: &World,
    policy: &Policy,
    select: impl FnOnce(&Event) -> CopySelection,
    payload: &str,
) -> Result<Handled, HandlerError> {
    let (ports, invocation) = (ports(world, policy), invocation());
    let recent = RecentLooks::default();
    let repository = ItsRepository::new(&ports, world, policy, &recent);
    run(replication::handle(
        &ports,
        world,
        policy,
        select,
        &invocation,
        payload,
        &repository,
    ))
}

/// Handles an event that has an image to look at.
///
/// # Panics
/// It is ignored, or it fails.
#[track_caller]
#[expect(clippy::panic, reason = "a test that is wrong in itself should stop at once")]
pub fn look_at_event(
    world: &World,
    policy: &Policy,
    select: impl FnOnce(&Event) -> Selection,
    payload: &str,
) -> Outcome {
    match handle_event(world, policy, select, payload) {
        Ok(Handled::Looked(outcome)) => outcome,
        other => panic!("an image should be looked at: {other:?}"),
    }
}

/// An event about [`image_key`]: its detail type, and the members of its detail besides repository, digest and result.
pub fn event(detail_type: &str, members: &Value) -> String {
    let key = image_key();
    let mut detail = json!({
        "repository-name": key.repository.as_str(),
        "image-digest": key.digest.as_str(),
        "result": "SUCCESS",
    });
    if let (Some(detail), Some(members)) = (detail.as_object_mut(), members.as_object()) {
        detail.extend(members.clone());
    }
    json!({
        "version": "0",
        "id": "13cde686-328b-6117-af20-0e5566167482",
        "detail-type": detail_type,
        "source": "aws.ecr",
        "account": key.account.as_str(),
        "time": "2026-11-24T11:59:30Z",
        "region": key.region.as_str(),
        "resources": [],
        "detail": detail,
    })
    .to_string()
}
