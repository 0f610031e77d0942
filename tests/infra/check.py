"""Checks the infrastructure: format, validity, tests, README tables, checkov; with --mistakes, that planted mistakes are found.

    tests/infra/check.py [--checkov PATH] [--minimum] [--mistakes]

Run by `make infra`; `make infra-mistakes` plants the mistakes, which takes minutes. A check that cannot run on this machine is
named with NOT CHECKED, and is no failure: Terraform that is not installed, or a registry of providers that cannot be reached.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import plans

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
MAX_SKIPS = 3
# Terraform's message when it cannot get at its registry, and not when something is wrong with the plan.
UNREACHABLE = re.compile(r"could not connect to|no such host|dial tcp|connection refused|timeout|request canceled", re.IGNORECASE)
SKIP = re.compile(r"#\s*checkov:skip=([A-Z0-9_]+)(.*)")


class Failed(Exception):
    """A check that failed, with what it printed."""


def run(*command: str | Path, folder: Path = ROOT) -> str:
    """Runs a command; gives what it printed, or fails with it."""
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"$ {' '.join(map(str, command))}\n{done.stdout}")
    return done.stdout


def configurations() -> list[Path]:
    """The root, the modules, and the examples."""
    found = [INFRA, *sorted((INFRA / "modules").iterdir()), *sorted((INFRA / "examples").iterdir())]
    return [folder for folder in found if (folder / "versions.tf").is_file()]


def no_terraform() -> str | None:
    """Why there is no Terraform with its providers on this machine, if that is so."""
    if shutil.which("terraform") is None:
        return "it is not installed"
    command = ["terraform", "init", "-backend=false", "-input=false", "-no-color"]
    probe = subprocess.run(
        command, cwd=INFRA / "modules" / "guard", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if probe.returncode != 0 and UNREACHABLE.search(probe.stdout):
        return "it cannot get its providers: their registry cannot be reached"
    return None


def formatted() -> str:
    """Compares the format with Terraform's."""
    run("terraform", "fmt", "-check", "-recursive", "-diff", INFRA)
    return "correct"


def terraform(folder: Path) -> str:
    """Initialises, validates and tests one configuration; gives a line about it."""
    if not list(folder.glob("tests/*.tftest.hcl")):
        raise Failed("it has no tests")
    lock = folder / ".terraform.lock.hcl"
    had_lock = lock.exists()
    try:
        run("terraform", "init", "-backend=false", "-input=false", "-no-color", folder=folder)
        run("terraform", "validate", "-no-color", folder=folder)
        output = run("terraform", "test", "-no-color", folder=folder)
    finally:
        # The providers of this machine do not belong into a lock file: `make lock` asks the registry, for all platforms.
        if not had_lock:
            lock.unlink(missing_ok=True)
    return output.strip().splitlines()[-1]


def readmes() -> str:
    """Compares the tables of the modules' READMEs with the code."""
    folders = [INFRA, *(folder for folder in sorted((INFRA / "modules").iterdir()) if (folder / "README.md").is_file())]
    run(sys.executable, INFRA / "modules" / "readme.py", "--check", *folders)
    if missing := [str(folder.relative_to(ROOT)) for folder in configurations() if not (folder / "README.md").is_file()]:
        raise Failed(f"no README.md: {', '.join(missing)}")
    return f"{len(folders)} READMEs are as the code has it"


def skips() -> dict[str, str]:
    """The checks of checkov that are skipped, with their reasons."""
    found: dict[str, str] = {}
    for path in sorted(INFRA.rglob("*.tf")):
        if ".terraform" not in path.parts:
            found |= dict(SKIP.findall(path.read_text(encoding="utf-8")))
    if without := [check for check, reason in found.items() if len(reason.strip(": ")) < 10]:
        raise Failed(f"skipped without a reason: {', '.join(without)}")
    if len(found) > MAX_SKIPS:
        raise Failed(f"{len(found)} checks are skipped, at most {MAX_SKIPS} may be: {', '.join(sorted(found))}")
    return found


