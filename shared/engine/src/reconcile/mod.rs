//! One reconciler for each kind of thing: it gathers facts, lets the core decide, acts, and records.

pub mod image;
pub mod registry;
pub mod replication;
pub mod repository;
