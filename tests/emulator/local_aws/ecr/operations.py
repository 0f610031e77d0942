"""The ECR operations on images, scans, referrers, replicas and lifecycle previews, and the lists and settings of a registry.

One method per operation: the request comes in and the response goes out as the service model has them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from moto.ecr.models import ECRBackend, Repository

from local_aws.ecr import lifecycle
from local_aws.ecr.errors import EcrError
from local_aws.ecr.model import ACTIVE, ARCHIVED, Scan, StoredImage, sha256
from local_aws.ecr.pages import page
from local_aws.ecr.readings import Readings
from local_aws.ecr.replication import Replication

Request = dict[str, Any]
Response = dict[str, Any]

DAY = 86_400


@dataclass
class Preview:
    """The effect of a lifecycle policy, and how many reads still say that the preview is in progress."""

    text: str
    actions: list[lifecycle.Action]
    looks: int


class ImageOperations:
    """The operations of one registry (an account in a region). Repositories and layers stay moto's."""

    # The behaviour of every registry of this server by default.
    first_readings = Readings()

    def __init__(self, backend: ECRBackend, now: Callable[[], float] = time.time):
        self.backend = backend
        self.now = now
        self.replication = Replication(self)
        self.readings = self.first_readings
        self.signing_configuration: dict[str, Any] | None = None
        self.previews: dict[str, Preview] = {}

    # The registry: lists and settings

    def describe_repositories(self, request: Request) -> Response:
        """All repositories, in pages, or those that are named."""
        named = request.get("repositoryNames")
        if named and (request.get("nextToken") or request.get("maxResults")):
            reason = "maxResults and nextToken cannot be used with repositoryNames"
            raise EcrError("InvalidParameterException", reason)
        found = self.backend.describe_repositories(repository_names=named, registry_id=request.get("registryId"))
        found = self.readings.ordered(found, lambda repository: str(repository.name))
        if named:
            return {"repositories": found}
        found, token = page(found, request, default=100, maximum=1000, of="DescribeRepositories")
        return {"repositories": found} | token

    def put_replication_configuration(self, request: Request) -> Response:
        """Takes replication rules. (moto's own takes one at most.) Images that were pushed before stay where they are."""
        self.replication.configure(request["replicationConfiguration"])
        return {"replicationConfiguration": request["replicationConfiguration"]}

    def put_signing_configuration(self, request: Request) -> Response:
        """Takes signing rules; nothing is signed."""
        self.signing_configuration = request["signingConfiguration"]
        return {"signingConfiguration": self.signing_configuration}

    def get_signing_configuration(self, request: Request) -> Response:
        """The signing rules."""
        if self.signing_configuration is None:
            raise EcrError("SigningConfigurationNotFoundException", "There is no signing configuration.")
        return {"registryId": self.backend.account_id, "signingConfiguration": self.signing_configuration}

    # Push, list, pull, delete

    def put_image(self, request: Request) -> Response:
        """A push. The same manifest and tag again restores an archived image, and is refused for an active one."""
        repository, tag = self._repository(request), request.get("imageTag")
        self._require_key(repository)
        manifest = request["imageManifest"]
        image = self._parse(repository, manifest, request.get("imageManifestMediaType"))
        if request.get("imageDigest", image.digest) != image.digest:
            raise EcrError("ImageDigestDoesNotMatchException", f"The manifest has digest {image.digest}")
        known = self._find(repository, digest=image.digest)
        if known is None:
            self._require_parts(repository, image)
            known = image
        elif known.status == ACTIVE and (tag is None or tag in known.tags):
            raise EcrError(
                "ImageAlreadyExistsException",
                f"Image with digest '{image.digest}' and tag '{tag}' already exists in the repository with name "
                f"'{repository.name}' in registry with id '{repository.registry_id}'",
            )
        if tag is not None and tag not in known.tags:
            self._take_tag(repository, tag)
            known.tags.append(tag)
        if known is image:
            repository.images.append(image)  # type: ignore[arg-type]
            self._scan_on_push(repository, image)
        elif known.status != ACTIVE:
            self._shows_late(known)
            known.restore(self.now())
            self._scan_on_push(repository, known)
        self.replication.pushed(repository, known, [tag] if tag else None)
        return {"image": self._image(repository, known, tag)}

    def batch_get_image(self, request: Request) -> Response:
        """A pull. An archived or restoring image is not found, whichever way it is named."""
        repository = self._repository(request)
        self._require_key(repository)
        images, failures = [], []
        for image_id in request["imageIds"]:
            image, failure = self._resolve(repository, image_id)
            if failure is None and image is not None and image.status != ACTIVE:
                failure = ("ImageNotFound", "Requested image not found")
            if failure is not None or image is None:
                code, reason = failure or ("ImageNotFound", "Requested image not found")
                failures.append({"imageId": image_id, "failureCode": code, "failureReason": reason})
            else:
                if self.readings.pulls == "all":
                    self.pulled(repository, image)
                images.append(self._image(repository, image, image_id.get("imageTag")))
        return {"images": self._mixed(images), "failures": self._mixed(failures)}

    def pulled(self, repository: Repository, image: StoredImage) -> None:
        """Records a pull. A container runtime takes an index first, and then the image for its platform."""
        led_to = image.is_index or any(image.digest in other.children for other in self._images(repository))
        recorded_for = "index" if image.is_index else "image"
        if not led_to or self.readings.pulled_of in (recorded_for, "both"):
            image.last_pulled_at = self.now()

    def move_tag(self, name: str, tag: str, digest: str) -> None:
        """A push of the tag for an image that is there, by somebody else."""
        repository = self._repository({"repositoryName": name})
        image = self._require(repository, {"imageDigest": digest})
        if tag not in image.tags:
            self._take_tag(repository, tag)
            image.tags.append(tag)

    def batch_delete_image(self, request: Request) -> Response:
        """By tag: the tag goes, and with the last tag the image. By digest: the image with all its tags."""
        repository = self._repository(request)
        deleted, failures = [], []
        for image_id in request["imageIds"]:
            image, failure = self._resolve(repository, image_id)
            if image is None or failure is not None:
                code, reason = failure or ("ImageNotFound", "Requested image not found")
                failures.append({"imageId": image_id, "failureCode": code, "failureReason": reason})
                continue
            tag = image_id.get("imageTag")
            if "imageDigest" in image_id and self.readings.digest_and_tag == "image":
                tag = None
            if tag is not None and len(image.tags) > 1:
                image.tags.remove(tag)
                deleted.append({"imageDigest": image.digest, "imageTag": tag})
                continue
            if any(image.digest in other.children for other in self._images(repository)):
                reason = "Requested image referenced by manifest list"
                failures.append(
                    {"imageId": image_id, "failureCode": "ImageReferencedByManifestList", "failureReason": reason}
                )
                continue
            repository.images.remove(image)  # type: ignore[arg-type]
            deleted += [{"imageDigest": image.digest, "imageTag": name} for name in image.tags] or [
                {"imageDigest": image.digest}
            ]
        return {"imageIds": self._mixed(deleted), "failures": self._mixed(failures)}

    def list_images(self, request: Request) -> Response:
        """Digests and tags, one entry per tag; active images only unless the filter says otherwise."""
        repository = self._repository(request)
        entries = [
            {"imageDigest": image.digest} | ({"imageTag": tag} if tag else {})
            for image in self._filtered(repository, request)
            for tag in self.readings.ordered(image.tags) or [""]
        ]
        entries, token = page(entries, request, default=100, maximum=1000, of=f"ListImages {repository.name}")
        return {"imageIds": entries} | token

    def describe_images(self, request: Request) -> Response:
        """Details; active images only unless the filter says otherwise, also for images that are named."""
        repository = self._repository(request)
        images = self._filtered(repository, request)
        token: dict[str, str] = {}
        if request.get("imageIds"):
            named = [self._require(repository, image_id) for image_id in request["imageIds"]]
            for image in named:
                if image not in images:
                    raise not_found(repository, {"imageDigest": image.digest})
            images = self.readings.ordered({image.digest: image for image in named}.values(), lambda image: image.digest)
        else:
            images, token = page(images, request, default=100, maximum=1000, of=f"DescribeImages {repository.name}")
        return {"imageDetails": [self._detail(repository, image) for image in images]} | token

    # Storage class

    def update_image_storage_class(self, request: Request) -> Response:
        """Archives an image, or restores it (at once, or after ``restore_seconds``). Repeating it changes nothing."""
        repository = self._repository(request)
        image = self._require(repository, request["imageId"])
        target = request["targetStorageClass"]
        if target == "ARCHIVE":
            if image.status != ARCHIVED:
                self._shows_late(image)
                image.archive(self.now())
        elif target == "STANDARD":
            if image.status == ARCHIVED:
                self._shows_late(image)
                image.restore(self.now(), self.readings.restore_seconds)
                self._scan_on_push(repository, image)
                self.replication.pushed(repository, image, image.tags)
        else:
            raise EcrError("InvalidParameterException", f"Unknown storage class '{target}'")
        return {
            "registryId": repository.registry_id,
            "repositoryName": repository.name,
            "imageId": {"imageDigest": image.digest},
            "imageStatus": image.status,
        }

    # Scans

    def start_image_scan(self, request: Request) -> Response:
        """Starts a basic scan: once per image and day, not for an archived image, not for an index."""
        repository = self._repository(request)
        image = self._require(repository, request["imageId"])
        if image.status == ARCHIVED:
            raise EcrError("ImageArchivedException", "The specified image is archived and cannot be scanned.")
        if self._enhanced():
            raise EcrError("ValidationException", "This feature is disabled")
        if not image.scannable:
            raise EcrError("UnsupportedImageTypeException", f"Scanning does not support '{image.media_type}'")
        if image.scan_started_at is not None and self.now() - image.scan_started_at < DAY:
            raise EcrError("LimitExceededException", "The scan quota per image has been exceeded. Wait and try again.")
        image.scan, image.scan_started_at = Scan("IN_PROGRESS"), self.now()
        return {
            "registryId": repository.registry_id,
            "repositoryName": repository.name,
            "imageId": {"imageDigest": image.digest},
            "imageScanStatus": {"status": "IN_PROGRESS"},
        }

    def describe_image_scan_findings(self, request: Request) -> Response:
        """The scan's status and a page of its findings."""
        repository = self._repository(request)
        image = self._require(repository, request["imageId"])
        response: Response = {
            "registryId": repository.registry_id,
            "repositoryName": repository.name,
            "imageId": {"imageDigest": image.digest} | _tag_of(image, request["imageId"]),
        }
        if image.status == ARCHIVED:
            return response | {"imageScanStatus": {"status": "IMAGE_ARCHIVED", "description": "The image is archived."}}
        scan = self._shown_scan(image)
        if scan is None:
            raise EcrError(
                "ScanNotFoundException",
                f"Image scan does not exist for the image with '{image.digest}' in the repository with name "
                f"'{repository.name}' in the registry with id '{repository.registry_id}'",
            )
        response["imageScanStatus"] = {"status": scan.status, "description": scan.description}
        if not scan.has_result:
            return response
        # Only one of the lists comes in pages; the other one is short where both are there.
        kind, everything = "findings", scan.findings
        result: dict[str, Any] = {}
        if scan.enhanced_findings is not None:
            kind, everything = "enhancedFindings", scan.enhanced_findings
            result = {} if scan.findings is None else {"findings": scan.findings}
        token: dict[str, str] = {}
        if everything is not None:
            everything = self.readings.ordered(everything, lambda finding: json.dumps(finding, sort_keys=True, default=str))
            of = f"findings of {image.digest}"
            result[kind], token = page(everything, request, default=100, maximum=1000, of=of)
        result |= {
            "findingSeverityCounts": scan.severity_counts(),
            "imageScanCompletedAt": scan.completed_at,
            "vulnerabilitySourceUpdatedAt": scan.completed_at,
        }
        response["imageScanFindings"] = {
            name: value for name, value in result.items() if value is not None and name not in scan.without
        }
        return response | token

    def nulls(self, request: Request) -> tuple[str, ...]:
        """The members of a scan's result that are ``null`` in the answer, which no service model can write."""
        repository = self._repository(request)
        image = self._require(repository, request["imageId"])
        scan = self._shown_scan(image)
        return () if scan is None or image.status == ARCHIVED else scan.nulls

    def batch_get_repository_scanning_configuration(self, request: Request) -> Response:
        """How repositories are scanned: by the registry's rules, or (basic scanning) by their own scan-on-push setting."""
        configurations, missing = self.backend.batch_get_repository_scanning_configuration(request["repositoryNames"])
        found = []
        for configuration in configurations:
            repository = self.backend._get_repository(configuration["repositoryName"])
            frequency = self._scan_frequency(repository)
            found.append(configuration | {"scanFrequency": frequency, "scanOnPush": frequency != "MANUAL"})
        code = "REPOSITORY_NOT_FOUND"
        failures = [{"repositoryName": name, "failureCode": code, "failureReason": code} for name in missing]
        return {"scanningConfigurations": self._mixed(found), "failures": self._mixed(failures)}

    # Referrers, replicas

    def list_image_referrers(self, request: Request) -> Response:
        """The signatures, attestations and SBOMs of a digest. An unknown subject has none."""
        repository = self._repository(request)
        subject = request["subjectId"]["imageDigest"]
        wanted = request.get("filter") or {}
        types, status = wanted.get("artifactTypes"), wanted.get("artifactStatus", ACTIVE)
        referrers = [
            {
                "digest": image.digest,
                "mediaType": image.media_type,
                "artifactType": image.artifact_media_type,
                "size": len(image.manifest.encode()),
                "annotations": image.document.get("annotations", {}),
                "artifactStatus": image.status,
            }
            for image in self._listed(repository)
            if image.subject == subject
            and status in (image.status, "ANY")
            and (not types or image.artifact_media_type in types)
        ]
        referrers, token = page(referrers, request, default=20, maximum=50, of=f"referrers of {subject}")
        return {"referrers": referrers} | token

    def describe_image_replication_status(self, request: Request) -> Response:
        """How the copies of an image stand, in the registry that it is copied from."""
        repository = self._repository(request)
        image = self._require(repository, request["imageId"])
        return {
            "repositoryName": repository.name,
            "imageId": {"imageDigest": image.digest} | _tag_of(image, request["imageId"]),
            "replicationStatuses": self._mixed(image.replication),
        }

    # Lifecycle

    def put_lifecycle_policy(self, request: Request) -> Response:
        """Stores a policy; its text has ECR's limits. (moto's own check does not know the newer rules.)"""
        repository, text = self._repository(request), request["lifecyclePolicyText"]
        _lifecycle_policy(text)
        repository.lifecycle_policy = text
        return {"registryId": repository.registry_id, "repositoryName": repository.name, "lifecyclePolicyText": text}

    def start_lifecycle_policy_preview(self, request: Request) -> Response:
        """Evaluates the given policy, or the repository's own. The result is there at once, or after ``preview_looks`` looks; until then
        no other one can be started (API reference, ``LifecyclePolicyPreviewInProgressException``)."""
        repository = self._repository(request)
        text = request.get("lifecyclePolicyText") or repository.lifecycle_policy
        if text is None:
            raise EcrError("LifecyclePolicyNotFoundException", "Lifecycle policy does not exist")
        known = self.previews.get(repository.name)
        if known is not None and known.looks > 0:
            reason = "The previous lifecycle policy preview request has not completed. Wait and try again."
            raise EcrError("LifecyclePolicyPreviewInProgressException", reason)
        actions = lifecycle.evaluate(_lifecycle_policy(text), self._images(repository), self.now())
        self.previews[repository.name] = Preview(text, actions, self.readings.preview_looks)
        return {
            "registryId": repository.registry_id,
            "repositoryName": repository.name,
            "lifecyclePolicyText": text,
            "status": "IN_PROGRESS",
        }

    def get_lifecycle_policy_preview(self, request: Request) -> Response:
        """The result of the last preview of a repository."""
        repository = self._repository(request)
        if repository.name not in self.previews:
            raise EcrError("LifecyclePolicyPreviewNotFoundException", "There is no dry run for this repository.")
        preview = self.previews[repository.name]
        if preview.looks > 0:
            preview.looks -= 1
            return {
                "registryId": repository.registry_id,
                "repositoryName": repository.name,
                "lifecyclePolicyText": preview.text,
                "status": "IN_PROGRESS",
            }
        text, actions = preview.text, preview.actions
        named = {image_id.get("imageDigest") for image_id in request.get("imageIds") or []}
        chosen = [action for action in actions if not named or action.image.digest in named]
        shown, token = page(chosen, request, default=100, maximum=100, of=f"preview of {repository.name}")
        transitions = [action for action in actions if action.kind == "TRANSITION"]
        return {
            "registryId": repository.registry_id,
            "repositoryName": repository.name,
            "lifecyclePolicyText": text,
            "status": "COMPLETE",
            "previewResults": [
                {
                    "imageDigest": action.image.digest,
                    "imageTags": action.image.tags,
                    "imagePushedAt": action.image.pushed_at,
                    "action": {"type": action.kind} | ({"targetStorageClass": action.target} if action.target else {}),
                    "appliedRulePriority": action.priority,
                    "storageClass": action.storage_class,
                }
                for action in shown
            ],
            "summary": {
                "expiringImageTotalCount": len(actions) - len(transitions),
                "transitioningImageTotalCounts": [
                    {"targetStorageClass": "ARCHIVE", "imageTotalCount": len(transitions)}
                ]
                if transitions
                else [],
            },
        } | token

    # Shared steps

    def _repository(self, request: Request) -> Repository:
        return self.backend._get_repository(request["repositoryName"], request.get("registryId"))

    def _images(self, repository: Repository) -> list[StoredImage]:
        images: list[StoredImage] = repository.images  # type: ignore[assignment]
        for image in images:
            image.finish_restore(self.now())
        return list(images)

    def _listed(self, repository: Repository) -> list[StoredImage]:
        return self.readings.ordered(self._images(repository), lambda image: image.digest)

    def _mixed(self, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return self.readings.ordered(entries, lambda entry: json.dumps(entry, sort_keys=True, default=str))

    def _shows_late(self, image: StoredImage) -> None:
        """Its status is about to change."""
        if self.readings.status_delay_seconds:
            until = self.now() + self.readings.status_delay_seconds
            image.shown = (image.shown_status(self.now()), until)

    def _require_key(self, repository: Repository) -> None:
        key = (repository.encryption_configuration or {}).get("kmsKey")
        if key in self.readings.deleted_keys:
            raise EcrError("KmsException", f"The operation failed due to a KMS exception: Key '{key}' does not exist")

    def _find(self, repository: Repository, digest: str | None = None, tag: str | None = None) -> StoredImage | None:
        for image in self._images(repository):
            if (digest is None or image.digest == digest) and (tag is None or tag in image.tags):
                return image
        return None

    def _resolve(
        self, repository: Repository, image_id: dict[str, str]
    ) -> tuple[StoredImage | None, tuple[str, str] | None]:
        """The image that is named, and why not: a failure code with its reason."""
        digest, tag = image_id.get("imageDigest"), image_id.get("imageTag")
        if digest is None and tag is None:
            reason = "Invalid request parameters: both tag and digest cannot be null"
            return None, ("MissingDigestAndTag", reason)
        image = self._find(repository, digest=digest, tag=tag)
        if image is None and digest is not None and tag is not None and self._find(repository, digest=digest):
            return None, ("ImageTagDoesNotMatchDigest", "Requested image tag does not match digest")
        return image, None

    def _require(self, repository: Repository, image_id: dict[str, str]) -> StoredImage:
        image, failure = self._resolve(repository, image_id)
        if failure is not None and failure[0] == "MissingDigestAndTag":
            raise EcrError("InvalidParameterException", failure[1])
        if image is None:
            raise not_found(repository, image_id)
        return image

    def _filtered(self, repository: Repository, request: Request) -> list[StoredImage]:
        wanted = request.get("filter") or {}
        status, tagged = wanted.get("imageStatus", ACTIVE), wanted.get("tagStatus", "ANY")
        return [
            image
            for image in self._listed(repository)
            if status in (image.shown_status(self.now()), "ANY") and tagged in ("ANY", "TAGGED" if image.tags else "UNTAGGED")
        ]

    def _parse(self, repository: Repository, manifest: str, media_type: str | None) -> StoredImage:
        try:
            document = json.loads(manifest)
        except json.JSONDecodeError as error:
            raise EcrError(
                "InvalidParameterException",
                "Invalid parameter at 'ImageManifest' failed to satisfy constraint: 'Invalid JSON syntax'",
            ) from error
        media_type = media_type or document.get("mediaType")
        if media_type is None:
            raise EcrError("InvalidParameterException", "The manifest has no media type")
        return StoredImage(sha256(manifest.encode()), manifest, media_type, pushed_at=self.now())

    def _require_parts(self, repository: Repository, image: StoredImage) -> None:
        missing = [digest for digest in image.blobs if digest not in repository.layers]
        if missing:
            raise EcrError("LayersNotFoundException", f"Layers with digests '{missing}' are required")
        absent = [digest for digest in image.children if self._find(repository, digest=digest) is None]
        if absent:
            raise EcrError("ReferencedImagesNotFoundException", f"Images with digests {absent} are required")

    def _take_tag(self, repository: Repository, tag: str) -> None:
        """Frees a tag for a push. The image that had it stays, perhaps untagged."""
        holder = self._find(repository, tag=tag)
        if holder is None:
            return
        excluded = any(
            fnmatchcase(tag, entry["filter"]) for entry in repository.image_tag_mutability_exclusion_filters or []
        )
        immutable = repository.is_tag_immutable() != excluded
        if immutable:
            raise EcrError(
                "ImageTagAlreadyExistsException",
                f"The image tag '{tag}' already exists in the '{repository.name}' repository and cannot be overwritten "
                "because the tag is immutable.",
            )
        holder.tags.remove(tag)

    def _enhanced(self) -> bool:
        return bool(self.backend.registry_scanning_configuration["scanType"] == "ENHANCED")

    def _scan_frequency(self, repository: Repository) -> str:
        by_rule = str(repository.scanning_config["scanFrequency"])
        settings: dict[str, bool] = repository.image_scanning_configuration  # type: ignore[assignment]
        scan_on_push = settings.get("scanOnPush", False) and not self._enhanced()
        return "SCAN_ON_PUSH" if by_rule == "MANUAL" and scan_on_push else by_rule

    def _scan_on_push(self, repository: Repository, image: StoredImage) -> None:
        if image.scannable and self._scan_frequency(repository) != "MANUAL":
            image.scan = Scan("PENDING" if self._enhanced() else "IN_PROGRESS")
            image.scan_started_at = self.now()

    def _size(self, repository: Repository, image: StoredImage) -> int:
        if not image.is_index:
            return image.own_size
        children = (self._find(repository, digest=digest) for digest in image.children)
        return max((child.own_size for child in children if child is not None), default=0)

    def _image(self, repository: Repository, image: StoredImage, tag: str | None) -> dict[str, Any]:
        return {
            "registryId": repository.registry_id,
            "repositoryName": repository.name,
            "imageId": {"imageDigest": image.digest} | ({"imageTag": tag} if tag else {}),
            "imageManifest": image.manifest,
            "imageManifestMediaType": image.media_type,
        }

    def _shown_scan(self, image: StoredImage) -> Scan | None:
        """The scan as it is shown by now, if it is."""
        scan = image.scan.at(self.now()) if image.scan is not None else None
        gone = scan is not None and self.readings.other_scans == "gone" and not scan.is_of(self._enhanced())
        return None if gone else scan

    def _scan_summary(self, image: StoredImage) -> dict[str, Any]:
        """The part of ``DescribeImages`` about a scan: none by ECR's own basic scanner, unless it is switched on."""
        scan = self._shown_scan(image)
        enhanced = scan is not None and scan.enhanced_findings is not None
        shown = self.readings.enhanced_summaries if enhanced else self.readings.scan_summaries
        if scan is None or not shown:
            return {}
        summary: dict[str, Any] = {"imageScanStatus": {"status": scan.status, "description": scan.description}}
        if scan.completed_at is not None:
            summary["imageScanFindingsSummary"] = {
                "imageScanCompletedAt": scan.completed_at,
                "vulnerabilitySourceUpdatedAt": scan.completed_at,
                "findingSeverityCounts": scan.severity_counts(),
            }
        return summary

    def _detail(self, repository: Repository, image: StoredImage) -> dict[str, Any]:
        detail = {
            "registryId": repository.registry_id,
            "repositoryName": repository.name,
            "imageDigest": image.digest,
            "imageTags": self.readings.ordered(image.tags) or None,
            "imageSizeInBytes": self._size(repository, image),
            "imagePushedAt": image.pushed_at,
            "imageManifestMediaType": image.media_type,
            "artifactMediaType": image.artifact_media_type_as(self.readings.artifact_type_first),
            "lastRecordedPullTime": image.last_pulled_at,
            "subjectManifestDigest": image.subject,
            "imageStatus": image.shown_status(self.now()),
            "lastArchivedAt": image.last_archived_at,
            "lastActivatedAt": image.last_activated_at,
        } | self._scan_summary(image)
        return {name: value for name, value in detail.items() if value is not None}


def not_found(repository: Repository, image_id: dict[str, str]) -> EcrError:
    """The error for an image that is not there."""
    digest, tag = image_id.get("imageDigest", "null"), image_id.get("imageTag", "null")
    return EcrError(
        "ImageNotFoundException",
        f"The image with imageId {{imageDigest:'{digest}', imageTag:'{tag}'}} does not exist within the repository with "
        f"name '{repository.name}' in the registry with id '{repository.registry_id}'",
    )


def _tag_of(image: StoredImage, image_id: dict[str, str]) -> dict[str, str]:
    tag = image_id.get("imageTag") or (image.tags[-1] if image.tags else None)
    return {"imageTag": tag} if tag else {}


def _lifecycle_policy(text: str) -> dict[str, Any]:
    refusal = "Invalid parameter at 'LifecyclePolicyText' failed to satisfy constraint: "
    if not 100 <= len(text) <= 30_720:
        raise EcrError("InvalidParameterException", refusal + "'length must be between 100 and 30720'")
    try:
        policy = json.loads(text)
        rules = policy["rules"]
        priorities = [rule["rulePriority"] for rule in rules]
        for rule in rules:
            rule["selection"]["tagStatus"], rule["selection"]["countType"], rule["selection"]["countNumber"]
            rule["action"]["type"]
    except (ValueError, KeyError, TypeError) as error:
        raise EcrError(
            "InvalidParameterException", refusal + f"'Lifecycle policy validation failure: {error}'"
        ) from error
    if len(set(priorities)) != len(priorities):
        raise EcrError("InvalidParameterException", refusal + "'rule priorities must be unique'")
    return policy
