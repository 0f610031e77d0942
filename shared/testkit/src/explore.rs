//! Seeded exploration: one scenario for each number, run thousands of times, replayed by the number, and made small when it fails.
//!
//! A scenario is a function that asks [`Choices`] whatever is open in it: what the world is like, who comes first, where something is
//! cut off. The number of the scenario answers. 0 is always the simplest answer (the first one, nothing special), so that a scenario
//! that fails is made smaller by giving simpler answers for as long as it still fails in the same way: with the same words before the
//! first colon of what is wrong.
//!
//! [`play()`] runs actors over one [`World`]: functions that are handed events, and people and AWS, who act at
//! the same time.
//!
//! All actors, the calls at which they are cut, and what is wrong in the end belong to the scenarios; how many run, on how many
//! processors, what they reach and how a report reads belong here. Each explorer is run in two ways: as the code is, where nothing may be
//! wrong; and with each fault of [`Planted`] that it is there to find.
//!
//! ```text
//! ECR_GUARD_SEED=17       runs only scenario 17, and tells its story
//! ECR_GUARD_SCENARIOS=N   runs so many scenarios instead of those that a test names
//! ```

mod coverage;
mod play;

use std::{
    collections::BTreeMap,
    fmt,
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant},
};

pub use coverage::Coverage;
pub use play::{Act, Running, play};

use super::{Planted, World};
use coverage::{Counter, KINDS};

/// A scenario that asks more than this is answered with 0 from then on, which ends it.
const MOST_CHOICES: usize = 5_000;

/// A scenario that makes more calls than this does not end, which is a violation.
const MOST_CALLS: usize = 20_000;

/// At most so often a failing scenario is run to make it smaller.
const MOST_TRIES: usize = 600;

/// One scenario in this number has its rows in their stored form.
const STORED_ONCE_IN: u64 = 8;

/// The most violations that are made smaller and reported in full; all are counted.
const TOLD_IN_FULL: usize = 3;

/// Answers whatever is open in a scenario.
#[derive(Debug, Clone)]
pub struct Choices {
    state: u64,
    given: Option<Vec<usize>>,
    taken: Vec<usize>,
    planted: Option<Planted>,
}

impl Choices {
    /// The answers of a number.
    pub fn seeded(seed: u64) -> Self {
        Self {
            state: seed,
            given: None,
            taken: Vec::new(),
            planted: None,
        }
    }

    /// These answers, then 0 for ever.
    pub fn given(answers: Vec<usize>) -> Self {
        Self {
            state: 0,
            given: Some(answers),
            taken: Vec::new(),
            planted: None,
        }
    }

    /// The simplest answer to everything.
    pub fn plain() -> Self {
        Self::given(Vec::new())
    }

    /// An empty world, in which the fault of this run is planted. Too many calls in it are a panic, and with that a violation.
    pub fn world(&self) -> World {
        let world = World::new();
        world.plant(self.planted);
        world.allow_calls(MOST_CALLS);
        world
    }

    /// Other answers, in a world with the same fault.
    #[must_use]
    pub fn like(&self, answers: Self) -> Self {
        answers.with(self.planted)
    }

    fn with(self, planted: Option<Planted>) -> Self {
        Self { planted, ..self }
    }

    /// A number below `bound`; 0 if there is nothing to choose.
    pub fn below(&mut self, bound: usize) -> usize {
        if bound <= 1 {
            return 0;
        }
        let answer = match &self.given {
            Some(given) => given.get(self.taken.len()).copied().unwrap_or(0).min(bound - 1),
            None if self.taken.len() >= MOST_CHOICES => 0,
            None => usize::try_from(self.random() % bound as u64).expect("it is below a usize"),
        };
        self.taken.push(answer);
        answer
    }

    /// True once in `times`; at least two.
    pub fn one_in(&mut self, times: usize) -> bool {
        self.below(times.max(2)) == 1
    }

