//! A repository: what it must be like, and what is done when it is not.

pub mod access;
pub mod checks;
pub mod decide;
pub mod facts;
pub mod keys;
pub mod ledger;
pub mod lifecycle;
pub mod posture;
pub mod removal;
pub mod route;
pub mod tag;
pub mod tag_checks;
pub mod tags;
