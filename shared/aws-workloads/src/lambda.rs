//! Functions of Lambda that are made of images.

use std::collections::{BTreeMap, BTreeSet};

use aws_types::SdkConfig;
use futures_util::future::join_all;
use jiff::Timestamp;
use serde::Deserialize;
use std::time::Duration;

use guard_core::uses::{LambdaVersions, Phase, Via, Workload, WorkloadKind, WorkloadSource, aws};
use guard_ports::{ListedWorkloads, PortError, Seen};

use crate::{
    client::{Client, Service, list as nullable, segment},
    pages::pages,
    remembered::Remembered,
    run::{Run, Time},
};

const GET_FUNCTION: &str = "lambda:GetFunction";
const LIST_ALIASES: &str = "lambda:ListAliases";

/// The path of functions.
const FUNCTIONS: &str = "/2015-03-31/functions";

/// The functions that are asked about in a second. An account has 100 calls of `GetFunction` in a second for everything
/// together, and 15 of most others (Lambda quotas, "Lambda API requests").
const FUNCTIONS_PER_SECOND: usize = 20;
const ALIASES_PER_SECOND: usize = 10;

/// An unpublished version may change without any documented sign: it is read every day, each in an hour of its own.
const HOURS: u64 = 24;

/// Source of this and all that follow: Lambda API reference, "Data types".
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Page {
    #[serde(deserialize_with = "nullable")]
    functions: Vec<FunctionConfiguration>,
    #[serde(deserialize_with = "nullable")]
    aliases: Vec<AliasConfiguration>,
    next_marker: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct FunctionConfiguration {
    function_name: Option<String>,
    version: Option<String>,
    package_type: Option<String>,
    last_modified: Option<String>,
    code_sha256: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct AliasConfiguration {
    function_version: Option<String>,
    routing_config: Option<RoutingConfig>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct RoutingConfig {
    additional_version_weights: Option<BTreeMap<String, f64>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Function {
    code: Option<Code>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Code {
    resolved_image_uri: Option<String>,
    image_uri: Option<String>,
}

/// A version of a function that is made of an image.
struct Version {
    function: String,
    version: String,
    /// A name that no other code of it has.
    name: String,
}

impl Version {
    fn is_published(&self) -> bool {
        self.version != "$LATEST"
    }
}

pub(crate) async fn list(
    run: &Run,
    config: &SdkConfig,
    source: &WorkloadSource,
    mut known: Remembered<'_>,
) -> ListedWorkloads {
    let client = Client::new(config, Service::Lambda);
    let mut listed = ListedWorkloads::default();
    let (mut versions, failure) = versions(&run.time, &client).await;
    listed.failures.extend(failure);
    if run.lambda_versions == LambdaVersions::LatestAndAliased {
        let (counting, failure) = aliased(run, &client, &versions).await;
        // All versions of a function count whose aliases are not known.
        versions.retain(|version| {
            let of_function = counting.get(&version.function);
            !version.is_published() || of_function.is_none_or(|counting| counting.contains(&version.version))
        });
        listed.failures.extend(failure);
    }
    let mut asked = Vec::new();
    for version in versions {
        match known.take(&version.name).filter(|_| !is_turn(&version, run.began)) {
            Some(images) => listed.seen.extend(seen(source, &version, &images)),
            None => asked.push(version),
        }
    }
    for some in asked.chunks(FUNCTIONS_PER_SECOND) {
        if let Err(failure) = run.time.left(GET_FUNCTION) {
            listed.failures.push(failure);
            break;
        }
        for (version, image) in some
            .iter()
            .zip(join_all(some.iter().map(|version| image(&client, version))).await)
        {
            match image {
                Ok(Some(image)) => {
                    let images = vec![image];
                    listed.seen.extend(seen(source, version, &images));
                    known.put(&version.name, images);
                }
                // It was deleted since it was listed.
                Ok(None) => {}
                Err(failure) => listed.failures.push(failure),
            }
        }
        if some.len() == FUNCTIONS_PER_SECOND {
            run.time.clock.pause(Duration::from_secs(1)).await;
        }
    }
    listed.known = known.keep(listed.failures.is_empty());
    listed
}

/// `lambda:ListFunctions`: all versions of all functions that are made of images. Functions of zips are left out.
async fn versions(time: &Time, client: &Client) -> (Vec<Version>, Option<PortError>) {
    const OPERATION: &str = "lambda:ListFunctions";
    pages(time, OPERATION, |next| async move {
        let members = [
            ("FunctionVersion", Some("ALL")),
            ("MaxItems", Some("50")),
            ("Marker", next.as_deref()),
        ];
        match client.get::<Page>(OPERATION, FUNCTIONS, &members).await {
            Ok(page) => (
                page.functions.iter().filter_map(version).collect(),
                Ok(page.next_marker),
            ),
            Err(error) => (Vec::new(), Err(error)),
        }
    })
    .await
}

fn version(function: &FunctionConfiguration) -> Option<Version> {
    if function.package_type.as_deref() != Some("Image") {
        return None;
    }
    let (name, version) = (function.function_name.as_deref()?, function.version.as_deref()?);
    // A function that was deleted and made again counts its versions anew. The meaning of `CodeSha256` for an image is not
    // documented; that it changes with the code is.
    let (modified, code) = (
        function.last_modified.as_deref().unwrap_or_default(),
        function.code_sha256.as_deref().unwrap_or_default(),
    );
    let changing = if version == "$LATEST" { modified } else { "" };
    Some(Version {
        function: name.to_owned(),
        version: version.to_owned(),
        name: format!("{name}:{version} {code} {changing}"),
    })
}

/// `lambda:ListAliases` of each function that has published versions: the versions of an alias.
async fn aliased(
    run: &Run,
    client: &Client,
    versions: &[Version],
) -> (BTreeMap<String, BTreeSet<String>>, Option<PortError>) {
    let published = versions.iter().filter(|version| version.is_published());
    let functions: BTreeSet<&str> = published.map(|version| version.function.as_str()).collect();
    let functions: Vec<&str> = functions.into_iter().collect();
    let (mut counting, mut failure) = (BTreeMap::new(), None);
    for some in functions.chunks(ALIASES_PER_SECOND) {
        if let Err(over) = run.time.left(LIST_ALIASES) {
            failure = Some(over);
            break;
        }
        for (function, found) in some
            .iter()
            .zip(join_all(some.iter().map(|function| aliases(&run.time, client, function))).await)
        {
            match found {
                Ok(versions) => {
                    counting.insert((*function).to_owned(), versions);
                }
                Err(error) => failure = Some(error),
            }
        }
        if some.len() == ALIASES_PER_SECOND {
            run.time.clock.pause(Duration::from_secs(1)).await;
        }
    }
    (counting, failure)
}

async fn aliases(time: &Time, client: &Client, function: &str) -> Result<BTreeSet<String>, PortError> {
    let (versions, failure) = pages(time, LIST_ALIASES, |next| async move {
        let path = format!("{FUNCTIONS}/{}/aliases", segment(function));
        let members = [("MaxItems", Some("50")), ("Marker", next.as_deref())];
        match client.get::<Page>(LIST_ALIASES, &path, &members).await {
            Ok(page) => (page.aliases.iter().flat_map(leads_to).collect(), Ok(page.next_marker)),
            // It was deleted since it was listed.
            Err(error) if is_gone(&error) => (Vec::new(), Ok(None)),
            Err(error) => (Vec::new(), Err(error)),
        }
    })
    .await;
    failure.map_or_else(|| Ok(versions.into_iter().collect()), Err)
}

/// The versions of an alias.
fn leads_to(alias: &AliasConfiguration) -> impl Iterator<Item = String> {
    let others = alias
        .routing_config
        .iter()
        .filter_map(|routing| routing.additional_version_weights.as_ref());
    let others = others.flatten().map(|(version, _)| version.clone());
    alias.function_version.clone().into_iter().chain(others)
}

/// `lambda:GetFunction`: the image of a version, by its digest.
async fn image(client: &Client, version: &Version) -> Result<Option<String>, PortError> {
    let path = format!("{FUNCTIONS}/{}", segment(&version.function));
    let members = [("Qualifier", Some(version.version.as_str()))];
    match client.get::<Function>(GET_FUNCTION, &path, &members).await {
        Ok(function) => Ok(function
            .code
            .and_then(|code| code.resolved_image_uri.or(code.image_uri))),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the function was deleted since it was listed.
fn is_gone(error: &PortError) -> bool {
    error.code == "ResourceNotFoundException"
}

/// Whether what is not published is asked about again in this hour.
fn is_turn(version: &Version, now: Timestamp) -> bool {
    let hour = u64::try_from(now.as_second() / 3600).unwrap_or_default() % HOURS;
    // Any division of the names into hours will do.
    let sum = version
        .function
        .bytes()
        .fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    !version.is_published() && sum % HOURS == hour
}

fn seen(source: &WorkloadSource, version: &Version, images: &[String]) -> Vec<Seen> {
    let images = images.iter().filter_map(|image| aws::image_of(Some(image), None));
    images
        .map(|image| Seen {
            workload: Workload {
                // That it could be invoked says nothing of whether anybody does: it must not lift a block that stands.
                phase: Phase::Desired,
                kind: WorkloadKind::LambdaFunction,
                name: version.function.clone(),
                within: None,
                version: Some(version.version.clone()),
                source: source.clone(),
                via: Via::Digest,
            },
            image,
        })
        .collect()
}
