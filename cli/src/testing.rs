//! For tests: a world in memory.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Cursor, Write},
    path::Path,
    sync::Mutex,
};

use clap::Parser as _;
use guard_core::{
    ids::RepositoryKey,
    image::ListedImage,
    snapshot::{SNAPSHOT_SCHEMA, SnapshotHeader, SnapshotLine, SnapshotListed, SnapshotRecord},
    testing::{image_key, now},
};
use jiff::Timestamp;

use crate::{
    Arguments, Scratch, World,
    ledgers::{Extent, NotRead, Place},
    snapshot::{ReadSeek, Writing},
};

/// A desk with files on it, and a ledger within reach. What is not on it is read from the policies that people have tried.
#[derive(Debug)]
pub(crate) struct Desk {
    pub(crate) files: Mutex<BTreeMap<String, Vec<u8>>>,
    /// What the ledger has, or why it cannot be read.
    pub(crate) ledger: Result<Vec<SnapshotRecord>, String>,
    pub(crate) asked: Mutex<Vec<(Place, Extent)>>,
}

impl Default for Desk {
    fn default() -> Self {
        Self {
            files: Mutex::default(),
            ledger: Ok(Vec::new()),
            asked: Mutex::default(),
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

    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn is_terminal(&self) -> bool {
        false
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
}

impl Desk {
    /// With a ledger that has these records.
    pub(crate) fn with(records: Vec<SnapshotRecord>) -> Self {
        Self {
            ledger: Ok(records),
            ..Self::default()
        }
    }

    /// Puts a file on it.
    pub(crate) fn put(&self, name: &str, bytes: impl Into<Vec<u8>>) {
        self.files.lock().unwrap().insert(name.to_owned(), bytes.into());
    }

    /// Runs a command: exit code, what it says, and what it says of trouble.
    pub(crate) fn run(&self, command: &str) -> (u8, String, String) {
        let arguments = Arguments::try_parse_from(command.split(' ')).unwrap();
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
