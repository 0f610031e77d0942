//! A pace for what would use up a rate that others need: ECR takes ten `PutImage` a second in an account and region, and every push
//! of anybody is one.
//!
//! Source: "Amazon ECR service quotas", rate of `PutImage` requests.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use guard_core::{
    finding::ScanStart,
    ids::{ImageKey, RepositoryKey, Tag},
    image::ImageStatus,
    repository::{decide::Preview, posture::TagMutability},
};
use guard_ports::{Clock, Manifest, PortError, RegistryWriter, RepositoryWriter, TagAnswer};

/// The time between two `PutImage` of one worker. Two workers at most run at the same time: together they stay below two a second,
/// and leave eight of ten to pushes.
pub const PUT_IMAGE_EVERY: Duration = Duration::from_millis(1250);

/// The most callers that wait at the same time. A slot that is further ahead was given before the clock was set back.
const MAX_WAITING: u32 = 100;

/// A rate limiter. A process shares one: with one for each invocation there would be no limit.
#[derive(Debug)]
pub struct Pace {
    every: Duration,
    /// When the next turn is.
    next: Mutex<Option<Timestamp>>,
}

impl Pace {
    /// One turn in `every`.
    pub fn new(every: Duration) -> Self {
        Self {
            every,
            next: Mutex::default(),
        }
    }

    /// Waits for the next turn. Turns are given in the order in which they are asked for; one that nobody waits for any more passes
    /// unused.
    async fn turn(&self, clock: &impl Clock) {
        let now = clock.now();
        let turn = self.reserve(now);
        if let Ok(wait) = Duration::try_from(turn.duration_since(now))
            && !wait.is_zero()
        {
            clock.pause(wait).await;
        }
    }

    fn reserve(&self, now: Timestamp) -> Timestamp {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let last = now.checked_add(self.every.saturating_mul(MAX_WAITING)).ok();
        let turn = next
            .filter(|turn| last.is_some_and(|last| *turn <= last))
            .map_or(now, |turn| turn.max(now));
        *next = turn.checked_add(self.every).ok();
        turn
    }
}

/// Changes the registry, and limits the rate of new tags: each is a `PutImage`. Everything else is as fast as its callers.
#[derive(Debug)]
pub struct Paced<'a, W, C> {
    writer: &'a W,
    pace: &'a Pace,
    clock: &'a C,
}

impl<'a, W, C> Paced<'a, W, C> {
    /// A writer at a pace.
    pub fn new(writer: &'a W, pace: &'a Pace, clock: &'a C) -> Self {
        Self { writer, pace, clock }
    }
}

impl<W: RegistryWriter + Sync, C: Clock + Sync> RegistryWriter for Paced<'_, W, C> {
    async fn archive(&self, image: &ImageKey) -> Result<ImageStatus, PortError> {
        self.writer.archive(image).await
    }

    async fn restore(&self, image: &ImageKey) -> Result<ImageStatus, PortError> {
        self.writer.restore(image).await
    }

    async fn manifest_to_put(&self, image: &ImageKey) -> Result<Option<Manifest>, PortError> {
        self.writer.manifest_to_put(image).await
    }

    async fn put(&self, image: &ImageKey, manifest: &Manifest, tag: &Tag) -> Result<(), PortError> {
        self.pace.turn(self.clock).await;
        self.writer.put(image, manifest, tag).await
    }

    async fn remove_tags(&self, key: &RepositoryKey, tags: &[Tag]) -> Result<Vec<(Tag, TagAnswer)>, PortError> {
        self.writer.remove_tags(key, tags).await
    }

    async fn start_scan(&self, image: &ImageKey) -> Result<ScanStart, PortError> {
        self.writer.start_scan(image).await
    }
}

