//! How workloads name images.

use std::str::FromStr;

use crate::ids::{AccountId, ImageKey, ImageRef, Region, RepositoryName, registry_suffix};

/// An image of a private registry of ECR, as a workload names it: `123456789012.dkr.ecr.us-west-2.amazonaws.com/team/api:1.4`, with or
/// without `@sha256:…`.
///
/// Source of the host's form: user guide of ECR, "Private registries"; the dual-stack one, `….dkr-ecr.us-west-2.on.aws`: "Making
/// requests over IPv6". With a FIPS endpoint it is `….dkr.ecr-fips.…`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ImageReference {
    /// The registry.
    pub account: AccountId,
    /// Its region.
    pub region: Region,
    /// The repository.
    pub repository: RepositoryName,
    /// The image: its digest if that is named, otherwise a tag.
    pub image: ImageRef,
}

impl ImageReference {
    /// The same image by this digest.
    pub fn at(&self, digest: &str) -> Option<ImageKey> {
        Some(ImageKey {
            account: self.account.clone(),
            region: self.region.clone(),
            repository: self.repository.clone(),
            digest: digest.parse().ok()?,
        })
    }

    /// The image, if its digest is named.
    pub fn key(&self) -> Option<ImageKey> {
        match &self.image {
            ImageRef::Digest(digest) => self.at(digest.as_str()),
            ImageRef::Tag(_) => None,
        }
    }
}

/// It names no image of a private registry of ECR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it names no image of a private registry of ECR")]
pub struct NotOfEcr;

impl FromStr for ImageReference {
    type Err = NotOfEcr;

    fn from_str(text: &str) -> Result<Self, NotOfEcr> {
        // Kubernetes writes `docker-pullable://` before some of them.
        let text = text.split_once("://").map_or(text, |(_, rest)| rest);
        let (host, path) = text.split_once('/').ok_or(NotOfEcr)?;
        let (account, region) = registry(host).ok_or(NotOfEcr)?;
        let (name, digest) = match path.split_once('@') {
            Some((name, digest)) => (name, Some(digest)),
            None => (path, None),
        };
        let (repository, tag) = match name.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (name, None),
        };
        let image = match (digest, tag) {
            (Some(digest), _) => ImageRef::Digest(digest.parse().map_err(|_| NotOfEcr)?),
            // Without a tag, a client pulls this one.
            (None, tag) => ImageRef::Tag(tag.unwrap_or("latest").parse().map_err(|_| NotOfEcr)?),
        };
        Ok(Self {
            account,
            region,
            repository: repository.parse().map_err(|_| NotOfEcr)?,
            image,
        })
    }
}

/// The registry with this host. Names of hosts have no case, and 443 is the port without one. The whole name must be that of AWS: what only
/// begins like it is somebody else's.
fn registry(host: &str) -> Option<(AccountId, Region)> {
    let host = host.to_ascii_lowercase();
    let host = host.strip_suffix(":443").unwrap_or(&host);
    let (account, rest) = host.split_once('.')?;
    let (rest, is_dual_stack) = [
        ("dkr.ecr.", false),
        ("dkr.ecr-fips.", false),
        ("dkr-ecr.", true),
        ("dkr-ecr-fips.", true),
    ]
    .into_iter()
    .find_map(|(prefix, is_dual_stack)| Some((rest.strip_prefix(prefix)?, is_dual_stack)))?;
    let (region, suffix) = rest.split_once('.')?;
    let region: Region = region.parse().ok()?;
    let expected = match (is_dual_stack, region.as_str().starts_with("cn-")) {
        (false, _) => registry_suffix(&region),
        (true, false) => "on.aws",
        (true, true) => "on.amazonwebservices.com.cn",
    };
    (suffix == expected).then_some((account.parse().ok()?, region))
}
