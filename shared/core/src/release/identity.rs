//! Who asks: the proof of a presigned `sts:GetCallerIdentity`, as `aws-iam-authenticator` and `HashiCorp` Vault use it.
//!
//! Lambda does not say who invoked a function. So the caller signs a request to AWS STS, and the function sends it: STS answers
//! the ARN of the signer. Two headers are signed with it, so that the proof is for this function and for this request alone.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};

use crate::{
    ids::{AccountId, Region, registry_suffix},
    release::{Requester, request::SignedIdentity},
    text,
};

/// The header with the ARN of the function.
pub const FUNCTION_HEADER: &str = "x-ecr-guard-function";

/// The header with the hash of what is asked.
pub const REQUEST_HEADER: &str = "x-ecr-guard-request";

/// The headers that are signed, in the order of `SigV4`: by name.
pub const SIGNED_HEADERS: &str = "host;x-ecr-guard-function;x-ecr-guard-request";

/// For how many seconds a proof may be valid.
pub const MAX_EXPIRES: i64 = 60;

/// So far the clock of a caller may be ahead.
const MAX_AHEAD: SignedDuration = SignedDuration::from_secs(60);

/// For how long the id of a request is remembered: longer than any proof is valid.
pub const REPLAY_WINDOW: SignedDuration = SignedDuration::from_mins(10);

/// The longest address. A session token may have some 2,000 characters.
const MAX_URL: usize = 12_000;

/// The parameters of the address. Each stands there once, but for the token of a session, which may be missing.
const SECURITY_TOKEN: &str = "X-Amz-Security-Token";
const PARAMETERS: [&str; 8] = [
    "Action",
    "Version",
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
];

/// The operation. Source: API reference of AWS STS, `GetCallerIdentity`.
pub const ACTION: &str = "GetCallerIdentity";

/// The version of the API.
pub const VERSION: &str = "2011-06-15";

/// The name of the regional endpoint of AWS STS.
pub fn sts_host(region: &Region) -> String {
    format!("sts.{region}.{}", registry_suffix(region))
}

/// A function without its alias or version, and that. Lambda takes a name, a name with its account, and an ARN, each with an alias or without
/// (API reference of Lambda, "Invoke"); a name has no colon.
pub fn function_and_alias(function: &str) -> (&str, Option<&str>) {
    let name = function.rsplit_once(":function:").map_or(function, |(_, name)| name);
    let alias = name.split_once(':').map(|(_, alias)| alias);
    let rest = alias.and_then(|alias| function.strip_suffix(alias)?.strip_suffix(':'));
    (rest.unwrap_or(function), alias)
}

/// The values that a proof must be for.
#[derive(Debug, Clone, Copy)]
pub struct ExpectedCall<'a> {
    /// The region of the function. Its endpoint of STS is the only one that is asked.
    pub region: &'a Region,
    /// The ARN of the function, without alias or version.
    pub function: &'a str,
    /// The hash of what is asked.
    pub request: &'a str,
}

/// Why somebody is not identified.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unidentified {
    /// The proof is no longer valid.
    #[error("the proof of who asks has expired, or the clock of the caller is wrong")]
    Expired,
    /// It is none, or is for something else.
    #[error("the proof of who asks is not valid: {0}")]
    Invalid(String),
    /// STS refuses it.
    #[error("AWS STS refuses the proof of who asks ({0})")]
    Refused(String),
}

fn invalid<T>(problem: impl Into<String>) -> Result<T, Unidentified> {
    Err(Unidentified::Invalid(problem.into()))
}

