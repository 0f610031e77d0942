"""Pushes small real images to the registry: configuration, layer, manifest, as a container tool does."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
IN_TOTO = "application/vnd.in-toto+json"
SIGSTORE_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


@dataclass(frozen=True)
class Image:
    """A pushed manifest."""

    repository: str
    digest: str
    tag: str | None
    media_type: str
    artifact_type: str
    manifest: str

    @property
    def descriptor(self) -> dict[str, Any]:
        """How other manifests refer to it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": len(self.manifest.encode())}


def digest_of(content: bytes) -> str:
    """The digest of some bytes."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


class Pusher:
    """Pushes to one registry."""

    def __init__(self, ecr: Any):
        self.ecr = ecr

    def image(self, repository: str, tag: str | None, content: str, docker: bool = False, size: int | None = None) -> Image:
        """An image with one layer. The same content gives the same digest. ``size``: what the manifest says of the layer, in bytes."""
        config_type, layer_type, media_type = (
            (DOCKER_CONFIG, DOCKER_LAYER, DOCKER_MANIFEST) if docker else (OCI_CONFIG, OCI_LAYER, OCI_MANIFEST)
        )
        layer = self._blob(repository, f"layer of {content}".encode(), layer_type)
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"content": content}},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": self._blob(repository, canonical(config), config_type),
            "layers": [layer if size is None else layer | {"size": size}],
        }
        return self._put(repository, tag, manifest, media_type, config_type)

    def index(self, repository: str, tag: str, children: list[Image]) -> Image:
        """A multi-architecture image."""
        architectures = ({"architecture": architecture} for architecture in ("amd64", "arm64"))
        platforms = ({"platform": {"os": "linux"} | architecture} for architecture in architectures)
        return self.index_of(repository, tag, list(zip(children, platforms, strict=False)))

    def index_of(self, repository: str, tag: str, entries: list[tuple[Image, dict[str, Any]]]) -> Image:
        """An index of these entries, each with members in addition to its descriptor; the default platform is amd64."""
        platform = {"platform": {"os": "linux", "architecture": "amd64"}}
        manifests = [child.descriptor | platform | more for child, more in entries]
        manifest = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
        return self._put(repository, tag, manifest, OCI_INDEX, OCI_INDEX)

    def artifact(self, repository: str, tag: str | None, config_type: str) -> Image:
        """Entries that are no container image, by the type of their configuration: a Helm chart, a SOCI index."""
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self._blob(repository, f"configuration of {tag}".encode(), config_type),
            "layers": [self._blob(repository, f"content of {tag}".encode(), OCI_LAYER)],
        }
        return self._put(repository, tag, manifest, OCI_MANIFEST, config_type)

    def attestation(self, subject: Image) -> Image:
        """A referrer, such as a signature: untagged, an empty configuration and a ``subject``."""
        repository = subject.repository
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "artifactType": SIGSTORE_BUNDLE,
            "config": self._blob(repository, b"{}", OCI_EMPTY),
            "layers": [self._blob(repository, f"bundle for {subject.digest}".encode(), SIGSTORE_BUNDLE)],
            "subject": subject.descriptor,
        }
        return self._put(repository, None, manifest, OCI_MANIFEST, SIGSTORE_BUNDLE)

    def provenance(self, subject: Image) -> Image:
        """An attestation as BuildKit pushes it: untagged, with a container's configuration type and without a ``subject``."""
        repository = subject.repository
        config = {"architecture": "unknown", "os": "unknown", "rootfs": {"type": "layers", "diff_ids": []}}
        statement = f"statement about {subject.digest}".encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": self._blob(repository, canonical(config), OCI_CONFIG),
            "layers": [self._blob(repository, statement, IN_TOTO)],
        }
        return self._put(repository, None, manifest, OCI_MANIFEST, OCI_CONFIG)

    def again(self, image: Image) -> Image:
        """The same manifest under the same tag, as a re-run build does."""
        return self._put_manifest(image.repository, image.tag, image.manifest, image.media_type, image.artifact_type)

    def _put(self, repository: str, tag: str | None, manifest: dict[str, Any], media_type: str, artifact: str) -> Image:
        return self._put_manifest(repository, tag, canonical(manifest).decode(), media_type, artifact)

    def _put_manifest(self, repository: str, tag: str | None, manifest: str, media_type: str, artifact: str) -> Image:
        tagged = {"imageTag": tag} if tag else {}
        answer = self.ecr.put_image(
            repositoryName=repository, imageManifest=manifest, imageManifestMediaType=media_type, **tagged
        )
        digest = answer["image"]["imageId"]["imageDigest"]
        assert digest == digest_of(manifest.encode()), f"the registry answers with another digest: {digest}"
        return Image(repository, digest, tag, media_type, artifact, manifest)

    def _blob(self, repository: str, content: bytes, media_type: str) -> dict[str, Any]:
        digest = digest_of(content)
        upload = self.ecr.initiate_layer_upload(repositoryName=repository)["uploadId"]
        self.ecr.upload_layer_part(
            repositoryName=repository,
            uploadId=upload,
            partFirstByte=0,
            partLastByte=len(content) - 1,
            layerPartBlob=content,
        )
        self.ecr.complete_layer_upload(repositoryName=repository, uploadId=upload, layerDigests=[digest])
        return {"mediaType": media_type, "digest": digest, "size": len(content)}


def canonical(document: Any) -> bytes:
    """JSON without spaces, keys sorted: equal documents have equal digests."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
