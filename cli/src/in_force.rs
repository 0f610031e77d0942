//! The policy that is in force in a ledger.

use guard_core::policy::Policy;
use jiff::Timestamp;

use crate::{judged::PolicyText, known::Known, ledgers::NotRead};

/// Finds it: the document that the deployment has written. Of several, that of most rows.
///
/// # Errors
/// The ledger has none, or it cannot be read.
pub fn policy_in_force(known: &Known, now: Timestamp) -> Result<PolicyText, NotRead> {
    let rows = |sha256: &str| known.rows_under.get(sha256).copied().unwrap_or_default();
    let best = known
        .policies
        .iter()
        .max_by_key(|policy| (policy.deployed, rows(&policy.sha256)));
    let best = best.ok_or_else(|| {
        NotRead::new(format!(
            "{}: it has no policy document. Give the one that is deployed with --policy FILE.",
            known.snapshot.name
        ))
    })?;
    PolicyText::read(&best.document, now)
        .map_err(|why| NotRead::new(format!("{}: the policy of the ledger: {why}.", known.snapshot.name)))
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

/// The same, of documents that were read by the way; `None`: there is none that can be read.
pub fn policy_of(
    policies: &[guard_core::snapshot::SnapshotPolicy],
    rows_under: &std::collections::BTreeMap<String, u64>,
    now: Timestamp,
) -> Option<PolicyText> {
    let rows = |sha256: &str| rows_under.get(sha256).copied().unwrap_or_default();
    let best = policies
        .iter()
        .max_by_key(|policy| (policy.deployed, rows(&policy.sha256)))?;
    PolicyText::read(&best.document, now).ok()
}
