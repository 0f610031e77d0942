//! The jobs of the messages of a batch, each once.

use std::collections::BTreeMap;

use aws_lambda_events::sqs::{SqsEvent, SqsMessage};
use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;

use crate::{entry::Selection, error::HandlerError};
use guard_core::{
    finding::Epss,
    ids::{Digest, ImageRef, RegistryKey, RepositoryKey},
    text,
    work::{Work, WorkItem},
};
use guard_engine::{reconcile::image::Hints, sweep::ImageLook};
use guard_events::Event;

/// Something to do, and the messages that asked for it.
pub(super) struct Job {
    pub(super) messages: Vec<String>,
    pub(super) task: Task,
    /// The sweep that it is of, and whose turns are due in it; an event has none.
    pub(super) of: Option<PartOfSweep>,
    /// The number of invocations before this one.
    pub(super) hops: u32,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct PartOfSweep {
    pub(super) began: Timestamp,
    pub(super) since: Option<Timestamp>,
}

impl PartOfSweep {
    fn of(item: &WorkItem) -> Self {
        Self {
            began: item.sweep,
            since: item.since,
        }
    }

    /// The last sweep before it. Where that is not known, the turns of its own hour are due.
    fn before(self) -> Option<Timestamp> {
        let hour = SignedDuration::from_hours(1);
        self.since.or_else(|| self.began.checked_sub(hour).ok())
    }

    /// Both in one: the turns of all hours of both.
    fn and(self, other: Self) -> Self {
        Self {
            began: self.began.max(other.began),
            since: self.before().min(other.before()),
        }
    }
}

#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each event or message, and it is moved once"
)]
pub(super) enum Task {
    Work(Work),
    Look { key: RepositoryKey, image: ImageLook },
}

impl Task {
    /// Takes a further item into itself, if it asks for the same.
    fn merge(&mut self, other: &Work) -> bool {
        let Self::Work(work) = self else { return false };
        if let (
            Work::Repository {
                repository,
                after,
                again,
                copies,
                listed,
                waited,
            },
            Work::Repository {
                repository: other_repository,
                after: other_after,
                again: other_again,
                copies: other_copies,
                listed: other_listed,
                waited: other_waited,
            },
        ) = (&mut *work, other)
        {
            let same = (&*repository, &*after, *again, *copies, *waited)
                == (
                    other_repository,
                    other_after,
                    *other_again,
                    *other_copies,
                    *other_waited,
                );
            if same && listed != other_listed {
                // The settings were known at different times: they are read.
                *listed = None;
            }
            return same;
        }
        work == other
    }
}

/// The messages of a batch that were read.
#[derive(Default)]
pub(super) struct Jobs {
    work: Vec<Job>,
    looks: BTreeMap<(RepositoryKey, Digest), Found>,
    /// The messages that cannot be understood, and why.
    pub(super) unusable: Vec<(String, HandlerError)>,
    /// How many messages are not for this registry.
    pub(super) ignored: u64,
    /// How often the message was delivered that was delivered most; `None`: SQS does not say.
    pub(super) receives: Option<u32>,
}

impl Jobs {
    /// Reads a batch.
    pub(super) fn read(select: impl Fn(&Event) -> Selection, registry: &RegistryKey, batch: SqsEvent) -> Self {
        let mut jobs = Self::default();
        for message in batch.records {
            jobs.add(&select, registry, message);
        }
        jobs
    }

    fn add(&mut self, select: impl Fn(&Event) -> Selection, registry: &RegistryKey, message: SqsMessage) {
        // An answer with an empty identifier fails the whole batch (developer guide of Lambda, "Implementing partial batch responses"): that
        // is what becomes of a message that cannot be named, and does not happen.
        let id = message.message_id.unwrap_or_default();
        let receives = message.attributes.get("ApproximateReceiveCount");
        self.receives = self
            .receives
            .max(receives.and_then(|number| number.parse::<u32>().ok()));
        match read(message.body.as_deref(), registry, select) {
            Ok(Asked::Work(WorkItem {
                work: Work::Findings { repository, images },
                hops,
                ..
            })) => {
                for image in images.into_iter().map(ImageLook::from) {
                    let key = RepositoryKey {
                        account: registry.account.clone(),
                        region: registry.region.clone(),
                        repository: repository.clone(),
                    };
                    self.look(key, image, id.clone(), hops);
                }
            }
            Ok(Asked::Work(item)) => self.work(item, id),
            Ok(Asked::Look(key, image)) => self.look(key, *image, id, 0),
            Ok(Asked::Nothing) => self.ignored += 1,
            Err(error) => {
                let text = format!("message {}: {error}", text::line(&id, 100));
                self.unusable.push((id, HandlerError::Unusable(text)));
            }
        }
    }

