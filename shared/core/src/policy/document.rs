//! The policy as people write it: a JSON document. Unknown fields are errors.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use jiff::civil::Date;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, MapAccess, Visitor},
};

use super::super::finding::Severity;
use super::super::repository::lifecycle::LifecycleRule;
use super::super::uses::{LambdaVersions, WhenUnknown};
#[cfg(feature = "schema")]
use super::schema::{RELEASE_PRINCIPAL, REPOSITORY_GLOB, VULNERABILITY_GLOB, keep_count, routes, tidy};

/// The policy document.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", schemars(title = "ecr-guard policy"))]
pub struct Document {
    /// Address of a JSON Schema, for editors. Not read.
    #[serde(rename = "$schema", default, skip_serializing)]
    schema: Option<String>,
    /// Notes for readers. Not read.
    #[serde(rename = "$comment", default, skip_serializing)]
    comment: Option<Comment>,
    /// Version of this form: 1.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1)))]
    pub(super) version: u32,
    /// Whether anything is changed in the registry. An entry of `repositories` may say otherwise for its repositories.
    pub(super) mode: Mode,
    /// The action for a finding of each severity. A severity that is not named keeps its default: CRITICAL block, HIGH and
    /// UNDEFINED review, MEDIUM monitor, LOW and INFORMATIONAL inform.
    #[serde(default, deserialize_with = "each_once")]
    #[cfg_attr(feature = "schema", schemars(schema_with = "by_severity"))]
    pub(super) severities: BTreeMap<String, Action>,
    /// The action for a finding of each severity when the scanner says that there is no fix. A severity that is not named is
    /// treated like a fixable one.
    #[serde(default, deserialize_with = "each_once")]
    #[cfg_attr(feature = "schema", schemars(schema_with = "by_severity"))]
    pub(super) unfixable: BTreeMap<String, Action>,
    /// The least action for a finding with a known exploit, whatever its severity.
    #[serde(default)]
    pub(super) exploitable: Option<Action>,
    /// Actions that depend on more than the severity. Among the entries without `more_than`, the first whose conditions hold
    /// decides in place of `severities` and `unfixable`.
    #[serde(default)]
    pub(super) rules: Vec<RuleSection>,
    /// When there is no usable scan.
    #[serde(default)]
    pub(super) scan: ScanSection,
    /// How and when images are blocked.
    #[serde(default)]
    pub(super) block: BlockSection,
    /// Findings that do not count, for a time.
    #[serde(default)]
    pub(super) exceptions: Vec<ExceptionSection>,
    /// Settings by repository. The first entry that matches wins.
    #[serde(default)]
    pub(super) repositories: Vec<RepositorySection>,
    /// Topics that alerts go to, by name. `default` must be there.
    #[serde(deserialize_with = "each_once")]
    #[cfg_attr(feature = "schema", schemars(schema_with = "routes"))]
    pub(super) routes: BTreeMap<String, String>,
    /// The key of a tag of ECR repositories whose value names the route of the repository's alerts. It goes before the route of an entry of
    /// `repositories`; a value that is no name in `routes` counts for nothing.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 128)))]
    pub(super) route_by_tag: Option<String>,
    /// The daily digest.
    #[serde(default)]
    pub(super) digest: DigestSection,
    /// How many alerts are sent one by one.
    #[serde(default)]
    pub(super) alerts: AlertsSection,
    /// Whom people ask about alerts. Every alert shows it.
    #[serde(default)]
    pub(super) contact: ContactSection,
    /// The answers of the function `gate`, which says whether an image may be deployed.
    #[serde(default)]
    pub(super) gate: GateSection,
    /// Who may release a blocked image for some hours, through the function `operate`. Without it, nobody may.
    #[serde(default)]
    pub(super) release: Option<ReleaseSection>,
    /// It is known and accepted that CRITICAL findings do not block: the check does not warn of it.
    #[serde(default)]
    pub(super) accept_risk: bool,
}

