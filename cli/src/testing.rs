//! For tests: a world in memory.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Cursor, Write},
    path::Path,
    sync::{Arc, Mutex},
};

use clap::Parser as _;
use guard_core::{
    finding::{Fix, ScanMode, Severity},
    ids::{ImageKey, RepositoryKey},
    image::{Image, ImageStatus, ListedImage},
    ledger::{AlertRecord, Block, Cause, RecordedFinding, Row, ScanRecord},
    notice::AlertKind,
    policy::{BlockMethod, Policy},
    registry::RegistryRow,
    snapshot::{
        SNAPSHOT_SCHEMA, SnapshotAccess, SnapshotHeader, SnapshotLine, SnapshotListed, SnapshotPolicy, SnapshotRecord,
    },
    state::State,
    testing::{image, image_key, now, recorded, registry_key},
    uses::{IndexState, Phase, SourceKind, UseRow, UseRowSchema, Via, Workload, WorkloadKind, WorkloadSource},
};
use jiff::Timestamp;

use crate::{
    Arguments, Scratch, World,
    gate::{Gatekeeper, Silence, tests::FakeGate},
    ledgers::{Extent, NotRead, Place},
    release::{Operator, tests::Fake},
    snapshot::{ReadSeek, Writing},
};

/// A desk with files on it, and a ledger within reach. Files that are not on it are read from the policies that people have
/// tried.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) files: Mutex<BTreeMap<String, Vec<u8>>>,
    /// The records of the ledger, or why it cannot be read.
    pub(crate) ledger: Result<Vec<SnapshotRecord>, String>,
    pub(crate) asked: Mutex<Vec<(Place, Extent)>>,
    /// The function `operate`.
    pub(crate) operator: Option<Arc<Fake>>,
    /// The function `gate`.
    pub(crate) gate: Option<Arc<FakeGate>>,
    /// Whether its output goes to a terminal.
    pub(crate) terminal: bool,
    /// Its environment.
    pub(crate) variables: BTreeMap<String, String>,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            files: Mutex::default(),
            ledger: Ok(Vec::new()),
            asked: Mutex::default(),
            operator: None,
            gate: None,
            terminal: false,
            variables: BTreeMap::new(),
        }
    }
}

impl World for Desk {
    fn now(&self) -> Timestamp {
        now()
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        let name = path.display().to_string();
        if let Some(bytes) = self.files.lock().unwrap().get(&name) {
            return String::from_utf8(bytes.clone()).map_err(|_| io::ErrorKind::InvalidData.into());
        }
        let tried = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/policies/tried");
        fs::read_to_string(tried.join(path))
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn is_terminal(&self) -> bool {
        false
    }

    fn shows_colors(&self) -> bool {
        self.terminal
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadSeek>> {
        let files = self.files.lock().unwrap();
        let bytes = files.get(&path.display().to_string()).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(Cursor::new(bytes.clone())))
    }

    fn scratch(&self) -> io::Result<Box<dyn Scratch>> {
        Ok(Box::new(Cursor::new(Vec::new())))
    }

    fn save(&self, path: &Path, write: &mut dyn FnMut(&mut dyn Write) -> Result<(), NotRead>) -> Result<(), NotRead> {
        let mut bytes = Vec::new();
        write(&mut bytes)?;
        self.files.lock().unwrap().insert(path.display().to_string(), bytes);
        Ok(())
    }

    fn ledger(
        &self,
        place: &Place,
        extent: &Extent,
        each: &mut dyn FnMut(SnapshotLine) -> io::Result<()>,
    ) -> Result<(), NotRead> {
        self.asked.lock().unwrap().push((place.clone(), extent.clone()));
        let records = self.ledger.as_ref().map_err(NotRead::new)?;
        each(SnapshotLine::Snapshot(header()))?;
        for record in records {
            each(SnapshotLine::Record(record.clone()))?;
        }
        Ok(())
    }

    fn operator(&self, _: &Place) -> Result<Box<dyn Operator>, NotRead> {
        let operator = self
            .operator
            .clone()
            .ok_or_else(|| NotRead::new("There is no function."))?;
        Ok(Box::new(operator))
    }

    fn gatekeeper(&self, place: &Place) -> Result<Box<dyn Gatekeeper>, NotRead> {
        self.asked.lock().unwrap().push((place.clone(), Extent::default()));
        let gate = self.gate.clone().ok_or_else(|| NotRead::new("No region is known."))?;
        Ok(Box::new(gate))
    }
}

/// Runs a command that has blanks in it.
pub(crate) fn said(desk: &Desk, command: &[&str]) -> (u8, String, String) {
    let arguments = Arguments::try_parse_from([&["ecr-guard"], command].concat()).unwrap();
    let (mut out, mut trouble) = (Vec::new(), Vec::new());
    let code = crate::run(&arguments, desk, &mut out, &mut trouble).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (code, text(out), text(trouble))
}

impl Desk {
    /// With a ledger that has these records.
    pub(crate) fn with(records: Vec<SnapshotRecord>) -> Self {
        Self {
            ledger: Ok(records),
            ..Self::default()
        }
    }

