//! Futures on the heap.

use std::pin::Pin;

/// A future on the heap. It is made in a frame of its own: a function that awaits several has no room for them on its stack otherwise.
#[inline(never)]
pub(super) fn boxed<F: Future>(make: impl FnOnce() -> F) -> Pin<Box<F>> {
    Box::pin(make())
}
