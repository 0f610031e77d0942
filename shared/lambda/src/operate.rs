//! The function `operate`: what it is asked, and what it answers.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::{
    invocation::Invocation,
    report::{self, ReportedCall},
};
use guard_core::{
    policy::Policy,
    release::{answer::ReleaseAnswer, identity::function_and_alias},
};
use guard_engine::release::{Operated, Operator};
use guard_ports::{Callers, Clock as _, Services};

/// So long before Lambda ends an invocation the answer is there.
const ANSWER_RESERVE: SignedDuration = SignedDuration::from_secs(3);

/// Answers a request, and writes the line of the invocation. It is never an error: the caller is a person who waits for the reason.
pub async fn operate<S: Services>(
    services: &S,
    policy: &Policy,
    sts: &impl Callers,
    invocation: &Invocation,
    (function, payload): (&str, &str),
) -> Value {
    let clock = services.clock();
    let (function, _) = function_and_alias(function);
    let operator = Operator {
        services,
        policy,
        account: &invocation.account,
        region: &invocation.region,
        function,
        actor: &invocation.request_id,
    };
    let answering = invocation.within(ANSWER_RESERVE, clock.now(), operator.answer(payload, sts));
    let operated = answering.await.unwrap_or_else(|| Operated {
        answer: ReleaseAnswer::unavailable("it took too long"),
        action: None,
        alerts: 0,
    });
    let line = ReportedCall::of_release(&operated);
    report::write_reported(invocation.function, &invocation.request_id, &line, clock.now());
    json!(operated.answer)
}
