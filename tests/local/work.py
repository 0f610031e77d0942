"""The item that a sweep leaves to a worker, as a message in the work queue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from local_aws.registry import ACCOUNT, REGION


def work_item(repository: str, hours: int = 0, again: bool = False, region: str = REGION) -> dict[str, Any]:
    """A repository, left to a worker by a sweep that began some hours ago."""
    began = datetime.now(UTC) - timedelta(hours=hours)
    return {
        "schema": "ecr-guard/work/v1",
        "sweep": began.isoformat().replace("+00:00", "Z"),
        "account": ACCOUNT,
        "region": region,
        "work": {"kind": "repository", "repository": repository, "again": again},
    }
