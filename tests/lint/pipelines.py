"""Checks what pipelines run: shell scripts by shellcheck, workflows and the action by GitHub's schemas and by zizmor. Also those that the pages show.
Further files that GitHub reads, for Dependabot and for issues, are checked by its schemas.

    tests/lint/pipelines.py --tools DIRECTORY    where shellcheck, check-jsonschema and zizmor are

Nothing here asks the network. A tool that cannot be had is said, with NOT CHECKED, and is no failure.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("shellcheck", "check-jsonschema", "zizmor")
SCRIPTS = ("tools/gate", "actions/gate/run.sh")
ACTIONS = ("actions/gate/action.yml",)
WORKFLOWS = (".github/workflows/*.yml", "tests/local/deploy.yml")
# Other files that GitHub reads, by the schema that each is checked with.
OTHERS = {
    "dependabot": ".github/dependabot.yml",
    "github-issue-config": ".github/ISSUE_TEMPLATE/config.yml",
    "github-issue-forms": ".github/ISSUE_TEMPLATE/*.yml",
}
# The pages that show workflows and scripts, each after its name.
PAGES = {"docs/github-actions.md": {"build.yml", "scan.sh", "release.yml"}}
# The placeholder of a page for the commit of an action.
COMMIT = "@COMMIT"
SHOWN = re.compile(r"`(?P<name>[\w./-]+\.(?:yml|sh))`[^`\n]*:?\n(?:[^`\n]*\n)*?\n?```(?:yaml|bash)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = re.compile(r"^(?P<indent> *)(?:- )?run: (?:\|\n(?P<block>(?:(?P=indent)  .*\n|\n)+)|(?P<line>[^|\n].*)\n)", re.MULTILINE)


def shown(page: str) -> dict[str, str]:
    """The workflows and scripts that a page shows, by the names of their files."""
    return {Path(found["name"]).name: found["text"] for found in SHOWN.finditer(page)}


def commands(workflow: str) -> Iterator[str]:
    """The commands of bash in the steps of a workflow."""
    for found in RUN.finditer(workflow):
        yield textwrap.dedent(found["block"]) if found["block"] else found["line"].strip("'")


def main() -> int:
    """Runs all checks; gives the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", type=Path, required=True)
    tools = parser.parse_args().tools
    if missing := [name for name in TOOLS if not (tools / name).exists()]:
        print(f"NOT CHECKED: scripts, workflows and the action, since {', '.join(missing)} cannot be had here")
        return 0
    failed: list[str] = []

    def check(what: str, *command: str | Path, stdin: str | None = None) -> None:
        done = subprocess.run(command, cwd=ROOT, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            failed.append(what)
            print(f"{what}: {' '.join(map(str, command))}\n{done.stdout}")

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        scripts, workflows = [ROOT / name for name in SCRIPTS], [path for pattern in WORKFLOWS for path in sorted(ROOT.glob(pattern))]
        for page, names in PAGES.items():
            found = shown((ROOT / page).read_text(encoding="utf-8"))
            if set(found) != names:
                failed.append(f"{page} shows {', '.join(found)}, and not {', '.join(names)}")
            for name, text in found.items():
                (folder / name).write_text(text.replace(COMMIT, f"@{'0' * 40}"), encoding="utf-8")
                (scripts if name.endswith(".sh") else workflows).append(folder / name)
        actions = [ROOT / name for name in ACTIONS]
        check("shellcheck", tools / "shellcheck", *scripts)
        steps = 0
        for path in (*workflows, *actions):
            for command in commands(path.read_text(encoding="utf-8")):
                steps += 1
                check(f"shellcheck of a step of {path.name}", tools / "shellcheck", "--shell", "bash", "-", stdin=command)
        check("schema of workflows", tools / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
        check("schema of actions", tools / "check-jsonschema", "--builtin-schema", "vendor.github-actions", *actions)
        others = {schema: sorted(ROOT.glob(pattern)) for schema, pattern in OTHERS.items()}
        others["github-issue-forms"] = [path for path in others["github-issue-forms"] if path not in others["github-issue-config"]]
        for schema, paths in others.items():
            check(f"schema {schema}", tools / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", *paths)
        check("zizmor", tools / "zizmor", "--offline", "--no-progress", "--quiet", *workflows, *actions, *others["dependabot"])
        checked = ", ".join(path.name for path in (*scripts, *workflows, *actions, *(path for paths in others.values() for path in paths)))
    print(f"{len(failed)} failed: {', '.join(failed)}" if failed else f"shellcheck, schemas, zizmor: nothing found in {checked}, and {steps} steps")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
