//! The policy that is in force in a ledger.

use std::collections::BTreeMap;

use guard_core::{policy::Policy, snapshot::SnapshotPolicy};
use jiff::Timestamp;

use crate::{judged::PolicyText, known::Known, ledgers::NotRead};

/// The document that the deployment has written. Among several, that of most rows.
///
/// # Errors
/// The ledger has none, or it cannot be read.
pub fn policy_in_force(known: &Known, given: Option<&str>, now: Timestamp) -> Result<PolicyText, NotRead> {
    let name = &known.snapshot.name;
    if let Some(text) = given {
        return PolicyText::read(text, now).map_err(|why| NotRead::new(format!("--policy: {why}.")));
    }
    let best = most(&known.policies, &known.rows_under).ok_or_else(|| {
        NotRead::new(format!(
            "{name}: it has no policy document. Give the one that is deployed with --policy FILE."
        ))
    })?;
    PolicyText::read(&best.document, now)
        .map_err(|why| NotRead::new(format!("{name}: the policy of the ledger: {why}.")))
}

fn most<'a>(policies: &'a [SnapshotPolicy], rows_under: &BTreeMap<String, u64>) -> Option<&'a SnapshotPolicy> {
    let rows = |sha256: &str| rows_under.get(sha256).copied().unwrap_or_default();
    policies
        .iter()
        .max_by_key(|policy| (policy.deployed, rows(&policy.sha256)))
}

/// All policies of a ledger that can be read: rows were decided under them.
pub fn other_policies(known: &Known, now: Timestamp) -> Vec<PolicyText> {
    let texts = known.policies.iter().map(|policy| policy.document.as_str());
    texts.filter_map(|text| PolicyText::read(text, now).ok()).collect()
}

/// A policy document with the routes of another one, if it has none of its own: such is a file that Terraform completes.
///
/// # Errors
/// It is no policy.
pub fn completed(document: &str, with: &Policy, now: Timestamp) -> Result<PolicyText, NotRead> {
    let document = document.strip_prefix('\u{feff}').unwrap_or(document);
    let mut value: serde_json::Value =
        serde_json::from_str(document).map_err(|error| NotRead::new(error.to_string()))?;
    let Some(members) = value.as_object_mut() else {
        return PolicyText::read(document, now);
    };
    if !members.contains_key("routes") {
        let topics = with.topics().into_iter();
        let routes = topics.flat_map(|(topic, names)| {
            names
                .into_iter()
                .map(move |name| (name.to_owned(), topic.to_string().into()))
        });
        let mut routes: serde_json::Map<String, serde_json::Value> = routes.collect();
        // A route that is new has no topic yet. Which one it is decides nothing about an image.
        let default = routes.get("default").cloned().unwrap_or_default();
        let named = members
            .get("repositories")
            .and_then(|list| list.as_array())
            .into_iter()
            .flatten();
        for name in named.filter_map(|entry| entry.get("route")?.as_str()) {
            routes.entry(name).or_insert_with(|| default.clone());
        }
        members.insert("routes".to_owned(), routes.into());
    }
    PolicyText::read(&value.to_string(), now)
}

/// The same, of documents that were read by the way; `None`: there is none.
///
/// # Errors
/// It cannot be read.
pub fn policy_of(
    policies: &[SnapshotPolicy],
    rows_under: &BTreeMap<String, u64>,
    given: Option<&str>,
    now: Timestamp,
) -> Result<Option<PolicyText>, NotRead> {
    let document = given.or_else(|| most(policies, rows_under).map(|best| best.document.as_str()));
    document.map(|document| PolicyText::read(document, now)).transpose()
}
