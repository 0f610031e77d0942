//! The operator's command line. The program itself writes nothing, neither to the registry nor to the ledger. The function `operate`
//! carries out the requests of `release`; the function `gate` answers those of `gate`.
//!
//! [`run`] is all of it but the process: what it reads of the world comes in through [`World`], and what it says goes out through two writers.

pub mod aws;
pub mod explain;
pub mod gate;
pub mod in_force;
pub mod judged;
pub mod known;
pub mod ledgers;
pub mod list;
mod located;
#[cfg(test)]
mod odd;
pub mod paint;
pub mod plan;
pub mod policy;
pub mod release;
pub mod report;
pub mod simulate;
pub mod snapshot;
pub mod status;
mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::{
    io::{self, Read, Seek, Write},
    path::{Path, PathBuf},
};

use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
use guard_core::{ids::RepositoryName, snapshot::SnapshotLine};
use jiff::Timestamp;
use serde_json::json;

use crate::{
    gate::Gatekeeper,
    ledgers::{Extent, LedgerArguments, NotRead, Place, take},
    paint::{Colors, Painting},
    release::{Operator, ReleaseArguments},
    snapshot::ReadSeek,
};

/// No problem was found.
pub const OK: u8 = 0;
/// The answer is no: a policy is not valid.
pub const REFUSED: u8 = 1;
/// The question could not be asked: a wrong argument, a file that is not there.
pub const UNUSABLE: u8 = 2;
/// More images would be blocked than was said.
pub const TOO_MANY: u8 = 5;

/// Asks and explains what ecr-guard does. It reads with your own rights; only `release` asks for a change.
#[derive(Debug, Parser)]
#[command(
    name = "ecr-guard",
    version,
    after_help = "Examples:
  ecr-guard explain team/api:v1.2.3
  ecr-guard status
  ecr-guard release team/api:v1.2.3 --hours 4 --reason 'checkout is down' --ticket SEC-77
  ecr-guard simulate policy.json
  ecr-guard COMMAND --help

