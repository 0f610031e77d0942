//! An image as the registry describes it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ids::{Digest, Region, Tag};

/// Whether an image can be pulled: ECR's `imageStatus`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageStatus {
    /// Pullable.
    Active,
    /// In the archive storage class: described and listed, but a pull answers 404.
    Archived,
    /// On the way back from the archive, which takes up to about 20 minutes; not pullable yet.
    Activating,
    /// A word that this version does not know. Never taken for "not pullable".
    Other(String),
}

/// What an entry of the registry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKind {
    /// A single-platform image: what scanners look at.
    Image,
    /// A manifest list or OCI image index: leads to images, is never scanned itself.
    Index,
    /// An attestation, a signature, an SBOM: belongs to an image and is not one.
    Referrer,
}

/// One image, with what is true of it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Its digest.
    pub digest: Digest,
    /// All its tags. Removing the last one makes ECR delete the image.
    pub tags: Vec<Tag>,
    /// Whether it can be pulled.
    pub status: ImageStatus,
    /// When it was pushed (`imagePushedAt`).
    pub pushed_at: Option<Timestamp>,
    /// When it was last pulled (`lastRecordedPullTime`), give or take 24 hours; `None` is "never, or not recorded".
    pub last_pulled_at: Option<Timestamp>,
    /// When it last came back from the archive (`lastActivatedAt`).
    pub last_activated_at: Option<Timestamp>,
    /// `imageManifestMediaType`.
    pub manifest_media_type: Option<String>,
    /// `artifactMediaType`: the media type of its configuration.
    pub artifact_media_type: Option<String>,
    /// The image that this entry refers to (`subjectManifestDigest`), if it is a referrer.
    pub subject: Option<Digest>,
}

/// An image in the registry's list of a repository, with what the list says beside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedImage {
    /// The image.
    pub image: Image,
    /// `imageSizeInBytes`: the sum of its compressed layers; of an index, the largest of its images.
    pub bytes: u64,
    /// The status of its scan, in ECR's words, where the list has it: the basic scanner of today does not fill it.
    pub scan_status: Option<String>,
    /// When its last scan was completed, where the list has it.
    pub scanned_at: Option<Timestamp>,
}

/// How an image came to be pullable, as far as an event told it. Events do not say by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The way it took.
    pub way: Way,
    /// When, by the event.
    pub at: Option<Timestamp>,
}

/// The ways in which an image becomes pullable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// A push, with the tag that it named.
    Pushed(Option<Tag>),
    /// A return from the archive.
    Restored,
    /// A copy from another region.
    Replicated(Region),
}

/// An image that an index leads to, for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// Its digest.
    pub digest: Digest,
    /// What it is for, such as `linux/arm64/v8`, as the index says it. Data from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
}

/// The most images that an index may lead to. Official images have about ten.
pub const MAX_CHILDREN: usize = 50;

/// The images that the manifest of an index leads to. `None`: it is not the manifest of an index, or leads to more than
/// [`MAX_CHILDREN`].
///
/// An attestation that BuildKit lists beside the images is left out: it is for the platform `unknown/unknown`, which no container
/// runtime asks for, and says by an annotation what it is. Source: BuildKit's documentation, "Image attestation storage"; for the
/// rest, the OCI image index specification.
pub fn children(manifest: &str) -> Option<Vec<Child>> {
    #[derive(Deserialize)]
    struct Index {
        manifests: Vec<Descriptor>,
    }
    #[derive(Deserialize)]
    struct Descriptor {
        digest: String,
        platform: Option<Platform>,
        #[serde(default)]
        annotations: BTreeMap<String, serde_json::Value>,
    }
    #[derive(Deserialize)]
    struct Platform {
        os: String,
        architecture: String,
        variant: Option<String>,
    }
    let index: Index = serde_json::from_str(manifest).ok()?;
    let mut children: Vec<Child> = Vec::new();
    for descriptor in index.manifests {
        let says = descriptor.annotations.get("vnd.docker.reference.type");
        let nowhere = descriptor
            .platform
            .as_ref()
            .is_some_and(|platform| platform.os == "unknown" && platform.architecture == "unknown");
        if nowhere && says.and_then(|says| says.as_str()) == Some("attestation-manifest") {
            continue;
        }
        let platform = descriptor.platform.map(|platform| {
            let variant = platform.variant.map_or(String::new(), |variant| format!("/{variant}"));
            format!("{}/{}{variant}", platform.os, platform.architecture)
        });
        let child = Child {
            digest: descriptor.digest.parse().ok()?,
            platform: platform.filter(|platform| platform.len() <= MAX_PLATFORM),
        };
        if !children.iter().any(|known| known.digest == child.digest) {
            children.push(child);
        }
    }
    (children.len() <= MAX_CHILDREN).then_some(children)
}