#[cfg(feature = "schema")]
impl Document {
    /// The JSON Schema. `routes` may be missing: a file that Terraform completes has none.
    pub fn schema() -> serde_json::Value {
        let mut schema = schemars::schema_for!(Self).to_value();
        tidy(&mut schema);
        if let Some(required) = schema.get_mut("required").and_then(serde_json::Value::as_array_mut) {
            required.retain(|member| member != "routes");
        }
        schema
    }
}

/// Actions by severity.
#[cfg(feature = "schema")]
fn by_severity(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({
        "type": "object",
        "propertyNames": {"enum": Severity::ALL.map(Severity::as_str)},
        "additionalProperties": generator.subschema_for::<Action>(),
    })
}

/// A map in which no key may stand twice: readers of JSON differ in which one they believe.
fn each_once<'de, D: Deserializer<'de>, V: Deserialize<'de>>(deserializer: D) -> Result<BTreeMap<String, V>, D::Error> {
    struct EachOnce<V>(PhantomData<V>);
    impl<'de, V: Deserialize<'de>> Visitor<'de> for EachOnce<V> {
        type Value = BTreeMap<String, V>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a map")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((key, value)) = entries.next_entry::<String, V>()? {
                if map.contains_key(&key) {
                    let key: String = key.chars().take(40).collect();
                    return Err(A::Error::custom(format!("`{key}` stands there twice")));
                }
                map.insert(key, value);
            }
            Ok(map)
        }
    }
    deserializer.deserialize_map(EachOnce(PhantomData))
}

/// A note: one line or several.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
enum Comment {
    /// One line.
    Line(String),
    /// Several lines.
    Lines(Vec<String>),
}

/// Whether anything is changed in the registry.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The decisions of the policy are carried out.
    Enforce,
    /// The decisions of the policy are only reported. Where that holds for everything, the functions cannot change anything in
    /// the registry.
    Report,
}

/// The action for a finding, mildest first.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Counted.
    Inform,
    /// Counted, and shown as monitored.
    Monitor,
    /// A person must look before the image is deployed.
    Review,
    /// The image must not be deployed.
    Block,
}

/// Whether there is a fix.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum FixCondition {
    /// There is one, or the scanner does not say.
    Available,
    /// The scanner says that there is none.
    Unavailable,
}

/// An entry of `rules`: at least one condition, all of which must hold; and the action. A property that the scanner does not
/// give for a finding never meets a condition, except that `fix` counts it as available.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", schemars(extend("minProperties" = 2)))]
pub(super) struct RuleSection {
    /// Its severity is one of these.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub(super) severities: Option<Vec<Severity>>,
    /// Whether there is a fix.
    #[serde(default)]
    pub(super) fix: Option<FixCondition>,
    /// An exploit is known (enhanced scanning only). Only `true` is a condition.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(extend("enum" = [true])))]
    pub(super) exploit: Option<bool>,
    /// Its score is this or higher: Inspector's score, or the CVSS score of basic scanning. 0.0 to 10.0.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 0.0, max = 10.0)))]
    pub(super) min_score: Option<f64>,
    /// Its EPSS is this or higher (enhanced scanning only, and only once an event of Inspector has said it). 0.1 to 1.0.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(range(min = 0.1, max = 1.0)))]
    pub(super) min_epss: Option<f64>,
    /// Its package is of one of these kinds, in Inspector's words and in any case: `OS`, `NPM`, `PIP`, `JAR`, `GOMOD` and others.
    /// Findings of basic scanning are `OS`.
    #[serde(default)]
    #[cfg_attr(
        feature = "schema",
        schemars(length(min = 1), inner(regex(pattern = r"^[A-Za-z0-9_-]+$")))
    )]
    pub(super) package_types: Option<Vec<String>>,
    /// Its package is one of these, or matches one of these globs.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1), inner(length(min = 1, max = 256))))]
    pub(super) packages: Option<Vec<String>>,
    /// Its CVE or advisory id is one of these, or matches one of these globs.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1), inner(regex(pattern = VULNERABILITY_GLOB))))]
    pub(super) vulnerabilities: Option<Vec<String>>,
    /// Its image is in one of these repositories, or in one that one of these globs matches.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1), inner(regex(pattern = REPOSITORY_GLOB))))]
    pub(super) repositories: Option<Vec<String>>,
    /// Makes the entry a maximum: if more findings of an image than this meet the conditions, each of them has `action` at
    /// least. Excepted ones are not counted.
    #[serde(default)]
    pub(super) more_than: Option<u32>,
    /// The action; with `more_than`, `review` or `block`.
    pub(super) action: Action,
}