    /// With a function `gate` that gives this answer.
    pub(crate) fn with_gate(self, answer: Result<String, Silence>) -> Self {
        let gate = FakeGate {
            answers: Mutex::new([answer].into()),
            ..FakeGate::default()
        };
        Self {
            gate: Some(Arc::new(gate)),
            ..self
        }
    }

    /// Puts a file on it.
    pub(crate) fn put(&self, name: &str, bytes: impl Into<Vec<u8>>) {
        self.files.lock().unwrap().insert(name.to_owned(), bytes.into());
    }

    /// Runs a command: exit code, what it says, and what it says of trouble.
    pub(crate) fn run(&self, command: &str) -> (u8, String, String) {
        self.run_with(&command.split(' ').collect::<Vec<_>>())
    }

    /// The same for words that may have blanks.
    pub(crate) fn run_with(&self, words: &[&str]) -> (u8, String, String) {
        let arguments = Arguments::try_parse_from(words).unwrap();
        let (mut out, mut trouble) = (Vec::new(), Vec::new());
        let code = crate::run(&arguments, self, &mut out, &mut trouble).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (code, text(out), text(trouble))
    }
}

/// The first line of a snapshot.
pub(crate) fn header() -> SnapshotHeader {
    SnapshotHeader {
        schema: SNAPSHOT_SCHEMA.to_owned(),
        taken_at: now(),
        version: "0.1.0".to_owned(),
        table: "ecr-guard-ledger".to_owned(),
        region: image_key().region,
        repository: None,
    }
}

/// A snapshot with these records.
pub(crate) fn snapshot(records: &[SnapshotRecord]) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    let mut writing = Writing::new(&mut bytes);
    writing.line(&SnapshotLine::Snapshot(header())).unwrap();
    for record in records {
        writing.line(&SnapshotLine::Record(record.clone())).unwrap();
    }
    writing.end().unwrap();
    bytes
}

/// An image in the list of the registry.
pub(crate) fn listed(image: guard_core::image::Image) -> SnapshotRecord {
    SnapshotRecord::Listed(Box::new(SnapshotListed {
        repository: RepositoryKey::of(&image_key()),
        listed: ListedImage {
            image,
            bytes: 1000,
            scan_status: None,
            scanned_at: None,
        },
    }))
}

/// A digest that begins with these two hexadecimal digits.
pub(crate) fn digest(begins: &str) -> guard_core::ids::Digest {
    format!("sha256:{begins}{}", "0".repeat(62)).parse().unwrap()
}

/// The policy document of the [small ledger](small_ledger).
pub(crate) const IN_FORCE: &str = r#"{"version": 1, "mode": "enforce", "routes": {
"default": "arn:aws:sns:us-west-2:123456789012:platform", "payments": "arn:aws:sns:us-west-2:123456789012:payments"},
"block": {"workloads": {}},
"repositories": [{"match": "pay/*", "route": "payments"}],
"exceptions": [{"vulnerability": "CVE-2026-7777", "repositories": ["pay/*"], "owner": "pay@acme.example", "reason": "not reachable",
"expires": "2026-11-30", "ticket": "SEC-7"}]}"#;

