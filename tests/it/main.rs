//! Tests that need more than one crate, in one binary.

// `cfg(test)` says to Clippy what Cargo knows: helpers are tests too, and may panic.
#[cfg(test)]
mod adapters;
#[cfg(test)]
mod canned;
