//! `gate`: asks the function `gate` whether images may be deployed, and waits for its answer.

use std::{collections::BTreeMap, io::Write, time::Duration};

use clap::{Args, ValueEnum};
use guard_core::{
    gate::{
        ANSWER_SCHEMA, Answer, Asked, Decision, FindingEntry, GateRequest, ImageAnswer, MAX_IMAGES, REQUEST_SCHEMA,
    },
    ids::Region,
    text,
    uses::ImageReference,
};
use jiff::SignedDuration;
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::{
    OK, Output, World,
    ledgers::{NotRead, Place},
    table::{count, span},
};

/// The name of the function in the Terraform module.
const DEFAULT_FUNCTION: &str = "ecr-guard-gate";

/// There is no result yet.
pub const WAITING: u8 = 3;
/// The gate did not answer.
pub const UNAVAILABLE: u8 = 4;

/// The time before the next question, where the answer does not say it.
const PAUSE: Duration = Duration::from_secs(15);

/// The longest time that can be waited for. A job of a pipeline lives no longer.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(24);

/// The images, and how long to wait.
#[derive(Debug, Clone, Args)]
pub struct GateArguments {
    /// The images as a deployment names them, 1 to 50: `ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY:TAG`, with `@sha256:…` in place of
    /// the tag or behind it.
    #[arg(value_name = "IMAGE", required = true, num_args = 1..=MAX_IMAGES)]
    pub images: Vec<String>,
    /// The consequence where the gate does not answer.
    #[arg(long, value_enum, required = true)]
    pub on_unavailable: OnUnavailable,
    /// Ask again while there is no result, or no answer.
    #[arg(long)]
    pub wait: bool,
    /// For how long, with --wait: `90s`, `15m`, `1h`.
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = timeout)]
    pub timeout: SignedDuration,
    /// A profile of your AWS configuration.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// The region of the function; without it the region that the images name.
    #[arg(long, value_name = "REGION")]
    pub region: Option<Region>,
    /// The function: its name or ARN, with or without an alias; without it `ECR_GUARD_GATE`, or `ecr-guard-gate`. Without an alias: `live`.
    #[arg(long, value_name = "NAME")]
    pub function: Option<String>,
    /// A name of the run, for the log of the gate.
    #[arg(long, value_name = "TEXT")]
    pub run: Option<String>,
}

/// The consequence where the gate does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnUnavailable {
    /// The command ends with 4.
    Fail,
    /// The command ends with 0, and says so.
    Allow,
}

/// The way to the function `gate`.
pub trait Gatekeeper {
    /// The answer of the function, as text.
    ///
    /// # Errors
    /// There is none.
    fn ask(&self, function: &str, request: &str) -> Result<String, Silence>;

