//! Whom to ask and where to go: what the policy says under `contact`.

use serde::Serialize;

/// Whom to ask and where to go. All of it is optional.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Contact {
    /// The address at which a change of the policy, such as an exception, is proposed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Where people get help: a channel, a mailbox or an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The address of a page that explains what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub guide: Option<String>,
}

/// The longest address or text of a contact, in characters.
pub const MAX_CONTACT: usize = 200;

impl Contact {
    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// This, and what it does not say as `other` says it.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let or = |own: &Option<String>, other: &Option<String>| own.clone().or_else(|| other.clone());
        Self {
            policy: or(&self.policy, &other.policy),
            help: or(&self.help, &other.help),
            guide: or(&self.guide, &other.guide),
        }
    }
}

/// Whether a text is an address that every form of an alert can show as it is.
pub fn is_address(text: &str) -> bool {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/?#=&+,:;%@".contains(&b);
    text.strip_prefix("https://")
        .is_some_and(|rest| !rest.is_empty() && text.len() <= MAX_CONTACT && rest.bytes().all(is_plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_repository_does_not_say_is_as_for_all() {
        let all = Contact {
            policy: Some("https://a.example".into()),
            help: Some("#help".into()),
            guide: None,
        };
        let own = Contact {
            help: Some("#pay".into()),
            ..Contact::default()
        };
        assert_eq!(
            own.or(&all),
            Contact {
                policy: all.policy.clone(),
                help: Some("#pay".into()),
                guide: None
            }
        );
        assert!(Contact::default().or(&Contact::default()).is_empty());
    }

    #[test]
    fn an_address_is_https_and_has_no_markup() {
        assert!(is_address(
            "https://git.example.com/platform/ecr-policy/edit/main/policy.json?a=b&c=d"
        ));
        for text in [
            "",
            "https://",
            "http://a.example",
            "https://a.example/<b>",
            "https://a.example/`",
            "https://a b",
            "https://é",
        ] {
            assert!(!is_address(text), "{text}");
        }
        assert!(!is_address(&format!("https://{}", "a".repeat(MAX_CONTACT))));
    }
}
