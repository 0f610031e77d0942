//! Releases: who asks is proved, the policy is asked, the row is written, and the image is reconciled at once.
//!
//! The row comes first. If the invocation ends after it, the next sweep carries the release out, with its alert.

use std::time::Duration;

use crate::reconcile::image::{Hints, Request as Reconcile, reconcile};
use guard_core::{
    decide::leased,
    ids::{AccountId, ImageRef, Region, RegistryKey},
    policy::Policy,
    release::{
        Requester,
        answer::{ReleaseAnswer, ReleaseRefusal},
        identity::{self, ExpectedCall, REPLAY_WINDOW, Unidentified},
        request::{ReleaseRequest, Verb},
        rules,
    },
};
use guard_ports::{Callers, Clock as _, Ledger as _, PortError, ReleaseLedger as _, Services, Written};

/// How often, and after how much time, it is tried again while others work on the image. A step takes about a second.
const MAX_TURNS: usize = 6;
const TURN: Duration = Duration::from_millis(1500);

/// Answers requests, for one invocation.
#[derive(Debug)]
pub struct Operator<'a, S> {
    /// The world.
    pub services: &'a S,
    /// The policy.
    pub policy: &'a Policy,
    /// The account whose images are released.
    pub account: &'a AccountId,
    /// The region of its registry.
    pub region: &'a Region,
    /// The ARN of the function, without its alias.
    pub function: &'a str,
    /// The invocation.
    pub actor: &'a str,
}

/// The result of a request, for the log.
#[derive(Debug)]
pub struct Operated {
    /// The answer.
    pub answer: ReleaseAnswer,
    /// The action of the request, if that could be read.
    pub action: Option<Verb>,
    /// Whether the image was alerted about in this invocation.
    pub alerts: u64,
}

/// Why a request was not carried out.
enum NotDone {
    Refused(ReleaseRefusal),
    Failed(PortError),
}

impl From<ReleaseRefusal> for NotDone {
    fn from(refusal: ReleaseRefusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<PortError> for NotDone {
    fn from(error: PortError) -> Self {
        Self::Failed(error)
    }
}

impl From<Unidentified> for NotDone {
    fn from(why: Unidentified) -> Self {
        Self::Refused(ReleaseRefusal::Unidentified(why))
    }
}

impl<S: Services> Operator<'_, S> {
    /// Answers a request. Whatever is wrong with it is an answer.
    pub async fn answer(&self, payload: &str, sts: &impl Callers) -> Operated {
        let request = match ReleaseRequest::parse(payload) {
            Ok(request) => request,
            Err(why) => {
                return Operated {
                    answer: ReleaseAnswer::refused(&ReleaseRefusal::Invalid(why.to_string())),
                    action: None,
                    alerts: 0,
                };
            }
        };
        let mut by = None;
        let (answer, alerts) = match self.carry_out(&request, sts, &mut by).await {
            Ok(done) => done,
            Err(NotDone::Refused(refusal)) => (ReleaseAnswer::refused(&refusal), 0),
            Err(NotDone::Failed(error)) => (ReleaseAnswer::unavailable(&error.to_string()), 0),
        };
        Operated {
            answer: ReleaseAnswer {
                image: Some(request.asked.image.clone()),
                by,
                ..answer
            },
            action: Some(request.asked.action),
            alerts,
        }
    }

    async fn carry_out(
        &self,
        request: &ReleaseRequest,
        sts: &impl Callers,
        known: &mut Option<Requester>,
    ) -> Result<(ReleaseAnswer, u64), NotDone> {
        let image = &request.image;
        if image.account != *self.account || image.region != *self.region {
            let why = format!("it is of another registry than {} in {}", self.account, self.region);
            return Err(ReleaseRefusal::Invalid(why).into());
        }
        let by = self.requester(request, sts).await?;
        *known = Some(by.clone());
        let now = self.services.clock().now();
        let registry = RegistryKey {
            account: self.account.clone(),
            region: self.region.clone(),
        };
        let ledger = self.services.ledger();
        let hash = request.asked.hash();
        let claim = ledger.claim_request(&registry, &hash, self.actor, now + REPLAY_WINDOW);
        if !claim.await? {
            return Err(ReleaseRefusal::Replayed.into());
        }
        self.write(request, &by).await?;
        Ok(self.reconcile(request).await)
    }

    /// Who asks, by the word of AWS STS.
    async fn requester(&self, request: &ReleaseRequest, sts: &impl Callers) -> Result<Requester, NotDone> {
        let hash = request.asked.hash();
        let expected = ExpectedCall {
            region: self.region,
            function: self.function,
            request: &hash,
        };
        let asked = identity::check(&request.identity, expected, self.services.clock().now())?;
        let answer = sts.caller(&asked).await?;
        Ok(identity::requester(answer.status, &answer.body)?)
    }

    /// Writes the row, when nobody else works on the image.
    async fn write(&self, request: &ReleaseRequest, by: &Requester) -> Result<(), NotDone> {
        let ledger = self.services.ledger();
        for _ in 0..MAX_TURNS {
            let row = ledger.row(&request.image).await?;
            let now = self.services.clock().now();
            let wanted = rules::apply(self.policy, request, by, row.as_ref(), now)?;
            let is_leased = row.is_some_and(|row| leased(&row, self.actor, now));
            if !is_leased && ledger.write(&wanted).await? == Written::Yes {
                return Ok(());
            }
            self.services.clock().pause(TURN).await;
        }
        Err(ReleaseRefusal::Busy.into())
    }

    /// Brings the image to the state that the row asks for now. The next sweep does a part that fails.
    async fn reconcile(&self, request: &ReleaseRequest) -> (ReleaseAnswer, u64) {
        let image = &request.image;
        let asked = Reconcile {
            account: image.account.clone(),
            region: image.region.clone(),
            repository: image.repository.clone(),
            image: ImageRef::Digest(image.digest.clone()),
            hints: Hints::default(),
            actor: self.actor.to_owned(),
        };
        let done = reconcile(self.services, self.policy, &asked).await;
        let row = self.services.ledger().row(image).await.ok().flatten();
        let until = row.and_then(|row| row.release).map(|release| release.until);
        let answer = match (request.asked.action, until) {
            (Verb::Release, Some(until)) => ReleaseAnswer::released(until),
            (Verb::Release, None) => ReleaseAnswer::unavailable("the ledger does not have its result"),
            (Verb::End, _) => ReleaseAnswer::ended(),
        };
        match done {
            Ok(outcome) => {
                let restoring = outcome.effect == Some("restore");
                (
                    ReleaseAnswer { restoring, ..answer },
                    u64::from(outcome.alert.is_some()),
                )
            }
            Err(error) => {
                let pending = Some(error.to_string());
                (ReleaseAnswer { pending, ..answer }, 0)
            }
        }
    }
}

#[cfg(test)]
mod tests;
