"""Lists the resources that a plan would destroy, before anything is destroyed: whether it would stop half way, or take a key
from images that stay.

    terraform -chdir=infra show -json PLAN | tests/infra/destroy.py

Says what is in the way and how to go on, and fails if there is something. `make destroy` does it. It needs AWS credentials that may list
repositories and images (`ecr:DescribeRepositories`, `ecr:ListImages`) where keys or repositories would go.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

# How many repositories are named; the rest are counted.
NAMED = 5


class Doomed(NamedTuple):
    """Something that the plan destroys: region, and what it is called there (a key: its ARN)."""

    region: str
    name: str
    is_forced: bool = False


def doomed(plan: dict[str, Any], kind: str, name: str) -> list[Doomed]:
    """The resources of a kind that a plan destroys."""
    found = []
    for change in plan.get("resource_changes", []):
        if change["type"] == kind and "delete" in change["change"]["actions"]:
            before = change["change"]["before"]
            forced = bool(before.get("force_delete"))
            found.append(Doomed(before.get("region") or "", before[name], forced))
    return found


def repositories(ecr: Any) -> Iterable[dict[str, Any]]:
    """The repositories of a region."""
    for page in ecr.get_paginator("describe_repositories").paginate():
        yield from page["repositories"]


def named(names: list[str]) -> str:
    """The first of these names, and the number of the others."""
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def obstacles(plan: dict[str, Any], client: Callable[[str], Any]) -> list[str]:
    """The obstacles of a plan that destroys. `client` gives the ECR of a region."""
    found = []
    keys = doomed(plan, "aws_kms_key", "arn")
    going = doomed(plan, "aws_ecr_repository", "name")
    for table in plan.get("resource_changes", []):
        goes = table["type"] == "aws_dynamodb_table" and table["change"]["actions"] == ["delete"]
        if goes and table["change"]["before"].get("deletion_protection_enabled"):
            found.append("The ledger is protected from deletion: set ledger_deletion_protection = false and `make deploy` first.")
    for region in sorted({one.region for one in [*keys, *going]}):
        ecr = client(region)
        gone = {one.name for one in going if one.region == region}
        doomed_keys = {one.name for one in keys if one.region == region}
        kept, full = [], []
        for repository in repositories(ecr):
            name = repository["repositoryName"]
            if name not in gone and repository.get("encryptionConfiguration", {}).get("kmsKey") in doomed_keys:
                kept.append(name)
            must_be_empty = any(one.name == name and one.region == region and not one.is_forced for one in going)
            if must_be_empty and ecr.list_images(repositoryName=name, maxResults=1)["imageIds"]:
                full.append(name)
        if kept:
            found.append(
                f"{region}: the plan deletes the key of repositories that stay: {named(kept)}. Thirty days later nobody could read their images."
                " Keep the key together with them: `make destroy KEEP_REGISTRY=1`."
            )
        if full:
            found.append(
                f"{region}: repositories hold images: {named(full)}. ECR would refuse to delete them when their protection is gone already."
                " Delete the images first, or keep repositories and keys: `make destroy KEEP_REGISTRY=1`."
            )
    return found


def main() -> int:
    """Checks the plan on standard input; gives the exit code."""
    if sys.argv[1:]:
        print(__doc__)
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    import boto3  # here, so that --help and the tests need nothing

    found = obstacles(json.load(sys.stdin), lambda region: boto3.client("ecr", region_name=region))
    print("\n".join(found) or "nothing is in the way")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