/// The action without a usable scan. A missing scan never counts as "no findings".
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoScanAction {
    /// The state says so; no alert is sent.
    Monitor,
    /// An alert is sent.
    Review,
    /// The image must not be deployed.
    Block,
}

/// The treatment of an entry that is no container image, by the type of its configuration.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Artifacts {
    /// It is recorded as such; no alert is sent, and nothing is blocked.
    Leave,
    /// It is evaluated like an image that no scanner supports: `on_unsupported` holds for it. An entry that belongs to an image
    /// (a signature, an attestation, an SBOM) is left alone all the same.
    Judge,
}

/// When there is no usable scan.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ScanSection {
    /// For this number of minutes after a push an image may be without a scan result; then an alert is sent. 1 to 1440.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1440)))]
    pub(super) grace_minutes: u32,
    /// When a scan failed, its findings are gone, or nothing scans the repository.
    pub(super) on_failure: NoScanAction,
    /// When the scanner does not support this kind or size of image.
    pub(super) on_unsupported: NoScanAction,
    /// When the scanner no longer watches the image, so that its last findings say nothing about today.
    pub(super) on_stale: NoScanAction,
    /// The treatment of an entry that is no container image: a Helm chart, a WASM module, a cache.
    pub(super) artifacts: Artifacts,
}

impl Default for ScanSection {
    fn default() -> Self {
        Self {
            grace_minutes: 30,
            on_failure: NoScanAction::Review,
            on_unsupported: NoScanAction::Review,
            on_stale: NoScanAction::Review,
            artifacts: Artifacts::Leave,
        }
    }
}

/// How an image is kept from being deployed, mildest first.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BlockMethod {
    /// Nothing is changed in the registry.
    Flag,
    /// Gets a `blocked-…` tag and loses its other tags: pulls by tag fail, pulls by digest do not.
    QuarantineTag,
    /// Moved to the archive storage class: a pull by tag or digest answers 404; tags and image stay.
    Archive,
}

/// Whether an image that is in use and should be blocked is blocked.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenInUse {
    /// The block is deferred, and an alert is sent.
    Hold,
    /// It is blocked all the same. Whatever runs it can no longer start new copies.
    Block,
}

/// Whether an image is blocked that was pulled at any time, and whose repository's policy lets AWS Lambda pull. Neither ECR nor
/// Amazon Inspector says whether a function runs it.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenLambdaMayPull {
    /// It counts as in use.
    Hold,
    /// That does not matter.
    Ignore,
}

/// How and when images are blocked. An entry of `repositories` may say otherwise for its repositories.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BlockSection {
    /// How.
    pub(super) method: BlockMethod,
    /// Whether an image in use is blocked.
    pub(super) when_in_use: WhenInUse,
    /// An image pulled within this number of days counts as in use. 1 to 365. Without it, 14 where Amazon Inspector counts the
    /// workloads that run the image, and otherwise 90.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 365)))]
    pub(super) in_use_days: Option<u32>,
    /// Whether an image is blocked that was pulled at any time, and whose repository's policy lets AWS Lambda pull.
    pub(super) when_lambda_may_pull: WhenLambdaMayPull,
    /// Hold an image that is no worse than the one it replaces and that runs: everything that would block it is in that one too.
    pub(super) not_worse_than_running: bool,
    /// The most images of an account and region that are blocked in an hour; then an alert is sent, and further blocks are
    /// deferred. 1 to
    /// 1000.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1000)))]
    pub(super) max_blocks_per_hour: u32,
    /// Methods by which images were blocked under an earlier policy, and whose blocks the functions may still undo: `archive`,
    /// `quarantine-tag`. The Terraform module gives their roles what that needs. Not said: both, but for the removal of the tag that a
    /// quarantine has left.
    pub(super) keep_release_of: Option<Vec<BlockMethod>>,
    /// Who uses images is looked up where workloads are: in ECS, Lambda, Batch and clusters of Kubernetes. Without it, an image is in use by what
    /// Amazon Inspector counts and by its pulls alone.
    pub(super) workloads: Option<WorkloadsSection>,
}

