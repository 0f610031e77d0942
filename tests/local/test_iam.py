"""The roles are those of the Terraform module; our registry and ministack enforce them."""

from __future__ import annotations

import json
import re
import tempfile
import unittest
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

import iam
from region import FUNCTIONS
from registry import ACCOUNT, REGION, SECOND_REGION, Registry

TOPIC = iam.arn("sns", REGION, "ecr-guard-alerts")


# Documents, and what each has the functions change: those that hold the module and the code to it as well.
DOCUMENTS = json.loads((iam.MODULE / "tests" / "changes.json").read_text())
REPORT = DOCUMENTS[0]["document"]
# What has everything done.
ENFORCE = DOCUMENTS[-1]["document"]


def role(function: str, policy: dict[str, Any] = ENFORCE) -> list[iam.Statement]:
    """The statements of a function's role."""
    queue = "ecr-guard-work" if function in ("sweep", "worker") else ""
    return iam.role_policy(function, f"ecr-guard-{function}", policy, REGION, "ecr-guard-ledger", [TOPIC], queue)


class RoleTest(unittest.TestCase):
    """The document."""

    def test_the_statements_are_those_of_the_module(self) -> None:
        """By name, with the actions, and the keys of conditions, that ``functions.tf`` spells out."""
        text = (iam.MODULE / "functions.tf").read_text()
        text = text[text.index("role_policies = {") : text.index("] : statement if length(statement.Action) > 0]")]
        blocks = re.split(r"\bSid +=", text)[1:]
        theirs = {block.split('"')[1]: set(re.findall(r'"((?:kms|sqs|logs|xray):\w+)"', block)) for block in blocks}
        # Only where the functions run in a network of their own, which this machine has none of.
        self.assertIn("Network", theirs)
        del theirs["Network"]
        # A condition's key is no action.
        theirs = {sid: {action for action in found if action != "kms:ViaService"} for sid, found in theirs.items()}
        ours: dict[str, set[str]] = {}
        granted: dict[str, set[str]] = {}
        for function in FUNCTIONS:
            given = {action for actions in iam.granted(function, ENFORCE).values() for action in actions}
            for statement in role(function):
                ours.setdefault(statement["Sid"], set()).update(statement["Action"])
                granted.setdefault(statement["Sid"], set()).update(given)
        self.assertEqual(set(theirs), set(ours))
        for sid, actions in theirs.items():
            self.assertLessEqual(actions, ours[sid], sid)
            self.assertLessEqual(ours[sid] - actions, granted[sid], sid)
        self.assertIn("kms:ViaService", text)
        self.assertIn("kms:EncryptionContext:aws:lambda:FunctionArn", text)

    def test_every_action_of_the_data_is_granted(self) -> None:
        for function in FUNCTIONS:
            for policy in (row["document"] for row in DOCUMENTS):
                given = sorted(action for actions in iam.granted(function, policy).values() for action in actions)
                own = ("Work", "FailedEvents", "Keys", "Environment", "Logs", "Traces")
                found = [action for one in role(function, policy) if one["Sid"] not in own for action in one["Action"]]
                work = [action for one in role(function, policy) if one["Sid"] == "Work" for action in one["Action"]]
                taking = ("sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage")
                found += [action for action in work if function not in iam.BY_QUEUE or action not in taking]
                self.assertEqual(given, sorted(found), f"{function} under {policy}")

    def test_a_role_has_what_its_policy_has_done(self) -> None:
        for row in DOCUMENTS:
            self.assertEqual(row["changes"], iam.changes(row["document"]), row["says"])

    def test_in_report_mode_nothing_of_the_registry_may_be_changed(self) -> None:
        reading = ("Describe", "Get", "List", "BatchGet")
        for function in FUNCTIONS:
            actions = [action for statement in role(function, REPORT) for action in statement["Action"]]
            changing = [one for one in actions if one.startswith("ecr:") and not one[4:].startswith(reading)]
            self.assertEqual(changing, [], function)

    def test_an_action_is_taken_away_and_nothing_else(self) -> None:
        whole = role("sweep")
        fewer = iam.without(whole, "dynamodb:Query")
        before = [action for statement in whole for action in statement["Action"]]
        after = [action for statement in fewer for action in statement["Action"]]
        self.assertEqual([action for action in before if action != "dynamodb:Query"], after)
        self.assertNotIn(
            "Traces",
            [
                one["Sid"]
                for one in iam.without(iam.without(whole, "xray:PutTelemetryRecords"), "xray:PutTraceSegments")
            ],
        )
        with self.assertRaises(ValueError):
            iam.without(whole, "ecr:PutImage")


