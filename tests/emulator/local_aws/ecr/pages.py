"""Lists in pages."""

from __future__ import annotations

import base64
from typing import Any, TypeVar

from local_aws.ecr.errors import EcrError

Item = TypeVar("Item")


def page(
    items: list[Item], request: dict[str, Any], default: int, maximum: int, of: str
) -> tuple[list[Item], dict[str, str]]:
    """One page of a list, and the ``nextToken`` member if there is more. A token only goes with the list that it came with."""
    size = request.get("maxResults") or default
    if not 1 <= size <= maximum:
        raise EcrError("InvalidParameterException", f"maxResults must be between 1 and {maximum}")
    start = 0
    if request.get("nextToken"):
        try:
            place, _, whose = base64.b64decode(request["nextToken"], validate=True).decode().partition(" ")
            start = int(place)
        except ValueError as error:
            raise EcrError("InvalidParameterException", "Invalid nextToken") from error
        if whose != of:
            raise EcrError("InvalidParameterException", "Invalid nextToken")
    end = start + size
    token = {"nextToken": base64.b64encode(f"{end} {of}".encode()).decode()} if end < len(items) else {}
    return items[start:end], token