impl Default for BlockSection {
    fn default() -> Self {
        Self {
            method: BlockMethod::Archive,
            when_in_use: WhenInUse::Hold,
            in_use_days: None,
            when_lambda_may_pull: WhenLambdaMayPull::Hold,
            not_worse_than_running: true,
            max_blocks_per_hour: 20,
            keep_release_of: None,
            workloads: None,
        }
    }
}

/// A service that lists workloads.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ListedSource {
    /// Amazon ECS: tasks, services with the revisions that they may go back to, task definitions.
    Ecs,
    /// AWS Lambda: functions of images.
    Lambda,
    /// AWS Batch: active job definitions.
    Batch,
}

/// The lookup of the workloads that use images, by the function `workloads`. An image that a workload uses is never blocked,
/// unless `when_in_use` says so.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WorkloadsSection {
    /// The services to list, in each account.
    #[cfg_attr(feature = "schema", schemars(length(min = 1)))]
    pub(super) sources: Vec<ListedSource>,
    /// For this number of minutes a list counts as complete; after that, it is not known who uses an image. 45 to 1440: lists
    /// are made every 30.
    #[cfg_attr(feature = "schema", schemars(range(min = 45, max = 1440)))]
    pub(super) max_age_minutes: u32,
    /// Whether an image is blocked while it is not known who uses it.
    pub(super) when_unknown: WhenUnknown,
    /// Further accounts whose workloads use images of this registry.
    #[cfg_attr(feature = "schema", schemars(length(max = 50)))]
    pub(super) accounts: Vec<WorkloadAccountSection>,
    /// The uses in ECS that count.
    pub(super) ecs: EcsSection,
    /// The uses in Lambda that count.
    pub(super) lambda: LambdaSection,
    /// Clusters that say what they run.
    pub(super) kubernetes: KubernetesSection,
}

impl Default for WorkloadsSection {
    fn default() -> Self {
        Self {
            sources: vec![ListedSource::Ecs, ListedSource::Lambda, ListedSource::Batch],
            max_age_minutes: 120,
            when_unknown: WhenUnknown::Hold,
            accounts: Vec::new(),
            ecs: EcsSection::default(),
            lambda: LambdaSection::default(),
            kubernetes: KubernetesSection::default(),
        }
    }
}

/// A further account.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WorkloadAccountSection {
    /// Its id.
    #[cfg_attr(feature = "schema", schemars(regex(pattern = r"^[0-9]{12}$")))]
    pub(super) id: String,
    /// The name of the role in it that the function `workloads` takes, without its path: see the Terraform module `workload-reader`.
    #[cfg_attr(feature = "schema", schemars(regex(pattern = r"^[A-Za-z0-9+=,.@_-]{1,64}$")))]
    pub(super) role: String,
    /// Globs of the repositories whose images it may run: of all others nothing is unknown while it cannot be read. Without it, all.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(inner(regex(pattern = REPOSITORY_GLOB))))]
    pub(super) repositories: Vec<String>,
    /// The regions in which its workloads are listed. Without it, all regions that have a guard: one that the account may not use would be a list
    /// that is missing.
    #[serde(default)]
    #[cfg_attr(
        feature = "schema",
        schemars(inner(regex(pattern = r"^[a-z]{2,}(-[a-z]+)+-[0-9]+$")))
    )]
    pub(super) regions: Vec<String>,
}

