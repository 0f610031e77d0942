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
mod contract;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod gate;
#[cfg(test)]
mod infra;
#[cfg(test)]
mod language;
#[cfg(test)]
mod log_lines;
#[cfg(test)]
mod members;
#[cfg(test)]
mod operate;
#[cfg(test)]
mod operations;
#[cfg(test)]
mod policy;
#[cfg(test)]
mod recipes;
#[cfg(test)]
mod report;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod simulate;
#[cfg(test)]
mod start;
#[cfg(test)]
mod stored;
#[cfg(test)]
mod structure;
#[cfg(test)]
mod supply;
#[cfg(test)]
mod support;
#[cfg(test)]
mod sweep;
