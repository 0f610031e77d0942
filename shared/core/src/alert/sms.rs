//! The form for telephones: what it is about, why, and what to do.

use crate::{alert::model::Alert, text};

/// The longest text that goes out as one message, in ASCII: 140 bytes. SNS makes several of a longer one.
///
/// Source: SNS, "Mobile text messaging (SMS)", character quotas.
pub(super) const MAX_SMS: usize = 140;

/// The longest name of a repository that is shown whole.
const MAX_REPOSITORY: usize = 48;

pub(super) fn render(alert: &Alert) -> String {
    let sms = &alert.sms;
    let head = format!("ecr-guard {} {}", alert.about.registry.region, alert.word);
    let end = if sms.end.is_empty() {
        String::new()
    } else {
        format!(". {}", sms.end)
    };
    let room = MAX_SMS.saturating_sub(head.len() + 1 + sms.suffix.len() + end.len());
    let name = text::ascii(&sms.name, room.min(MAX_REPOSITORY));
    let mut message = format!("{head} {name}{}", sms.suffix);
    let mut before = ": ";
    for cause in &sms.causes {
        // Each part is made harmless by itself, in addition to the count of characters above.
        let cause = text::plain(&text::ascii(cause, MAX_SMS), MAX_SMS);
        // Telephones make links of addresses, and a cause can hold words from outside.
        if !cause.is_empty()
            && !cause.contains("://")
            && message.len() + before.len() + cause.len() + end.len() <= MAX_SMS
        {
            message.push_str(before);
            message.push_str(&cause);
            before = ", ";
        }
    }
    message.push_str(&end);
    let then = text::plain(&text::ascii(&sms.then, MAX_SMS), MAX_SMS);
    let between = if message.ends_with(['.', '!']) { " " } else { ". " };
    if !then.is_empty() && !then.contains("://") && message.len() + between.len() + then.len() <= MAX_SMS {
        message.push_str(between);
        message.push_str(&then);
    }
    text::ascii(&message, MAX_SMS)
}