    /// One of these.
    ///
    /// # Panics
    /// There are none.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        of.get(self.below(of.len())).expect("there is something to pick from")
    }

    /// Puts them into some order; the simplest one is the order that they have.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for place in 0..items.len() {
            let other = place + self.below(items.len() - place);
            items.swap(place, other);
        }
    }

    /// `SplitMix64` (Steele, Lea, Flood: "Fast splittable pseudorandom number generators"): one addition and a mix, and numbers of
    /// neighbouring seeds have nothing in common.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The events of a scenario: lines for people, and the counts over all scenarios.
#[derive(Debug, Default)]
pub struct Story {
    lines: Vec<String>,
    counts: BTreeMap<&'static str, u64>,
    told: bool,
}

impl Story {
    /// A line. It is only made where somebody reads it.
    pub fn line(&mut self, line: impl FnOnce() -> String) {
        if self.told {
            self.lines.push(line());
        }
    }

    /// The count of this scenario so far.
    pub fn counted(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    /// Counts what the figures are made of.
    pub fn count(&mut self, what: &'static str, number: usize) {
        *self.counts.entry(what).or_default() += number as u64;
    }
}

/// Scenarios to run.
#[derive(Debug, Clone, Copy)]
pub struct Exploration {
    /// Its name, for the figures.
    pub name: &'static str,
    /// How many.
    pub scenarios: u64,
    /// The number of the first one.
    pub first: u64,
    /// The fault that is planted in all of them. The first violation then ends the run.
    pub planted: Option<Planted>,
}

/// A scenario in which something was wrong.
#[derive(Debug, Clone)]
pub struct Violation {
    /// Its number.
    pub seed: u64,
    /// The problem.
    pub what: String,
    /// The problem in the smallest scenario that was found, and its events; empty if it was not made smaller.
    pub smallest: Vec<String>,
}

/// The result of an exploration.
#[derive(Debug)]
pub struct Explored {
    name: &'static str,
    scenarios: u64,
    took: Duration,
    counts: BTreeMap<&'static str, u64>,
    /// It is as many as the test names, or more.
    is_whole: bool,
    coverage: Coverage,
    /// The problems, by number.
    pub violations: Vec<Violation>,
}

impl Exploration {
    /// This number of scenarios, from number 1 on.
    pub fn new(name: &'static str, scenarios: u64) -> Self {
        Self {
            name,
            scenarios,
            first: 1,
            planted: None,
        }
    }

    /// Plants each fault that this explorer is there to find.
    ///
    /// # Panics
    /// Some are not found.
    pub fn find_planted(self, scenario: impl Fn(&mut Choices, &mut Story) -> Result<(), String> + Sync) {
        let mut missed = Vec::new();
        for planted in Planted::ALL
            .into_iter()
            .filter(|planted| planted.found_by().contains(&self.name))
        {
            let planted_in = Self {
                planted: Some(planted),
                ..self
            };
            let explored = planted_in.run(&scenario);
            match explored.violations.first() {
                Some(Violation { seed, what, .. }) => {
                    tell(&[format!(
                        "{} finds {planted:?} in scenario {seed}: {}",
                        self.name,
                        kind(what)
                    )]);
                }
                None => missed.push(planted),
            }
        }
        assert!(
            missed.is_empty(),
            "{} does not find {missed:?} in {} scenarios",
            self.name,
            self.scenarios
        );
    }