/// The uses in ECS that count.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct EcsSection {
    /// Whether the newest active task definition of each family counts, whatever runs: what a schedule or a state machine starts has no
    /// service.
    pub(super) task_definitions: bool,
}

impl Default for EcsSection {
    fn default() -> Self {
        Self { task_definitions: true }
    }
}

/// The uses in Lambda that count.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LambdaSection {
    /// Which versions of a function count.
    pub(super) versions: LambdaVersions,
}

impl Default for LambdaSection {
    fn default() -> Self {
        Self {
            versions: LambdaVersions::All,
        }
    }
}

/// Clusters that say what they run.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct KubernetesSection {
    /// By the name of a cluster, globs of the repositories whose images it runs: as long as it has not said within `max_age_minutes` what it
    /// runs, it is not known who uses them.
    #[serde(deserialize_with = "each_once")]
    pub(super) repositories: BTreeMap<String, Vec<String>>,
}

/// How and when the images of a repository are blocked. `max_blocks_per_hour` is not here: it is counted for an account and region.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RepositoryBlockSection {
    /// How.
    pub(super) method: Option<BlockMethod>,
    /// Whether an image in use is blocked.
    pub(super) when_in_use: Option<WhenInUse>,
    /// An image pulled within this number of days counts as in use. 1 to 365.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 365)))]
    pub(super) in_use_days: Option<u32>,
    /// Whether an image is blocked that was pulled at any time, and whose repository's policy lets AWS Lambda pull.
    pub(super) when_lambda_may_pull: Option<WhenLambdaMayPull>,
    /// Hold an image that is no worse than the one it replaces and that runs: everything that would block it is in that one too.
    pub(super) not_worse_than_running: Option<bool>,
}

/// The daily digest: to each topic, what stands with the repositories whose alerts go there.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct DigestSection {
    /// Whether it is sent.
    pub(super) enabled: bool,
    /// The hour (UTC) from which on it is sent, by the first sweep. 0 to 23.
    #[cfg_attr(feature = "schema", schemars(range(min = 0, max = 23)))]
    pub(super) hour: u32,
}

impl Default for DigestSection {
    fn default() -> Self {
        Self { enabled: true, hour: 7 }
    }
}

/// How many alerts each topic gets one by one. An hourly summary names the others.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct AlertsSection {
    /// The most in an hour. 1 to 1000.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 1000)))]
    pub(super) max_single_per_hour: u32,
    /// The most in a day (UTC). 1 to 10000.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 10000)))]
    pub(super) max_single_per_day: u32,
}

impl Default for AlertsSection {
    fn default() -> Self {
        Self {
            max_single_per_hour: 20,
            max_single_per_day: 60,
        }
    }
}

/// Whom people ask about alerts, and where they go. An entry of `repositories` may name others for its repositories.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ContactSection {
    /// The HTTPS address at which a change of the policy is proposed.
    #[cfg_attr(feature = "schema", schemars(regex(pattern = r"^https://\S+$"), length(max = 200)))]
    pub(super) policy: Option<String>,
    /// Where people get help: a channel, a mailbox or an HTTPS address. At most 200 characters.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 200)))]
    pub(super) help: Option<String>,
    /// The HTTPS address of a page that explains what to do.
    #[cfg_attr(feature = "schema", schemars(regex(pattern = r"^https://\S+$"), length(max = 200)))]
    pub(super) guide: Option<String>,
}

