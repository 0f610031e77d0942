#!/usr/bin/env python3
"""Plant one mistake after the other in a copy of the root, and see that its tests find it.

    infra/tests/misconfigurations.py

Needs Terraform for those that only a plan shows.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]


class Mistake(NamedTuple):
    """`old` in `file`, the `nth` time that it is there, becomes `new`."""

    what: str
    file: str
    old: str
    new: str
    nth: int = 0
    by_plan: bool = False


MISTAKES = (
    Mistake("the other regions guard every repository", "main.tf", "  repositories               = var.guarded_repositories", "", 1),
    Mistake("the other regions have no policy", "main.tf", "  policy_file                = var.policy_file", "", 1),
    Mistake("nobody is told of the other regions' alarms", "main.tf", "  alarm_subscriptions        = var.alarm_subscriptions", "", 1),
    Mistake("the guard may not block", "main.tf", "concat(var.image_removal_principal_arns, local.guard_role_arns)", "var.image_removal_principal_arns"),
    Mistake("the ledger is not protected", "main.tf", "ledger_deletion_protection = var.ledger_deletion_protection", "ledger_deletion_protection = false"),
    Mistake("events of the smoke test are always accepted", "variables.tf",
            'default     = ["aws.ecr", "aws.inspector2"]', 'default     = ["aws.ecr", "aws.inspector2", "ecr-guard.smoke"]'),
    Mistake("a variable has no effect", "main.tf", "  log_level                  = var.log_level", "", 0),
    Mistake("the other regions do not tell the first", "main.tf", "setsubtract(local.guarded_regions, [each.value])", "setsubtract(local.other_regions, [each.value])"),
    Mistake("roles are made without the boundary", "main.tf", "  permissions_boundary_arn   = var.permissions_boundary_arn", "", 0),
    Mistake("the roles of the other regions' guards may not block", "main.tf",
            "flatten([for guard in module.guard_elsewhere : values(guard.role_arns)])", "[]", 0, True),
    Mistake("regions that are replicated to are not guarded", "main.tf", "coalesce(var.guard_regions, local.replication_regions)", "coalesce(var.guard_regions, [])", 0, True),
    Mistake("its own region is guarded twice", "variables.tf", '!contains(coalesce(var.guard_regions, ["-"]), var.aws_region)', 'length(coalesce(var.guard_regions, ["-"])) > 0', 0, True),
    Mistake("settings of a region that is not guarded are not seen", "variables.tf",
            "length(setsubtract(keys(var.vpc_config), local.guarded_regions)) == 0", "length(keys(var.vpc_config)) >= 0", 0, True),
)


def replaced(text: str, mistake: Mistake) -> str:
    """The file's text with the mistake. White space is as `terraform fmt` has it in each block."""
    places = list(re.finditer(r"\s+".join(map(re.escape, mistake.old.split())), text))
    if len(places) <= mistake.nth:
        raise SystemExit(f"{mistake.what}: {mistake.file} has {len(places)} times: {mistake.old}")
    place = places[mistake.nth]
    return text[: place.start()] + mistake.new + text[place.end() :]


def found(folder: Path, mistake: Mistake) -> str | None:
    """Does a test fail? Gives what was printed otherwise."""
    path = folder / "infra" / mistake.file
    before = path.read_text(encoding="utf-8")
    path.write_text(replaced(before, mistake), encoding="utf-8")
    command = ["terraform", "test", "-no-color"] if mistake.by_plan else [sys.executable, "-B", "-m", "unittest", "test_root"]
    done = subprocess.run(
        command, cwd=folder / "infra" if mistake.by_plan else folder / "tests" / "infra",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )
    path.write_text(before, encoding="utf-8")
    failed = "... fail" if mistake.by_plan else "FAILED (failures="
    return None if done.returncode != 0 and failed in done.stdout else done.stdout


def main() -> int:
    """Plants all; the exit code is 1 when one is not found."""
    missed = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for part in ("infra", "docs", "tests/infra"):
            shutil.copytree(REPOSITORY / part, folder / part, ignore=shutil.ignore_patterns(".terraform*", "terraform.tfvars", "*.tfstate*", "backend.tf"))
        shutil.copy(REPOSITORY / "README.md", folder)
        init = ["terraform", "init", "-backend=false", "-input=false"]
        if subprocess.run(init, cwd=folder / "infra", check=False, stdout=subprocess.DEVNULL).returncode:
            raise SystemExit("terraform init failed")
        for mistake in MISTAKES:
            output = found(folder, mistake)
            if output is not None:
                missed += 1
                print(f"NOT FOUND: {mistake.what}\n{output}")
    print(f"{len(MISTAKES) - missed} of {len(MISTAKES)} planted mistakes are found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
