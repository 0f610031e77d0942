//! Gather facts, decide, act, record: the one path that every entry point takes.
//!
//! An event only says *look at this image*. What is done depends on what the registry, the scanner and the ledger say now, so that
//! lost, repeated, reordered and forged events do no harm.
//!
//! | module | is |
//! |---|---|
//! | `request`, `outcome` | what is asked for, and what came of it |
//! | `image_run` | an image, and what looking at it needs |
//! | `run` | one image: the loop from facts to a plan that is carried out |
//! | `gather` | the facts, in one round of concurrent calls |
//! | `ask` | what must be known beside, when a decision needs it; `indexes`: of indexes and the images that they lead to |
//! | `uses` | which workloads use it |
//! | `attempt` | what is known in one attempt, and what a refusal or a limit changes in it |
//! | `action` | how a plan is carried out: claim, effect, tell, record |
//! | `preview` | what a look would find, where nothing may be changed |
//! | `family` | the images that share its fate |

mod action;
mod ask;
mod attempt;
mod family;
mod find;
mod gather;
mod image_run;
mod indexes;
mod outcome;
mod pages;
mod preview;
mod request;
mod run;
mod uses;

pub use self::{
    family::reconcile,
    outcome::{Outcome, OutcomeKind},
    preview::{preview, preview_with_tag},
    request::{Hints, Request},
};

#[cfg(test)]
mod tests;
