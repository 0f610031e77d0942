//! Gather facts, decide, act, record: the one path that every entry point takes.
//!
//! An event only says *look at this image*. What is done depends on what the registry, the scanner and the ledger say now, so that
//! lost, repeated, reordered and forged events do no harm.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use futures_util::future::{join, join3, join5, try_join_all};
use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};

use crate::{
    reconcile::{ReconcileError, Subject, replication::ReplicaOutcome, repository::RepositoryOutcome},
    route::topic,
    tag_removal::{Claims, REFERENCED, TagRemoval},
};
use guard_core::{
    alert::{brief::BriefAlert, budget::Slot, image::ImageAlert},
    calendar::hour_of,
    decide::{
        ChildFacts, Children, Effect, Facts, LeadingIndex, Leave, Limit, Plan, Question, Replaced, SourceImage,
        SourceRank, Step, decide, may_be_source, to_look_at, workloads_that_hold,
    },
    evaluate::{ExceptionUse, exception_use},
    finding::{Epss, Scan, ScanEvent, SeverityCounts},
    ids::{AccountId, Digest, ImageKey, ImageRef, Region, RepositoryKey, RepositoryName, Tag},
    image::{Arrival, Child, Image, ImageStatus, Listed, children, content},
    ledger::{Block, Counter, MAX_INDEXES, Row},
    notice::AlertKind,
    policy::{BlockMethod, Policy},
    predecessor::{Predecessor, replaced_by},
    registry::access::RefusedAccess,
    replication::is_destination,
    repository::access::{LambdaAccess, lambda_may_pull},
    state::State,
    told::ToldFindings,
    uses::{Uses, WorkloadRules},
};
use guard_ports::{
    Clock, Ledger as _, Notifier as _, PortError, Pulled, Registry as _, RegistryWriter as _, Retry, Scanner as _,
    Services, UseLedger as _, Written,
};

/// An image to look at, and what is known of why.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// The registry.
    pub account: AccountId,
    /// The region.
    pub region: Region,
    /// The repository.
    pub repository: RepositoryName,
    /// The image; a tag is resolved once.
    pub image: ImageRef,
    /// What an event said beside.
    pub hints: Hints,
    /// The invocation, by an id that a retry of the same event keeps.
    pub actor: String,
}

impl Request {
    /// The repository that the image is in.
    pub fn repository_key(&self) -> RepositoryKey {
        RepositoryKey {
            account: self.account.clone(),
            region: self.region.clone(),
            repository: self.repository.clone(),
        }
    }
}

/// What an event says beside naming an image. Nothing is decided on it that the registry or the scanner could contradict: it tells
/// what to ask for, what to wait for, and how to put it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Hints {
    /// It was pushed or restored: if nothing scans it by itself, a scan is asked for.
    pub arrival: Option<Arrival>,
    /// A scan result was announced. That there is one is believed, and how many findings it counts; not what they are.
    pub announced: Option<ScanEvent>,
    /// How likely some of its vulnerabilities are exploited. That is believed, because nobody else says it; it only matters for
    /// what the scanner finds, or the ledger remembers, in the image.
    pub epss: Vec<Epss>,
    /// It was copied from this region.
    pub source: Option<Region>,
    /// Not long ago, a sweep has read the list of the repository, and all its indexes were known with all that they lead to.
    pub indexes_read: bool,
    /// The scanner has refused to say anything of this region's images: it is not asked.
    pub refused: Option<PortError>,
    /// No event led here: a sweep found it. If nothing scans it by itself, a scan is asked for, as after a push.
    pub found: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// In one word.
    pub outcome: OutcomeKind,
    /// The repository.
    pub repository: RepositoryName,
    /// The image, once it is resolved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The image's state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Why it is in that state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was changed in the registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<&'static str>,
    /// It is one of the blocks that the policy limits by the hour.
    #[serde(skip_serializing_if = "is_false")]
    pub counted: bool,
    /// The kind of the alert that was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert: Option<AlertKind>,
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert_id: Option<String>,
    /// All findings by severity.
    #[serde(skip_serializing_if = "SeverityCounts::is_empty")]
    pub counts: SeverityCounts,
    /// Exceptions of the policy that cover findings of its finished scan.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exceptions_used: Vec<String>,
    /// Exceptions that hold for the image, and cover none of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exceptions_unused: Vec<String>,
    /// Why its manifest could not be read, which is needed to tell what is no image, and what an index leads to. It was judged
    /// all the same, as an image or as an index of which nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_read: Option<String>,
    /// Why it could not be read which findings people were told of. The alert was told as if they had been told of none.
    #[serde(serialize_with = "as_text", skip_serializing_if = "Option::is_none")]
    pub told_not_read: Option<PortError>,
    /// The permission that was lacking to undo a block: the image stays blocked, or keeps our tag, and the reason says so.
    #[serde(skip)]
    pub lacks: Option<PortError>,
    /// What came of the images that share its fate and changed with it: the indexes that lead to it, the images that it leads to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Self>,
    /// What came of looking at the repository, where that is done and there is something to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository_rules: Option<Box<RepositoryOutcome>>,
    /// What came of looking at it as a copy from another region, where that is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica: Option<Box<ReplicaOutcome>>,
}

/// What could not be read, and did not keep an image from being judged.
#[derive(Debug, Default)]
struct NotRead {
    /// Its manifest.
    manifest: Option<PortError>,
    /// What people were told of.
    told: Option<PortError>,
}

/// What came of it, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeKind {
    /// Something was recorded, done or told.
    Applied,
    /// Everything was as it should be.
    Unchanged,
    /// Another invocation is doing this very thing.
    InProgress,
    /// There is no such image.
    NoSuchImage,
    /// The row of a deleted image was closed.
    Closed,
    /// No container image: an attestation, a Helm chart, a cache, or an index of such.
    NotAnImage,
    /// Archived by somebody else before it was judged.
    ArchivedByOthers,
}

/// At most so many pages of a thousand images are looked at for the predecessor of an image, and for indexes that may lead to it. In a
/// larger repository the predecessor may not be found, and then excuses nothing; and for the indexes the next sweep looks.
const MAX_PAGES_OF_IMAGES: usize = 20;

/// An event spends so much time on such pages, for all of its images together: then no further one is asked for. The function has 30 seconds. A
/// predecessor that was not found excuses nothing, and indexes that were not read may lead to the image.
const TIME_FOR_PAGES: SignedDuration = SignedDuration::from_secs(8);

/// What of [`TIME_FOR_PAGES`] was spent, in milliseconds.
#[derive(Debug, Default)]
struct Spent(AtomicI64);

