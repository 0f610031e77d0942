//! Whether a release is given or ended, and the row that says so.

use jiff::{SignedDuration, Timestamp};

use crate::{
    ledger::Row,
    policy::Policy,
    release::{
        Ended, Requester, TimedRelease,
        answer::ReleaseRefusal,
        request::{AskedRelease, ReleaseRequest, Verb},
    },
    state::State,
};

/// The row with what is asked, to be written in the place of `row`.
///
/// # Errors
/// The policy or the state of the image do not allow it.
pub fn apply(
    policy: &Policy,
    request: &ReleaseRequest,
    by: &Requester,
    row: Option<&Row>,
    now: Timestamp,
) -> Result<Row, ReleaseRefusal> {
    may(policy, request, by)?;
    let row = row
        .filter(|row| row.closed_at.is_none())
        .ok_or(ReleaseRefusal::NotFound)?;
    let release = match request.asked.action {
        Verb::Release => given(policy, &request.asked, by, row, now)?,
        Verb::End => ended(by, row, now)?,
    };
    Ok(Row {
        generation: row.generation + 1,
        release: Some(release),
        ..row.clone()
    })
}

/// Whether the policy lets this requester decide about this image.
fn may(policy: &Policy, request: &ReleaseRequest, by: &Requester) -> Result<(), ReleaseRefusal> {
    let not = |why: String| Err(ReleaseRefusal::NotAllowed(why));
    let repository = &request.image.repository;
    let Some(rules) = policy.release() else {
        return not("it has no member `release` with `\"allow\": true`".to_owned());
    };
    if !rules.lets(by) {
        return not(format!("{by} is none of `release.principals`"));
    }
    // A release from before the change of the policy can be ended all the same.
    if request.asked.action == Verb::End {
        return Ok(());
    }
    if !rules.covers(repository) {
        return not(format!("`{repository}` is none of `release.repositories`"));
    }
    if let Some(why) = policy.report_mode(repository) {
        return not(format!("{why}, so that nothing can be undone"));
    }
    Ok(())
}

fn given(
    policy: &Policy,
    asked: &AskedRelease,
    by: &Requester,
    row: &Row,
    now: Timestamp,
) -> Result<TimedRelease, ReleaseRefusal> {
    let Some(rules) = policy.release() else {
        return Err(ReleaseRefusal::NotAllowed("it has no member `release`".to_owned()));
    };
    if rules.require_ticket && asked.ticket.is_none() {
        return Err(ReleaseRefusal::NoTicket);
    }
    let length = SignedDuration::from_hours(asked.hours.unwrap_or_default().into());
    let until = now.checked_add(length).ok().filter(|_| length <= rules.max);
    let until = until.ok_or(ReleaseRefusal::TooLong(rules.max_hours()))?;
    // A release that is in force can be given anew, for longer or for less.
    let is_released = row.release.as_ref().is_some_and(|release| release.is_in_force(now));
    if row.state != State::Blocked && !(is_released && row.state == State::BlockDeferred) {
        return Err(ReleaseRefusal::NotBlocked(row.state.as_str(), row.reason.clone()));
    }
    Ok(TimedRelease {
        until,
        by: by.clone(),
        reason: asked.reason.clone().unwrap_or_default(),
        ticket: asked.ticket.clone(),
        given_at: now,
        ended: None,
        told_at: None,
        end_told_at: None,
    })
}

fn ended(by: &Requester, row: &Row, now: Timestamp) -> Result<TimedRelease, ReleaseRefusal> {
    let release = row.release.as_ref().filter(|release| release.is_in_force(now));
    let release = release.ok_or(ReleaseRefusal::NotReleased)?;
    Ok(TimedRelease {
        ended: Some(Ended {
            by: by.clone(),
            at: now,
        }),
        ..release.clone()
    })
}
