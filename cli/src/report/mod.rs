//! `report`: one report about the whole registry, for people (HTML), for programs (JSON), for spreadsheets (CSV) and for GitHub code scanning (SARIF).

mod copies;
pub mod csv;
mod exceptions;
pub mod gather;
pub mod html;
pub mod model;
mod rows;
pub mod sarif;
mod tasks;
#[cfg(test)]
mod tests;
mod words;

use std::{
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use clap::Args;

use self::model::Report;
use crate::{
    OK, Output, World,
    ledgers::{Extent, LedgerArguments, NotRead},
    table::count,
};

/// The arguments of `report`.
#[derive(Debug, Clone, Args)]
pub struct ReportArguments {
    /// The ledgers.
    #[command(flatten)]
    pub ledger: LedgerArguments,
    /// Leave out what the registries list: sizes, what nobody pulls, and images without a row are then unknown.
    #[arg(long)]
    pub ledger_only: bool,
    /// A page for people: one file that needs nothing else. `-`: the standard output.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// All of it as one JSON document.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// The images, one line for each.
    #[arg(long, value_name = "FILE")]
    pub csv: Option<PathBuf>,
    /// The findings, for GitHub code scanning.
    #[arg(long, value_name = "FILE")]
    pub sarif: Option<PathBuf>,
}

/// A form of the report.
#[derive(Debug, Clone, Copy)]
enum Form {
    Html,
    Json,
    Csv,
    Sarif,
}

impl Form {
    /// Writes the report in this form, and gives what people must know of it.
    fn write(self, report: &Report, to: &mut dyn Write) -> Result<Option<String>, NotRead> {
        let left_out = |number: u64, what: &str| (number > 0).then(|| format!("{number} {what} are left out"));
        let remark = match self {
            Self::Html => left_out(html::write(report, to)?, "images"),
            Self::Sarif => left_out(sarif::write(report, to)?, "results"),
            Self::Csv => {
                csv::write(report, to)?;
                None
            }
            Self::Json => {
                serde_json::to_writer_pretty(&mut *to, report).map_err(std::io::Error::from)?;
                to.write_all(b"\n")?;
                None
            }
        };
        to.flush()?;
        Ok(remark)
    }
}

/// Carries it out.
///
/// # Errors
/// A ledger cannot be read, or a file cannot be written.
pub fn report(
    given: &ReportArguments,
    output: Output,
    world: &impl World,
    out: &mut impl Write,
    trouble: &mut impl Write,
) -> Result<u8, NotRead> {
    let forms = given.forms(output)?;
    let extent = Extent {
        repository: None,
        registries: !given.ledger_only,
    };
    let snapshots = given.ledger.open(&extent, world, trouble)?;
    let report = gather::gather(snapshots, given.ledger.policy_text(world)?.as_deref(), world.now())?;
    let to_out = forms.iter().any(|(_, path)| *path == Path::new("-"));
    let mut said = String::new();
    for (form, path) in forms {
        if path == Path::new("-") {
            if let Some(remark) = form.write(&report, out)? {
                said.push_str(&format!("{remark}.\n"));
            }
            continue;
        }
        let mut remark = None;
        world.save(path, &mut |to| {
            remark = form.write(&report, &mut BufWriter::new(to))?;
            Ok(())
        })?;
        let remark = remark.map_or(String::new(), |remark| format!("; {remark}"));
        let figures = &report.figures;
        said.push_str(&format!(
            "{}: {}, {} need action{remark}.\n",
            path.display(),
            count(figures.images, "image"),
            figures.need_action
        ));
    }
    if to_out {
        trouble.write_all(said.as_bytes())?;
    } else {
        out.write_all(said.as_bytes())?;
    }
    Ok(OK)
}

impl ReportArguments {
    fn forms(&self, output: Output) -> Result<Vec<(Form, &Path)>, NotRead> {
        let all = [
            (Form::Html, &self.html),
            (Form::Json, &self.json),
            (Form::Csv, &self.csv),
            (Form::Sarif, &self.sarif),
        ];
        let mut forms: Vec<(Form, &Path)> = all
            .into_iter()
            .filter_map(|(form, path)| Some((form, path.as_deref()?)))
            .collect();
        if forms.is_empty() {
            if output == Output::Json {
                return Ok(vec![(Form::Json, Path::new("-"))]);
            }
            return Err(NotRead::new(
                "Say what to write: --html FILE, --json FILE, --csv FILE or --sarif FILE. Several may be given.",
            ));
        }
        forms.sort_by_key(|(_, path)| *path);
        let mut twice = forms.windows(2).filter_map(|pair| match pair {
            [(_, a), (_, b)] if a == b => Some(*a),
            _ => None,
        });
        if let Some(path) = twice.next() {
            return Err(NotRead::new(format!(
                "{}: two forms cannot be written to one file.",
                path.display()
            )));
        }
        Ok(forms)
    }
}
