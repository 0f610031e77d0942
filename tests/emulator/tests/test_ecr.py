"""Self-tests of our extension of moto's ECR, over real HTTP: ``python -m unittest discover -s tests/emulator/tests``."""

from __future__ import annotations

import json
import tempfile
import time
import unittest
import urllib.error
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from local_aws.images import OCI_INDEX, SIGSTORE_BUNDLE, Image, Pusher
from local_aws.registry import Registry

REPOSITORY = "team/app"
DAY = 86_400


class RegistryTest(unittest.TestCase):
    """One server for all; a repository of its own for each test."""

    directory: tempfile.TemporaryDirectory[str]
    registry: Registry

    @classmethod
    def setUpClass(cls) -> None:
        cls.directory = tempfile.TemporaryDirectory()
        cls.registry = Registry(Path(cls.directory.name) / "registry.log")
        cls.registry.start()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.registry.stop()
        cls.directory.cleanup()

    def setUp(self) -> None:
        self.ecr = self.registry.ecr
        self.push = Pusher(self.ecr)
        self.ecr.create_repository(repositoryName=REPOSITORY)
        self.registry.forget_calls()

    def tearDown(self) -> None:
        self.registry.set_restore_seconds(0)
        self.ecr.delete_repository(repositoryName=REPOSITORY, force=True)

    def archive(self, image: Image, target: str = "ARCHIVE") -> dict[str, Any]:
        return self.ecr.update_image_storage_class(
            repositoryName=REPOSITORY, imageId={"imageDigest": image.digest}, targetStorageClass=target
        )

    def describe(self, status: str | None = None, **arguments: Any) -> list[dict[str, Any]]:
        if status:
            arguments["filter"] = {"imageStatus": status}
        return self.ecr.describe_images(repositoryName=REPOSITORY, **arguments)["imageDetails"]

    def pull(self, *image_ids: dict[str, str]) -> tuple[int, list[str]]:
        answer = self.ecr.batch_get_image(repositoryName=REPOSITORY, imageIds=list(image_ids))
        return len(answer["images"]), [failure["failureCode"] for failure in answer["failures"]]

    def findings(self, image: Image, **arguments: Any) -> dict[str, Any]:
        return self.ecr.describe_image_scan_findings(
            repositoryName=REPOSITORY, imageId={"imageDigest": image.digest}, **arguments
        )

    def refused(self, code: str) -> Any:
        return Refused(self, code)


class Refused:
    """Expects an AWS error with a code."""

    def __init__(self, test: unittest.TestCase, code: str):
        self.test, self.code = test, code

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: Any, trace: Any) -> bool:
        self.test.assertIsInstance(error, ClientError, f"expected {self.code}")
        self.test.assertEqual(error.response["Error"]["Code"], self.code)
        return True


class Pushing(RegistryTest):
    def test_the_digest_is_that_of_the_manifest(self) -> None:
        for docker in (False, True):
            image = self.push.image(REPOSITORY, "v1", f"docker {docker}", docker=docker)
            detail = self.describe(imageIds=[{"imageTag": "v1"}])[0]
            self.assertEqual(detail["imageDigest"], image.digest)
            self.assertEqual(detail["imageManifestMediaType"], image.media_type)
            self.assertEqual(detail["artifactMediaType"], image.artifact_type)
            self.assertEqual(detail["imageStatus"], "ACTIVE")

    def test_the_same_manifest_and_tag_is_refused(self) -> None:
        image = self.push.image(REPOSITORY, "v1", "one")
        with self.refused("ImageAlreadyExistsException"):
            self.push.again(image)

    def test_a_moved_tag_leaves_the_old_image_untagged(self) -> None:
        old = self.push.image(REPOSITORY, "latest", "one")
        self.push.image(REPOSITORY, "latest", "two")
        self.assertNotIn("imageTags", self.describe(imageIds=[{"imageDigest": old.digest}])[0])

    def test_an_immutable_tag_cannot_be_moved(self) -> None:
        self.push.image(REPOSITORY, "v1", "one")
        self.ecr.put_image_tag_mutability(repositoryName=REPOSITORY, imageTagMutability="IMMUTABLE")
        with self.refused("ImageTagAlreadyExistsException"):
            self.push.image(REPOSITORY, "v1", "two")

    def test_missing_parts_are_refused(self) -> None:
        image = self.push.image(REPOSITORY, "v1", "one")
        with self.refused("LayersNotFoundException"):
            self.ecr.put_image(
                repositoryName=REPOSITORY,
                imageManifest=image.manifest.replace('"digest":"sha256:', '"digest":"sha256:0'),
            )
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [{"digest": "sha256:" + "0" * 64}]}
        with self.refused("ReferencedImagesNotFoundException"):
            self.ecr.put_image(repositoryName=REPOSITORY, imageManifest=json.dumps(index), imageTag="multi")


