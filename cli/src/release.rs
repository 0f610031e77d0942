//! `release`: lets a blocked image be pulled for some hours, through the function `operate`, which asks the policy.

use std::{
    io::{self, Write},
    time::Duration,
};

use clap::Args;
use guard_core::{
    ids::{AccountId, ImageRef, Region, RepositoryName, registry_host},
    image::{Image, ImageStatus},
    release::{
        answer::{ReleaseAnswer, ReleaseOutcome},
        request::{AskedRelease, REQUEST_SCHEMA, Verb},
    },
    text::hex,
    uses::ImageReference,
};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::{
    OK, Output, REFUSED, UNUSABLE, World,
    ledgers::{NotRead, Place},
};

/// The name of the function in the Terraform module.
const DEFAULT_FUNCTION: &str = "ecr-guard-operate";

/// How often it is asked whether the image can be pulled, and for how long: ECR takes up to about 20 minutes to restore one (user guide,
/// "Restore an archived image").
const POLL: Duration = Duration::from_secs(15);
const LONGEST_WAIT: SignedDuration = SignedDuration::from_mins(25);

/// The image to release, and why.
#[derive(Debug, Clone, Args)]
pub struct ReleaseArguments {
    /// The image: `ACCOUNT.dkr.ecr.REGION.amazonaws.com/REPOSITORY:TAG`, with `@sha256:…` in place of the tag; without the host, of your own
    /// account and region.
    #[arg(value_name = "IMAGE")]
    pub image: String,
    /// For how many hours. The policy says how many at most.
    #[arg(long, value_name = "N", required_unless_present = "end", value_parser = hours)]
    pub hours: Option<u32>,
    /// Why, in one line. Everybody who gets the alert reads it.
    #[arg(long, required_unless_present = "end")]
    pub reason: Option<String>,
    /// The ticket. The policy says whether one is needed.
    #[arg(long)]
    pub ticket: Option<String>,
    /// End the release, which blocks the image again.
    #[arg(long, conflicts_with_all = ["hours", "reason", "ticket", "wait"])]
    pub end: bool,
    /// Wait until the image can be pulled: up to about 20 minutes.
    #[arg(long)]
    pub wait: bool,
    /// A profile of your AWS configuration.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<String>,
    /// The region, where the image does not name it.
    #[arg(long, value_name = "REGION")]
    pub region: Option<Region>,
    /// The function: its name or ARN, with or without an alias; without it `ECR_GUARD_OPERATE`, or `ecr-guard-operate`. Without an alias:
    /// `live`.
    #[arg(long, value_name = "NAME")]
    pub function: Option<String>,
}

/// A number of hours; the policy knows the most.
fn hours(text: &str) -> Result<u32, String> {
    let hours = text.parse().ok().filter(|hours| *hours > 0);
    hours.ok_or_else(|| "it is a whole number of hours, 1 or more".to_owned())
}

/// The way to the function `operate`, and to its registry.
pub trait Operator {
    /// The caller's account and region.
    ///
    /// # Errors
    /// The caller has no identity.
    fn registry(&self) -> Result<(AccountId, Region), NotRead>;

    /// An image, whatever its status.
    ///
    /// # Errors
    /// It cannot be read.
    fn image(
        &self,
        account: &AccountId,
        repository: &RepositoryName,
        image: &ImageRef,
    ) -> Result<Option<Image>, NotRead>;

    /// Asks the function, in the account of the registry.
    ///
    /// # Errors
    /// There is no answer.
    fn ask(
        &self,
        account: &AccountId,
        function: &str,
        asked: &AskedRelease,
        now: Timestamp,
    ) -> Result<ReleaseAnswer, NotRead>;

    /// Lets time pass.
    fn pause(&self, time: Duration);
}

/// An image as it was named, with what was not named taken from the caller.
struct Named {
    account: AccountId,
    region: Region,
    repository: RepositoryName,
    image: ImageRef,
}

/// The account and the region of a registry.
type Registry = (AccountId, Region);

impl Named {
    fn read(arguments: &ReleaseArguments) -> Result<(Option<Registry>, RepositoryName, ImageRef), NotRead> {
        let text = &arguments.image;
        if let Ok(ImageReference {
            account,
            region,
            repository,
            image,
        }) = text.parse()
        {
            if let Some(given) = arguments.region.as_ref().filter(|given| **given != region) {
                return Err(NotRead::new(format!(
                    "The image is in {region}, and --region says {given}."
                )));
            }
            return Ok((Some((account, region)), repository, image));
        }
        let invalid = || {
            let forms = "REPOSITORY:TAG, REPOSITORY@sha256:…, or with ACCOUNT.dkr.ecr.REGION.amazonaws.com/ before it";
            NotRead::new(format!(
                "`{}` is no image: write {forms}.",
                guard_core::text::line(text, 200)
            ))
        };
        let (name, image) = match text.split_once('@') {
            Some((name, digest)) => {
                let name = name.split_once(':').map_or(name, |(name, _)| name);
                (name, ImageRef::Digest(digest.parse().map_err(|_| invalid())?))
            }
            None => {
                let (name, tag) = text.split_once(':').unwrap_or((text, "latest"));
                (name, ImageRef::Tag(tag.parse().map_err(|_| invalid())?))
            }
        };
        Ok((None, name.parse().map_err(|_| invalid())?, image))
    }
}

