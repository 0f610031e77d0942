//! The function `gate`: what it is asked, and what it answers.

use jiff::SignedDuration;
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
use guard_ports::{Clock, PortError, Retry, Revisions, Services};

/// So long before Lambda ends an invocation the answer is there, whatever is still under way: a function that is ended rolls a deployment back.
pub const ANSWER_RESERVE: SignedDuration = SignedDuration::from_secs(3);

/// So long before that the alert about a refusal is sent, or given up. The answer is fixed by then.
const ALERT_RESERVE: SignedDuration = SignedDuration::from_secs(1);

/// Why there is no answer by then.
pub const TOO_SLOW: &str = "it took too long to find out";

/// The services and settings of the gate.
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

/// Answers a request, or a hook of ECS. It always answers: an error would roll a deployment back, and would give a pipeline no
/// answer. Writes the line of the invocation.
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
                Ready::Yes { services, policy } => {
                    let gate = of(*services, policy, invocation);
                    let answering = invocation.within(ANSWER_RESERVE, clock.now(), gate.hook(&hook, revisions));
                    let mut hooked = match answering.await {
                        Some(hooked) => hooked,
                        None => Hooked::unavailable(&hook, TOO_SLOW, clock.now()),
                    };
                    let telling = gate.tell_refused(&hook, &mut hooked);
                    if invocation.within(ALERT_RESERVE, clock.now(), telling).await.is_none() {
                        hooked.not_told = Some(not_told_in_time());
                    }
                    hooked
                }
                Ready::No(why) => Hooked::unavailable(&hook, why, clock.now()),
            };
            (json!(hooked.answer), Gated::of_hook(&hook, &hooked))
        }
        None => match GateRequest::parse(payload) {
            Ok(request) => {
                let asked: Vec<Asked> = request.images.iter().map(|image| Asked::new(image)).collect();
                let answer = match &ready {
                    Ready::Yes { services, policy } => {
                        let gate = of(*services, policy, invocation);
                        let answering = invocation.within(ANSWER_RESERVE, clock.now(), gate.answer(&asked));
                        match answering.await {
                            Some(answer) => answer,
                            None => Answer::unavailable(&asked, TOO_SLOW, clock.now()),
                        }
                    }
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

fn not_told_in_time() -> PortError {
    PortError {
        retry: Retry::Later,
        operation: "sns:Publish",
        code: "Timeout".to_owned(),
        message: "the invocation ends before the alert is sent".to_owned(),
        request_id: None,
    }
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

#[cfg(test)]
mod tests {
    use std::{future::pending, time::Duration};

    use super::*;
    use guard_core::{
        alert::Message,
        finding::{Scan, Severity},
        ids::{TopicArn, registry_host},
    };
    use guard_ports::Notifier;
    use guard_testkit::{Parts, World, finding, image, image_key, now, policy, scan};

    struct Images(Option<Vec<String>>);

    impl Revisions for Images {
        async fn images(&self, _: &str) -> Result<Vec<String>, PortError> {
            match &self.0 {
                Some(images) => Ok(images.clone()),
                None => pending().await,
            }
        }
    }

    /// A topic that never answers.
    struct Silent;

    impl Notifier for Silent {
        async fn publish(&self, _: &TopicArn, _: &Message) -> Result<String, PortError> {
            pending().await
        }
    }

    /// Half a minute before Lambda ends it, as the module `guard` sets its timeout.
    fn invocation() -> Invocation {
        let key = image_key();
        Invocation {
            function: "gate",
            request_id: "one".to_owned(),
            account: key.account,
            region: key.region,
            until: now() + SignedDuration::from_secs(30) - crate::invocation::RESERVE,
        }
    }

    fn of_ecs() -> String {
        json!({"lifecycleStage": "PRE_SCALE_UP", "targetServiceRevisionArn": "revision/1"}).to_string()
    }

    /// The answer of the function, and the time that it took, by a clock that goes on where everybody waits.
    fn asked(revisions: &Images) -> (Value, Duration) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let critical = Scan::Complete(scan(vec![finding("CVE-2026-1", Severity::Critical)]));
        let (world, policy) = (World::with(&image_key(), image(&image_key()), critical), policy(""));
        let services = Parts {
            world: &world,
            registry: &world,
            writer: None::<&World>,
            notifier: &Silent,
        };
        let ready = Ready::Yes {
            services: &services,
            policy: &policy,
        };
        runtime.block_on(async {
            let began = tokio::time::Instant::now();
            let answer = gate(ready, revisions, &world, &invocation(), &of_ecs()).await;
            (answer, began.elapsed())
        })
    }

    #[test]
    fn a_hook_is_answered_before_lambda_ends_the_function() {
        let (answer, after) = asked(&Images(None));
        assert_eq!(answer["hookStatus"], "IN_PROGRESS");
        assert_eq!(after.as_secs(), 27);
    }

    #[test]
    fn an_alert_that_takes_too_long_changes_no_answer() {
        let key = image_key();
        let host = registry_host(&key.account, &key.region);
        let (answer, after) = asked(&Images(Some(vec![format!("{host}/{}@{}", key.repository, key.digest)])));
        assert_eq!(answer, json!({"hookStatus": "FAILED"}));
        assert_eq!(after.as_secs(), 29);
    }
}
