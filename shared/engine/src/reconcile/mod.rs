//! One reconciler for each kind of thing: it gathers facts, lets the core decide, acts, and records.

mod error;
pub mod image;
pub mod registry;
pub mod replication;
pub mod repository;

pub(crate) use self::error::{FINDINGS, refusal_of};
pub use self::error::{ReconcileError, Subject};
