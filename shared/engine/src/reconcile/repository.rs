//! Gather facts, decide, act, record: for a repository and for a tag that was pushed, as `reconcile` does it for an image.
//!
//! | module | is |
//! |---|---|
//! | `settings` | the settings of a repository, from facts to changes and alerts |
//! | `gather` | what is known of them |
//! | `preview` | what a lifecycle policy would do, and whether that is in use |
//! | `uses` | who uses what a lifecycle policy would take |
//! | `tag` | a tag that was pushed |

mod gather;
mod outcome;
mod preview;
mod run;
mod settings;
mod tag;
mod uses;

pub(in crate::reconcile) use self::run::tell;
pub use self::{
    outcome::RepositoryOutcome,
    settings::reconcile_repository,
    tag::{TagRequest, reconcile_tag},
};

#[cfg(test)]
mod tests;
