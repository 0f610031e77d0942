"""Asks an ECR the cases of ``cases.json``, and compares what it answers with what the code rests on.

One script for the local ECR (``tests/emulator/tests/test_contract.py``) and for AWS (``aws.py``, ``make aws-contract``). The
world in memory plays the same cases (``shared/testkit/src/world/contract.rs``). ``README.md`` explains the words of the cases.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import tarfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

HERE = Path(__file__).resolve().parent
CASES = HERE / "cases.json"

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
SIGNATURE = "application/vnd.dev.sigstore.bundle.v0.3+json"
HELM_CONFIG = "application/vnd.cncf.helm.config.v1+json"
HELM_CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
SBOM = "application/spdx+json"

Answer = Any


def load() -> list[dict[str, Any]]:
    """All cases."""
    cases: list[dict[str, Any]] = json.loads(CASES.read_text())["cases"]
    return cases


def readings(case: dict[str, Any]) -> dict[str, Any]:
    """The ways in which the emulator can play a case, by name: what is set for each. One without a name, if there is only one."""
    setting = case.get("setting")
    return {"": {}} if setting is None else {name: {setting["name"]: value} for name, value in setting["values"].items()}


def expected(step: dict[str, Any], reading: str) -> Answer:
    """The answer of the emulator to a step."""
    answer = step.get("expect", "ok")
    return answer["either"][reading] if isinstance(answer, dict) and "either" in answer else answer


def accepted(case: dict[str, Any]) -> list[tuple[str, list[Answer]]]:
    """All answers to the steps of a case that the emulator can play, by reading."""
    return [(reading, [expected(step, reading) for step in case["steps"]]) for reading in readings(case)]


@dataclass
class Target:
    """An ECR that is asked."""

    ecr: Any
    # Says how the emulator behaves, and what the scanner says; on AWS nobody can.
    behave: Callable[..., None] | None = None
    scanner_says: Callable[[str, str, dict[str, Any]], None] | None = None
    # The request of a container runtime; gives the HTTP status.
    runtime: Callable[[str, str, str], int] | None = None
    # A client that lacks the permissions of Inspector.
    without_inspector: Any = None
    # How a repository is made, and what it is called.
    prefix: str = "contract"
    tags: list[dict[str, str]] = field(default_factory=list)
    # Nobody waits for the emulator.
    patience: float = 1.0


class Unanswerable(Exception):
    """This target cannot be asked that."""


class Play:
    """One case in a repository of its own."""

    def __init__(self, target: Target, case: dict[str, Any]):
        self.target, self.case, self.ecr = target, case, target.ecr
        self.repository = f"{target.prefix}/{case['name']}"
        self.digests: dict[str, str] = {}
        self.manifests: dict[str, tuple[str, str]] = {}
        self.uploaded: set[str] = set()

    def __enter__(self) -> Play:
        self.ecr.create_repository(repositoryName=self.repository, tags=self.target.tags)
        return self

    def __exit__(self, *_: object) -> None:
        self.ecr.delete_repository(repositoryName=self.repository, force=True)

    def run(self) -> Iterator[Answer]:
        """Plays the steps one by one, and gives the answers."""
        for step in self.case["steps"]:
            deadline = time.monotonic() + step.get("eventually", 0) * self.target.patience
            answer = self.step(step)
            hoped = [answers[self.case["steps"].index(step)] for _, answers in accepted(self.case)]
            while answer not in hoped and time.monotonic() < deadline:
                time.sleep(2)
                answer = self.step(step)
            yield answer

    def step(self, step: dict[str, Any]) -> Answer:
        """One step; an error is its code."""
        act = getattr(self, "do_" + step["do"].replace("-", "_"))
        try:
            answer = act(**{name: value for name, value in step.items() if name not in ("do", "expect", "eventually")})
        except ClientError as error:
            return error.response["Error"]["Code"]
        return "ok" if answer is None else answer

    # The steps

    def do_push(self, image: str, tag: str | None = None, without: str | None = None) -> None:
        """PutImage, with whatever it needs; ``without``: its layers, or its images."""
        manifest, media_type = self.manifest(image, without)
        tagged = {"imageTag": tag} if tag else {}
        self.ecr.put_image(
            repositoryName=self.repository, imageManifest=manifest, imageManifestMediaType=media_type, **tagged
        )

    def do_delete(self, of: list[dict[str, str]]) -> Answer:
        """BatchDeleteImage."""
        answer = self.ecr.batch_delete_image(repositoryName=self.repository, imageIds=self.ids(of))
        failed = sorted(failure["failureCode"] for failure in answer.get("failures", []))
        return {"deleted": self.named(answer.get("imageIds", []))} | ({"failed": failed} if failed else {})

    def do_pull(self, **of: str) -> Answer:
        """BatchGetImage."""
        answer = self.ecr.batch_get_image(repositoryName=self.repository, imageIds=self.ids([of]))
        return answer["failures"][0]["failureCode"] if answer.get("failures") else "ok"

    def do_runtime(self, **of: str) -> Answer:
        """The request of a container runtime: the HTTP status."""
        if self.target.runtime is None:
            raise Unanswerable("no route of a registry")
        identifier = self.ids([of])[0]
        manifest_type = OCI_INDEX if isinstance(self.kind(of.get("image", "")), dict) else OCI_MANIFEST
        reference = identifier.get("imageDigest") or identifier["imageTag"]
        return self.target.runtime(self.repository, reference, f"{OCI_INDEX}, {manifest_type}, {OCI_MANIFEST}")

    def do_describe(self, of: list[dict[str, str]], status: str | None = "ANY", show: list[str] | None = None) -> Answer:
        """DescribeImages of some; ``status``: the filter, or null for none."""
        return self.details({"imageIds": self.ids(of)} | filtered(status), show)

    def do_list(self, status: str | None = "ANY", show: list[str] | None = None) -> Answer:
        """DescribeImages of all."""
        return self.details({"maxResults": 1000} | filtered(status), show)

    def do_ids(self, status: str | None = "ANY") -> Answer:
        """ListImages."""
        answer = self.ecr.list_images(repositoryName=self.repository, maxResults=1000, **filtered(status))
        return self.named(answer["imageIds"])

    def do_archive(self, image: str) -> Answer:
        """UpdateImageStorageClass; the status that it answers."""
        return self.store(image, "ARCHIVE")

    def do_restore(self, image: str) -> Answer:
        """The way back."""
        return self.store(image, "STANDARD")

    def do_mutability(self, value: str) -> None:
        """PutImageTagMutability."""
        self.ecr.put_image_tag_mutability(repositoryName=self.repository, imageTagMutability=value)

    def do_switch(self, value: str) -> None:
        """PutRegistryScanningConfiguration: for the whole registry."""
        self.ecr.put_registry_scanning_configuration(scanType=value, rules=[])

    def do_scan_on_push(self) -> None:
        """PutImageScanningConfiguration."""
        self.ecr.put_image_scanning_configuration(
            repositoryName=self.repository, imageScanningConfiguration={"scanOnPush": True}
        )

    def do_scan(self, image: str) -> None:
        """StartImageScan."""
        self.ecr.start_image_scan(repositoryName=self.repository, imageId={"imageDigest": self.digest(image)})

    def do_scanner_says(self, image: str, **result: Any) -> None:
        """The findings of the scanner. On AWS the scanner has its own."""
        if self.target.scanner_says is not None:
            self.target.scanner_says(self.repository, self.digest(image), result)

    def do_findings(self, image: str, asked_by: str | None = None) -> Answer:
        """DescribeImageScanFindings: which members the answer has, not what is in them."""
        ecr = self.ecr if asked_by is None else self.target.without_inspector
        if ecr is None:
            raise Unanswerable("no role without Inspector's permissions")
        answer = ecr.describe_image_scan_findings(
            repositoryName=self.repository, imageId={"imageDigest": self.digest(image)}
        )
        result = answer.get("imageScanFindings") or {}
        members = sorted(name for name, value in result.items() if value is not None)
        status = answer["imageScanStatus"]
        reason = (status.get("description") or "").partition(":")[0]
        return {"status": status["status"], "members": members} | (
            {"reason": reason} if status["status"] == "FAILED" else {}
        )

    def do_referrers(self, image: str, status: str | None = None) -> Answer:
        """ListImageReferrers."""
        wanted = {"filter": {"artifactStatus": status}} if status else {}
        answer = self.ecr.list_image_referrers(
            repositoryName=self.repository, subjectId={"imageDigest": self.digest(image)}, **wanted
        )
        return sorted(self.name(referrer["digest"]) for referrer in answer["referrers"])

    def do_copies(self, image: str) -> Answer:
        """DescribeImageReplicationStatus."""
        answer = self.ecr.describe_image_replication_status(
            repositoryName=self.repository, imageId={"imageDigest": self.digest(image)}
        )
        return [status["status"] for status in answer.get("replicationStatuses", [])]

    def do_repository_policy(self) -> None:
        """GetRepositoryPolicy."""
        self.ecr.get_repository_policy(repositoryName=self.repository)

    def do_lifecycle_policy(self) -> None:
        """GetLifecyclePolicy."""
        self.ecr.get_lifecycle_policy(repositoryName=self.repository)

    def do_preview(self, rules: list[dict[str, Any]]) -> Answer:
        """A lifecycle preview: which images would expire."""
        text = json.dumps({"rules": [rule | {"description": "asked by ecr-guard " * 4} for rule in rules]})
        self.ecr.start_lifecycle_policy_preview(repositoryName=self.repository, lifecyclePolicyText=text)
        deadline = time.monotonic() + 100
        answer = self.ecr.get_lifecycle_policy_preview(repositoryName=self.repository)
        while answer["status"] == "IN_PROGRESS" and time.monotonic() < deadline:
            time.sleep(2)
            answer = self.ecr.get_lifecycle_policy_preview(repositoryName=self.repository)
        return sorted(self.name(result["imageDigest"]) for result in answer["previewResults"])

    def do_elsewhere(self) -> None:
        """DescribeImages of a repository that is not there."""
        self.ecr.describe_images(repositoryName=f"{self.repository}-none")

    # Shared steps

    def store(self, image: str, target: str) -> Answer:
        """UpdateImageStorageClass."""
        answer = self.ecr.update_image_storage_class(
            repositoryName=self.repository, imageId={"imageDigest": self.digest(image)}, targetStorageClass=target
        )
        return answer["imageStatus"]

    def details(self, request: dict[str, Any], show: list[str] | None) -> Answer:
        """Images by name, with what is to be shown of them."""
        answer = self.ecr.describe_images(repositoryName=self.repository, **request)
        shown: dict[str, Callable[[dict[str, Any]], Any]] = {
            "status": lambda detail: detail.get("imageStatus"),
            "tags": lambda detail: sorted(detail.get("imageTags", [])),
            "pulled": lambda detail: "lastRecordedPullTime" in detail,
            "archived": lambda detail: "lastArchivedAt" in detail,
            "activated": lambda detail: "lastActivatedAt" in detail,
            "kind": lambda detail: detail.get("imageManifestMediaType"),
            "artifact": lambda detail: detail.get("artifactMediaType"),
            "subject": lambda detail: self.name(detail["subjectManifestDigest"])
            if "subjectManifestDigest" in detail
            else None,
            "scan": lambda detail: sorted(
                name for name in ("imageScanStatus", "imageScanFindingsSummary") if name in detail
            ),
        }
        names = show or ["status", "tags"]
        return {
            self.name(detail["imageDigest"]): {name: shown[name](detail) for name in names}
            for detail in answer["imageDetails"]
        }

    def kind(self, image: str) -> Any:
        """The parts of an image."""
        return self.case.get("images", {}).get(image, "image")

    def digest(self, image: str) -> str:
        """The digest of an image, pushed or not."""
        if image == "nothing":
            return "sha256:" + "0" * 64
        self.manifest(image, "everything")
        return self.digests[image]

    def name(self, digest: str) -> str:
        """The name of a digest."""
        return next((name for name, known in self.digests.items() if known == digest), digest)

    def named(self, ids: list[dict[str, str]]) -> list[str]:
        """Identifiers by name, each with its tag."""
        return sorted(self.name(each["imageDigest"]) + f":{each.get('imageTag', '')}".rstrip(":") for each in ids)

    def ids(self, of: list[dict[str, str]]) -> list[dict[str, str]]:
        """Identifiers as ECR takes them."""
        return [
            ({"imageDigest": self.digest(each["image"])} if "image" in each else {})
            | ({"imageTag": each["tag"]} if "tag" in each else {})
            for each in of
        ]

    def manifest(self, image: str, without: str | None = None) -> tuple[str, str]:
        """The manifest of an image and its media type; its blobs are uploaded before, unless they are to be missing."""
        known = self.manifests.get(image)
        upload = without is None
        if known is not None and not upload:
            return known
        content = f"{self.case['name']} {image}"
        document = self.document(image, content, upload)
        text = json.dumps(document, sort_keys=True, separators=(",", ":"))
        self.manifests[image] = (text, document["mediaType"])
        self.digests[image] = digest_of(text.encode())
        return self.manifests[image]

    def document(self, image: str, content: str, upload: bool) -> dict[str, Any]:
        """The content of the manifest."""
        kind = self.kind(image)
        if isinstance(kind, dict) and "index" in kind:
            entries = [
                self.entry(child) | {"platform": {"os": "linux", "architecture": architecture}}
                for child, architecture in zip(kind["index"], ("amd64", "arm64"), strict=False)
            ]
            return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
        manifest: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_MANIFEST}
        if isinstance(kind, dict) and "referrer" in kind:
            return manifest | {
                "artifactType": SIGNATURE,
                "config": self.blob(b"{}", OCI_EMPTY, upload),
                "layers": [self.blob(f"bundle of {content}".encode(), SIGNATURE, upload)],
                "subject": self.entry(kind["referrer"]),
            }
        if kind == "chart":
            return manifest | {
                "config": self.blob(json.dumps({"name": content}).encode(), HELM_CONFIG, upload),
                "layers": [self.blob(f"chart of {content}".encode(), HELM_CHART, upload)],
            }
        if kind == "artifact":
            return manifest | {
                "artifactType": SBOM,
                "config": self.blob(b"{}", OCI_EMPTY, upload),
                "layers": [self.blob(f"list of {content}".encode(), SBOM, upload)],
            }
        layer, plain = layer_of(content, distribution=kind == "distribution")
        config = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Labels": {"content": content}},
            "rootfs": {"type": "layers", "diff_ids": [digest_of(plain)]},
        }
        typed = {"artifactType": "application/vnd.example.app"} if kind == "typed" else {}
        return manifest | typed | {
            "config": self.blob(json.dumps(config).encode(), OCI_CONFIG, upload),
            "layers": [self.blob(layer, OCI_LAYER, upload)],
        }

    def entry(self, image: str) -> dict[str, Any]:
        """How another manifest names an image."""
        text, media_type = self.manifest(image, "everything")
        return {"mediaType": media_type, "digest": digest_of(text.encode()), "size": len(text.encode())}

    def blob(self, content: bytes, media_type: str, upload: bool) -> dict[str, Any]:
        """A blob, uploaded if it is to be there."""
        digest = digest_of(content)
        if upload and digest not in self.uploaded:
            self.uploaded.add(digest)
            started = self.ecr.initiate_layer_upload(repositoryName=self.repository)["uploadId"]
            self.ecr.upload_layer_part(
                repositoryName=self.repository,
                uploadId=started,
                partFirstByte=0,
                partLastByte=len(content) - 1,
                layerPartBlob=content,
            )
            try:
                self.ecr.complete_layer_upload(
                    repositoryName=self.repository, uploadId=started, layerDigests=[digest]
                )
            except ClientError as error:
                if error.response["Error"]["Code"] != "LayerAlreadyExistsException":
                    raise
        return {"mediaType": media_type, "digest": digest, "size": len(content)}


def filtered(status: str | None) -> dict[str, Any]:
    """The filter of a list, or none."""
    return {} if status is None else {"filter": {"imageStatus": status}}


def digest_of(content: bytes) -> str:
    """The digest of some bytes."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def layer_of(content: str, distribution: bool) -> tuple[bytes, bytes]:
    """A layer with one file, compressed and plain; ``distribution``: one that a scanner knows, without any package."""
    files = {"content": content}
    if distribution:
        files |= {
            "etc/os-release": 'ID=alpine\nVERSION_ID=3.20.0\nNAME="Alpine Linux"\n',
            "etc/alpine-release": "3.20.0\n",
            "lib/apk/db/installed": "",
        }
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as archive:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return gzip.compress(plain.getvalue(), mtime=0), plain.getvalue()


def ask_registry(url: str, user: str, accept: str) -> int:
    """The HTTP status of a manifest, as a container runtime asks for it."""
    headers = {"Accept": accept} | ({"Authorization": "Basic " + user} if user else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def token_of(ecr: Any) -> tuple[str, str]:
    """The address of the registry, and who asks."""
    data = ecr.get_authorization_token()["authorizationData"][0]
    base64.b64decode(data["authorizationToken"], validate=True)
    return data["proxyEndpoint"], data["authorizationToken"]
