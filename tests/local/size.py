"""Prints the size of each function's binary and zip, as a deployment packs it, and fails past the checked-in budget.

The budget is `tests/local/size-budget.json`: KiB for each function. A zip is what Lambda fetches at a cold start, so that growth
should be a decision: raise the budget in the same change, and say why.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "infra"))

import packages  # noqa: E402

BUDGET = Path(__file__).with_name("size-budget.json")


def sizes(function: str) -> tuple[int, int] | None:
    """Bytes of the binary and of the zip; None if the function is not built."""
    archive = ROOT / "target" / "lambda" / "host" / function / "bootstrap.zip"
    if not archive.is_file():
        return None
    program = packages.program(archive)
    return len(program), len(packages.packed(program))


def main() -> int:
    """Prints the table; gives the exit code."""
    budget: dict[str, dict[str, int]] = json.loads(BUDGET.read_text())
    functions = sorted(path.name for path in (ROOT / "functions").iterdir() if path.is_dir())
    failed = False
    print(f"{'function':<12} {'binary KiB':>10} {'zip KiB':>8} {'budget':>8}")
    for function in functions:
        found = sizes(function)
        if found is None:
            print(f"{function:<12} is not built: run `make package-host`", file=sys.stderr)
            return 2
        binary, archive = (size / 1024 for size in found)
        limit = budget.get(function, {}).get("zip_kib")
        over = limit is None or archive > limit
        failed = failed or over
        remark = "" if not over else "  no budget" if limit is None else "  over budget"
        print(f"{function:<12} {binary:>10.0f} {archive:>8.0f} {limit if limit is not None else '-':>8}{remark}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
