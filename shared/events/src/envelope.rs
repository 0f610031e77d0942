//! The envelope of every event.
//!
//! Source: Amazon EventBridge User Guide, "AWS service event structure". All its members are always there, except `resources`,
//! which Inspector's `AutoEnable` lacks. `version` is not read: it has always been `0`.

use std::borrow::Cow;

use jiff::Timestamp;

use super::{
    json::{Element, Object},
    poison::Poison,
};
use guard_core::ids::{AccountId, Region};

/// An envelope, its detail unread.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    pub(super) id: Cow<'a, str>,
    pub(super) source: Cow<'a, str>,
    pub(super) detail_type: Cow<'a, str>,
    pub(super) account: AccountId,
    pub(super) region: Region,
    pub(super) time: Option<Timestamp>,
    root: Object<'a>,
}

impl<'a> Envelope<'a> {
    pub(super) fn read(json: &'a str) -> Result<Self, Poison> {
        let root = Object::root(json)?;
        Ok(Self {
            id: root.required("id")?,
            source: root.required("source")?,
            detail_type: root.required("detail-type")?,
            account: root.required_id("account", "an AWS account id")?,
            region: root.required_id("region", "an AWS region")?,
            time: root.optional("time").and_then(|time| time.parse().ok()),
            root,
        })
    }

    /// The detail. It is only parsed when the detail type is known: that of an unknown type does not concern us.
    pub(super) fn detail(&self) -> Result<Object<'a>, Poison> {
        self.root
            .object("detail")?
            .ok_or_else(|| self.root.missing("detail", "an object"))
    }

    /// Ids or ARNs of what the event is about, by the envelope.
    pub(super) fn resources(&self) -> Result<Vec<Element<'a>>, Poison> {
        self.root.list("resources")
    }

    /// An error about absent resources.
    pub(super) fn no_resources(&self) -> Poison {
        self.root.missing("resources", "the resource that the event is about")
    }
}
