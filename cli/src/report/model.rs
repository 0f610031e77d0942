//! The report: all that its four forms say. It is pure data, and it is the JSON form.
//!
//! `null` says that a thing is not known. A number that is not known is never zero.

use std::collections::BTreeMap;

use guard_core::{ids::registry_host, state::State};
use jiff::Timestamp;
use serde::Serialize;

/// The form that this version writes.
pub const REPORT_SCHEMA: &str = "ecr-guard/report/v1";

/// The most findings of an image that are named; the others are counted.
pub const MAX_FINDINGS: usize = 10;

/// The most tags of an image that are named; the others are counted.
pub const MAX_TAGS: usize = 5;

/// The most workloads of an image that are named.
pub const MAX_WORKLOADS: usize = 5;

/// The most tasks that are named, the first ones.
pub const MAX_TASKS: usize = 10;

/// An exception that ends within this number of days is named.
pub const SOON_DAYS: i64 = 14;

/// An image that nobody pulled for this number of days counts as not pulled. ECR records a pull once a day
/// (`lastRecordedPullTime`).
pub const UNPULLED_DAYS: i64 = 90;

/// A report about one ledger or several.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Form of this document: `ecr-guard/report/v1`.
    pub schema: &'static str,
    /// The version of ecr-guard that made it.
    pub version: &'static str,
    /// When it was made.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub made_at: Timestamp,
    /// The ledgers that were read.
    pub ledgers: Vec<Ledger>,
    /// The figures of all ledgers together.
    pub figures: Figures,
    /// The first tasks, worst first, at most 10.
    pub tasks: Vec<Task>,
    /// How many more tasks there are.
    pub more_tasks: u64,
    /// The registries: one for each account and region.
    pub registries: Vec<Registry>,
    /// The images: those first that somebody must act on.
    pub images: Vec<Image>,
    /// The exceptions of the policies, those first that end first.
    pub exceptions: Vec<Exception>,
    /// The teams, by the routes of the policies.
    pub teams: Vec<Team>,
    /// Whether other regions can take over.
    pub copies: Vec<Copies>,
    /// The repositories.
    pub repositories: Vec<Repository>,
    /// How old the data is that the report rests on.
    pub freshness: Vec<Freshness>,
    /// Records that exist and could not be read.
    pub unreadable: Vec<String>,
}

/// A ledger that was read.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// The file, or the table.
    pub name: String,
    /// The table.
    pub table: String,
    /// The region that it was read in.
    pub region: String,
    /// When it was read.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub read_at: Timestamp,
    /// SHA-256 of the policy in force; `null`: the ledger has none that can be read.
    pub policy: Option<String>,
    /// The policy in force with all its defaults, for the page.
    #[serde(skip)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub document: Option<String>,
    /// Only this repository was read; `null`: all.
    pub repository: Option<String>,
}

/// How many images there are of each kind.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Images that are known, those that nobody has evaluated included.
    pub images: u64,
    /// Images that somebody must act on: deferred, in review, not scanned, not evaluated or overdue, and those that are blocked and were asked for.
    pub need_action: u64,
    /// How many are in each state.
    pub states: BTreeMap<&'static str, u64>,
    /// Images that have waited too long for their scan; `null`: there is no policy that says how long.
    pub overdue: Option<u64>,
    /// Blocked images that a workload could not pull.
    pub blocked_in_demand: u64,
    /// Exceptions that end within 14 days, or have ended.
    pub exceptions_ending: u64,
    /// Copies that are there and complete, of those that are expected; `null`: nothing is copied.
    pub copies: Option<Share>,
    /// The sum of the sizes of all images; `null`: not known of every repository.
    pub bytes: Option<u64>,
}

/// A part of a whole.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Share {
    /// The part.
    pub ready: u64,
    /// The whole.
    pub of: u64,
    /// How many of the whole are not known.
    pub unknown: u64,
}

/// Something that somebody must do.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Task {
    /// The team.
    pub who: String,
    /// Whom to ask, by the policy; `null`: it does not say.
    pub contact: Option<String>,
    /// The task.
    pub what: String,
    /// Why.
    pub because: String,
    /// How.
    pub how: String,
    /// Since when.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub since: Option<Timestamp>,
    /// The day on which something changes by itself: a release or an exception ends, a block that was put off is tried again; `null`: none is known.
    pub due: Option<String>,
    /// How many images it is about.
    pub images: u64,
    /// The row of the page that it is about.
    #[serde(skip)]
    #[cfg_attr(feature = "schema", schemars(skip))]
    pub anchor: Option<String>,
}

/// The registry of an account in a region.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Registry {
    /// The account.
    pub account: String,
    /// The region.
    pub region: String,
    /// Whether images are blocked: `enforce`, `report`, or `mixed` where repositories differ; `null`: not known.
    pub mode: Option<&'static str>,
    /// When the last sweep began; `null`: not known.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub swept: Option<Timestamp>,
    /// How many images it has.
    pub images: u64,
    /// How many of them are in each state.
    pub states: BTreeMap<&'static str, u64>,
}

