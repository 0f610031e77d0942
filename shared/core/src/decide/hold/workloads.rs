//! Workloads use the image, by the index that `block.workloads` asks for; or that is not known.
//!
//! It is asked only where something would be taken away, and of what is blocked, whether it runs all the same.

use super::{
    in_use, limit, returns,
    rule::{Hold, HoldRule},
};
use crate::{
    decide::{blocking::Blocking, plan::Question},
    ids::ImageKey,
    policy::{BlockMethod, Policy, WhenInUse},
    text,
    uses::{GRACE, Phase, UsedBy, Uses, WhenUnknown, WorkloadRules},
};

pub(super) const RULE: HoldRule = HoldRule {
    cause: "used-by-workload",
    docs: &[
        (
            "a workload uses it (`block.workloads`)",
            "the last workload is gone for 24 hours",
        ),
        USE_NOT_KNOWN,
    ],
    setting: Some("block.workloads"),
    check,
};

const USE_NOT_KNOWN: (&str, &str) = (
    "it is not known whether it is in use (`block.workloads`)",
    "all lists of workloads are complete again; `access-missing` names what is missing",
);

/// The rules by which workloads hold an image of this repository; `None`: they do not.
pub fn workloads_that_hold<'a>(policy: &'a Policy, key: &ImageKey) -> Option<&'a WorkloadRules> {
    let rules = policy.workloads.as_ref()?;
    (policy.block(&key.repository).when_in_use == WhenInUse::Hold).then_some(rules)
}

fn check(block: &Blocking<'_>) -> Result<Option<Hold>, Question> {
    let case = block.case;
    let Some(rules) = workloads_that_hold(case.policy, &case.facts.key) else {
        return Ok(None);
    };
    // One more call: only for an image that would be blocked otherwise, or alerted in report mode.
    let is_taken = block.needed.is_some() && limit::until(block).is_none() && returns::too_often(block).is_none();
    let stands = block.stands && block.needed.is_none() && block.method != BlockMethod::Flag;
    if is_taken {
        holds(block, rules)
    } else if stands {
        lifts(block)
    } else {
        Ok(None)
    }
}

/// Why an image is not taken away from workloads; `None`: no workload uses it.
fn holds(block: &Blocking<'_>, rules: &WorkloadRules) -> Result<Option<Hold>, Question> {
    let reports = block
        .case
        .policy
        .report_mode(&block.case.facts.key.repository)
        .is_some();
    Ok(match block.case.facts.uses.as_ref().ok_or(Question::Uses)? {
        Uses::By(used) => Some(used_by(block, used)),
        Uses::Nobody => None,
        Uses::Unknown(why) => match rules.when_unknown {
            // An alert of report mode is sent all the same.
            WhenUnknown::Hold if reports => None,
            // Once a day, the function of the digest says which lists are missing, for all images. An image that came back has
            // an alert of its own.
            WhenUnknown::Hold => {
                let why = text::line(why, 500);
                let hold = Hold {
                    uses_unknown: true,
                    ..Hold::because(format!("it is not known whether it is in use: {why}.")).ending(USE_NOT_KNOWN)
                };
                Some(if block.came_back { hold.told() } else { hold })
            }
            WhenUnknown::Ignore => None,
        },
    })
}

/// Why a block that stands is lifted: a workload runs the image, which started before the block, or had a copy. A workload that
/// is only going to run does not lift it: anybody can name a blocked image in a service.
fn lifts(block: &Blocking<'_>) -> Result<Option<Hold>, Question> {
    let is_lifted = block.prior.is_some_and(|block| block.undone_at.is_some());
    Ok(match block.case.facts.uses.as_ref().ok_or(Question::Uses)? {
        Uses::By(used) => {
            let runs = used.workloads.iter().any(|workload| workload.phase == Phase::Running);
            (runs && (used.gone_at.is_none() || is_lifted)).then(|| used_by(block, used))
        }
        Uses::Nobody | Uses::Unknown(_) => None,
    })
}

fn used_by(block: &Blocking<'_>, used: &UsedBy) -> Hold {
    let names = used.names(&block.case.facts.key);
    let until = used.gone_at.and_then(|at| at.checked_add(GRACE).ok());
    let hold = in_use::hold(match used.gone_at {
        None => format!("it is in use: {names}."),
        Some(at) => format!(
            "it was in use until {}, and counts as in use for a day after that: {names}.",
            at.strftime("%Y-%m-%d %H:%M UTC")
        ),
    });
    hold.not_before(until)
}
