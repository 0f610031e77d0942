"""Takes the policy documents out of a Terraform plan, as the functions will read them: the items of the ledger, one file for each.

    terraform -chdir=infra show -json PLAN | tests/infra/plan_policies.py FOLDER

Prints the files' paths. `make plan` has them checked by the functions' own code. It also checks that every function gets an
item that the plan contains.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

VARIABLE = "ECR_GUARD_POLICY"


def modules(module: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A module of a plan, and all modules in it."""
    yield module
    for child in module.get("child_modules", []):
        yield from modules(child)


def resources(module: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    """The resources of a kind that stand in a module itself."""
    return [resource for resource in module.get("resources", []) if resource["type"] == kind]


def document(address: str, values: dict[str, Any]) -> tuple[str, str]:
    """The name of an item that the functions get, and the document in it."""
    if not values.get("item"):
        raise SystemExit(f"the plan does not say which policy the functions get: {address} is known only when it is applied")
    item = {name: value["S"] for name, value in json.loads(values["item"]).items()}
    sha256 = hashlib.sha256(item["document"].encode()).hexdigest()
    if item["pk"] != f"policy#{sha256}":
        raise SystemExit(f"{address}: the document's SHA-256 is {sha256}, and it would stand under `{item['pk']}`")
    return f"sha256:{sha256}", item["document"]


def policies(plan: dict[str, Any]) -> dict[str, str]:
    """The documents, by the module that they are in."""
    found: dict[str, str] = {}
    for module in modules(plan.get("planned_values", {}).get("root_module", {})):
        items = resources(module, "aws_dynamodb_table_item")
        functions = resources(module, "aws_lambda_function")
        if not items and not functions:
            continue
        known = dict(document(item["address"], item["values"]) for item in items)
        for function in functions:
            told = [block["variables"].get(VARIABLE) for block in function["values"]["environment"]]
            if len(told) != 1 or told[0] not in known:
                raise SystemExit(f"{function['address']} has the policy {told}, and the plan has {sorted(known)}")
        found[module.get("address", "root")] = next(iter(known.values()))
    if not found:
        raise SystemExit("the plan does not say which policy the functions get: it has no guard")
    return found


def main() -> int:
    """Writes the files; gives the exit code."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for address, text in sorted(policies(json.load(sys.stdin)).items()):
        path = folder / f"policy-{re.sub(r'[^A-Za-z0-9_.]+', '-', address).strip('-')}.json"
        path.write_text(text, encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