/// An image.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Image {
    /// The account.
    pub account: String,
    /// The region.
    pub region: String,
    /// The repository.
    pub repository: String,
    /// The digest.
    pub digest: String,
    /// Its tags, at most 5; those that a quarantine has taken are among them.
    pub tags: Vec<String>,
    /// How many more tags there are.
    #[serde(skip_serializing_if = "is_zero")]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub more_tags: u64,
    /// The team.
    pub team: String,
    /// The state, or `Unknown`: nobody has evaluated it yet.
    pub state: &'static str,
    /// Somebody must act on it.
    pub needs_action: bool,
    /// One sentence: why it is in this state.
    pub reason: String,
    /// The member of the policy that decides.
    pub rule: Option<String>,
    /// Since when it is in this state.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub since: Option<Timestamp>,
    /// Until when at least it stays so, where that is known.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub until: Option<Timestamp>,
    /// It has waited too long for its scan; `null`: not known.
    pub overdue: Option<bool>,
    /// Its worst finding that counts.
    pub severity: Option<&'static str>,
    /// The findings at or above review, worst first, at most 10.
    pub findings: Vec<Finding>,
    /// How many more there are.
    #[serde(skip_serializing_if = "is_zero")]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub more_findings: u64,
    /// All findings by severity; `null`: there is no result of a scan.
    pub counts: Option<BTreeMap<&'static str, u64>>,
    /// The packages to update, `openssl 3.0.9`, at most 3.
    pub fixes: Vec<String>,
    /// The exceptions that cover findings of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub exceptions: Vec<String>,
    /// How it is blocked; `null`: it is not.
    pub blocked: Option<Blocked>,
    /// The release by a person that is in force; `null`: there is none.
    pub release: Option<Release>,
    /// The workloads that use it, at most 5; `null`: not known, or nobody has asked.
    pub used_by: Option<Vec<String>>,
    /// Who could not pull it since it was blocked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub asked_for_by: Vec<String>,
    /// The kind of the last alert about it, and when it was sent.
    pub alert: Option<Alert>,
    /// `imageSizeInBytes`; `null`: the registry's list was not read.
    pub bytes: Option<u64>,
    /// When it was last pulled; `null`: never, or not known.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub pulled_at: Option<Timestamp>,
}

/// How an image is blocked.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Blocked {
    /// `archive`, `quarantine-tag` or `flag`.
    pub method: String,
    /// Since when.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub at: Timestamp,
    /// The registry has confirmed it.
    pub confirmed: bool,
}

/// A release by a person, for a time.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Release {
    /// Until when it holds.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub until: Timestamp,
    /// Who gave it.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Reference to the decision.
    pub ticket: Option<String>,
}

/// An alert.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Alert {
    /// Its kind.
    pub kind: &'static str,
    /// When the topic accepted it; `null`: it is still pending, or was not needed.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub sent_at: Option<Timestamp>,
}

/// A finding.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// CVE or advisory id.
    pub id: String,
    /// Severity.
    pub severity: &'static str,
    /// `block` or `review`.
    pub action: &'static str,
    /// Score, 0.0 to 10.0; `null`: the scanner does not say.
    pub score: Option<f64>,
    /// EPSS, 0.0 to 1.0; `null`: not known.
    pub epss: Option<f64>,
    /// Whether an exploit is known; `null`: the scanner does not say.
    pub exploit: Option<bool>,
    /// Package.
    pub package: Option<String>,
    /// Installed version.
    pub installed: Option<String>,
    /// Version with the fix; `null`: there is none, or it is not known.
    pub fixed_in: Option<String>,
    /// `available`, `unavailable` or `unknown`.
    pub fix: &'static str,
    /// The member of the policy that says what it causes.
    pub rule: String,
    /// Where it is described.
    pub url: Option<String>,
}

/// An exception.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exception {
    /// The ledger whose policy has it.
    pub ledger: String,
    /// Its place in the policy, and its ticket.
    pub name: String,
    /// Vulnerabilities, as a pattern.
    pub vulnerability: String,
    /// Packages, as a pattern; `null`: all.
    pub package: Option<String>,
    /// Repositories, as patterns.
    pub repositories: Vec<String>,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// Reference to the decision.
    pub ticket: Option<String>,
    /// The last day on which it holds.
    pub last_day: String,
    /// How many days are left; negative: it has ended.
    pub days_left: i64,
    /// How many images it covers; `null`: images were not yet evaluated under this policy.
    pub images: Option<u64>,
}

