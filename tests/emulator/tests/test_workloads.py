"""The lists of workloads, read through botocore's models of ECS, Lambda, Batch, EKS and STS."""

from __future__ import annotations

import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import ClientError

from local_aws import running
from local_aws.images import Image
from local_aws.processes import free_port, start, stop_group, wait_until_it_answers
from local_aws.registry import ACCOUNT, PACKAGES, REGION, SECOND_REGION, client
from local_aws.running import Running

OTHER = "222222222222"
READER = f"arn:aws:iam::{OTHER}:role/reader"
BEFORE, NOW = (Image("team/app", f"sha256:{n * 64}", f"v{n}", "", "", "") for n in "12")


class Workloads(unittest.TestCase):
    """The server."""

    running: Running

    @classmethod
    def setUpClass(cls) -> None:
        directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(directory.cleanup)
        port, log = free_port(), Path(directory.name) / "workloads.log"
        environment = {"PYTHONPATH": str(PACKAGES), "PYTHONDONTWRITEBYTECODE": "1"}
        process = start([sys.executable, "-m", "local_aws.workloads", "--port", str(port)], environment, log)
        cls.addClassCleanup(stop_group, process.pid, process)
        cls.running = Running(f"http://127.0.0.1:{port}")
        wait_until_it_answers("workloads", f"{cls.running.url}/workloads/calls", process, log)
        functions = [running.function("thumbs", version, NOW) for version in ("$LATEST", "1", "2")]
        alias = {"AliasArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:thumbs:live", "Name": "live", "FunctionVersion": "2"}
        definitions = [{"taskDefinitionArn": running.ecs(f"task-definition/job:{n}"), "status": "ACTIVE"} for n in (1, 2, 3)]
        definitions.append({"taskDefinitionArn": running.ecs("task-definition/old:1"), "status": "INACTIVE"})
        cls.running.set(
            {
                **running.service("prod", "api", NOW, BEFORE),
                "tasks": [running.task("prod", "api", NOW), running.task("other", "web", NOW)],
                "functions": functions,
                "aliases": [alias],
                "definitions": definitions,
                "jobDefinitions": [{"jobDefinitionName": "train", "revision": 3, "status": "ACTIVE"}],
                "eks": ["a", "b", "c"],
            }
        )

    def client(self, service: str, key: str | None = None, region: str = REGION) -> Any:
        """A client of the root, or of the session with an access key."""
        if key is None:
            return client(service, self.running.url, region)
        return boto3.client(
            service, endpoint_url=self.running.url, region_name=region, aws_access_key_id=key, aws_secret_access_key="not-a-secret"
        )

    def session(self, *actions: str, resource: str = "*") -> str:
        """The key of a session that may do this."""
        self.running.permit("ASIASESSION", [{"Effect": "Allow", "Action": list(actions), "Resource": [resource]}], "arn:aws:sts::a-session")
        return "ASIASESSION"

    def refused(self, code: str, call: Any, **parameters: Any) -> str:
        """The message of a call that must fail with this code."""
        with self.assertRaises(ClientError) as caught:
            call(**parameters)
        self.assertEqual(caught.exception.response["Error"]["Code"], code)
        return str(caught.exception)

    def test_tasks_are_those_of_their_cluster_with_the_digest_that_was_pulled(self) -> None:
        ecs = self.client("ecs")
        (cluster,) = ecs.list_clusters()["clusterArns"]
        arns = ecs.list_tasks(cluster=cluster)["taskArns"]
        described = ecs.describe_tasks(cluster=cluster, tasks=[*arns, "gone"])
        self.assertEqual([task["containers"][0]["imageDigest"] for task in described["tasks"]], [NOW.digest])
        self.assertEqual(described["failures"], [{"arn": "gone", "reason": "MISSING"}])
        self.refused("ClusterNotFoundException", ecs.list_tasks, cluster="none")

    def test_a_service_leads_to_its_revision_and_to_the_one_that_it_goes_back_to(self) -> None:
        ecs = self.client("ecs")
        (arn,) = ecs.list_services(cluster="prod")["serviceArns"]
        (service,) = ecs.describe_services(cluster="prod", services=[arn])["services"]
        deployments = ecs.describe_service_deployments(serviceDeploymentArns=[service["currentServiceDeployment"]])
        arns = [service["currentServiceRevisions"][0]["arn"]]
        arns += [one["arn"] for one in deployments["serviceDeployments"][0]["sourceServiceRevisions"]]
        revisions = ecs.describe_service_revisions(serviceRevisionArns=arns)["serviceRevisions"]
        self.assertEqual([one["containerImages"][0]["imageDigest"] for one in revisions], [NOW.digest, BEFORE.digest])
        self.refused("InvalidParameterException", ecs.describe_services, cluster="prod", services=[arn] * 11)

    def test_lists_have_pages_and_inactive_definitions_are_not_listed(self) -> None:
        ecs, eks, functions = self.client("ecs"), self.client("eks"), self.client("lambda")
        definitions = [page["taskDefinitionArns"] for page in ecs.get_paginator("list_task_definitions").paginate(status="ACTIVE")]
        self.assertEqual([len(page) for page in definitions], [2, 1])
        self.assertEqual([page["clusters"] for page in eks.get_paginator("list_clusters").paginate()], [["a", "b"], ["c"]])
        versions = functions.get_paginator("list_functions").paginate(FunctionVersion="ALL")
        self.assertEqual([one["Version"] for page in versions for one in page["Functions"]], ["$LATEST", "1", "2"])
        self.assertEqual(len(functions.list_functions()["Functions"]), 1)
        described = self.client("batch").describe_job_definitions(status="ACTIVE")["jobDefinitions"]
        self.assertEqual([(one["jobDefinitionName"], one["revision"]) for one in described], [("train", 3)])

    def test_a_version_of_a_function_has_the_digest_of_its_image(self) -> None:
        functions = self.client("lambda")
        code = functions.get_function(FunctionName="thumbs", Qualifier="1")["Code"]
        self.assertEqual(code["ResolvedImageUri"], running.by_digest(NOW))
        self.assertEqual(functions.list_aliases(FunctionName="thumbs")["Aliases"][0]["FunctionVersion"], "2")
        self.refused("ResourceNotFoundException", functions.get_function, FunctionName="thumbs", Qualifier="9")
        self.refused("ResourceNotFoundException", functions.list_aliases, FunctionName="none")

    def test_another_region_has_nothing_of_this_one(self) -> None:
        self.assertEqual(self.client("ecs", region=SECOND_REGION).list_clusters()["clusterArns"], [])

    def test_each_action_must_be_allowed_and_a_version_is_a_resource_of_its_own(self) -> None:
        ecs = self.client("ecs", self.session("ecs:ListClusters"))
        ecs.list_clusters()
        self.assertIn("perform: ecs:ListTasks on resource: *", self.refused("AccessDeniedException", ecs.list_tasks, cluster="prod"))
        self.assertIn("ListFunctions", self.refused("AccessDeniedException", self.client("lambda", "ASIASESSION").list_functions))
        arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:thumbs"
        functions = self.client("lambda", self.session("lambda:GetFunction", resource=arn))
        functions.get_function(FunctionName="thumbs")
        self.refused("AccessDeniedException", functions.get_function, FunctionName="thumbs", Qualifier="1")
        self.session("lambda:GetFunction", resource=f"{arn}:*")
        functions.get_function(FunctionName="thumbs", Qualifier="1")

    def test_a_role_of_another_account_needs_its_external_id_and_leads_there(self) -> None:
        sts = self.client("sts", self.session("sts:AssumeRole", resource=READER))
        asked = {"RoleArn": READER, "RoleSessionName": "test", "ExternalId": "the-id"}
        self.assertIn("sts:AssumeRole", self.refused("AccessDenied", sts.assume_role, **asked))
        self.running.role(READER, "the-id", [{"Effect": "Allow", "Action": ["eks:ListClusters"], "Resource": ["*"]}])
        self.running.set({"eks": ["theirs"]}, OTHER)
        self.refused("AccessDenied", sts.assume_role, **asked | {"ExternalId": "another"})
        key = sts.assume_role(**asked)["Credentials"]["AccessKeyId"]
        self.assertEqual(self.client("eks", key).list_clusters()["clusters"], ["theirs"])
        self.refused("AccessDeniedException", self.client("ecs", key).list_clusters)
        self.session("sts:TagSession", resource=READER)
        self.refused("AccessDenied", sts.assume_role, **asked)
        self.assertEqual({call["account"] for call in self.running.calls() if call["caller"] == key}, {OTHER})

    def test_what_is_not_understood_is_refused(self) -> None:
        with self.assertRaises(Exception) as caught:
            self.running.set({"queues": []})
        self.assertIn("400", str(caught.exception))


if __name__ == "__main__":
    unittest.main()