/// The request to STS, by `GET` at [`sts_host`]: every part of it was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsRequest {
    /// The host.
    pub host: String,
    /// The query, without `?`.
    pub query: String,
    /// The signed headers in addition to the host.
    pub headers: [(&'static str, String); 2],
}

/// Checks a proof, as far as that goes without STS, which checks the signature.
///
/// # Errors
/// It is not valid, or is for another function or request.
pub fn check(
    identity: &SignedIdentity,
    expected: ExpectedCall<'_>,
    now: Timestamp,
) -> Result<StsRequest, Unidentified> {
    let host = sts_host(expected.region);
    let query = query(&identity.url, &host)?;
    let parameters = parameters(query)?;
    let is = |name: &'static str, wanted: &str| match parameters.get(name) {
        Some(value) if value == wanted => Ok(()),
        _ => invalid(format!("`{name}` is not `{wanted}`")),
    };
    is("Action", ACTION)?;
    is("Version", VERSION)?;
    is("X-Amz-Algorithm", "AWS4-HMAC-SHA256")?;
    is("X-Amz-SignedHeaders", SIGNED_HEADERS)?;
    let of = |name: &str| parameters.get(name).map_or("", String::as_str);
    let at = date(of("X-Amz-Date"))?;
    scope(of("X-Amz-Credential"), of("X-Amz-Date"), expected.region)?;
    let signature = of("X-Amz-Signature");
    if signature.len() != 64 || !signature.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return invalid("`X-Amz-Signature` has not 64 hexadecimal digits");
    }
    let headers = headers(identity, expected)?;
    let expires: i64 = match of("X-Amz-Expires").parse() {
        Ok(seconds) if (1..=MAX_EXPIRES).contains(&seconds) => seconds,
        _ => return invalid(format!("`X-Amz-Expires` is not between 1 and {MAX_EXPIRES}")),
    };
    if now >= at + SignedDuration::from_secs(expires) || at > now + MAX_AHEAD {
        return Err(Unidentified::Expired);
    }
    Ok(StsRequest {
        host,
        query: query.to_owned(),
        headers,
    })
}

/// The query of an address that is exactly `https://<host>/?<query>`.
fn query<'a>(url: &'a str, host: &str) -> Result<&'a str, Unidentified> {
    if url.len() > MAX_URL {
        return invalid(format!("the address has more than {MAX_URL} characters"));
    }
    let Some(rest) = url.strip_prefix("https://") else {
        return invalid("the address does not begin with `https://`");
    };
    // Up to the first `/`: user names, ports and other hosts are another text than the name of the host.
    match rest.split_once('/') {
        Some((named, _)) if named != host => invalid(format!("the address is not of `{host}`")),
        None => invalid(format!("the address is not of `{host}`")),
        Some((_, path)) => match path.strip_prefix('?') {
            Some(query) if query.bytes().all(is_of_query) => Ok(query),
            Some(_) => invalid("the address has characters that no query has"),
            None => invalid("the address has a path"),
        },
    }
}

/// The bytes that `SigV4` leaves as they are in a query, with the separators and `%` ("Create a signed AWS API request",
/// canonical query string).
fn is_of_query(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%&=".contains(&byte)
}

/// The parameters with their values decoded: those that are known, each once.
fn parameters(query: &str) -> Result<BTreeMap<&str, String>, Unidentified> {
    let mut found = BTreeMap::new();
    for pair in query.split('&') {
        let Some((name, value)) = pair.split_once('=') else {
            return invalid("a parameter has no value");
        };
        // A name that is written another way is another name.
        if !PARAMETERS.contains(&name) && name != SECURITY_TOKEN {
            return invalid(format!("it has the parameter `{}`", text::line(name, 60)));
        }
        let Some(value) = decoded(value) else {
            return invalid(format!("`{name}` cannot be read"));
        };
        if found.insert(name, value).is_some() {
            return invalid(format!("`{name}` stands there twice"));
        }
    }
    match PARAMETERS.into_iter().find(|name| !found.contains_key(name)) {
        Some(missing) => invalid(format!("`{missing}` is missing")),
        None => Ok(found),
    }
}

