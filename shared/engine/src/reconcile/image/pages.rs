//! How many pages of a repository's images are read for one event, and for how long.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::SignedDuration;

use guard_ports::Clock;

/// The most pages of a thousand images that are read for the predecessor of an image, and for its parent indexes. In a larger
/// repository the predecessor may not be found, and then excuses nothing; and the next sweep finds the indexes.
pub(super) const MAX_PAGES_OF_IMAGES: usize = 20;

/// The time that an event spends on such pages, for all of its images together: then no further one is read. The function has
/// 30 seconds. A predecessor that was not found excuses nothing, and indexes that were not read may reference the image.
const TIME_FOR_PAGES: SignedDuration = SignedDuration::from_secs(8);

/// The part of [`TIME_FOR_PAGES`] that was spent, in milliseconds.
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
