//! One reconciler for each kind of thing: it gathers facts, lets the core decide, acts, and records.

mod error;
pub mod image;
mod images;
pub mod registry;
pub mod replication;
pub mod repository;

pub use self::error::{ReconcileError, Subject};
pub(crate) use self::{
    error::{FINDINGS, refusal_of},
    images::images_of,
};
