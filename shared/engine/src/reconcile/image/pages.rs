//! How many pages of a repository's images are read for one event, and for how long.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::SignedDuration;

use guard_ports::Clock;

/// At most so many pages of a thousand images are looked at for the predecessor of an image, and for indexes that may lead to it. In a
/// larger repository the predecessor may not be found, and then excuses nothing; and for the indexes the next sweep looks.
pub(super) const MAX_PAGES_OF_IMAGES: usize = 20;

/// An event spends so much time on such pages, for all of its images together: then no further one is asked for. The function has 30 seconds. A
/// predecessor that was not found excuses nothing, and indexes that were not read may lead to the image.
const TIME_FOR_PAGES: SignedDuration = SignedDuration::from_secs(8);

/// What of [`TIME_FOR_PAGES`] was spent, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Spent(AtomicI64);

impl Spent {
    pub(super) fn is_all(&self) -> bool {
        i128::from(self.0.load(Ordering::Relaxed)) > TIME_FOR_PAGES.as_millis()
    }

    /// Spends what a call takes.
    pub(super) async fn on<T>(&self, clock: &impl Clock, call: impl Future<Output = T>) -> T {
        let began = clock.now();
        let answer = call.await;
        let took = clock.now().duration_since(began).as_millis();
        self.0
            .fetch_add(i64::try_from(took).unwrap_or(i64::MAX), Ordering::Relaxed);
        answer
    }
}