/// Findings that do not count, for a time.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExceptionSection {
    /// CVE or advisory id, or a glob of it such as `GHSA-*`.
    #[cfg_attr(feature = "schema", schemars(regex(pattern = VULNERABILITY_GLOB)))]
    pub(super) vulnerability: String,
    /// Vulnerable package or a glob of it, with blanks and letters of any language; without it, any package.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 256)))]
    pub(super) package: Option<String>,
    /// Globs of repository names; at least one.
    #[cfg_attr(feature = "schema", schemars(length(min = 1), inner(regex(pattern = REPOSITORY_GLOB))))]
    pub(super) repositories: Vec<String>,
    /// Glob of a tag that the image must have; without it, any image.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(regex(pattern = r"^[A-Za-z0-9._*-]{1,256}$")))]
    pub(super) tag: Option<String>,
    /// The one image that it holds for; without it, any image.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(regex(pattern = r"^sha256:[0-9a-f]{64}$")))]
    pub(super) digest: Option<String>,
    /// Who answers for it: a person or a team that can be written to.
    #[cfg_attr(feature = "schema", schemars(regex(pattern = r"\S")))]
    pub(super) owner: String,
    /// Why the finding does no harm here.
    #[cfg_attr(feature = "schema", schemars(regex(pattern = r"\S")))]
    pub(super) reason: String,
    /// Reference to the decision.
    #[serde(default)]
    pub(super) ticket: Option<String>,
    /// The last day (UTC) on which it holds, at most 180 days ahead: `2027-01-31`.
    #[cfg_attr(feature = "schema", schemars(with = "String", extend("format" = "date", "pattern" = "^[0-9]{4}-[0-9]{2}-[0-9]{2}$")))]
    pub(super) expires: Date,
    /// It is known and accepted that it excepts every vulnerability in every repository: the check does not warn of it.
    #[serde(default)]
    pub(super) accept_risk: bool,
}

/// Settings for the repositories that a glob matches.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RepositorySection {
    /// Glob of repository names: `*` stands for any characters.
    #[serde(rename = "match")]
    #[cfg_attr(feature = "schema", schemars(regex(pattern = REPOSITORY_GLOB)))]
    pub(super) matches: String,
    /// Name of the route that its alerts take; without it, `default`.
    #[serde(default)]
    pub(super) route: Option<String>,
    /// Whether anything is changed in it; without it, what the policy's own `mode` says.
    #[serde(default)]
    pub(super) mode: Option<Mode>,
    /// How and when its images are blocked. Members that are not named are as in the policy's own `block`.
    #[serde(default)]
    pub(super) block: Option<RepositoryBlockSection>,
    /// Rules for tags.
    #[serde(default)]
    pub(super) tags: Option<TagSection>,
    /// Settings that the repository must have.
    #[serde(default)]
    pub(super) posture: Option<PostureSection>,
    /// The lifecycle policy that the repository must have.
    #[serde(default)]
    pub(super) lifecycle: Option<LifecycleSection>,
    /// Where its images must be as well.
    #[serde(default)]
    pub(super) replication: Option<ReplicationSection>,
    /// The contact for alerts about it. Members that are not named are as in the policy's own `contact`.
    #[serde(default)]
    pub(super) contact: Option<ContactSection>,
    /// The answers of the function `gate` about its images. Members that are not named are as in the policy's own `gate`.
    #[serde(default)]
    pub(super) gate: Option<RepositoryGateSection>,
}

/// The answer of the function `gate` where findings alone do not give it.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateAnswer {
    /// The image may be deployed, and the answer has a warning.
    Warn,
    /// The image may not be deployed.
    Deny,
}

/// The answer of the function `gate` about an image that is not guarded.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnguardedAnswer {
    /// The image may be deployed, and the answer has a warning.
    Allow,
    /// The image may not be deployed.
    Deny,
}

/// The answers of the function `gate`, which says whether an image may be deployed.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct GateSection {
    /// About an image that a person must review.
    pub(super) review: GateAnswer,
    /// About an image whose block is deferred, because it is in use or no worse than the running one.
    #[serde(alias = "held")]
    pub(super) deferred: GateAnswer,
    /// About an image of another registry, or of a repository that is not guarded.
    pub(super) unguarded: UnguardedAnswer,
}

impl Default for GateSection {
    fn default() -> Self {
        Self {
            review: GateAnswer::Warn,
            deferred: GateAnswer::Warn,
            unguarded: UnguardedAnswer::Allow,
        }
    }
}

