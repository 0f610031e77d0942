//! The policy only reports.

use super::rule::{Hold, HoldRule};
use crate::decide::{blocking::Blocking, plan::Question};

pub(super) const RULE: HoldRule = HoldRule {
    cause: "report-mode",
    docs: &[(
        "report mode",
        "the policy says `enforce`, or an entry of `repositories` does for this repository",
    )],
    setting: Some("mode"),
    check,
};

fn check(block: &Blocking<'_>) -> Result<Option<Hold>, Question> {
    let case = block.case;
    let why = case
        .policy
        .report_mode(&case.facts.key.repository)
        .filter(|_| block.needed.is_some());
    Ok(why.map(|why| Hold::because(format!("{why}, in which nothing is changed.")).told()))
}