/// A ledger of five images in two repositories: one of each state that people ask about.
pub(crate) fn small_ledger() -> Vec<SnapshotRecord> {
    let policy = Policy::from_json(IN_FORCE, now()).unwrap();
    let hour = jiff::SignedDuration::from_hours(1);
    let row = |repository: &str, begins: &str, tag: &str, state: State, reason: &str| Row {
        state,
        reason: reason.to_owned(),
        since: now() - hour * 5,
        tags: vec![tag.parse().unwrap()],
        available_since: Some(now() - hour * 30),
        ..Row::first(
            ImageKey {
                repository: repository.parse().unwrap(),
                digest: digest(begins),
                ..image_key()
            },
            &policy,
            now(),
        )
    };
    let scan = Some(ScanRecord {
        mode: ScanMode::Basic,
        completed_at: Some(now() - hour * 5),
        counts_use: false,
    });
    let critical = RecordedFinding {
        fixed_in: Some("3.0.9".to_owned()),
        fix: Fix::Available,
        ..recorded("CVE-2026-1111", Severity::Critical)
    };
    let blocked = Row {
        cause: Some(Cause::Findings),
        scan: scan.clone(),
        counts: [(Severity::Critical, 1)].into(),
        findings: vec![critical.clone()],
        block: Some(Block {
            method: BlockMethod::Archive,
            at: now() - hour * 5,
            confirmed: true,
            tags: Vec::new(),
            returns: Vec::new(),
            undone_at: None,
            release_refused_at: None,
            told: true,
        }),
        alert: Some(AlertRecord {
            id: "0a1b".to_owned(),
            kind: AlertKind::ImageBlocked,
            claimed_at: now() - hour * 5,
            claimed_by: "r".to_owned(),
            sent_at: Some(now() - hour * 5),
            no_news: false,
        }),
        ..row(
            "team/api",
            "b1",
            "v1.2.3",
            State::Blocked,
            "1 finding blocks deployment: CVE-2026-1111 CRITICAL in openssl (policy: severities.CRITICAL).",
        )
    };
    let high = RecordedFinding {
        fix: Fix::Unavailable,
        ..recorded("CVE-2026-2222", Severity::High)
    };
    let review = Row {
        scan: scan.clone(),
        counts: [(Severity::High, 1)].into(),
        findings: vec![high],
        ..row(
            "pay/web",
            "c2",
            "v7",
            State::Review,
            "1 finding needs review before deployment: CVE-2026-2222 HIGH in openssl (policy: severities.HIGH).",
        )
    };
    let excepted = Row {
        scan: scan.clone(),
        counts: [(Severity::Critical, 1)].into(),
        excepted: vec![RecordedFinding {
            exception: Some("exceptions[0] SEC-7".to_owned()),
            excepted_by: Some("CVE-2026-7777".to_owned()),
            ..recorded("CVE-2026-7777", Severity::Critical)
        }],
        ..row(
            "pay/web",
            "d3",
            "v8",
            State::Allowed,
            "Findings: 1 CRITICAL. None needs review, 1 is excepted by the policy (exceptions[0] SEC-7 of pay@acme.example, until 2026-11-30).",
        )
    };
    let medium = Row {
        scan,
        counts: [(Severity::Medium, 3)].into(),
        judged_by: Some(policy.judging.clone()),
        available_since: Some(now() - hour * 900),
        ..row(
            "team/api",
            "e4",
            "v1.2.2",
            State::Allowed,
            "Findings: 3 MEDIUM. None needs review.",
        )
    };
    let pending = row("team/api", "f5", "v1.2.4", State::Pending, "No scan result yet.");
    let source = |kind| WorkloadSource {
        account: image_key().account,
        region: image_key().region,
        kind,
    };
    let used = UseRow {
        schema: UseRowSchema::V1,
        image: review.image.clone(),
        workloads: vec![Workload {
            phase: Phase::Running,
            kind: WorkloadKind::EcsService,
            name: "web".to_owned(),
            within: Some("prod".to_owned()),
            version: Some("41".to_owned()),
            source: source(SourceKind::Ecs),
            via: Via::Digest,
        }],
        more: Vec::new(),
        changed_at: now() - hour * 20,
        since: now() - hour * 20,
        gone_at: None,
        generation: 1,
    };
    let mut uses = IndexState::new(image_key().account, image_key().region);
    for kind in [SourceKind::Ecs, SourceKind::Lambda, SourceKind::Batch] {
        uses.completed(&source(kind), 1, now() - jiff::SignedDuration::from_mins(10));
    }
    let mut registry = RegistryRow::new(registry_key());
    registry.swept = Some(now() - jiff::SignedDuration::from_mins(40));
    let rows = [blocked, review, excepted, medium, pending];
    let mut records = vec![
        SnapshotRecord::Policy(SnapshotPolicy {
            sha256: policy.sha256.clone(),
            deployed: true,
            document: IN_FORCE.to_owned(),
        }),
        SnapshotRecord::Registry(registry),
        SnapshotRecord::Uses(uses),
        SnapshotRecord::Use(used),
    ];
    for row in &rows {
        let archived = row.block.is_some();
        records.push(SnapshotRecord::Listed(Box::new(SnapshotListed {
            repository: RepositoryKey::of(&row.image),
            listed: ListedImage {
                image: Image {
                    tags: row.tags.clone(),
                    pushed_at: row.available_since,
                    status: if archived {
                        ImageStatus::Archived
                    } else {
                        ImageStatus::Active
                    },
                    last_pulled_at: (row.state == State::Allowed).then(|| now() - hour),
                    ..image(&row.image)
                },
                bytes: 1000,
                scan_status: None,
                scanned_at: None,
            },
        })));
    }
    for repository in [RepositoryKey::of(&rows[0].image), RepositoryKey::of(&rows[1].image)] {
        records.push(SnapshotRecord::Access(SnapshotAccess {
            repository: repository.clone(),
            document: None,
        }));
        records.push(SnapshotRecord::ListedAll(repository));
    }
    records.extend(rows.into_iter().map(|row| SnapshotRecord::Image(Box::new(row))));
    records
}

/// A desk with the small ledger as `ledger.jsonl`, and a stricter policy as `stricter.json`.
pub(crate) fn desk() -> Desk {
    let desk = Desk::with(small_ledger());
    desk.put("ledger.jsonl", snapshot(&small_ledger()));
    let stricter = IN_FORCE.replace(
        "\"block\":",
        "\"severities\": {\"HIGH\": \"block\", \"MEDIUM\": \"review\"}, \"block\":",
    );
    desk.put("stricter.json", stricter);
    desk
}
