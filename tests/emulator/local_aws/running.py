"""The running workloads, as the driver gives them, in the members that AWS answers with, and the roles of other accounts."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

from local_aws.images import Image
from local_aws.registry import ACCOUNT, REGION

Json = dict[str, Any]


class Running:
    """The state of ``local_aws.workloads``. A new state of an account and region replaces the one before."""

    def __init__(self, url: str):
        self.url = url

    def set(self, members: dict[str, list[Any]], account: str = ACCOUNT, region: str = REGION) -> None:
        """All that there is: ``functions``, ``tasks`` and others, by the names of ``workloads.py``."""
        self._send("PUT", "of", {"account": account, "region": region, **members})

    def permit(self, caller: str, statements: list[Json], user: str) -> None:
        """Lets the session with an access key do what these statements say."""
        self._send("PUT", "permissions", {"caller": caller, "statements": statements, "user": user})

    def role(self, arn: str, external_id: str | None, statements: list[Json] | None) -> None:
        """A role of another account, that who knows its external id may take; without statements it is gone."""
        self._send("PUT", "roles", {"arn": arn, "externalId": external_id, "statements": statements})

    def calls(self) -> list[Json]:
        """The calls since they were last forgotten: ``action``, ``caller``, ``account``, ``region``."""
        found: list[Json] = self._send("GET", "calls", None)
        return found

    def forget_calls(self) -> None:
        """Empties the call log."""
        self._send("DELETE", "calls", None)

    def environment(self) -> dict[str, str]:
        """The variables with which an SDK asks for workloads here."""
        return {f"AWS_ENDPOINT_URL_{service}": self.url for service in ("BATCH", "ECS", "EKS", "LAMBDA", "STS")}

    def _send(self, method: str, path: str, body: Any) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/workloads/{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=5) as answer:
            content = answer.read()
        return json.loads(content) if content else None


def uri(image: Image, region: str = REGION) -> str:
    """The name of an image in a workload, by its tag or its digest."""
    return by_digest(image, region) if image.tag is None else f"{_repository(image, region)}:{image.tag}"


def by_digest(image: Image, region: str = REGION) -> str:
    """The name of an image in a workload, by its digest."""
    return f"{_repository(image, region)}@{image.digest}"


def _repository(image: Image, region: str) -> str:
    return f"{ACCOUNT}.dkr.ecr.{region}.amazonaws.com/{image.repository}"


def ecs(resource: str, region: str = REGION, account: str = ACCOUNT) -> str:
    """The ARN of something in ECS."""
    return f"arn:aws:ecs:{region}:{account}:{resource}"


def function(name: str, version: str, image: Image, account: str = ACCOUNT, region: str = REGION) -> Json:
    """A version of a function of an image, as ``GetFunction`` answers it; ``ListFunctions`` has its ``Configuration`` alone."""
    configuration = {
        "FunctionName": name,
        "FunctionArn": f"arn:aws:lambda:{region}:{account}:function:{name}:{version}",
        "Version": version,
        "PackageType": "Image",
        "LastModified": "2026-09-01T12:00:00.000+0000",
        "CodeSha256": image.digest.removeprefix("sha256:"),
    }
    code = {"RepositoryType": "ECR", "ImageUri": uri(image, region), "ResolvedImageUri": by_digest(image, region)}
    return {"Configuration": configuration, "Code": code}


def task(cluster: str, name: str, image: Image, group: str | None = None, status: str = "RUNNING") -> Json:
    """A task of the family ``name``, as ``DescribeTasks`` answers it."""
    return {
        "taskArn": ecs(f"task/{cluster}/{name}-1"),
        "clusterArn": ecs(f"cluster/{cluster}"),
        "taskDefinitionArn": ecs(f"task-definition/{name}:1"),
        "group": group or f"family:{name}",
        "lastStatus": status,
        "desiredStatus": "RUNNING",
        "containers": [{"name": name, "image": uri(image), "imageDigest": image.digest, "lastStatus": status}],
    }


def failed_to_pull(cluster: str, name: str, image: Image) -> Json:
    """A task of the service ``name`` that could not pull its image (ECS developer guide, "CannotPullContainer task errors in Amazon ECS")."""
    failed = task(cluster, name, image, f"service:{name}", "STOPPED")
    reason = f"CannotPullContainerError: pull image manifest has been retried 1 time(s): failed to resolve ref {uri(image)}: not found"
    container = {"name": name, "image": uri(image), "lastStatus": "STOPPED"}
    return failed | {"desiredStatus": "STOPPED", "stopCode": "TaskFailedToStart", "stoppedReason": reason, "containers": [container]}


def service(cluster: str, name: str, image: Image, before: Image | None = None) -> dict[str, list[Json]]:
    """A service that no task runs of, its revision and deployment, and the revision that it goes back to: the members of :meth:`Running.set`."""

    def revision(number: int, image: Image) -> Json:
        return {
            "serviceRevisionArn": ecs(f"service-revision/{cluster}/{name}/{number}"),
            "serviceArn": ecs(f"service/{cluster}/{name}"),
            "taskDefinition": ecs(f"task-definition/{name}:{number}"),
            "containerImages": [{"containerName": name, "image": uri(image), "imageDigest": image.digest}],
        }

    revisions = [revision(2, image)] + ([revision(1, before)] if before else [])
    described = {
        "serviceArn": ecs(f"service/{cluster}/{name}"),
        "serviceName": name,
        "clusterArn": ecs(f"cluster/{cluster}"),
        "desiredCount": 0,
        "taskDefinition": ecs(f"task-definition/{name}:2"),
        "currentServiceRevisions": [{"arn": revisions[0]["serviceRevisionArn"]}],
        "currentServiceDeployment": ecs(f"service-deployment/{cluster}/{name}/1"),
    }
    deployment = {
        "serviceDeploymentArn": described["currentServiceDeployment"],
        "status": "SUCCESSFUL",
        "sourceServiceRevisions": [{"arn": one["serviceRevisionArn"]} for one in revisions[1:]],
    }
    return {
        "clusters": [{"clusterArn": described["clusterArn"]}],
        "services": [described],
        "deployments": [deployment],
        "revisions": revisions,
    }
