//! The process of the command line.

use std::{fs, io, path::Path, process::ExitCode};

use clap::Parser as _;
use ecr_guard_cli::{Arguments, UNUSABLE, World, run};
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
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let code = run(&arguments, &Here, &mut io::stdout().lock(), &mut io::stderr().lock());
    // Whoever reads has had enough (`| head`): there is nobody to tell.
    ExitCode::from(code.unwrap_or(UNUSABLE))
}