class Archiving(RegistryTest):
    def test_an_archived_image_cannot_be_pulled_and_keeps_its_tags(self) -> None:
        image = self.push.image(REPOSITORY, "v1", "one")
        self.assertEqual(self.archive(image)["imageStatus"], "ARCHIVED")
        self.assertEqual(self.pull({"imageTag": "v1"}, {"imageDigest": image.digest}), (0, ["ImageNotFound"] * 2))
        self.assertEqual([self.registry.pull(REPOSITORY, name) for name in ("v1", image.digest)], [404, 404])
        detail = self.describe("ANY")[0]
        self.assertEqual((detail["imageStatus"], detail["imageTags"]), ("ARCHIVED", ["v1"]))
        self.assertIn("lastArchivedAt", detail)

    def test_default_filters_hide_it(self) -> None:
        image = self.push.image(REPOSITORY, "v1", "one")
        self.archive(image)
        self.assertEqual(self.describe(), [])
        with self.refused("ImageNotFoundException"):
            self.describe(imageIds=[{"imageDigest": image.digest}])
        self.assertEqual(self.ecr.list_images(repositoryName=REPOSITORY)["imageIds"], [])
        for status, count in (("ANY", 1), ("ARCHIVED", 1), ("ACTIVATING", 0), ("ACTIVE", 0)):
            listed = self.ecr.list_images(repositoryName=REPOSITORY, filter={"imageStatus": status})["imageIds"]
            self.assertEqual((len(self.describe(status)), len(listed)), (count, count), status)
        self.assertEqual(len(self.describe("ANY", imageIds=[{"imageTag": "v1"}])), 1)

    def test_scans_know_the_archive(self) -> None:
        image = self.push.image(REPOSITORY, "v1", "one")
        self.registry.set_scan(REPOSITORY, image.digest, "COMPLETE", findings=[finding("CVE-1", "CRITICAL")])
        self.archive(image)
        answer = self.findings(image)
        self.assertEqual(answer["imageScanStatus"]["status"], "IMAGE_ARCHIVED")
        self.assertNotIn("imageScanFindings", answer)
        with self.refused("ImageArchivedException"):
            self.ecr.start_image_scan(repositoryName=REPOSITORY, imageId={"imageDigest": image.digest})

    def test_a_push_restores_it_at_once_without_its_findings(self) -> None:
        image = self.push.image(REPOSITORY, "v1", "one")
        self.registry.set_scan(REPOSITORY, image.digest, "COMPLETE", findings=[finding("CVE-1", "CRITICAL")])
        self.archive(image)
        self.registry.set_restore_seconds(60)
        self.push.again(image)
        detail = self.describe(imageIds=[{"imageTag": "v1"}])[0]
        self.assertEqual(detail["imageStatus"], "ACTIVE")
        self.assertIn("lastActivatedAt", detail)
        self.assertEqual(self.pull({"imageTag": "v1"}), (1, []))
        with self.refused("ScanNotFoundException"):
            self.findings(image)

    def test_a_restore_may_take_its_time(self) -> None:
        image = self.push.image(REPOSITORY, "v1", "one")
        self.archive(image)
        self.registry.set_restore_seconds(0.5)
        self.assertEqual(self.archive(image, "STANDARD")["imageStatus"], "ACTIVATING")
        self.assertEqual(self.pull({"imageTag": "v1"}), (0, ["ImageNotFound"]))
        self.assertEqual(len(self.describe("ACTIVATING")), 1)
        deadline = time.monotonic() + 5
        while not self.describe() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(self.describe()[0]["imageStatus"], "ACTIVE")
        self.assertEqual(self.pull({"imageTag": "v1"}), (1, []))

    def test_repeating_changes_nothing(self) -> None:
        image = self.push.image(REPOSITORY, "v1", "one")
        self.archive(image)
        first = self.describe("ANY")[0]["lastArchivedAt"]
        self.archive(image)
        self.assertEqual(self.describe("ANY")[0]["lastArchivedAt"], first)
        self.assertEqual(self.archive(image, "STANDARD")["imageStatus"], "ACTIVE")
        self.assertEqual(self.archive(image, "STANDARD")["imageStatus"], "ACTIVE")
        with self.refused("ImageNotFoundException"):
            self.ecr.update_image_storage_class(
                repositoryName=REPOSITORY, imageId={"imageTag": "none"}, targetStorageClass="ARCHIVE"
            )


