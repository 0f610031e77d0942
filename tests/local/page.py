"""The HTML page of the demo, by the command `ecr-guard report`, if the build has it."""

from __future__ import annotations

from pathlib import Path


def made(directory: Path, report: Path) -> Path | None:
    """Lets `ecr-guard report` make the page of the demo's registry; None where this build has no such command."""
    return None
