"""Tests of the checks before something is destroyed."""

from __future__ import annotations

import unittest
from typing import Any

import destroy

KEY, OTHER = "arn:aws:kms:us-west-2:123456789012:key/a", "arn:aws:kms:us-west-2:123456789012:key/b"


class Ecr:
    """A region's registry: repository to its key, and whether it holds images."""

    def __init__(self, found: dict[str, tuple[str | None, bool]]):
        self.found = found

    def get_paginator(self, _: str) -> Ecr:
        return self

    def paginate(self) -> list[dict[str, Any]]:
        pages = []
        for name, (key, _) in self.found.items():
            encryption = {"encryptionType": "KMS", "kmsKey": key} if key else {"encryptionType": "AES256"}
            pages.append({"repositories": [{"repositoryName": name, "encryptionConfiguration": encryption}]})
        return pages

    def list_images(self, repositoryName: str, maxResults: int) -> dict[str, Any]:
        assert maxResults == 1
        return {"imageIds": [{"imageTag": "v1"}] if self.found[repositoryName][1] else []}


def change(kind: str, actions: list[str], **before: Any) -> dict[str, Any]:
    return {"type": kind, "change": {"actions": actions, "before": {"region": "us-west-2"} | before}}


def key(arn: str = KEY) -> dict[str, Any]:
    return change("aws_kms_key", ["delete"], arn=arn)


def repository(name: str, **before: Any) -> dict[str, Any]:
    return change("aws_ecr_repository", ["delete"], name=name, **before)


def obstacles(changes: list[dict[str, Any]], found: dict[str, tuple[str | None, bool]]) -> list[str]:
    return destroy.obstacles({"resource_changes": changes}, lambda region: {"us-west-2": Ecr(found)}[region])


class Destroy(unittest.TestCase):
    def test_nothing_is_in_the_way_of_empty_repositories_with_their_key(self) -> None:
        self.assertEqual(obstacles([key(), repository("a")], {"a": (KEY, False), "b": (OTHER, True), "c": (None, True)}), [])

    def test_a_key_of_repositories_that_stay_is_not_deleted(self) -> None:
        (why,) = obstacles([key()], {f"team/{n}": (KEY, False) for n in range(7)})
        self.assertIn("deletes the key of repositories that stay: team/0, team/1, team/2, team/3, team/4 and 2 more.", why)
        self.assertIn("KEEP_REGISTRY=1", why)

    def test_also_if_terraform_has_never_heard_of_them(self) -> None:
        (why,) = obstacles([key(), repository("a")], {"a": (KEY, False), "made-by-hand": (KEY, True)})
        self.assertIn("stay: made-by-hand.", why)

    def test_repositories_with_images_are_named_before_their_protection_goes(self) -> None:
        (why,) = obstacles([key(), repository("a"), repository("b")], {"a": (KEY, True), "b": (KEY, False)})
        self.assertIn("hold images: a.", why)

    def test_who_wants_images_deleted_with_their_repository_has_it(self) -> None:
        self.assertEqual(obstacles([key(), repository("a", force_delete=True)], {"a": (KEY, True)}), [])

    def test_a_protected_ledger_is_named(self) -> None:
        table = change("aws_dynamodb_table", ["delete"], name="ecr-guard-ledger", deletion_protection_enabled=True)
        (why,) = obstacles([table], {})
        self.assertIn("ledger_deletion_protection = false", why)
        table["change"]["before"]["deletion_protection_enabled"] = False
        self.assertEqual(obstacles([table], {}), [])

    def test_a_key_that_is_replaced_is_deleted_too(self) -> None:
        (why,) = obstacles([change("aws_kms_key", ["create", "delete"], arn=KEY)], {"a": (KEY, True)})
        self.assertIn("deletes the key", why)
        self.assertEqual(obstacles([change("aws_kms_key", ["no-op"], arn=KEY)], {"a": (KEY, True)}), [])


if __name__ == "__main__":
    unittest.main()
