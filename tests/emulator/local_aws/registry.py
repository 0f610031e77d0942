"""The ECR of the emulator: its start, its requests and its settings."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import urllib.error
import urllib.request
from copy import copy
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import boto3
from botocore.config import Config

from local_aws.processes import free_port, start, stop_group, wait_until_it_answers

# Where the package is: the emulators are started from there, installed or not.
PACKAGES = Path(__file__).resolve().parents[1]
ACCOUNT, REGION = "123456789012", "us-west-2"
SECOND_REGION = "us-east-1"
# The access key distinguishes the driver's calls from those of the functions in the registry's call log.
DRIVER_KEY = "AKIDDRIVEROFTHEDEMO0"
DRIVER_SECRET = "not-a-secret"


def client(service: str, endpoint: str, region: str = REGION) -> Any:
    """A boto3 client for an emulator."""
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id=DRIVER_KEY,
        aws_secret_access_key=DRIVER_SECRET,
        config=Config(retries={"mode": "standard", "max_attempts": 2}, connect_timeout=5, read_timeout=30),
    )


def order_of_this_run() -> int:
    """The number that gives the order of all lists: that of ``ECR_GUARD_ORDER``, or any."""
    return int(os.environ.get("ECR_GUARD_ORDER") or random.randrange(1_000_000))


class Registry:
    """The registry in one region. One server has those of all regions.

    Its lists come in any order, as those of AWS: ``order`` gives it, and gives it again with ``ECR_GUARD_ORDER``.
    """

    def __init__(self, log: Path, order: int | None = None, port: int | None = None):
        self.order = order_of_this_run() if order is None else order
        self.port = free_port() if port is None else port
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.region = REGION
        self.ecr = client("ecr", self.url)

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        command = [sys.executable, "-m", "local_aws.ecr", "--port", str(self.port), "--account", ACCOUNT, "--region", REGION]
        command += ["--order", str(self.order)]
        environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(PACKAGES), "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = start(command, environment, self.log)
        wait_until_it_answers("the registry", f"{self.url}/ecr-guard/calls", self.process, self.log)

    def stop(self) -> None:
        """Ends the server."""
        if self.process is not None:
            stop_group(self.process.pid, self.process)
            self.process = None

    def in_region(self, region: str) -> Registry:
        """The registry of the same server in another region."""
        other = copy(self)
        other.region, other.ecr = region, client("ecr", self.url, region)
        return other

    def set_scan(self, repository: str, digest: str, status: str, **result: Any) -> None:
        """Gives an image the result of a scan: ``findings``, ``enhancedFindings``, ``description``, and how it is answered: ``counts``,
        ``without``, ``nulls``, ``later`` (``ecr/server.py``)."""
        self._set("scans", {"repository": repository, "digest": digest, "status": status, **result})

    def set_image(self, repository: str, digest: str, **times: float) -> None:
        """Sets ``lastRecordedPullTime`` or ``imagePushedAt``, in seconds."""
        self._set("images", {"repository": repository, "digest": digest, **times})

    def set_replication(self, repository: str | None = None, **behaviour: Any) -> None:
        """Says how copies of what is pushed here from now on go: ``delaySeconds``, ``failureCode``, ``loseTag``."""
        self._set("replication", {"repository": repository, **behaviour})

    def behave(self, **readings: Any) -> None:
        """How the registry behaves from now on, by the names of ``ecr/readings.py`` in camel case."""
        self._set("settings", readings)

    def set_restore_seconds(self, seconds: float) -> None:
        """How long a restore takes from now on."""
        self.behave(restoreSeconds=seconds)

    def set_scan_summaries(self, shown: bool) -> None:
        """Whether lists of images show basic scans from now on."""
        self.behave(scanSummaries=shown)

    def fail_next(
        self, operation: str, number: int, code: str = "ThrottlingException", spared: str | None = None
    ) -> None:
        """Lets the next calls of an operation fail, except those with the access key that is spared."""
        self._set("failures", {"operation": operation, "number": number, "code": code, "spared": spared})

    def overtake(self, operation: str, repository: str, tag: str, digest: str) -> None:
        """Lets somebody give a tag to an image right before the next call of an operation by a function."""
        self._set("races", {"operation": operation, "repository": repository, "tag": tag, "digest": digest})

    def permit(self, caller: str, statements: list[dict[str, Any]], user: str | None = None) -> None:
        """Lets the role session with an access key do what these statements of a policy say, in all regions. ``user``: its ARN."""
        self._send("PUT", "permissions", {"caller": caller, "statements": statements, "user": user})

    def calls(self, **wanted: str) -> list[dict[str, Any]]:
        """The logged calls in this region, for instance of one ``operation`` or ``repository``."""
        return self._send("GET", f"calls?{urlencode({'region': self.region, **wanted})}")

    def forget_calls(self) -> None:
        """Empties the call log, of all regions."""
        self._send("DELETE", "calls")

    def pull(self, repository: str, reference: str, recorded: bool = False) -> int:
        """The HTTP status that a container runtime gets for a tag or a digest; ``recorded``: it is one, and its pull counts."""
        url = f"{self.url}/v2/{repository}/manifests/{reference}?region={self.region}{'' if recorded else '&look'}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def _set(self, what: str, body: dict[str, Any]) -> None:
        self._send("PUT", what, {"region": self.region, **body})

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/ecr-guard/{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=5) as answer:
            content = answer.read()
        return json.loads(content) if content else None
