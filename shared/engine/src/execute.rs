//! The one order in which a step is carried out: claim, effect, notify, record. `ARCHITECTURE.md` says why.

use tracing::debug;

use crate::reconcile::{ReconcileError, Subject};
use guard_ports::Written;

/// The result of a claim.
pub(crate) enum Claim<T> {
    /// It holds.
    Holds,
    /// Somebody else wrote the record in between: nothing was done.
    Conflict,
    /// It holds, and something prevents the step.
    Stopped(T),
}

/// The result of a step.
pub(crate) enum Executed<D, T> {
    /// It is done and recorded.
    Done(D),
    /// Somebody else wrote the record in between: nothing was done.
    Conflict,
    /// The claim is written, and what it says was not done.
    Stopped(T),
}

/// A step of one kind of thing.
pub(crate) trait Action {
    /// The result.
    type Done;
    /// The reason to end it before it is done.
    type Stop;

    /// The subject.
    fn subject(&self) -> Subject;

    /// It has no change and no alert: the claim completes it.
    fn is_only_a_record(&self) -> bool;

    /// Writes the record with the new state and the pending alerts, on the condition that nobody wrote it in between.
    async fn claim(&mut self) -> Result<Claim<Self::Stop>, ReconcileError>;

    /// Brings about what was claimed.
    async fn effect(&mut self) -> Result<Option<Self::Stop>, ReconcileError>;

    /// Sends the alerts.
    async fn tell(&mut self) -> Result<(), ReconcileError>;

    /// Writes that it is done, and the alerts are sent.
    async fn record(&mut self) -> Result<Written, ReconcileError>;

    /// The result.
    fn done(self) -> Self::Done;
}

/// Carries out a step.
///
/// # Errors A call failed, or somebody else wrote the record after the claim. The claim names the pending work, so that the
/// next invocation does it.
pub(crate) async fn execute<A: Action>(mut action: A) -> Result<Executed<A::Done, A::Stop>, ReconcileError> {
    match action.claim().await? {
        Claim::Holds => debug!(of = %action.subject(), "claim: the record is written"),
        Claim::Conflict => {
            debug!(of = %action.subject(), "claim: another invocation wrote the record, so the reconcile begins anew");
            return Ok(Executed::Conflict);
        }
        Claim::Stopped(stop) => {
            debug!(of = %action.subject(), "claim: the record is written, and the step stops before its effect");
            return Ok(Executed::Stopped(stop));
        }
    }
    if action.is_only_a_record() {
        debug!(of = %action.subject(), "record: the claim is all that the step has to do");
        return Ok(Executed::Done(action.done()));
    }
    if let Some(stop) = action.effect().await? {
        debug!(of = %action.subject(), "effect: the step stops, and nothing more is changed");
        return Ok(Executed::Stopped(stop));
    }
    debug!(of = %action.subject(), "effect: done, if the step has one");
    action.tell().await?;
    debug!(of = %action.subject(), "notify: the alerts of the step are sent, if it has any");
    match action.record().await? {
        Written::Yes => {
            debug!(of = %action.subject(), "record: the step is complete");
            Ok(Executed::Done(action.done()))
        }
        Written::Conflict => {
            debug!(of = %action.subject(), "record: another invocation wrote the record after the claim");
            Err(ReconcileError::Contended(action.subject()))
        }
    }
}
