//! The tag of a repository that the route of its alerts follows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The value of a repository's tag when it was last read. The policy decides whether it is a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteTag {
    /// The key of the tag: what was read under another key says nothing.
    pub tag: String,
    /// Its value; `None`: the repository has no such tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl RouteTag {
    /// The value of this tag among those of a repository.
    pub fn of(tag: &str, tags: &BTreeMap<String, String>) -> Self {
        Self {
            tag: tag.to_owned(),
            value: tags.get(tag).cloned(),
        }
    }
}
