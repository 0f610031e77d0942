//! The test alert: whether the alerts of a route arrive, and in which form.

use jiff::Timestamp;

use crate::{
    alert::{
        contact::Contact,
        model::{About, Alert, Message, Sms, headline},
        step::NextStep,
    },
    ids::RegistryKey,
    text,
};

/// The `kind` of a test alert.
pub const TEST: &str = "test";

/// A test alert, which somebody has asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestAlert {
    /// The same for the same request.
    pub id: String,
    /// When it was asked for.
    pub time: Timestamp,
    /// The registry.
    pub registry: RegistryKey,
    /// The routes of the policy whose topic gets it.
    pub routes: Vec<String>,
}

/// The longest list of routes in a sentence, in characters.
const MAX_ROUTES: usize = 200;

impl TestAlert {
    /// All forms.
    pub fn message(&self, contact: &Contact) -> Message {
        let routes = text::line(&self.routes.join(", "), MAX_ROUTES);
        let region = self.registry.region.as_str();
        let registry = &self.registry;
        let alert = Alert {
            headline: headline("TEST", "of the alerts", &[format!("route {routes}")], region),
            title: format!("This is a test alert for the route {routes}."),
            meaning: "Nothing is wrong, and nothing was changed.",
            reason:
                "Somebody invoked the function `sweep` with `test_alert`. Each route of the policy gets one test alert."
                    .to_owned(),
            steps: vec![NextStep::new(
                "Check that the alert arrived where the team of this route reads it. Then there is nothing more to do.",
            )],
            sms: Sms {
                name: registry.account.to_string(),
                causes: vec![format!("route {routes}")],
                end: "Nothing is wrong.",
                ..Sms::default()
            },
            contact: contact.clone(),
            ..Alert::new(&self.id, TEST, "TEST", self.time, About::registry(registry))
        };
        alert.message()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::tests::{assert_chat_fits, forms};

    #[test]
    fn it_is_marked_in_all_forms() {
        let alert = TestAlert {
            id: "test-1".to_owned(),
            time: "2026-11-24T12:00:00Z".parse().unwrap(),
            registry: RegistryKey {
                account: "123456789012".parse().unwrap(),
                region: "us-west-2".parse().unwrap(),
            },
            routes: vec!["default".to_owned(), "web".to_owned()],
        };
        let message = alert.message(&Contact::default());
        assert_chat_fits(&message.https);
        for form in [
            &message.subject,
            &message.email,
            &message.https,
            &message.sms,
            &message.default,
        ] {
            assert!(form.contains("TEST") || form.contains("test alert"), "{form}");
        }
        assert!(message.sms.len() <= 140, "{}", message.sms);
        insta::assert_snapshot!("test", forms(&message));
    }
}
