//! Which ledgers a command reads: snapshots, or the tables of profiles and regions. Both are read in the same way: of a table, a snapshot is
//! made first, which nobody keeps.

use std::{
    fmt,
    io::{self, Write},
    path::PathBuf,
};

use clap::Args;
use guard_core::{
    ids::{AccountId, Region, RepositoryName},
    snapshot::SnapshotLine,
};

use crate::{
    World,
    snapshot::{Snapshot, Writing},
};

/// The name that the Terraform module gives the table.
pub const DEFAULT_TABLE: &str = "ecr-guard-ledger";

/// The sources, for commands that take one ledger or several.
#[derive(Debug, Clone, Default, Args)]
pub struct LedgerArguments {
    /// A file that `ecr-guard snapshot` has made, in place of AWS. Several may be given.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["profiles", "regions", "table"])]
    pub snapshot: Vec<PathBuf>,
    /// A profile of your AWS configuration. Several may be given: each is another ledger.
    #[arg(long = "profile", value_name = "NAME")]
    pub profiles: Vec<String>,
    /// The region of the ledger's table. Several may be given. Images that two of them have are counted once.
    #[arg(long = "region", value_name = "REGION")]
    pub regions: Vec<Region>,
    /// The ledger's table; without it `ECR_GUARD_TABLE`, or `ecr-guard-ledger`.
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,
    /// The policy that is in force, in place of the one that the ledger says is deployed.
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

/// Where a ledger is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The profile; `None`: what the environment says.
    pub profile: Option<String>,
    /// The region; `None`: what environment and profile say.
    pub region: Option<Region>,
    /// The table.
    pub table: String,
}

/// How much is read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extent {
    /// Only this repository, of this account or of the caller's.
    pub repository: Option<(Option<AccountId>, RepositoryName)>,
    /// The lists of the registries, too.
    pub registries: bool,
}

/// Why something could not be read, for people.
#[derive(Debug)]
pub struct NotRead(String);

impl NotRead {
    /// With this sentence.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for NotRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<io::Error> for NotRead {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl LedgerArguments {
    /// The ledgers that are not snapshots.
    pub fn places(&self, world: &impl World) -> Vec<Place> {
        let table = self.table.clone().or_else(|| world.variable("ECR_GUARD_TABLE"));
        let table = table.filter(|table| !table.trim().is_empty());
        let table = table.unwrap_or_else(|| DEFAULT_TABLE.to_owned());
        let one_or_all = |given: usize| given.max(1);
        let mut places = Vec::new();
        for profile in 0..one_or_all(self.profiles.len()) {
            for region in 0..one_or_all(self.regions.len()) {
                places.push(Place {
                    profile: self.profiles.get(profile).cloned(),
                    region: self.regions.get(region).cloned(),
                    table: table.clone(),
                });
            }
        }
        places
    }

    /// The text of the policy that was given.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn policy_text(&self, world: &impl World) -> Result<Option<String>, NotRead> {
        self.policy.as_ref().map(|path| text_of(world, path)).transpose()
    }

    /// Whether there are several, which may have the same images.
    pub fn are_several(&self) -> bool {
        self.snapshot.len() > 1 || self.profiles.len() > 1 || self.regions.len() > 1
    }

    /// Opens all of them.
    ///
    /// # Errors
    /// One of them cannot be read, or is no snapshot.
    pub fn open(
        &self,
        extent: &Extent,
        world: &impl World,
        trouble: &mut impl Write,
    ) -> Result<Vec<Snapshot>, NotRead> {
        let mut opened = Vec::new();
        for path in &self.snapshot {
            let name = path.display().to_string();
            let file = world
                .open(path)
                .map_err(|error| NotRead::new(format!("{name}: {}.", why(&error))))?;
            opened.push(Snapshot::open(&name, file)?);
        }
        if self.snapshot.is_empty() {
            for place in self.places(world) {
                let mut file = world.scratch()?;
                take(&place, extent, world, &mut file, trouble)?;
                opened.push(Snapshot::open(&place.to_string(), file)?);
            }
        }
        Ok(opened)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {}", self.table)?;
        if let Some(region) = &self.region {
            write!(f, " in {region}")?;
        }
        match &self.profile {
            Some(profile) => write!(f, " of profile {profile}"),
            None => Ok(()),
        }
    }
}

/// The number of records between two lines of progress on a terminal.
const PROGRESS_EVERY: u64 = 1000;

/// Writes a snapshot of a ledger, and gives the number of its records.
///
/// # Errors
/// The ledger cannot be read, or the snapshot cannot be written.
pub fn take(
    place: &Place,
    extent: &Extent,
    world: &impl World,
    to: &mut dyn Write,
    trouble: &mut impl Write,
) -> Result<u64, NotRead> {
    let mut writing = Writing::new(to);
    let shows = world.is_terminal();
    world.ledger(place, extent, &mut |line: SnapshotLine| {
        writing.line(&line)?;
        if shows && writing.records().is_multiple_of(PROGRESS_EVERY) {
            write!(trouble, "\r{}: {} records", place, writing.records())?;
            trouble.flush()?;
        }
        Ok(())
    })?;
    let records = writing.end()?;
    if shows {
        // The line is taken away again.
        write!(trouble, "\r\u{1b}[K")?;
    }
    Ok(records)
}

/// The text of a file.
///
/// # Errors
/// It cannot be read.
pub(crate) fn text_of(world: &impl World, path: &std::path::Path) -> Result<String, NotRead> {
    let text = world.read(path);
    text.map_err(|error| NotRead::new(format!("{}: {}.", path.display(), why(&error))))
}

/// The problem of a file, for people.
pub fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::InvalidData => "it is not text in UTF-8".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        io::ErrorKind::NotSeekable => "it is a pipe, and it is read more than once: save it as a file first".to_owned(),
        io::ErrorKind::PermissionDenied => "you may not read or write it".to_owned(),
        _ => error.to_string(),
    }
}