class RegistryTest(unittest.TestCase):
    """What our registry makes of it."""

    directory: tempfile.TemporaryDirectory[str]
    registry: Registry

    @classmethod
    def setUpClass(cls) -> None:
        cls.directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.directory.cleanup)
        cls.registry = Registry(Path(cls.directory.name) / "registry.log")
        cls.registry.start()
        cls.addClassCleanup(cls.registry.stop)
        for name in ("team/app", "other/app"):
            cls.registry.ecr.create_repository(repositoryName=name)

    def session(self, *statements: iam.Statement, key: str = "ASIAFUNCTION", region: str = REGION) -> Any:
        """A client with the session of a role."""
        self.registry.permit(key, list(statements))
        return boto3.client(
            "ecr",
            endpoint_url=self.registry.url,
            region_name=region,
            aws_access_key_id=key,
            aws_secret_access_key="not-a-secret",
        )

    def refused(self, call: Any, **parameters: Any) -> str:
        """The message of a call that must be refused for want of permission."""
        with self.assertRaises(ClientError) as caught:
            call(**parameters)
        self.assertEqual(caught.exception.response["Error"]["Code"], "AccessDeniedException")
        return str(caught.exception)

    def test_action_and_repository_must_both_be_allowed(self) -> None:
        team = [iam.arn("ecr", REGION, "repository/team/*")]
        ecr = self.session({"Effect": "Allow", "Action": ["ecr:DescribeImages"], "Resource": team})
        ecr.describe_images(repositoryName="team/app")
        message = self.refused(ecr.describe_images, repositoryName="other/app")
        self.assertIn(f"ecr:DescribeImages on resource: {iam.arn('ecr', REGION, 'repository/other/app')}", message)
        self.assertIn("ecr:ListImages", self.refused(ecr.list_images, repositoryName="team/app"))

    def test_all_repositories_that_a_request_names_must_be_allowed(self) -> None:
        team = [iam.arn("ecr", REGION, "repository/team/*")]
        ecr = self.session({"Effect": "Allow", "Action": ["ecr:DescribeRepositories"], "Resource": team})
        ecr.describe_repositories(repositoryNames=["team/app"])
        self.refused(ecr.describe_repositories, repositoryNames=["team/app", "other/app"])
        self.refused(ecr.describe_repositories)

    def test_tags_are_those_of_a_repository(self) -> None:
        team, other = (iam.arn("ecr", REGION, f"repository/{name}/app") for name in ("team", "other"))
        ecr = self.session({"Effect": "Allow", "Action": ["ecr:ListTagsForResource"], "Resource": [team]})
        ecr.list_tags_for_resource(resourceArn=team)
        self.refused(ecr.list_tags_for_resource, resourceArn=other)

    def test_settings_of_the_registry_have_no_resource_to_name(self) -> None:
        action = ["ecr:DescribeRegistry"]
        ecr = self.session({"Effect": "Allow", "Action": action, "Resource": [iam.arn("ecr", REGION, "repository/*")]})
        self.refused(ecr.describe_registry)
        self.session({"Effect": "Allow", "Action": action, "Resource": ["*"]}).describe_registry()

    def test_another_region_is_another_resource(self) -> None:
        statement = {
            "Effect": "Allow",
            "Action": ["ecr:DescribeImages"],
            "Resource": [iam.arn("ecr", "*", "repository/*")],
        }
        here = statement | {"Resource": [iam.arn("ecr", REGION, "repository/*")]}
        self.registry.in_region(SECOND_REGION).ecr.create_repository(repositoryName="team/app")
        self.session(statement, region=SECOND_REGION).describe_images(repositoryName="team/app")
        self.refused(self.session(here, region=SECOND_REGION).describe_images, repositoryName="team/app")

    def test_what_is_refused_changes_nothing(self) -> None:
        self.refused(self.session().put_image_tag_mutability, repositoryName="team/app", imageTagMutability="IMMUTABLE")
        found = self.registry.ecr.describe_repositories(repositoryNames=["team/app"])["repositories"]
        self.assertEqual(found[0]["imageTagMutability"], "MUTABLE")
        self.assertEqual(
            self.registry.calls(caller="ASIAFUNCTION", operation="PutImageTagMutability")[0]["status"], 400
        )

    def test_referrers_are_listed_with_the_permission_to_get_images(self) -> None:
        everything = [iam.arn("ecr", REGION, "repository/*")]
        subject = {"imageDigest": "sha256:" + "a" * 64}
        ecr = self.session({"Effect": "Allow", "Action": ["ecr:BatchGetImage"], "Resource": everything})
        ecr.list_image_referrers(repositoryName="team/app", subjectId=subject)
        ecr = self.session({"Effect": "Allow", "Action": ["ecr:ListImageReferrers"], "Resource": everything})
        self.assertIn(
            "ecr:BatchGetImage", self.refused(ecr.list_image_referrers, repositoryName="team/app", subjectId=subject)
        )

    def test_enhanced_findings_need_the_permissions_of_inspector(self) -> None:
        self.registry.ecr.put_registry_scanning_configuration(scanType="ENHANCED", rules=[])
        self.addCleanup(self.registry.ecr.put_registry_scanning_configuration, scanType="BASIC", rules=[])
        read = {"Effect": "Allow", "Action": ["ecr:DescribeImageScanFindings"], "Resource": ["*"]}
        asked = {"repositoryName": "team/app", "imageId": {"imageDigest": "sha256:" + "a" * 64}}
        for granted, missing in (
            ([], "inspector2:ListCoverage"),
            (["inspector2:ListCoverage"], "inspector2:ListFindings"),
        ):
            statements = [read, {"Effect": "Allow", "Action": granted, "Resource": ["*"]}][: 1 + len(granted)]
            message = self.refused(self.session(*statements).describe_image_scan_findings, **asked)
            self.assertIn(f"is not authorized to perform: {missing} on resource: arn:aws:inspector2:{REGION}:", message)
        both = {"Effect": "Allow", "Action": ["inspector2:ListCoverage", "inspector2:ListFindings"], "Resource": ["*"]}
        ecr = self.session(read, both)
        with self.assertRaises(ecr.exceptions.ImageNotFoundException):
            ecr.describe_image_scan_findings(**asked)

    def test_a_refusal_names_the_session_by_its_arn(self) -> None:
        ecr = self.session()
        user = f"arn:aws:sts::{ACCOUNT}:assumed-role/a-role/a-function"
        self.registry.permit("ASIAFUNCTION", [], user)
        self.assertIn(f"User: {user} is not", self.refused(ecr.describe_images, repositoryName="team/app"))

    def test_what_is_not_understood_is_not_taken_for_granted(self) -> None:
        allow = {"Effect": "Allow", "Action": ["ecr:DescribeImages"], "Resource": ["*"]}
        for wrong in ({"Effect": "Deny"}, {"Action": ["ecr:*"]}, {"Condition": {}}):
            with self.subTest(wrong), self.assertRaises(Exception) as caught:
                self.registry.permit("ASIAOTHER", [allow | wrong])
            self.assertIn("400", str(caught.exception))

    def test_the_root_may_do_everything(self) -> None:
        self.assertEqual(len(self.registry.ecr.describe_repositories(registryId=ACCOUNT)["repositories"]), 2)


if __name__ == "__main__":
    unittest.main()
