//! The request to the function `operate`: `ecr-guard/operate/v1`.
//!
//! Members may be added; none is ever renamed, removed or given another meaning under the same `schema`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{
    ids::ImageKey,
    release::{MAX_REASON, MAX_TICKET},
    text::{self, hex},
    uses::ImageReference,
};

/// The name and version of a request.
pub const REQUEST_SCHEMA: &str = "ecr-guard/operate/v1";

/// The member that proves who asks. Everything else is what is asked.
const IDENTITY: &str = "identity";

/// The hexadecimal digits of the id of a request, which nobody may use twice.
pub const ID_DIGITS: usize = 32;

/// The largest request, in bytes. A presigned address with a session token has some 3,000.
pub const MAX_REQUEST_BYTES: usize = 20_000;

/// The action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Let a blocked image be pulled for some hours.
    Release,
    /// End that before its time.
    End,
}

/// The request, without the proof of the caller. Its [hash](Self::hash) is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskedRelease {
    /// `ecr-guard/operate/v1`.
    pub schema: String,
    /// 32 hexadecimal digits, made at random for this request.
    pub id: String,
    /// The action.
    pub action: Verb,
    /// The image by its digest: `ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY@sha256:…`.
    pub image: String,
    /// For how many hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<u32>,
    /// Why, in one line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The ticket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
}

/// The proof of who asks: a presigned request to AWS STS, which only the caller could make and the function sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedIdentity {
    /// The presigned address of `sts:GetCallerIdentity`.
    pub url: String,
    /// The headers that are signed with it.
    pub headers: BTreeMap<String, String>,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseRequest {
    /// The request.
    pub asked: AskedRelease,
    /// The image.
    pub image: ImageKey,
    /// Who asks.
    pub identity: SignedIdentity,
}

/// The request does not say what is asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidReleaseRequest(String);

impl AskedRelease {
    /// SHA-256 of its JSON form without white space, with the members in the order of this struct: 64 hexadecimal digits.
    pub fn hash(&self) -> String {
        hex(&Sha256::digest(serde_json::to_string(self).unwrap_or_default()))
    }

    fn image(&self) -> Result<ImageKey, InvalidReleaseRequest> {
        let reference: Option<ImageReference> = self.image.parse().ok();
        let problem =
            "`image` is not an image of ECR by its digest: `ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY@sha256:…`";
        let key = reference.and_then(|reference| reference.key());
        key.ok_or_else(|| InvalidReleaseRequest(problem.to_owned()))
    }

    fn check(&self) -> Result<(), InvalidReleaseRequest> {
        let invalid = |problem: String| Err(InvalidReleaseRequest(problem));
        if self.schema != REQUEST_SCHEMA {
            return invalid(format!("`schema` is not `{REQUEST_SCHEMA}`"));
        }
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if self.id.len() != ID_DIGITS || !self.id.bytes().all(is_hex) {
            return invalid(format!("`id` has not {ID_DIGITS} digits of `0-9 a-f`"));
        }
        for (name, text, longest) in [
            ("reason", &self.reason, MAX_REASON),
            ("ticket", &self.ticket, MAX_TICKET),
        ] {
            let is_line = |text: &String| !text.trim().is_empty() && text::line(text, longest) == *text;
            if text.as_ref().is_some_and(|text| !is_line(text)) {
                return invalid(format!("`{name}` is not one line of 1 to {longest} characters"));
            }
        }
        match self.action {
            Verb::Release if self.hours.is_none_or(|hours| hours == 0) => {
                invalid("`hours` is missing: a release lasts at least one hour".to_owned())
            }
            Verb::Release if self.reason.is_none() => invalid("`reason` is missing".to_owned()),
            Verb::End if self.hours.is_some() => invalid("`hours` is not for the end of a release".to_owned()),
            Verb::Release | Verb::End => Ok(()),
        }
    }
}

