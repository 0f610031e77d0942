//! The tag of a repository that the route of its alerts follows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a repository's tag said when it was last read. Whether its value is a route is for the policy to say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTag {
    /// The key of the tag: what was read under another key says nothing.
    pub tag: String,
    /// Its value; `None`: the repository has no such tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl RouteTag {
    /// What the tags of a repository say of this one.
    pub fn of(tag: &str, tags: &BTreeMap<String, String>) -> Self {
        Self {
            tag: tag.to_owned(),
            value: tags.get(tag).cloned(),
        }
    }
}