    /// Lets time pass.
    fn pause(&self, time: Duration);
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silence {
    /// A clause, for people.
    pub why: String,
    /// To ask again changes nothing: there is no such function, or no permission.
    pub is_final: bool,
}

/// `15m`, as a duration between a second and a day.
fn timeout(word: &str) -> Result<SignedDuration, String> {
    let help = "it is a time such as 90s, 15m or 1h, a day at most";
    let time: SignedDuration = word.parse().map_err(|_| help.to_owned())?;
    if time < SignedDuration::from_secs(1) || time > LONGEST_WAIT {
        return Err(help.to_owned());
    }
    Ok(time)
}

/// An answer, as it came and as it is read.
struct Answered {
    /// With members that this version does not know.
    whole: Value,
    answer: Answer,
}

/// Carries out the command.
///
/// # Errors
/// The question cannot be asked: no region, or no identity.
pub fn run(
    arguments: &GateArguments,
    output: Output,
    world: &impl World,
    out: &mut impl Write,
    trouble: &mut impl Write,
) -> Result<u8, NotRead> {
    let function = arguments.function.clone().or_else(|| world.variable("ECR_GUARD_GATE"));
    let function = function.filter(|name| !name.trim().is_empty());
    let function = function.unwrap_or_else(|| DEFAULT_FUNCTION.to_owned());
    let place = Place {
        profile: arguments.profile.clone(),
        region: region(arguments, &function)?,
        table: String::new(),
    };
    let gatekeeper = world.gatekeeper(&place)?;
    let (answered, has_waited) = asked(arguments, &function, gatekeeper.as_ref(), world, trouble)?;
    let decision = answered.answer.decision;
    // A gate that said "wait" and then did not answer has not allowed anything.
    let goes_on = decision == Decision::Unavailable && !has_waited && arguments.on_unavailable == OnUnavailable::Allow;
    let code = match decision {
        Decision::Unavailable if has_waited => WAITING,
        Decision::Unavailable if goes_on => OK,
        _ => answered.answer.exit_code,
    };
    match output {
        Output::Text => out.write_all(written(&answered.answer).as_bytes())?,
        Output::Json => writeln!(out, "{:#}", answered.whole)?,
    }
    if goes_on {
        writeln!(
            trouble,
            "The gate did not answer, and --on-unavailable allow goes on all the same."
        )?;
    } else if decision == Decision::Unavailable && has_waited {
        writeln!(
            trouble,
            "The gate said wait, and does not answer now: that allows nothing."
        )?;
    }
    Ok(code)
}

/// The region to ask in: the one that was given, else that of the function's ARN, else the one that all images name.
fn region(arguments: &GateArguments, function: &str) -> Result<Option<Region>, NotRead> {
    if arguments.region.is_some() {
        return Ok(arguments.region.clone());
    }
    let of_arn = function.strip_prefix("arn:").and_then(|rest| rest.split(':').nth(2));
    if let Some(region) = of_arn.and_then(|region| region.parse().ok()) {
        return Ok(Some(region));
    }
    let images = arguments
        .images
        .iter()
        .filter_map(|image| image.parse::<ImageReference>().ok());
    let mut regions: Vec<Region> = images.map(|image| image.region).collect();
    regions.sort();
    regions.dedup();
    match regions.as_slice() {
        // Elsewhere than in its own region an image is not guarded, and a gate may allow that.
        [_, _, ..] => Err(NotRead::new(
            "The images are in several regions: ask about those of one region at a time, or give --region.",
        )),
        regions => Ok(regions.first().cloned()),
    }
}

/// The last answer, and whether the gate has said "wait".
fn asked(
    arguments: &GateArguments,
    function: &str,
    gatekeeper: &dyn Gatekeeper,
    world: &impl World,
    trouble: &mut impl Write,
) -> Result<(Answered, bool), NotRead> {
    let context = [("caller", Some("ecr-guard")), ("run", arguments.run.as_deref())];
    let context = context
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
    let request = json!(GateRequest {
        schema: REQUEST_SCHEMA.to_owned(),
        images: arguments.images.clone(),
        context: context.collect::<BTreeMap<_, _>>(),
    });
    let request = request.to_string();
    let began = world.now();
    let mut paused = SignedDuration::ZERO;
    let mut has_waited = false;
    loop {
        let (answered, is_final) = match gatekeeper.ask(function, &request) {
            Ok(body) => (read(&body, arguments, world), false),
            Err(silence) => (unanswered(&silence.why, arguments, world), silence.is_final),
        };
        let answer = &answered.answer;
        has_waited |= answer.decision == Decision::Wait;
        let asks_again = matches!(answer.decision, Decision::Wait | Decision::Unavailable);
        // A clock that is set back makes no wait longer.
        let passed = world.now().duration_since(began).max(paused);
        let left = arguments.timeout - passed;
        if !arguments.wait || !asks_again || is_final || left <= SignedDuration::ZERO {
            return Ok((answered, has_waited));
        }
        let pause = answer.retry_after_seconds.map_or(PAUSE, Duration::from_secs);
        let pause = pause.max(Duration::from_secs(1)).min(left.unsigned_abs());
        let why = match answer.decision {
            Decision::Wait => "There is no result yet".to_owned(),
            _ => format!("The gate did not answer: {}", reason(answer).trim_end_matches('.')),
        };
        writeln!(trouble, "{why}. It is asked again in {} s.", pause.as_secs())?;
        gatekeeper.pause(pause);
        paused += SignedDuration::try_from(pause).unwrap_or(LONGEST_WAIT);
    }
}

/// The reason of an answer that decides nothing.
fn reason(answer: &Answer) -> String {
    let first = answer.images.iter().find(|image| image.decision == answer.decision);
    safe(first.map_or("it gives no reason", |image| image.reason.as_str()))
}

/// Reads an answer. One that is not about these images is none of a gate.
fn read(body: &str, arguments: &GateArguments, world: &impl World) -> Answered {
    let none = |why: &str| unanswered(&format!("{why}: {}", text::line(body, 200)), arguments, world);
    let Ok(whole) = serde_json::from_str::<Value>(body) else {
        return none("its answer is not JSON");
    };
    let Ok(answer) = Answer::deserialize(&whole) else {
        return none("its answer is none of a gate");
    };
    let is_one = answer.schema == ANSWER_SCHEMA
        && answer.exit_code <= UNAVAILABLE
        && (answer.exit_code == OK) == (answer.decision == Decision::Allow)
        && (answer.error.is_some() || answer.images.len() == arguments.images.len());
    if !is_one {
        return none("its answer is none of a gate");
    }
    Answered { whole, answer }
}

/// The answer of a gate that gives none, in the same form.
fn unanswered(why: &str, arguments: &GateArguments, world: &impl World) -> Answered {
    let asked: Vec<Asked> = arguments.images.iter().map(|image| Asked::new(image)).collect();
    let answer = Answer::unavailable(&asked, why, world.now());
    Answered {
        whole: json!(answer),
        answer,
    }
}

/// The answer, for people.
fn written(answer: &Answer) -> String {
    let mut lines: Vec<String> = answer
        .error
        .iter()
        .map(|error| format!("The request is not valid: {}.", safe(error)))
        .collect();
    for image in &answer.images {
        lines.extend(of_image(image));
    }
    if answer.error.is_some() && answer.images.is_empty() {
        return lines.join("\n") + "\n";
    }
    let of = |decision| answer.images.iter().filter(|image| image.decision == decision).count() as u64;
    let all = count(answer.images.len() as u64, "image");
    lines.push(match answer.decision {
        Decision::Allow => format!("{all}: allowed."),
        Decision::Deny => format!("{all}: {} denied.", of(Decision::Deny)),
        Decision::Wait => format!("{all}: {} without a result yet{}.", of(Decision::Wait), again(answer)),
        Decision::Unavailable => format!("{all}: no answer about {}{}.", of(Decision::Unavailable), again(answer)),
    });
    lines.join("\n") + "\n"
}

fn again(answer: &Answer) -> String {
    let seconds = answer
        .retry_after_seconds
        .and_then(|seconds| i64::try_from(seconds).ok());
    match seconds.map(SignedDuration::from_secs) {
        Some(time) if time >= SignedDuration::from_mins(1) => format!(", ask again in {}", span(time)),
        Some(time) => format!(", ask again in {} seconds", time.as_secs()),
        None => String::new(),
    }
}

fn of_image(image: &ImageAnswer) -> Vec<String> {
    let decision = match image.decision {
        Decision::Allow => "allow",
        Decision::Deny => "deny",
        Decision::Wait => "wait",
        Decision::Unavailable => "unavailable",
    };
    let mut lines = vec![
        format!("{decision}: {}", safe(&image.image)),
        format!("  {}: {}", safe(&image.state), safe(&image.reason)),
    ];
    let mut more = |name: &str, value: &str| lines.push(format!("  {name}: {}", safe(value)));
    if image.mode.as_deref() == Some("report") {
        more("mode", "the policy only reports on this repository");
    }
    for finding in &image.findings {
        more("finding", &of_finding(finding));
    }
    if image.more > 0 {
        more("finding", &format!("and {} more", image.more));
    }
    for warning in &image.warnings {
        more("warning", warning);
    }
    for step in &image.next {
        more("next", step);
    }
    if let Some(pinned) = &image.pinned {
        more(
            if image.decision == Decision::Allow {
                "deploy"
            } else {
                "digest"
            },
            pinned,
        );
    }
    lines
}

fn of_finding(finding: &FindingEntry) -> String {
    let mut text = format!("{} {}", finding.id, finding.severity);
    if let Some(package) = &finding.package {
        text.push_str(&format!(" in {package}"));
    }
    if let Some(version) = &finding.fixed_in {
        text.push_str(&format!(", fixed in {version}"));
    }
    text
}

/// One line, and no command of a pipeline: GitHub's runner finds `##[…]` anywhere in a line.
fn safe(from_outside: &str) -> String {
    text::line(from_outside, 600).replace("##[", "# #[")
}

#[cfg(test)]
pub(crate) mod tests;