/// A team: the routes of one topic.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Team {
    /// The names of its routes; `unknown` where no policy can be read.
    pub name: String,
    /// Whom to ask, by the policy.
    pub contact: Option<String>,
    /// How many repositories it has.
    pub repositories: u64,
    /// How many images.
    pub images: u64,
    /// How many of them need action.
    pub need_action: u64,
    /// How many are in each state.
    pub states: BTreeMap<&'static str, u64>,
    /// Since when the oldest waits that needs action.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub oldest: Option<Timestamp>,
    /// How many settings of its repositories are not as the policy says; `null`: not known of all.
    pub drift: Option<u64>,
}

/// Whether a region can take over from another one.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Copies {
    /// The account.
    pub account: String,
    /// Where images are copied from.
    pub from: String,
    /// Where to.
    pub to: String,
    /// Images that should be there.
    pub expected: u64,
    /// Images that are there, complete and pullable.
    pub present: u64,
    /// Images that are late.
    pub late: u64,
    /// Images that ECR gave up on.
    pub failed: u64,
    /// Images that are missing, archived there, incomplete there, or blocked only there.
    pub not_pullable: u64,
    /// Images that are less protected there than in the source.
    pub unprotected: u64,
    /// Images of which nothing is known.
    pub unknown: u64,
    /// Repositories of which nothing is known, or nothing newer than yesterday.
    pub unknown_repositories: u64,
    /// All are there.
    pub ready: bool,
}

/// A repository.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Repository {
    /// The account.
    pub account: String,
    /// The region.
    pub region: String,
    /// Its name.
    pub name: String,
    /// The team.
    pub team: String,
    /// Images and whatever else it has; `null`: not known.
    pub images: Option<u64>,
    /// The sum of their sizes. Layers that images share count for each, so that it is more than what is billed. `null`: not known.
    pub bytes: Option<u64>,
    /// How many of these bytes are in the archive.
    pub archived_bytes: Option<u64>,
    /// Images without a tag that no known index references; `null`: the registry's list was not read.
    pub untagged: Option<Part>,
    /// Images that were pushed more than 90 days ago and not pulled in this time; `null`: the registry's list was not read.
    pub unpulled: Option<Part>,
    /// An estimate of the images that the lifecycle rules would delete now; `null`: there are none, or it is not known.
    pub surplus: Option<Part>,
    /// How many settings are not as the policy says; `null`: not known.
    pub drift: Option<u64>,
    /// How it has opted out.
    pub opt_out: Option<String>,
}

/// Some of the images of a repository.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Part {
    /// How many.
    pub images: u64,
    /// The sum of their sizes.
    pub bytes: u64,
}

/// How old something is.
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Freshness {
    /// What.
    pub what: String,
    /// When it was done; `null`: never.
    #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
    pub at: Option<Timestamp>,
    /// Its problem; `null`: there is none.
    pub trouble: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The word for an image that nobody has evaluated yet.
pub const UNKNOWN: &str = "Unknown";

/// The states, in the order in which they are shown.
pub const STATES: [&str; 9] = [
    "Blocked",
    "BlockDeferred",
    "Unscannable",
    "Stale",
    "Review",
    UNKNOWN,
    "Pending",
    "Allowed",
    "NotAnImage",
];

/// The words that people read for a state.
pub fn words(state: &str) -> &'static str {
    match state {
        "Blocked" => "BLOCKED",
        "BlockDeferred" => "DEFERRED",
        "Unscannable" | "Stale" => "NOT SCANNED",
        "Review" => "REVIEW",
        "Pending" => "PENDING",
        "Allowed" => "ALLOWED",
        "NotAnImage" => "NO IMAGE",
        _ => "UNKNOWN",
    }
}

/// Whether somebody must act on an image of this state, whatever else is known of it.
pub fn asks(state: State) -> bool {
    matches!(
        state,
        State::BlockDeferred | State::Unscannable | State::Stale | State::Review
    )
}

impl Image {
    /// Its name for people: its first tag, or the beginning of its digest.
    pub fn name(&self) -> String {
        match self.tags.first() {
            Some(tag) => format!("{}:{tag}", self.repository),
            None => format!("{}@{}", self.repository, self.short()),
        }
    }

    /// The beginning of its digest.
    pub fn short(&self) -> &str {
        self.digest.get(..19).unwrap_or(&self.digest)
    }

    /// The name of its row in the page.
    pub fn anchor(&self) -> String {
        let short = self.short().trim_start_matches("sha256:");
        format!("i-{}-{}-{}@{short}", self.account, self.region, self.repository)
    }

    /// The address that names exactly this image.
    pub fn uri(&self) -> String {
        format!("{}@{}", self.address(), self.digest)
    }

    /// The address of its repository.
    pub fn address(&self) -> String {
        let host = match (self.account.parse(), self.region.parse()) {
            (Ok(account), Ok(region)) => registry_host(&account, &region),
            _ => format!("{}/{}", self.account, self.region),
        };
        format!("{host}/{}", self.repository)
    }

    /// The place of its state in [`STATES`].
    pub fn rank(&self) -> usize {
        STATES
            .iter()
            .position(|state| *state == self.state)
            .unwrap_or(STATES.len())
    }
}
