"""Says what is missing on this machine, where to get it, and which commands need it: ``make doctor``.

Runs on any Python 3, since it says itself when Python is too old. It needs nothing that is not in the standard library.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PYTHON = (3, 11)
# GiB that a first build takes, with the emulators.
DISK = 4
# The needs of the commands, most important first.
DEMO = "make demo, make e2e"
EVERYTHING = "make test"
DEPLOY = "make plan, make deploy"


class Need(NamedTuple):
    """One thing that a command needs: how it is looked up, and where to get it. The look-up gives a version, or why there is none."""

    what: str
    look: Callable[[], tuple[bool, str]]
    get: str
    # Without it, this is left out, and all else works.
    without: str = ""
    # Not needed to run what is built already.
    to_build: bool = False


def needs() -> dict[str, list[Need]]:
    """The needs of the commands. Each list holds for those after it."""
    return {
        DEMO: [
            Need("Linux", linux, "a Linux machine, a virtual machine or WSL 2: the functions are Linux programs that run here"),
            Need("Python 3.11 or newer", python, "https://www.python.org/downloads/, or your system's packages; make PYTHON=python3.12 chooses one"),
            Need("Python's venv", venv, "package python3-venv of your system"),
            Need("cargo", lambda: program("cargo", "--version"), "https://rustup.rs, then open a new terminal"),
            Need(
                "the Rust of rust-toolchain.toml",
                rust,
                "https://rustup.rs, then open a new terminal: rustup fetches it",
                "cargo builds with the Rust that it has",
                to_build=True,
            ),
            Need("C compiler (cc)", lambda: program("cc", "--version"), "package gcc or build-essential of your system", to_build=True),
            Need(f"{DISK} GiB of disk", disk, f"free some: a first build takes up to {DISK} GiB", "a build may run out of it", to_build=True),
        ],
        EVERYTHING: [
            Need("git", lambda: program("git", "--version"), "package git of your system"),
            Need("bash", lambda: program("bash", "--version"), "package bash of your system"),
            Need("jq", lambda: program("jq", "--version"), "package jq of your system", "the scenario gate-action says NOT CHECKED"),
            Need("terraform", lambda: program("terraform", "version"), "https://developer.hashicorp.com/terraform/install", "`make infra` says what it did not check"),
            Need("arm64, or its emulator", arm64, "`make arm64-check INSTALL=1` on Debian, as root", "`make arm64-check` says NOT CHECKED"),
        ],
        DEPLOY: [
            Need("terraform", lambda: program("terraform", "version"), "https://developer.hashicorp.com/terraform/install"),
            Need("AWS CLI", lambda: program("aws", "--version"), "https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html", "you cannot confirm subscriptions or sweep by hand"),
            Need("docker", lambda: program("docker", "--version"), "package docker.io of your system, or https://docs.docker.com/engine/install/", "push the first image from another machine"),
            Need("AWS credentials", credentials, "`aws configure sso`, or AWS_PROFILE=…: docs/deployment.md"),
        ],
    }


# Look-ups


def linux() -> tuple[bool, str]:
    """The system."""
    return platform.system() == "Linux", f"{platform.system()} on {platform.machine()}"


def python() -> tuple[bool, str]:
    """This Python."""
    return sys.version_info[:2] >= PYTHON, platform.python_version()


def venv() -> tuple[bool, str]:
    """Whether virtual environments can be made: Debian packages that apart."""
    found = importlib.util.find_spec("venv") is not None and importlib.util.find_spec("ensurepip") is not None
    return found, "" if found else "modules venv and ensurepip"


def program(name: str, *arguments: str) -> tuple[bool, str]:
    """A program of the PATH, and the first line of what it says of its version."""
    if shutil.which(name) is None:
        return False, "not in PATH"
    try:
        said = subprocess.run([name, *arguments], capture_output=True, text=True, timeout=20, check=False, cwd=ROOT)
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    lines = (said.stdout or said.stderr).strip().splitlines()
    return said.returncode == 0, lines[0] if lines else ""


def arm64() -> tuple[bool, str]:
    """A processor like that of a deployment."""
    return (True, "this machine") if platform.machine() == "aarch64" else program("qemu-aarch64-static", "--version")


def rust() -> tuple[bool, str]:
    """The compiler that rust-toolchain.toml asks for: rustup fetches it when it is first needed."""
    wanted = re.search(r'channel *= *"([^"]+)"', (ROOT / "rust-toolchain.toml").read_text(encoding="utf-8"))
    version = wanted.group(1) if wanted else "?"
    if shutil.which("rustup") is not None:
        return True, version
    found, said = program("rustc", "--version")
    return found and f" {version}" in said, f"{said or 'not in PATH'}, {version} is wanted"


def disk() -> tuple[bool, str]:
    """The room that is left, and what the build has taken already."""
    if (ROOT / "target" / "lambda" / "host").is_dir():
        return True, "built before"
    free = shutil.disk_usage(ROOT).free / 2**30
    return free >= DISK, f"{free:.1f} GiB free"


def credentials() -> tuple[bool, str]:
    """Whether there seem to be credentials. Nobody is asked whether they are good."""
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        if os.environ.get(name):
            return True, name
    found = any((Path.home() / ".aws" / name).is_file() for name in ("credentials", "config"))
    return found, "~/.aws" if found else "neither variables nor ~/.aws"


# The report


def lines(commands: str, wanted: list[Need], quiet: bool, built: bool) -> tuple[list[str], bool]:
    """The present and missing tools for some commands, and whether they can run. ``built``: nothing has to be built."""
    said, able = [], True
    for need in wanted:
        if built and need.to_build:
            continue
        found, detail = need.look()
        if found:
            if not quiet:
                said.append(f"  ok       {need.what}{f' ({detail})' if detail else ''}")
            continue
        if need.without:
            if not quiet:
                said.append(f"  missing  {need.what}: {detail}\n           → {need.get}. Without it, {need.without}.")
            continue
        able = False
        said.append(f"  MISSING  {need.what}: {detail}\n           → {need.get}")
    return ([f"{commands}:", *said] if said else []), able


def main() -> int:
    """Says it; 0 if `make demo` can run."""
    parser = argparse.ArgumentParser(prog="doctor", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", action="store_true", help="only what the demo needs, and nothing if all is there")
    parser.add_argument("--built", action="store_true", help="nothing has to be built")
    options = parser.parse_args()
    able = True
    for commands, wanted in needs().items():
        if options.demo and commands != DEMO:
            continue
        said, well = lines(commands, wanted, options.demo, options.built)
        if said:
            print("\n".join(said), file=sys.stderr if options.demo else sys.stdout)
        if commands == DEMO:
            able = well
    if not able:
        print("\n`make demo` cannot run yet: get what is MISSING, then try again.", file=sys.stderr)
    return 0 if able else 2


if __name__ == "__main__":
    sys.exit(main())
