"""Takes the policy documents out of a Terraform plan: what the functions would get, one file for each region.

    terraform -chdir=infra show -json PLAN | tests/infra/plan_policies.py FOLDER

Prints the files' paths. `make plan` has them checked by the functions' own code.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def policies(plan: dict[str, Any]) -> dict[str, str]:
    """The documents by region, from the output `policies`, which is known when the plan is made."""
    output = plan.get("planned_values", {}).get("outputs", {}).get("policies", {})
    if not output.get("value"):
        raise SystemExit("the plan does not say which policy the functions get: the output `policies` is missing or not known")
    return output["value"]


def main() -> int:
    """Writes the files; gives the exit code."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for region, document in sorted(policies(json.load(sys.stdin)).items()):
        path = folder / f"policy-{region}.json"
        path.write_text(document, encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
