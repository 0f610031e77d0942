//! Images, one after the other.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    cycle::NOT_HIDDEN,
    error::{Failures, SweepError},
    looks::Looks,
    refused::denied,
    worker::Worker,
};
use crate::reconcile::{
    ReconcileError, Subject,
    image::{Hints, Request, reconcile, unchanged},
    repository::{TagRequest, reconcile_tag},
};
use guard_core::{
    ids::{Digest, ImageKey, ImageRef, RepositoryKey, RepositoryName},
    image::Image,
    ledger::Row,
    registry::{access::RefusedAccess, failing::FailingCall},
    work::{FoundImage, INDEXES_KNOWN_FOR, MAX_IMAGES, Work, WorkItem},
};
use guard_ports::{Clock as _, Ledger as _, PortError, Registry as _, Services};

/// For so long work is left alone that waits because AWS is in trouble, or has had enough of us.
pub const TROUBLE_WAIT: Duration = Duration::from_secs(5 * 60);

/// After this number of failures in a row nothing new is begun: AWS fails or throttles. A call that fails now and then is no
/// sign of that.
pub const MAX_TROUBLE: usize = 5;

/// An image to reconcile, and the reason.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageLook {
    /// Its digest.
    pub digest: Digest,
    /// The reason.
    pub hints: Hints,
    /// When a sweep read all indexes of the repository, if it could. [`Hints::indexes_read`] follows from it when the image's turn comes.
    pub indexes_read_at: Option<Timestamp>,
    /// The image, as a list has just shown it. Only where nothing but its periodic turn is the reason.
    pub seen: Option<Box<Image>>,
}

impl From<FoundImage> for ImageLook {
    fn from(image: FoundImage) -> Self {
        Self {
            digest: image.digest,
            hints: Hints {
                epss: image.epss,
                ..Hints::default()
            },
            indexes_read_at: None,
            seen: None,
        }
    }
}

impl ImageLook {
    /// No event named it. `indexes_read_at`: when a sweep read all indexes of the repository.
    pub fn found(digest: Digest, indexes_read_at: Option<Timestamp>) -> Self {
        Self {
            digest,
            hints: Hints {
                found: true,
                ..Hints::default()
            },
            indexes_read_at,
            seen: None,
        }
    }
}

/// Work for what was not done of these images.
pub fn again(repository: RepositoryName, images: &[ImageLook]) -> Work {
    // A sweep found them all, or none of them.
    if images.iter().all(|image| image.hints.found) {
        let all_read: Option<Vec<Timestamp>> = images.iter().map(|image| image.indexes_read_at).collect();
        let indexes_read_at = all_read.and_then(|read| read.into_iter().min());
        return Work::Images {
            repository,
            digests: images.iter().map(|image| image.digest.clone()).collect(),
            indexes_read: indexes_read_at.is_some(),
            indexes_read_at,
        };
    }
    let found = |image: &ImageLook| FoundImage {
        digest: image.digest.clone(),
        epss: image.hints.epss.clone(),
    };
    Work::Findings {
        repository,
        images: images.iter().map(found).collect(),
    }
}

/// Whether an item has achieved anything: what is left of it then goes on as another item, and otherwise the item comes again as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing yet.
    None,
    /// Something.
    Made,
}

/// The results of images so far.
struct Course {
    looks: Looks,
    failures: Failures,
    progress: Progress,
    /// The scanner's refusal to let us read findings, if there is one: then it is not asked again.
    refused: Option<PortError>,
    /// Images whose findings could not be read for it.
    waiting: Vec<String>,
    /// The calls that kept images from being reconciled.
    failing: Vec<FailingCall>,
    /// Images that are left to another item.
    left: Vec<ImageLook>,
    /// How many looks in a row failed for trouble at AWS.
    trouble: usize,
}

