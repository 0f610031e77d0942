"""Self-tests of what our extension of moto's ECR does for a whole registry, and between two of them."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

from local_aws.images import Image, Pusher
from local_aws.processes import wait_for
from local_aws.registry import ACCOUNT, DRIVER_KEY, REGION, SECOND_REGION
from test_ecr import REPOSITORY, RegistryTest

TARGET = "AmazonEC2ContainerRegistry_V20150921"


class Listing(RegistryTest):
    def test_repositories_are_listed_in_pages(self) -> None:
        names = [f"team/listed-{number}" for number in range(4)]
        for name in names:
            self.ecr.create_repository(repositoryName=name)
            self.addCleanup(self.ecr.delete_repository, repositoryName=name)
        seen: list[str] = []
        token: dict[str, str] = {}
        while True:
            answer = self.ecr.describe_repositories(maxResults=2, **token)
            self.assertLessEqual(len(answer["repositories"]), 2)
            seen += [repository["repositoryName"] for repository in answer["repositories"]]
            if "nextToken" not in answer:
                break
            token = {"nextToken": answer["nextToken"]}
        self.assertEqual(sorted(seen), sorted([REPOSITORY, *names]))
        with self.refused("InvalidParameterException"):
            self.ecr.describe_repositories(repositoryNames=names, maxResults=2)
        with self.refused("RepositoryNotFoundException"):
            self.ecr.describe_repositories(repositoryNames=["team/none"])

    def test_a_token_of_another_list_is_refused(self) -> None:
        for number in range(3):
            self.push.image(REPOSITORY, f"v{number}", f"content {number}")
        token = self.ecr.describe_images(repositoryName=REPOSITORY, maxResults=2)["nextToken"]
        for call, arguments in (
            (self.ecr.list_images, {"repositoryName": REPOSITORY}),
            (self.ecr.describe_repositories, {}),
        ):
            with self.refused("InvalidParameterException"):
                call(nextToken=token, **arguments)
        for broken in ("nonsense", token[:-4]):
            with self.refused("InvalidParameterException"):
                self.ecr.describe_images(repositoryName=REPOSITORY, nextToken=broken)

    def test_a_page_has_a_thousand_at_most(self) -> None:
        status, answer = call(self.registry.url, "DescribeImages", {"repositoryName": REPOSITORY, "maxResults": 1001})
        self.assertEqual((status, answer["__type"]), (400, "InvalidParameterException"))

    def test_scans_show_in_the_list_only_if_they_are_to(self) -> None:
        image = self.push.image(REPOSITORY, "v1", "one")
        self.registry.set_scan(REPOSITORY, image.digest, "COMPLETE", findings=[{"name": "CVE-1", "severity": "HIGH"}])
        self.assertNotIn("imageScanStatus", self.describe()[0])
        self.registry.set_scan_summaries(True)
        self.addCleanup(self.registry.set_scan_summaries, False)
        detail = self.describe()[0]
        self.assertEqual(detail["imageScanStatus"]["status"], "COMPLETE")
        self.assertEqual(detail["imageScanFindingsSummary"]["findingSeverityCounts"], {"HIGH": 1})
        self.assertIn("imageScanCompletedAt", detail["imageScanFindingsSummary"])

    def test_enhanced_scans_show_always(self) -> None:
        image = self.push.image(REPOSITORY, "v1", "one")
        self.registry.set_scan(REPOSITORY, image.digest, "ACTIVE", enhancedFindings=[])
        self.assertEqual(self.describe()[0]["imageScanStatus"]["status"], "ACTIVE")

    def test_settings(self) -> None:
        configuration = self.ecr.get_registry_scanning_configuration()["scanningConfiguration"]
        self.assertEqual(configuration["scanType"], "BASIC")
        self.assertEqual(self.ecr.describe_registry()["registryId"], ACCOUNT)
        with self.refused("SigningConfigurationNotFoundException"):
            self.ecr.get_signing_configuration()


# The access key of a role's session.
SESSION = "ASIAOFAFUNCTION00000"


class Failing(RegistryTest):
    def test_so_many_calls_of_one_operation_fail(self) -> None:
        self.registry.fail_next("ListImages", 1)
        self.ecr.describe_images(repositoryName=REPOSITORY)
        answers = [self._status("ListImages", {"repositoryName": REPOSITORY}) for _ in range(2)]
        self.assertEqual(answers, [(400, "ThrottlingException"), (200, None)])

    def test_with_the_code_that_is_asked_for(self) -> None:
        self.registry.fail_next("ListImages", 1, "ServerException")
        answer = self._status("ListImages", {"repositoryName": REPOSITORY})
        self.assertEqual(answer, (500, "ServerException"))

    def test_but_not_those_of_one_that_is_spared(self) -> None:
        self.registry.fail_next("ListImages", 1, spared=DRIVER_KEY)
        self.assertEqual(self._status("ListImages", {"repositoryName": REPOSITORY}), (200, None))
        answer = self._status("ListImages", {"repositoryName": REPOSITORY}, key="another")
        self.assertEqual(answer, (400, "ThrottlingException"))

    def _status(self, operation: str, body: dict[str, Any], key: str = DRIVER_KEY) -> tuple[int, str | None]:
        status, answer = call(self.registry.url, operation, body, key)
        return status, answer.get("__type")


class OfFunctions(RegistryTest):
    """Faults for the calls of functions, and not for those of others."""

    def setUp(self) -> None:
        super().setUp()
        everything = {"Effect": "Allow", "Action": ["ecr:BatchDeleteImage"], "Resource": ["*"]}
        self.registry.permit(SESSION, [everything])

    def delete(self, key: str, tag: str) -> list[dict[str, str]]:
        body = {"repositoryName": REPOSITORY, "imageIds": [{"imageTag": tag}]}
        status, answer = call(self.registry.url, "BatchDeleteImage", body, key)
        self.assertEqual(status, 200, answer)
        deleted: list[dict[str, str]] = answer["imageIds"]
        return deleted

    def test_somebody_is_quicker_than_a_function_once(self) -> None:
        old, new = (self.push.image(REPOSITORY, tag, tag) for tag in ("v1", "v2"))
        for image in (old, new):
            self.ecr.put_image(repositoryName=REPOSITORY, imageManifest=image.manifest, imageTag=f"also-{image.tag}")
        self.registry.overtake("BatchDeleteImage", REPOSITORY, "v1", new.digest)
        self.delete(DRIVER_KEY, "also-v1")
        self.assertEqual(self.delete(SESSION, "v1"), [{"imageDigest": new.digest, "imageTag": "v1"}])
        self.push.again(old)
        self.assertEqual(self.delete(SESSION, "v2"), [{"imageDigest": new.digest, "imageTag": "v2"}])
        self.assertEqual({tag for detail in self.describe() for tag in detail["imageTags"]}, {"v1", "also-v2"})

    def test_a_slow_registry_keeps_functions_waiting_and_nobody_else(self) -> None:
        self.registry.behave(slowSeconds=0.5)
        self.addCleanup(self.registry.behave, slowSeconds=0.0)
        took = {}
        for key in (DRIVER_KEY, SESSION):
            started = time.monotonic()
            call(self.registry.url, "BatchDeleteImage", {"repositoryName": REPOSITORY, "imageIds": []}, key)
            took[key] = time.monotonic() - started
        self.assertGreaterEqual(took[SESSION], 0.5)
        self.assertLess(took[DRIVER_KEY], 0.5)


class ReplicationTest(RegistryTest):
    """Every test has rules for ``team/`` into the second region."""

    def setUp(self) -> None:
        super().setUp()
        self.there = self.registry.in_region(SECOND_REGION)
        self.replicate("team/")

    def tearDown(self) -> None:
        self.replicate()
        self.registry.set_replication(REPOSITORY)
        if self.copies():
            self.there.ecr.delete_repository(repositoryName=REPOSITORY, force=True)
        super().tearDown()

    def replicate(self, *prefixes: str) -> None:
        destination = {"region": SECOND_REGION, "registryId": ACCOUNT}
        filters = [{"filter": prefix, "filterType": "PREFIX_MATCH"} for prefix in prefixes]
        rules = [{"destinations": [destination], "repositoryFilters": filters}] if prefixes else []
        self.ecr.put_replication_configuration(replicationConfiguration={"rules": rules})

    def copies(self) -> dict[str, list[str]]:
        """Digests and tags in the second region."""
        try:
            answer = self.there.ecr.describe_images(repositoryName=REPOSITORY, filter={"imageStatus": "ANY"})
        except self.there.ecr.exceptions.RepositoryNotFoundException:
            return {}
        return {detail["imageDigest"]: detail.get("imageTags", []) for detail in answer["imageDetails"]}

    def statuses(self, image: Image) -> list[dict[str, str]]:
        answer = self.ecr.describe_image_replication_status(
            repositoryName=REPOSITORY, imageId={"imageDigest": image.digest}
        )
        return answer["replicationStatuses"]


class Replicating(ReplicationTest):
    def test_an_image_arrives_with_its_tag_in_a_repository_of_defaults(self) -> None:
        self.ecr.put_image_tag_mutability(repositoryName=REPOSITORY, imageTagMutability="IMMUTABLE")
        image = self.push.image(REPOSITORY, "v1", "one")
        self.assertEqual(self.copies(), {image.digest: ["v1"]})
        made = self.there.ecr.describe_repositories(repositoryNames=[REPOSITORY])["repositories"][0]
        self.assertEqual(made["imageTagMutability"], "MUTABLE")
        self.assertIn(f":{SECOND_REGION}:", made["repositoryArn"])
        status = {"region": SECOND_REGION, "registryId": ACCOUNT, "status": "COMPLETE"}
        self.assertEqual(self.statuses(image), [status])

    def test_what_no_rule_is_for_stays(self) -> None:
        self.replicate("platform/")
        image = self.push.image(REPOSITORY, "v1", "one")
        self.assertEqual((self.copies(), self.statuses(image)), ({}, []))

    def test_an_index_arrives_with_its_children(self) -> None:
        children = [self.push.image(REPOSITORY, None, text) for text in ("amd64", "arm64")]
        index = self.push.index(REPOSITORY, "multi", children)
        expected = {index.digest: ["multi"]} | {child.digest: [] for child in children}
        self.assertEqual(self.copies(), expected)

    def test_it_takes_its_time(self) -> None:
        self.registry.set_replication(REPOSITORY, delaySeconds=0.3)
        image = self.push.image(REPOSITORY, "v1", "one")
        self.assertEqual((self.copies(), self.statuses(image)[0]["status"]), ({}, "IN_PROGRESS"))
        wait_for("the copy arrives", self.copies, 5)
        self.assertEqual(self.statuses(image)[0]["status"], "COMPLETE")

    def test_it_fails(self) -> None:
        self.registry.set_replication(REPOSITORY, failureCode="AccessDenied")
        image = self.push.image(REPOSITORY, "v1", "one")
        self.assertEqual(self.copies(), {})
        status = self.statuses(image)[0]
        self.assertEqual((status["status"], status["failureCode"]), ("FAILED", "AccessDenied"))

    def test_an_immutable_tag_stays_where_it_is(self) -> None:
        self.there.ecr.create_repository(repositoryName=REPOSITORY, imageTagMutability="IMMUTABLE")
        old = Pusher(self.there.ecr).image(REPOSITORY, "v1", "old")
        image = self.push.image(REPOSITORY, "v1", "one")
        self.assertEqual(self.copies(), {old.digest: ["v1"], image.digest: []})
        self.assertEqual(self.statuses(image)[0]["status"], "COMPLETE")

    def test_a_tag_gets_lost(self) -> None:
        self.registry.set_replication(REPOSITORY, loseTag=True)
        image = self.push.image(REPOSITORY, "v1", "one")
        self.assertEqual(self.copies(), {image.digest: []})

    def test_archiving_and_deleting_stay_at_home_and_a_push_restores_the_copy(self) -> None:
        image = self.push.image(REPOSITORY, "v1", "one")
        for registry in (self.registry, self.there):
            registry.ecr.update_image_storage_class(
                repositoryName=REPOSITORY, imageId={"imageDigest": image.digest}, targetStorageClass="ARCHIVE"
            )
        self.assertEqual(self.there.pull(REPOSITORY, "v1"), 404)
        self.push.again(image)
        self.assertEqual(self.there.pull(REPOSITORY, "v1"), 200)
        self.ecr.batch_delete_image(repositoryName=REPOSITORY, imageIds=[{"imageDigest": image.digest}])
        self.assertEqual(self.copies(), {image.digest: ["v1"]})

    def test_what_arrives_goes_no_further(self) -> None:
        back = {"destinations": [{"region": REGION, "registryId": ACCOUNT}]}
        self.there.ecr.put_replication_configuration(replicationConfiguration={"rules": [back]})
        self.addCleanup(self.there.ecr.put_replication_configuration, replicationConfiguration={"rules": []})
        image = self.push.image(REPOSITORY, "v1", "one")
        self.copies()
        answer = self.there.ecr.describe_image_replication_status(
            repositoryName=REPOSITORY, imageId={"imageDigest": image.digest}
        )
        self.assertEqual(answer["replicationStatuses"], [])

    def test_bad_rules_are_refused(self) -> None:
        itself = {"destinations": [{"region": REGION, "registryId": ACCOUNT}]}
        there = {"destinations": [{"region": SECOND_REGION, "registryId": ACCOUNT}]}
        for rules in ([itself], [there] * 11):
            with self.refused("InvalidParameterException"):
                self.ecr.put_replication_configuration(replicationConfiguration={"rules": rules})
        kept = self.ecr.describe_registry()["replicationConfiguration"]["rules"]
        self.assertEqual(kept[0]["repositoryFilters"][0]["filter"], "team/")


class Backfilling(ReplicationTest):
    """The operations that botocore does not know are called as the Rust SDK calls them."""

    def ask(self, operation: str, **body: Any) -> dict[str, Any]:
        status, answer = call(self.registry.url, operation, body)
        self.assertEqual(status, 200, answer)
        return answer

    def start(self) -> str:
        destination = {"region": SECOND_REGION, "registryId": ACCOUNT}
        return str(self.ask("StartReplicationBackfill", destination=destination)["replicationBackfillId"])

    def test_it_copies_what_was_there_before_the_rules(self) -> None:
        self.replicate()
        image = self.push.image(REPOSITORY, "v1", "one")
        self.replicate("team/")
        self.assertEqual(self.copies(), {})
        backfill = self.start()
        self.assertEqual(self.copies(), {image.digest: ["v1"]})
        found = self.ask("ListReplicationBackfills")["backfills"][0]
        self.assertEqual((found["replicationBackfillId"], found["status"]), (backfill, "COMPLETE"))
        self.assertEqual(found["progress"]["completedReplicationCount"], 1)
        self.assertEqual(self.statuses(image)[0]["status"], "COMPLETE")

    def test_its_results_are_there_when_it_has_ended(self) -> None:
        self.replicate()
        image = self.push.image(REPOSITORY, "v1", "one")
        self.replicate("team/")
        self.registry.set_replication(REPOSITORY, delaySeconds=0.3, failureCode="AccessDenied")
        backfill = self.start()
        answer = self.ask("DescribeReplicationBackfillResults", replicationBackfillId=backfill)
        self.assertEqual((answer["status"], answer["results"]), ("IN_PROGRESS", []))
        destination = {"region": SECOND_REGION, "registryId": ACCOUNT}
        refused = call(self.registry.url, "StartReplicationBackfill", {"destination": destination})
        self.assertEqual(refused[1]["__type"], "ReplicationBackfillInProgressException")
        result = wait_for(
            "the backfill ends",
            lambda: self.ask(
                "DescribeReplicationBackfillResults", replicationBackfillId=backfill, resultStatusFilter="FAILED"
            )["results"],
            5,
        )[0]
        self.assertEqual((result["imageId"]["imageDigest"], result["failureCode"]), (image.digest, "AccessDenied"))

    def test_it_can_be_stopped(self) -> None:
        self.replicate()
        self.push.image(REPOSITORY, "v1", "one")
        self.replicate("team/")
        self.registry.set_replication(REPOSITORY, delaySeconds=60)
        backfill = self.start()
        self.assertEqual(self.ask("StopReplicationBackfill", replicationBackfillId=backfill)["status"], "STOPPED")
        self.assertEqual(self.copies(), {})

    def test_it_needs_a_rule_for_its_destination(self) -> None:
        destination = {"region": "eu-west-1", "registryId": ACCOUNT}
        status, answer = call(self.registry.url, "StartReplicationBackfill", {"destination": destination})
        self.assertEqual((status, answer["__type"]), (400, "InvalidParameterException"))
        status, answer = call(self.registry.url, "StopReplicationBackfill", {"replicationBackfillId": "none"})
        self.assertEqual((status, answer["__type"]), (400, "ReplicationBackfillNotFoundException"))


def call(url: str, operation: str, body: dict[str, Any], key: str = DRIVER_KEY) -> tuple[int, dict[str, Any]]:
    """One request without botocore, which would try again and knows only its own operations."""
    headers = {
        "X-Amz-Target": f"{TARGET}.{operation}",
        "Content-Type": "application/x-amz-json-1.1",
        "Authorization": f"AWS4-HMAC-SHA256 Credential={key}/20261124/{REGION}/ecr/aws4_request, Signature=none",
    }
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())
