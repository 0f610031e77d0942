//! Placeholder until the core exists.
fn main() {}
