"""The report of a run, for machines: what ran when, on which commit, how it went, all images, and each alert in all of its forms.

It is written when the run begins, and says that it is not complete until the run has ended by itself.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import runs
from local_aws.images import Image
from region import ROOT, Region

SCHEMA = "ecr-guard/local-report/v1"


class Report:
    """One report, in one file."""

    def __init__(self, path: Path, what: str):
        self.path = path
        self.began = time.monotonic()
        self.document: dict[str, Any] = {"schema": SCHEMA, "what": what, "started": runs.now(), "commit": commit(ROOT), "complete": False, "ended": None}
        self.write()

    def add(self, **more: Any) -> None:
        """Adds members, and writes it."""
        self.document |= more
        self.write()

    def end(self, complete: bool, **more: Any) -> None:
        """The run has ended; ``complete``: by itself."""
        self.add(**more, complete=complete, ended=runs.now(), seconds=round(time.monotonic() - self.began, 1))

    def write(self) -> None:
        """Writes it."""
        runs.write(self.path, self.document)


def commit(root: Path) -> str | None:
    """The commit of the working copy, with ``-dirty`` if it was changed since; None where git does not say."""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() or None


def images_of(regions: list[Region], pushed: Iterable[Image]) -> list[dict[str, Any]]:
    """The images of the ledger, region by region, in the order of the pushes. A copy was pushed elsewhere."""
    rows = {
        (region.region, row["pk"].partition("#")[2], row["sk"].split("#")[1]): row
        for region in regions
        for row in region.rows()
    }
    tags = {(image.repository, image.digest): image.tag for image in pushed}
    found = []
    for region in regions:
        for (repository, digest), tag in tags.items():
            row = rows.get((region.region, repository, digest))
            if row is not None:
                found.append(_image(region.region, repository, digest, tag, row))
    return found


def _image(region: str, repository: str, digest: str, tag: str | None, row: dict[str, Any]) -> dict[str, Any]:
    document = row["row"]
    block, alert = document.get("block"), document.get("alert")
    return {
        "region": region,
        "repository": repository,
        "tag": tag,
        "digest": digest,
        "state": row["state"],
        "reason": str(document.get("reason", "")),
        "findings": document.get("findings", []),
        "blocked_by": block["method"] if block else None,
        "last_alert": alert["kind"] if alert else None,
    }


def alerts_of(mails: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Alerts, each in its four forms: the JSON document, e-mail, chat and SMS."""
    return [
        {
            "topic": mail["topic"].rpartition(":")[2],
            "region": mail["topic"].split(":")[3],
            "subject": mail["subject"],
            "document": json.loads(mail["bodies"]["default"]),
            "email": mail["email"],
            "chat": _chat(mail["bodies"].get("https")),
            "sms": mail["bodies"].get("sms"),
        }
        for mail in mails
    ]


def _chat(text: str | None) -> Any:
    """The document for chats, read if it can be."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text
