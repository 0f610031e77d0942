"""The HTML page of the demo: what the command `ecr-guard report` makes of its registry, where the build has that command.

This is the one place where the demo calls it.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from region import ROOT

# Where cargo puts the command line; the first that is there is taken.
PROGRAMS = (ROOT / "target" / "release" / "ecr-guard", ROOT / "target" / "debug" / "ecr-guard")
SECONDS = 60


def made(directory: Path, environment: dict[str, str], programs: tuple[Path, ...] = PROGRAMS) -> tuple[Path | None, str]:
    """Lets `ecr-guard report` make the page, as long as the account answers: its path, or why there is none.

    Both are empty where this build has no such command.
    """
    program = built(programs)
    if program is None or _run(program, "report", "--help", environment=environment)[0] != 0:
        return None, ""
    page = directory / "report.html"
    page.unlink(missing_ok=True)
    code, said = _run(program, "report", "--html", str(page), environment=environment)
    if code == 0 and page.is_file():
        return page, ""
    return None, said.splitlines()[0] if said else f"it ended with {code}"


def built(programs: tuple[Path, ...] = PROGRAMS) -> Path | None:
    """The command line as it was built last, if it is built."""
    return max((path for path in programs if path.is_file()), key=lambda path: path.stat().st_mtime, default=None)


def run(program: Path, *arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs the command line with the variables of an account, and with no others of AWS."""
    known = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    command = [str(program), *arguments]
    return subprocess.run(command, env=known | environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False)


def _run(program: Path, *arguments: str, environment: dict[str, str]) -> tuple[int, str]:
    try:
        ended = run(program, *arguments, environment=environment)
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    return ended.returncode, ended.stderr.strip()
