//! Reconciling: from a request to what is true afterwards.
//!
//! | module | is |
//! |---|---|
//! | [`reconcile`] | gathers facts, lets the core decide, acts, records: an image, a repository, a registry, replicas |
//! | `execute` | claim, effect, notify, record: the one order in which a step is carried out |
//! | [`gate`] | whether images may be deployed: looks, and changes nothing |
//! | [`sweep`] | reconciles all repositories and images |
//! | [`tag_removal`] | takes tags from images so that none is lost |
//! | [`route`] | where the alerts about a repository go, by its tag |
//! | [`refused_pull`] | notifies the team of a blocked image that a workload could not pull |
//! | [`workloads`] | keeps the index of who uses images |
//! | [`alert_budget`] | alerts within a budget, and the hourly summary |
//!
//! It knows the world by the ports alone: no AWS, no Lambda, no events.

pub mod alert_budget;
mod execute;
pub mod gate;
pub mod reconcile;
pub mod refused_pull;
pub mod release;
pub mod route;
pub mod sweep;
pub mod tag_removal;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod workloads;
