"""The roles of the functions: each may do what the Terraform module lets it do, and nothing else.

``role_policy`` puts the document together from the module's own data (``permissions/<function>.json``) as ``functions.tf`` does;
a self-test holds it to that file. The emulators enforce the document (``local_aws/roles.py``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from local_aws.roles import Statement, arn

MODULE = Path(__file__).resolve().parents[2] / "infra" / "modules" / "guard"
BY_QUEUE = ("worker",)
# There is no key here that anything is encrypted with.
KEY = "key/00000000-0000-4000-8000-000000000000"


def without_nulls(value: Any) -> Any:
    """A document without its members that are null: to the policy's readers they are not there."""
    if isinstance(value, dict):
        return {name: without_nulls(member) for name, member in value.items() if member is not None}
    return [without_nulls(member) for member in value] if isinstance(value, list) else value


def changes(document: dict[str, Any]) -> list[str]:
    """The changes that a policy document has the functions make, in the words of ``permissions/``: as ``policy.tf`` has them."""
    document = without_nulls(document)
    block, mode = document.get("block", {}), document["mode"]
    entries = [{}, *document.get("repositories", [])]
    enforced = [entry for entry in entries if entry.get("mode", mode) == "enforce"]
    postures = [entry["posture"] for entry in enforced if entry.get("posture", {}).get("repair")]
    methods = [entry.get("block", {}).get("method", block.get("method", "archive")) for entry in enforced]
    kept = block.get("keep_release_of")
    releases = ["archive", "quarantine-tag"] if kept is None else kept
    needed = {
        "access": bool(postures),
        "archive": "archive" in methods,
        "backfill": any(entry.get("replication", {}).get("backfill") for entry in enforced),
        "give-tags-back": "quarantine-tag" in releases,
        "lifecycle": any("lifecycle" in entry for entry in enforced),
        "quarantine": "quarantine-tag" in methods,
        "remove-marks": "quarantine-tag" in (kept or []),
        "restore": "archive" in releases,
        "scan": True,
        "scan-on-push": any(posture.get("scan_on_push") for posture in postures),
        "tag-mutability": any("tag_mutability" in posture for posture in postures),
        "untag": any(entry.get("tags", {}).get("on_violation") == "untag" for entry in enforced),
    }
    return sorted(change for change, is_needed in needed.items() if is_needed) if enforced else []


def granted(function: str, document: dict[str, Any]) -> dict[str, list[str]]:
    """The calls that a function may make under a policy, by kind of resource."""
    permissions = json.loads((MODULE / "permissions" / f"{function}.json").read_text())
    kinds = {kind.removesuffix("_when") for kind in permissions}
    by_change = {kind: permissions.get(f"{kind}_when", {}) for kind in kinds}
    return {
        kind: sorted({*permissions.get(kind, []), *(one for change in changes(document) for one in by_change[kind].get(change, []))})
        for kind in kinds
    }


def role_policy(
    function: str, deployed: str, policy: dict[str, Any], region: str, table: str, topics: list[str], queue: str = ""
) -> list[Statement]:
    """The statements of a function's role: ``topics`` are ARNs, ``queue`` is the name of the work queue, if it has one."""
    kinds = granted(function, policy)
    take = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"] if function in BY_QUEUE else []
    fail = [] if function in BY_QUEUE else ["sqs:SendMessage"]
    services = [f"{service}.{region}.amazonaws.com" for service in ("dynamodb", "sns", "sqs")]
    of_function = {"kms:EncryptionContext:aws:lambda:FunctionArn": arn("lambda", region, f"function:{deployed}")}
    key = [arn("kms", region, KEY)]
    statements = [
        _allow("Repositories", kinds.get("repositories", []), [arn("ecr", region, "repository/*")]),
        _allow("Replicas", kinds.get("replicas", []), [arn("ecr", "*", "repository/*")]),
        _allow("Registry", kinds.get("registry", []), ["*"]),
        _allow("Scanner", kinds.get("scanner", []), ["*"]),
        _allow("RepositoryKeys", kinds.get("repository_keys", []), [arn("kms", region, "key/*")]),
        _allow("Ledger", kinds.get("ledger", []), [arn("dynamodb", region, f"table/{table}")]),
        _allow("LedgerIndex", kinds.get("ledger_index", []), [arn("dynamodb", region, f"table/{table}")]),
        _allow("LedgerAlerts", kinds.get("ledger_alerts", []), [arn("dynamodb", region, f"table/{table}")]),
        _allow("Workloads", kinds.get("workloads", []), ["*"]),
        _allow("LambdaFunctions", kinds.get("lambda_functions", []), [arn("lambda", region, "function:*")]),
        _allow("ReaderRoles", kinds.get("reader_roles", []), ["arn:aws:iam::*:role/ecr-guard-workload-reader"]),
        _allow("Work", kinds.get("queue", []) + take, [arn("sqs", region, name) for name in _queues(function, queue)]),
        _allow("Topics", kinds.get("topics", []), topics),
        _allow("Keys", ["kms:Decrypt", "kms:GenerateDataKey"], key, {"kms:ViaService": services}),
        _allow("Environment", ["kms:Decrypt"], key, of_function),
        _allow("FailedEvents", fail, [arn("sqs", region, "ecr-guard-dead-letters")]),
        _allow(
            "Logs",
            ["logs:CreateLogStream", "logs:PutLogEvents"],
            [arn("logs", region, f"log-group:/aws/lambda/{deployed}:*")],
        ),
        _allow("Traces", ["xray:PutTelemetryRecords", "xray:PutTraceSegments"], ["*"]),
    ]
    return [statement for statement in statements if statement["Action"]]


def _queues(function: str, queue: str) -> list[str]:
    """The queues that a function may use: ``queue`` is the work queue."""
    return [f"{queue.removesuffix('-work')}-findings", queue] if function in BY_QUEUE else [queue]


def _allow(name: str, actions: list[str], resources: list[str], equals: dict[str, Any] | None = None) -> Statement:
    condition = {"Condition": {"StringEquals": equals}} if equals else {}
    return {"Sid": name, "Effect": "Allow", "Action": actions, "Resource": resources} | condition
