//! An image as the registry describes it.

use std::collections::BTreeSet;

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

impl ImageStatus {
    /// Whether nobody can pull the image: it is in the archive, or on its way back.
    pub const fn is_in_archive(&self) -> bool {
        matches!(self, Self::Archived | Self::Activating)
    }
}

/// The kind of an entry of the registry, as far as the registry's description says it. Only its manifest decides: see
/// [`Content`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageKind {
    /// A single-platform image, as scanners scan it; or an attestation with the type of one.
    Image,
    /// A manifest list or OCI image index: it references other manifests, and is never scanned itself.
    Index,
    /// Something else, by what the registry says of its type: a signature, an SBOM, a Helm chart, a cache.
    Artifact,
}

/// The content of a manifest. A digest stands for one manifest, so this never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A container image: its configuration is one's.
    Image,
    /// Nothing that a container runtime runs; the media type that says so. Data from outside.
    Artifact(String),
    /// Neither can be read in it. It is evaluated as an image.
    Unknown,
}

/// One image, with what is true of it now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// Its digest.
    pub digest: Digest,
    /// All its tags. Removing the last one makes ECR delete the image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Tag>,
    /// Whether it can be pulled.
    pub status: ImageStatus,
    /// When it was pushed (`imagePushedAt`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_at: Option<Timestamp>,
    /// When it was last pulled (`lastRecordedPullTime`), give or take 24 hours; `None` is "never, or not recorded".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_pulled_at: Option<Timestamp>,
    /// When it last came back from the archive (`lastActivatedAt`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_activated_at: Option<Timestamp>,
    /// `imageManifestMediaType`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest_media_type: Option<String>,
    /// `artifactMediaType`: the media type of its configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_media_type: Option<String>,
    /// The image that this entry refers to (`subjectManifestDigest`), if it is a referrer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Digest>,
}

/// An image in the registry's list of a repository, with the further members of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedImage {
    /// The image.
    pub image: Image,
    /// `imageSizeInBytes`: the sum of its compressed layers; of an index, the largest of its images.
    pub bytes: u64,
    /// The status of its scan, in ECR's words, where the list has it: the basic scanner of today does not fill it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scan_status: Option<String>,
    /// When its last scan was completed, where the list has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanned_at: Option<Timestamp>,
}

/// How an image came to be pullable, as far as an event says it. Events do not name the person or role.
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
    /// Through a pull through cache, from an upstream registry, with the tag that was asked for.
    PulledThrough(Option<Tag>),
    /// A return from the archive.
    Restored,
    /// A copy from another region.
    Replicated(Region),
}

/// A child of an index, for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// Its digest.
    pub digest: Digest,
    /// Its platform, such as `linux/arm64/v8`, from the index. Data from outside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
}

/// The most entries of an index that a row remembers: 110 KB of the 400 KB that an item of the ledger may have. A manifest has
/// at most 4 MB (ECR), which is some ten thousand entries; official images have about ten.
pub const MAX_CHILDREN: usize = 1000;

/// The entries of an index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
    /// Those that may be images, at most [`MAX_CHILDREN`].
    pub children: Vec<Child>,
    /// How many more there are. Nothing is known of them.
    pub more: u64,
}