/// No real platform has a longer name.
const MAX_PLATFORM: usize = 100;

/// Media types of manifests that list other manifests (Docker image manifest v2 schema 2; OCI image specification, "Media types").
const INDEX_MEDIA_TYPES: [&str; 2] = [
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.index.v1+json",
];

/// Media types of a container image's configuration (same sources).
const CONTAINER_CONFIG_MEDIA_TYPES: [&str; 2] = [
    "application/vnd.docker.container.image.v1+json",
    "application/vnd.oci.image.config.v1+json",
];

impl Image {
    /// What this entry is.
    ///
    /// A `subject` alone does not make a referrer: a runnable image can carry one too, and must not escape the rules by it.
    /// Cosign's signatures from before OCI 1.1 have no subject but a tag that names it, `sha256-<digest>.sig`, and the
    /// configuration type of a container; an entry that is a referrer by its tags only is still judged once a scanner has
    /// scanned it (see `decide`).
    pub fn kind(&self) -> ImageKind {
        let refers_by_tag = !self.tags.is_empty() && self.tags.iter().all(names_a_subject);
        if self
            .manifest_media_type
            .as_deref()
            .is_some_and(|media_type| INDEX_MEDIA_TYPES.contains(&media_type))
        {
            return if refers_by_tag {
                // The list of an image's referrers, where a client keeps it under a tag.
                ImageKind::Referrer
            } else {
                ImageKind::Index
            };
        }
        let container = self
            .artifact_media_type
            .as_deref()
            .is_some_and(|t| CONTAINER_CONFIG_MEDIA_TYPES.contains(&t));
        if refers_by_tag || (self.subject.is_some() && !container) {
            ImageKind::Referrer
        } else {
            ImageKind::Image
        }
    }

    /// When this copy of the image became pullable: its push, or its return from the archive if that was later.
    pub fn available_since(&self) -> Option<Timestamp> {
        self.pushed_at.max(self.last_activated_at)
    }
}