    /// Runs all scenarios, on all processors. The result does not depend on how many there are.
    ///
    /// # Panics
    /// The environment names a number that is none.
    pub fn run(self, scenario: impl Fn(&mut Choices, &mut Story) -> Result<(), String> + Sync) -> Explored {
        let began = Instant::now();
        let only = number_of("ECR_GUARD_SEED");
        let scenarios = only.map_or_else(|| number_of("ECR_GUARD_SCENARIOS").unwrap_or(self.scenarios), |_| 1);
        let first = only.unwrap_or(self.first);
        let next = AtomicU64::new(0);
        let workers = std::thread::available_parallelism().map_or(1, usize::from);
        let (scenario, next) = (&scenario, &next);
        let parts = std::thread::scope(|scope| {
            let work = move || {
                let counter = Counter::default();
                let mut counts = BTreeMap::new();
                let mut violations = Vec::new();
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if place >= scenarios {
                        return (counts, counter.counts(), violations);
                    }
                    let seed = first + place;
                    let mut story = Story {
                        told: only.is_some(),
                        ..Story::default()
                    };
                    let mut choices = Choices::seeded(seed).with(self.planted);
                    crate::stored::keep_rows_as_they_are(!seed.is_multiple_of(STORED_ONCE_IN));
                    let result = counter.count(|| attempt(scenario, &mut choices, &mut story));
                    crate::stored::keep_rows_as_they_are(false);
                    tell(&story.lines);
                    for (what, number) in story.counts {
                        *counts.entry(what).or_default() += number;
                    }
                    if let Err(what) = result {
                        if self.planted.is_some() {
                            next.store(scenarios, Ordering::Relaxed);
                        }
                        violations.push(Violation {
                            seed,
                            what,
                            smallest: Vec::new(),
                        });
                    }
                }
            };
            // Each has the name of the test: a list of the tests that come by a place takes the names of threads.
            let name = std::thread::current().name().unwrap_or(self.name).to_owned();
            let started =
                (0..workers).map(|_| std::thread::Builder::new().name(name.clone()).spawn_scoped(scope, work));
            let threads: Vec<_> = started.map(|thread| thread.expect("a thread starts")).collect();
            let joined = threads.into_iter().map(|thread| thread.join().expect("a worker ends"));
            joined.collect::<Vec<(BTreeMap<&'static str, u64>, Coverage, Vec<Violation>)>>()
        });
        let mut explored = Explored {
            name: self.name,
            scenarios,
            took: Duration::ZERO,
            counts: BTreeMap::new(),
            is_whole: only.is_none() && scenarios >= self.scenarios,
            coverage: Coverage::new(),
            violations: Vec::new(),
        };
        for (counts, coverage, violations) in parts {
            for (kind, number) in coverage {
                *explored.coverage.entry(kind).or_default() += number;
            }
            explored.violations.extend(violations);
            for (what, number) in counts {
                *explored.counts.entry(what).or_default() += number;
            }
        }
        explored.violations.sort_by_key(|violation| violation.seed);
        let told_in_full = if self.planted.is_some() { 0 } else { TOLD_IN_FULL };
        for violation in explored.violations.iter_mut().take(told_in_full) {
            violation.smallest = smallest(scenario, violation.seed);
        }
        explored.took = began.elapsed();
        explored
    }
}

impl Explored {
    /// The count under this name.
    pub fn count(&self, what: &str) -> u64 {
        self.counts.get(what).copied().unwrap_or(0)
    }

    /// Whether it is as many scenarios as the test names, or more.
    pub fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// Prints the figures, also where the output of tests that pass is not shown.
    pub fn print(&self) {
        let reached = self.coverage.iter().map(|(kind, number)| format!("{kind} = {number}"));
        let reached: Vec<String> = reached.collect();
        let never = KINDS.iter().map(|(kind, _)| *kind);
        let never: Vec<&str> = never.filter(|kind| !self.coverage.contains_key(*kind)).collect();
        tell(&[
            self.to_string(),
            format!("{} reached {}", self.name, reached.join("; ")),
            format!("{} never reached {}", self.name, never.join("; ")),
        ]);
    }

