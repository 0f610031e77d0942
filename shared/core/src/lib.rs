//! The rules: ids, images, findings, the policy, `evaluate`, `decide`, alerts.
//!
//! Pure: no client, no clock, no environment, no randomness, no logging. Its input comes in as data, and its result goes out as
//! data.

pub mod alert;
pub mod calendar;
pub mod decide;
pub mod digest;
pub mod evaluate;
pub mod finding;
pub mod gate;
pub mod glob;
pub mod ids;
pub mod image;
pub mod ledger;
pub mod marker;
pub mod notice;
mod place;
pub mod policy;
pub mod predecessor;
pub mod registry;
pub mod release;
pub mod replication;
pub mod repository;
pub mod snapshot;
pub mod state;
pub mod summary;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod text;
pub mod told;
pub mod uses;
pub mod work;