impl Spent {
    fn is_all(&self) -> bool {
        i128::from(self.0.load(Ordering::Relaxed)) > TIME_FOR_PAGES.as_millis()
    }

    /// Spends what a call takes.
    async fn on<T>(&self, clock: &impl Clock, call: impl Future<Output = T>) -> T {
        let began = clock.now();
        let answer = call.await;
        let took = clock.now().duration_since(began).as_millis();
        self.0
            .fetch_add(i64::try_from(took).unwrap_or(i64::MAX), Ordering::Relaxed);
        answer
    }
}

/// The manifests of at most so many indexes are read for an image, if nobody has looked at them yet.
const MAX_UNREAD_INDEXES: usize = 10;

/// How often, and after how much time, an index is looked at anew that another invocation is at work on. A step takes about a second.
const MAX_TURNS: usize = 5;
const TURN: Duration = Duration::from_millis(1500);

/// At most so many images of an index are asked for at the same time.
pub(crate) const AT_ONCE: usize = 50;

/// How often a request starts over because somebody else wrote the row in between.
const MAX_ATTEMPTS: usize = 3;

/// Brings one image to the state that the policy gives it.
///
/// # Errors
/// A call failed, the registry did not do what it said, or others are at work on the same image.
pub async fn reconcile(
    services: &impl Services,
    policy: &Policy,
    request: &Request,
) -> Result<Outcome, ReconcileError> {
    let digest = match &request.image {
        ImageRef::Digest(digest) => digest.clone(),
        ImageRef::Tag(_) => {
            let found = services.registry().image(&request.repository, &request.image).await;
            let found = found.map_err(|source| {
                let named = Subject::Image(format!("{}{}", request.repository, request.image));
                ReconcileError::port("find", named, source)
            })?;
            match found {
                Some(image) => image.digest,
                None => return Ok(outcome(OutcomeKind::NoSuchImage, &request.repository, None)),
            }
        }
    };
    let key = ImageKey {
        account: request.account.clone(),
        region: request.region.clone(),
        repository: request.repository.clone(),
        digest,
    };
    let run = Run {
        services,
        policy,
        key,
        hints: request.hints.clone(),
        actor: &request.actor,
        spent: &Spent::default(),
        index: None,
    };
    run.with_family().await
}

/// An image that was looked at.
struct Looked {
    outcome: Outcome,
    /// What the ledger has of it now.
    row: Option<Row>,
    /// Of an index: the images that it leads to, as they were before.
    children: Vec<ChildFacts>,
    /// The indexes that lead to it, as they were before.
    indexes: Vec<LeadingIndex>,
}

impl Looked {
    /// Whether something was recorded, done or told.
    fn is_news(&self) -> bool {
        self.outcome.outcome == OutcomeKind::Applied
    }

    /// Whether others that share its fate may have to follow. What could not be undone for want of a permission changes nothing.
    fn changed(&self) -> bool {
        self.is_news() && self.outcome.lacks.is_none()
    }
}

struct Run<'a, S> {
    services: &'a S,
    policy: &'a Policy,
    key: ImageKey,
    hints: Hints,
    actor: &'a str,
    /// The time that went into lists of images, for all images of this event.
    spent: &'a Spent,
    /// The index that it is looked at for, and the tags that this has.
    index: Option<(Digest, Vec<Tag>)>,
}

/// What came of a step.
enum Applied {
    /// It is done, and recorded in this row; whether its alert was sent; and why our own tag could not be removed, which is all that is left.
    Done(Box<Row>, bool, Option<PortError>),
    /// Somebody else wrote the row; nothing was done.
    Conflict,
    /// The row was written, and the registry refused the effect for good.
    Refused(PortError),
    /// The row was written, and it would have been one block too many in this hour.
    Limited(Limit),
    /// The row was written, and workloads use the image by now.
    Used(Uses),
}

