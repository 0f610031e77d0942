//! The result of the reconcile of an image.

use serde::{Serialize, Serializer};

use crate::reconcile::{replication::ReplicaOutcome, repository::RepositoryOutcome};
use guard_core::{
    finding::SeverityCounts,
    ids::{Digest, RepositoryName},
    notice::AlertKind,
    state::State,
};
use guard_ports::PortError;

/// The result.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Outcome {
    /// In one word.
    pub outcome: OutcomeKind,
    /// The repository.
    pub repository: RepositoryName,
    /// The image, once it is resolved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The image's state.
    #[serde(serialize_with = "shown_state", skip_serializing_if = "Option::is_none")]
    pub state: Option<State>,
    /// Why it is in that state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The change in the registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<&'static str>,
    /// It is one of the blocks that the policy limits by the hour.
    #[serde(skip_serializing_if = "is_false")]
    pub counted: bool,
    /// The kind of the alert that was sent.
    #[serde(serialize_with = "shown_kind", skip_serializing_if = "Option::is_none")]
    pub alert: Option<AlertKind>,
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alert_id: Option<String>,
    /// All findings by severity.
    #[serde(skip_serializing_if = "SeverityCounts::is_empty")]
    pub counts: SeverityCounts,
    /// Exceptions of the policy that cover findings of its finished scan.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exceptions_used: Vec<String>,
    /// Exceptions that hold for the image, and cover none of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exceptions_unused: Vec<String>,
    /// Why its manifest could not be read, which says whether it is an image, and names the children of an index. It was
    /// evaluated all the same, as an image or as an index with unknown children.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_read: Option<String>,
    /// Why the findings of earlier alerts could not be read. The alert was sent as if there had been none.
    #[serde(serialize_with = "as_text", skip_serializing_if = "Option::is_none")]
    pub told_not_read: Option<PortError>,
    /// The permission that was lacking to undo a block: the image stays blocked, or keeps our tag, and the reason says so.
    #[serde(skip)]
    pub lacks: Option<PortError>,
    /// The results of its relatives that changed with it: its parent indexes and its children.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Self>,
    /// The result of the reconcile of the repository, where there is one, and something to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository_rules: Option<Box<RepositoryOutcome>>,
    /// The result of its reconcile as a copy from another region, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica: Option<Box<ReplicaOutcome>>,
}

/// The result, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeKind {
    /// A record, a change or an alert was made.
    Applied,
    /// The observed state is the desired state.
    Unchanged,
    /// Another invocation is doing this very thing.
    InProgress,
    /// There is no such image.
    NoSuchImage,
    /// The row of a deleted image was closed.
    Closed,
    /// No container image: an attestation, a Helm chart, a cache, or an index of such.
    NotAnImage,
    /// Archived by somebody else before it was evaluated.
    ArchivedByOthers,
}

impl Outcome {
    /// That and nothing more.
    pub(crate) fn of(kind: OutcomeKind, repository: &RepositoryName, digest: Option<&Digest>) -> Self {
        Self {
            outcome: kind,
            repository: repository.clone(),
            digest: digest.cloned(),
            state: None,
            reason: None,
            effect: None,
            counted: false,
            alert: None,
            alert_id: None,
            counts: SeverityCounts::new(),
            exceptions_used: Vec::new(),
            exceptions_unused: Vec::new(),
            not_read: None,
            told_not_read: None,
            lacks: None,
            also: Vec::new(),
            repository_rules: None,
            replica: None,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[expect(clippy::ref_option, reason = "serde calls it with a reference")]
/// The log has the words that people read, and not those of the ledger.
fn shown_state<S: Serializer>(state: &Option<State>, serializer: S) -> Result<S::Ok, S::Error> {
    state.map(State::as_str).serialize(serializer)
}

fn shown_kind<S: Serializer>(kind: &Option<AlertKind>, serializer: S) -> Result<S::Ok, S::Error> {
    kind.map(AlertKind::as_str).serialize(serializer)
}

fn as_text<S: Serializer>(error: &Option<PortError>, serializer: S) -> Result<S::Ok, S::Error> {
    error.as_ref().map(ToString::to_string).serialize(serializer)
}
