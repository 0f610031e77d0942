//! Tests that need more than one crate. One binary, so that it is linked once.

mod architecture;
mod policy;
mod support;
