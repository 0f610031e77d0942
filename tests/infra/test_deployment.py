"""The commands of docs/deployment.md, run in their order as far as they go without AWS.

The commands that ask AWS, Docker or Terraform's registry are stood in for: `make` prints its commands, `terraform` knows its
commands and the outputs of the root, `aws` and `docker` take everything.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest
from pathlib import Path

import release

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
sys.path.insert(0, str(ROOT / "infra" / "modules"))

import readme  # noqa: E402  # its folder is no package

MAKE = """#!/bin/bash
exec {make} --no-print-directory -n -C {root} "$@" > /dev/null
"""
TERRAFORM = """#!{python}
import sys
words = [word for word in sys.argv[1:] if not word.startswith("-")]
outputs = {outputs}
if words[0] not in ("init", "plan", "apply", "output", "state"):
    sys.exit("terraform has no " + words[0])
if words[0] == "output" and len(words) > 1:
    if words[1] not in outputs:
        sys.exit("the root has no output " + words[1])
    print('{{"api": "registry/api"}}' if "-json" in sys.argv else "true")
"""
NOTHING = "#!/bin/bash\necho '{}'\n"


def blocks(language: str) -> list[str]:
    """The blocks of a language, also those in lists."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^\1```$", TEXT, re.MULTILINE | re.DOTALL)
    return [textwrap.dedent(block) for _, block in found]


class Deployment(unittest.TestCase):
    def test_every_command_can_be_given(self) -> None:
        make = shutil.which("make")
        self.assertTrue(make, "make is how everything here is run")
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            stubs = folder / "stubs"
            stubs.mkdir()
            outputs = sorted(readme.blocks(ROOT / "infra", "output"))
            for name, text in (
                ("make", MAKE.format(make=make, root=ROOT)),
                ("terraform", TERRAFORM.format(python=sys.executable, outputs=outputs)),
                ("aws", NOTHING),
                ("docker", NOTHING),
                ("gh", NOTHING),
            ):
                (stubs / name).write_text(text, encoding="utf-8")
                (stubs / name).chmod(0o755)
            work = folder / "work"
            (work / "infra").mkdir(parents=True)
            shutil.copy(ROOT / "infra" / "terraform.tfvars.example", work / "infra")
            # The files of a release, in place of those that `gh` downloads.
            name = "ecr-guard-1.4.0"
            files = {
                "modules": [release.File(f"{name}/infra/terraform.tfvars.example", b"")],
                "lambda-arm64": [release.File(f"{name}/lambda/arm64/on-scan/bootstrap.zip", b"zip")],
            }
            packed = {f"{name}-{of}.tar.gz": release.archive(content, 0) for of, content in files.items()}
            for file, content in (packed | {"SHA256SUMS": release.sums(packed).encode()}).items():
                (work / file).write_bytes(content)
            environment = os.environ | {"PATH": f"{stubs}:{os.environ['PATH']}"}
            commands = blocks("sh")
            self.assertGreater(len(commands), 5)
            for command in commands:
                done = subprocess.run(
                    ["bash", "-euo", "pipefail", "-c", command], cwd=work, env=environment, capture_output=True, text=True, check=False
                )
                self.assertEqual(done.returncode, 0, f"{command}\n{done.stdout}{done.stderr}")

    def test_commands_in_the_text_can_be_given(self) -> None:
        for target in re.findall(r"`make ([a-z-]+)", TEXT):
            self.assertRegex((ROOT / "Makefile").read_text(encoding="utf-8"), rf"(?m)^{target}:", target)

    def test_there_is_a_way_for_each_that_is_promised(self) -> None:
        headings = {re.sub(r"[^a-z0-9 -]", "", line.lower()).strip().replace(" ", "-") for line in re.findall(r"^#+ (.*)$", TEXT, re.MULTILINE)}
        for link in re.findall(r"\]\(#([^)]+)\)", TEXT):
            self.assertIn(link, headings)
        for way in ("without-rust", "from-a-git-tag", "several-accounts", "take-it-down"):
            self.assertIn(way, headings)


if __name__ == "__main__":
    unittest.main()