/// Whether a manifest is an attestation that calls itself an image: all its layers are in-toto statements.
///
/// BuildKit pushes one beside every image that it builds, untagged, with the configuration type of a container and without a
/// subject; only its manifest tells. Nobody can run it. Source: BuildKit's documentation, "Image attestation storage".
pub fn is_attestation_manifest(manifest: &str) -> bool {
    #[derive(Deserialize)]
    struct Manifest {
        layers: Vec<Layer>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Layer {
        media_type: String,
    }
    serde_json::from_str::<Manifest>(manifest).is_ok_and(|manifest| {
        !manifest.layers.is_empty()
            && manifest
                .layers
                .iter()
                .all(|layer| layer.media_type == "application/vnd.in-toto+json")
    })
}

/// Whether a tag is one that cosign gives to what it attaches to an image: `sha256-<64 hex>`, with or without a suffix
/// (`.sig`, `.att`, `.sbom`). Source: cosign's signature specification; the bare form is OCI distribution's referrers tag.
pub fn names_a_subject(tag: &Tag) -> bool {
    let Some(rest) = tag.as_str().strip_prefix("sha256-") else {
        return false;
    };
    let digest = rest.split_once('.').map_or(rest, |(digest, _)| digest);
    digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(manifest: Option<&str>, artifact: Option<&str>, subject: bool, tags: &[&str]) -> Image {
        Image {
            digest: "sha256:aa".parse().unwrap(),
            tags: tags.iter().map(|tag| tag.parse().unwrap()).collect(),
            status: ImageStatus::Active,
            pushed_at: None,
            last_pulled_at: None,
            last_activated_at: None,
            manifest_media_type: manifest.map(str::to_owned),
            artifact_media_type: artifact.map(str::to_owned),
            subject: subject.then(|| "sha256:bb".parse().unwrap()),
        }
    }

    #[test]
    fn an_attestation_of_buildkit_has_statements_for_layers_and_nothing_else() {
        let statement = r#"{"mediaType": "application/vnd.in-toto+json", "digest": "sha256:aa", "size": 1}"#;
        let layer = r#"{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "sha256:bb", "size": 1}"#;
        for (layers, expected) in [
            (format!("[{statement}]"), true),
            (format!("[{statement}, {statement}]"), true),
            (format!("[{statement}, {layer}]"), false),
            (format!("[{layer}]"), false),
            ("[]".to_owned(), false),
        ] {
            assert_eq!(
                is_attestation_manifest(&format!(r#"{{"layers": {layers}}}"#)),
                expected,
                "{layers}"
            );
        }
        for other in ["", "[]", "{}", r#"{"manifests": []}"#, r#"{"layers": 7}"#] {
            assert!(!is_attestation_manifest(other), "{other}");
        }
    }

    #[test]
    fn an_index_leads_to_images_and_not_to_their_attestations() {
        let manifest = r#"{"schemaVersion": 2, "manifests": [
            {"digest": "sha256:01", "platform": {"os": "linux", "architecture": "amd64"}},
            {"digest": "sha256:02", "platform": {"os": "linux", "architecture": "arm", "variant": "v7"}},
            {"digest": "sha256:01", "platform": {"os": "linux", "architecture": "386"}},
            {"digest": "sha256:03"},
            {"digest": "sha256:04", "platform": {"os": "unknown", "architecture": "unknown"},
             "annotations": {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": "sha256:01"}},
            {"digest": "sha256:05", "platform": {"os": "linux", "architecture": "arm64"},
             "annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
            {"digest": "sha256:06", "platform": {"os": "unknown", "architecture": "unknown"}}]}"#;
        let found: Vec<_> = children(manifest)
            .unwrap()
            .into_iter()
            .map(|child| (child.digest.to_string(), child.platform))
            .collect();
        let expected = [
            ("sha256:01", Some("linux/amd64")),
            ("sha256:02", Some("linux/arm/v7")),
            ("sha256:03", None),
            // What a runtime would run is an image, whatever else it calls itself.
            ("sha256:05", Some("linux/arm64")),
            ("sha256:06", Some("unknown/unknown")),
        ];
        let expected = expected.map(|(digest, platform)| (digest.to_owned(), platform.map(str::to_owned)));
        assert_eq!(found, expected);

        assert_eq!(children(r#"{"manifests": []}"#), Some(vec![]));
        let many = format!(
            r#"{{"manifests": [{}]}}"#,
            (0..=MAX_CHILDREN)
                .map(|n| format!(r#"{{"digest": "sha256:{n:02x}"}}"#))
                .collect::<Vec<_>>()
                .join(",")
        );
        for odd in [
            "",
            "[]",
            "{}",
            r#"{"layers": []}"#,
            r#"{"manifests": [{"digest": "?"}]}"#,
            &many,
        ] {
            assert_eq!(children(odd), None, "{odd}");
        }
    }

    #[test]
    fn kinds() {
        let manifest = Some("application/vnd.oci.image.manifest.v1+json");
        let index = Some("application/vnd.oci.image.index.v1+json");
        let config = Some("application/vnd.oci.image.config.v1+json");
        let bundle = Some("application/vnd.dev.sigstore.bundle.v0.3+json");
        let signature = format!("sha256-{}.sig", "a".repeat(64));
        let signature = signature.as_str();
        for (entry, kind, why) in [
            (
                image(manifest, config, false, &["v1"]),
                ImageKind::Image,
                "an ordinary image",
            ),
            (
                image(None, None, false, &[]),
                ImageKind::Image,
                "nothing known: judged as an image",
            ),
            (image(index, None, false, &["v1"]), ImageKind::Index, "an index"),
            (
                image(index, None, false, &[signature]),
                ImageKind::Referrer,
                "a list of referrers",
            ),
            (
                image(manifest, bundle, true, &[]),
                ImageKind::Referrer,
                "an attestation",
            ),
            (
                image(manifest, None, true, &[]),
                ImageKind::Referrer,
                "a referrer without a known type",
            ),
            (
                image(manifest, config, true, &["v1"]),
                ImageKind::Image,
                "a runnable image does not escape by a subject",
            ),
            (
                image(manifest, None, false, &[signature]),
                ImageKind::Referrer,
                "a legacy signature",
            ),
            (
                image(manifest, config, false, &[signature]),
                ImageKind::Referrer,
                "cosign's own configuration type",
            ),
            (
                image(manifest, bundle, false, &[signature, "v1"]),
                ImageKind::Image,
                "such a tag beside another does not hide an image",
            ),
            (
                image(
                    manifest,
                    Some("application/vnd.cncf.helm.config.v1+json"),
                    false,
                    &["1.0.0"],
                ),
                ImageKind::Image,
                "a chart",
            ),
        ] {
            assert_eq!(entry.kind(), kind, "{why}");
        }
    }
}