    fn look(&mut self, key: RepositoryKey, image: ImageLook, message: String, hops: u32) {
        let found = self.looks.entry((key, image.digest)).or_default();
        found.messages.push(message);
        found.hops = found.hops.max(hops);
        merge(&mut found.hints, image.hints);
    }

    fn work(&mut self, item: WorkItem, message: String) {
        let part = PartOfSweep::of(&item);
        let same = self.work.iter_mut().position(|job| job.task.merge(&item.work));
        match same.and_then(|same| self.work.get_mut(same)) {
            Some(job) => {
                job.messages.push(message);
                job.of = job.of.map(|of| of.and(part));
                job.hops = job.hops.max(item.hops);
            }
            None => self.work.push(Job {
                messages: vec![message],
                of: Some(part),
                hops: item.hops,
                task: Task::Work(item.work),
            }),
        }
    }

    /// The jobs: images of events first.
    pub(super) fn into_list(self) -> Vec<Job> {
        let looks = self.looks.into_iter().map(|((key, digest), found)| Job {
            messages: found.messages,
            of: None,
            hops: found.hops,
            task: Task::Look {
                key,
                image: ImageLook {
                    digest,
                    hints: found.hints,
                    indexes_read_at: None,
                    seen: None,
                },
            },
        });
        looks.chain(self.work).collect()
    }
}

/// The facts of several messages about one image.
#[derive(Default)]
struct Found {
    messages: Vec<String>,
    hints: Hints,
    hops: u32,
}

/// The request of a message.
enum Asked {
    Work(WorkItem),
    Look(RepositoryKey, Box<ImageLook>),
    Nothing,
}

fn read(
    body: Option<&str>,
    registry: &RegistryKey,
    select: impl Fn(&Event) -> Selection,
) -> Result<Asked, HandlerError> {
    #[derive(Deserialize)]
    struct Form {
        #[serde(default)]
        schema: Option<serde::de::IgnoredAny>,
    }
    let body = body.ok_or_else(|| HandlerError::Unusable("a message without a body".to_owned()))?;
    let is_item = serde_json::from_str::<Form>(body).is_ok_and(|form| form.schema.is_some());
    if is_item {
        let item = serde_json::from_str::<WorkItem>(body);
        let item = item
            .map_err(|error| HandlerError::Unusable(format!("a work item: {}", text::line(&error.to_string(), 300))))?;
        let ours = item.account == registry.account && item.region == registry.region;
        return Ok(if ours { Asked::Work(item) } else { Asked::Nothing });
    }
    let event = guard_events::parse(body)?;
    let (account, region) = event.registry();
    if (account, region) != (&registry.account, &registry.region) {
        return Ok(Asked::Nothing);
    }
    Ok(match select(&event) {
        Selection::Look {
            repository,
            image: ImageRef::Digest(digest),
            hints,
        } => {
            let key = RepositoryKey {
                account: account.clone(),
                region: region.clone(),
                repository,
            };
            let image = ImageLook {
                digest,
                hints,
                indexes_read_at: None,
                seen: None,
            };
            Asked::Look(key, Box::new(image))
        }
        // A tag may be another image's by now.
        Selection::Look {
            image: ImageRef::Tag(_),
            ..
        }
        | Selection::Ignore(_) => Asked::Nothing,
    })
}

/// The facts of several events about one image.
fn merge(known: &mut Hints, more: Hints) {
    for epss in more.epss {
        let same = |other: &&mut Epss| other.vulnerability == epss.vulnerability;
        match known.epss.iter_mut().find(same) {
            Some(other) => *other = epss,
            None => known.epss.push(epss),
        }
    }
    known.announced = more.announced.or(known.announced.take());
    known.arrival = more.arrival.or(known.arrival.take());
    known.found |= more.found;
}
