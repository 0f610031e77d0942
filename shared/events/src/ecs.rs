//! The state of a task of ECS: `ECS Task State Change`.
//!
//! Source: Amazon ECS Developer Guide, "Amazon ECS task state change events". Its detail resembles the answer of `DescribeTasks`; a container has
//! `imageDigest` if its image is in ECR. Containers that say nothing of their image are passed over.

use super::{
    envelope::Envelope,
    json::Object,
    poison::{MAX_TEXT, Poison, printable},
};
use guard_core::ids::{AccountId, Region};

/// The detail type.
pub const TASK_STATE_CHANGE: &str = "ECS Task State Change";

/// A task, as an event shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskEvent {
    /// `EventBridge`'s id of it: printable ASCII, 128 characters at most.
    pub id: String,
    /// The account that the task is in.
    pub account: AccountId,
    /// Its region.
    pub region: Region,
    /// The ARN of its cluster.
    pub cluster: Option<String>,
    /// Its starter: `service:` or `family:`, and a name.
    pub group: Option<String>,
    /// The ARN of its definition.
    pub definition: String,
    /// Its status: `RUNNING`, `STOPPED` and others.
    pub status: String,
    /// Why it has stopped, in the words of ECS.
    pub stopped: Option<String>,
    /// Its containers.
    pub containers: Vec<TaskContainer>,
}

/// A container of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskContainer {
    /// The image, as the definition names it.
    pub image: Option<String>,
    /// The digest of the image that was pulled.
    pub digest: Option<String>,
    /// Why it does not run, in the words of ECS.
    pub reason: Option<String>,
}

/// The longest reason that is kept.
const MAX_REASON: usize = 1000;

/// A part of ECS's reasons where an image could not be pulled, such as `CannotPullContainerError`.
const CANNOT_PULL: &str = "CannotPull";

impl TaskEvent {
    /// Reads an event; `None`: it is of another kind.
    ///
    /// # Errors
    /// The text is not an `EventBridge` event, or does not say what the task is.
    pub fn parse(json: &str) -> Result<Option<Self>, Poison> {
        let envelope = Envelope::read(json)?;
        if envelope.detail_type != TASK_STATE_CHANGE {
            return Ok(None);
        }
        let detail = envelope.detail()?;
        let text = |object: &Object<'_>, name: &str, most| {
            let text = object.optional(name);
            text.map(|text| printable(&text, most)).filter(|text| !text.is_empty())
        };
        let mut containers = Vec::new();
        for container in detail.list("containers")? {
            let container = container.object()?;
            containers.push(TaskContainer {
                image: text(&container, "image", 1000),
                digest: text(&container, "imageDigest", 200),
                reason: text(&container, "reason", MAX_REASON),
            });
        }
        Ok(Some(Self {
            id: printable(&envelope.id, MAX_TEXT),
            cluster: text(&detail, "clusterArn", 1000),
            group: text(&detail, "group", 300),
            definition: printable(&detail.required("taskDefinitionArn")?, 1000),
            status: printable(&detail.required("lastStatus")?, MAX_TEXT),
            stopped: text(&detail, "stoppedReason", MAX_REASON),
            containers,
            account: envelope.account,
            region: envelope.region,
        }))
    }

    /// Whether it runs.
    pub fn runs(&self) -> bool {
        self.status == "RUNNING"
    }

    /// Why it could not pull an image, in the words of ECS; `None`: that was not what stopped it.
    ///
    /// Source: Amazon ECS Developer Guide, "`CannotPullContainer` task errors": the reason begins with that word, also behind others.
    pub fn cannot_pull(&self) -> Option<&str> {
        let reasons = self.containers.iter().map(|container| container.reason.as_deref());
        let mut reasons = reasons.chain([self.stopped.as_deref()]).flatten();
        reasons.find(|reason| reason.contains(CANNOT_PULL))
    }

    /// The containers whose image could not be pulled: those that say so; otherwise those whose image the task names; otherwise any of them.
    pub fn not_pulled(&self) -> Vec<&TaskContainer> {
        if self.cannot_pull().is_none() {
            return Vec::new();
        }
        let those = |is: &dyn Fn(&TaskContainer) -> bool| -> Vec<&TaskContainer> {
            self.containers.iter().filter(|container| is(container)).collect()
        };
        let says = |text: Option<&str>, what: &str| text.is_some_and(|text| text.contains(what));
        let saying = those(&|container| says(container.reason.as_deref(), CANNOT_PULL));
        let named = those(&|container| {
            let image = container.image.as_deref();
            image.is_some_and(|image| says(self.stopped.as_deref(), image))
        });
        [saying, named]
            .into_iter()
            .find(|found| !found.is_empty())
            .unwrap_or_else(|| self.containers.iter().collect())
    }
}
