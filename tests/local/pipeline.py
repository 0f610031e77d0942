"""Runs a workflow that uses the GitHub action `actions/gate`: by act, on this machine, without containers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_aws.processes import start, stop_group, wait_for
from local_aws.registry import DRIVER_KEY, DRIVER_SECRET
from region import ROOT

WORKFLOW = Path(__file__).with_name("deploy.yml")
TOOLS = Path(sys.executable).parent
# The commit that the workflow names stands for the working copy.
REPOSITORY = "ecr-guard/ecr-guard@0000000000000000000000000000000000000000"
ACTION = "ecr-guard/ecr-guard/actions/gate"


def missing() -> list[str]:
    """The programs that are not there; tests/local/action-requirements.txt pins them."""
    return [name for name in ("act", "aws") if not (TOOLS / name).exists()] + [name for name in ("bash", "jq") if shutil.which(name) is None]


@dataclass(frozen=True)
class Ended:
    """How a run of the workflow ended."""

    result: str
    outputs: dict[str, str]
    exit_code: int
    annotations: list[str]
    summary: str
    deploys: list[str]


class Workflow:
    """One run of the workflow. As a context it ends with the block, whatever happens in it."""

    def __init__(self, directory: Path, url: str, **inputs: str):
        self.directory, self.url, self.inputs = directory, url, inputs
        self.log = directory / "act.jsonl"

    def __enter__(self) -> Workflow:
        shutil.rmtree(self.directory, ignore_errors=True)
        checkout, action = self.directory / "checkout", self.directory / "action"
        (checkout / ".github" / "workflows").mkdir(parents=True)
        shutil.copy(WORKFLOW, checkout / ".github" / "workflows")
        for part in ("actions", "tools"):
            shutil.copytree(ROOT / part, action / part)
        command = [str(TOOLS / "act"), "workflow_dispatch", "--json", "--platform", "ubuntu-24.04=-self-hosted", "--local-repository", f"{REPOSITORY}={action}"]
        for name, value in self.inputs.items():
            command += ["--input", f"{name.replace('_', '-')}={value}"]
        environment = {
            "HOME": str(self.directory / "home"),
            "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}",
            "AWS_ACCESS_KEY_ID": DRIVER_KEY,
            "AWS_SECRET_ACCESS_KEY": DRIVER_SECRET,
            "AWS_ENDPOINT_URL": self.url,
        }
        self.process = start(command, environment, self.log, checkout)
        return self

    def __exit__(self, *_: Any) -> None:
        if self.process.poll() is None:
            stop_group(self.process.pid, self.process)
        for part in ("checkout", "action", "home"):
            shutil.rmtree(self.directory / part, ignore_errors=True)

    def until_it_waits(self) -> None:
        """Until the step has got the answer that there is no result yet."""
        wait_for("the step of the action waits", lambda: "asking again" in self.log.read_text() or self.process.poll() is not None, 60)

    def ended(self) -> Ended:
        """Waits until the workflow has ended."""
        try:
            self.process.wait(120)
        except subprocess.TimeoutExpired:
            raise RuntimeError(f"act does not end:\n{self.log.read_text()[-2000:]}") from None
        entries = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        results = [entry["jobResult"] for entry in entries if "jobResult" in entry]
        if not results:
            raise RuntimeError(f"act ran no job:\n{self.log.read_text()[-2000:]}")
        step = [entry for entry in entries if str(entry.get("step", "")).startswith(ACTION) and entry.get("stage") == "Main"]
        said = [str(entry["msg"]).strip() for entry in entries]
        codes = [int(message.rpartition(" ")[2]) for message in said if message.startswith("exit status ")]
        summaries = [entry["content"] for entry in step if entry.get("command") == "summary"]
        return Ended(
            result=results[-1],
            outputs={entry["name"]: entry["arg"] for entry in step if entry.get("command") == "set-output"},
            exit_code=codes[-1] if codes else 0,
            annotations=[entry["raw"].strip() for entry in step if entry.get("command") in ("error", "warning", "notice")],
            summary=summaries[-1] if summaries else "",
            deploys=[message.removeprefix("deploys ") for message in said if message.startswith("deploys ")],
        )
