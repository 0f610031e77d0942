//! For tests: values as most tests need them.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that is wrong in itself should stop at once"
)]

use jiff::{SignedDuration, Timestamp};

use crate::{
    finding::{Finding, Findings, Fix, ScanMode, Severity},
    ids::{ImageKey, RegistryKey},
    image::{Image, ImageStatus},
    ledger::RecordedFinding,
    policy::Policy,
    release::{
        Requester, TimedRelease,
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

/// A release by a person that ends then, and was not alerted yet.
pub fn release(until: Timestamp) -> TimedRelease {
    TimedRelease {
        until,
        by: Requester {
            account: registry_key().account,
            name: "role/oncall".to_owned(),
            session: None,
        },
        reason: "a demo".to_owned(),
        ticket: None,
        given_at: now() - SignedDuration::from_mins(90),
        ended: None,
        told_at: None,
        end_told_at: None,
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

/// Choices that look random, and are the same in every run.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The choices of this number.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1)
    }

    /// A number below this one. (Marsaglia, "Xorshift RNGs", 2003.)
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 16) % limit as u64).unwrap_or_default()
    }

    /// True once in this number of cases.
    pub fn one_in(&mut self, number: usize) -> bool {
        self.below(number) == 0
    }

    /// One of these.
    ///
    /// # Panics
    /// There is none.
    pub fn of<T: Clone>(&mut self, these: &[T]) -> T {
        these.get(self.below(these.len())).expect("one of them").clone()
    }

    /// Mostly the first, otherwise one of the others.
    pub fn mostly<T: Clone>(&mut self, usual: T, others: &[T]) -> T {
        if self.one_in(4) { self.of(others) } else { usual }
    }

    /// One of these, or none of them.
    pub fn maybe<T: Clone>(&mut self, these: &[T]) -> Option<T> {
        if self.one_in(2) { Some(self.of(these)) } else { None }
    }
}

/// Around a limit that is counted from the past: a second before it, the limit, and a second after it.
pub fn around(limit: jiff::SignedDuration) -> [Timestamp; 3] {
    let second = jiff::SignedDuration::from_secs(1);
    [now() - limit - second, now() - limit, now() - limit + second]
}

/// The results of many cases: how often each was seen, and in which case first. One line for each, to be read in review.
#[derive(Debug, Default)]
pub struct Tally {
    seen: std::collections::BTreeMap<String, (usize, String)>,
}

impl Tally {
    /// A case has this result.
    pub fn see(&mut self, case: &str, result: impl Into<String>) {
        self.seen.entry(result.into()).or_insert_with(|| (0, case.to_owned())).0 += 1;
    }

    /// A case has this document as its result. Each member is a result of its own; of those in `but`, only whether they are there.
    pub fn see_members(&mut self, case: &str, name: &str, document: &serde_json::Value, but: &[&str]) {
        match document {
            serde_json::Value::Object(members) => {
                for (key, member) in members {
                    if but.contains(&key.as_str()) {
                        self.see(case, format!("{name}.{key} is there"));
                    } else {
                        self.see_members(case, &format!("{name}.{key}"), member, but);
                    }
                }
            }
            serde_json::Value::Array(entries) => {
                self.see(case, format!("{name}: {} entries", entries.len()));
                for entry in entries {
                    self.see_members(case, &format!("{name}[]"), entry, but);
                }
            }
            // Each sentence is a result of its own.
            serde_json::Value::String(text) => {
                for sentence in text.split_inclusive(". ") {
                    self.see(case, format!("{name}: {}", sentence.trim_end()));
                }
            }
            other => self.see(case, format!("{name}: {other}")),
        }
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (result, (number, case)) in &self.seen {
            writeln!(f, "{number:>5} × {result}    ({case})")?;
        }
        Ok(())
    }
}