impl<S: Services> Run<'_, S> {
    /// Looks at the image, and at what shares its fate.
    async fn with_family(&self) -> Result<Outcome, ReconcileError> {
        let Looked {
            mut outcome,
            row,
            children,
            indexes,
        } = self.one().await?;
        if let Some(row) = row {
            self.reach(row, children, &indexes, &mut outcome.also).await?;
        }
        Ok(outcome)
    }

    /// Looks at the indexes that lead to the image, however far up; then at the images that it leads to. Of many indexes, the sweep looks
    /// at the rest.
    async fn reach(
        &self,
        row: Row,
        children: Vec<ChildFacts>,
        indexes: &[LeadingIndex],
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), ReconcileError> {
        for index in to_look_at(&row, indexes) {
            let run = self.of(&index.digest, None);
            let looked = run.in_turn().await?;
            if looked.is_news() {
                outcomes.push(looked.outcome);
            }
            if let Some(row) = looked.row {
                // Boxed, because an index may lead to an index.
                Box::pin(run.reach(row, looked.children, &looked.indexes, outcomes)).await?;
            }
        }
        self.settle(row, children, outcomes).await
    }

    /// Brings the images that an index leads to into accord with it, and then the index with them.
    async fn settle(
        &self,
        mut row: Row,
        mut children: Vec<ChildFacts>,
        outcomes: &mut Vec<Outcome>,
    ) -> Result<(), ReconcileError> {
        for _ in 0..MAX_ATTEMPTS {
            let mut changed = false;
            for child in children.iter().filter(|child| !child.is_in_accord(&row)) {
                let run = self.of(&child.child.digest, None);
                let looked = run.one().await?;
                if looked.is_news() {
                    changed |= looked.changed();
                    outcomes.push(looked.outcome);
                    if let Some(row) = looked.row {
                        Box::pin(run.settle(row, looked.children, outcomes)).await?;
                    }
                }
            }
            if !changed {
                break;
            }
            // An index follows from what its images are now. That this look is made is held by the table of calls (docs/call-budget.md).
            let looked = self.one().await?;
            if looked.is_news() {
                outcomes.push(looked.outcome);
            }
            let Some(now) = looked.row else { break };
            (row, children) = (now, looked.children);
        }
        Ok(())
    }

    /// The same for another image of the repository; `index`: because this index leads to it.
    fn of(&self, digest: &Digest, index: Option<(Digest, Vec<Tag>)>) -> Self {
        let arrival = self.hints.arrival.clone().filter(|_| index.is_some());
        Self {
            services: self.services,
            policy: self.policy,
            key: ImageKey {
                digest: digest.clone(),
                ..self.key.clone()
            },
            hints: Hints {
                arrival,
                refused: self.hints.refused.clone(),
                found: self.hints.found && index.is_some(),
                indexes_read: self.hints.indexes_read,
                source: self.hints.source.clone().filter(|_| index.is_some()),
                ..Hints::default()
            },
            actor: self.actor,
            spent: self.spent,
            index,
        }
    }

    /// Looks at an index that leads to an image, when others have done so: images of one index are often scanned in the same second.
    async fn in_turn(&self) -> Result<Looked, ReconcileError> {
        for _ in 0..MAX_TURNS {
            match self.one().await {
                Err(ReconcileError::Busy(_) | ReconcileError::Contended(_)) => self.services.clock().pause(TURN).await,
                looked => return looked,
            }
        }
        self.one().await
    }

    /// Looks at this one image.
    async fn one(&self) -> Result<Looked, ReconcileError> {
        for _ in 0..MAX_ATTEMPTS {
            if let Some(looked) = self.attempt().await? {
                return Ok(looked);
            }
        }
        Err(ReconcileError::Contended((&self.key).into()))
    }

    /// One attempt; `None`: somebody else wrote the row in between.
    async fn attempt(&self) -> Result<Option<Looked>, ReconcileError> {
        let (facts, pulled, refused) = self.gather().await?;
        self.resume(facts.row.as_ref()).await?;
        let ExceptionUse { used, unused } = self.exception_use(&facts);
        let mut not_read = NotRead::default();
        let looked = self.act(facts, pulled, &mut not_read).await?;
        if let (Some(source), Some(_)) = (refused, &looked) {
            // It has a record now, and what was known before still holds.
            return Err(self.failed("look at", source));
        }
        Ok(looked.map(|looked| Looked {
            outcome: Outcome {
                not_read: not_read.manifest.map(|source| source.to_string()),
                told_not_read: not_read.told,
                exceptions_used: used,
                exceptions_unused: unused,
                ..looked.outcome
            },
            ..looked
        }))
    }

    /// Looks into what became of the tags that a quarantine was taking, if whoever began it did not live to see it.
    async fn resume(&self, row: Option<&Row>) -> Result<(), ReconcileError> {
        let block = row
            .filter(|row| row.closed_at.is_none())
            .and_then(|row| row.block.as_ref());
        let begun = block.filter(|block| !block.confirmed && block.method == BlockMethod::QuarantineTag);
        let (Some(block), Some(writer)) = (begun, self.writer()) else {
            return Ok(());
        };
        let removal = self.removal(writer);
        let key = RepositoryKey::of(&self.key);
        let looked = Box::pin(removal.look_into_all(&key, &block.tags)).await;
        looked.map_err(|source| self.failed("look into the tags of", source))
    }

    /// Which exceptions are of use for the image, so that an owner can find those that are not. Without a finished scan nobody can
    /// tell.
    fn exception_use(&self, facts: &Facts) -> ExceptionUse {
        match (&facts.image, &facts.scan) {
            (Some(image), Scan::Complete(scan)) if scan.has_result => {
                let now = self.services.clock().now();
                exception_use(self.policy, &facts.names(image), scan, now)
            }
            _ => ExceptionUse::default(),
        }
    }

    /// The manifest; `None` if there is none to be had, and if the registry refuses it for good.
    async fn manifest(&self, not_read: &mut NotRead) -> Result<Option<String>, ReconcileError> {
        match self.services.registry().manifest(&self.key).await {
            Ok(manifest) => Ok(manifest),
            Err(source) if source.retry == Retry::Later => Err(self.failed("look into", source)),
            Err(source) => {
                not_read.manifest = Some(source);
                Ok(None)
            }
        }
    }

    /// Decides on the facts, and carries the plan out.
    async fn act(
        &self,
        mut facts: Facts,
        pulled: Option<Pulled>,
        not_read: &mut NotRead,
    ) -> Result<Option<Looked>, ReconcileError> {
        if facts.needs_manifest(self.policy) {
            // What cannot be looked into is judged as an image.
            facts.content = self.manifest(not_read).await?.map(|manifest| content(&manifest));
        }
        let mut plan = decide(self.policy, &facts, self.services.clock().now());
        let mut refused = None;
        loop {
            let step = match plan {
                Plan::Apply(mut step) => {
                    if not_read.told.is_some() {
                        // What cannot be read is not written over either.
                        step.told = None;
                    }
                    step
                }
                Plan::Leave(leave) => {
                    let outcome = self.left(leave, facts.row.as_ref())?;
                    let children = facts.children().to_vec();
                    return Ok(Some(Looked {
                        outcome,
                        row: facts.row,
                        children,
                        indexes: facts.indexes,
                    }));
                }
                Plan::Ask(question) => {
                    self.ask(question, &mut facts, pulled.as_ref(), not_read).await?;
                    plan = decide(self.policy, &facts, self.services.clock().now());
                    continue;
                }
            };
            match self.apply(&step, &facts).await? {
                Applied::Conflict => return Ok(None),
                Applied::Done(..) if step.awaits_result => {
                    return Err(ReconcileError::ResultNotVisible(self.key.to_string()));
                }
                Applied::Done(row, told, mark_stays) => {
                    // Of an image that indexes lead to, the registry may refuse it: the indexes are what people pull.
                    let released = facts.release_failure.is_some();
                    let denied = refused.take_if(|error: &mut PortError| released && error.is_denied());
                    return match refused
                        .filter(|error: &PortError| released || !facts.is_led_to() && error.code != REFERENCED)
                    {
                        Some(source) if released => Err(ReconcileError::ReleaseRefused {
                            image: self.key.to_string(),
                            source: Box::new(source),
                        }),
                        Some(source) => Err(ReconcileError::BlockRefused {
                            image: self.key.to_string(),
                            source: Box::new(source),
                        }),
                        None => Ok(Some(Looked {
                            outcome: Outcome {
                                lacks: denied.or(mark_stays),
                                ..self.applied(&step, told)
                            },
                            row: Some(*row),
                            children: facts.children().to_vec(),
                            indexes: facts.indexes,
                        })),
                    };
                }
                Applied::Refused(error) if refused.is_some() => return Err(self.failed("change", error)),
                Applied::Refused(error) => {
                    let failure = Some(error.to_string());
                    if step.effect.as_ref().is_some_and(Effect::blocks) {
                        facts.block_failure = failure;
                    } else {
                        facts.release_failure = failure;
                    }
                    facts.row = Some(match facts.row {
                        Some(row) => before_refusal(row, &step.row),
                        None => step.row,
                    });
                    refused = Some(error);
                    plan = decide(self.policy, &facts, self.services.clock().now());
                }
                Applied::Limited(limit) => {
                    facts.row = Some(unclaimed(facts.row, step.row));
                    facts.limit = Some(limit);
                    plan = decide(self.policy, &facts, self.services.clock().now());
                }
                Applied::Used(uses) => {
                    facts.row = Some(unclaimed(facts.row, step.row));
                    facts.uses = Some(uses);
                    plan = decide(self.policy, &facts, self.services.clock().now());
                }
            }
        }
    }

    /// Asks what must be known before anything can be decided, and puts the answer to the facts.
    async fn ask(
        &self,
        question: Question,
        facts: &mut Facts,
        pulled: Option<&Pulled>,
        not_read: &mut NotRead,
    ) -> Result<(), ReconcileError> {
        match question {
            Question::Scan => {
                let Some(writer) = self.writer() else {
                    // `decide` asks for no scan in report mode; if it ever did, this is where it ends.
                    return Err(self.not_verified("nothing can be changed in report mode"));
                };
                let answer = writer.start_scan(&self.key).await;
                facts.scan_start = Some(answer.map_err(|source| self.failed("start a scan of", source))?);
            }
            Question::Again => {
                let by_digest = ImageRef::Digest(self.key.digest.clone());
                let image = self.services.registry().image(&self.key.repository, &by_digest).await;
                facts.image = image.map_err(|source| self.failed("look again at", source))?;
                facts.looked_again = true;
            }
            // What will be asked next is independent of it, and does not cost another round trip.
            Question::Replaced if facts.uses.is_none() && workloads_that_hold(self.policy, &self.key).is_some() => {
                let (replaced, uses) = join(self.replaced(facts, pulled), self.uses(facts)).await;
                (facts.replaced, facts.uses) = (replaced?, Some(uses?));
            }
            Question::Replaced => facts.replaced = self.replaced(facts, pulled).await?,
            Question::Uses => facts.uses = Some(self.uses(facts).await?),
            Question::Lambda => facts.lambda = Some(self.lambda_access().await?),
            Question::Children => {
                (facts.children, facts.more_children) = self.children(facts, not_read).await?;
                // It is asked of these as well.
                facts.uses = None;
            }
            Question::ChildrenPulled => facts.children_pulled = Some(self.children_pulled(facts).await?),
            Question::Indexes => {
                let (known, more) = self.indexes_known(facts).await?;
                // What is not on the list, and has no row, is gone.
                facts.indexes_known = Some(known);
                facts.indexes.retain(|index| {
                    let is_among = more.iter().any(|other| other.digest == index.digest);
                    !is_among && (index.row.is_some() || index.is_open() || !known)
                });
                facts.indexes.extend(more);
                // It is asked of these as well.
                facts.uses = None;
            }
            Question::Told => {
                let repository = RepositoryKey::of(&self.key);
                facts.told = Some(match self.services.ledger().told(&repository).await {
                    Ok(told) => told,
                    // One alert too many is better than one too few.
                    Err(source) if source.is_unreadable_row() => {
                        not_read.told = Some(source);
                        ToldFindings::none(repository)
                    }
                    Err(source) => return Err(self.failed("look up what was told of", source)),
                });
            }
        }
        Ok(())
    }

    /// The images that this index leads to, each with a row that knows of the index; and how many more entries it has. An image that
    /// has no such row yet is looked at first.
    async fn children(&self, facts: &Facts, not_read: &mut NotRead) -> Result<(Children, u64), ReconcileError> {
        let failed = |source| self.failed("look into", source);
        let known = facts.row.as_ref().filter(|row| !row.children.is_empty());
        let listed = match known {
            Some(row) => Some(Listed {
                children: row.children.clone(),
                more: row.more_children,
            }),
            None => {
                let manifest = self.manifest(not_read).await?;
                manifest.and_then(|manifest| children(&manifest))
            }
        };
        let Some(Listed { children: listed, more }) = listed else {
            return Ok((Children::Unknown, 0));
        };
        let mut tags = facts.image.as_ref().map(|image| image.tags.clone()).unwrap_or_default();
        tags.sort();
        // They are judged by the index's tags as well: an exception may name one.
        let judged_by_tags = facts
            .row
            .as_ref()
            .is_some_and(|row| row.closed_at.is_none() && row.tags == tags);
        let keys: Vec<ImageKey> = listed.iter().map(|child| self.of(&child.digest, None).key).collect();
        let rows = self.services.ledger().rows_of(&keys).await.map_err(failed)?;
        let mut children = Vec::new();
        for (child, mut row) in listed.into_iter().zip(rows) {
            let linked = row.as_ref().is_some_and(|row| {
                let knows = row.more_indexes || row.indexes.contains(&self.key.digest);
                row.closed_at.is_none() && knows
            });
            if !(linked && judged_by_tags) {
                let run = self.of(&child.digest, Some((self.key.digest.clone(), tags.clone())));
                // Boxed, because an index may lead to an index.
                row = Box::pin(run.one()).await?.row;
            }
            children.push(ChildFacts { child, row });
        }
        Ok((Children::Known(children), more))
    }

    /// When the images that this index leads to were last pulled.
    async fn children_pulled(&self, facts: &Facts) -> Result<Vec<Timestamp>, ReconcileError> {
        let children = facts
            .children()
            .iter()
            .map(|child| ImageRef::Digest(child.child.digest.clone()));
        let children: Vec<ImageRef> = children.collect();
        let registry = self.services.registry();
        let mut images = Vec::new();
        for some in children.chunks(AT_ONCE) {
            let found = try_join_all(some.iter().map(|child| registry.image(&self.key.repository, child)));
            images.extend(
                found
                    .await
                    .map_err(|source| self.failed("look at the images of", source))?,
            );
        }
        Ok(images
            .into_iter()
            .flatten()
            .filter_map(|image| image.last_pulled_at)
            .collect())
    }

    /// The indexes that lead to this image: those that its row names, and the one that it is looked at for.
    async fn indexes(&self, row: Option<&Row>) -> Result<Vec<LeadingIndex>, ReconcileError> {
        let mut digests: Vec<Digest> = row.map(|row| row.indexes.clone()).unwrap_or_default();
        if let Some((index, _)) = self.index.as_ref().filter(|(index, _)| !digests.contains(index)) {
            digests.push(index.clone());
        }
        let keys: Vec<ImageKey> = digests.iter().map(|digest| self.of(digest, None).key).collect();
        let rows = self.services.ledger().rows_of(&keys).await;
        let rows = rows.map_err(|source| self.failed("look at the indexes of", source))?;
        let looking = |digest: &Digest| {
            let index = self.index.as_ref().filter(|(index, _)| index == digest);
            index.map(|(_, tags)| tags.clone())
        };
        let indexes = digests.into_iter().zip(rows).map(|(digest, row)| LeadingIndex {
            looking: looking(&digest),
            digest,
            row,
        });
        Ok(indexes.collect())
    }

    /// Whether it is known of all indexes of the repository if they lead to this image; and those that do, of which it does not know. Of
    /// one that nobody has looked at yet, the manifest says it: then it is looked at with the image.
    async fn indexes_known(&self, facts: &Facts) -> Result<(bool, Vec<LeadingIndex>), ReconcileError> {
        let failed = |source| self.failed("look for more indexes of", source);
        let registry = self.services.registry();
        let Some(listed) = self.indexes_of_repository().await? else {
            return Ok((false, Vec::new()));
        };
        let is_known = |digest: &Digest| {
            facts
                .indexes
                .iter()
                .any(|index| index.digest == *digest && index.is_open())
        };
        let keys: Vec<ImageKey> = listed
            .iter()
            .filter(|digest| !is_known(digest))
            .map(|digest| self.of(digest, None).key)
            .collect();
        let rows = self.services.ledger().rows_of(&keys).await.map_err(failed)?;
        let leads = |children: &[Child]| children.iter().any(|child| child.digest == self.key.digest);
        let (mut more, mut unread) = (Vec::new(), Vec::new());
        for (key, row) in keys.into_iter().zip(rows) {
            match row.filter(Row::names_all_entries) {
                Some(row) if leads(&row.children) => more.push(LeadingIndex {
                    digest: key.digest,
                    row: Some(row),
                    looking: None,
                }),
                Some(_) => {}
                None => unread.push(key),
            }
        }
        let mut known = unread.len() <= MAX_UNREAD_INDEXES;
        for key in unread.into_iter().take(MAX_UNREAD_INDEXES) {
            let manifest = match registry.manifest(&key).await {
                Err(source) if source.retry == Retry::Later => return Err(failed(source)),
                manifest => manifest.ok().flatten(),
            };
            match manifest.and_then(|manifest| children(&manifest)) {
                Some(listed) if leads(&listed.children) => more.push(LeadingIndex {
                    digest: key.digest,
                    row: None,
                    looking: Some(Vec::new()),
                }),
                listed => known &= listed.is_some_and(|listed| listed.more == 0),
            }
        }
        Ok((known, more))
    }

    /// All indexes of the repository; `None`: they are too many, the time was over before the list was, or a part of it cannot be read.
    async fn indexes_of_repository(&self) -> Result<Option<Vec<Digest>>, ReconcileError> {
        let (mut listed, mut after) = (Vec::new(), None);
        for _ in 0..MAX_PAGES_OF_IMAGES {
            if self.spent.is_all() {
                return Ok(None);
            }
            let page = self.services.registry().indexes(&self.key.repository, after.as_deref());
            let page = self
                .spent
                .on(self.services.clock(), page)
                .await
                .map_err(|source| self.failed("look for more indexes of", source))?;
            listed.extend(page.items);
            if !page.unreadable.is_empty() || listed.len() > MAX_INDEXES {
                return Ok(None);
            }
            after = page.next;
            if after.is_none() {
                return Ok(Some(listed));
            }
        }
        Ok(None)
    }

    /// The image in another region that this one is a copy of: by what an event said, or by what its row remembers; and where copies
    /// arrive and no event led here, by the ledger.
    async fn source(&self, row: Option<&Row>, since: Option<Timestamp>) -> Result<Option<SourceImage>, ReconcileError> {
        let failed = |source| self.failed("look at the source of", source);
        let known = row.and_then(|row| Some(row.source.as_ref()?.region.clone()));
        let said = self.hints.source.clone().filter(|region| *region != self.key.region);
        if said.is_none() && known.is_none() {
            if !self.hints.found || !is_destination(self.policy, &self.key.repository, &self.key.region) {
                return Ok(None);
            }
            let rows = self.services.ledger().rows_elsewhere(&self.key).await.map_err(failed)?;
            let rows = rows.into_iter();
            let rows = rows.filter(|row| may_be_source(self.policy, row, &self.key.region, since));
            let row = rows.min_by_key(|row| SourceRank::of(self.policy, row));
            return Ok(row.map(|row| SourceImage {
                region: row.image.region.clone(),
                row: Some(row),
            }));
        }
        let mut source = None;
        for region in said.into_iter().chain(known) {
            let key = ImageKey {
                region: region.clone(),
                ..self.key.clone()
            };
            let row = self.services.ledger().row(&key).await.map_err(failed)?;
            let is_copy_of_this = row.as_ref().is_some_and(|row| {
                row.source
                    .as_ref()
                    .is_some_and(|source| source.region == self.key.region)
            });
            source = Some(SourceImage { region, row });
            if !is_copy_of_this {
                return Ok(source);
            }
        }
        // Each is a copy of the other: then none follows.
        Ok(source)
    }

    /// Which image this one replaces, and what that one's findings are.
    async fn replaced(&self, facts: &Facts, pulled: Option<&Pulled>) -> Result<Replaced, ReconcileError> {
        let failed = |source| self.failed("find the predecessor of", source);
        let since = self.in_use_since(facts.counts_use());
        let (registry, clock) = (self.services.registry(), self.services.clock());
        let mut pages = 1;
        let mut pulled = match pulled {
            Some(pulled) => pulled.clone(),
            None if self.spent.is_all() => return Ok(Replaced::Nothing),
            None => {
                let first = registry.pulled_since(&self.key.repository, since, None);
                self.spent.on(clock, first).await.map_err(failed)?
            }
        };
        while let Some(next) = pulled.next.take().filter(|_| pages < MAX_PAGES_OF_IMAGES) {
            if self.spent.is_all() {
                return Ok(Replaced::Nothing);
            }
            let more = registry.pulled_since(&self.key.repository, since, Some(&next));
            let more = self.spent.on(clock, more).await.map_err(failed)?;
            pulled.images.extend(more.images);
            pulled.next = more.next;
            pages += 1;
        }
        let pulled = pulled.images;
        let Some(image) = facts
            .image
            .as_ref()
            .and_then(|image| replaced_by(image, &pulled, since))
        else {
            return Ok(Replaced::Nothing);
        };
        let key = ImageKey {
            digest: image.digest.clone(),
            ..self.key.clone()
        };
        let (scan, row) = join(self.services.registry().scan(&key), self.services.ledger().row(&key)).await;
        let predecessor = Predecessor::new(image, &scan.map_err(failed)?, row.map_err(failed)?.as_ref());
        Ok(predecessor.map_or(Replaced::Nothing, Replaced::Image))
    }

    /// Which workloads use the image, or what is pulled with it: one round trip. What cannot be read is not known.
    async fn uses(&self, facts: &Facts) -> Result<Uses, ReconcileError> {
        match self.policy.workloads.as_ref() {
            Some(rules) => self.uses_of(rules, &facts.pulled_together()).await,
            None => Ok(Uses::Nobody),
        }
    }

    /// The same before anything is known of the image, if an event announces what blocks: that will lead to this question.
    async fn uses_ahead(&self) -> Option<Uses> {
        let announced = self.hints.announced.as_ref();
        let may_block = announced.is_some_and(|event| self.policy.may_block(&event.counts));
        let rules = workloads_that_hold(self.policy, &self.key).filter(|_| may_block)?;
        self.uses_of(rules, std::slice::from_ref(&self.key)).await.ok()
    }

    async fn uses_of(&self, rules: &WorkloadRules, images: &[ImageKey]) -> Result<Uses, ReconcileError> {
        let ledger = self.services.ledger();
        let (rows, state) = join(
            ledger.uses_of(images),
            ledger.index_state(&self.key.account, &self.key.region),
        )
        .await;
        match (rows, state) {
            (Ok(rows), Ok(state)) => {
                let now = self.services.clock().now();
                Ok(Uses::of(rules, images, &rows, state.as_ref(), now))
            }
            (Err(source), _) | (_, Err(source)) if source.retry == Retry::Never => {
                Ok(Uses::Unknown(refusal_of(&source)))
            }
            (Err(source), _) | (_, Err(source)) => Err(self.failed("look up who uses", source)),
        }
    }

    /// The workloads that came while an image was being blocked; `None`: none. It is looked up between claim and effect.
    async fn used_meanwhile(&self, effect: &Effect, facts: &Facts) -> Result<Option<Uses>, ReconcileError> {
        let Some(rules) = workloads_that_hold(self.policy, &self.key).filter(|_| effect.blocks()) else {
            return Ok(None);
        };
        let images = facts.pulled_together();
        let rows = self.services.ledger().uses_of(&images).await;
        let rows = rows.map_err(|source| self.failed("look up who uses", source))?;
        let uses = Uses::of(rules, &images, &rows, None, self.services.clock().now());
        Ok(Some(uses).filter(|uses| matches!(uses, Uses::By(_))))
    }

    /// Whether Lambda may pull. What cannot be told is no reason to block.
    async fn lambda_access(&self) -> Result<LambdaAccess, ReconcileError> {
        match self
            .services
            .registry()
            .repository_policy(&RepositoryKey::of(&self.key))
            .await
        {
            Ok(document) => Ok(lambda_may_pull(document.as_deref())),
            Err(source) if source.retry == Retry::Never => Ok(LambdaAccess::Unknown(refusal_of(&source))),
            Err(source) => Err(self.failed("look at the repository policy of", source)),
        }
    }

    /// What was pulled since then counts as in use. `counted`: the scanner counts the workloads that run it.
    fn in_use_since(&self, counted: bool) -> Timestamp {
        self.services.clock().now() - self.policy.block(&self.key.repository).in_use(counted)
    }

    /// All that is needed to decide, in one round of concurrent calls; and what that round has found of pulled images.
    /// Third, the scanner's refusal to say anything, if it refused.
    async fn gather(&self) -> Result<(Facts, Option<Pulled>, Option<PortError>), ReconcileError> {
        let by_digest = ImageRef::Digest(self.key.digest.clone());
        let trigger = async {
            if self.hints.arrival.is_some() || self.hints.found {
                self.services.registry().scan_trigger(&self.key.repository).await
            } else {
                Ok(None)
            }
        };
        // An event that announces what blocks will lead to the question which image this one replaces. In most repositories one
        // page answers it, and saves a round trip between the finding and the block.
        let announced = self.hints.announced.as_ref();
        let block_ahead = self.policy.block(&self.key.repository).not_worse_than_running
            && announced.is_some_and(|event| self.policy.may_block(&event.counts));
        let pulled = async {
            if block_ahead {
                let registry = self.services.registry();
                // By the longest time that a pull may count: what the scanner says is not known yet.
                let pulled = registry.pulled_since(&self.key.repository, self.in_use_since(false), None);
                pulled.await.map(Some)
            } else {
                Ok(None)
            }
        };
        let looks = join5(
            self.services.registry().image(&self.key.repository, &by_digest),
            self.scan(),
            self.services.ledger().row(&self.key),
            trigger,
            pulled,
        );
        let ((image, scan, row, trigger, pulled), uses) = join(looks, self.uses_ahead()).await;
        let failed = |source| self.failed("look at", source);
        let mut row = row.map_err(failed)?;
        let image = image.map_err(failed)?;
        if let Some(row) = row.as_mut().filter(|row| row.not_reached && image.is_some()) {
            // Nothing is remembered of it but that nobody could look at it: it is a new one.
            row.closed_at = row.closed_at.or(Some(row.since));
        }
        let (scan, refused) = match scan {
            Ok(scan) => (scan, None),
            Err(source) if source.retry == Retry::Never => (Scan::Refused(refusal_of(&source)), Some(source)),
            Err(source) => return Err(failed(source)),
        };
        let since = image.as_ref().and_then(Image::available_since);
        let (indexes, source) = join(self.indexes(row.as_ref()), self.source(row.as_ref(), since)).await;
        let facts = Facts {
            image,
            scan,
            // What is pulled together with other images is asked for with them.
            uses: uses.filter(|_| is_by_itself(row.as_ref()) && self.index.is_none()),
            indexes: indexes?,
            indexes_read: self.hints.indexes_read,
            // Of an image of more indexes than are remembered the sweep does not say which they are: that is asked.
            indexes_known: (self.hints.indexes_read && !row.as_ref().is_some_and(|row| row.more_indexes))
                .then_some(true),
            source: source?,
            row,
            trigger: trigger.map_err(failed)?,
            // An event of the future would be waited for.
            announced: self.hints.announced.clone().map(|event| ScanEvent {
                at: event.at.min(self.services.clock().now()),
                ..event
            }),
            arrival: self.hints.arrival.clone(),
            found: self.hints.found,
            epss: self.hints.epss.clone(),
            ..Facts::about(self.key.clone(), self.actor)
        };
        Ok((facts, pulled.map_err(failed)?, refused))
    }

    async fn scan(&self) -> Result<Scan, PortError> {
        match &self.hints.refused {
            Some(refused) => Err(refused.clone()),
            None => self.services.registry().scan(&self.key).await,
        }
    }

    async fn apply(&self, step: &Step, facts: &Facts) -> Result<Applied, ReconcileError> {
        let services = self.services;
        let record = |source| self.failed("record", source);
        let count = async {
            let limit = if step.counts_as_block {
                self.limit().await?
            } else {
                None
            };
            Ok(limit)
        };
        // It costs no round trip to know beforehand where and how the alert will be told: where is asked with the claim, and how with the
        // effect, or with the claim as well.
        let told_now = step.alert.as_ref().filter(|_| !step.is_release());
        let with_claim = async {
            let brief = match &step.alert {
                Some(alert) => Some(self.brief(alert).await),
                None => None,
            };
            let slot = match (&brief, told_now) {
                (Some(brief), Some(_)) if step.effect.is_none() => Some(self.slot(step, brief).await),
                _ => None,
            };
            (brief, slot)
        };
        let (written, limit, (brief, mut slot_of_alert)) =
            join3(services.ledger().write(&step.row), count, with_claim).await;
        if written.map_err(record)? == Written::Conflict {
            return Ok(Applied::Conflict);
        }
        if let Some(limit) = limit? {
            return Ok(Applied::Limited(limit));
        }
        if step.effect.is_none() && step.alert.is_none() {
            return Ok(Applied::Done(Box::new(step.row.clone()), false, None));
        }
        let mut mark_stays = None;
        if let Some(effect) = &step.effect {
            if let Some(uses) = self.used_meanwhile(effect, facts).await? {
                return Ok(Applied::Used(uses));
            }
            // Not before the claim holds and the limit has room: a slot that nobody uses is lost.
            let slot = async {
                match (&brief, told_now) {
                    (Some(brief), Some(_)) => Some(self.slot(step, brief).await),
                    _ => None,
                }
            };
            let (done, asked) = join(self.bring_about(effect), slot).await;
            slot_of_alert = asked;
            mark_stays = match done {
                Ok(mark_stays) => mark_stays,
                Err(ReconcileError::Port { source, .. }) if source.retry == Retry::Never => {
                    return Ok(Applied::Refused(*source));
                }
                Err(error) => return Err(error),
            };
        }
        let to_tell = brief.as_ref().map(|brief| (brief, slot_of_alert));
        let image = match &step.effect {
            // Whether there is something to tell depends on what the registry shows: it is told when the image can be pulled.
            Some(effect @ (Effect::Restore | Effect::Unquarantine { .. })) => {
                let image = self.read_back(Some(effect)).await?;
                if step.tells(image.as_ref()) {
                    self.tell(step, to_tell).await?;
                }
                image
            }
            // The registry has answered that it is done. That it also shows so is checked while people are told: a second look
            // must not delay them.
            effect => {
                let (told, image) = join(self.tell(step, to_tell), self.read_back(effect.as_ref())).await;
                told?;
                image?
            }
        };
        let why = mark_stays.as_ref().map(refusal_of);
        let completed = step.completed(image.as_ref(), why.as_deref(), services.clock().now());
        let remember = async {
            match &step.told {
                // Another image of the repository may have been told of at the same time. Then this one's findings are told once more.
                Some(told) => services.ledger().write_told(told).await.map(|_| ()),
                None => Ok(()),
            }
        };
        let (written, remembered) = join(services.ledger().write(&completed), remember).await;
        remembered.map_err(record)?;
        match written.map_err(record)? {
            Written::Yes => Ok(Applied::Done(
                Box::new(completed),
                step.tells(image.as_ref()),
                mark_stays,
            )),
            Written::Conflict => Err(ReconcileError::Contended((&self.key).into())),
        }
    }

    /// How the alert of a step is told.
    async fn slot(&self, step: &Step, brief: &BriefAlert) -> Slot {
        if step.waits_for_summary {
            return Slot::Summary;
        }
        self.services.notifier().slot(brief).await
    }

    /// The alert in short, with the topic that it goes to.
    async fn brief(&self, alert: &ImageAlert) -> BriefAlert {
        alert.brief(topic(self.services, self.policy, &RepositoryKey::of(&self.key)).await)
    }

    /// Tells of a step, if there is something to tell. `to_tell`: the alert in short, and how it is told, as it was found out with the claim or
    /// the effect.
    async fn tell(&self, step: &Step, to_tell: Option<(&BriefAlert, Option<Slot>)>) -> Result<(), ReconcileError> {
        let (Some(alert), Some((brief, slot))) = (&step.alert, to_tell) else {
            return Ok(());
        };
        let slot = match slot {
            Some(slot) => slot,
            None => self.services.notifier().slot(brief).await,
        };
        let message = alert.message(self.policy.contact(&self.key.repository));
        let told = self.services.notifier().tell(slot, brief, &message).await;
        told.map_err(|source| self.failed("tell of", source))
    }

    /// What changes this repository; `None`: the policy only reports on it.
    fn writer(&self) -> Option<&S::Writer> {
        self.services
            .writer()
            .filter(|_| self.policy.enforces(&self.key.repository))
    }

    /// Counts one more block in this hour; the limit, if that is one too many.
    async fn limit(&self) -> Result<Option<Limit>, ReconcileError> {
        let hour = hour_of(self.services.clock().now());
        let ledger = self.services.ledger();
        let failed = |source| self.failed("count the block of", source);
        let count = ledger.count(&self.key, Counter::Blocks, hour).await;
        if count.map_err(failed)? <= self.policy.max_blocks_per_hour {
            return Ok(None);
        }
        Ok(Some(Limit {
            until: hour + SignedDuration::from_hours(1),
            first: ledger.claim_limit(&self.key, hour).await.map_err(failed)?,
        }))
    }

    /// Brings it about. Of a release, why our own tag stays, if that is all that the registry refuses: the image can be pulled as before.
    async fn bring_about(&self, effect: &Effect) -> Result<Option<PortError>, ReconcileError> {
        let Some(writer) = self.writer() else {
            // `decide` plans no effect in report mode; if it ever did, this is where it ends.
            return Err(self.not_verified("nothing can be changed in report mode"));
        };
        let key = &self.key;
        let change = |source| self.failed("change", source);
        match effect {
            Effect::Archive => match writer.archive(key).await.map_err(change)? {
                ImageStatus::Archived => Ok(None),
                other => Err(self.not_verified(&format!("asked to archive it, the registry answered {other:?}"))),
            },
            Effect::Restore => match writer.restore(key).await.map_err(change)? {
                ImageStatus::Active | ImageStatus::Activating => Ok(None),
                other => Err(self.not_verified(&format!("asked to restore it, the registry answered {other:?}"))),
            },
            Effect::Quarantine { mark, remove } => {
                let removal = self.removal(writer);
                // Boxed, because it is seldom done and would make every look larger.
                let taken = Box::pin(removal.take(key, remove, mark, Claims::Write(self.actor))).await;
                let taken = taken.map_err(change)?;
                match taken.refused {
                    Some(source) => Err(change(source)),
                    None => Ok(None),
                }
            }
            Effect::Unquarantine { mark, restore } => {
                let removal = self.removal(writer);
                Box::pin(removal.give(key, restore)).await.map_err(change)?;
                let refused = match Box::pin(removal.take_mark(key, mark)).await {
                    Ok(taken) => taken.refused,
                    Err(source) => Some(source),
                };
                match refused {
                    Some(source) if !source.is_denied() => Err(change(source)),
                    denied => Ok(denied),
                }
            }
        }
    }

    fn removal<'a>(&'a self, writer: &'a S::Writer) -> TagRemoval<'a, S> {
        TagRemoval {
            services: self.services,
            writer,
            policy: self.policy,
        }
    }

    /// What the registry shows after an effect; an error if a block does not hold.
    async fn read_back(&self, effect: Option<&Effect>) -> Result<Option<Image>, ReconcileError> {
        let Some(effect) = effect else { return Ok(None) };
        let image = self
            .services
            .registry()
            .image(&self.key.repository, &ImageRef::Digest(self.key.digest.clone()))
            .await;
        let image = image.map_err(|source| self.failed("read back", source))?;
        // An image that is gone cannot be pulled.
        let holds = image.as_ref().is_none_or(|image| match effect {
            // A word that is not known here may mean that it is on its way there; `decide` takes it in the same way.
            Effect::Archive => image.status != ImageStatus::Active,
            Effect::Quarantine { mark, remove } => {
                image.tags.contains(mark) && !image.tags.iter().any(|tag| remove.contains(tag))
            }
            Effect::Restore | Effect::Unquarantine { .. } => true,
        });
        if holds {
            Ok(image)
        } else {
            Err(self.not_verified("the registry still shows it as it was before"))
        }
    }

    fn left(&self, leave: Leave, row: Option<&Row>) -> Result<Outcome, ReconcileError> {
        let kind = match leave {
            Leave::NoSuchImage => OutcomeKind::NoSuchImage,
            Leave::NotAnImage => OutcomeKind::NotAnImage,
            Leave::ArchivedByOthers => OutcomeKind::ArchivedByOthers,
            Leave::Unchanged => OutcomeKind::Unchanged,
            Leave::InProgress => OutcomeKind::InProgress,
            Leave::Busy => return Err(ReconcileError::Busy(self.key.to_string())),
            Leave::ResultNotVisible => return Err(ReconcileError::ResultNotVisible(self.key.to_string())),
        };
        let mut outcome = outcome(kind, &self.key.repository, Some(&self.key.digest));
        if let Some(row) = row.filter(|row| row.closed_at.is_none()) {
            outcome.state = Some(row.state);
            outcome.reason = Some(row.reason.clone());
            outcome.counts.clone_from(&row.counts);
        }
        Ok(outcome)
    }

    fn applied(&self, step: &Step, told: bool) -> Outcome {
        let row = &step.row;
        let alert = step.alert.as_ref().filter(|_| told);
        let kind = if row.closed_at.is_some() {
            OutcomeKind::Closed
        } else if row.is_not_an_image() && step.effect.is_none() {
            OutcomeKind::NotAnImage
        } else {
            OutcomeKind::Applied
        };
        Outcome {
            state: Some(row.state),
            reason: Some(row.reason.clone()),
            effect: step.effect.as_ref().map(Effect::as_str),
            counted: step.counts_as_block,
            alert: alert.map(|alert| alert.kind),
            alert_id: alert.map(|alert| alert.id.clone()),
            counts: row.counts.clone(),
            ..outcome(kind, &self.key.repository, Some(&self.key.digest))
        }
    }

    fn failed(&self, doing: &'static str, source: PortError) -> ReconcileError {
        ReconcileError::port(doing, &self.key, source)
    }

    fn not_verified(&self, found: &str) -> ReconcileError {
        ReconcileError::NotVerified {
            image: self.key.to_string(),
            found: found.to_owned(),
        }
    }
}