class Deleting(RegistryTest):
    def delete(self, **image_id: str) -> dict[str, Any]:
        return self.ecr.batch_delete_image(repositoryName=REPOSITORY, imageIds=[image_id])

    def test_by_tag_until_the_last_one_takes_the_image(self) -> None:
        image = self.push.image(REPOSITORY, "v1", "one")
        self.ecr.put_image(repositoryName=REPOSITORY, imageManifest=image.manifest, imageTag="v2")
        self.delete(imageTag="v1")
        self.assertEqual(self.describe()[0]["imageTags"], ["v2"])
        self.delete(imageTag="v2")
        self.assertEqual(self.describe("ANY"), [])

    def test_by_digest_takes_all_tags(self) -> None:
        image = self.push.image(REPOSITORY, "v1", "one")
        self.ecr.put_image(repositoryName=REPOSITORY, imageManifest=image.manifest, imageTag="v2")
        self.assertEqual(len(self.delete(imageDigest=image.digest)["imageIds"]), 2)
        self.assertEqual(self.describe("ANY"), [])

    def test_children_of_an_index_stay(self) -> None:
        child = self.push.image(REPOSITORY, None, "one")
        index = self.push.index(REPOSITORY, "multi", [child])
        failures = self.delete(imageDigest=child.digest)["failures"]
        self.assertEqual(failures[0]["failureCode"], "ImageReferencedByManifestList")
        self.delete(imageDigest=index.digest)
        self.assertEqual(self.delete(imageDigest=child.digest)["failures"], [])
        self.assertEqual(self.delete(imageDigest=child.digest)["failures"][0]["failureCode"], "ImageNotFound")


