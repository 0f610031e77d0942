"""Our moto server: started, asked and told things. Used by the local run and by the self-tests of the extension."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import boto3
from botocore.config import Config

from processes import free_port, start, stop_group, wait_until_it_answers

HERE = Path(__file__).resolve().parent
ACCOUNT, REGION = "123456789012", "us-west-2"
# The access key tells the driver's calls from those of the functions in the registry's call log.
DRIVER_KEY = "AKIDDRIVEROFTHEDEMO0"


def client(service: str, endpoint: str) -> Any:
    """A boto3 client for an emulator."""
    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=DRIVER_KEY,
        aws_secret_access_key="not-a-secret",
        config=Config(retries={"mode": "standard", "max_attempts": 2}, connect_timeout=5, read_timeout=30),
    )


class Registry:
    """The registry of the local run."""

    def __init__(self, log: Path):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.ecr = client("ecr", self.url)

    def start(self) -> None:
        """Starts the server and waits until it answers."""
        command = [sys.executable, "-m", "moto_ecr", "--port", str(self.port), "--account", ACCOUNT, "--region", REGION]
        environment = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(HERE), "PYTHONDONTWRITEBYTECODE": "1"}
        self.process = start(command, environment, self.log)
        wait_until_it_answers("the registry", f"{self.url}/ecr-guard/calls", self.process, self.log)

    def stop(self) -> None:
        """Ends the server."""
        if self.process is not None:
            stop_group(self.process.pid, self.process)
            self.process = None

    def set_scan(self, repository: str, digest: str, status: str, **result: Any) -> None:
        """Gives an image the result of a scan: ``findings`` or ``enhancedFindings``, ``description``."""
        self._send("PUT", "scans", {"repository": repository, "digest": digest, "status": status, **result})

    def set_image(self, repository: str, digest: str, **times: float) -> None:
        """Sets ``lastRecordedPullTime`` or ``imagePushedAt``, in seconds."""
        self._send("PUT", "images", {"repository": repository, "digest": digest, **times})

    def set_replication(self, repository: str, digest: str, statuses: list[dict[str, str]]) -> None:
        """Sets the replicas of an image."""
        body = {"repository": repository, "digest": digest, "replicationStatuses": statuses}
        self._send("PUT", "replication", body)

    def set_restore_seconds(self, seconds: float) -> None:
        """How long a restore takes from now on."""
        self._send("PUT", "settings", {"restoreSeconds": seconds})

    def calls(self, **wanted: str) -> list[dict[str, Any]]:
        """The logged calls, for instance of one ``operation`` or ``repository``."""
        return self._send("GET", f"calls?{urlencode(wanted)}")

    def forget_calls(self) -> None:
        """Empties the call log."""
        self._send("DELETE", "calls")

    def pull(self, repository: str, reference: str) -> int:
        """The HTTP status that a container runtime gets for a tag or a digest."""
        try:
            with urllib.request.urlopen(f"{self.url}/v2/{repository}/manifests/{reference}", timeout=5) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            return error.code

    def _send(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/ecr-guard/{path}", data=data, method=method)
        with urllib.request.urlopen(request, timeout=5) as answer:
            content = answer.read()
        return json.loads(content) if content else None
