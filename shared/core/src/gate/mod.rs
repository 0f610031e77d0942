//! The gate: a pipeline or deployment asks whether images may be deployed, and gets one answer.
//!
//! | module | is |
//! |---|---|
//! | `form` | the JSON forms of request and answer |
//! | `verdict` | from what is known of an image to the answer |
//! | `hook` | the form of a deployment hook of ECS |
//! | `refused` | the alert about a deployment that was refused |
//!
//! The gate decides nothing of its own: it uses the verdict of [`judge`](crate::decide::judge).

mod form;
pub mod hook;
pub mod refused;
mod verdict;

pub use form::{
    ANSWER_SCHEMA, Answer, Asked, Decision, FindingEntry, GateRequest, ImageAnswer, InvalidRequest, MAX_IMAGES,
    REQUEST_SCHEMA,
};
pub use verdict::{Known, SeenImage, What, answer, speaks_for_image};

#[cfg(test)]
mod tests;
