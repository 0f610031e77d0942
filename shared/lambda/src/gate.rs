//! The function `gate`: what it is asked, and what it answers.

use serde_json::{Value, json};

use crate::{
    invocation::Invocation,
    report::{self, Gated},
};
use guard_core::{
    gate::{Answer, Asked, GateRequest, hook::HookRequest},
    policy::Policy,
};
use guard_engine::gate::{Gate, Hooked};
use guard_ports::{Clock, Revisions, Services};

/// What the gate has to answer with.
#[derive(Debug)]
pub enum Ready<'a, S> {
    /// The world and the policy.
    Yes {
        /// The world.
        services: &'a S,
        /// The policy.
        policy: &'a Policy,
    },
    /// Nothing: the policy could not be read, because of this.
    No(String),
}

/// Answers a request, or a hook of ECS. It always answers: an error would roll a deployment back, and would tell a pipeline nothing.
/// Writes the line of the invocation.
pub async fn gate<S: Services>(
    ready: Ready<'_, S>,
    revisions: &impl Revisions,
    clock: &impl Clock,
    invocation: &Invocation,
    payload: &str,
) -> Value {
    let (answer, line) = match HookRequest::parse(payload) {
        Some(hook) => {
            let hooked = match &ready {
                Ready::Yes { services, policy } => of(*services, policy, invocation).hook(&hook, revisions).await,
                Ready::No(why) => Hooked::unavailable(&hook, why, clock.now()),
            };
            (json!(hooked.answer), Gated::of_hook(&hook, &hooked))
        }
        None => match GateRequest::parse(payload) {
            Ok(request) => {
                let asked: Vec<Asked> = request.images.iter().map(|image| Asked::new(image)).collect();
                let answer = match &ready {
                    Ready::Yes { services, policy } => of(*services, policy, invocation).answer(&asked).await,
                    Ready::No(why) => Answer::unavailable(&asked, why, clock.now()),
                };
                (json!(answer), Gated::of_request(&request, &answer))
            }
            Err(why) => {
                let answer = Answer::invalid(&why, clock.now());
                (json!(answer), Gated::invalid(&answer))
            }
        },
    };
    report::write_gated(invocation.function, &invocation.request_id, &line, clock.now());
    answer
}

fn of<'a, S: Services>(services: &'a S, policy: &'a Policy, invocation: &'a Invocation) -> Gate<'a, S> {
    Gate {
        services,
        policy,
        account: &invocation.account,
        region: &invocation.region,
        actor: &invocation.request_id,
    }
}
