//! For tests: a [`World`] in memory that implements every port and really stores, an explorer of interleavings, and the values of
//! [`guard_core::testing`].
#![expect(clippy::expect_used, reason = "a test that is wrong in itself should stop at once")]

pub mod explore;
mod services;
mod stored;
mod world;

use std::{
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
};

pub use guard_core::{self as core, testing::*};
pub use guard_ports as ports;
pub use services::Parts;
pub use world::{
    Call, Fault, Planted, PulledOf, RemovalReading, Removed, Sent, StoredRepository, Taken, World, keys_of,
};

/// Runs a future to its end on this thread. Whatever it waits for must come from a [`World`], which is never really busy.
pub fn run<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = poll_once(&mut future) {
            return output;
        }
    }
}

/// Polls a future at most `polls` times, then drops it where it stands, as a crash would. `None`: it had not ended.
pub fn run_and_crash<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(output) = poll_once(&mut future) {
            return Some(output);
        }
    }
    None
}

fn poll_once<F: Future + ?Sized>(future: &mut Pin<&mut F>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}
