"""Asks AWS the cases of ``cases.json``: ``make aws-contract`` (AWS_PROFILE must be set; a region too, or that of the profile).

It makes repositories under one name of its own in the caller's account, asks, prints a table, writes it as JSON, and deletes what it
made. It changes no setting of the registry, unless ``--switch-scan-type`` says so. A run takes less than ten minutes; what it costs is in
``README.md``.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import sys
import textwrap
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from contract import Answer, Play, Target, Unanswerable, accepted, ask_registry, load, token_of

# No case is begun after this number of seconds: a run ends within ten minutes.
TIME = 480
NO_INSPECTOR = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "ecr:*", "Resource": "*"},
        {"Effect": "Deny", "Action": "inspector2:*", "Resource": "*"},
    ],
}


@dataclass
class Row:
    """The result of a case."""

    case: str
    question: str
    # Where AWS says it: null if nobody has asked yet.
    answered: str | None
    # Which of the emulator's readings it is; null: none of them.
    reading: str | None
    same: bool | None
    # Step by step.
    emulator: dict[str, list[Answer]]
    aws: list[Answer]
    # Why it was not asked, or not to its end.
    note: str = ""


def ask(target: Target, cases: list[dict[str, Any]], skip: dict[str, str], until: float) -> list[Row]:
    """Asks the cases, but for those that are to be skipped, and gives a row for each."""
    rows = []
    for case in cases:
        said = dict(accepted(case))
        row = Row(case["name"], case["question"], case["answered"], None, None, said, [])
        rows.append(row)
        row.note = skip.get(case["name"], "" if time.monotonic() < until else "not asked: the time was over")
        if row.note:
            continue
        try:
            with Play(target, case) as play:
                for answer in play.run():
                    row.aws.append(answer)
        except Unanswerable as why:
            row.note = f"not asked to the end: {why}"
            continue
        except (ClientError, BotoCoreError, OSError, KeyError, IndexError) as error:
            row.note = f"not asked to the end: {error!r}"
            continue
        row.reading = next((reading for reading, answers in said.items() if answers == row.aws), None)
        row.same = row.reading is not None
    return rows


def table(rows: list[Row]) -> str:
    """The rows as text. Only the steps in which they differ are shown of a case."""
    lines = [f"{'CASE':44} {'ANSWERED BEFORE':16} {'SAME':5} WHAT AWS SAYS"]
    for row in rows:
        same = {True: "yes", False: "NO", None: "-"}[row.same]
        said = row.note or (f"as in the reading '{row.reading}'" if row.reading else "as the emulator")
        lines.append(f"{row.case:44} {'yes' if row.answered else 'no':16} {same:5} {said if row.same is not False else ''}")
        if row.same is False:
            first = next(iter(row.emulator.values()))
            for place, answer in enumerate(row.aws):
                if all(answer != answers[place] for answers in row.emulator.values()):
                    lines.append(f"    step {place + 1}: the emulator says {json.dumps(first[place])}")
                    lines.append(f"            AWS says          {json.dumps(answer)}")
    differ = sum(row.same is False for row in rows)
    asked = sum(row.same is not None for row in rows)
    new = sum(row.same is not None and row.answered is None for row in rows)
    lines.append(f"\n{len(rows)} cases, {asked} asked, {differ} differ, {new} that nobody had asked before.")
    return "\n".join(lines)


def skipped(cases: list[dict[str, Any]], scanning: str, covered: bool, switch: bool) -> dict[str, str]:
    """Which cases are not asked, and why."""
    skip: dict[str, str] = {}
    for case in cases:
        needed = case.get("needs", {}).get("scanning")
        if case.get("emulator_only"):
            skip[case["name"]] = f"not asked: {case['emulator_only']}"
        elif needed not in (None, scanning):
            skip[case["name"]] = f"not asked: the registry scans {scanning}"
        elif needed is None and scanning == "ENHANCED" and covered:
            skip[case["name"]] = "not asked: each image that is pushed here would be scanned, and billed"
        elif case.get("changes_the_registry") and not switch:
            skip[case["name"]] = "not asked: it changes the registry (--switch-scan-type)"
    return skip


def main() -> int:
    """Asks, prints, writes, cleans up."""
    parser = argparse.ArgumentParser(prog="aws-contract", description=textwrap.dedent(__doc__ or ""))
    parser.add_argument("--json", type=Path, default=Path("target/aws-contract.json"), help="where the answers go")
    parser.add_argument("--switch-scan-type", action="store_true", help="may switch how the registry scans, and back")
    parser.add_argument("--role", help="role to assume for the case that lacks Inspector's permissions")
    options = parser.parse_args()
    if not os.environ.get("AWS_PROFILE"):
        print("AWS_PROFILE is not set: this asks AWS, with the credentials that it names", file=sys.stderr)
        return 2
    session = boto3.Session()
    # PutImage takes ten calls a second.
    config = Config(retries={"mode": "adaptive", "max_attempts": 8})
    ecr, sts = session.client("ecr", config=config), session.client("sts")
    account = sts.get_caller_identity()["Account"]
    run = f"ecr-guard-contract-{secrets.token_hex(4)}"
    address, user = token_of(ecr)
    target = Target(
        ecr=ecr,
        runtime=lambda repository, reference, accept: ask_registry(
            f"{address}/v2/{repository}/manifests/{reference}", user, accept
        ),
        prefix=run,
        tags=[{"Key": "ecr-guard-contract", "Value": run}],
    )
    if options.role:
        target.without_inspector = assumed(session, sts, options.role)
    before = ecr.get_registry_scanning_configuration()["scanningConfiguration"]
    scanning = before.get("scanType", "BASIC")
    cases = load()
    print(f"{account} {session.region_name}: {len(cases)} cases, repositories {run}/…, the registry scans {scanning}")
    try:
        skip = skipped(cases, scanning, covered(ecr, run), options.switch_scan_type)
        rows = ask(target, cases, skip, time.monotonic() + TIME)
    finally:
        left = clean(ecr, run)
        if options.switch_scan_type:
            ecr.put_registry_scanning_configuration(scanType=scanning, rules=before.get("rules", []))
    print(table(rows))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    document = {"region": session.region_name, "scanning": scanning, "asked": time.strftime("%Y-%m-%d")}
    options.json.write_text(json.dumps(document | {"cases": [asdict(row) for row in rows]}, indent=2) + "\n")
    print(f"written to {options.json}" + (f"; NOT DELETED: {', '.join(left)}" if left else ""))
    return 1 if left else 0


def assumed(session: boto3.Session, sts: Any, role: str) -> Any:
    """A client with the session of a role, without Inspector."""
    answer = sts.assume_role(RoleArn=role, RoleSessionName="ecr-guard-contract", Policy=json.dumps(NO_INSPECTOR))
    keys = answer["Credentials"]
    return session.client(
        "ecr",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )


def covered(ecr: Any, run: str) -> bool:
    """Whether what is pushed into repositories of this run is scanned without anybody asking."""
    name = f"{run}/probe"
    ecr.create_repository(repositoryName=name, tags=[{"Key": "ecr-guard-contract", "Value": run}])
    found = ecr.batch_get_repository_scanning_configuration(repositoryNames=[name])["scanningConfigurations"]
    ecr.delete_repository(repositoryName=name, force=True)
    return any(each.get("scanFrequency", "MANUAL") != "MANUAL" for each in found)


def clean(ecr: Any, run: str) -> list[str]:
    """Deletes the repositories of this run, and no others; gives those that are left."""
    pages = ecr.get_paginator("describe_repositories").paginate()
    names = [each["repositoryName"] for page in pages for each in page["repositories"]]
    left = []
    for name in names:
        if name.startswith(f"{run}/"):
            try:
                ecr.delete_repository(repositoryName=name, force=True)
            except ClientError:
                left.append(name)
    return left


if __name__ == "__main__":
    sys.exit(main())