impl<S: Services> Worker<'_, S> {
    /// Reconciles these images, one after the other. Images that are left when the time is over or AWS fails, and those that
    /// failed, are left to another item, so that nothing is done twice; but if nothing at all was achieved, this item fails.
    pub async fn look_at_images(
        &self,
        key: &RepositoryKey,
        images: Vec<ImageLook>,
        progress: Progress,
    ) -> (Looks, Failures) {
        let sweep = self.sweep;
        let is_sweep = images.iter().any(|image| image.hints.found);
        // One image is asked for before all others are: what was refused in this sweep is not asked again.
        let mut looks = Looks::default();
        let known = match self.refused_access(is_sweep).await {
            Ok(known) => known,
            // The images have nothing to do with that: what may not be read is asked for.
            Err(error) if error.is_unreadable_row() => {
                looks.handed_on.push(error);
                Vec::new()
            }
            Err(error) => return (Looks::default(), vec![error]),
        };
        let known: Vec<RefusedAccess> = known.into_iter().filter(RefusedAccess::is_of_findings).collect();
        let is_of_now = |known: &&RefusedAccess| known.sweep == sweep.began && !known.is_of_one_repository();
        let mut course = Course {
            looks,
            failures: Failures::new(),
            progress,
            refused: known.iter().find(is_of_now).map(denied),
            waiting: Vec::new(),
            failing: Vec::new(),
            left: Vec::new(),
            trouble: 0,
        };
        let images = match course.refused {
            None => self.leave_unchanged(key, images, &mut course).await,
            Some(_) => images,
        };
        for image in images {
            if course.trouble >= MAX_TROUBLE {
                course.left.push(image);
            } else if self.services.clock().now() >= sweep.until {
                course.left.push(image);
                // Nothing has gone wrong: it goes on in another invocation.
                course.progress = Progress::Made;
            } else {
                self.next_image(key, image, is_sweep, &mut course).await;
            }
        }
        let Course {
            mut looks,
            mut failures,
            waiting,
            ..
        } = course;
        looks.unreadable += waiting.len() as u64;
        let noted = match course.refused {
            Some(refused) => self.note_refused(&refused, waiting).await,
            None if !known.is_empty() && looks.looked > 0 => self.forget_refused(&key.repository).await,
            None => Ok(()),
        };
        failures.extend(noted.err());
        if is_sweep {
            failures.extend(self.note_lacking(&looks.lacking).await.err());
        }
        self.note_failing(course.failing).await;
        looks.in_trouble = course.trouble >= MAX_TROUBLE;
        if course.left.is_empty() || matches!(course.progress, Progress::None) {
            return (looks, failures);
        }
        let hidden_for = if failures.is_empty() { NOT_HIDDEN } else { TROUBLE_WAIT };
        let left = course.left.chunks(MAX_IMAGES);
        let items: Vec<WorkItem> = left
            .map(|images| sweep.item(again(key.repository.clone(), images)))
            .collect();
        match self.send(&items, hidden_for, &mut looks).await {
            Ok(()) => looks.handed_on.append(&mut failures),
            Err(error) => failures.push(error),
        }
        (looks, failures)
    }

    /// The facts to reconcile an image with, now that its turn has come.
    fn hints_now(&self, image: &ImageLook, refused: Option<PortError>) -> Hints {
        let now = self.services.clock().now();
        let is_known = |read_at| now.duration_since(read_at) < INDEXES_KNOWN_FOR;
        Hints {
            refused,
            indexes_read: image.indexes_read_at.is_some_and(is_known),
            ..image.hints.clone()
        }
    }

    /// Reconciles those images together that a list has just shown and of which nothing has changed; the others are left.
    async fn leave_unchanged(
        &self,
        key: &RepositoryKey,
        images: Vec<ImageLook>,
        course: &mut Course,
    ) -> Vec<ImageLook> {
        let rules = self.policy.repository(&key.repository);
        let has_tag_rules = rules.is_some_and(|rules| rules.tags.is_some());
        let is_over = self.services.clock().now() >= self.sweep.until;
        let (turns, mut left): (Vec<ImageLook>, Vec<ImageLook>) = images
            .into_iter()
            .partition(|image| image.seen.is_some() && !has_tag_rules && !is_over);
        let seen: Vec<(Request, Image)> = turns
            .iter()
            .filter_map(|look| {
                Some((
                    self.request(key, look, self.hints_now(look, None)),
                    look.seen.as_deref().cloned()?,
                ))
            })
            .collect();
        let outcomes = unchanged(self.services, self.policy, &seen).await;
        for (image, outcome) in turns.into_iter().zip(outcomes) {
            match outcome {
                Some(outcome) => {
                    course.looks.count_image(&outcome);
                    course.progress = Progress::Made;
                }
                None => left.push(image),
            }
        }
        left
    }

    fn request(&self, key: &RepositoryKey, image: &ImageLook, hints: Hints) -> Request {
        Request {
            account: key.account.clone(),
            region: key.region.clone(),
            repository: key.repository.clone(),
            image: ImageRef::Digest(image.digest.clone()),
            hints,
            // Images of one item must not take each other's work for their own.
            actor: format!("{}/{}", self.actor, image.digest.short()),
        }
    }

    /// Reconciles the next image, and records its result.
    async fn next_image(&self, key: &RepositoryKey, image: ImageLook, is_sweep: bool, course: &mut Course) {
        let asked = ImageLook {
            hints: self.hints_now(&image, course.refused.clone()),
            ..image.clone()
        };
        let error = match self.look_at_image(key, asked, &mut course.looks).await {
            Ok(()) => {
                (course.progress, course.trouble) = (Progress::Made, 0);
                return;
            }
            Err(error) => error,
        };
        if let Some(denied) = error.denied_findings().filter(|_| is_sweep).cloned() {
            course.waiting.push(format!("{}@{}", key.repository, image.digest));
            if course.refused.is_none() {
                course.refused = Some(denied);
                course.failures.push(error);
            }
            return;
        }
        if error.is_trouble() {
            course.trouble += 1;
            course.looks.not_reached += 1;
            if is_sweep {
                self.note_not_reached(key, &image.digest, &error).await;
                course.failing.extend(self.failing(key, &image.digest, &error));
            }
        }
        if is_sweep && error.is_unreadable_row() {
            // No later item could read it; the next sweep finds it again.
            course.looks.handed_on.push(error);
        } else {
            course.failures.push(error);
            course.left.push(image);
        }
    }

    /// Gives an image that could not be reconciled a row that says so, if it has none. The row of one that has one still holds.
    /// If that fails as well, the next failing reconcile writes it.
    async fn note_not_reached(&self, key: &RepositoryKey, digest: &Digest, error: &SweepError) {
        let SweepError::Reconcile(ReconcileError::Port {
            of: Subject::Image(_),
            source,
            ..
        }) = error
        else {
            return;
        };
        let image = ImageKey {
            account: key.account.clone(),
            region: key.region.clone(),
            repository: key.repository.clone(),
            digest: digest.clone(),
        };
        let why = format!("{} failed with `{}`", source.operation, source.code);
        let row = Row::not_reached(image, self.policy, &why, self.services.clock().now());
        drop(self.services.ledger().write(&row).await);
    }

    async fn look_at_image(&self, key: &RepositoryKey, image: ImageLook, looks: &mut Looks) -> Result<(), SweepError> {
        let Self {
            services,
            policy,
            actor,
            ..
        } = *self;
        let request = self.request(key, &image, image.hints.clone());
        let outcome = reconcile(services, policy, &request).await?;
        looks.count_image(&outcome);
        let rules = policy.repository(&key.repository);
        if rules.is_none_or(|rules| rules.tags.is_none()) {
            return Ok(());
        }
        let found = self.services.registry().image(&key.repository, &request.image).await;
        let found = found.map_err(|source| SweepError::port(format!("read the tags of `{key}`"), source))?;
        for tag in found.map(|image| image.tags).unwrap_or_default() {
            let request = TagRequest {
                tag: &tag,
                state: outcome.state,
                pushed: None,
                actor,
            };
            let judged = reconcile_tag(services, policy, key, &request).await?;
            looks.count_repository(&judged);
        }
        Ok(())
    }
}