class Scanning(RegistryTest):
    def test_findings_come_in_pages(self) -> None:
        image = self.push.image(REPOSITORY, "v1", "one")
        findings = [finding(f"CVE-2026-{number}", "HIGH") for number in range(2_345)]
        self.registry.set_scan(REPOSITORY, image.digest, "COMPLETE", findings=findings)
        names: list[str] = []
        token: dict[str, str] = {}
        pages = 0
        while pages == 0 or token:
            answer = self.findings(image, maxResults=1000, **token)
            names += [entry["name"] for entry in answer["imageScanFindings"]["findings"]]
            self.assertEqual(answer["imageScanFindings"]["findingSeverityCounts"], {"HIGH": 2_345})
            token = {"nextToken": answer["nextToken"]} if "nextToken" in answer else {}
            pages += 1
        self.assertEqual((pages, sorted(names)), (3, sorted(entry["name"] for entry in findings)))
        self.assertEqual(len(self.findings(image)["imageScanFindings"]["findings"]), 100)
        paginator = self.ecr.get_paginator("describe_image_scan_findings")
        every = paginator.paginate(repositoryName=REPOSITORY, imageId={"imageTag": "v1"})
        self.assertEqual(sum(len(part["imageScanFindings"]["findings"]) for part in every), 2_345)

    def test_statuses_without_findings(self) -> None:
        image = self.push.image(REPOSITORY, "v1", "one")
        for status in ("FAILED", "UNSUPPORTED_IMAGE", "SCAN_ELIGIBILITY_EXPIRED"):
            self.registry.set_scan(REPOSITORY, image.digest, status, description="why")
            answer = self.findings(image)
            self.assertEqual(answer["imageScanStatus"], {"status": status, "description": "why"})
            self.assertNotIn("imageScanFindings", answer)

    def test_enhanced_findings(self) -> None:
        image = self.push.image(REPOSITORY, "v1", "one")
        self.registry.set_scan(REPOSITORY, image.digest, "ACTIVE", enhancedFindings=[enhanced("CVE-1", "CRITICAL")])
        answer = self.findings(image)
        self.assertEqual(answer["imageScanStatus"]["status"], "ACTIVE")
        found = answer["imageScanFindings"]["enhancedFindings"][0]
        self.assertEqual(found["packageVulnerabilityDetails"]["vulnerabilityId"], "CVE-1")
        self.assertEqual(found["firstObservedAt"].year, 2026)
        self.assertNotIn("findings", answer["imageScanFindings"])

    def test_a_scan_starts_once_a_day(self) -> None:
        image = self.push.image(REPOSITORY, "v1", "one")
        with self.refused("ScanNotFoundException"):
            self.findings(image)
        self.ecr.start_image_scan(repositoryName=REPOSITORY, imageId={"imageTag": "v1"})
        self.assertEqual(self.findings(image)["imageScanStatus"]["status"], "IN_PROGRESS")
        with self.refused("LimitExceededException"):
            self.ecr.start_image_scan(repositoryName=REPOSITORY, imageId={"imageTag": "v1"})

    def test_a_scan_on_push_starts_by_itself(self) -> None:
        self.ecr.put_image_scanning_configuration(
            repositoryName=REPOSITORY, imageScanningConfiguration={"scanOnPush": True}
        )
        image = self.push.image(REPOSITORY, "v1", "one")
        self.assertEqual(self.findings(image)["imageScanStatus"]["status"], "IN_PROGRESS")
        self.archive(image)
        self.archive(image, "STANDARD")
        self.assertEqual(self.findings(image)["imageScanStatus"]["status"], "IN_PROGRESS")

    def test_an_index_cannot_be_scanned(self) -> None:
        index = self.push.index(REPOSITORY, "multi", [self.push.image(REPOSITORY, None, "one")])
        with self.refused("UnsupportedImageTypeException"):
            self.ecr.start_image_scan(repositoryName=REPOSITORY, imageId={"imageDigest": index.digest})

    def test_the_scanning_configuration_of_repositories(self) -> None:
        answer = self.ecr.batch_get_repository_scanning_configuration(repositoryNames=[REPOSITORY, "none"])
        self.assertEqual(answer["scanningConfigurations"][0]["scanFrequency"], "MANUAL")
        self.assertEqual(answer["failures"][0]["failureCode"], "REPOSITORY_NOT_FOUND")
        self.ecr.put_image_scanning_configuration(
            repositoryName=REPOSITORY, imageScanningConfiguration={"scanOnPush": True}
        )
        answer = self.ecr.batch_get_repository_scanning_configuration(repositoryNames=[REPOSITORY])
        self.assertEqual(answer["scanningConfigurations"][0]["scanFrequency"], "SCAN_ON_PUSH")
        self.assertTrue(answer["scanningConfigurations"][0]["scanOnPush"])

    def test_enhanced_scanning_goes_by_rules(self) -> None:
        rules = [
            {"scanFrequency": "CONTINUOUS_SCAN", "repositoryFilters": [{"filter": "team/*", "filterType": "WILDCARD"}]}
        ]
        self.ecr.put_registry_scanning_configuration(scanType="ENHANCED", rules=rules)
        self.addCleanup(self.ecr.put_registry_scanning_configuration, scanType="BASIC", rules=[])
        answer = self.ecr.batch_get_repository_scanning_configuration(repositoryNames=[REPOSITORY])
        self.assertEqual(answer["scanningConfigurations"][0]["scanFrequency"], "CONTINUOUS_SCAN")
        image = self.push.image(REPOSITORY, "v1", "one")
        self.assertEqual(self.findings(image)["imageScanStatus"]["status"], "PENDING")
        with self.refused("ValidationException"):
            self.ecr.start_image_scan(repositoryName=REPOSITORY, imageId={"imageTag": "v1"})


