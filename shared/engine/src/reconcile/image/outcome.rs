//! What came of looking at an image.

use serde::{Serialize, Serializer};

use crate::reconcile::{replication::ReplicaOutcome, repository::RepositoryOutcome};
use guard_core::{
    finding::SeverityCounts,
    ids::{Digest, RepositoryName},
    notice::AlertKind,
    state::State,
};
use guard_ports::PortError;

/// What came of it.
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
    /// What was changed in the registry.
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
    /// Why its manifest could not be read, which is needed to tell what is no image, and what an index leads to. It was judged
    /// all the same, as an image or as an index of which nothing is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_read: Option<String>,
    /// Why it could not be read which findings people were told of. The alert was told as if they had been told of none.
    #[serde(serialize_with = "as_text", skip_serializing_if = "Option::is_none")]
    pub told_not_read: Option<PortError>,
    /// The permission that was lacking to undo a block: the image stays blocked, or keeps our tag, and the reason says so.
    #[serde(skip)]
    pub lacks: Option<PortError>,
    /// What came of the images that share its fate and changed with it: the indexes that lead to it, the images that it leads to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<Self>,
    /// What came of looking at the repository, where that is done and there is something to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository_rules: Option<Box<RepositoryOutcome>>,
    /// What came of looking at it as a copy from another region, where that is done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replica: Option<Box<ReplicaOutcome>>,
}

/// What came of it, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutcomeKind {
    /// Something was recorded, done or told.
    Applied,
    /// Everything was as it should be.
    Unchanged,
    /// Another invocation is doing this very thing.
    InProgress,
    /// There is no such image.
    NoSuchImage,
    /// The row of a deleted image was closed.
    Closed,
    /// No container image: an attestation, a Helm chart, a cache, or an index of such.
    NotAnImage,
    /// Archived by somebody else before it was judged.
    ArchivedByOthers,
}

impl Outcome {
    /// That and nothing more.
    pub(super) fn of(kind: OutcomeKind, repository: &RepositoryName, digest: Option<&Digest>) -> Self {
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
