//! Who uses an image, in words.

use std::fmt::Write as _;

use super::{Phase, UsedBy, Workload, WorkloadKind};
use crate::{ids::ImageKey, text};

/// The workloads that a sentence names; the others are counted.
const NAMED: usize = 2;

/// The longest name of a workload in a sentence, in characters.
const MAX_NAME: usize = 80;

impl UsedBy {
    /// The names, such as `service api in cluster prod, task definition 41; function thumbs version 12; and 31 more`.
    ///
    /// The common name of several phases or versions stands once for each: people need the version.
    pub fn names(&self, image: &ImageKey) -> String {
        let mut names = String::new();
        let mut named: Vec<&Workload> = Vec::new();
        // One of each kind of workload first: ten tasks of one service say less than one of a function in addition.
        for workload in &self.workloads {
            let is_new = |other: &&Workload| other.kind != workload.kind || other.name != workload.name;
            if named.len() < NAMED && named.iter().all(is_new) {
                named.push(workload);
            }
        }
        for workload in &named {
            let separator = if names.is_empty() { "" } else { "; " };
            let _ = write!(names, "{separator}{}", workload.words(image));
        }
        match self.number.saturating_sub(named.len() as u64) {
            0 => {}
            more => {
                let _ = write!(names, "; and {more} more");
            }
        }
        names
    }
}

impl Workload {
    /// Its kind, place and version, as people name it: `service api in cluster prod, task definition 41`.
    pub fn words(&self, image: &ImageKey) -> String {
        let name = text::line(&self.name, MAX_NAME);
        let within = self.within.as_deref().map(|within| text::line(within, MAX_NAME));
        let version = self.version.as_deref().map(|version| text::line(version, 40));
        let in_cluster = within.as_ref().map(|cluster| format!(" in cluster {cluster}"));
        let in_cluster = in_cluster.unwrap_or_default();
        let definition = version.as_ref().map(|version| format!(", task definition {version}"));
        let definition = definition.unwrap_or_default();
        let mut words = match self.kind {
            WorkloadKind::EcsService => format!("service {name}{in_cluster}{definition}"),
            WorkloadKind::EcsTask => format!("task of {name}{in_cluster}{definition}"),
            WorkloadKind::EcsTaskDefinition => match version {
                Some(version) => format!("task definition {name}:{version}"),
                None => format!("task definition {name}"),
            },
            WorkloadKind::LambdaFunction => match version.filter(|version| version != "$LATEST") {
                Some(version) => format!("function {name} version {version}"),
                None => format!("function {name}"),
            },
            WorkloadKind::BatchJobDefinition => match version {
                Some(version) => format!("job definition {name}:{version}"),
                None => format!("job definition {name}"),
            },
            WorkloadKind::Kubernetes => {
                let cluster = match &self.source.kind {
                    super::SourceKind::Kubernetes(cluster) => text::line(cluster, MAX_NAME),
                    super::SourceKind::Ecs | super::SourceKind::Lambda | super::SourceKind::Batch => String::new(),
                };
                let namespace = within.map(|namespace| format!(" in namespace {namespace}"));
                let name = name.replacen('/', " ", 1);
                format!("{name}{} of cluster {cluster}", namespace.unwrap_or_default())
            }
        };
        match (self.phase, self.kind) {
            (Phase::Rollback, _) => words.push_str(" (to go back to)"),
            (Phase::Desired, WorkloadKind::EcsService | WorkloadKind::Kubernetes) => {
                words.push_str(" (not running now)")
            }
            (Phase::Running | Phase::Desired, _) => {}
        }
        if self.source.account != image.account {
            let _ = write!(words, " of account {}", self.source.account);
        }
        if self.source.region != image.region {
            let _ = write!(words, " in {}", self.source.region);
        }
        words
    }
}
