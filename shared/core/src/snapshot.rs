//! A snapshot: what a ledger and the list of its registries said at one time, as lines of JSON. The command line makes it and reads it;
//! `docs/snapshot.md` describes it.
//!
//! The first line says what it is ([`SnapshotHeader`]), the last one how many records there are between them. A file without its last line was
//! cut off, and is not one. Each line is an object with one member, which names the kind of the record.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    ids::{Region, RepositoryKey, RepositoryName},
    image::ListedImage,
    ledger::Row,
    place::{self, Misread},
    registry::RegistryRow,
    replication::ledger::{BackfillRow, ReplicaRow, ReplicationRow},
    repository::ledger::{RepositoryRow, TagRow},
    summary::RepositorySummary,
    text,
    uses::{IndexState, RefusedPull, UseRow},
};

/// The form that this version writes and reads.
pub const SNAPSHOT_SCHEMA: &str = "ecr-guard/snapshot/v1";

/// The prefix of the names of all forms.
const SCHEMA_PREFIX: &str = "ecr-guard/snapshot/v";

/// No line is longer, in bytes: an item of DynamoDB has 400 KB, and JSON within JSON escapes its quotes.
pub const MAX_SNAPSHOT_LINE: usize = 4_000_000;

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotHeader {
    /// [`SNAPSHOT_SCHEMA`].
    pub schema: String,
    /// When it was begun. The records were read from then on, one by one: a row that was written in the meantime may be the
    /// later one.
    pub taken_at: Timestamp,
    /// The version of ecr-guard that made it.
    pub version: String,
    /// The ledger's table.
    pub table: String,
    /// The region that the ledger was read in.
    pub region: Region,
    /// Only this repository was read; `None`: the whole ledger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<RepositoryName>,
}

/// A policy document of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotPolicy {
    /// SHA-256 of the text, by which the rows name it that were decided under it.
    pub sha256: String,
    /// The deployment has written it; otherwise a sweep keeps it that ran under it.
    pub deployed: bool,
    /// The text.
    pub document: String,
}

/// An image in a registry's list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotListed {
    /// Where it is.
    pub repository: RepositoryKey,
    /// The image.
    pub listed: ListedImage,
}

/// The policy of a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotAccess {
    /// The repository.
    pub repository: RepositoryKey,
    /// The text; `None`: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub document: Option<String>,
}

/// An item that exists and could not be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotGap {
    /// What: the key of a row, a repository's list.
    pub what: String,
    /// Why.
    pub why: String,
}

/// A line between the first and the last one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotRecord {
    /// A policy document.
    Policy(SnapshotPolicy),
    /// The row of an image.
    Image(Box<Row>),
    /// An image in a registry's list.
    Listed(Box<SnapshotListed>),
    /// The repository's list was read to its end: an image of which there is no `listed` is not there.
    ListedAll(RepositoryKey),
    /// Who uses an image.
    Use(UseRow),
    /// How complete the index of workloads is.
    Uses(IndexState),
    /// Who could not pull a blocked image.
    RefusedPull(RefusedPull),
    /// The figures of a repository.
    Summary(Box<RepositorySummary>),
    /// The row of a registry.
    Registry(RegistryRow),
    /// The row of a repository.
    Repository(Box<RepositoryRow>),
    /// The row of a tag.
    Tag(TagRow),
    /// The row of a copy.
    Copy(ReplicaRow),
    /// The row of a repository's copies in a region.
    Copies(ReplicationRow),
    /// The row of a backfill.
    Backfill(BackfillRow),
    /// The policy of a repository, which says who may pull.
    Access(SnapshotAccess),
    /// An item that exists and could not be read.
    Unreadable(SnapshotGap),
}

/// A line.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotLine {
    /// The first one.
    Snapshot(SnapshotHeader),
    /// The last one, with the number of records.
    End(SnapshotEnd),
    /// One between.
    #[serde(untagged)]
    Record(SnapshotRecord),
}

/// The last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotEnd {
    /// How many records there are.
    pub records: u64,
}

/// Why a line is none of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLine {
    /// A member is not as it must be.
    #[error("{}{problem}", if path.is_empty() { String::new() } else { format!("{path}: ") })]
    Member {
        /// Its place in the line, such as `image.findings[0].severity`; empty: the line itself.
        path: String,
        /// The problem.
        problem: String,
    },
    /// Its form is one that this version does not know.
    #[error(
        "this snapshot has the form `{0}`, and this version of ecr-guard reads `{SNAPSHOT_SCHEMA}`: use a newer version, or make the snapshot anew"
    )]
    Newer(String),
}