/// Whether nothing is known to be pulled together with an image.
fn is_by_itself(row: Option<&Row>) -> bool {
    row.is_none_or(|row| row.indexes.is_empty() && row.children.is_empty())
}

/// What was true before a step was claimed of which nothing was done, in the place that the ledger's row has now: it is as if the row had never
/// been claimed.
fn unclaimed(row: Option<Row>, claimed: Row) -> Row {
    let generation = claimed.generation;
    let first = Row {
        state: State::Pending,
        block: None,
        alert: None,
        findings: Vec::new(),
        ..claimed
    };
    Row {
        generation,
        ..row.unwrap_or(first)
    }
}

/// What was true before a step was begun that the registry refused, in the place that the ledger's row has now. Tags that a quarantine may
/// have taken already are remembered: they are given back with the release.
fn before_refusal(row: Row, begun: &Row) -> Row {
    let begun_block = begun.block.as_ref().filter(|block| !block.tags.is_empty());
    let block = match (row.block, begun_block) {
        (Some(known), Some(begun)) => Some(Block {
            tags: begun.tags.clone(),
            ..known
        }),
        (known, begun) => known.or_else(|| begun.cloned()),
    };
    Row {
        generation: begun.generation,
        block,
        ..row
    }
}

/// Why the scanner says nothing, in words that are the same each time.
fn refusal_of(source: &PortError) -> String {
    if source.is_denied() {
        let refused = RefusedAccess::read(source.operation, &source.message, Timestamp::UNIX_EPOCH);
        format!("{} is missing", refused.missing)
    } else {
        format!("{} failed with `{}`", source.operation, source.code)
    }
}

#[expect(clippy::ref_option, reason = "serde calls it with a reference")]
fn as_text<S: Serializer>(error: &Option<PortError>, serializer: S) -> Result<S::Ok, S::Error> {
    error.as_ref().map(ToString::to_string).serialize(serializer)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

fn outcome(kind: OutcomeKind, repository: &RepositoryName, digest: Option<&Digest>) -> Outcome {
    Outcome {
        outcome: kind,
        repository: repository.clone(),
        digest: digest.cloned(),
        state: None,
        reason: None,
        effect: None,
        counted: false,
        alert: None,
        alert_id: None,
        counts: SeverityCounts::new(),
        exceptions_used: Vec::new(),
        exceptions_unused: Vec::new(),
        not_read: None,
        told_not_read: None,
        lacks: None,
        also: Vec::new(),
        repository_rules: None,
        replica: None,
    }
}

#[cfg(test)]
mod tests;
