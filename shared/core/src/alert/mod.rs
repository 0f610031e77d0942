//! Alerts: one model, [`Alert`], and its four forms.
//!
//! Each kind of alert is a type of its own with its facts: [`ImageAlert`](image::ImageAlert), [`RepositoryAlert`](repository::RepositoryAlert),
//! [`RegistryAlert`](registry::RegistryAlert), the [digest](crate::digest::Digest) and the [summary](summary::AlertSummary). All of them become
//! an [`Alert`], and an alert becomes a [`Message`]. Everything that comes from outside (tags, CVE texts, addresses) is made harmless by [`text`]
//! on the way into a form.

pub mod brief;
pub mod budget;
mod chat;
pub mod contact;
mod digest;
mod email;
mod exception;
pub mod image;
mod json;
mod model;
pub mod registry;
pub mod repository;
mod sms;
mod step;
pub mod summary;
pub mod test;

pub use contact::Contact;
pub use exception::{ExceptionEntry, ExceptionNotice};
pub use model::{
    Alert, AlertAction, HoldNote, MAX_EXCEPTIONS, MAX_LISTED_FINDINGS, MAX_LISTED_TAGS, MAX_MESSAGE_BYTES, Message,
};
pub use step::NextStep;

use self::model::{MAX_SUBJECT, SENDER};
use crate::text;

impl Alert {
    /// Renders all forms.
    pub fn message(&self) -> Message {
        let mut listed = MAX_LISTED_FINDINGS;
        let mut message = Message {
            subject: text::ascii(&format!("{SENDER}{}", self.headline), MAX_SUBJECT),
            default: json::render(self, listed),
            email: email::render(self),
            https: chat::render(self),
            sms: sms::render(self),
        };
        // Text from outside can be made to grow when it is escaped. It then costs findings in the list, never the alert.
        while listed > 0 && message.body().len() > MAX_MESSAGE_BYTES {
            listed /= 2;
            message.default = json::render(self, listed);
        }
        message
    }
}

#[cfg(test)]
pub(crate) mod tests;
