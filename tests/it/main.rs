//! Tests that need more than one crate. One binary, so that it is linked once.

// `cfg(test)` says to Clippy what Cargo knows: helpers are tests too, and may panic.
#[cfg(test)]
mod adapters;
#[cfg(test)]
mod architecture;
#[cfg(test)]
mod calls;
#[cfg(test)]
mod canned;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod infra;
#[cfg(test)]
mod members;
#[cfg(test)]
#[path = "../../functions/on-push/src/select.rs"]
mod on_push;
#[cfg(test)]
#[path = "../../functions/on-replication/src/select.rs"]
mod on_replication;
#[cfg(test)]
#[path = "../../functions/on-scan/src/select.rs"]
mod on_scan;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod support;
#[cfg(test)]
mod sweep;
#[cfg(test)]
#[path = "../../functions/worker/src/select.rs"]
mod worker;
