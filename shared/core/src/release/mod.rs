//! A release: a person lets one blocked image be pulled for some hours.
//!
//! The ledger's row of the image has it, so that it is bound to the digest. While it is in force, a rule defers the block
//! (`decide/hold/released.rs`). After its end the next sweep blocks the image again.

pub mod answer;
pub mod identity;
pub mod request;
pub mod rules;

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{ids::AccountId, text};

/// The longest reason, in characters.
pub const MAX_REASON: usize = 300;

/// The longest name of a ticket, in characters.
pub const MAX_TICKET: usize = 60;

/// A release of one image in one region, as its row has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimedRelease {
    /// When it ends by itself.
    pub until: Timestamp,
    /// Who gave it.
    pub by: Requester,
    /// Why, in the words of that person.
    pub reason: String,
    /// The ticket, if one was named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// When it was given.
    pub given_at: Timestamp,
    /// Who ended it before its time, if somebody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    /// When people were alerted that it was given. `None`: that is pending, and so is its effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told_at: Option<Timestamp>,
    /// When people were alerted that it has ended and that the image is still not blocked, for another reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_told_at: Option<Timestamp>,
}

/// A release was ended before its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// Who ended it.
    pub by: Requester,
    /// When.
    pub at: Timestamp,
}

/// A person or a program that AWS STS has identified.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requester {
    /// The account. STS proves it.
    pub account: AccountId,
    /// The role or the user without its path, such as `role/oncall`. STS proves it.
    pub name: String,
    /// The name of the session. The caller chooses it, unless IAM requires one (`sts:RoleSessionName`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

impl fmt::Display for Requester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", text::line(&self.name, 80), self.account)?;
        match &self.session {
            Some(session) => write!(f, ", session `{}`", text::line(session, 80)),
            None => Ok(()),
        }
    }
}

impl TimedRelease {
    /// Whether it lets the image be pulled now.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.ended.is_none() && now < self.until
    }

    /// Why the image is not blocked while the release is in force: completes *It is not blocked:*.
    pub fn because(&self) -> String {
        let ticket = self.ticket.as_deref();
        let ticket = ticket.map_or(String::new(), |ticket| format!(" ({})", text::line(ticket, MAX_TICKET)));
        format!(
            "released by {} until {}{ticket}: {}",
            self.by,
            moment(self.until),
            sentence(&text::line(&self.reason, MAX_REASON))
        )
    }

    /// That it has ended, in a sentence.
    pub fn has_ended(&self) -> String {
        match &self.ended {
            Some(Ended { by, at }) => format!("{by} ended its release at {}.", moment(*at)),
            None => format!("Its release by {} has ended at {}.", self.by, moment(self.until)),
        }
    }
}

/// A time for people to read, such as `2026-11-24 18:00 UTC`.
pub(crate) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// A text of a person, with an end.
fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with(['.', '!', '?']) {
        text.to_owned()
    } else {
        format!("{text}.")
    }
}
