//! Reads a snapshot.

use std::{
    fmt,
    io::{self, BufRead as _, BufReader, Read, Seek, SeekFrom},
};

use guard_core::snapshot::{MAX_SNAPSHOT_LINE, SnapshotHeader, SnapshotLine, SnapshotRecord};

use crate::ledgers::{NotRead, why};

/// The source of a snapshot, which is read more than once.
pub trait ReadSeek: Read + Seek {}

impl<T: Read + Seek> ReadSeek for T {}

/// A snapshot that was opened.
pub struct Snapshot {
    /// The name for people: the file, or the table.
    pub name: String,
    /// Its first line.
    pub header: SnapshotHeader,
    file: BufReader<Box<dyn ReadSeek>>,
    /// Where the next byte is that is read.
    place: u64,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Where a record is in the file: it can be read [again](Snapshot::record) by that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Keep(u64);

/// The first bytes of a file that `gzip` has made.
const GZIP: [u8; 2] = [0x1f, 0x8b];

impl Snapshot {
    /// Opens one.
    ///
    /// # Errors
    /// The file cannot be read, or does not begin as a snapshot does.
    pub fn open(name: &str, file: impl ReadSeek + 'static) -> Result<Self, NotRead> {
        let mut file: BufReader<Box<dyn ReadSeek>> = BufReader::with_capacity(1 << 16, Box::new(file));
        let failed = |error: io::Error| NotRead::new(format!("{name}: {}.", why(&error)));
        file.rewind().map_err(failed)?;
        if file.fill_buf().map_err(failed)?.starts_with(&GZIP) {
            return Err(NotRead::new(format!("{name}: it is compressed; unpack it first.")));
        }
        let anything_else = || {
            NotRead::new(format!(
                "{name}:1: it does not begin as a snapshot does; `ecr-guard snapshot FILE` makes one."
            ))
        };
        let begins: Vec<u8> = file.fill_buf().map_err(failed)?.iter().take(64).copied().collect();
        if !String::from_utf8_lossy(&begins).contains("\"snapshot\"") {
            return Err(anything_else());
        }
        let mut line = String::new();
        match next(&mut file, &mut line, name, 1)? {
            Some(SnapshotLine::Snapshot(header)) => Ok(Self {
                name: name.to_owned(),
                header,
                file,
                // Not known: the next seek is from the beginning.
                place: u64::MAX,
            }),
            Some(_) | None => Err(anything_else()),
        }
    }

    /// Gives each record to `each`, from the first to the last.
    ///
    /// # Errors
    /// A line is none of a snapshot, or the file is not complete; or `each` failed.
    pub fn each(&mut self, mut each: impl FnMut(Keep, SnapshotRecord) -> Result<(), NotRead>) -> Result<(), NotRead> {
        let name = &self.name;
        self.file.rewind()?;
        self.place = u64::MAX;
        let mut text = String::new();
        let (mut number, mut place, mut records) = (0_u64, 0_u64, 0_u64);
        let mut end = None;
        loop {
            number += 1;
            let at = Keep(place);
            let Some(line) = next(&mut self.file, &mut text, name, number)? else {
                break;
            };
            place += text.len() as u64;
            let bad = |problem: &str| NotRead::new(format!("{name}:{number}: {problem}"));
            match (line, end) {
                (_, Some(_)) => return Err(bad("there is a line after the last one.")),
                (SnapshotLine::Snapshot(_), None) if number == 1 => {}
                (SnapshotLine::Snapshot(_), None) => {
                    return Err(bad("another snapshot begins; give each a file of its own."));
                }
                (SnapshotLine::End(said), None) => end = Some(said.records),
                (SnapshotLine::Record(record), None) => {
                    records += 1;
                    each(at, record)?;
                }
            }
        }
        match end {
            Some(said) if said == records => Ok(()),
            Some(said) => Err(NotRead::new(format!(
                "{name}: its last line counts {said} records, and there are {records}: some were lost."
            ))),
            None => Err(NotRead::new(format!(
                "{name}: it ends after line {}, without the last line of a snapshot: it was cut off.",
                number.saturating_sub(1)
            ))),
        }
    }

    /// The record at a place where there is one.
    ///
    /// # Errors
    /// It cannot be read, or is not there any more.
    pub fn record(&mut self, at: Keep) -> Result<SnapshotRecord, NotRead> {
        let name = &self.name;
        // A near place is in the buffer.
        match i64::try_from(i128::from(at.0) - i128::from(self.place)) {
            Ok(away) if self.place != u64::MAX => self.file.seek_relative(away)?,
            _ => {
                self.file.seek(SeekFrom::Start(at.0))?;
            }
        }
        self.place = u64::MAX;
        let mut text = String::new();
        let line = next(&mut self.file, &mut text, name, 0)?;
        self.place = at.0 + text.len() as u64;
        match line {
            Some(SnapshotLine::Record(record)) => Ok(record),
            _ => Err(NotRead::new(format!("{name}: it has changed while it was read."))),
        }
    }
}

/// The next line; `None`: there is none.
fn next(
    file: &mut BufReader<Box<dyn ReadSeek>>,
    text: &mut String,
    name: &str,
    number: u64,
) -> Result<Option<SnapshotLine>, NotRead> {
    let bad = |problem: &dyn fmt::Display| NotRead::new(format!("{name}:{number}: {problem}."));
    text.clear();
    let most = MAX_SNAPSHOT_LINE as u64;
    let read = file.by_ref().take(most).read_line(text);
    let bytes = read.map_err(|error: io::Error| bad(&why(&error)))?;
    if bytes == 0 {
        return Ok(None);
    }
    if bytes as u64 == most && !text.ends_with('\n') {
        return Err(bad(&"the line is longer than any of a snapshot"));
    }
    let line = text.trim_end_matches(['\n', '\r']);
    let line = line.strip_prefix('\u{feff}').unwrap_or(line);
    SnapshotLine::read(line).map(Some).map_err(|error| bad(&error))
}