    /// Prints the figures; nothing may be wrong, and what this explorer is there to reach was reached.
    ///
    /// # Panics
    /// Something is wrong, or was not reached.
    pub fn assert_none(&self) {
        self.print();
        assert!(self.violations.is_empty(), "{self:#}");
        let is_listed = KINDS.iter().any(|(_, by)| by.contains(&self.name));
        let unknown = self.coverage.keys().filter(|kind| is_listed && !is_known(kind));
        let unknown: Vec<&String> = unknown.collect();
        assert!(
            unknown.is_empty(),
            "kinds that `coverage.rs` does not list: {unknown:?}"
        );
        let meant = KINDS.iter().filter(|(_, by)| by.contains(&self.name));
        let missed: Vec<&str> = meant
            .map(|(kind, _)| *kind)
            .filter(|kind| !self.coverage.contains_key(*kind))
            .collect();
        assert!(
            !self.is_whole || missed.is_empty(),
            "{} never reached: {missed:?}",
            self.name
        );
    }
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, scenarios, .. } = self;
        let wrong = self.violations.len();
        write!(
            f,
            "{name}: {scenarios} scenarios in {:.1} s, {wrong} violations",
            self.took.as_secs_f64()
        )?;
        for (what, number) in &self.counts {
            write!(f, ", {number} {what}")?;
        }
        if f.alternate() {
            for violation in &self.violations {
                write!(f, "\nECR_GUARD_SEED={}: {}", violation.seed, violation.what)?;
                for line in &violation.smallest {
                    write!(f, "\n    {line}")?;
                }
            }
        }
        Ok(())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "it says which scenarios a test runs, not what is in them"
)]
fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().expect(variable))
}

fn is_known(kind: &str) -> bool {
    KINDS.iter().any(|(known, _)| *known == kind)
}

fn tell(lines: &[String]) {
    // Not `eprintln`, which is captured in tests that pass. Where nobody can read it, nothing is lost.
    let mut output = std::io::stderr().lock();
    for line in lines {
        let _ = writeln!(output, "{line}");
    }
}

/// Runs a scenario; a panic in it is what is wrong.
fn attempt(
    scenario: &impl Fn(&mut Choices, &mut Story) -> Result<(), String>,
    choices: &mut Choices,
    story: &mut Story,
) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| scenario(choices, story))).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("panic: {}", text.unwrap_or_default()))
    })
}

/// The kind of problem: the text before the first colon.
fn kind(what: &str) -> &str {
    what.split_once(": ").map_or(what, |(kind, _)| kind)
}

