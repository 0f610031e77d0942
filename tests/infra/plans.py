"""Plans the root as `make plan` does, without an account, and checks the plans: the policy that they upload, and the costs of a
region.

The provider asks AWS for one thing while it plans, which account this is; a server on this machine answers that. Used by check.py.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import packages
import plan_policies
import release

ROOT = Path(__file__).resolve().parents[2]
ACCOUNT = "123456789012"
# The beginning of a program, by its processor.
PROGRAMS = {name: b"\x7fELF\x02\x01".ljust(18, b"\0") + machine.to_bytes(2, "little") for machine, name in packages.MACHINES.items()}
# USD a month, as docs/operations.md has them ("Costs").
ALARM, METRIC, KEY = 0.10, 0.30, 1.00
POLLING = 0.40
OUR_METRICS = "ecr-guard"


class Wrong(Exception):
    """The problem of a plan, in a sentence."""


class Sts(BaseHTTPRequestHandler):
    """Says which account this is (STS, GetCallerIdentity)."""

    def do_POST(self) -> None:
        """Answers."""
        body = (
            '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
            f"<Arn>arn:aws:iam::{ACCOUNT}:user/test</Arn><UserId>AIDATEST</UserId><Account>{ACCOUNT}</Account></GetCallerIdentityResult>"
            "<ResponseMetadata><RequestId>00000000-0000-0000-0000-000000000000</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *_: Any) -> None:
        """Says nothing."""


@contextmanager
def account() -> Iterator[dict[str, str]]:
    """The environment in which AWS is this machine, as far as planning asks it."""
    server = HTTPServer(("127.0.0.1", 0), Sts)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    try:
        yield ours | {
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL_STS": f"http://127.0.0.1:{server.server_port}",
        }
    finally:
        server.shutdown()
        server.server_close()


def packed(folder: Path, *architectures: str) -> Path:
    """A folder with packages of all functions that can be planned."""
    for architecture in architectures:
        for function in (ROOT / "functions").iterdir():
            package = folder / architecture / function.name / "bootstrap.zip"
            package.parent.mkdir(parents=True)
            package.write_bytes(packages.packed(PROGRAMS[architecture] + function.name.encode()))
            package.with_suffix(".json").write_text(json.dumps(packages.note(package)), encoding="utf-8")
    return folder


def terraform(folder: Path, environment: dict[str, str], *arguments: str) -> str:
    """Runs Terraform; gives what it printed."""
    done = subprocess.run(["terraform", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Wrong(f"$ terraform {' '.join(arguments)}\n{done.stdout}{done.stderr}")
    return done.stdout


class Root:
    """A copy of the root, with packages that can be planned."""

    def __init__(self, folder: Path, environment: dict[str, str]):
        self.folder, self.environment = folder / "infra", environment
        shutil.copytree(
            ROOT / "infra", self.folder, ignore=shutil.ignore_patterns(".terraform*", "terraform.tfvars", "*.tfstate*", "backend.tf", "lambda")
        )
        self.packages = packed(folder / "lambda", "arm64")
        self.terraform("init", "-backend=false", "-input=false", "-no-color")

    def terraform(self, *arguments: str) -> str:
        """Runs Terraform; gives what it printed."""
        return terraform(self.folder, self.environment, *arguments)

    def plan(self, name: str, *arguments: str) -> None:
        """Saves a plan of the example's settings, and these."""
        self.terraform("plan", "-input=false", "-no-color", "-var-file=terraform.tfvars.example", *arguments, f"-out={name}")

    def show(self, name: str) -> dict[str, Any]:
        """A saved plan."""
        plan: dict[str, Any] = json.loads(self.terraform("show", "-json", name))
        return plan


