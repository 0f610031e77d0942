//! A repository: its settings, and which of its images are due.

use std::{collections::BTreeMap, time::Duration};

use futures_util::future::join;
use jiff::Timestamp;
use tracing::debug;

use super::{
    cycle::{NOT_HIDDEN, Sweep},
    error::{Failures, SweepError},
    images::{ImageLook, Progress},
    looks::Looks,
    worker::Worker,
};
use crate::{
    reconcile::{
        replication::{CopyLook, ReplicationOutcome, reconcile_replication},
        repository::reconcile_repository,
    },
    route::{ReadTag, remember_route},
};
use guard_core::{
    decide::{Due, Survey, TURN_HOURS, Turns},
    ids::{Digest, RepositoryKey},
    image::{Image, ListedImage},
    ledger::Row,
    policy::{Policy, WhenInUse},
    replication::readiness::Expected,
    repository::posture::ListedSettings,
    summary::{SummaryBuilder, differs},
    uses::unknown,
    work::{MAX_IMAGES, Work, WorkItem},
};
use guard_ports::{Clock as _, Listing as _, RepositoryLedger as _, Services, SweepLedger as _, UseLedger as _};

/// The time after which a repository is reconciled again if images were due: by then they have been reconciled, and their
/// results are counted.
const SECOND_LOOK: Duration = Duration::from_secs(10 * 60);

/// The waits between reconciles of the settings for the preview of a lifecycle policy that is not there yet. AWS's own waiter
/// gives up after 100 seconds, and a preview of a large repository may take longer: after the last one, the next sweep checks.
const PREVIEW_WAITS: [Duration; 4] = [
    Duration::from_secs(60),
    Duration::from_secs(2 * 60),
    Duration::from_secs(4 * 60),
    Duration::from_secs(8 * 60),
];

/// Images that are due are reconciled at once up to this number; more of them are left to other workers.
const LOOKED_AT_ONCE: usize = 10;

/// The same, if nothing but their periodic turn is the reason for all of them.
const TURNS_AT_ONCE: usize = 100;

/// The known facts of images that are due.
struct Known {
    /// When all indexes of the repository were read, if they could be.
    indexes_read_at: Option<Timestamp>,
    /// Images as the list has shown them, where nothing but their turn is the reason.
    seen: BTreeMap<Digest, Image>,
}

/// The part of a repository to reconcile.
#[derive(Default)]
pub(super) struct Part {
    /// Its images from here on; `None`: all of it.
    pub(super) after: Option<String>,
    /// For the second time.
    pub(super) again: bool,
    /// For its copies and figures only.
    pub(super) copies: bool,
    /// The known part of its settings.
    pub(super) listed: Option<ListedSettings>,
    /// Only its settings, after this number of reconciles without a preview of a lifecycle policy; 0: all of it.
    pub(super) waited: u32,
}

impl Part {
    pub(super) fn is_first(&self) -> bool {
        self.after.is_none() && !self.again && !self.copies
    }
}

impl Part {
    /// An item for this part of a repository.
    fn item(self, sweep: &Sweep, key: &RepositoryKey) -> WorkItem {
        sweep.item(Work::Repository {
            repository: key.repository.clone(),
            after: self.after,
            again: self.again,
            copies: self.copies,
            listed: self.listed.map(Box::new),
            waited: self.waited,
        })
    }
}

/// The state of a repository that is read page by page: all of the ledger's rows first.
struct Reading<'a> {
    survey: Survey<'a>,
    figures: SummaryBuilder<'a>,
    expected: Expected<'a>,
    images: u64,
    turns: Turns,
    /// Images whose periodic turn it is, as far as they are few enough.
    seen: BTreeMap<Digest, Image>,
    /// There is no such repository.
    is_gone: bool,
    /// Some images could not be read.
    in_part: bool,
    unreadable: Failures,
}

impl<'a> Reading<'a> {
    fn new(policy: &'a Policy, sweep: &Sweep, key: &RepositoryKey, now: Timestamp) -> Self {
        Self {
            survey: Survey::new(policy, &key.repository, sweep.turns(), now),
            figures: SummaryBuilder::new(policy, key, now),
            expected: Expected::new(policy, key),
            images: 0,
            turns: sweep.turns(),
            seen: BTreeMap::new(),
            is_gone: false,
            in_part: false,
            unreadable: Failures::new(),
        }
    }