/// A value without percent signs; `None`: it is malformed, or stands for more than visible ASCII.
fn decoded(value: &str) -> Option<String> {
    let mut rest = value.split('%');
    let mut text = rest.next()?.to_owned();
    for part in rest {
        let (digits, plain) = part.split_at_checked(2)?;
        let byte = u8::from_str_radix(digits, 16)
            .ok()
            .filter(|_| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
        text.push(char::from(byte));
        text.push_str(plain);
    }
    text.chars().all(|c| c.is_ascii_graphic()).then_some(text)
}

/// `20261124T120000Z`.
fn date(text: &str) -> Result<Timestamp, Unidentified> {
    let time = DateTime::strptime("%Y%m%dT%H%M%SZ", text)
        .ok()
        .filter(|_| text.len() == 16);
    let at = time.and_then(|time| TimeZone::UTC.to_timestamp(time).ok());
    at.map_or_else(|| invalid("`X-Amz-Date` is no time"), Ok)
}

/// `AKIDEXAMPLE/20261124/us-west-2/sts/aws4_request`: a key that is valid for another service or region is refused.
fn scope(credential: &str, date: &str, region: &Region) -> Result<(), Unidentified> {
    let parts: Vec<&str> = credential.split('/').collect();
    let [key, day, of_region, service, end] = parts.as_slice() else {
        return invalid("`X-Amz-Credential` has not five parts");
    };
    let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_key || !date.starts_with(day) || day.len() != 8 || *end != "aws4_request" {
        return invalid("`X-Amz-Credential` is malformed");
    }
    if *service != "sts" || *of_region != region.as_str() {
        return invalid(format!("`X-Amz-Credential` is not for `sts` in `{region}`"));
    }
    Ok(())
}

fn headers(identity: &SignedIdentity, expected: ExpectedCall<'_>) -> Result<[(&'static str, String); 2], Unidentified> {
    let header = |name: &'static str, wanted: &str| match identity.headers.get(name) {
        Some(value) if value == wanted => Ok((name, wanted.to_owned())),
        Some(_) => invalid(format!("the header `{name}` is for another one")),
        None => invalid(format!("the header `{name}` is missing")),
    };
    let headers = [
        header(FUNCTION_HEADER, expected.function)?,
        header(REQUEST_HEADER, expected.request)?,
    ];
    if identity.headers.len() != headers.len() {
        return invalid("it has more headers than those that are signed");
    }
    Ok(headers)
}

/// Who STS says it is, by its answer.
///
/// # Errors
/// STS refuses, or answers something else than the API reference says.
pub fn requester(status: u16, body: &str) -> Result<Requester, Unidentified> {
    if status != 200 {
        let code = element(body, "Code").unwrap_or_default();
        if code == "ExpiredToken" || code == "ExpiredTokenException" {
            return Err(Unidentified::Expired);
        }
        return Err(Unidentified::Refused(
            format!("{status} {}", text::line(code, 60)).trim_end().to_owned(),
        ));
    }
    let (arn, account) = (element(body, "Arn"), element(body, "Account"));
    let (Some(arn), Some(account)) = (arn, account) else {
        return invalid("the answer of AWS STS names nobody");
    };
    of_arn(arn, account)
}

/// The text of an element that stands in a document once. The elements that we ask for have neither attributes nor characters
/// that XML must escape.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let (_, rest) = xml.split_once(&open)?;
    let (text, after) = rest.split_once(&close)?;
    (!after.contains(&open) && !text.contains(['<', '&'])).then_some(text)
}

