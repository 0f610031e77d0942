//! Gather facts, decide, act, record: the one path that every entry point takes.
//!
//! An event only names an image to reconcile. The plan depends on what the registry, the scanner and the ledger say now, so
//! that lost, repeated, reordered and forged events do no harm.
//!
//! | module | is |
//! |---|---|
//! | `request`, `outcome` | the request, and its result |
//! | `image_run` | an image, and the services to reconcile it |
//! | `unchanged` | images of a sweep of which nothing has changed |
//! | `run` | one image: the loop from facts to a plan that is carried out |
//! | `gather` | the facts, in one round of concurrent calls |
//! | `together` | the first facts of several images, in one such round; `ahead`: what was read |
//! | `ask` | further facts, when a decision needs them; `indexes`: about indexes and their children |
//! | `uses` | which workloads use it |
//! | `attempt` | what is known in one attempt, and what a refusal or a limit changes in it |
//! | `action` | how a plan is carried out: claim, effect, notify, record; `effect`: the change in the registry |
//! | `preview` | the result of a reconcile, where nothing may be changed |
//! | `family` | the images that share its fate |
//! | `follower` | one that is blocked together with its index |

mod action;
mod ahead;
mod ask;
mod attempt;
mod boxed;
mod effect;
mod family;
mod find;
mod follower;
mod gather;
mod image_run;
mod indexes;
mod outcome;
mod pages;
mod preview;
mod request;
mod run;
mod together;
mod unchanged;
mod uses;

pub use self::{
    family::reconcile,
    outcome::{Outcome, OutcomeKind},
    preview::{preview, preview_with_tag},
    request::{Hints, Request},
    unchanged::unchanged,
};

#[cfg(test)]
mod tests;
