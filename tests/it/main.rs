//! Tests that need more than one crate. One binary, so that it is linked once.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod architecture;
mod policy;
mod support;
