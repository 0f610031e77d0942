//! What every ecr-guard function is made of.
//!
//! | module | is | may use |
//! |---|---|---|
//! | [`domain`] | the rules: pure | nothing of ours |
//! | [`events`] | wire formats of EventBridge events | `domain` |
//! | [`ports`] | what the rules need of the world, as traits | `domain` |
//! | [`alert_budget`] | alerts within a budget, and the hourly summary | `domain`, `ports` |
//! | [`reconcile`], [`reconcile_repository`], [`reconcile_registry`], [`reconcile_replication`] | gather facts, decide, act, record | `domain`, `ports` |
//! | [`tag_removal`] | takes tags from images so that none is lost | `domain`, `ports` |
//! | [`sweep`] | look at all repositories and images | `domain`, `ports`, `reconcile` |
//! | `adapters` (feature `aws`) | the ports, with the AWS SDK | `domain`, `ports` |
//! | `runtime` (feature `lambda`) | configuration, logs, metrics, errors of a Lambda function | `domain`, `events`, `ports`, `reconcile` |
//! | `function` (features `aws` and `lambda`) | wires a function | everything but `testing` |
//! | `testing` (feature `testing`) | the ports, with a world in memory | all but `adapters` |
//!
//! A test reads the sources and holds them to this table.

#[cfg(feature = "aws")]
pub mod adapters;
pub mod alert_budget;
pub mod domain;
pub mod events;
#[cfg(all(feature = "aws", feature = "lambda"))]
pub mod function;
pub mod ports;
pub mod reconcile;
pub mod reconcile_registry;
pub mod reconcile_replication;
pub mod reconcile_repository;
#[cfg(feature = "lambda")]
pub mod runtime;
pub mod sweep;
pub mod tag_removal;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
