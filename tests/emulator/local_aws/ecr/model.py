"""The state of an image in the registry. Plain data; the rules are in ``operations``."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

ACTIVE, ARCHIVED, ACTIVATING = "ACTIVE", "ARCHIVED", "ACTIVATING"

INDEX_MEDIA_TYPES = frozenset(
    {
        "application/vnd.oci.image.index.v1+json",
        "application/vnd.docker.distribution.manifest.list.v2+json",
    }
)
IMAGE_CONFIG_MEDIA_TYPES = frozenset(
    {
        "application/vnd.oci.image.config.v1+json",
        "application/vnd.docker.container.image.v1+json",
    }
)
EMPTY_CONFIG_MEDIA_TYPE = "application/vnd.oci.empty.v1+json"


def sha256(content: bytes) -> str:
    """The digest of some bytes, as registries write it."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclass
class Scan:
    """The result of a scan, basic (``findings``), enhanced (``enhanced_findings``) or with both lists, as the answer shows it."""

    status: str
    description: str = ""
    findings: list[dict[str, Any]] | None = None
    enhanced_findings: list[dict[str, Any]] | None = None
    completed_at: float | None = None
    # The scanner's count, where that differs from its list.
    counts: dict[str, int] | None = None
    # Members of ``imageScanFindings`` that the answer does not have, and such that are ``null`` in it.
    without: tuple[str, ...] = ()
    nulls: tuple[str, ...] = ()
    # Members that are shown from a later time on.
    later: tuple[tuple[float, Scan], ...] = ()

    @property
    def has_result(self) -> bool:
        """Whether the answer has ``imageScanFindings``."""
        return self.findings is not None or self.enhanced_findings is not None or bool(self.nulls)

    def is_of(self, enhanced: bool) -> bool:
        """Whether this is a result of enhanced scanning, or of basic scanning. A result without findings may be of either."""
        if self.findings is None and self.enhanced_findings is None:
            return True
        return (self.enhanced_findings is not None) == enhanced

    def at(self, now: float) -> Scan:
        """The members that are shown by now."""
        shown = [scan for since, scan in self.later if since <= now]
        return shown[-1] if shown else self

    def severity_counts(self) -> dict[str, int]:
        """How many findings there are of each severity; severities without findings are absent."""
        if self.counts is not None:
            return self.counts
        counts: dict[str, int] = {}
        for finding in (self.findings or []) + (self.enhanced_findings or []):
            severity = finding.get("severity", "UNDEFINED")
            counts[severity] = counts.get(severity, 0) + 1
        return counts


@dataclass
class StoredImage:
    """One manifest in a repository, with its tags, storage class, scan and replicas."""

    digest: str
    manifest: str
    media_type: str
    pushed_at: float
    tags: list[str] = field(default_factory=list)
    status: str = ACTIVE
    activating_until: float | None = None
    last_archived_at: float | None = None
    last_activated_at: float | None = None
    last_pulled_at: float | None = None
    scan: Scan | None = None
    scan_started_at: float | None = None
    # The status that is shown until a time, where changes show late.
    shown: tuple[str, float] | None = None
    replication: list[dict[str, Any]] = field(default_factory=list)

    @property
    def document(self) -> dict[str, Any]:
        """The manifest, parsed."""
        return json.loads(self.manifest)

    @property
    def is_index(self) -> bool:
        """Whether the manifest is a list of manifests."""
        return self.media_type in INDEX_MEDIA_TYPES or "manifests" in self.document

    @property
    def children(self) -> list[str]:
        """The digests that an index lists."""
        return [child["digest"] for child in self.document.get("manifests", [])]

    @property
    def subject(self) -> str | None:
        """The digest of the image that this one (a signature, an SBOM) is about."""
        subject = self.document.get("subject")
        return subject["digest"] if subject else None

    def artifact_media_type_as(self, artifact_type_first: bool) -> str | None:
        """The type of a stored manifest: that of its configuration, or the artifact type where the configuration is empty. The
        type with both is documented nowhere."""
        config = self.document.get("config", {}).get("mediaType")
        if config in (None, EMPTY_CONFIG_MEDIA_TYPE) or artifact_type_first:
            return self.document.get("artifactType", config)
        return config

    @property
    def artifact_media_type(self) -> str | None:
        """The same by the configuration."""
        return self.artifact_media_type_as(artifact_type_first=False)

    @property
    def scannable(self) -> bool:
        """Whether a basic scanner takes it: a single image, not an index and not another kind of artifact."""
        return not self.is_index and self.document.get("config", {}).get("mediaType") in IMAGE_CONFIG_MEDIA_TYPES

    @property
    def blobs(self) -> list[str]:
        """The digests of the configuration and of the layers."""
        document = self.document
        entries = [document["config"]] if "config" in document else []
        return [entry["digest"] for entry in entries + document.get("layers", [])]

    @property
    def own_size(self) -> int:
        """The bytes of the layers."""
        return sum(layer.get("size", 0) for layer in self.document.get("layers", []))

    def shown_status(self, now: float) -> str:
        """The status as lists and descriptions have it."""
        return self.shown[0] if self.shown is not None and now < self.shown[1] else self.status

    def finish_restore(self, now: float) -> None:
        """Finish a restore whose time has come."""
        if self.status == ACTIVATING and self.activating_until is not None and now >= self.activating_until:
            self.status, self.last_activated_at = ACTIVE, self.activating_until
            self.activating_until = None

    def archive(self, now: float) -> None:
        """Put the image into the archive: it keeps its tags and loses its scan."""
        self.status, self.last_archived_at, self.activating_until = ARCHIVED, now, None
        self.scan, self.scan_started_at = None, None

    def restore(self, now: float, seconds: float = 0.0) -> None:
        """Take the image out of the archive, at once or after some seconds."""
        self.status, self.activating_until = ACTIVATING, now + seconds
        self.scan, self.scan_started_at = None, None
        self.finish_restore(now)