def checkov(program: str) -> str:
    """Runs checkov on everything."""
    skipped = skips()
    arguments = ["--directory", str(INFRA), "--framework", "terraform", "--skip-download", "--output", "json", "--soft-fail"]
    report = json.loads(run(program, *arguments))
    failed = report["results"]["failed_checks"]
    if failed:
        raise Failed("\n".join(f"{check['check_id']} {check['resource']} ({check['file_path']}): {check['check_name']}" for check in failed))
    passed = report["summary"]["passed"]
    if passed < 100:
        raise Failed(f"checkov checked next to nothing: {passed} checks")
    return f"{passed} passed, 0 failed, skipped with reasons: {', '.join(sorted(skipped))}"


def least(folder: Path) -> tuple[int, ...]:
    """The least version of the AWS provider that a configuration and the modules that it calls work with."""
    text = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.tf"))
    said = [tuple(map(int, version.split("."))) for version in re.findall(r'version = ">= ([0-9.]+), <', text)]
    called = re.findall(r'^\s*source\s*=\s*"(\.[^"]+)"', text, re.MULTILINE)
    return max([*said, *(least((folder / source).resolve()) for source in called)], default=(0,))


def minimum(folder: Path) -> str:
    """Initialises and validates a configuration with the least version of the provider that it says it works with."""
    version = ".".join(map(str, (*least(folder), 0, 0)[:3]))
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "infra"
        shutil.copytree(INFRA, copy, ignore=shutil.ignore_patterns(".terraform*", "tests"))
        here = copy / folder.relative_to(INFRA)
        (here / "versions_override.tf").write_text(
            f'terraform {{\n  required_providers {{\n    aws = {{\n      source  = "hashicorp/aws"\n      version = "{version}"\n    }}\n  }}\n}}\n',
            encoding="utf-8",
        )
        try:
            run("terraform", "init", "-backend=false", "-input=false", "-no-color", folder=here)
        except Failed as failed:
            if UNREACHABLE.search(str(failed)) or "no available releases match" in str(failed):
                return f"NOT CHECKED: provider {version} cannot be had on this machine"
            raise
        return f"with provider {version}: {run('terraform', 'validate', '-no-color', folder=here).strip()}"


def planned(look: Callable[[], str]) -> str:
    """Makes plans, and checks them."""
    try:
        return look()
    except (plans.Wrong, SystemExit) as wrong:
        raise Failed(str(wrong)) from wrong


def planted(script: Path) -> str:
    """Plants mistakes in a module, all of which have to be found."""
    return run(sys.executable, script).strip().splitlines()[-1]


def main() -> int:
    """Runs all checks; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkov", default="checkov", help="the program, default: that of the PATH")
    parser.add_argument("--minimum", action="store_true", help="validate with the least versions of the providers instead")
    parser.add_argument("--mistakes", action="store_true", help="plant mistakes in the modules instead, and see that tests find them")
    arguments = parser.parse_args()

    failures: list[str] = []

    def check(name: str, action: Callable[..., str], *values: Any) -> None:
        print(f"{name:<44} ", end="", flush=True)
        try:
            print(action(*values))
        except Failed as failed:
            print(f"FAILED\n{failed}")
            failures.append(name)

    if not (arguments.mistakes or arguments.minimum):
        check("README tables", readmes)
        check("checkov", checkov, arguments.checkov)
    if (why := no_terraform()) is not None:
        print(f"NOT CHECKED: infra/ by terraform, since {why}")
    elif arguments.minimum:
        for folder in configurations():
            check(f"minimum {folder.relative_to(ROOT)}", minimum, folder)
    elif arguments.mistakes:
        for script in [INFRA / "tests" / "misconfigurations.py", *sorted(INFRA.glob("modules/*/tests/misconfigurations.py"))]:
            check(f"planted in {script.parents[1].relative_to(ROOT)}", planted, script)
    else:
        check("terraform fmt", formatted)
        for folder in configurations():
            check(f"terraform {folder.relative_to(ROOT)}", terraform, folder)
        check("saved plans", planned, plans.look)
        check("docs/deployment.md", planned, plans.documented)
        check("a release", planned, plans.released)
    if failures:
        print(f"{len(failures)} failed: {', '.join(failures)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