impl ReleaseRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// It is none; the error names the member.
    pub fn parse(json: &str) -> Result<Self, InvalidReleaseRequest> {
        if json.len() > MAX_REQUEST_BYTES {
            return Err(InvalidReleaseRequest(format!(
                "it has more than {MAX_REQUEST_BYTES} bytes"
            )));
        }
        let invalid = |error: serde_json::Error| InvalidReleaseRequest(text::line(&error.to_string(), 300));
        let mut value: Value = serde_json::from_str(json).map_err(invalid)?;
        let members = value.as_object_mut();
        let members = members.ok_or_else(|| InvalidReleaseRequest("it is no JSON object".to_owned()))?;
        let identity = members.remove(IDENTITY);
        let asked: AskedRelease = serde_json::from_value(value).map_err(invalid)?;
        asked.check()?;
        let identity = identity.ok_or_else(|| InvalidReleaseRequest(format!("`{IDENTITY}` is missing")))?;
        Ok(Self {
            image: asked.image()?,
            identity: serde_json::from_value(identity).map_err(invalid)?,
            asked,
        })
    }

    /// The JSON form.
    pub fn json(asked: &AskedRelease, identity: &SignedIdentity) -> Value {
        let mut value = serde_json::json!(asked);
        if let Some(members) = value.as_object_mut() {
            members.insert(IDENTITY.to_owned(), serde_json::json!(identity));
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Value {
        serde_json::json!({
            "schema": "ecr-guard/operate/v1", "id": "0123456789abcdef".repeat(2), "action": "release",
            "image": format!("123456789012.dkr.ecr.us-west-2.amazonaws.com/shop/api@sha256:{}", "ab".repeat(32)),
            "hours": 4, "reason": "checkout is down", "ticket": "SEC-77",
            "identity": {"url": "https://sts.us-west-2.amazonaws.com/", "headers": {}}
        })
    }

    fn with(name: &str, value: Value) -> String {
        let mut asked = asked();
        asked[name] = value;
        asked.to_string()
    }

    #[test]
    fn a_request_is_read_and_its_hash_is_that_of_what_is_asked() {
        let request = ReleaseRequest::parse(&asked().to_string()).unwrap();
        assert_eq!(request.image.repository.as_str(), "shop/api");
        assert_eq!(ReleaseRequest::json(&request.asked, &request.identity), asked());
        // Clients of other languages make the same text: members in this order, no white space.
        let text = format!(
            r#"{{"schema":"ecr-guard/operate/v1","id":"{}","action":"release","image":"{}","hours":4,"reason":"checkout is down","ticket":"SEC-77"}}"#,
            request.asked.id, request.asked.image
        );
        assert_eq!(request.asked.hash(), hex(&Sha256::digest(text)));
        for (name, value) in [
            ("hours", serde_json::json!(5)),
            ("reason", serde_json::json!("x")),
            ("ticket", serde_json::json!("SEC-7")),
            ("id", serde_json::json!("1".repeat(32))),
            ("image", serde_json::json!(request.asked.image.replace("api", "web"))),
        ] {
            let other = ReleaseRequest::parse(&with(name, value)).unwrap();
            assert_ne!(other.asked.hash(), request.asked.hash(), "{name}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused_and_the_member_is_named() {
        let image = |text: &str| with("image", text.into());
        let tag = "123456789012.dkr.ecr.us-west-2.amazonaws.com/shop/api:v1";
        for (json, names) in [
            ("{".to_owned(), "EOF"),
            ("[]".to_owned(), "object"),
            (with("schema", "v2".into()), "`schema`"),
            (with("id", "1".into()), "`id`"),
            (with("id", "G".repeat(32).into()), "`id`"),
            (with("action", "delete".into()), "delete"),
            (with("hours", 0.into()), "`hours`"),
            (with("hours", (-1).into()), "-1"),
            (with("hours", Value::Null), "`hours`"),
            (with("reason", "a\nb".into()), "`reason`"),
            (with("reason", " ".into()), "`reason`"),
            (with("reason", "x".repeat(301).into()), "`reason`"),
            (with("reason", Value::Null), "`reason`"),
            (with("ticket", "".into()), "`ticket`"),
            (with("identity", Value::Null), "null"),
            (with("principal", "root".into()), "principal"),
            (with("reason", "x".repeat(MAX_REQUEST_BYTES).into()), "bytes"),
            (image(tag), "`image`"),
            (image("nginx"), "`image`"),
            (image(""), "`image`"),
        ] {
            let error = ReleaseRequest::parse(&json).unwrap_err().to_string();
            assert!(error.contains(names), "{names}: {error}");
        }
        let mut unsigned = asked();
        unsigned.as_object_mut().unwrap().remove("identity");
        assert!(
            ReleaseRequest::parse(&unsigned.to_string())
                .unwrap_err()
                .to_string()
                .contains("`identity`")
        );
    }
}