    fn row(&mut self, key: &RepositoryKey, row: &Row) {
        self.expected.remember(row);
        if row.image.region == key.region {
            self.survey.remember(row);
            self.figures.row(row);
        } else {
            self.survey.remember_elsewhere(row, &key.region);
        }
    }

    fn image(&mut self, listed: &ListedImage) {
        self.images += 1;
        let digest = &listed.image.digest;
        if self.turns.has(digest, TURN_HOURS) && self.seen.len() <= TURNS_AT_ONCE {
            self.seen.insert(digest.clone(), listed.image.clone());
        }
        self.survey.see(listed);
        self.figures.image(listed);
        self.expected.see(&listed.image);
    }
}

impl<S: Services> Worker<'_, S> {
    /// Reconciles the settings of a repository. Where ECR has no preview of a lifecycle policy yet, an item reconciles them
    /// again in minutes.
    async fn look_at_settings(&self, key: &RepositoryKey, part: &Part) -> (Looks, Failures) {
        let mut looks = Looks::default();
        let listed = part.listed.as_ref();
        // First, so that results of the repository reach the right topic.
        let when = if self.sweep.turns().has(&key.repository, TURN_HOURS) {
            ReadTag::Now
        } else {
            ReadTag::IfUnknown
        };
        let remembered = remember_route(self.services, self.policy, key, when).await;
        let mut failures: Failures = remembered.err().map(SweepError::from).into_iter().collect();
        let outcome = reconcile_repository(self.services, self.policy, key, listed, self.actor).await;
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                failures.push(error.into());
                return (looks, failures);
            }
        };
        looks.count_repository(&outcome);
        let wait = usize::try_from(part.waited)
            .ok()
            .and_then(|waited| PREVIEW_WAITS.get(waited));
        let Some(wait) = wait.filter(|_| outcome.waits) else {
            return (looks, failures);
        };
        let next = Part {
            waited: part.waited.saturating_add(1),
            ..Part::default()
        };
        let item = next.item(self.sweep, key);
        failures.extend(self.send(&[item], *wait, &mut looks).await.err());
        (looks, failures)
    }

    /// Reconciles a repository, and those of its images that are due.
    pub(super) async fn look_at_repository(&self, key: &RepositoryKey, part: Part) -> (Looks, Failures) {
        // Its settings are reconciled once in a sweep, and again while they wait for a preview.
        let (mut looks, mut failures) = if part.is_first() {
            self.look_at_settings(key, &part).await
        } else {
            (Looks::default(), Failures::new())
        };
        if part.waited > 0 {
            return (looks, failures);
        }
        let due = match self.survey(key, part, &mut looks).await {
            Ok(due) => due,
            Err(error) => {
                failures.push(error);
                return (looks, failures);
            }
        };
        let (looked, failed) = self.look_at_images(key, due, Progress::Made).await;
        looks.add(&looked);
        failures.extend(failed);
        (looks, failures)
    }

    /// Compares list and ledger, and leaves to others what is due, if it is much; otherwise gives it.
    async fn survey(&self, key: &RepositoryKey, part: Part, looks: &mut Looks) -> Result<Vec<ImageLook>, SweepError> {
        let began = self.services.clock().now();
        let mut reading = Reading::new(self.policy, self.sweep, key, began);
        if !self.read_rows(key, &mut reading).await? {
            // Without all rows nothing can be said of any image. Its settings were reconciled.
            self.send(&[part.item(self.sweep, key)], NOT_HIDDEN, looks).await?;
            return Ok(Vec::new());
        }
        self.read_uses(key, &mut reading).await?;
        let next = self.read_list(key, part.after.clone(), &mut reading).await?;
        let Reading {
            survey,
            figures,
            expected,
            images,
            seen,
            is_gone,
            in_part,
            unreadable,
            ..
        } = reading;
        looks.listed += images;
        // Reading the list again would not make it readable; the next sweep tries.
        looks.handed_on.extend(unreadable);
        let is_whole = part.after.is_none() && next.is_none() && !in_part;
        let indexes_read_at = (is_whole && survey.knows_all_indexes()).then_some(began);
        let mut due = survey.finish(is_whole);
        if part.copies {
            due.clear();
        }
        if part.again {
            // Whose turn it is has had it a few minutes ago.
            due.retain(|(_, why)| *why != Due::Turn);
        }
        for (digest, why) in &due {
            debug!(of = %key, %digest, why = why.as_str(), "image due");
            *looks.due.entry(why.as_str()).or_default() += 1;
        }
        let rest = next.map(|next| Part {
            after: Some(next),
            again: part.again,
            copies: part.copies,
            ..Part::default()
        });
        let seen = if due.iter().all(|(_, why)| *why == Due::Turn) {
            seen
        } else {
            BTreeMap::new()
        };
        let due: Vec<Digest> = due.into_iter().map(|(digest, _)| digest).collect();
        debug!(of = %key, images, due = due.len(), whole = is_whole, "repository surveyed");
        let nothing_is_due = due.is_empty();
        let mut items: Vec<WorkItem> = rest.map(|rest| rest.item(self.sweep, key)).into_iter().collect();
        let known = Known { indexes_read_at, seen };
        let now = self.at_once(key, due, known, &mut items);
        self.send(&items, NOT_HIDDEN, looks).await?;
        if !nothing_is_due && !part.again {
            let second = Part {
                again: true,
                ..Part::default()
            };
            self.send(&[second.item(self.sweep, key)], SECOND_LOOK, looks).await?;
        }
        // Images that are due change copies and figures; these are read when those have been reconciled.
        if is_whole
            && (nothing_is_due || part.again)
            && !self.look_at_copies(&expected, figures, is_gone, &part, looks).await?
        {
            return Ok(Vec::new());
        }
        Ok(now)
    }

    /// The images that are reconciled at once; more of them go to other workers.
    fn at_once(
        &self,
        key: &RepositoryKey,
        due: Vec<Digest>,
        known: Known,
        items: &mut Vec<WorkItem>,
    ) -> Vec<ImageLook> {
        let Known {
            indexes_read_at,
            mut seen,
        } = known;
        // Most of them have not changed, and few calls find that out.
        let are_turns = due.len() <= TURNS_AT_ONCE && due.iter().all(|digest| seen.contains_key(digest));
        if due.len() > LOOKED_AT_ONCE && !are_turns {
            items.extend(due.chunks(MAX_IMAGES).map(|digests| {
                self.sweep.item(Work::Images {
                    repository: key.repository.clone(),
                    digests: digests.to_vec(),
                    indexes_read: indexes_read_at.is_some(),
                    indexes_read_at,
                })
            }));
            return Vec::new();
        }
        let look = |digest: Digest| ImageLook {
            seen: seen.remove(&digest).map(Box::new),
            ..ImageLook::found(digest, indexes_read_at)
        };
        due.into_iter().map(look).collect()
    }

    /// Reconciles copies, and keeps the figures of the repository. The result says whether there was time for all of it.
    async fn look_at_copies(
        &self,
        expected: &Expected<'_>,
        figures: SummaryBuilder<'_>,
        is_gone: bool,
        part: &Part,
        looks: &mut Looks,
    ) -> Result<bool, SweepError> {
        let Self {
            services,
            policy,
            sweep,
            actor,
        } = *self;
        let key = &expected.key;
        let rest = || {
            let rest = Part {
                again: part.again,
                copies: true,
                ..Part::default()
            };
            rest.item(sweep, key)
        };
        if services.clock().now() >= sweep.until {
            self.send(&[rest()], NOT_HIDDEN, looks).await?;
            return Ok(false);
        }
        let look = CopyLook {
            turns: sweep.turns(),
            until: sweep.until,
            is_rest: part.copies,
        };
        let mut outcome = reconcile_replication(services, policy, expected, look, actor).await;
        looks.count_copies(&outcome);
        // The next sweep reconciles them again; this item has done its part.
        looks.handed_on.extend(outcome.errors.drain(..).map(SweepError::from));
        if outcome.is_cut {
            self.send(&[rest()], NOT_HIDDEN, looks).await?;
            return Ok(false);
        }
        self.write_summary(key, figures, is_gone, &outcome).await?;
        Ok(true)
    }

    async fn write_summary(
        &self,
        key: &RepositoryKey,
        mut figures: SummaryBuilder<'_>,
        is_gone: bool,
        copies: &ReplicationOutcome,
    ) -> Result<(), SweepError> {
        let failed = |source| SweepError::port(format!("keep the figures of `{key}`"), source);
        let (row, old) = join(
            self.services.ledger().repository_row(key),
            self.services.ledger().summary(key),
        )
        .await;
        if let Some(row) = row.map_err(failed)? {
            figures.repository(&row);
        }
        figures.copies(&copies.readiness, copies.all_seen);
        let old = old.map_err(failed)?;
        if is_gone && old.is_none() {
            // Somebody has asked for a repository that there never was.
            return Ok(());
        }
        let new = figures.finish(old.as_ref());
        if differs(old.as_ref(), &new) {
            // Who wrote it in between has counted the same images at the same time.
            self.services.ledger().write_summary(&new).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Reads all rows; whether the time was enough for that.
    async fn read_rows(&self, key: &RepositoryKey, reading: &mut Reading<'_>) -> Result<bool, SweepError> {
        let failed = |source| SweepError::port(format!("read the ledger's rows of `{key}`"), source);
        let mut after = None;
        loop {
            let page = self
                .services
                .ledger()
                .rows(key, after.as_deref())
                .await
                .map_err(failed)?;
            page.items.iter().for_each(|row| reading.row(key, row));
            reading.figures.unreadable_rows(page.unreadable.len());
            reading.unreadable.extend(page.unreadable.into_iter().map(failed));
            if page.next.is_none() || self.services.clock().now() >= self.sweep.until {
                return Ok(page.next.is_none());
            }
            after = page.next;
        }
    }

    /// Reads the uses of the images by workloads, where one defers a block. A use that cannot be read, or for which there is no
    /// time, shows at the periodic reconcile of the image.
    async fn read_uses(&self, key: &RepositoryKey, reading: &mut Reading<'_>) -> Result<(), SweepError> {
        let holds = self.policy.block(&key.repository).when_in_use == WhenInUse::Hold;
        let Some(rules) = self.policy.workloads.as_ref().filter(|_| holds) else {
            return Ok(());
        };
        let failed = |source| SweepError::port(format!("read who uses the images of `{key}`"), source);
        let mut after = None;
        loop {
            let page = self
                .services
                .ledger()
                .uses_in(key, after.as_deref())
                .await
                .map_err(failed)?;
            page.items.iter().for_each(|row| reading.survey.remember_use(row));
            reading.unreadable.extend(page.unreadable.into_iter().map(failed));
            if page.next.is_none() || self.services.clock().now() >= self.sweep.until {
                break;
            }
            after = page.next;
        }
        if reading.survey.waits_for_uses() {
            let state = self.services.ledger().index_state(&key.account, &key.region).await;
            let state = state.map_err(failed)?;
            if unknown(rules, key, state.as_ref(), self.services.clock().now()).is_none() {
                reading.survey.uses_are_known();
            }
        }
        Ok(())
    }

    /// Reads the list until it or the time is over; where the rest begins.
    async fn read_list(
        &self,
        key: &RepositoryKey,
        mut after: Option<String>,
        reading: &mut Reading<'_>,
    ) -> Result<Option<String>, SweepError> {
        let failed = |source| SweepError::port(format!("list the images of `{key}`"), source);
        loop {
            let page = self
                .services
                .registry()
                .images(key, after.as_deref())
                .await
                .map_err(failed)?;
            // A repository that is gone has no images.
            let Some(page) = page else {
                reading.is_gone = true;
                return Ok(None);
            };
            page.items.iter().for_each(|image| reading.image(image));
            reading.in_part |= !page.unreadable.is_empty();
            reading.unreadable.extend(page.unreadable.into_iter().map(failed));
            if page.next.is_none() || self.services.clock().now() >= self.sweep.until {
                return Ok(page.next);
            }
            after = page.next;
        }
    }
}
