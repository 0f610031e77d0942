"""The events that AWS would send, as entries for ``PutEvents``.

The details have the members, names and quirks of AWS's own: push events name no resources, scan events list only
severities that occur, Inspector names the repository by ARN and counts zeros too. Only the source differs, because
``PutEvents`` refuses ``aws.*``.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from local_aws.images import Image
from local_aws.registry import ACCOUNT, REGION, SECOND_REGION

LOCAL_SOURCE = "ecr-guard.local"

Entry = dict[str, Any]


def push(image: Image) -> Entry:
    """An image was pushed."""
    return _image_action(image, "PUSH")


def delete(image: Image) -> Entry:
    """An image, or one of its tags, was deleted."""
    return _image_action(image, "DELETE")


def storage_class(image: Image, target: str) -> Entry:
    """An image was archived (``ARCHIVE``) or restored (``STANDARD``). These events name no tag."""
    detail = {
        "action-type": "UPDATE_STORAGE_CLASS",
        "target-storage-class": target,
        "image-digest": image.digest,
        "repository-name": image.repository,
        "result": "SUCCESS",
        "manifest-media-type": image.media_type,
        "artifact-media-type": image.artifact_type,
    }
    if target == "STANDARD":
        detail["last-activated-at"] = _now()
    return entry("ECR Image Action", [], detail)


def scan(image: Image, status: str, counts: dict[str, int] | None = None) -> Entry:
    """A basic scan has ended: ``COMPLETE`` with counts, or ``FAILED`` without."""
    detail: dict[str, Any] = {
        "scan-status": status,
        "repository-name": image.repository,
        "image-digest": image.digest,
        "image-tags": [image.tag] if image.tag else [],
    }
    if counts is not None:
        detail["finding-severity-counts"] = counts
    return entry("ECR Image Scan", [repository_arn(image.repository)], detail)


def inspector_scan(image: Image, counts: dict[str, int]) -> Entry:
    """The first enhanced scan of an image has ended. The total may count more than what is listed."""
    arn = repository_arn(image.repository)
    listed = {"CRITICAL": 0, "HIGH": 0, "MEDIUM": 0} | counts
    detail = {
        "scan-status": "INITIAL_SCAN_COMPLETE",
        "repository-name": arn,
        "finding-severity-counts": listed | {"TOTAL": sum(listed.values())},
        "image-digest": image.digest,
        "image-tags": [image.tag] if image.tag else [],
        "version": "1.0",
    }
    return entry("Inspector2 Scan", [arn], detail)


def inspector_finding(image: Image, name: str, epss: float | None, status: str = "ACTIVE") -> Entry:
    """Inspector has found something in an image, or what it says of it has changed."""
    arn = f"{repository_arn(image.repository)}/{image.digest}"
    resource = {
        "id": arn,
        "type": "AWS_ECR_CONTAINER_IMAGE",
        "region": REGION,
        "details": {
            "awsEcrContainerImage": {
                "imageHash": image.digest,
                "imageTags": [image.tag] if image.tag else [],
                "registry": ACCOUNT,
                "repositoryName": image.repository,
            }
        },
    }
    detail: dict[str, Any] = {
        "awsAccountId": ACCOUNT,
        "packageVulnerabilityDetails": {"vulnerabilityId": name},
        "resources": [resource],
        "severity": "MEDIUM",
        "status": status,
        "type": "PACKAGE_VULNERABILITY",
    }
    if epss is not None:
        detail["epss"] = {"score": epss}
    return entry("Inspector2 Finding", [arn], detail)


def replication(image: Image, result: str = "SUCCESS", source: str = REGION, to: str = SECOND_REGION) -> Entry:
    """An image and its tag were copied from one region to another, or could not be. It is emitted where they were copied to."""
    detail = {
        "result": result,
        "repository-name": image.repository,
        "image-digest": image.digest,
        "source-account": ACCOUNT,
        "action-type": "REPLICATE",
        "source-region": source,
        "image-tag": image.tag or "",
    }
    return entry("ECR Replication Action", [repository_arn(image.repository, to)], detail)


def pulled_through(image: Image) -> Entry:
    """A pull through cache has fetched an image (sample in the ECR user guide, "Amazon ECR events and EventBridge")."""
    detail = {
        "rule-version": "1",
        "sync-status": "SUCCESS",
        "ecr-repository-prefix": image.repository.split("/")[0],
        "repository-name": image.repository,
        "upstream-registry-url": "public.ecr.aws",
        "image-tag": image.tag,
        "image-digest": image.digest,
    }
    return entry("ECR Pull Through Cache Action", [repository_arn(image.repository)], detail)


def task(task: dict[str, Any]) -> Entry:
    """A task has changed its status: the detail is the task as ``DescribeTasks`` answers it (ECS developer guide, "Amazon ECS task state
    change events")."""
    return entry("ECS Task State Change", [task["taskArn"]], task)


def entry(detail_type: str, resources: list[str], detail: dict[str, Any]) -> Entry:
    """One entry of a ``PutEvents`` request."""
    return {"Source": LOCAL_SOURCE, "DetailType": detail_type, "Resources": resources, "Detail": json.dumps(detail)}


def delivered(source: str, event: Entry, region: str = REGION) -> dict[str, Any]:
    """The event as a target receives it, for instance to invoke a function directly."""
    return {
        "version": "0",
        "id": "4f5ec4d5-4de4-7aad-a046-56d5cfe1df0e",
        "detail-type": event["DetailType"],
        "source": source,
        "account": ACCOUNT,
        "time": _now(),
        "region": region,
        "resources": event["Resources"],
        "detail": json.loads(event["Detail"]),
    }


def repository_arn(repository: str, region: str = REGION) -> str:
    """The ARN of a repository."""
    return f"arn:aws:ecr:{region}:{ACCOUNT}:repository/{repository}"


def _image_action(image: Image, action: str) -> Entry:
    detail = {
        "result": "SUCCESS",
        "repository-name": image.repository,
        "image-digest": image.digest,
        "action-type": action,
        "manifest-media-type": image.media_type,
        "artifact-media-type": image.artifact_type,
    }
    if image.tag:
        detail["image-tag"] = image.tag
    return entry("ECR Image Action", [], detail)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
