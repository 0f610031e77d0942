//! The result of a reconcile, where nothing may be changed: the same facts and the same decision, without its effects.

use futures_util::future::{join, join_all};

use super::{
    ahead::Ahead,
    attempt::NotRead,
    find,
    image_run::ImageRun,
    indexes::sorted_tags,
    pages::Spent,
    request::{Hints, Request},
    run::{MAX_ATTEMPTS, MAX_PLANS},
    together::READ_AT_ONCE,
};
use crate::reconcile::ReconcileError;
use guard_core::{
    decide::{ChildFacts, Children, Facts, Judgement, Opinion, Question, judge},
    gate::{SeenImage, What, speaks_for_image},
    ids::ImageRef,
    image::{Listed, content},
    ledger::Row,
    policy::Policy,
    state::State,
};
use guard_ports::{Clock as _, Services};

/// The hold of an image that follows its parent index.
const WITH_INDEX: &str = "index-not-blocked";

/// The result of a reconcile of an image now; `None`: there is no such image. Nothing is changed or written, and no alert is
/// sent.
///
/// # Errors
/// A call failed.
pub async fn preview(
    services: &impl Services,
    policy: &Policy,
    request: &Request,
) -> Result<Option<SeenImage>, ReconcileError> {
    let Some(digest) = find::digest(services, &request.repository, &request.image).await? else {
        return Ok(None);
    };
    let run = ImageRun {
        services,
        policy,
        key: request.key(digest),
        hints: Hints::default(),
        actor: &request.actor,
        spent: &Spent::default(),
        index: None,
    };
    let Previewed {
        facts,
        judged,
        mut not_visible,
    } = run.preview_at_once().await?;
    let Some(image) = facts.image.clone() else {
        return Ok(None);
    };
    let what = match judged {
        Opinion::Gone => return Ok(None),
        Opinion::NotAnImage => What::NotAnImage,
        Opinion::ArchivedByOthers => What::ArchivedByOthers,
        Opinion::Opinion(judgement) => {
            let hold = match judgement.hold {
                Some(WITH_INDEX) => run.hold_of_indexes(&facts).await?,
                hold => hold,
            };
            not_visible |= judgement.not_visible;
            What::Image(Box::new(Judgement {
                hold,
                not_visible,
                ..*judgement
            }))
        }
        Opinion::Ask(question) => {
            return Err(run.not_verified(&format!("nothing answers the question {question:?}")));
        }
    };
    let key = run.key.clone();
    Ok(Some(SeenImage { key, image, what }))
}

/// The result for an image.
struct Previewed {
    facts: Facts,
    judged: Opinion,
    /// For an index: a child shows no result yet, though its scan is done.
    not_visible: bool,
}

