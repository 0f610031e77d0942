//! The process of the command line.

use std::{
    fs,
    io::{self, IsTerminal as _, Write},
    path::Path,
    process::ExitCode,
};

use clap::Parser as _;
use ecr_guard_cli::{
    Arguments, Scratch, UNUSABLE, World, aws,
    gate::Gatekeeper,
    ledgers::{Extent, NotRead, Place, why},
    release::Operator,
    run,
    snapshot::ReadSeek,
};
use guard_core::snapshot::SnapshotLine;
use jiff::Timestamp;

/// The world as it is.
#[derive(Debug)]
struct Here;

impl World for Here {
    #[expect(clippy::disallowed_methods, reason = "a command reads the clock")]
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        fs::read_to_string(path)
    }

    #[expect(clippy::disallowed_methods, reason = "a command reads its environment")]
    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn is_terminal(&self) -> bool {
        io::stderr().is_terminal()
    }

    fn shows_colors(&self) -> bool {
        io::stdout().is_terminal()
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadSeek>> {
        Ok(Box::new(fs::File::open(path)?))
    }

    fn scratch(&self) -> io::Result<Box<dyn Scratch>> {
        Ok(Box::new(tempfile::tempfile()?))
    }

    fn save(&self, path: &Path, write: &mut dyn FnMut(&mut dyn Write) -> Result<(), NotRead>) -> Result<(), NotRead> {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        // In the same folder, so that it can be put in its place as a whole; readable for its owner only.
        let file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")));
        let mut file = file.map_err(|error| {
            let why = match error.kind() {
                io::ErrorKind::NotFound => "there is no such folder".to_owned(),
                io::ErrorKind::PermissionDenied => "you may not write into its folder".to_owned(),
                _ => error.to_string(),
            };
            NotRead::new(format!("{}: {why}.", path.display()))
        })?;
        write(file.as_file_mut())?;
        file.persist(path)
            .map(|_| ())
            .map_err(|error| NotRead::new(format!("{}: {}.", path.display(), why(&error.error))))
    }

    fn ledger(
        &self,
        place: &Place,
        extent: &Extent,
        each: &mut dyn FnMut(SnapshotLine) -> io::Result<()>,
    ) -> Result<(), NotRead> {
        aws::take(place, extent, self.now(), each)
    }

    fn operator(&self, place: &Place) -> Result<Box<dyn Operator>, NotRead> {
        aws::operator(place)
    }

    fn gatekeeper(&self, place: &Place) -> Result<Box<dyn Gatekeeper>, NotRead> {
        aws::gatekeeper(place)
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let code = run(&arguments, &Here, &mut io::stdout().lock(), &mut io::stderr().lock());
    // The reader has closed the pipe (`| head`): nobody would read a message.
    ExitCode::from(code.unwrap_or(UNUSABLE))
}