/// The same for the images of some repositories.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RepositoryGateSection {
    /// About an image that a person must review.
    #[serde(default)]
    pub(super) review: Option<GateAnswer>,
    /// About an image whose block is deferred, because it is in use or no worse than the running one.
    #[serde(default, alias = "held")]
    pub(super) deferred: Option<GateAnswer>,
}

/// Who may release a blocked image for some hours, through the function `operate`.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReleaseSection {
    /// Whether anybody may.
    pub(super) allow: bool,
    /// For how many hours at most. 1 to 168.
    #[serde(default = "max_release_hours")]
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 168)))]
    pub(super) max_hours: u32,
    /// Whether a release must name a ticket.
    #[serde(default = "yes")]
    pub(super) require_ticket: bool,
    /// The roles and users who may, by account and name: `arn:aws:iam::123456789012:role/oncall-*`. AWS STS answers a role without its
    /// path. A permission set of IAM Identity Center is `role/AWSReservedSSO_NAME`.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schemars(inner(regex(pattern = RELEASE_PRINCIPAL))))]
    pub(super) principals: Vec<String>,
    /// The repositories whose images may be released, as globs.
    #[serde(default = "all_repositories")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1), inner(regex(pattern = REPOSITORY_GLOB))))]
    pub(super) repositories: Vec<String>,
}

fn max_release_hours() -> u32 {
    24
}

fn yes() -> bool {
    true
}

fn all_repositories() -> Vec<String> {
    vec!["*".to_owned()]
}

/// The reaction to a tag that breaks the rules.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum TagViolationAction {
    /// An alert is sent.
    Flag,
    /// The tag is removed, unless it is the image's last one.
    Untag,
    /// The image must not be deployed.
    Block,
}

/// Rules for tags. In each list: `semver`, `semver:v`, `git-sha`, a regular expression `^…$`, or a glob.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", schemars(extend("minProperties" = 1)))]
pub(super) struct TagSection {
    /// A tag must match one of these; without them, any is allowed that is not forbidden.
    #[serde(default)]
    pub(super) allowed: Vec<String>,
    /// Tags that nobody may push, whatever is allowed.
    #[serde(default)]
    pub(super) forbidden: Vec<String>,
    /// Tags for images that were evaluated and allowed, such as `prod`. They need not be in `allowed`, and may move.
    #[serde(default)]
    pub(super) reserved: Vec<String>,
    /// Tags that move on purpose, such as `latest`. They need not be in `allowed`, and their moves are not alerted.
    #[serde(default)]
    pub(super) moving: Vec<String>,
    /// The reaction to a violation; `flag` by default.
    pub(super) on_violation: Option<TagViolationAction>,
}

