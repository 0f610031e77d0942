//! The sweep makes it certain that every image is reconciled, whichever events are lost.
//!
//! It lists the registry's repositories and leaves a work item for each. A work item compares the registry's list of a
//! repository's images with the ledger's rows, which takes a call for a thousand of each, and reconciles those images where the
//! two differ (`core/decide/due.rs` says when). Everything ends in [`reconcile`](crate::reconcile::image::reconcile), as after
//! an event.
//!
//! | module | is |
//! |---|---|
//! | `cycle` | a sweep that is going on |
//! | `enqueue` | an item for each repository, and for each that is gone |
//! | `work`, `worker` | what an item says, and who does it |
//! | `repository` | a repository: its settings, and which of its images are due |
//! | `images` | images, one after the other |
//! | `refused` | what may not be read or undone, and calls that keep failing, remembered for all workers |
//! | `looks`, `error` | the results, and the failures |

mod cycle;
mod enqueue;
mod error;
mod images;
mod looks;
mod refused;
mod repository;
mod work;
mod worker;

pub use self::{
    cycle::Sweep,
    enqueue::{Enqueued, KnownSettings, enqueue_gone, enqueue_repositories, enqueue_these},
    error::{Failures, SweepError},
    images::{ImageLook, MAX_TROUBLE, Progress, TROUBLE_WAIT, again},
    looks::Looks,
    worker::Worker,
};

#[cfg(test)]
mod tests;