/// Source of the forms: IAM user guide, "IAM identifiers". `arn:aws:sts::123456789012:assumed-role/NAME/SESSION`, where the role has lost its
/// path, and `arn:aws:iam::123456789012:user/path/NAME`. The root user and federated users are nobody in particular.
fn of_arn(arn: &str, account: &str) -> Result<Requester, Unidentified> {
    let nobody = || Unidentified::Invalid(format!("`{}` is neither a role nor a user", text::line(arn, 200)));
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", _, service, "", of_account, resource] = parts.as_slice() else {
        return Err(nobody());
    };
    let of_account: AccountId = of_account.parse().map_err(|_| nobody())?;
    if of_account.as_str() != account {
        return Err(nobody());
    }
    let parts: Vec<&str> = resource.split('/').collect();
    let (name, session) = match (*service, parts.as_slice()) {
        ("sts", ["assumed-role", role, session]) => (format!("role/{role}"), Some((*session).to_owned())),
        ("iam", ["user", .., user]) => (format!("user/{user}"), None),
        _ => return Err(nobody()),
    };
    // Source: IAM API reference, `CreateRole`; STS API reference, `AssumeRole`, `RoleSessionName`.
    let is_plain = |text: &str| {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
        !text.is_empty() && text.len() <= 64 && text.bytes().all(known)
    };
    let bare = name.split_once('/').map_or("", |(_, bare)| bare);
    if !is_plain(bare) || session.as_deref().is_some_and(|session| !is_plain(session)) {
        return Err(nobody());
    }
    Ok(Requester {
        account: of_account,
        name,
        session,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::now;

    const FUNCTION: &str = "arn:aws:lambda:us-west-2:123456789012:function:guard-operate";

    #[test]
    fn an_alias_is_taken_from_a_function_however_that_is_named() {
        let arn = "arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-gate";
        for name in [
            "ecr-guard-gate",
            "my-function",
            "function",
            "123456789012:function:ecr-guard-gate",
            arn,
        ] {
            assert_eq!(function_and_alias(name), (name, None));
            for alias in ["live", "7", "$LATEST", "function"] {
                let whole = format!("{name}:{alias}");
                assert_eq!(function_and_alias(&whole), (name, Some(alias)), "{whole}");
            }
        }
    }

    fn hash() -> String {
        "0a".repeat(32)
    }

    fn url() -> String {
        format!(
            "https://sts.us-west-2.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIDEXAMPLE%2F20261124%2Fus-west-2%2Fsts%2Faws4_request&X-Amz-Date=20261124T120000Z&X-Amz-Expires=60\
             &X-Amz-Security-Token=IQoJb3%2F%2Bx%3D%3D&X-Amz-SignedHeaders=host%3Bx-ecr-guard-function%3Bx-ecr-guard-request\
             &X-Amz-Signature={}",
            "ab".repeat(32)
        )
    }

    fn identity(url: String) -> SignedIdentity {
        SignedIdentity {
            url,
            headers: [
                (FUNCTION_HEADER.to_owned(), FUNCTION.to_owned()),
                (REQUEST_HEADER.to_owned(), hash()),
            ]
            .into(),
        }
    }

    fn checked(identity: &SignedIdentity, at: Timestamp) -> Result<StsRequest, Unidentified> {
        let region = "us-west-2".parse().unwrap();
        let request = hash();
        let expected = ExpectedCall {
            region: &region,
            function: FUNCTION,
            request: &request,
        };
        check(identity, expected, at)
    }

    #[test]
    fn a_proof_for_this_request_is_sent_to_sts_as_it_is() {
        let asked = checked(&identity(url()), now()).unwrap();
        assert_eq!(asked.host, "sts.us-west-2.amazonaws.com");
        assert_eq!(format!("https://{}/?{}", asked.host, asked.query), url());
        assert_eq!(
            asked.headers,
            [(FUNCTION_HEADER, FUNCTION.to_owned()), (REQUEST_HEADER, hash())]
        );
        // Without a session there is no token.
        let lasting = url().replace("&X-Amz-Security-Token=IQoJb3%2F%2Bx%3D%3D", "");
        assert!(checked(&identity(lasting), now()).is_ok());
    }

    #[test]
    fn an_address_of_anybody_else_is_refused() {
        for host in [
            "sts.us-west-2.amazonaws.com.evil.example",
            "evil.example",
            "sts.amazonaws.com",
            "sts.us-east-1.amazonaws.com",
            "user@sts.us-west-2.amazonaws.com",
            "sts.us-west-2.amazonaws.com:443",
            "sts.us-west-2.amazonaws.com:80@evil.example",
            "sts.us-west-2.amazonaws.com.",
            "STS.us-west-2.amazonaws.com",
            "sts.us-west-2.amazonaws.com\\@evil.example",
            "evil.example#sts.us-west-2.amazonaws.com",
            "evil.example?sts.us-west-2.amazonaws.com",
            "sts.us-west-2.amazonaws.com.cn",
            "[::1]",
            "169.254.169.254",
            "",
        ] {
            let url = url().replacen("sts.us-west-2.amazonaws.com", host, 1);
            assert!(
                matches!(checked(&identity(url), now()), Err(Unidentified::Invalid(_))),
                "{host}"
            );
        }
        for (from, to) in [
            ("https://", "http://"),
            ("https://", "HTTPS://"),
            ("https://", " https://"),
            ("https://", "//"),
            ("/?", "/x?"),
            ("/?", "//?"),
            ("/?", "?"),
            ("/?", "/#?"),
            ("/?", "/;?"),
        ] {
            let url = url().replacen(from, to, 1);
            assert!(
                matches!(checked(&identity(url), now()), Err(Unidentified::Invalid(_))),
                "{from} {to}"
            );
        }
        for end in ["#", "#x", " ", "\r\nHost: evil.example", "\u{e9}", "&", "?x=1"] {
            let url = url() + end;
            assert!(
                matches!(checked(&identity(url), now()), Err(Unidentified::Invalid(_))),
                "{end:?}"
            );
        }
    }

    #[test]
    fn a_request_for_anything_else_is_refused() {
        for (from, to) in [
            ("Action=GetCallerIdentity", "Action=AssumeRole"),
            ("Action=GetCallerIdentity", "Action=GetCallerIdentity&Action=AssumeRole"),
            ("Action=GetCallerIdentity", "Action=AssumeRole&Action=GetCallerIdentity"),
            ("Action=GetCallerIdentity", "Action=GetCallerIdentity&action=AssumeRole"),
            (
                "Action=GetCallerIdentity",
                "Action=GetCallerIdentity&%41ction=AssumeRole",
            ),
            ("Action=GetCallerIdentity", "Action=GetCallerIdentity&RoleArn=x"),
            ("Action=GetCallerIdentity&", ""),
            ("Action=GetCallerIdentity", "Action"),
            ("Version=2011-06-15", "Version=2011-06-16"),
            ("Version=2011-06-15", "Version=2011-06-15&Version=2011-06-15"),
            ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256"),
            ("%2Fsts%2F", "%2Fs3%2F"),
            ("%2Fus-west-2%2F", "%2Fus-east-1%2F"),
            ("20261124%2F", "20261123%2F"),
            ("20261124%2F", "%2F"),
            ("aws4_request", "aws4_request%2Fx"),
            ("AKIDEXAMPLE%2F", "%2F"),
            ("X-Amz-Date=20261124T120000Z", "X-Amz-Date=now"),
            ("X-Amz-Date=20261124T120000Z", "X-Amz-Date=20261124T250000Z"),
            ("X-Amz-Expires=60", "X-Amz-Expires=61"),
            ("X-Amz-Expires=60", "X-Amz-Expires=0"),
            ("X-Amz-Expires=60", "X-Amz-Expires=-1"),
            ("X-Amz-Expires=60", "X-Amz-Expires=604800"),
            ("X-Amz-Expires=60", "X-Amz-Expires=60&X-Amz-Expires=604800"),
            ("X-Amz-Expires=60&", ""),
            ("host%3Bx-ecr-guard-function%3Bx-ecr-guard-request", "host"),
            (
                "host%3Bx-ecr-guard-function%3Bx-ecr-guard-request",
                "host%3Bx-ecr-guard-function",
            ),
            (
                "host%3Bx-ecr-guard-function%3Bx-ecr-guard-request",
                "host%3Bx-ecr-guard-request",
            ),
            (
                "host%3Bx-ecr-guard-function%3Bx-ecr-guard-request",
                "x-ecr-guard-function%3Bx-ecr-guard-request",
            ),
            ("host%3Bx-ecr", "host%3Bx-amz-target%3Bx-ecr"),
            ("X-Amz-Signature=ab", "X-Amz-Signature="),
            ("X-Amz-Signature=ab", "X-Amz-Signature=xy"),
            ("X-Amz-Security-Token=", "X-Amz-Security-Token=%0d%0a"),
            ("X-Amz-Security-Token=", "X-Amz-Security-Token=%"),
        ] {
            let changed = url().replacen(from, to, 1);
            assert_ne!(changed, url(), "{from}");
            assert!(
                matches!(checked(&identity(changed), now()), Err(Unidentified::Invalid(_))),
                "{from} {to}"
            );
        }
    }

    #[test]
    fn a_proof_for_another_function_or_request_is_refused() {
        let mut cases = Vec::new();
        for name in [FUNCTION_HEADER, REQUEST_HEADER] {
            let mut other = identity(url());
            other
                .headers
                .insert(name.to_owned(), FUNCTION.replace("guard", "other"));
            cases.push(other);
            let mut missing = identity(url());
            missing.headers.remove(name);
            cases.push(missing);
        }
        let mut more = identity(url());
        more.headers.insert("host".to_owned(), "evil.example".to_owned());
        cases.push(more);
        for identity in cases {
            assert!(
                matches!(checked(&identity, now()), Err(Unidentified::Invalid(_))),
                "{identity:?}"
            );
        }
    }

    #[test]
    fn a_proof_is_valid_for_its_time_and_not_before_or_after() {
        let at = |seconds: i64| checked(&identity(url()), now() + SignedDuration::from_secs(seconds));
        assert!(at(0).is_ok() && at(59).is_ok() && at(-60).is_ok());
        assert_eq!(at(60), Err(Unidentified::Expired));
        assert_eq!(at(-61), Err(Unidentified::Expired));
        assert_eq!(at(86400), Err(Unidentified::Expired));
    }

    fn answered(arn: &str, account: &str) -> Result<Requester, Unidentified> {
        let body = format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\n  <GetCallerIdentityResult>\n    <Arn>{arn}</Arn>\n    \
             <UserId>AROA:alice</UserId>\n    <Account>{account}</Account>\n  </GetCallerIdentityResult>\n</GetCallerIdentityResponse>"
        );
        requester(200, &body)
    }

    #[test]
    fn the_answer_of_sts_names_a_role_or_a_user() {
        for (arn, name, session) in [
            (
                "arn:aws:sts::123456789012:assumed-role/oncall/alice",
                "role/oncall",
                Some("alice"),
            ),
            (
                "arn:aws-cn:sts::123456789012:assumed-role/AWSReservedSSO_OnCall_0123456789abcdef/a@example.com",
                "role/AWSReservedSSO_OnCall_0123456789abcdef",
                Some("a@example.com"),
            ),
            ("arn:aws:iam::123456789012:user/alice", "user/alice", None),
            ("arn:aws:iam::123456789012:user/division/alice", "user/alice", None),
        ] {
            let by = answered(arn, "123456789012").unwrap();
            assert_eq!((by.name.as_str(), by.session.as_deref()), (name, session));
        }
        for arn in [
            "arn:aws:iam::123456789012:root",
            "arn:aws:sts::123456789012:federated-user/alice",
            "arn:aws:sts::123456789012:assumed-role/oncall",
            "arn:aws:sts::123456789012:assumed-role/a/b/c",
            "arn:aws:sts::123456789012:assumed-role//alice",
            "arn:aws:iam::210987654321:user/alice",
            "arn:aws:iam::123456789012:role/oncall",
            "arn:aws:iam::123456789012:user/",
            "alice",
            "",
            "arn:aws:iam::123456789012:user/a&#47;b",
        ] {
            assert!(
                matches!(answered(arn, "123456789012"), Err(Unidentified::Invalid(_))),
                "{arn}"
            );
        }
    }

    #[test]
    fn what_sts_refuses_or_does_not_say_is_nobody() {
        let error =
            "<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>x</Message></Error></ErrorResponse>";
        assert_eq!(
            requester(403, error),
            Err(Unidentified::Refused("403 SignatureDoesNotMatch".to_owned()))
        );
        let expired = error.replace("SignatureDoesNotMatch", "ExpiredToken");
        assert_eq!(requester(403, &expired), Err(Unidentified::Expired));
        // A redirect is no answer.
        assert_eq!(requester(302, ""), Err(Unidentified::Refused("302".to_owned())));
        let arn = "<Arn>arn:aws:iam::123456789012:user/alice</Arn>";
        for body in [
            "",
            "{}",
            arn,
            &format!("{arn}{arn}<Account>123456789012</Account>"),
            &format!("{arn}<Account>123456789012</Account><Account>123456789012</Account>"),
        ] {
            assert!(matches!(requester(200, body), Err(Unidentified::Invalid(_))), "{body}");
        }
    }
}
