//! The envelope of every event: the type that `aws_lambda_events` has for it, and what it must not refuse an event for.
//!
//! Source: Amazon EventBridge User Guide, "AWS service event structure". All its members are always there, except `resources`,
//! which Inspector's `AutoEnable` lacks. `version` is not read: it has always been `0`.

use aws_lambda_events::eventbridge::EventBridgeEvent;
use jiff::Timestamp;
use serde::{Deserialize as _, de::value::MapDeserializer};
use serde_json::value::RawValue;

use super::{
    json::{Element, Object},
    poison::{Poison, Reason},
};
use guard_core::ids::{AccountId, Region};

/// The members that the type of the crate reads. It would refuse an event for one odd entry of `resources`, or for a `time`
/// that is none (as in a sample of AWS), and names no place in an error: those two are read here, and the strings are checked
/// before.
const TEXTS: [&str; 5] = ["id", "source", "detail-type", "account", "region"];

/// An envelope, its detail unread.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    pub(super) id: String,
    pub(super) source: String,
    pub(super) detail_type: String,
    pub(super) account: AccountId,
    pub(super) region: Region,
    pub(super) time: Option<Timestamp>,
    detail: Option<Box<RawValue>>,
    root: Object<'a>,
}

impl<'a> Envelope<'a> {
    pub(super) fn read(json: &'a str) -> Result<Self, Poison> {
        let root = Object::root(json)?;
        for name in ["id", "source", "detail-type"] {
            root.required(name)?;
        }
        let account = root.required_id("account", "an AWS account id")?;
        let region = root.required_id("region", "an AWS region")?;
        let members = root
            .members()
            .filter(|(name, _)| *name == "detail" || TEXTS.contains(name));
        let members = MapDeserializer::<_, serde_json::Error>::new(members);
        let event = EventBridgeEvent::<Option<Box<RawValue>>>::deserialize(members)
            .map_err(|_| Poison::at("$", Reason::invalid("an event of EventBridge", json)))?;
        Ok(Self {
            id: event.id.unwrap_or_default(),
            source: event.source,
            detail_type: event.detail_type,
            account,
            region,
            time: root.optional("time").and_then(|time| time.parse().ok()),
            detail: event.detail,
            root,
        })
    }

    /// The detail. It is only parsed when the detail type is known: that of an unknown type does not concern us.
    pub(super) fn detail(&self) -> Result<Object<'_>, Poison> {
        match &self.detail {
            Some(detail) => self.root.member("detail", detail),
            None => Err(self.root.missing("detail", "an object")),
        }
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
