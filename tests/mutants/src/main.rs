//! Writes the sources of a crate with all mutants of cargo-mutants in them, each behind a switch of its number.
//!
//! cargo-mutants builds the crate once for each mutant, which takes most of the time. This takes its list (`cargo mutants --list --json`) and
//! writes `if crate::mutant(17) { a <= b } else { a < b }`, so that one build has them all, and a test run chooses one by the environment.
//!
//! An operator is changed in the tree, as if its operands stood in brackets: `a && b && c` becomes `(a || b) && c`.

mod find;
mod listed;
mod write;

use std::{collections::BTreeSet, error::Error, fs, path::Path};

use listed::Listed;

/// The function behind all switches, for the end of the library.
const SWITCH: &str = include_str!("switch.rs");

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [list, left_out, from, to] = arguments.as_slice() else {
        return Err(
            "mutants LIST LEFT_OUT FROM TO: the list of cargo-mutants, a file with numbers, two folders".into(),
        );
    };
    let mutants: Vec<Listed> = serde_json::from_str(&fs::read_to_string(list)?)?;
    let left_out: BTreeSet<usize> = fs::read_to_string(left_out)?
        .lines()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let mut files: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.file.as_str()).collect();
    let library = mutants
        .first()
        .and_then(|mutant| mutant.file.split_once("/src/"))
        .map(|(krate, _)| format!("{krate}/src/lib.rs"))
        .ok_or("an empty list")?;
    files.insert(&library);
    let mut without: BTreeSet<usize> = (0..mutants.len()).filter(|number| !left_out.contains(number)).collect();
    for file in files {
        let text = fs::read_to_string(Path::new(from).join(file))?;
        let here: Vec<(usize, &Listed)> = (0..)
            .zip(&mutants)
            .filter(|(number, mutant)| mutant.file == file && !left_out.contains(number))
            .collect();
        let places = find::places(&text, &here)?;
        for number in places.iter().flat_map(find::Place::numbers) {
            without.remove(&number);
        }
        let mut written = write::text(&text, &places);
        if file == library {
            written.push_str(SWITCH);
        }
        write_if_changed(&Path::new(to).join(file), &written)?;
    }
    write_if_changed(
        &Path::new(to).join("without-switch.txt"),
        &without.iter().map(|number| format!("{number}\n")).collect::<String>(),
    )
}

/// The compiler reads the times of files.
fn write_if_changed(file: &Path, text: &str) -> Result<(), Box<dyn Error>> {
    if fs::read_to_string(file).is_ok_and(|there| there == text) {
        return Ok(());
    }
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(fs::write(file, text)?)
}