def resources(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All resources of a plan."""
    for module in plan_policies.modules(plan["planned_values"]["root_module"]):
        yield from module.get("resources", [])


def paid_for(plan: dict[str, Any], module: str = "") -> tuple[int, int, int]:
    """The parts of a plan, or of a module of it, that are paid for by the month: alarms, metrics of ours, keys."""
    alarms, keys, metrics = 0, 0, set()
    for resource in resources(plan):
        if not resource["address"].startswith(module):
            continue
        if resource["type"] == "aws_cloudwatch_metric_alarm":
            # An alarm on an expression is paid for by the metrics in it.
            alarms += max(1, sum("metric" in query and bool(query["metric"]) for query in resource["values"].get("metric_query") or []))
        elif resource["type"] == "aws_kms_key":
            keys += 1
        elif resource["type"] == "aws_cloudwatch_dashboard":
            for widget in json.loads(resource["values"]["dashboard_body"])["widgets"]:
                for metric in widget["properties"].get("metrics", []):
                    if metric[0] == OUR_METRICS:
                        metrics.add((resource["address"], *(part for part in metric if isinstance(part, str))))
    return alarms, len(metrics), keys


def price(plan: dict[str, Any]) -> tuple[float, str]:
    """The fixed costs of a plan in a month, as if each of our metrics had a value in every hour; and their parts."""
    alarms, metrics, keys = paid_for(plan)
    return ALARM * alarms + METRIC * metrics + KEY * keys, f"{alarms} alarms, {metrics} metrics, {keys} keys"


def hold_costs(plan: dict[str, Any], text: str) -> None:
    """Holds the table of costs in docs/operations.md to the guard of a plan of one region, and its sums to its rows."""
    costs = text.split("\n## Costs\n")[-1].split("\n## ")[0]
    rows = [[cell.strip(" *") for cell in line.strip("|").split("|")] for line in costs.splitlines() if line.startswith("| ")][1:]
    by_name = {cells[0]: cells for cells in rows}
    alarms, metrics, keys = paid_for(plan, "module.guard.")
    for name, count, each in (("KMS key", keys, KEY), ("Alarms", alarms, ALARM), ("Metrics", metrics, METRIC)):
        cells = by_name[name]
        said = re.search(r"\d+", cells[2])
        expected = (count, [f"{each * count:.2f}"] * 3)
        if not said or (int(said[0]), cells[3:]) != expected or not cells[1].startswith(f"{each:.2f}"):
            raise Wrong(f"docs/operations.md says of costs `{' | '.join(cells)}`, and it is {expected} at {each:.2f} each")
    *parts, together = rows
    for column in (3, 4, 5):
        total = sum(float(cells[column]) for cells in parts)
        if f"{total:.2f}" != together[column]:
            raise Wrong(f"docs/operations.md says of costs together {together[column]}, and the rows are {total:.2f}")
    # Requests to the key, and what the workers' queues are asked for, come on top.
    at_most = f"{KEY * keys + ALARM * alarms + METRIC * metrics + POLLING:.2f}"
    if f"is {at_most} and may not go over" not in " ".join(costs.split()):
        raise Wrong(f"docs/operations.md does not say that a region costs {at_most} whatever happens in it")
    for page, says in ((ROOT / "infra" / "README.md", (f"{alarms} alarms", f"{at_most} USD")), (ROOT / "README.md", (f"{at_most} USD",))):
        missing = [one for one in says if one not in page.read_text(encoding="utf-8")]
        if missing:
            raise Wrong(f"{page.relative_to(ROOT)} does not say {missing} of a region")


def modes(plan: dict[str, Any]) -> set[str]:
    """The modes of a plan's policies."""
    return {json.loads(document)["mode"] for document in plan_policies.policies(plan).values()}


def documented() -> str:
    """Validates the modules that docs/deployment.md shows, from this checkout in place of a tag, and plans what one account can; gives a line."""
    text = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    blocks = [block for block in re.findall(r"```hcl\n(.*?)```", text, re.DOTALL) if "\nmodule " in f"\n{block}"]
    at_tag = re.compile(r'"git::https://[^"]+//(infra/modules/[a-z]+)\?ref=v[0-9.]+"')
    with account() as environment:
        for block in blocks:
            with tempfile.TemporaryDirectory() as folder:
                # The modules stay where they are: they read the files next to them.
                code, at_tags = at_tag.subn(lambda match: json.dumps(os.path.relpath(ROOT / match[1], folder)), block)
                if not at_tags:
                    raise Wrong(f"a module of docs/deployment.md is at no tag:\n{block}")
                (Path(folder) / "main.tf").write_text(code, encoding="utf-8")
                (Path(folder) / "policy.json").write_text('{"version": 1, "mode": "report"}', encoding="utf-8")
                steps = [["init", "-backend=false", "-input=false", "-no-color"], ["validate", "-no-color"]]
                if "assume_role" not in code:
                    steps.append(["plan", "-input=false", "-no-color"])
                for step in steps:
                    done = subprocess.run(
                        ["terraform", *step], cwd=folder, env=environment | {"AWS_REGION": "us-west-2"}, capture_output=True, text=True, check=False
                    )
                    if done.returncode != 0:
                        raise Wrong(f"docs/deployment.md, terraform {step[0]}:\n{code}\n{done.stdout}{done.stderr}")
    return f"{len(blocks)} configurations are valid, and plan where they need one account"


def released() -> str:
    """Plans with the files of a release alone, unpacked as docs/deployment.md says; gives a line about it."""
    with tempfile.TemporaryDirectory() as temporary, account() as environment:
        folder = Path(temporary)
        for architecture in release.TARGETS:
            command_line = folder / "command-line" / architecture / release.COMMAND_LINE / "bootstrap"
            command_line.parent.mkdir(parents=True)
            command_line.write_bytes(PROGRAMS[architecture])
        programs = [release.COMMAND_LINE, *(path.name for path in (ROOT / "functions").iterdir())]
        (folder / "sbom").mkdir()
        for program in programs:
            (folder / "sbom" / f"{program}.cdx.json").write_text("{}", encoding="utf-8")
        built = release.Built(
            lambda_directory=packed(folder / "built", *release.TARGETS),
            command_line=folder / "command-line",
            bills=folder / "sbom",
            third_parties=dict.fromkeys(release.TARGETS, ""),
            places=[],
            tools="",
        )
        try:
            files = release.assets("1.4.0", "", built, ROOT, 0)
        except release.Refused as refused:
            raise Wrong(str(refused)) from refused
        for name in ("ecr-guard-1.4.0-modules.tar.gz", "ecr-guard-1.4.0-lambda-arm64.tar.gz"):
            with tarfile.open(fileobj=io.BytesIO(files[name])) as archive:
                archive.extractall(folder, filter="data")
        root = folder / "ecr-guard-1.4.0" / "infra"
        terraform(root, environment, "init", "-backend=false", "-input=false", "-no-color")
        settings = ["-var-file=terraform.tfvars.example", "-var=lambda_directory=../lambda", "-var=enable_replication=false"]
        terraform(root, environment, "plan", "-input=false", "-no-color", *settings, "-out=plan")
        plan = json.loads(terraform(root, environment, "show", "-json", "plan"))
        read = {resource["values"]["filename"] for resource in resources(plan) if resource.get("values", {}).get("filename")}
        if not read or not read <= {f"../lambda/arm64/{program}/bootstrap.zip" for program in programs}:
            raise Wrong(f"a release is planned with other packages than its own: {', '.join(read) or 'none'}")
    return f"the root plans with {len(read)} packages of a release, and nothing else of this repository"


def look() -> str:
    """Makes the plans and checks them; gives a line about it."""
    with tempfile.TemporaryDirectory() as folder, account() as environment:
        root = Root(Path(folder), environment)
        local = f"-var=lambda_directory={root.packages}"
        (root.folder / "policy.json").write_text('{"version": 1, "mode": "enforce"}', encoding="utf-8")
        # A saved plan, and later ones from the same checkout, with another policy.
        root.plan("first", local)
        root.plan("second", local, "-var=policy_file=policy.json")
        (root.folder / "policy.json").unlink()
        first, second = root.show("first"), root.show("second")
        if (modes(first), modes(second)) != ({"report"}, {"enforce"}):
            raise Wrong(f"a plan does not have its own policy: {modes(first)}, {modes(second)}")
        # With packages in S3, nothing is read from the disk when a plan is applied.
        in_s3 = ", ".join(f'{region} = {{ bucket = "releases-{region}", prefix = "1.0.0/" }}' for region in ("us-west-2", "us-east-1"))
        root.plan("third", f"-var=lambda_s3={{ {in_s3} }}")
        read = [resource["address"] for resource in resources(root.show("third")) if resource.get("values", {}).get("filename")]
        if read:
            raise Wrong(f"files are read when the plan is applied: {', '.join(read)}")
        total, of_what = price(first)
        root.plan("fourth", local, "-var=enable_replication=false")
        hold_costs(root.show("fourth"), (ROOT / "docs" / "operations.md").read_text(encoding="utf-8"))
    said = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    expected = f"{total:.2f} USD a month ({of_what})"
    if expected not in " ".join(said.split()):
        found = re.search(r"[0-9.]+ USD\s+a\s+month\s+\([^)]*\)", said)
        raise Wrong(f"docs/deployment.md says `{found[0] if found else 'nothing'}`, and the example costs {expected}")
    return f"each plan has its own policy; the example costs at most {expected}, and what is used"