impl<W: RepositoryWriter + Sync, C: Sync> RepositoryWriter for Paced<'_, W, C> {
    async fn set_tag_mutability(&self, key: &RepositoryKey, mutability: &TagMutability) -> Result<(), PortError> {
        self.writer.set_tag_mutability(key, mutability).await
    }

    async fn set_scan_on_push(&self, key: &RepositoryKey) -> Result<(), PortError> {
        self.writer.set_scan_on_push(key).await
    }

    async fn set_repository_policy(&self, key: &RepositoryKey, text: Option<&str>) -> Result<(), PortError> {
        self.writer.set_repository_policy(key, text).await
    }

    async fn set_lifecycle_policy(&self, key: &RepositoryKey, text: &str) -> Result<(), PortError> {
        self.writer.set_lifecycle_policy(key, text).await
    }

    async fn preview_lifecycle_policy(
        &self,
        key: &RepositoryKey,
        text: &str,
        begun: bool,
    ) -> Result<Option<Preview>, PortError> {
        self.writer.preview_lifecycle_policy(key, text, begun).await
    }
}

#[cfg(test)]
mod tests {
    use jiff::{SignedDuration, ToSpan as _};

    use super::*;
    use guard_core::finding::Scan;
    use guard_testkit::{World, image, image_key, now, run};

    const EVERY: SignedDuration = SignedDuration::from_millis(1250);

    fn manifest() -> Manifest {
        Manifest {
            text: "{}".to_owned(),
            media_type: None,
        }
    }

    fn world() -> World {
        let key = image_key();
        let world = World::with(&key, image(&key), Scan::Absent);
        world.set_now(now());
        world
    }

    /// When each of `tags` was given, since [`now`].
    fn tag(world: &World, pace: &Pace, tags: &[&str]) -> Vec<SignedDuration> {
        let writer = Paced::new(world, pace, world);
        let given = tags.iter().map(|tag| {
            run(writer.put(&image_key(), &manifest(), &tag.parse().unwrap())).unwrap();
            Clock::now(world).duration_since(now())
        });
        given.collect()
    }

    #[test]
    fn the_first_tag_is_given_at_once_and_each_of_the_others_in_its_turn() {
        let (world, pace) = (world(), Pace::new(PUT_IMAGE_EVERY));
        assert_eq!(
            tag(&world, &pace, &["a", "b", "c"]),
            [SignedDuration::ZERO, EVERY, EVERY * 2]
        );
        // An invocation later, the pace is the same.
        assert_eq!(tag(&world, &pace, &["d"]), [EVERY * 3]);
        // Time that passed anyway is not waited for, and turns are not saved up.
        let later = SignedDuration::from_secs(60);
        world.set_now(now() + later);
        assert_eq!(tag(&world, &pace, &["e", "f"]), [later, later + EVERY]);
    }

    #[test]
    fn nothing_else_waits() {
        let (world, pace) = (world(), Pace::new(PUT_IMAGE_EVERY));
        let key = image_key();
        let writer = Paced::new(&world, &pace, &world);
        run(async {
            writer.put(&key, &manifest(), &"a".parse().unwrap()).await.unwrap();
            let tags = ["a".parse().unwrap()];
            writer.remove_tags(&RepositoryKey::of(&key), &tags).await.unwrap();
            writer.start_scan(&key).await.unwrap();
            writer.archive(&key).await.unwrap();
            writer.restore(&key).await.unwrap();
        });
        let operations: Vec<_> = world.calls().into_iter().map(|call| call.operation).collect();
        assert_eq!(
            operations,
            [
                "ecr:PutImage",
                "ecr:BatchDeleteImage",
                "ecr:StartImageScan",
                "ecr:UpdateImageStorageClass",
                "ecr:UpdateImageStorageClass",
            ]
        );
        assert_eq!(Clock::now(&world), now());
    }

    #[test]
    fn after_the_clock_was_set_back_nobody_waits_for_hours() {
        let (world, pace) = (world(), Pace::new(PUT_IMAGE_EVERY));
        assert_eq!(tag(&world, &pace, &["a"]), [SignedDuration::ZERO]);
        let earlier = now() - 3.hours();
        world.set_now(earlier);
        tag(&world, &pace, &["b", "c"]);
        assert_eq!(Clock::now(&world).duration_since(earlier), EVERY);
    }

    #[test]
    fn turns_that_are_asked_for_at_the_same_time_are_different_ones() {
        let pace = Pace::new(PUT_IMAGE_EVERY);
        let turns = [0, 1, 2, 3].map(|_| pace.reserve(now()).duration_since(now()));
        assert_eq!(turns, [0, 1, 2, 3].map(|n| EVERY * n));
    }
}