impl<S: Services> ImageRun<'_, S> {
    /// The result by facts of one time: it starts over while others move the image to or from the archive between two reads.
    async fn preview_at_once(&self) -> Result<Previewed, ReconcileError> {
        for _ in 1..MAX_ATTEMPTS {
            match self.preview(None).await {
                Err(ReconcileError::Changed(_)) => {}
                previewed => return previewed,
            }
        }
        self.preview(None).await
    }

    async fn preview(&self, ahead: Option<Ahead>) -> Result<Previewed, ReconcileError> {
        let mut attempt = self.gather(ahead).await?;
        if attempt.facts.needs_manifest(self.policy) {
            let manifest = self.manifest(&attempt.facts, &mut attempt.not_read).await?;
            attempt.facts.content = manifest.map(|manifest| content(&manifest));
        }
        let mut not_visible = false;
        for _ in 0..MAX_PLANS {
            match judge(self.policy, &attempt.facts, self.services.clock().now()) {
                Opinion::Ask(Question::Children) => {
                    let (children, more, unseen) = self
                        .children_as_they_would_be(&attempt.facts, &mut attempt.not_read)
                        .await?;
                    (attempt.facts.children, attempt.facts.more_children) = (children, more);
                    // It is asked of these as well.
                    attempt.facts.uses = None;
                    not_visible |= unseen;
                }
                // Only a change would answer the other two.
                Opinion::Ask(question) if !matches!(question, Question::Scan | Question::Told) => {
                    self.ask(question, &mut attempt).await?;
                }
                judged => {
                    return Ok(Previewed {
                        facts: attempt.facts,
                        judged,
                        not_visible,
                    });
                }
            }
        }
        Err(self.not_verified("the same question or step again and again"))
    }

    /// The children of this index, each with the row that a reconcile would write; the number of its further entries; and
    /// whether one of them shows no result yet.
    async fn children_as_they_would_be(
        &self,
        facts: &Facts,
        not_read: &mut NotRead,
    ) -> Result<(Children, u64, bool), ReconcileError> {
        let Some(Listed { children: listed, more }) = self.listed(facts, not_read).await? else {
            return Ok((Children::Unknown, 0, false));
        };
        let tags = sorted_tags(facts);
        let through = || Some((self.key.digest.clone(), tags.clone()));
        let runs: Vec<Self> = listed.iter().map(|child| self.of(&child.digest, through())).collect();
        let mut ahead = Vec::new();
        for some in runs.chunks(READ_AT_ONCE) {
            ahead.extend(self.ahead_of(some, facts.row.as_ref()).await?);
        }
        let looks = listed.into_iter().zip(runs).zip(ahead).map(|((child, run), ahead)| {
            async move {
                // Boxed, because an index may reference an index.
                let Previewed {
                    facts,
                    judged,
                    not_visible,
                } = Box::pin(run.preview(Some(ahead))).await?;
                let (row, not_visible) = match judged {
                    Opinion::Opinion(judgement) => (Some(judgement.row), not_visible || judgement.not_visible),
                    Opinion::NotAnImage => {
                        let row = facts
                            .row
                            .unwrap_or_else(|| Row::first(run.key.clone(), self.policy, self.services.clock().now()));
                        let row = Row {
                            state: State::NotAnImage,
                            closed_at: None,
                            ..row
                        };
                        (Some(row), false)
                    }
                    Opinion::Gone | Opinion::ArchivedByOthers | Opinion::Ask(_) => (facts.row, not_visible),
                };
                Ok::<_, ReconcileError>((ChildFacts { child, row }, not_visible))
            }
        });
        let mut children = Vec::new();
        let mut not_visible = false;
        for looked in join_all(looks).await {
            let (child, unseen) = looked?;
            children.push(child);
            not_visible |= unseen;
        }
        Ok((Children::Known(children), more, not_visible))
    }

    /// The hold rule of all parent indexes of an image; `None`: the block of one of them is not deferred, or for a reason that
    /// does not cover the image.
    async fn hold_of_indexes(&self, facts: &Facts) -> Result<Option<&'static str>, ReconcileError> {
        let mut held = None;
        for index in facts.indexes.iter().filter(|index| index.is_open()) {
            let run = self.of(&index.digest, None);
            let judged = Box::pin(run.preview_at_once()).await?.judged;
            match judged {
                Opinion::Opinion(judgement)
                    if judgement.row.state == State::BlockDeferred && judgement.hold.is_some_and(speaks_for_image) =>
                {
                    held = judgement.hold;
                }
                _ => return Ok(None),
            }
        }
        Ok(held)
    }
}

/// The image of a tag, and in the same call that of a digest.
///
/// # Errors
/// A call failed.
pub async fn preview_with_tag(
    services: &impl Services,
    policy: &Policy,
    request: &Request,
    tag: ImageRef,
) -> Result<(Option<SeenImage>, Option<guard_core::ids::Digest>), ReconcileError> {
    let (seen, tagged) = join(
        preview(services, policy, request),
        find::digest(services, &request.repository, &tag),
    )
    .await;
    let tagged = tagged?;
    Ok((seen?, tagged))
}