/// The record of an item of the ledger's table, by its keys; `None`: it counts something, or is a pending alert, and is no part
/// of a snapshot.
///
/// `row`, `document`: these attributes of the item.
pub fn record_of_item(pk: &str, sk: &str, row: Option<&str>, document: Option<&str>) -> Option<SnapshotRecord> {
    let gap = |why: String| {
        SnapshotRecord::Unreadable(SnapshotGap {
            what: format!("row `{}`, `{}`", text::line(pk, 300), text::line(sk, 300)),
            why: text::line(&why, 300),
        })
    };
    if let Some(sha256) = pk.strip_prefix("policy#") {
        return Some(match document {
            Some(document) => SnapshotRecord::Policy(SnapshotPolicy {
                sha256: sha256.to_owned(),
                deployed: sk == "deployed",
                document: document.to_owned(),
            }),
            None => gap("it has no string `document`".to_owned()),
        });
    }
    let kind = sk.split_once('#').map_or(sk, |(kind, _)| kind);
    let record: fn(&str) -> Result<SnapshotRecord, serde_json::Error> = match (pk.starts_with("uses#"), kind) {
        (false, "image") => |row| Ok(SnapshotRecord::Image(serde_json::from_str(row)?)),
        (false, "summary") => |row| Ok(SnapshotRecord::Summary(serde_json::from_str(row)?)),
        (false, "registry") => |row| Ok(SnapshotRecord::Registry(serde_json::from_str(row)?)),
        (false, "repository") => |row| Ok(SnapshotRecord::Repository(serde_json::from_str(row)?)),
        (false, "tag") => |row| Ok(SnapshotRecord::Tag(serde_json::from_str(row)?)),
        (false, "replica") => |row| Ok(SnapshotRecord::Copy(serde_json::from_str(row)?)),
        (false, "replication") => |row| Ok(SnapshotRecord::Copies(serde_json::from_str(row)?)),
        (false, "backfill") => |row| Ok(SnapshotRecord::Backfill(serde_json::from_str(row)?)),
        (true, "use") => |row| Ok(SnapshotRecord::Use(serde_json::from_str(row)?)),
        (true, "index") => |row| Ok(SnapshotRecord::Uses(serde_json::from_str(row)?)),
        (true, "refused") => |row| Ok(SnapshotRecord::RefusedPull(serde_json::from_str(row)?)),
        _ => return None,
    };
    let Some(row) = row else {
        return Some(gap("it has no string `row`".to_owned()));
    };
    Some(record(row).unwrap_or_else(|error| gap(error.to_string())))
}

impl SnapshotLine {
    /// Reads a line.
    ///
    /// # Errors
    /// It is none: which member, and why.
    pub fn read(line: &str) -> Result<Self, BadLine> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        enum Other {
            Snapshot(SnapshotHeader),
            End(SnapshotEnd),
        }
        let kind = kind(line);
        if kind == Some("snapshot") {
            newer(line)?;
        }
        match kind {
            Some("snapshot" | "end") => deserialize(line).map(|other| match other {
                Other::Snapshot(header) => Self::Snapshot(header),
                Other::End(end) => Self::End(end),
            }),
            _ => deserialize(line).map(Self::Record),
        }
    }

    /// The line, without its end.
    ///
    /// # Errors
    /// A member cannot be written: a number that is none.
    pub fn write(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string(self)
    }
}

/// The name of the first member, as the line has it: what to read it as.
fn kind(line: &str) -> Option<&str> {
    let name = line.trim_start().strip_prefix('{')?.trim_start().strip_prefix('"')?;
    name.split_once('"').map(|(name, _)| name)
}

/// Refuses a form of a later version, whatever its other members are.
fn newer(line: &str) -> Result<(), BadLine> {
    #[derive(Deserialize)]
    struct Line {
        snapshot: Schema,
    }
    #[derive(Deserialize)]
    struct Schema {
        schema: String,
    }
    let line: Line = deserialize(line)?;
    let schema = line.snapshot.schema;
    match schema.as_str() {
        SNAPSHOT_SCHEMA => Ok(()),
        other if other.starts_with(SCHEMA_PREFIX) => Err(BadLine::Newer(text::line(other, 60))),
        other => Err(BadLine::Member {
            path: "snapshot.schema".to_owned(),
            problem: format!("`{}` is no form of a snapshot", text::line(other, 60)),
        }),
    }
}