/// The entries that the manifest of an index references; `None`: it is not the manifest of an index.
///
/// An `artifactType` here says nothing about the kind of an entry: SOCI gives its own the platform of an image, and the author
/// of an index could give one to an image. The manifest of each entry says it. The type only decides which to read first:
/// entries without one, or with a container's configuration for one, in the order of the index, and then the others. So the
/// entries that most likely decide are read first, and none is left out.
///
/// An attestation that BuildKit lists next to the images is left out: it is for the platform `unknown/unknown`, which no
/// container runtime asks for, and an annotation names its kind. Source: BuildKit's documentation, "Image attestation storage";
/// for the rest, the OCI image index specification.
pub fn children(manifest: &str) -> Option<Listed> {
    #[derive(Deserialize)]
    struct Index {
        manifests: Option<Vec<serde_json::Value>>,
    }
    #[derive(Deserialize)]
    struct Platform {
        os: String,
        architecture: String,
        variant: Option<String>,
    }
    // Without the member it is another kind of manifest; with `null`, an index of nothing.
    let is_index = |manifest: &serde_json::Value| manifest.get("manifests").is_some();
    let manifest: serde_json::Value = serde_json::from_str(manifest).ok().filter(is_index)?;
    let index = Index::deserialize(manifest).ok()?;
    let says_other = |entry: &serde_json::Value| {
        let says = entry.get("artifactType").and_then(|says| says.as_str());
        says.is_some_and(|says| !says.is_empty() && !is_container_config(says))
    };
    let mut entries = index.manifests.unwrap_or_default();
    entries.sort_by_key(says_other);
    let mut listed = Listed::default();
    let mut known = BTreeSet::new();
    for entry in entries {
        let digest = entry
            .get("digest")
            .and_then(|digest| digest.as_str()?.parse::<Digest>().ok());
        let says = entry.pointer("/annotations/vnd.docker.reference.type");
        let platform = entry
            .get("platform")
            .and_then(|platform| Platform::deserialize(platform).ok());
        let nowhere = |platform: &Platform| platform.os == "unknown" && platform.architecture == "unknown";
        if platform.as_ref().is_some_and(nowhere) && says.and_then(|says| says.as_str()) == Some("attestation-manifest")
        {
            continue;
        }
        let platform = platform.map(|platform| {
            let variant = platform.variant.map_or(String::new(), |variant| format!("/{variant}"));
            format!("{}/{}{variant}", platform.os, platform.architecture)
        });
        match digest {
            Some(digest) if !known.insert(digest.clone()) => {}
            Some(digest) if listed.children.len() < MAX_CHILDREN => listed.children.push(Child {
                digest,
                platform: platform.filter(|platform| platform.len() <= MAX_PLATFORM),
            }),
            // Too many, or one that cannot be read: it does not hide the others.
            Some(_) | None => listed.more += 1,
        }
    }
    Some(listed)
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

/// Whether a manifest of this media type lists others; one whose type is not said may.
pub fn leads_to_others(media_type: Option<&str>) -> bool {
    media_type.is_none_or(|media_type| INDEX_MEDIA_TYPES.contains(&media_type))
}

impl Image {
    /// The kind by the registry's description.
    ///
    /// A container's configuration makes an image, whatever its tags and its `subject` say: the pusher chooses those. ECR does
    /// not document its `artifactMediaType` for a manifest that has an `artifactType` in addition to a container's
    /// configuration. So no other type makes an image something else before its manifest is read.
    pub fn kind(&self) -> ImageKind {
        let index = |media_type: &str| INDEX_MEDIA_TYPES.contains(&media_type);
        if self.manifest_media_type.as_deref().is_some_and(index) {
            return ImageKind::Index;
        }
        match self.artifact_media_type.as_deref() {
            Some(media_type) if is_container_config(media_type) => ImageKind::Image,
            Some(_) => ImageKind::Artifact,
            None if self.subject.is_some() => ImageKind::Artifact,
            None => ImageKind::Image,
        }
    }

    /// Whether people may deploy it by a tag: it has one, and not only such as cosign gives to what it attaches to an image.
    pub fn has_ordinary_tag(&self) -> bool {
        self.tags.iter().any(|tag| !names_a_subject(tag))
    }

    /// Whether it belongs to another entry by all that is said of it, and is no image: an attestation, a signature, an SBOM.
    pub fn belongs_to_another(&self) -> bool {
        let by_tag = !self.tags.is_empty() && !self.has_ordinary_tag();
        let container = self.artifact_media_type.as_deref().is_some_and(is_container_config);
        !container && (by_tag || (self.kind() == ImageKind::Artifact && self.subject.is_some()))
    }

    /// When this copy of the image became pullable: its push, or its return from the archive if that was later.
    pub fn available_since(&self) -> Option<Timestamp> {
        self.pushed_at.max(self.last_activated_at)
    }
}

fn is_container_config(media_type: &str) -> bool {
    CONTAINER_CONFIG_MEDIA_TYPES.contains(&media_type)
}

/// Media types of layers that no container runtime unpacks, in manifests with the configuration type of a container: BuildKit's
/// attestations, and what cosign attaches to an image. Sources: BuildKit's documentation, "Image attestation storage"; cosign's
/// specifications of signatures, attestations and SBOMs.
const STATEMENT_MEDIA_TYPES: [&str; 8] = [
    "application/vnd.in-toto+json",
    "application/vnd.dsse.envelope.v1+json",
    "application/vnd.dev.cosign.simplesigning.v1+json",
    "application/vnd.cyclonedx+json",
    "application/vnd.cyclonedx+xml",
    "application/vnd.syft+json",
    "text/spdx",
    "text/spdx+json",
];

/// The media type of a configuration that says nothing (OCI image specification, "Guidance for an empty descriptor").
const EMPTY_CONFIG: &str = "application/vnd.oci.empty.v1+json";

/// No real media type is longer: RFC 6838 allows 127 characters for each of its halves.
const MAX_MEDIA_TYPE: usize = 255;

/// The content of a manifest: by the type of its configuration, and not by its `artifactType` or its `subject`.
///
/// One thing has the configuration of a container and is none: a manifest that has nothing but statements for layers. Nobody can run
/// it.
pub fn content(manifest: &str) -> Content {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Manifest {
        config: Descriptor,
        // An odd member here does not hide the type of the configuration.
        #[serde(default)]
        layers: serde_json::Value,
        #[serde(default)]
        artifact_type: serde_json::Value,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Descriptor {
        media_type: String,
    }
    let Ok(manifest) = serde_json::from_str::<Manifest>(manifest) else {
        return Content::Unknown;
    };
    let cut = |media_type: &str| media_type.chars().take(MAX_MEDIA_TYPE).collect();
    let config = manifest.config.media_type;
    if !is_container_config(&config) {
        let says = manifest.artifact_type.as_str().filter(|_| config == EMPTY_CONFIG);
        return Content::Artifact(cut(says.unwrap_or(&config)));
    }
    let layers = manifest.layers.as_array().map_or(&[][..], Vec::as_slice);
    let statements: Option<Vec<&str>> = layers
        .iter()
        .map(|layer| {
            layer
                .get("mediaType")?
                .as_str()
                .filter(|says| STATEMENT_MEDIA_TYPES.contains(says))
        })
        .collect();
    match statements.as_deref() {
        Some([statement, ..]) => Content::Artifact(cut(statement)),
        Some([]) | None => Content::Image,
    }
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
    fn the_configuration_of_a_manifest_says_what_it_is() {
        let container = r#""config": {"mediaType": "application/vnd.oci.image.config.v1+json"}"#;
        let docker = r#""config": {"mediaType": "application/vnd.docker.container.image.v1+json"}"#;
        let empty = r#""config": {"mediaType": "application/vnd.oci.empty.v1+json"}"#;
        let layer = r#"{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": "sha256:bb", "size": 1}"#;
        let statement =
            |media_type: &str| format!(r#"{{"mediaType": "{media_type}", "digest": "sha256:aa", "size": 1}}"#);
        let in_toto = statement("application/vnd.in-toto+json");
        let artifact = |media_type: &str| Content::Artifact(media_type.to_owned());
        let mut cases = vec![
            (
                format!(r#"{container}, "layers": [{layer}]"#),
                Content::Image,
                "an image",
            ),
            (
                format!(r#"{docker}, "layers": [{layer}]"#),
                Content::Image,
                "one of Docker",
            ),
            (
                format!(r#"{container}, "artifactType": "application/vnd.acme", "subject": {{"digest": "sha256:aa"}}"#),
                Content::Image,
                "whatever else it says",
            ),
            (
                format!(r#"{container}, "layers": [{in_toto}, {layer}]"#),
                Content::Image,
                "something in it can be run",
            ),
            (
                format!(r#"{container}, "layers": []"#),
                Content::Image,
                "no layers say nothing",
            ),
            (
                format!(r#"{container}, "layers": null"#),
                Content::Image,
                "no layers say nothing",
            ),
            (
                format!(r#"{container}, "layers": [7]"#),
                Content::Image,
                "odd layers say nothing",
            ),
            (
                format!(r#"{container}, "layers": [{in_toto}, {in_toto}]"#),
                artifact("application/vnd.in-toto+json"),
                "an attestation of BuildKit",
            ),
            (
                format!(r#"{empty}, "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json""#),
                artifact("application/vnd.dev.sigstore.bundle.v0.3+json"),
                "a signature",
            ),
            (
                empty.to_owned(),
                artifact("application/vnd.oci.empty.v1+json"),
                "of no type",
            ),
            (
                format!(r#"{empty}, "artifactType": 7"#),
                artifact("application/vnd.oci.empty.v1+json"),
                "of an odd type",
            ),
            (
                r#""config": {"digest": "sha256:aa"}"#.to_owned(),
                Content::Unknown,
                "of no known type",
            ),
            (
                r#""layers": []"#.to_owned(),
                Content::Unknown,
                "without a configuration",
            ),
        ];
        for config in [
            "application/vnd.amazon.soci.index.v2+json",
            "application/vnd.cncf.helm.config.v1+json",
            "application/vnd.buildkit.cacheconfig.v0",
            "application/vnd.wasm.config.v0+json",
            "application/vnd.cncf.flux.config.v1+json",
        ] {
            let manifest =
                format!(r#""artifactType": "a/b", "config": {{"mediaType": "{config}"}}, "layers": [{layer}]"#);
            cases.push((manifest, artifact(config), "its configuration is no container's"));
        }
        for layer in [
            "application/vnd.dev.cosign.simplesigning.v1+json",
            "application/vnd.dsse.envelope.v1+json",
            "text/spdx+json",
        ] {
            let manifest = format!(r#"{container}, "layers": [{}]"#, statement(layer));
            cases.push((manifest, artifact(layer), "what cosign attaches"));
        }
        for (members, expected, why) in cases {
            assert_eq!(content(&format!("{{{members}}}")), expected, "{why}: {members}");
        }
        for other in ["", "[]", "{}", "null", r#"{"config": 7}"#] {
            assert_eq!(content(other), Content::Unknown, "{other}");
        }
        let long = format!(r#"{{"config": {{"mediaType": "{}"}}}}"#, "x".repeat(10_000));
        assert_eq!(content(&long), artifact(&"x".repeat(MAX_MEDIA_TYPE)));
    }

    #[test]
    fn an_index_references_images_and_not_their_attestations() {
        let manifest = r#"{"schemaVersion": 2, "manifests": [
            {"digest": "sha256:01", "platform": {"os": "linux", "architecture": "amd64"}},
            {"digest": "sha256:02", "platform": {"os": "linux", "architecture": "arm", "variant": "v7"}},
            {"digest": "sha256:01", "platform": {"os": "linux", "architecture": "386"}},
            {"digest": "sha256:03"},
            {"digest": "sha256:04", "platform": {"os": "unknown", "architecture": "unknown"},
             "annotations": {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": "sha256:01"}},
            {"digest": "sha256:05", "platform": {"os": "linux", "architecture": "arm64"},
             "annotations": {"vnd.docker.reference.type": "attestation-manifest"}},
            {"digest": "sha256:06", "platform": {"os": "unknown", "architecture": "unknown"}},
            {"digest": "sha256:07", "platform": {"os": "linux", "architecture": "amd64"},
             "artifactType": "application/vnd.amazon.soci.index.v2+json"},
            {"digest": "sha256:08", "platform": {"os": "linux"}, "annotations": null}, {"digest": "?"}, 7]}"#;
        let listed = children(manifest).unwrap();
        assert_eq!(listed.more, 2, "what cannot be read does not hide the others");
        let found: Vec<_> = listed
            .children
            .into_iter()
            .map(|child| (child.digest.to_string(), child.platform))
            .collect();
        let expected = [
            ("sha256:01", Some("linux/amd64")),
            ("sha256:02", Some("linux/arm/v7")),
            ("sha256:03", None),
            // An entry that a runtime would run is an image, whatever other type it has.
            ("sha256:05", Some("linux/arm64")),
            ("sha256:06", Some("unknown/unknown")),
            ("sha256:08", None),
            // Its own manifest says its kind. It is read after the others.
            ("sha256:07", Some("linux/amd64")),
        ];
        let expected = expected.map(|(digest, platform)| (digest.to_owned(), platform.map(str::to_owned)));
        assert_eq!(found, expected);

        let typed =
            |says: &str| format!(r#"{{"digest": "sha256:01", "artifactType": {says}}}, {{"digest": "sha256:02"}}"#);
        for (says, first) in [
            (r#""application/vnd.amazon.soci.index.v2+json""#, "sha256:02"),
            // Here the type says nothing about the kind.
            (r#""application/vnd.oci.image.config.v1+json""#, "sha256:01"),
            (r#""""#, "sha256:01"),
            ("null", "sha256:01"),
            ("7", "sha256:01"),
        ] {
            let listed = children(&format!(r#"{{"manifests": [{}]}}"#, typed(says))).unwrap();
            assert_eq!(
                (listed.children[0].digest.as_str(), listed.children.len()),
                (first, 2),
                "{says}"
            );
        }
        // No image is left out for what is none.
        let mut many: Vec<String> = (0..MAX_CHILDREN)
            .map(|n| format!(r#"{{"digest": "sha256:{n:04}a", "artifactType": "a/b"}}"#))
            .collect();
        many.push(r#"{"digest": "sha256:ff"}"#.to_owned());
        let listed = children(&format!(r#"{{"manifests": [{}]}}"#, many.join(","))).unwrap();
        assert_eq!((listed.children[0].digest.as_str(), listed.more), ("sha256:ff", 1));

        for nothing in [r#"{"manifests": []}"#, r#"{"manifests": null}"#] {
            assert_eq!(children(nothing), Some(Listed::default()), "{nothing}");
        }
        let entries = |number: usize| {
            let entries: Vec<_> = (0..number)
                .map(|n| format!(r#"{{"digest": "sha256:{n:02x}"}}"#))
                .collect();
            children(&format!(r#"{{"manifests": [{}]}}"#, entries.join(","))).unwrap()
        };
        for (number, more) in [(51, 0), (MAX_CHILDREN, 0), (MAX_CHILDREN + 3, 3)] {
            let listed = entries(number);
            assert_eq!(
                (listed.children.len() as u64 + listed.more, listed.more),
                (number as u64, more)
            );
        }
        for odd in ["", "[]", "{}", r#"{"layers": []}"#, r#"{"manifests": 7}"#] {
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
                ImageKind::Index,
                "a list of referrers, or an index under such a tag: what it leads to says it",
            ),
            (
                image(manifest, bundle, true, &[]),
                ImageKind::Artifact,
                "an attestation",
            ),
            (
                image(manifest, None, true, &[]),
                ImageKind::Artifact,
                "a referrer without a known type",
            ),
            (
                image(manifest, config, true, &["v1"]),
                ImageKind::Image,
                "a runnable image does not escape by a subject",
            ),
            (
                image(manifest, config, false, &[signature]),
                ImageKind::Image,
                "nor by a tag that looks like a signature's",
            ),
            (
                image(manifest, bundle, false, &[signature, "v1"]),
                ImageKind::Artifact,
                "by its type, whatever its tags are",
            ),
            (
                image(
                    manifest,
                    Some("application/vnd.cncf.helm.config.v1+json"),
                    false,
                    &["1.0.0"],
                ),
                ImageKind::Artifact,
                "a chart",
            ),
        ] {
            assert_eq!(entry.kind(), kind, "{why}");
        }
    }

    #[test]
    fn what_belongs_to_another_says_so_and_is_no_container() {
        let manifest = Some("application/vnd.oci.image.manifest.v1+json");
        let config = Some("application/vnd.oci.image.config.v1+json");
        let bundle = Some("application/vnd.dev.sigstore.bundle.v0.3+json");
        let signature = format!("sha256-{}.sig", "a".repeat(64));
        let signature = signature.as_str();
        for (entry, expected) in [
            (image(manifest, bundle, true, &[]), true),
            (image(manifest, bundle, false, &[signature]), true),
            (
                image(
                    Some("application/vnd.oci.image.index.v1+json"),
                    None,
                    false,
                    &[signature],
                ),
                true,
            ),
            (image(manifest, bundle, false, &["1.0.0"]), false),
            (image(manifest, bundle, false, &[signature, "v1"]), false),
            (image(manifest, config, true, &[]), false),
            (image(manifest, config, false, &[signature]), false),
            (image(manifest, config, false, &[]), false),
        ] {
            assert_eq!(entry.belongs_to_another(), expected, "{entry:?}");
        }
    }
}