/// The smallest scenario like this one in which the same kind of thing is wrong: what happens in it, and what is wrong.
fn smallest(scenario: &impl Fn(&mut Choices, &mut Story) -> Result<(), String>, seed: u64) -> Vec<String> {
    let mut choices = Choices::seeded(seed);
    let first = attempt(scenario, &mut choices, &mut Story::default());
    let Err(first) = first else {
        return vec!["it does not fail again".to_owned()];
    };
    let of_kind = kind(&first);
    let mut best = choices.taken;
    let mut tries = 0;
    let mut fails = |answers: &[usize]| {
        tries += 1;
        let mut choices = Choices::given(answers.to_vec());
        if tries > MOST_TRIES {
            return None;
        }
        let what = attempt(scenario, &mut choices, &mut Story::default()).err()?;
        // Answers that nobody asked for are left out.
        (kind(&what) == of_kind).then_some(choices.taken)
    };
    let mut changed = true;
    while changed {
        changed = false;
        let mut size = (best.len() / 2).max(1);
        while size > 0 {
            let mut start = 0;
            while start < best.len() {
                let end = (start + size).min(best.len());
                let without: Vec<usize> = [best.get(..start), best.get(end..)]
                    .into_iter()
                    .flatten()
                    .flatten()
                    .copied()
                    .collect();
                let mut simpler = best.clone();
                simpler
                    .get_mut(start..end)
                    .into_iter()
                    .flatten()
                    .for_each(|answer| *answer = 0);
                let mut less = best.clone();
                less.get_mut(start..end)
                    .into_iter()
                    .flatten()
                    .for_each(|answer| *answer /= 2);
                let mut one_less = best.clone();
                one_less
                    .get_mut(start..end)
                    .into_iter()
                    .flatten()
                    .for_each(|answer| *answer = answer.saturating_sub(1));
                let candidates = [without, simpler, less, one_less];
                let found = candidates
                    .iter()
                    .find_map(|candidate| fails(candidate).filter(|taken| (taken.len(), taken) < (best.len(), &best)));
                match found {
                    Some(taken) => {
                        best = taken;
                        changed = true;
                    }
                    None => start += size,
                }
            }
            size /= 2;
        }
    }
    let mut story = Story {
        told: true,
        ..Story::default()
    };
    let wrong = attempt(scenario, &mut Choices::given(best), &mut story);
    story
        .lines
        .push(wrong.err().unwrap_or_else(|| "it does not fail again".to_owned()));
    story.lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{image_key, ports::Ledger as _, run};

    /// Fails where a number of at least 40 comes after another one.
    fn scenario(choices: &mut Choices, story: &mut Story) -> Result<(), String> {
        let length = choices.below(20);
        let numbers: Vec<usize> = (0..length).map(|_| choices.below(100)).collect();
        story.count("numbers", length);
        story.line(|| format!("{numbers:?}"));
        match numbers.iter().skip(1).find(|number| **number >= 40) {
            Some(number) => Err(format!("too much: {number}")),
            None => Ok(()),
        }
    }

    fn explore(scenarios: u64, first: u64) -> Explored {
        let exploration = Exploration {
            name: "numbers",
            scenarios,
            first,
            planted: None,
        };
        exploration.run(scenario)
    }

    #[test]
    fn a_number_always_gives_the_same_scenario() {
        let (one, two) = (explore(200, 1), explore(200, 1));
        let seeds = |explored: &Explored| -> Vec<(u64, String)> {
            let violations = explored.violations.iter();
            violations
                .map(|violation| (violation.seed, violation.what.clone()))
                .collect()
        };
        assert!(!seeds(&one).is_empty());
        assert_eq!(seeds(&one), seeds(&two));
        assert_eq!(one.count("numbers"), two.count("numbers"));
        let (seed, what) = &seeds(&one)[0];
        let alone = explore(1, *seed);
        assert_eq!(seeds(&alone), [(*seed, what.clone())]);
    }

    #[test]
    fn what_fails_is_made_as_small_as_it_can_be() {
        for violation in explore(50, 1).violations.iter().take(TOLD_IN_FULL) {
            let [numbers, what] = violation.smallest.as_slice() else {
                panic!("{violation:?}");
            };
            assert!(
                numbers.len() <= "[0, 0, 0, 40]".len() && numbers.ends_with(", 40]"),
                "{numbers}"
            );
            assert!(what.starts_with("too much"), "{what}");
        }
    }

    #[test]
    fn a_panic_is_a_violation_that_is_replayed_like_any_other() {
        let exploration = Exploration {
            name: "panics",
            scenarios: 1,
            first: 7,
            planted: None,
        };
        let explored = exploration.run(|_, _| panic!("as it happens"));
        assert_eq!(explored.violations[0].what, "panic: as it happens");
        assert_eq!(explored.violations[0].smallest, ["panic: as it happens"]);
    }

    #[test]
    fn a_scenario_that_does_not_end_is_a_violation() {
        let exploration = Exploration {
            name: "endless",
            scenarios: 3,
            first: 1,
            planted: None,
        };
        let explored = exploration.run(|choices, _| {
            let world = choices.world();
            while choices.below(2) == 1 {}
            run(async {
                loop {
                    // It waits for something that never comes.
                    let rows = world.rows_elsewhere(&image_key()).await;
                    if rows.is_ok_and(|rows| !rows.is_empty()) {
                        return Ok(());
                    }
                }
            })
        });
        let what = "panic: it does not end: dynamodb:Query after 20000 calls";
        assert_eq!(explored.violations.len(), 3);
        assert!(explored.violations.iter().all(|violation| violation.what == what));
    }

    #[test]
    fn the_plain_answers_choose_nothing() {
        let mut choices = Choices::plain();
        let mut order = [1, 2, 3];
        choices.shuffle(&mut order);
        assert_eq!((order, choices.below(9), choices.one_in(3)), ([1, 2, 3], 0, false));
        assert_eq!(choices.pick(&["first", "second"]), &"first");
    }
}
