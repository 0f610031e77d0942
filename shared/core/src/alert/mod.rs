//! Alerts: what subscribers are told, and the contract they build on (`ecr-guard/alert/v1`).
//!
//! An [`Alert`] is data; [`Message`] is the same in the four forms that a topic delivers. Everything that comes from outside
//! (tags, CVE texts, addresses) is made harmless by [`text`] on the way into a message.

pub mod brief;
pub mod budget;
mod chat;
mod digest;
mod email;
mod exception;
mod json;
mod model;
pub mod registry;
pub mod repository;
mod sms;
pub mod summary;

pub use exception::ExceptionEntry;
pub use model::{Alert, AlertAction, MAX_EXCEPTIONS, MAX_LISTED_FINDINGS, MAX_LISTED_TAGS, MAX_MESSAGE_BYTES, Message};

use self::model::MAX_SUBJECT;
use crate::text;

impl Alert {
    /// Renders all forms.
    pub fn message(&self) -> Message {
        let mut listed = MAX_LISTED_FINDINGS;
        let mut message = Message {
            subject: self.subject(),
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

    /// The subject: a constant for each kind, and the repository, whose name is ASCII by construction.
    fn subject(&self) -> String {
        text::ascii(
            &format!("[ecr-guard] {} {}", self.word(), self.image.repository),
            MAX_SUBJECT,
        )
    }
}

#[cfg(test)]
mod tests;
