//! The checks of a registry's settings.
//!
//! To add one, copy a file, add it to [`REGISTRY_CHECKS`], and a row to the table in `docs/repository-rules.md`. The facts
//! about the registry that a check needs are in [`RegistrySettings`](super::RegistrySettings).

mod check;
mod replication;
mod scanning;

pub use check::RegistryCheck;
pub(super) use check::{Failed, RegistryCase};

/// All checks, in the order in which alerts name their problems.
pub const REGISTRY_CHECKS: [RegistryCheck; 2] = [scanning::CHECK, replication::CHECK];
