//! A Lambda function may run the image.
//!
//! A function keeps a copy of its own for months, and fails when it fetches the image again and there is none (Lambda developer guide,
//! "Function lifecycle with images"); neither ECR nor Inspector knows of it.

use super::{
    in_use, limit,
    rule::{Hold, HoldRule},
};
use crate::{
    calendar::date,
    decide::{blocking::Blocking, plan::Question},
    policy::{WhenInUse, WhenLambdaMayPull},
    repository::access::LambdaAccess,
    text,
};

pub(super) const RULE: HoldRule = HoldRule {
    cause: "lambda-may-pull",
    docs: &[(
        "it may be in use, and Lambda may pull it",
        "the repository's policy lets `lambda.amazonaws.com` pull no more, or the policy says `when_lambda_may_pull: ignore`",
    )],
    setting: Some("block.when_lambda_may_pull"),
    check,
};

fn check(block: &Blocking<'_>) -> Result<Option<Hold>, Question> {
    let case = block.case;
    let facts = case.facts;
    // One more call: only for an image that would be blocked otherwise, or alerted in report mode.
    let may_ask = block.is_open() && !block.led_to && block.needed.is_some() && limit::until(block).is_none();
    let rules = case.policy.block(&facts.key.repository);
    let children = facts.children_pulled.iter().flatten().copied();
    let pulled = children.chain(case.image.last_pulled_at).max();
    let (true, Some(at), WhenInUse::Hold, WhenLambdaMayPull::Hold) =
        (may_ask, pulled, rules.when_in_use, rules.when_lambda_may_pull)
    else {
        return Ok(None);
    };
    let why = match facts.lambda.as_ref().ok_or(Question::Lambda)? {
        LambdaAccess::No => return Ok(None),
        LambdaAccess::Yes => "the policy of its repository lets AWS Lambda pull, whose use nobody records".to_owned(),
        LambdaAccess::Unknown(why) => format!("whether AWS Lambda may pull it is not known: {}", text::line(why, 200)),
    };
    let evidence = format!("it may be in use: it was pulled (last on {}), and {why}.", date(at));
    Ok(Some(in_use::hold(evidence)))
}
