"""Packs each function's zip again, so that the same program gives the same zip, and writes a note next to it: `bootstrap.json`,
with the processor that the program is for and the SHA-256 of the zip.

    tests/infra/packages.py [--as-they-are] FOLDER

`--as-they-are`: only the notes are written; packing eight zips takes some seconds. FOLDER has a folder for each function, with
`bootstrap.zip` in it. The module `guard` refuses a package for another processor when it plans; Terraform cannot read a zip, and so
it reads the note.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import stat
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

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


def program(package: Path | BinaryIO) -> bytes:
    """The program in a zip."""
    try:
        with zipfile.ZipFile(package) as content:
            return content.read("bootstrap")
    except (KeyError, zipfile.BadZipFile) as error:
        raise NoPackage(f"it is no zip with a `bootstrap`: {error}") from error


def packed(content: bytes) -> bytes:
    """The zip of a program, whose bytes depend on nothing else: a new time of the same program would be new code to Terraform."""
    entry = zipfile.ZipInfo("bootstrap")
    entry.create_system, entry.external_attr, entry.compress_type = 3, (stat.S_IFREG | 0o755) << 16, zipfile.ZIP_DEFLATED
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as zipped:
        zipped.writestr(entry, content, compresslevel=9)
    return package.getvalue()


def note(package: Path) -> dict[str, str]:
    """The kind of a zip."""
    return {"architecture": architecture(program(package)[:20]), "sha256": hashlib.sha256(package.read_bytes()).hexdigest()}


def finish(package: Path, again: bool) -> dict[str, str] | NoPackage:
    """Packs a zip again, if it should, and writes its note; gives the note, or what is wrong."""
    try:
        if again:
            package.write_bytes(packed(program(package)))
        found = note(package)
    except NoPackage as why:
        return why
    package.with_suffix(".json").write_text(json.dumps(found) + "\n", encoding="utf-8")
    return found


def main() -> int:
    """Packs the zips and writes the notes; gives the exit code."""
    parser = argparse.ArgumentParser(prog="packages", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--as-they-are", action="store_true", help="write the notes only")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    packages = sorted(options.folder.glob("*/bootstrap.zip"))
    if not packages:
        print(f"{options.folder} has no packages", file=sys.stderr)
        return 1
    # zlib works outside of Python's lock, on all cores.
    with ThreadPoolExecutor() as threads:
        for package, found in zip(packages, threads.map(lambda package: finish(package, not options.as_they_are), packages), strict=True):
            if isinstance(found, NoPackage):
                print(f"{package}: {found}", file=sys.stderr)
                return 1
            print(f"{package}: {found['architecture']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