class Referring(RegistryTest):
    def referrers(self, subject: Image, **arguments: Any) -> dict[str, Any]:
        return self.ecr.list_image_referrers(
            repositoryName=REPOSITORY, subjectId={"imageDigest": subject.digest}, **arguments
        )

    def test_referrers_of_a_digest(self) -> None:
        image = self.push.image(REPOSITORY, "v1", "one")
        self.assertEqual(self.referrers(image)["referrers"], [])
        bundle = self.push.attestation(image)
        found = self.referrers(image)["referrers"][0]
        self.assertEqual((found["digest"], found["artifactType"]), (bundle.digest, SIGSTORE_BUNDLE))
        self.assertEqual(self.referrers(image, filter={"artifactTypes": ["other/type"]})["referrers"], [])
        detail = self.describe(imageIds=[{"imageDigest": bundle.digest}])[0]
        self.assertEqual(detail["subjectManifestDigest"], image.digest)
        self.archive(bundle)
        self.assertEqual(self.referrers(image)["referrers"], [])
        self.assertEqual(len(self.referrers(image, filter={"artifactStatus": "ANY"})["referrers"]), 1)

    def test_pages(self) -> None:
        image = self.push.image(REPOSITORY, "v1", "one")
        bundle = json.loads(self.push.attestation(image).manifest)
        for number in range(24):
            manifest = json.dumps(bundle | {"annotations": {"number": str(number)}})
            self.ecr.put_image(repositoryName=REPOSITORY, imageManifest=manifest)
        first = self.referrers(image)
        rest = self.referrers(image, nextToken=first["nextToken"])
        self.assertEqual((len(first["referrers"]), len(rest["referrers"])), (20, 5))
        self.assertNotIn("nextToken", rest)
        with self.refused("InvalidParameterException"):
            self.referrers(image, maxResults=51)


