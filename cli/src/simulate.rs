//! `simulate`: every image under the policy in force and under a new one, by the decision that sweeps make.

use std::{collections::BTreeMap, io::Write, path::PathBuf};

use clap::Args;
use guard_core::{ids::ImageKey, ids::Tag, state::State, text};
use serde_json::{Value, json};

use crate::{
    OK, Output, TOO_MANY, World,
    in_force::{completed, other_policies, policy_in_force},
    judged::{Judge, Judged, Outcome, PolicyText},
    known::Known,
    ledgers::{Extent, LedgerArguments, NotRead, text_of},
    table::{count, markdown, name, table},
};

/// The arguments of `simulate`.
#[derive(Debug, Clone, Args)]
pub struct SimulateArguments {
    /// The ledgers.
    #[command(flatten)]
    pub ledger: LedgerArguments,
    /// Exit code 5 if more images would be blocked newly.
    #[arg(long, value_name = "N")]
    pub max_blocks: Option<u64>,
    /// Markdown, for a comment of a pull request.
    #[arg(long)]
    pub markdown: bool,
    /// The new policy. Without `routes` it gets those of the policy in force.
    #[arg(value_name = "NEW_POLICY")]
    pub new: PathBuf,
}

/// The most images that a list names for people; machines get all.
const NAMED: usize = 50;

/// An image that becomes something else.
#[derive(Debug)]
struct Change {
    key: ImageKey,
    tags: Vec<Tag>,
    from: &'static str,
    to: Judged,
}

/// The result.
#[derive(Debug, Default)]
struct Sum {
    images: u64,
    matrix: BTreeMap<(&'static str, &'static str), u64>,
    changes: Vec<Change>,
    unknown: BTreeMap<String, u64>,
    per_hour: u64,
}

/// Whether a change belongs to a list.
type Belongs = fn(&Change) -> bool;

/// The lists that people get, in this order.
const LISTS: [(&str, Belongs); 5] = [
    ("New blocks", |change| is(change, State::Blocked)),
    ("New deferred blocks: they should be blocked, and are not", |change| {
        is(change, State::BlockDeferred)
    }),
    ("Releases", |change| {
        change.from == State::Blocked.as_str() && !is(change, State::Blocked)
    }),
    ("New reviews", |change| {
        is(change, State::Review) && change.from != State::Blocked.as_str()
    }),
    ("Other changes", |change| {
        let listed = [State::Blocked, State::BlockDeferred, State::Review];
        change.from != State::Blocked.as_str() && !listed.into_iter().any(|state| is(change, state))
    }),
];

fn is(change: &Change, state: State) -> bool {
    change.to.outcome == Outcome::State(state)
}

/// Carries it out.
///
/// # Errors
/// A ledger or a policy cannot be read.
pub fn simulate(
    given: &SimulateArguments,
    output: Output,
    world: &impl World,
    out: &mut impl Write,
    trouble: &mut impl Write,
) -> Result<u8, NotRead> {
    let extent = Extent {
        repository: None,
        registries: true,
    };
    let new = text_of(world, &given.new)?;
    let old = given.ledger.policy_text(world)?;
    let mut sum = Sum::default();
    let mut seen = std::collections::BTreeSet::new();
    let several = given.ledger.are_several();
    for snapshot in given.ledger.open(&extent, world, trouble)? {
        let mut known = Known::read(snapshot)?;
        let now = known.snapshot.header.taken_at;
        let in_force = policy_in_force(&known, old.as_deref(), now)?;
        let new = completed(&new, &in_force.policy, now).map_err(|why| {
            NotRead::new(format!(
                "{}: {why}. `ecr-guard policy check` says more.",
                given.new.display()
            ))
        })?;
        sum.per_hour = new.policy.max_blocks_per_hour;
        let others = other_policies(&known, now);
        let mut others: Vec<&PolicyText> = others.iter().collect();
        others.push(&in_force);
        let mut judges = [Judge::new(&in_force, &others, now), Judge::new(&new, &others, now)];
        for id in known.images() {
            if several && !seen.insert(known.key(id)) {
                continue;
            }
            compare(&mut known, id, &mut judges, &mut sum)?;
        }
        for gap in &known.gaps {
            writeln!(
                trouble,
                "{} could not be read: {}",
                text::line(&gap.what, 300),
                text::line(&gap.why, 300)
            )?;
        }
    }
    sum.changes.sort_by(|a, b| (&a.key, a.from).cmp(&(&b.key, b.from)));
    let blocks = sum.blocks();
    match output {
        Output::Json => writeln!(out, "{:#}", sum.json())?,
        Output::Text => out.write_all(sum.text(given.markdown).as_bytes())?,
    }
    let too_many = given.max_blocks.is_some_and(|most| blocks > most);
    if let Some(most) = given.max_blocks.filter(|_| too_many) {
        writeln!(
            trouble,
            "{} would be blocked newly, and --max-blocks allows {most}.",
            count(blocks, "image")
        )?;
    }
    Ok(if too_many { TOO_MANY } else { OK })
}

