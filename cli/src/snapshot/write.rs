//! Writes a snapshot.

use std::io::{self, BufWriter, Write};

use guard_core::snapshot::{SnapshotEnd, SnapshotLine};

/// A snapshot in the making.
pub struct Writing<'a> {
    to: BufWriter<&'a mut dyn Write>,
    records: u64,
}

impl std::fmt::Debug for Writing<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writing")
            .field("records", &self.records)
            .finish_non_exhaustive()
    }
}

impl<'a> Writing<'a> {
    /// Nothing is written yet.
    pub fn new(to: &'a mut dyn Write) -> Self {
        Self {
            to: BufWriter::new(to),
            records: 0,
        }
    }

    /// How many records were written.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Writes a line.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn line(&mut self, line: &SnapshotLine) -> io::Result<()> {
        self.records += u64::from(matches!(line, SnapshotLine::Record(_)));
        self.to.write_all(line.write()?.as_bytes())?;
        self.to.write_all(b"\n")
    }

    /// Writes the last line, and gives the number of records.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn end(mut self) -> io::Result<u64> {
        let records = self.records;
        self.line(&SnapshotLine::End(SnapshotEnd { records }))?;
        self.to.flush()?;
        Ok(records)
    }
}