fn deserialize<'a, T: Deserialize<'a>>(line: &'a str) -> Result<T, BadLine> {
    place::read(line).map_err(|Misread { path, problem }| BadLine::Member {
        path: if path == "." { String::new() } else { path },
        // The reader of the file names the line.
        problem: text::line(&problem.to_string().replace(" at line 1 column", " at column"), 300),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        finding::Severity,
        testing::{image, image_key, now, policy, recorded},
    };

    fn header() -> SnapshotHeader {
        SnapshotHeader {
            schema: SNAPSHOT_SCHEMA.to_owned(),
            taken_at: now(),
            version: "0.1.0".to_owned(),
            table: "ecr-guard".to_owned(),
            region: image_key().region,
            repository: None,
        }
    }

    fn row() -> Row {
        Row {
            findings: vec![recorded("CVE-2026-1", Severity::Critical)],
            ..Row::first(image_key(), &policy(""), now())
        }
    }

    fn lines() -> Vec<SnapshotLine> {
        let key = RepositoryKey::of(&image_key());
        vec![
            SnapshotLine::Snapshot(header()),
            SnapshotLine::Record(SnapshotRecord::Image(Box::new(row()))),
            SnapshotLine::Record(SnapshotRecord::Listed(Box::new(SnapshotListed {
                repository: key.clone(),
                listed: ListedImage {
                    image: image(&image_key()),
                    bytes: 7,
                    scan_status: None,
                    scanned_at: None,
                },
            }))),
            SnapshotLine::Record(SnapshotRecord::ListedAll(key)),
            SnapshotLine::End(SnapshotEnd { records: 3 }),
        ]
    }

    #[test]
    fn a_line_is_read_as_it_was_written() {
        for line in lines() {
            let text = line.write().unwrap();
            assert!(!text.contains('\n'));
            assert_eq!(SnapshotLine::read(&text).unwrap(), line);
        }
    }

    #[test]
    fn a_bad_line_names_the_member() {
        let good = SnapshotLine::Record(SnapshotRecord::Image(Box::new(row())))
            .write()
            .unwrap();
        let bad = |line: &str| SnapshotLine::read(line).unwrap_err().to_string();
        let all = [
            bad(&good.replace(r#""CRITICAL""#, "7")),
            bad(&good.replace(r#""Pending""#, r#""Lost""#)),
            bad("{}"),
            bad(r#"{"imagine": {}}"#),
            bad(r#"{"end": {"records": -1}}"#),
            bad(r#"{"end": {"records": 1}} {}"#),
            bad(r#"{"snapshot": {"schema": "ecr-guard/snapshot/v2", "other": 1}}"#),
            bad(r#"{"snapshot": {"schema": "sarif"}}"#),
            bad("\u{1b}[31m"),
        ];
        insta::assert_snapshot!(all.join("\n"), @r"
        image.findings[0].severity: expected value at column 416
        image.state: unknown variant `Lost`, expected one of `Pending`, `Allowed`, `Review`, `Blocked`, `Held`, `Unscannable`, `Stale`, `NotAnImage` at column 223
        expected value at column 2
        imagine: unknown variant `imagine`, expected one of `policy`, `image`, `listed`, `listed-all`, `use`, `uses`, `refused-pull`, `summary`, `registry`, `repository`, `tag`, `copy`, `copies`, `backfill`, `access`, `unreadable` at column 10
        end.records: invalid value: integer `-1`, expected u64 at column 22
        trailing characters at column 25
        this snapshot has the form `ecr-guard/snapshot/v2`, and this version of ecr-guard reads `ecr-guard/snapshot/v1`: use a newer version, or make the snapshot anew
        snapshot.schema: `sarif` is no form of a snapshot
        expected value at column 1
        ");
    }

    #[test]
    fn an_item_of_the_ledger_is_known_by_its_keys() {
        let row = row();
        let json = serde_json::to_string(&row).unwrap();
        let (pk, sk) = (Row::partition_key(&row.image), Row::sort_key(&row.image));
        let record = record_of_item(&pk, &sk, Some(&json), None);
        assert_eq!(record, Some(SnapshotRecord::Image(Box::new(row))));
        let unreadable = record_of_item(&pk, &sk, Some("{"), None);
        assert!(matches!(unreadable, Some(SnapshotRecord::Unreadable(gap)) if gap.what.contains(&sk)));
        assert!(matches!(
            record_of_item(&pk, &sk, None, None),
            Some(SnapshotRecord::Unreadable(_))
        ));
        let policy = record_of_item("policy#ab", "kept", None, Some("{}"));
        assert!(matches!(policy, Some(SnapshotRecord::Policy(policy)) if !policy.deployed && policy.sha256 == "ab"));
        // Counters, and pending alerts.
        for (pk, sk) in [
            ("123456789012", "blocks#us-west-2#2026-11-24T12:00:00Z"),
            ("uses#123456789012", "known#x#1"),
            (&pk, "told#x"),
        ] {
            assert_eq!(record_of_item(pk, sk, Some("{}"), None), None, "{sk}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_line_says_it_is_read_or_refused(line in any::<String>(), at in any::<prop::sample::Index>(), with in any::<char>()) {
            drop(SnapshotLine::read(&line));
            let good = lines().into_iter().map(|line| line.write().unwrap());
            for good in good {
                let mut characters: Vec<char> = good.chars().collect();
                let place = at.index(characters.len());
                characters[place] = with;
                drop(SnapshotLine::read(&characters.iter().collect::<String>()));
                drop(SnapshotLine::read(&good.chars().take(place).collect::<String>()));
            }
        }
    }
}
