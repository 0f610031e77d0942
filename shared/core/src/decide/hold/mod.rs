//! The rules to hold: reasons not to block an image that must not be deployed.
//!
//! To add one, copy a file, add it to [`HOLD_RULES`], and a row to the table in `docs/blocked-image.md`.

mod in_use;
mod index;
mod indexes_not_read;
mod lambda;
mod limit;
mod more_indexes_not_read;
mod not_worse;
mod only_index;
mod refused;
mod released;
mod report_mode;
mod returns;
mod rule;
mod source;
mod workloads;

use super::{blocking::Blocking, plan::Question};
pub use released::CAUSE as RELEASED;
pub use rule::HoldRule;
pub(super) use rule::{Hold, Undo};
pub use workloads::workloads_that_hold;

/// All rules; the first that applies is the reason. Rules that need no further fact come first. Those that ask the registry
/// come last among the reasons that can be known: they cost a call only for an image that would be blocked otherwise. The rules
/// that prevent any block come at the end.
pub const HOLD_RULES: [HoldRule; 14] = [
    released::RULE,
    index::RULE,
    more_indexes_not_read::RULE,
    indexes_not_read::RULE,
    source::RULE,
    only_index::RULE,
    refused::RULE,
    in_use::RULE,
    not_worse::RULE,
    workloads::RULE,
    lambda::RULE,
    report_mode::RULE,
    limit::RULE,
    returns::RULE,
];

/// Why the block is deferred, if it is; or the fact that must be gathered first.
pub(super) fn hold(block: &Blocking<'_>) -> Result<Option<Hold>, Question> {
    for rule in HOLD_RULES {
        if let Some(hold) = (rule.check)(block)? {
            return Ok(Some(Hold {
                cause: rule.cause,
                ends: hold.ends.or(rule.docs.first().map(|(_, ends)| *ends)),
                ..hold
            }));
        }
    }
    Ok(None)
}
