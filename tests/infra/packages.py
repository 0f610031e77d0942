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
import json
import stat
import struct
import sys
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import BinaryIO

deflate: ModuleType | None
try:
    import deflate
except ImportError:
    # Tests take any Python. A package is made by one that has it (Makefile).
    deflate = None

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


def deflated(content: bytes) -> bytes:
    """The same bytes, compressed for a zip: by libdeflate, whose result is 4 percent smaller than that of zlib."""
    if deflate is not None:
        return bytes(deflate.deflate_compress(content, 12))
    compressor = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    return compressor.compress(content) + compressor.flush()


def packed(content: bytes) -> bytes:
    """The zip of a program, whose bytes depend on nothing else: a new time of the same program would be new code to Terraform.

    `zipfile` takes no compressor but its own. The form is that of PKWARE's APPNOTE.TXT, 4.3: the file, its entry in the directory, the end.
    """
    name, body = b"bootstrap", deflated(content)
    # Version 2.0, no flags, deflate, 1980-01-01 00:00.
    about = struct.pack("<5H3L2H", 20, 0, 8, 0, 0x21, zlib.crc32(content), len(body), len(content), len(name), 0)
    file = b"PK\x03\x04" + about + name + body
    mode = (stat.S_IFREG | 0o755) << 16
    directory = b"PK\x01\x02" + struct.pack("<H", 3 << 8 | 20) + about + struct.pack("<3H2L", 0, 0, 0, mode, 0) + name
    return file + directory + b"PK\x05\x06" + struct.pack("<4H2LH", 0, 0, 1, 1, len(directory), len(file), 0)


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
    if deflate is None and not options.as_they_are:
        print("the module `deflate` is not installed: packages are 4 % larger, and not those of a release", file=sys.stderr)
    # The compressor works outside of Python's lock, on all cores.
    with ThreadPoolExecutor() as threads:
        for package, found in zip(packages, threads.map(lambda package: finish(package, not options.as_they_are), packages), strict=True):
            if isinstance(found, NoPackage):
                print(f"{package}: {found}", file=sys.stderr)
                return 1
            print(f"{package}: {found['architecture']}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
