"""Our ECR lets a session do what the statements of its role say, and refuses the rest in the words of AWS."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from local_aws import roles
from local_aws.registry import ACCOUNT, REGION, SECOND_REGION, Registry


class Permissions(unittest.TestCase):
    """The evaluation of our registry."""

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

    def session(self, *statements: roles.Statement, key: str = "ASIAFUNCTION", region: str = REGION) -> Any:
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
        team = [roles.arn("ecr", REGION, "repository/team/*")]
        ecr = self.session({"Effect": "Allow", "Action": ["ecr:DescribeImages"], "Resource": team})
        ecr.describe_images(repositoryName="team/app")
        message = self.refused(ecr.describe_images, repositoryName="other/app")
        self.assertIn(f"ecr:DescribeImages on resource: {roles.arn('ecr', REGION, 'repository/other/app')}", message)
        self.assertIn("ecr:ListImages", self.refused(ecr.list_images, repositoryName="team/app"))

    def test_all_repositories_that_a_request_names_must_be_allowed(self) -> None:
        team = [roles.arn("ecr", REGION, "repository/team/*")]
        ecr = self.session({"Effect": "Allow", "Action": ["ecr:DescribeRepositories"], "Resource": team})
        ecr.describe_repositories(repositoryNames=["team/app"])
        self.refused(ecr.describe_repositories, repositoryNames=["team/app", "other/app"])
        self.refused(ecr.describe_repositories)

    def test_tags_are_those_of_a_repository(self) -> None:
        team, other = (roles.arn("ecr", REGION, f"repository/{name}/app") for name in ("team", "other"))
        ecr = self.session({"Effect": "Allow", "Action": ["ecr:ListTagsForResource"], "Resource": [team]})
        ecr.list_tags_for_resource(resourceArn=team)
        self.refused(ecr.list_tags_for_resource, resourceArn=other)

    def test_settings_of_the_registry_have_no_resource_to_name(self) -> None:
        action = ["ecr:DescribeRegistry"]
        ecr = self.session({"Effect": "Allow", "Action": action, "Resource": [roles.arn("ecr", REGION, "repository/*")]})
        self.refused(ecr.describe_registry)
        self.session({"Effect": "Allow", "Action": action, "Resource": ["*"]}).describe_registry()

    def test_another_region_is_another_resource(self) -> None:
        statement = {
            "Effect": "Allow",
            "Action": ["ecr:DescribeImages"],
            "Resource": [roles.arn("ecr", "*", "repository/*")],
        }
        here = statement | {"Resource": [roles.arn("ecr", REGION, "repository/*")]}
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
        everything = [roles.arn("ecr", REGION, "repository/*")]
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
        not_understood: list[dict[str, Any]] = [{"Effect": "Deny"}, {"Action": ["ecr:*"]}, {"Condition": {}}]
        for wrong in not_understood:
            with self.subTest(wrong), self.assertRaises(Exception) as caught:
                self.registry.permit("ASIAOTHER", [allow | wrong])
            self.assertIn("400", str(caught.exception))

    def test_the_root_may_do_everything(self) -> None:
        self.assertEqual(len(self.registry.ecr.describe_repositories(registryId=ACCOUNT)["repositories"]), 2)


if __name__ == "__main__":
    unittest.main()