/// Carries out the command.
///
/// # Errors
/// AWS cannot be reached, or the function does not answer.
pub fn run(
    arguments: &ReleaseArguments,
    output: Output,
    world: &impl World,
    out: &mut impl Write,
    trouble: &mut impl Write,
) -> Result<u8, NotRead> {
    let (registry, repository, image) = Named::read(arguments)?;
    let place = Place {
        profile: arguments.profile.clone(),
        region: registry
            .as_ref()
            .map(|(_, region)| region.clone())
            .or(arguments.region.clone()),
        table: String::new(),
    };
    let operator = world.operator(&place)?;
    let (account, region) = match registry {
        Some(registry) => registry,
        None => operator.registry()?,
    };
    let named = Named {
        account,
        region,
        repository,
        image,
    };
    let asked = asked(arguments, &named, operator.as_ref(), world.now())?;
    let function = arguments
        .function
        .clone()
        .or_else(|| world.variable("ECR_GUARD_OPERATE"));
    let function = function.filter(|name| !name.trim().is_empty());
    let function = function.unwrap_or_else(|| DEFAULT_FUNCTION.to_owned());
    let answer = operator.ask(&named.account, &function, &asked, world.now())?;
    match output {
        Output::Text => write_text(&answer, &asked.image, out)?,
        Output::Json => writeln!(out, "{:#}", json!(answer))?,
    }
    match answer.outcome {
        ReleaseOutcome::Refused => Ok(REFUSED),
        ReleaseOutcome::Unavailable => Ok(UNUSABLE),
        ReleaseOutcome::Released if arguments.wait => wait(&named, &asked, operator.as_ref(), world, trouble),
        ReleaseOutcome::Released | ReleaseOutcome::Ended => Ok(OK),
    }
}

/// The request. A tag is resolved here, so that the signed request names the digest.
fn asked(
    arguments: &ReleaseArguments,
    named: &Named,
    operator: &dyn Operator,
    now: Timestamp,
) -> Result<AskedRelease, NotRead> {
    let digest = match &named.image {
        ImageRef::Digest(digest) => digest.clone(),
        ImageRef::Tag(tag) => {
            let found = operator.image(&named.account, &named.repository, &named.image)?;
            let missing = || {
                let help = "If its tags were taken (`quarantine-tag`), give the digest of the alert.";
                NotRead::new(format!(
                    "No image of `{}` has the tag `{tag}`. {help}",
                    named.repository
                ))
            };
            found.ok_or_else(missing)?.digest
        }
    };
    // Not secret, only never the same: this process at this time.
    let unique = format!("{} {} {}", now.as_nanosecond(), std::process::id(), arguments.image);
    Ok(AskedRelease {
        schema: REQUEST_SCHEMA.to_owned(),
        id: hex(&Sha256::digest(unique)).chars().take(32).collect(),
        action: if arguments.end { Verb::End } else { Verb::Release },
        image: format!(
            "{}/{}@{digest}",
            registry_host(&named.account, &named.region),
            named.repository
        ),
        hours: arguments.hours,
        reason: arguments.reason.clone(),
        ticket: arguments.ticket.clone(),
    })
}

fn write_text(answer: &ReleaseAnswer, image: &str, out: &mut impl Write) -> io::Result<()> {
    let word = match (answer.outcome, &answer.code) {
        (ReleaseOutcome::Released, _) => "Released".to_owned(),
        (ReleaseOutcome::Ended, _) => "Ended".to_owned(),
        (ReleaseOutcome::Refused, Some(code)) => format!("Refused ({code})"),
        (ReleaseOutcome::Refused, None) => "Refused".to_owned(),
        (ReleaseOutcome::Unavailable, _) => "Not done".to_owned(),
    };
    writeln!(out, "{word}: {}", answer.reason)?;
    writeln!(out, "  image: {image}")?;
    if let Some(by) = &answer.by {
        writeln!(out, "  by:    {by}")?;
    }
    if let Some(pending) = &answer.pending {
        writeln!(
            out,
            "  It is recorded, and not carried out yet: {pending}. The next sweep does that, within the hour."
        )?;
    } else if answer.restoring {
        writeln!(
            out,
            "  ECR restores it, which takes up to about 20 minutes. Until then a pull answers 404. --wait waits for that."
        )?;
    }
    match &answer.next {
        Some(next) => writeln!(out, "  {next}"),
        None => Ok(()),
    }
}

/// Waits until the image can be pulled.
fn wait(
    named: &Named,
    asked: &AskedRelease,
    operator: &dyn Operator,
    world: &impl World,
    trouble: &mut impl Write,
) -> Result<u8, NotRead> {
    let until = world.now() + LONGEST_WAIT;
    let image: ImageReference = asked
        .image
        .parse()
        .map_err(|_| NotRead::new("The image has no digest."))?;
    let mut waited = Duration::ZERO;
    loop {
        match operator
            .image(&named.account, &named.repository, &image.image)?
            .map(|image| image.status)
        {
            Some(ImageStatus::Active) => {
                writeln!(trouble, "It can be pulled.")?;
                return Ok(OK);
            }
            None => return Err(NotRead::new("The image was deleted.")),
            Some(_) if world.now() >= until || waited >= LONGEST_WAIT.unsigned_abs() => {
                return Err(NotRead::new(
                    "It cannot be pulled yet, after 25 minutes. `ecr-guard explain` says what is missing.",
                ));
            }
            Some(_) => {
                if waited.as_secs().is_multiple_of(60) {
                    writeln!(trouble, "ECR restores it; waited {} min.", waited.as_secs() / 60)?;
                }
                operator.pause(POLL);
                waited += POLL;
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