fn compare(
    known: &mut Known,
    id: crate::known::ImageId,
    judges: &mut [Judge<'_>; 2],
    sum: &mut Sum,
) -> Result<(), NotRead> {
    let [old, new] = judges;
    let (from, to) = (old.image(known, id)?, new.image(known, id)?);
    if from.outcome == Outcome::Gone {
        return Ok(());
    }
    sum.images += 1;
    match &to.outcome {
        Outcome::Unknown(why) => *sum.unknown.entry(why.clone()).or_default() += 1,
        // Nobody has evaluated it, or its row cannot be read.
        Outcome::New => {
            *sum.unknown
                .entry("the ledger has no row of it that can be read".to_owned())
                .or_default() += 1
        }
        Outcome::State(_) | Outcome::Gone | Outcome::LeftAlone => {}
    }
    let words = (from.outcome.word(), to.outcome.word());
    *sum.matrix.entry(words).or_default() += 1;
    let (Some(key), true) = (known.key(id), words.0 != words.1) else {
        return Ok(());
    };
    let tags = known.row(id)?.map(|row| row.tags).unwrap_or_default();
    sum.changes.push(Change {
        key,
        tags,
        from: words.0,
        // Its row is not needed any more.
        to: Judged { row: None, ..to },
    });
    Ok(())
}

impl Sum {
    fn blocks(&self) -> u64 {
        self.changes.iter().filter(|change| is(change, State::Blocked)).count() as u64
    }

    fn json(&self) -> Value {
        let matrix = self.matrix.iter();
        let matrix = matrix.map(|((from, to), images)| json!({"from": from, "to": to, "images": images}));
        let changes = self.changes.iter().map(|change| {
            let Judged {
                outcome,
                reason,
                rule,
                hold,
                unless,
                ..
            } = &change.to;
            let reason = match outcome {
                Outcome::Unknown(why) => why,
                _ => reason,
            };
            json!({"image": change.key, "tags": change.tags, "from": change.from, "to": outcome.word(), "rule": rule, "hold": hold,
                "unless": unless, "reason": text::line(reason, 1000)})
        });
        json!({"schema": "ecr-guard/simulation/v1", "images": self.images, "new_blocks": self.blocks(),
            "max_blocks_per_hour": self.per_hour, "matrix": matrix.collect::<Vec<_>>(), "changes": changes.collect::<Vec<_>>()})
    }

    fn text(&self, markdown_too: bool) -> String {
        let make = if markdown_too { markdown } else { table };
        let title = |text: &str| {
            if markdown_too {
                format!("\n### {text}\n\n")
            } else {
                format!("\n{text}\n")
            }
        };
        let changed: u64 = self.changes.len() as u64;
        let unknown: u64 = self.unknown.values().sum();
        let mut said = format!(
            "{}: {} would change, {} would be blocked newly, {} unknown.\n",
            count(self.images, "image"),
            changed,
            self.blocks(),
            unknown
        );
        let rows: Vec<Vec<String>> = self
            .matrix
            .iter()
            .map(|((from, to), images)| vec![(*from).to_owned(), (*to).to_owned(), images.to_string()])
            .collect();
        said.push_str(&title("From and to"));
        said.push_str(&make(&["From", "To", "Images"], &rows));
        for (heading, belongs) in LISTS {
            let of: Vec<&Change> = self.changes.iter().filter(|change| belongs(change)).collect();
            if of.is_empty() {
                continue;
            }
            said.push_str(&title(&format!("{heading} ({})", of.len())));
            let rows: Vec<Vec<String>> = of.iter().take(NAMED).map(|change| change.cells()).collect();
            said.push_str(&make(&["Image", "Region", "From", "To", "Rule", "Why"], &rows));
            if of.len() > NAMED {
                said.push_str(&format!("\nand {} more; --output json has all.\n", of.len() - NAMED));
            }
        }
        let blocks = self.blocks();
        if blocks > self.per_hour && self.per_hour > 0 {
            said.push_str(&format!(
                "\nSweeps block {} an hour at most (`block.max_blocks_per_hour`): this takes {}.\n",
                count(self.per_hour, "image"),
                count(blocks.div_ceil(self.per_hour), "hour")
            ));
        }
        if !self.unknown.is_empty() {
            said.push_str(&title("Unknown"));
            for (why, images) in &self.unknown {
                said.push_str(&format!("- {}: {why}\n", count(*images, "image")));
            }
        }
        said
    }
}

impl Change {
    fn cells(&self) -> Vec<String> {
        let mut why = match &self.to.outcome {
            Outcome::Unknown(why) => why.clone(),
            _ => self.to.reason.clone(),
        };
        if !self.to.unless.is_empty() {
            why.push_str(&format!(" Unless: {}.", self.to.unless.join(", ")));
        }
        vec![
            name(self.key.repository.as_str(), &self.tags, &self.key.digest),
            self.key.region.to_string(),
            self.from.to_owned(),
            self.to.outcome.word().to_owned(),
            self.to.rule.clone().unwrap_or_else(|| "-".to_owned()),
            text::line(&why, 160),
        ]
    }
}
