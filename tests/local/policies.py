"""The policy documents of the local run: the templates in ``policies/``, completed and written where functions read them.

A template leaves open what a run decides: the topics of the routes, and the day on which an exception expires (in 90 days, or in
``expires_in_days``).
"""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

TEMPLATES = Path(__file__).resolve().parent / "policies"
EXCEPTION_DAYS = 90


Policy = str | dict[str, Any]


def name_of(policy: Policy) -> str:
    """The name of a policy's file."""
    return policy if isinstance(policy, str) else "changed"


def load(policy: Policy, topics: dict[str, str]) -> dict[str, Any]:
    """A template, by its name or as a document, completed for this run."""
    policy = json.loads((TEMPLATES / f"{policy}.json").read_text()) if isinstance(policy, str) else deepcopy(policy)
    assert isinstance(policy, dict)
    # Scenarios share their topics, and each waits for alerts of its own.
    policy.setdefault("alerts", {"max_single_per_hour": 1000, "max_single_per_day": 10000})
    policy["routes"] = {route: topics[route] for route in policy["routes"]}
    today = datetime.now(UTC)
    for exception in policy["exceptions"]:
        if "expires" in exception:
            continue
        days = exception.pop("expires_in_days", EXCEPTION_DAYS)
        exception["expires"] = (today + timedelta(days=days)).date().isoformat()
    return policy


def write(policy: dict[str, Any], path: Path) -> Path:
    """Writes a policy for a function to read."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(policy, indent=2) + "\n")
    return path
