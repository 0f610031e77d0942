//! For tests: values as most tests need them.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that is wrong in itself should stop at once"
)]

use jiff::Timestamp;

use crate::{
    finding::{Finding, Findings, Fix, ScanMode, Severity},
    ids::{ImageKey, RegistryKey},
    image::{Image, ImageStatus},
    ledger::RecordedFinding,
    policy::Policy,
    release::{
        identity::{FUNCTION_HEADER, REQUEST_HEADER},
        request::{AskedRelease, SignedIdentity},
    },
};

/// The present, in tests.
///
/// # Panics
/// Never: the text is a timestamp.
pub fn now() -> Timestamp {
    "2026-11-24T12:00:00Z".parse().expect("a timestamp")
}

/// The image that most tests are about.
///
/// # Panics
/// Never: the parts are valid.
pub fn image_key() -> ImageKey {
    ImageKey {
        account: "123456789012".parse().unwrap(),
        region: "us-west-2".parse().unwrap(),
        repository: "pipeops-prod-api".parse().unwrap(),
        digest: format!("sha256:{}", "ab12".repeat(16)).parse().unwrap(),
    }
}

/// The registry of [`image_key`].
pub fn registry_key() -> RegistryKey {
    let key = image_key();
    RegistryKey {
        account: key.account,
        region: key.region,
    }
}

/// A policy with one topic, in enforce mode, and these further members.
///
/// # Panics
/// The members do not make a valid policy.
pub fn policy(members: &str) -> Policy {
    policy_in("enforce", members)
}

/// A policy with one topic, in this mode, and these further members.
///
/// # Panics
/// The members do not make a valid policy.
pub fn policy_in(mode: &str, members: &str) -> Policy {
    let comma = if members.is_empty() { "" } else { "," };
    let json = format!(
        r#"{{"version": 1, "mode": "{mode}", "routes": {{"default": "arn:aws:sns:us-west-2:123456789012:alerts"}}{comma}{members}}}"#
    );
    Policy::from_json(&json, now()).unwrap()
}

/// An image that was pushed an hour ago under the tag `v1.2.3` and never pulled.
pub fn image(key: &ImageKey) -> Image {
    Image {
        digest: key.digest.clone(),
        tags: vec!["v1.2.3".parse().unwrap()],
        status: ImageStatus::Active,
        pushed_at: Some(now() - jiff::SignedDuration::from_hours(1)),
        last_pulled_at: None,
        last_activated_at: None,
        manifest_media_type: Some("application/vnd.oci.image.manifest.v1+json".to_owned()),
        artifact_media_type: Some("application/vnd.oci.image.config.v1+json".to_owned()),
        subject: None,
    }
}

/// A finding of basic scanning.
pub fn finding(id: &str, severity: Severity) -> Finding {
    Finding {
        id: id.to_owned(),
        related: Vec::new(),
        severity,
        package: Some("openssl".to_owned()),
        package_type: Some("OS".to_owned()),
        installed: Some("3.0.1".to_owned()),
        fixed_in: None,
        fix: Fix::Unknown,
        exploit: None,
        score: None,
        epss: None,
        url: None,
    }
}

/// A finding of basic scanning, as the ledger remembers it under the default policy.
pub fn recorded(id: &str, severity: Severity) -> RecordedFinding {
    let finding = finding(id, severity);
    let consequence = policy("").consequence(&finding, &image_key().repository);
    RecordedFinding {
        id: finding.id,
        related: finding.related,
        severity,
        package: finding.package,
        package_type: finding.package_type,
        installed: finding.installed,
        fixed_in: finding.fixed_in,
        fix: finding.fix,
        exploit: finding.exploit,
        score: finding.score,
        epss: finding.epss,
        url: finding.url,
        action: consequence.action,
        rule: consequence.rule.to_string(),
        first_seen: now(),
        stands_for: 1,
        excepted_by: None,
        exception: None,
    }
}

/// A finished basic scan with these findings.
pub fn scan(findings: Vec<Finding>) -> Findings {
    Findings {
        mode: ScanMode::Basic,
        completed_at: Some(now()),
        findings,
        counts: std::collections::BTreeMap::new(),
        unlisted: std::collections::BTreeMap::new(),
        counted_by_event: std::collections::BTreeMap::new(),
        hidden: 0,
        has_result: true,
        in_use_count: None,
        last_in_use_at: None,
    }
}

/// The proof of who asks, as the command line makes it at this time, for the function of this ARN.
pub fn signed_identity(asked: &AskedRelease, function: &str, at: Timestamp) -> SignedIdentity {
    let (day, time) = (at.strftime("%Y%m%d"), at.strftime("%Y%m%dT%H%M%SZ"));
    SignedIdentity {
        url: format!(
            "https://sts.us-west-2.amazonaws.com/?Action=GetCallerIdentity&Version=2011-06-15&X-Amz-Algorithm=AWS4-HMAC-SHA256\
             &X-Amz-Credential=AKIDEXAMPLE%2F{day}%2Fus-west-2%2Fsts%2Faws4_request&X-Amz-Date={time}&X-Amz-Expires=60\
             &X-Amz-SignedHeaders=host%3Bx-ecr-guard-function%3Bx-ecr-guard-request&X-Amz-Signature={}",
            "ab".repeat(32)
        ),
        headers: [
            (FUNCTION_HEADER.to_owned(), function.to_owned()),
            (REQUEST_HEADER.to_owned(), asked.hash()),
        ]
        .into(),
    }
}