Exit codes: 0 yes, 1 no, 2 the command cannot be carried out, 3 no result yet, 4 the gate did not answer, 5 more blocks than
--max-blocks."
)]
pub struct Arguments {
    /// How the answer is written.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Whether states and severities have colours.
    #[arg(long, global = true, value_enum, default_value_t = Colors::Auto, value_name = "WHEN")]
    pub color: Colors,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// How an answer is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// One JSON document, for machines.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Questions about policy documents; none of them needs AWS.
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Says what ecr-guard knows of an image: its state, why, who uses it, and what happens next.
    #[command(after_help = "Examples:
  ecr-guard explain 123456789012.dkr.ecr.us-west-2.amazonaws.com/team/api:v1.2.3
  ecr-guard explain team/api:v1.2.3 --profile prod --region us-west-2
  ecr-guard explain sha256:ab12… --snapshot ledger.jsonl --output json

A tag is looked up in the registry's list; nothing is pulled. An image in several regions is explained for each.

Exit codes: 0 explained, 2 there is no such image, or a ledger cannot be read.")]
    Explain(explain::ExplainArguments),
    /// Asks whether images may be deployed, and waits for the result of their scan. The function `gate` answers.
    #[command(after_help = "Examples:
  ecr-guard gate --on-unavailable fail --wait 123456789012.dkr.ecr.us-west-2.amazonaws.com/team/api:1.4.2
  ecr-guard gate --on-unavailable allow --wait --timeout 5m --run \"$CI_JOB_URL\" \"$IMAGE\"
  ecr-guard gate --on-unavailable fail --output json \"$IMAGE\" | jq -er '.images[0].pinned // .images[0].image'

Deploy the digest that it gives, and not the tag: a tag may name another image a moment later.

Exit codes: 0 all may be deployed, 1 one may not, 2 there is no such image, or the request is not valid, 3 there is no result yet,
4 the gate did not answer. With --on-unavailable allow it ends with 0 in place of 4.")]
    Gate(gate::GateArguments),
    /// Lists images by state, repository, severity, route and time.
    #[command(after_help = "Examples:
  ecr-guard list --state Blocked,BlockDeferred
  ecr-guard list --repository 'team/*' --severity HIGH --since 7d
  ecr-guard list --route payments --output json | jq -r '.images[].image.digest'

Exit codes: 0 listed, 2 a ledger cannot be read.")]
    List(list::ListArguments),
    /// Lists the images that the next sweep reconciles, and the result by the facts known now.
    #[command(after_help = "Examples:
  ecr-guard plan
  ecr-guard plan --snapshot ledger.jsonl --all --output json

Exit codes: 0 planned, 2 a ledger cannot be read.")]
    Plan(plan::PlanArguments),
    /// Writes a report about everything: a page for people, JSON, CSV, or SARIF for GitHub code scanning.
    #[command(after_help = "Examples:
  ecr-guard report --html report.html
  ecr-guard report --profile prod --region us-west-2 --region eu-central-1 --html report.html --csv images.csv
  ecr-guard report --snapshot ledger.jsonl --sarif results.sarif
  ecr-guard report --snapshot ledger.jsonl --json - | jq '.tasks'

The page needs no network and no server. It has the names of repositories, tags and findings: treat it as you treat those.
A file is replaced when the new one is complete. At most one form can go to the standard output.

Exit codes: 0 written, 2 a ledger cannot be read, or a file cannot be written.")]
    Report(report::ReportArguments),
    /// Evaluates every image under the policy in force and under a new one, and says what would change.
    #[command(after_help = "Examples:
  ecr-guard simulate policy.json
  ecr-guard simulate --snapshot ledger.jsonl --max-blocks 5 policy.json
  ecr-guard simulate --snapshot ledger.jsonl --markdown policy.json > comment.md

The decision is that of the sweeps, by what the ledger remembers. Where it does not remember enough, the answer is `unknown`.

Exit codes: 0 simulated, 2 a ledger or a policy cannot be read, 5 more new blocks than --max-blocks.")]
    Simulate(simulate::SimulateArguments),
    /// Counts images by state and repository, and says how fresh that is.
    #[command(after_help = "Examples:
  ecr-guard status
  ecr-guard status --profile prod --region us-west-2 --region eu-central-1
  ecr-guard status --snapshot a.jsonl --snapshot b.jsonl --output json

Exit codes: 0 counted, 2 a ledger cannot be read.")]
    Status(status::StatusArguments),
    /// Writes completions for a shell, to be sourced by it.
    #[command(after_help = "Examples:
  ecr-guard completions bash > ~/.local/share/bash-completion/completions/ecr-guard
  ecr-guard completions zsh > ~/.zfunc/_ecr-guard

Exit codes: 0 written.")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Writes the manual page, for `man`, or a page for each command.
    #[command(after_help = "Examples:
  ecr-guard manual | man -l -
  ecr-guard manual --dir ~/.local/share/man/man1 && man ecr-guard-simulate

Exit codes: 0 written, 2 a page cannot be written.")]
    Manual {
        /// The folder for a page of each command; it must be there. Without it, one page is written to the standard output.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Saves what a ledger and its registries say now, for the other commands and for machines without AWS.
    #[command(after_help = "Examples:
  ecr-guard snapshot ledger.jsonl
  ecr-guard snapshot --profile prod --region eu-central-1 - | gzip > ledger.jsonl.gz
  ecr-guard snapshot --ledger-only ledger.jsonl && ecr-guard status --snapshot ledger.jsonl

The file has the names of repositories, tags and findings, and the policy: treat it as you treat those.

Exit codes: 0 saved, 2 it cannot be read or written.")]
    Snapshot {
        /// The ledger.
        #[command(flatten)]
        ledger: LedgerArguments,
        /// Leave out what the registries list: what needs it says that it does not know.
        #[arg(long)]
        ledger_only: bool,
        /// The file; `-`: the standard output.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Lets a blocked image be pulled for some hours, or ends that. The function `operate` does it, as far as the policy lets you.
    #[command(after_help = "Examples:
  ecr-guard release team/api:1.4.2 --hours 12 --reason 'checkout is down, the fix comes on Monday' --ticket SEC-77
  ecr-guard release --wait 123456789012.dkr.ecr.us-west-2.amazonaws.com/team/api@sha256:… --hours 2 --reason 'rollback'
  ecr-guard release --end team/api:1.4.2

The image is blocked again after that time, also where it runs by then. The team and the default route get an alert with your name, at once.
It takes ECR up to about 20 minutes to restore an image from the archive.

Exit codes: 0 released or ended, 1 refused, 2 it cannot be carried out.")]
    Release(ReleaseArguments),
}

/// Questions about policy documents.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Says everything that is wrong with policy documents, or what they do.
    #[command(after_help = "Examples:
  ecr-guard policy check policy.json
  ecr-guard policy check --routes platform,payments infra/policy.json
  ecr-guard policy check --output json policy.json | jq '.files[].problems'

A file without `routes` is one that Terraform completes: any route may be named in it, or those of --routes.

Exit codes: 0 valid, 1 not valid, 2 a file cannot be read.")]
    Check {
        /// The names of the routes that the deployment has in addition to `default`.
        #[arg(long, value_delimiter = ',')]
        routes: Option<Vec<String>>,
        /// The documents.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Says what a new policy says otherwise than the old one.
    #[command(after_help = "Examples:
  ecr-guard policy diff deployed.json policy.json
  ecr-guard policy diff --repository team/api deployed.json policy.json

Order of members and white space say nothing, and a default that is written out is none. Entries of lists are compared by what they are
for: a rule by its conditions, an exception by its vulnerability and where it holds, an entry of `repositories` by its `match`.

Exit codes: 0 the same, 1 not the same, 2 a file cannot be read or is not valid.")]
    Diff {
        /// Only what is for this repository. Several may be given.
        #[arg(long = "repository", value_name = "NAME")]
        repositories: Vec<RepositoryName>,
        /// The old document.
        old: PathBuf,
        /// The new document.
        new: PathBuf,
    },
}

/// The reads of a command from its surroundings.
pub trait World {
    /// The time.
    fn now(&self) -> Timestamp;

    /// The text of a file.
    ///
    /// # Errors
    /// It cannot be read.
    fn read(&self, path: &Path) -> io::Result<String>;

    /// A variable of the environment.
    fn variable(&self, name: &str) -> Option<String>;

    /// Whether the progress of long work is seen on a terminal.
    fn is_terminal(&self) -> bool;

    /// Whether the output goes to a terminal.
    fn shows_colors(&self) -> bool;

    /// A file, to be read more than once.
    ///
    /// # Errors
    /// It cannot be read.
    fn open(&self, path: &Path) -> io::Result<Box<dyn ReadSeek>>;

    /// A file without a name, which is gone when nobody needs it any more.
    ///
    /// # Errors
    /// It cannot be made.
    fn scratch(&self) -> io::Result<Box<dyn Scratch>>;

    /// Writes a file. It is there as a whole, or not at all.
    ///
    /// # Errors
    /// It cannot be written.
    fn save(&self, path: &Path, write: &mut dyn FnMut(&mut dyn Write) -> Result<(), NotRead>) -> Result<(), NotRead>;

    /// Reads a ledger: each line of a snapshot of it, but for the last one.
    ///
    /// # Errors
    /// It cannot be read, or `each` failed.
    fn ledger(
        &self,
        place: &Place,
        extent: &Extent,
        each: &mut dyn FnMut(SnapshotLine) -> io::Result<()>,
    ) -> Result<(), NotRead>;

    /// The way to the function `operate` there.
    ///
    /// # Errors
    /// The caller has no identity.
    fn operator(&self, place: &Place) -> Result<Box<dyn Operator>, NotRead>;

    /// The way to the function `gate` there.
    ///
    /// # Errors
    /// No region is known.
    fn gatekeeper(&self, place: &Place) -> Result<Box<dyn Gatekeeper>, NotRead>;
}

/// A file that is written, and then read.
pub trait Scratch: Read + Write + Seek {}

impl<T: Read + Write + Seek> Scratch for T {}

/// Carries out a command, and gives its exit code.
///
/// # Errors
/// Its output cannot be written.
pub fn run(
    arguments: &Arguments,
    world: &impl World,
    out: &mut impl Write,
    trouble: &mut impl Write,
) -> io::Result<u8> {
    if arguments.output == Output::Text && arguments.command.is_for_people() && arguments.color.are_on(world) {
        let mut painting = Painting::new(out);
        let code = carried_out(arguments, world, &mut painting, trouble)?;
        painting.end()?;
        return Ok(code);
    }
    carried_out(arguments, world, out, trouble)
}

impl Command {
    /// Whether its text is read by people, and not by a shell, `man` or another program.
    fn is_for_people(&self) -> bool {
        match self {
            Self::Simulate(given) => !given.markdown,
            Self::Report(_) | Self::Snapshot { .. } | Self::Completions { .. } | Self::Manual { .. } => false,
            _ => true,
        }
    }
}

fn carried_out(
    arguments: &Arguments,
    world: &impl World,
    out: &mut impl Write,
    trouble: &mut impl Write,
) -> io::Result<u8> {
    match &arguments.command {
        Command::Policy(PolicyCommand::Check { routes, files }) => {
            let checked = check_all(files, routes.as_deref(), world, trouble)?;
            let answer: Vec<_> = checked.iter().flatten().collect();
            match arguments.output {
                Output::Text => {
                    for (file, checked) in &answer {
                        out.write_all(policy::checked_text(file, checked).as_bytes())?;
                    }
                }
                Output::Json => {
                    let files = answer.iter().map(|(file, checked)| {
                        json!({"file": file, "valid": checked.valid, "problems": checked.problems, "warnings": checked.warnings,
                            "summary": checked.summary})
                    });
                    writeln!(
                        out,
                        "{:#}",
                        json!({"schema": "ecr-guard/policy-check/v1", "files": files.collect::<Vec<_>>()})
                    )?;
                }
            }
            let all_read = checked.iter().all(Option::is_some);
            let all_valid = answer.iter().all(|(_, checked)| checked.valid);
            Ok(if !all_read {
                UNUSABLE
            } else if all_valid {
                OK
            } else {
                REFUSED
            })
        }
        Command::Policy(PolicyCommand::Diff { repositories, old, new }) => {
            let read = [valid(old, world, trouble)?, valid(new, world, trouble)?];
            let [Some(old), Some(new)] = read else {
                return Ok(UNUSABLE);
            };
            let mut changes = policy::diff::changes(&old, &new);
            if !repositories.is_empty() {
                let of = |name| policy::diff::for_repository(&changes, &old, &new, name);
                let wanted: Vec<_> = repositories.iter().flat_map(of).collect();
                changes.retain(|change| wanted.contains(change));
            }
            match arguments.output {
                Output::Text => out.write_all(policy::diff::text(&changes).as_bytes())?,
                Output::Json => writeln!(
                    out,
                    "{:#}",
                    json!({"schema": "ecr-guard/policy-diff/v1", "changes": changes})
                )?,
            }
            Ok(if changes.is_empty() { OK } else { REFUSED })
        }
        Command::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(*shell, &mut Arguments::command(), "ecr-guard", &mut text);
            out.write_all(&text)?;
            Ok(OK)
        }
        Command::Manual { dir: None } => {
            clap_mangen::Man::new(Arguments::command()).render(out)?;
            Ok(OK)
        }
        Command::Manual { dir: Some(folder) } => or_trouble(pages(folder, world, out), trouble),
        Command::Explain(given) => or_trouble(explain::explain(given, arguments.output, world, out, trouble), trouble),
        Command::Gate(given) => or_trouble(gate::run(given, arguments.output, world, out, trouble), trouble),
        Command::List(given) => or_trouble(list::list(given, arguments.output, world, out, trouble), trouble),
        Command::Plan(given) => or_trouble(plan::plan(given, arguments.output, world, out, trouble), trouble),
        Command::Report(given) => or_trouble(report::report(given, arguments.output, world, out, trouble), trouble),
        Command::Simulate(given) => or_trouble(
            simulate::simulate(given, arguments.output, world, out, trouble),
            trouble,
        ),
        Command::Status(given) => or_trouble(status::status(given, arguments.output, world, out, trouble), trouble),
        Command::Snapshot {
            ledger,
            ledger_only,
            file,
        } => or_trouble(save(ledger, *ledger_only, file, world, out, trouble), trouble),
        Command::Release(arguments_of) => {
            let released = release::run(arguments_of, arguments.output, world, out, trouble);
            or_trouble(released, trouble)
        }
    }
}

/// The exit code of an answer; or what kept it from being given, which is said.
fn or_trouble(answer: Result<u8, NotRead>, trouble: &mut impl Write) -> io::Result<u8> {
    match answer {
        Ok(code) => Ok(code),
        Err(why) => {
            // A file, a name or a service may have put something else than text into it.
            let seen = |c: char| if c.is_control() && c != '\n' { '\u{fffd}' } else { c };
            let why: String = why.to_string().chars().map(seen).collect();
            writeln!(trouble, "{why}")?;
            Ok(UNUSABLE)
        }
    }
}

/// Writes the manual pages of all commands into a folder.
fn pages(folder: &Path, world: &impl World, out: &mut impl Write) -> Result<u8, NotRead> {
    let mut root = Arguments::command().disable_help_subcommand(true);
    root.build();
    let mut left = vec![root];
    let mut number = 0_u64;
    while let Some(command) = left.pop() {
        left.extend(command.get_subcommands().filter(|one| !one.is_hide_set()).cloned());
        // `build` gives each command its whole name: `ecr-guard-policy-check`.
        let page = clap_mangen::Man::new(command);
        let path = folder.join(page.get_filename());
        world.save(&path, &mut |to| {
            let mut bytes: Vec<u8> = Vec::new();
            page.render(&mut bytes)?;
            Ok(to.write_all(&bytes)?)
        })?;
        number = number.saturating_add(1);
    }
    writeln!(out, "{}: {}.", folder.display(), table::count(number, "manual page"))?;
    Ok(OK)
}

fn save(
    ledger: &LedgerArguments,
    ledger_only: bool,
    file: &Path,
    world: &impl World,
    out: &mut impl Write,
    trouble: &mut impl Write,
) -> Result<u8, NotRead> {
    let extent = Extent {
        repository: None,
        registries: !ledger_only,
    };
    let places = ledger.places(world);
    let [place] = places.as_slice() else {
        return Err(NotRead::new(
            "A snapshot is of one ledger: give one --profile and one --region.",
        ));
    };
    if file == Path::new("-") {
        take(place, &extent, world, out, trouble)?;
        return Ok(OK);
    }
    let mut records = 0;
    world.save(file, &mut |to| {
        records = take(place, &extent, world, to, trouble)?;
        Ok(())
    })?;
    writeln!(out, "{}: {records} records of {place}.", file.display())?;
    Ok(OK)
}

/// A valid document with its defaults written out; `None`: it is not there or not valid, which is said.
fn valid(path: &Path, world: &impl World, trouble: &mut impl Write) -> io::Result<Option<serde_json::Value>> {
    let Some(text) = read(world, path, trouble)? else {
        return Ok(None);
    };
    let checked = policy::check::check(&text, None, world.now());
    if !checked.valid {
        let file = path.display().to_string();
        trouble.write_all(policy::checked_text(&file, &checked).as_bytes())?;
        return Ok(None);
    }
    Ok(policy::check::written_out(&text))
}

type OfFile = Option<(String, policy::check::Checked)>;

fn check_all(
    files: &[PathBuf],
    routes: Option<&[String]>,
    world: &impl World,
    trouble: &mut impl Write,
) -> io::Result<Vec<OfFile>> {
    let mut all = Vec::new();
    for path in files {
        let checked = read(world, path, trouble)?.map(|text| policy::check::check(&text, routes, world.now()));
        all.push(checked.map(|checked| (path.display().to_string(), checked)));
    }
    Ok(all)
}

/// The text of a file; `None`: it cannot be read, which is said.
fn read(world: &impl World, path: &Path, trouble: &mut impl Write) -> io::Result<Option<String>> {
    match world.read(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            writeln!(trouble, "{}: {}.", path.display(), ledgers::why(&error))?;
            Ok(None)
        }
    }
}