class Readings(RegistryTest):
    """Recorded behaviour of AWS that cannot be asked for: the contract suite has the rest."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(self.registry.behave, order=self.registry.order, statusDelaySeconds=0, deletedKeys=[])

    def test_a_number_gives_the_order_of_all_lists_and_of_their_pages(self) -> None:
        for number in range(12):
            image = self.push.image(REPOSITORY, f"v{number}", f"content {number}")
            for tag in ("a", "b", "c"):
                self.ecr.put_image(repositoryName=REPOSITORY, imageManifest=image.manifest, imageTag=f"{tag}{number}")
        orders, tags = [], []
        for order in (1, 2, 1):
            self.registry.behave(order=order)
            listed = self.describe()
            orders.append([detail["imageDigest"] for detail in listed])
            tags.append([detail["imageTags"] for detail in listed])
            pages = self.ecr.get_paginator("describe_images").paginate(repositoryName=REPOSITORY, maxResults=5)
            self.assertEqual([one["imageDigest"] for page in pages for one in page["imageDetails"]], orders[-1])
        self.assertEqual((orders[0], tags[0]), (orders[2], tags[2]))
        self.assertNotEqual(orders[0], orders[1])
        self.assertEqual(sorted(orders[0]), sorted(orders[1]))
        self.assertNotEqual([sorted(each) for each in tags[0]], tags[0])
        self.registry.behave(order=None)
        self.assertEqual([detail["imageTags"][0] for detail in self.describe()], [f"v{n}" for n in range(12)])

    def test_a_status_may_show_late(self) -> None:
        image = self.push.image(REPOSITORY, "v1", "one")
        self.registry.behave(statusDelaySeconds=0.6)
        self.assertEqual(self.archive(image)["imageStatus"], "ARCHIVED")
        self.assertEqual(self.describe(imageIds=[{"imageTag": "v1"}])[0]["imageStatus"], "ACTIVE")
        # The answers about a pull are true.
        self.assertEqual(self.pull({"imageTag": "v1"}), (0, ["ImageNotFound"]))
        deadline = time.monotonic() + 5
        while self.describe() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(self.describe("ANY")[0]["imageStatus"], "ARCHIVED")

    def test_a_key_that_is_gone_takes_the_images_with_it(self) -> None:
        key = "arn:aws:kms:us-west-2:123456789012:key/gone"
        encryption = {"encryptionType": "KMS", "kmsKey": key}
        self.ecr.create_repository(repositoryName="team/sealed", encryptionConfiguration=encryption)
        self.addCleanup(self.ecr.delete_repository, repositoryName="team/sealed", force=True)
        image = self.push.image("team/sealed", "v1", "one")
        self.registry.behave(deletedKeys=[key])
        asked = {"repositoryName": "team/sealed", "imageIds": [{"imageDigest": image.digest}]}
        with self.refused("KmsException"):
            self.ecr.batch_get_image(**asked)
        with self.refused("KmsException"):
            self.push.image("team/sealed", "v2", "two")
        self.assertEqual(self.ecr.describe_images(**asked)["imageDetails"][0]["imageTags"], ["v1"])

    def test_what_is_counted_is_not_always_what_is_listed(self) -> None:
        image = self.push.image(REPOSITORY, "v1", "one")
        listed, counts = [enhanced("CVE-1", "CRITICAL")], {"CRITICAL": 3}
        self.registry.set_scan(REPOSITORY, image.digest, "ACTIVE", findings=[], enhancedFindings=listed, counts=counts)
        answer = self.findings(image)["imageScanFindings"]
        self.assertEqual((answer["findings"], answer["findingSeverityCounts"]), ([], counts))
        self.assertEqual(len(answer["enhancedFindings"]), 1)

    def test_a_look_is_no_pull(self) -> None:
        self.push.image(REPOSITORY, "v1", "one")
        self.assertEqual(self.registry.pull(REPOSITORY, "v1"), 200)
        self.assertNotIn("lastRecordedPullTime", self.describe()[0])
        self.assertEqual(self.registry.pull(REPOSITORY, "v1", recorded=True), 200)
        self.assertIn("lastRecordedPullTime", self.describe()[0])

    def test_scans_of_the_other_kind_may_be_gone_after_a_switch(self) -> None:
        basic, inspected = (self.push.image(REPOSITORY, tag, tag) for tag in ("basic", "inspected"))
        self.registry.set_scan(REPOSITORY, basic.digest, "COMPLETE", findings=[])
        self.registry.set_scan(REPOSITORY, inspected.digest, "ACTIVE", enhancedFindings=[])
        self.addCleanup(self.registry.behave, otherScans="kept")
        self.assertEqual([self.shown(image) for image in (basic, inspected)], ["COMPLETE", "ACTIVE"])
        self.registry.behave(otherScans="gone")
        self.assertEqual([self.shown(image) for image in (basic, inspected)], ["COMPLETE", "none"])
        self.addCleanup(self.ecr.put_registry_scanning_configuration, scanType="BASIC", rules=[])
        self.ecr.put_registry_scanning_configuration(scanType="ENHANCED", rules=[])
        self.assertEqual([self.shown(image) for image in (basic, inspected)], ["none", "ACTIVE"])

    def shown(self, image: Image) -> str:
        try:
            return str(self.findings(image)["imageScanStatus"]["status"])
        except self.ecr.exceptions.ScanNotFoundException:
            return "none"

    def test_a_setting_that_is_not_there_is_refused(self) -> None:
        for wrong in ({"orders": 1}, {"pulls": "some"}, {"digestAndTag": "both"}):
            with self.assertRaises(urllib.error.HTTPError) as caught:
                self.registry.behave(**wrong)
            self.assertEqual(caught.exception.code, 400)
            caught.exception.close()


class Others(RegistryTest):
    def test_pull_time_is_what_was_set(self) -> None:
        image = self.push.image(REPOSITORY, "v1", "one")
        self.assertNotIn("lastRecordedPullTime", self.describe()[0])
        self.registry.set_image(REPOSITORY, image.digest, lastRecordedPullTime=1_790_000_000)
        self.assertEqual(self.describe()[0]["lastRecordedPullTime"].timestamp(), 1_790_000_000)

    def test_calls_are_counted(self) -> None:
        image = self.push.image(REPOSITORY, "v1", "one")
        self.archive(image)
        calls = self.registry.calls(operation="UpdateImageStorageClass", repository=REPOSITORY)
        self.assertEqual([(call["target"], call["status"]) for call in calls], [("ARCHIVE", 200)])
        self.registry.forget_calls()
        self.assertEqual(self.registry.calls(), [])

    def test_images_are_described_in_pages(self) -> None:
        for number in range(5):
            self.push.image(REPOSITORY, f"v{number}", f"content {number}")
        first = self.ecr.describe_images(repositoryName=REPOSITORY, maxResults=3)
        rest = self.ecr.describe_images(repositoryName=REPOSITORY, maxResults=3, nextToken=first["nextToken"])
        self.assertEqual((len(first["imageDetails"]), len(rest["imageDetails"])), (3, 2))
        self.assertNotIn("nextToken", rest)

    def test_a_missing_repository(self) -> None:
        with self.refused("RepositoryNotFoundException"):
            self.ecr.describe_images(repositoryName="none")


class Lifecycle(RegistryTest):
    def preview(self, *rules: dict[str, Any]) -> dict[tuple[str, ...], tuple[str, int]]:
        text = json.dumps({"rules": [rule | {"description": "x" * 100} for rule in rules]})
        self.ecr.start_lifecycle_policy_preview(repositoryName=REPOSITORY, lifecyclePolicyText=text)
        answer = self.ecr.get_lifecycle_policy_preview(repositoryName=REPOSITORY)
        self.assertEqual(answer["status"], "COMPLETE")
        return {
            tuple(result.get("imageTags", [])): (result["action"]["type"], result["appliedRulePriority"])
            for result in answer["previewResults"]
        }

    def aged(self, tag: str | None, days: int) -> Image:
        image = self.push.image(REPOSITORY, tag, f"{tag} {days}")
        self.registry.set_image(REPOSITORY, image.digest, imagePushedAt=time.time() - days * DAY)
        return image

    def test_newest_are_kept_and_old_untagged_expire(self) -> None:
        for number in range(4):
            self.aged(f"v{number}", days=10 - number)
        self.aged("other", days=99)
        self.aged(None, days=8)
        self.aged(None, days=1)
        result = self.preview(
            rule(1, tagStatus="tagged", tagPrefixList=["v"], countType="imageCountMoreThan", countNumber=2),
            rule(2, tagStatus="untagged", countType="sinceImagePushed", countUnit="days", countNumber=7),
        )
        self.assertEqual(result, {("v0",): ("EXPIRE", 1), ("v1",): ("EXPIRE", 1), (): ("EXPIRE", 2)})

    def test_a_lower_rule_cannot_take_what_a_higher_one_keeps(self) -> None:
        self.aged("prod-1", days=100)
        self.aged("test-1", days=100)
        result = self.preview(
            rule(1, tagStatus="tagged", tagPatternList=["prod*"], countType="imageCountMoreThan", countNumber=5),
            rule(2, tagStatus="any", countType="sinceImagePushed", countUnit="days", countNumber=30),
        )
        self.assertEqual(result, {("test-1",): ("EXPIRE", 2)})

    def test_the_archive_has_rules_of_its_own(self) -> None:
        pulled, idle, archived = self.aged("pulled", 90), self.aged("idle", 90), self.aged("archived", 90)
        self.registry.set_image(REPOSITORY, pulled.digest, lastRecordedPullTime=time.time() - DAY)
        self.archive(archived)
        transition = {"type": "transition", "targetStorageClass": "archive"}
        result = self.preview(
            rule(1, transition, tagStatus="any", countType="sinceImagePulled", countUnit="days", countNumber=60),
            rule(
                2,
                tagStatus="any",
                storageClass="archive",
                countType="sinceImageTransitioned",
                countUnit="days",
                countNumber=90,
            ),
        )
        self.assertEqual(result, {("idle",): ("TRANSITION", 1)})
        self.assertTrue(idle.digest)

    def test_children_and_referrers_are_left_alone(self) -> None:
        child = self.aged(None, 50)
        index = self.push.index(REPOSITORY, "multi", [child])
        self.push.attestation(index)
        result = self.preview(
            rule(1, tagStatus="untagged", countType="sinceImagePushed", countUnit="days", countNumber=1)
        )
        self.assertEqual(result, {})

    def test_a_preview_may_take_several_looks(self) -> None:
        self.registry.behave(previewLooks=2)
        self.addCleanup(self.registry.behave, previewLooks=0)
        keep_one = rule(1, tagStatus="any", countType="imageCountMoreThan", countNumber=1) | {"description": "x" * 100}
        text = json.dumps({"rules": [keep_one]})
        start = {"repositoryName": REPOSITORY, "lifecyclePolicyText": text}
        self.ecr.start_lifecycle_policy_preview(**start)
        # Only one at a time (API reference, StartLifecyclePolicyPreview).
        with self.refused("LifecyclePolicyPreviewInProgressException"):
            self.ecr.start_lifecycle_policy_preview(**start)
        looks = [self.ecr.get_lifecycle_policy_preview(repositoryName=REPOSITORY) for _ in range(3)]
        self.assertEqual([look["status"] for look in looks], ["IN_PROGRESS", "IN_PROGRESS", "COMPLETE"])
        self.assertNotIn("previewResults", looks[0])
        self.ecr.start_lifecycle_policy_preview(**start)

    def test_missing_previews_and_bad_policies_are_refused(self) -> None:
        with self.refused("LifecyclePolicyPreviewNotFoundException"):
            self.ecr.get_lifecycle_policy_preview(repositoryName=REPOSITORY)
        twice = [rule(1, tagStatus="any", countType="imageCountMoreThan", countNumber=1)] * 2
        with self.refused("InvalidParameterException"):
            self.preview(*twice)


def rule(priority: int, action: dict[str, str] | None = None, **selection: Any) -> dict[str, Any]:
    """A lifecycle rule."""
    return {"rulePriority": priority, "selection": selection, "action": action or {"type": "expire"}}


def finding(name: str, severity: str) -> dict[str, Any]:
    """A basic finding."""
    attributes = [{"key": "package_name", "value": "openssl"}, {"key": "package_version", "value": "3.0.1"}]
    return {"name": name, "severity": severity, "uri": f"https://cve.example/{name}", "attributes": attributes}


def enhanced(name: str, severity: str) -> dict[str, Any]:
    """An enhanced finding."""
    details = {"vulnerabilityId": name, "vulnerablePackages": [{"name": "openssl", "version": "3.0.1"}]}
    return {
        "severity": severity,
        "status": "ACTIVE",
        "firstObservedAt": "2026-11-01T00:00:00Z",
        "packageVulnerabilityDetails": details,
    }


if __name__ == "__main__":
    unittest.main()