/// Settings that a repository must have.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PostureSection {
    /// Tag mutability.
    pub(super) tag_mutability: Option<WantedMutability>,
    /// With `…_WITH_EXCLUSION`: filters of the tags that are excepted, 1 to 5.
    #[serde(default)]
    #[cfg_attr(
        feature = "schema",
        schemars(
            length(max = 5),
            inner(regex(pattern = r"^[A-Za-z0-9._-]*(\*[A-Za-z0-9._-]*){0,2}$"))
        )
    )]
    pub(super) tag_mutability_exclusions: Vec<String>,
    /// A push must cause a scan: by the registry's scanning configuration, or by the repository's own flag.
    #[serde(default)]
    pub(super) scan_on_push: bool,
    /// Type of encryption.
    pub(super) encryption: Option<EncryptionType>,
    /// ARN of the KMS key that must encrypt it. In another region, the multi-region key of the same id is meant.
    #[cfg_attr(
        feature = "schema",
        schemars(regex(pattern = r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/.+$"))
    )]
    pub(super) kms_key_arn: Option<String>,
    /// The key must be one that we manage, and not the one that AWS keeps.
    #[serde(default)]
    pub(super) customer_managed_key: bool,
    /// The key must rotate, where it can.
    #[serde(default)]
    pub(super) key_rotation: bool,
    /// Tags that the repository itself must have: globs of values by key; `*` is any value, the empty text the empty value.
    #[serde(default, deserialize_with = "each_once")]
    #[cfg_attr(feature = "schema", schemars(extend("maxProperties" = 50)))]
    pub(super) required_tags: BTreeMap<String, String>,
    /// Accounts that the repository's policy may let in, in addition to its own. Without it, any may be let in, but never the
    /// world.
    #[cfg_attr(feature = "schema", schemars(inner(regex(pattern = r"^[0-9]{12}$"))))]
    pub(super) allowed_accounts: Option<Vec<String>>,
    /// Organizations (`o-…`) that the repository's policy may let in. Without it, any may be let in unless `allowed_accounts` is given.
    #[cfg_attr(
        feature = "schema",
        schemars(inner(regex(pattern = r"^(o-[a-z0-9]{10,32}|\$\{aws:ResourceOrgID\})$")))
    )]
    pub(super) allowed_organizations: Option<Vec<String>>,
    /// Whether to repair what can be repaired.
    #[serde(default)]
    pub(super) repair: bool,
}

/// Type of encryption, in ECR's words.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum EncryptionType {
    /// With a key of ECR's own.
    #[serde(rename = "AES256")]
    Aes256,
    /// With a key of KMS.
    #[serde(rename = "KMS")]
    Kms,
    /// Twice, with a key of KMS.
    #[serde(rename = "KMS_DSSE")]
    KmsDsse,
}

/// Tag mutability, in ECR's words.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", schemars(rename = "TagMutability"))]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum WantedMutability {
    /// A tag can be moved.
    Mutable,
    /// A tag stays.
    Immutable,
    /// A tag stays, except some.
    ImmutableWithExclusion,
    /// A tag can be moved, except some.
    MutableWithExclusion,
}

/// The lifecycle policy that a repository must have: either `rules`, or any of the other members.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", schemars(extend("minProperties" = 1), transform = keep_count))]
pub(super) struct LifecycleSection {
    /// Patterns of tags whose images no rule may delete.
    #[serde(default)]
    pub(super) protect_patterns: Vec<String>,
    /// How many of the newest images are kept, for each prefix and each pattern.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 10000)))]
    pub(super) keep_count: Option<u32>,
    /// Prefixes of the tags that `keep_count` is for.
    #[serde(default)]
    pub(super) tag_prefixes: Vec<String>,
    /// Patterns of the tags that `keep_count` is for.
    #[serde(default)]
    pub(super) tag_patterns: Vec<String>,
    /// After how many days an image without a tag is deleted.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 10000)))]
    pub(super) expire_untagged_days: Option<u32>,
    /// After how many days without a pull an image that no other rule selects goes to the archive.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 10000)))]
    pub(super) archive_unpulled_days: Option<u32>,
    /// After how many days in the archive an image is deleted, at least 90.
    #[cfg_attr(feature = "schema", schemars(range(min = 90, max = 10000)))]
    pub(super) expire_archived_days: Option<u32>,
    /// Rules in ECR's own form.
    #[serde(default)]
    pub(super) rules: Vec<LifecycleRule>,
}

/// Where images must be as well.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplicationSection {
    /// The regions that it is copied to, at least one. In each of them, what this section says is checked by the functions there.
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = 25), inner(regex(pattern = r"^[a-z]+(-[a-z]+)+-[0-9]{1,2}$")), extend("uniqueItems" = true)))]
    pub(super) regions: Vec<String>,
    /// After how many minutes a missing copy is late. 5 to 1440.
    #[cfg_attr(feature = "schema", schemars(range(min = 5, max = 1440)))]
    pub(super) max_lag_minutes: u32,
    /// Whether to start a replication backfill of ECR for what is late or failed. It is for the whole registry, and costs transfer.
    #[serde(default)]
    pub(super) backfill: bool,
}
