"""Writes a note next to each function's zip: `bootstrap.json`, with the processor that the program is for and the SHA-256 of
the zip.

    tests/infra/packages.py FOLDER

FOLDER has a folder for each function, with `bootstrap.zip` in it. The module `guard` refuses a package for another processor
when it plans; Terraform cannot read a zip, and so it reads the note.
"""

from __future__ import annotations

import hashlib
import json
import sys
import zipfile
from pathlib import Path

# `e_machine` of an ELF header, by Lambda's names.
MACHINES = {0x3E: "x86_64", 0xB7: "arm64"}


class NoPackage(Exception):
    """The problem of a zip, in a sentence."""


def architecture(program: bytes) -> str:
    """The processor that a program is for, by its header: 64 bits, the lesser byte first."""
    if program[:6] != b"\x7fELF\x02\x01":
        raise NoPackage("its `bootstrap` is not a program for 64-bit Linux")
    machine = int.from_bytes(program[18:20], "little")
    if machine not in MACHINES:
        raise NoPackage(f"its `bootstrap` is for a processor that Lambda does not have (ELF machine {machine:#x})")
    return MACHINES[machine]


def note(package: Path) -> dict[str, str]:
    """The kind of a zip."""
    try:
        with zipfile.ZipFile(package) as content, content.open("bootstrap") as program:
            processor = architecture(program.read(20))
    except (KeyError, zipfile.BadZipFile) as error:
        raise NoPackage(f"it is no zip with a `bootstrap`: {error}") from error
    return {"architecture": processor, "sha256": hashlib.sha256(package.read_bytes()).hexdigest()}


def main() -> int:
    """Writes the notes; gives the exit code."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print(__doc__)
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    packages = sorted(Path(sys.argv[1]).glob("*/bootstrap.zip"))
    if not packages:
        print(f"{sys.argv[1]} has no packages", file=sys.stderr)
        return 1
    for package in packages:
        try:
            found = note(package)
        except NoPackage as why:
            print(f"{package}: {why}", file=sys.stderr)
            return 1
        package.with_suffix(".json").write_text(json.dumps(found) + "\n", encoding="utf-8")
        print(f"{package}: {found['architecture']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
