"""A release is refused unless its checkout is the one of its version, and the same builds give the same bytes."""

from __future__ import annotations

import datetime
import fnmatch
import gzip
import hashlib
import io
import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import unittest
import zipfile
from pathlib import Path
from typing import Any

import packages
import release

CHANGELOG = """# Changelog

## Unreleased

## 0.2.0 - 2026-12-01

### Added

- Function `gate`. [docs/gate.md](docs/gate.md), [how](docs/gate.md#how), [Keep a Changelog](https://keepachangelog.com)

## 0.1.0

- The first.
"""
MANIFEST = """[workspace]
resolver = "3"

[workspace.package]
edition = "2024"
version = "0.2.0"

[workspace.dependencies]
other = { version = "0.2.0" }
"""
WAITING = CHANGELOG.replace("## Unreleased\n", "## Unreleased\n\n- Something.\n")


def elf(machine: int, text: bytes = b"") -> bytes:
    return b"\x7fELF\x02\x01".ljust(18, b"\0") + machine.to_bytes(2, "little") + text


class Checkout(unittest.TestCase):
    def problems(self, version: str = "0.2.0", changelog: str = CHANGELOG, manifest: str = MANIFEST, status: str = "") -> str:
        return "\n".join(release.problems(version, changelog, manifest, status))

    def test_the_checkout_of_a_version_is_its_release(self) -> None:
        self.assertEqual(self.problems(), "")
        self.assertEqual(self.problems(status="?? infra/.terraform.lock.hcl\n"), "")

    def test_what_is_no_version_is_refused(self) -> None:
        for version in ("", "v0.2.0", "0.2", "0.2.0.1", "00.2.0", "0.2.0+1", "0.2.0 ", "0.2.0-", "0.2.0-01", "latest", "../0.2.0"):
            self.assertIn("is no version: one is like 1.4.0", self.problems(version), version)
        for version in ("0.2.0-rc.1", "10.20.30", "1.0.0-alpha-1"):
            self.assertEqual(release.not_a_version(version), [], version)

    def test_another_version_in_cargo_toml_is_refused(self) -> None:
        self.assertIn("Cargo.toml has the version 0.2.0, and not 0.1.0: `make release-prepare VERSION=0.1.0`", self.problems("0.1.0"))

    def test_a_version_without_a_section_is_refused(self) -> None:
        said = self.problems("0.3.0", manifest=MANIFEST.replace('version = "0.2.0"\n', 'version = "0.3.0"\n'))
        self.assertEqual(said, "CHANGELOG.md has no section `## 0.3.0`: `make release-prepare VERSION=0.3.0` makes it of the lines under Unreleased")

    def test_an_empty_section_is_refused(self) -> None:
        self.assertIn("says nothing under `## 0.2.0`", self.problems(changelog="## Unreleased\n\n## 0.2.0\n\n## 0.1.0\n\n- x\n"))

    def test_lines_that_would_be_in_no_notes_are_refused(self) -> None:
        self.assertIn("lines under Unreleased, which are in this commit", self.problems(changelog=WAITING))

    def test_a_checkout_that_differs_from_its_commit_is_refused_with_the_names(self) -> None:
        self.assertEqual(self.problems(status=" M Makefile\n?? new.rs\n"), "the checkout differs from its commit: Makefile, new.rs")
        many = "".join(f" M {number}\n" for number in range(7))
        self.assertTrue(self.problems(status=many).endswith("0, 1, 2, 3, 4, and 2 more"), self.problems(status=many))

    def test_all_reasons_are_said_at_once(self) -> None:
        self.assertEqual(len(release.problems("0.3.0", CHANGELOG, MANIFEST, " M Makefile\n")), 3)

    def test_another_compiler_is_refused_unless_for_a_rehearsal(self) -> None:
        both = list(release.TARGETS.values())
        self.assertEqual(release.compiler_problems("1.95.0", "rustc 1.95.0 (5980 2026-04-14)\n", both, False), [])
        (said,) = release.compiler_problems("1.95.0", "rustc 1.96.0 (ac68 2026-05-25)\n", both, False)
        self.assertIn("a release is built with 1.95.0", said)
        self.assertEqual(release.compiler_problems("1.95.0", "rustc 1.96.0 (ac68 2026-05-25)\n", both, True), [])

    def test_a_compiler_that_cannot_build_for_a_processor_is_refused(self) -> None:
        (said,) = release.compiler_problems("1.95.0", "rustc 1.95.0 (5980 2026-04-14)", ["x86_64-unknown-linux-gnu", "etc"], False)
        self.assertEqual(said, "the compiler has no library for aarch64-unknown-linux-gnu: rustup target add aarch64-unknown-linux-gnu")

    def test_a_refusal_is_a_line_for_each_reason_and_exit_code_2(self) -> None:
        done = subprocess.run(
            [sys.executable, "-B", release.__file__, "check", "not-a-version"], capture_output=True, text=True, check=False
        )
        self.assertEqual((done.returncode, done.stdout), (2, ""), done)
        self.assertTrue(done.stderr.startswith("`not-a-version` is no version") and done.stderr.count("\n") == 1, done.stderr)


class Preparing(unittest.TestCase):
    def test_the_lines_under_unreleased_get_the_heading_of_the_version(self) -> None:
        changelog, manifest = release.prepared("0.3.0", WAITING, MANIFEST, datetime.date(2026, 12, 31))
        self.assertEqual(release.sections(changelog)["0.3.0"], "- Something.")
        self.assertIn("## Unreleased\n\n## 0.3.0 - 2026-12-31\n\n- Something.\n", changelog)
        self.assertEqual(manifest, MANIFEST.replace('\nversion = "0.2.0"', '\nversion = "0.3.0"'))
        self.assertEqual(release.problems("0.3.0", changelog, manifest, ""), [])

    def test_there_is_nothing_to_release_without_lines(self) -> None:
        with self.assertRaisesRegex(release.Refused, "nothing under Unreleased"):
            release.prepared("0.3.0", CHANGELOG, MANIFEST, datetime.date(2026, 12, 31))

    def test_a_version_is_not_made_twice(self) -> None:
        with self.assertRaisesRegex(release.Refused, "has a section `## 0.2.0` already"):
            release.prepared("0.2.0", WAITING, MANIFEST, datetime.date(2026, 12, 31))

    def test_this_checkout_can_be_prepared(self) -> None:
        changelog, manifest = ((release.ROOT / name).read_text(encoding="utf-8") for name in ("CHANGELOG.md", "Cargo.toml"))
        if not release.sections(changelog).get(release.UNRELEASED):
            changelog = changelog.replace("## Unreleased\n", "## Unreleased\n\n- Something.\n")
        self.assertEqual(release.problems("99.0.0", *release.prepared("99.0.0", changelog, manifest, datetime.date(2026, 12, 31)), ""), [])

    def test_the_crates_of_this_workspace_get_the_version_and_no_others(self) -> None:
        lock, manifest = ((release.ROOT / name).read_text(encoding="utf-8") for name in ("Cargo.lock", "Cargo.toml"))
        has = release.workspace_version(manifest)
        # A crate of somebody else that has the same version by chance.
        foreign = f'\n[[package]]\nname = "zz-foreign"\nversion = "{has}"\nsource = "registry+https://github.com/rust-lang/crates.io-index"\n'
        crates = {crate["name"]: crate for crate in tomllib.loads(release.locked("99.0.0", lock + foreign, has))["package"]}
        ours = {name for name, crate in crates.items() if "source" not in crate}
        self.assertLessEqual({"ecr-guard-cli", "guard-core", "on-push", "tests"}, ours)
        self.assertEqual({name for name, crate in crates.items() if crate["version"] == "99.0.0"}, ours)
        with self.assertRaisesRegex(release.Refused, "no crate of this workspace with the version 98.0.0"):
            release.locked("99.0.0", lock, "98.0.0")


class Notes(unittest.TestCase):
    def test_a_section_ends_at_the_next_version(self) -> None:
        self.assertEqual(release.sections(CHANGELOG)["0.1.0"], "- The first.")
        self.assertTrue(release.sections(CHANGELOG)["0.2.0"].startswith("### Added\n"))
        self.assertEqual(list(release.sections(CHANGELOG)), ["Unreleased", "0.2.0", "0.1.0"])

    def test_files_are_named_where_links_to_them_would_lead_nowhere(self) -> None:
        said = release.notes(release.sections(CHANGELOG)["0.2.0"])
        self.assertIn("docs/gate.md, how (`docs/gate.md#how`), [Keep a Changelog](https://keepachangelog.com)\n", said)


class Bytes(unittest.TestCase):
    def test_an_archive_has_no_trace_of_its_making(self) -> None:
        files = [release.File("b", b"2", program=True), release.File("a", b"1")]
        packed = release.archive(files, 1_700_000_000)
        self.assertEqual(packed, release.archive(reversed(files), 1_700_000_000))
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            found = [(file.name, file.mode, file.mtime, file.uid, file.gid, file.uname, file.gname) for file in archive]
        self.assertEqual(found, [("a", 0o644, 1_700_000_000, 0, 0, "", ""), ("b", 0o755, 1_700_000_000, 0, 0, "", "")])
        self.assertEqual(packed[4:8], b"\0\0\0\0", "the time of gzip")

    def test_the_same_program_gives_the_same_package_whenever_it_was_built(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            built = []
            for day, mode in ((1, 0o100755), (2, 0o100700)):
                package = Path(folder) / str(day) / "bootstrap.zip"
                package.parent.mkdir()
                with zipfile.ZipFile(package, "w") as archive:
                    entry = zipfile.ZipInfo("bootstrap", (2026, 1, day, 0, 0, 0))
                    entry.external_attr = mode << 16
                    archive.writestr(entry, elf(0xB7))
                built.append(packages.packed(packages.program(package)))
        self.assertEqual(built[0], built[1])
        with zipfile.ZipFile(io.BytesIO(built[0])) as archive:
            (entry,) = archive.infolist()
            self.assertEqual((entry.filename, entry.external_attr >> 16, entry.date_time[0]), ("bootstrap", 0o100755, 1980))
            self.assertEqual(archive.read("bootstrap"), elf(0xB7))

    def test_packages_are_packed_again_and_get_their_note_or_stay_as_they_are(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            package = Path(folder) / "gate" / "bootstrap.zip"
            package.parent.mkdir()
            with zipfile.ZipFile(package, "w") as archive:
                archive.writestr(zipfile.ZipInfo("bootstrap", (2026, 1, 1, 0, 0, 0)), elf(0xB7))
            as_built = package.read_bytes()
            for arguments, expected in ((["--as-they-are"], as_built), ([], packages.packed(elf(0xB7)))):
                done = subprocess.run([sys.executable, "-B", packages.__file__, *arguments, folder], capture_output=True, text=True, check=True)
                self.assertEqual(done.stdout, f"{package}: arm64\n")
                self.assertEqual(package.read_bytes(), expected)
                self.assertEqual(json.loads(package.with_suffix(".json").read_text()), packages.note(package))
            package.write_bytes(b"no zip")
            done = subprocess.run([sys.executable, "-B", packages.__file__, folder], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("it is no zip with a `bootstrap`", done.stderr)

    def test_a_place_of_this_machine_is_found_in_a_program(self) -> None:
        self.assertEqual(release.places(b"...\0/home/me/.cargo/registry/x.rs\0", ["/home/me/.cargo", "/work", ""]), ["/home/me/.cargo"])


# Leaves out tables for unwinding.
LINKED = '"-Clink-arg=-Wl,-T,.cargo/link.ld"'


class Builds(unittest.TestCase):
    def commands(self, target: str, architecture: str) -> str:
        command = ["make", "--no-print-directory", "-C", str(release.ROOT), "-n", "-o", "target/demo/venv/.ready", target, f"ARCH={architecture}", "CARGO_HOME=/home/me/.cargo"]
        return subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]}).stdout

    def test_places_are_taken_out_by_a_list_that_the_processor_is_added_to(self) -> None:
        places = f'"--remap-path-prefix={release.ROOT}=/ecr-guard", "--remap-path-prefix=/home/me/.cargo=/cargo"'
        flags = f"--config 'build.rustflags=[{places}, {LINKED}]'"
        for architecture, option in (("arm64", "--arm64"), ("x86_64", "--x86-64")):
            for target in ("package", "command-line"):
                said = self.commands(target, architecture)
                self.assertIn(flags, said)
                self.assertRegex(said, rf"{option}\b")
                # It would take the place of the list, with the processor of Lambda in it.
                self.assertNotIn("RUSTFLAGS=", said)

    def test_programs_that_run_here_are_linked_as_those_of_a_release(self) -> None:
        for target in ("package-host", "arm64-check"):
            self.assertIn(f"--config 'build.rustflags=[{LINKED}]'", self.commands(target, "host"))
        script = LINKED.strip('"').rsplit(",", 1)[-1]
        self.assertIn("/DISCARD/", (release.ROOT / script).read_text())

    def test_the_command_line_runs_on_processors_that_lambda_does_not_have(self) -> None:
        self.assertIn("--disable-optimizations", self.commands("command-line", "x86_64"))
        self.assertNotIn("--disable-optimizations", self.commands("package", "x86_64"))


class ThirdParties(unittest.TestCase):
    def metadata(self, folder: Path) -> dict[str, Any]:
        (folder / "LICENSE-MIT").write_text("The MIT text\n", encoding="utf-8")

        def package(name: str, kind: str = "lib", where: str = "elsewhere") -> dict[str, Any]:
            return {
                "id": name,
                "name": name,
                "version": "1.0.0",
                "license": "MIT",
                "manifest_path": str(folder / where / "Cargo.toml"),
                "targets": [{"kind": [kind]}],
            }

        def node(name: str, **dependencies: str | None) -> dict[str, Any]:
            return {"id": name, "deps": [{"pkg": dependency, "dep_kinds": [{"kind": kind}]} for dependency, kind in dependencies.items()]}

        (folder / "elsewhere").mkdir()
        return {
            "workspace_members": ["gate", "core", "tests"],
            "packages": [
                package("gate", "bin"),
                package("core"),
                package("tests"),
                package("serde", where="."),
                package("itoa", where="."),
                package("bare"),
                package("cc"),
                package("proptest"),
            ],
            "resolve": {
                "nodes": [
                    node("gate", core=None, proptest="dev"),
                    node("core", serde=None, bare=None, cc="build"),
                    node("tests", proptest=None),
                    node("serde", itoa=None),
                    *(node(name) for name in ("itoa", "bare", "cc", "proptest")),
                ]
            },
        }

    def test_what_is_linked_is_named_and_each_text_stands_once(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            said = release.third_parties(self.metadata(Path(folder)))
        self.assertEqual(said.count("The MIT text"), 1)
        self.assertIn("itoa 1.0.0 (MIT)\nserde 1.0.0 (MIT)\n", said)
        self.assertIn("bare 1.0.0 (MIT)\n", said)
        for name in ("cc 1.0.0", "proptest", "core", "gate"):
            self.assertNotIn(name, said)


class Assets(unittest.TestCase):
    def setUp(self) -> None:
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = Path(temporary.name)
        self.root = self.folder / "root"
        for name, text in {
            "LICENSE": "Apache",
            "CHANGELOG.md": CHANGELOG,
            "README.md": "# ecr-guard",
            "SECURITY.md": "# Security",
            "infra/main.tf": "#",
            "infra/ignored": "#",
            "docs/gate.md": "# Gate",
            "functions/on-scan/Cargo.toml": "",
            "functions/gate/Cargo.toml": "",
        }.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(text, encoding="utf-8")
        subprocess.run(["git", "init", "--quiet"], cwd=self.root, check=True)
        subprocess.run(["git", "add", "LICENSE", "CHANGELOG.md", "README.md", "SECURITY.md", "infra/main.tf", "docs", "functions"], cwd=self.root, check=True)
        for architecture, machine in (("arm64", 0xB7), ("x86_64", 0x3E)):
            for function in ("on-scan", "gate"):
                package = self.folder / "lambda" / architecture / function / "bootstrap.zip"
                package.parent.mkdir(parents=True)
                package.write_bytes(packages.packed(elf(machine, function.encode())))
                package.with_suffix(".json").write_text(json.dumps(packages.note(package)), encoding="utf-8")
            command_line = self.folder / "command-line" / architecture / "ecr-guard" / "bootstrap"
            command_line.parent.mkdir(parents=True)
            command_line.write_bytes(elf(machine, b"cli"))
        (self.folder / "sbom").mkdir()
        for program in ("on-scan", "gate", "ecr-guard"):
            (self.folder / "sbom" / f"{program}.cdx.json").write_text("{}", encoding="utf-8")
        self.built = release.Built(
            lambda_directory=self.folder / "lambda",
            command_line=self.folder / "command-line",
            bills=self.folder / "sbom",
            third_parties={"arm64": "MIT", "x86_64": "MIT"},
            places=["/home/me/.cargo"],
            tools="rustc 1.95.0\n",
        )

    def assets(self) -> dict[str, bytes]:
        return release.assets("0.2.0", release.sections(CHANGELOG)["0.2.0"], self.built, self.root, 1_700_000_000)

    def names(self, files: dict[str, bytes], of: str) -> list[str]:
        with tarfile.open(fileobj=io.BytesIO(files[of])) as archive:
            return archive.getnames()

    def test_a_release_has_what_a_deployment_without_rust_needs(self) -> None:
        files = self.assets()
        self.assertEqual(
            sorted(files),
            [
                "BUILT-WITH.txt",
                "RELEASE-NOTES.md",
                "SHA256SUMS",
                "ecr-guard-0.2.0-ecr-guard.cdx.json",
                "ecr-guard-0.2.0-gate.cdx.json",
                "ecr-guard-0.2.0-lambda-arm64.tar.gz",
                "ecr-guard-0.2.0-lambda-x86_64.tar.gz",
                "ecr-guard-0.2.0-linux-arm64.tar.gz",
                "ecr-guard-0.2.0-linux-x86_64.tar.gz",
                "ecr-guard-0.2.0-modules.tar.gz",
                "ecr-guard-0.2.0-on-scan.cdx.json",
            ],
        )
        # The layout that the module `guard` reads (infra/modules/guard/functions.tf): lambda_directory = "../lambda", from infra/.
        self.assertEqual(
            self.names(files, "ecr-guard-0.2.0-lambda-arm64.tar.gz"),
            [
                f"ecr-guard-0.2.0/lambda/arm64/{name}"
                for name in ("LICENSE", "THIRD-PARTY.txt", "gate/bootstrap.json", "gate/bootstrap.zip", "on-scan/bootstrap.json", "on-scan/bootstrap.zip")
            ],
        )
        self.assertEqual(self.names(files, "ecr-guard-0.2.0-linux-x86_64.tar.gz"), ["LICENSE", "THIRD-PARTY.txt", "ecr-guard"])
        self.assertEqual(
            self.names(files, "ecr-guard-0.2.0-modules.tar.gz"),
            [f"ecr-guard-0.2.0/{name}" for name in ("CHANGELOG.md", "LICENSE", "README.md", "SECURITY.md", "docs/gate.md", "infra/main.tf")],
        )

    def test_the_workflow_of_a_release_attests_every_file_and_every_package(self) -> None:
        workflow = (release.ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
        files = self.assets()
        unpacked = [name for name in files if fnmatch.fnmatch(f"release/{name}", "release/*-lambda-*.tar.gz")]
        self.assertIn("for packages in release/*-lambda-*.tar.gz;", workflow)
        self.assertEqual(len(unpacked), len(release.TARGETS))
        subjects = re.findall(r"^ {12}(\S+)$", workflow.partition("subject-path: |\n")[2].partition("- name")[0], re.MULTILINE)
        self.assertEqual(subjects, ["release/*", "ecr-guard-*/lambda/*/*/bootstrap.zip"])
        packed = [name for archive in unpacked for name in self.names(files, archive) if name.endswith(".zip")]
        self.assertEqual(len(packed), 4)
        for name in packed:
            self.assertEqual(name.count("/"), subjects[1].count("/"), "a * of GitHub ends at a /")
            self.assertTrue(fnmatch.fnmatch(name, subjects[1]), name)

    def test_the_checksums_are_those_of_all_other_files(self) -> None:
        files = self.assets()
        said = files.pop("SHA256SUMS").decode().splitlines()
        self.assertEqual(said, [f"{hashlib.sha256(content).hexdigest()}  {name}" for name, content in sorted(files.items())])

    def test_the_providers_checksums_are_with_the_modules_if_they_were_made(self) -> None:
        (self.root / release.PROVIDERS).write_text("provider", encoding="utf-8")
        self.assertIn(f"ecr-guard-0.2.0/{release.PROVIDERS}", self.names(self.assets(), "ecr-guard-0.2.0-modules.tar.gz"))

    def test_the_same_builds_give_the_same_bytes(self) -> None:
        self.assertEqual(self.assets(), self.assets())

    def refused(self, why: str) -> None:
        with self.assertRaisesRegex(release.Refused, why):
            self.assets()

    def test_a_function_that_was_not_built_is_no_release(self) -> None:
        (self.folder / "lambda" / "x86_64" / "gate" / "bootstrap.zip").unlink()
        self.refused("x86_64/gate/bootstrap.zip is not there")

    def test_a_program_that_names_a_place_of_this_machine_is_no_release(self) -> None:
        package = self.folder / "lambda" / "arm64" / "gate" / "bootstrap.zip"
        package.write_bytes(packages.packed(elf(0xB7, b"/home/me/.cargo/registry/src/x.rs")))
        self.refused("lambda/arm64/gate/bootstrap.zip for arm64 names a place of this machine: /home/me/.cargo")

    def test_a_program_for_another_processor_is_no_release(self) -> None:
        (self.folder / "command-line" / "arm64" / "ecr-guard" / "bootstrap").write_bytes(elf(0x3E))
        self.refused("not for arm64: ecr-guard")

    def test_a_program_without_its_bill_of_materials_is_no_release(self) -> None:
        (self.folder / "sbom" / "gate.cdx.json").unlink()
        self.refused("no bill of materials for gate")

    def test_a_bill_of_materials_that_names_a_place_of_this_machine_is_no_release(self) -> None:
        (self.folder / "sbom" / "gate.cdx.json").write_text('{"bom-ref": "path+file:///home/me/.cargo/git#1"}', encoding="utf-8")
        self.refused("the bill of materials for gate names a place of this machine: /home/me/.cargo")

    def test_two_runs_are_compared_by_their_bytes(self) -> None:
        one, other = self.folder / "one", self.folder / "other"
        for folder in (one, other):
            folder.mkdir()
            for name, content in self.assets().items():
                (folder / name).write_bytes(content)
        self.assertEqual(release.differences(one, other), [])
        (other / "RELEASE-NOTES.md").write_text("other", encoding="utf-8")
        (other / "more").write_bytes(gzip.compress(b""))
        self.assertEqual(release.differences(one, other), ["RELEASE-NOTES.md", "more"])
        with self.assertRaisesRegex(release.Refused, "differ: RELEASE-NOTES.md, more"):
            release.compare(one, other)

    def test_two_releases_are_compared_by_their_crates(self) -> None:
        def made(version: str, bills: dict[str, list[tuple[str, str]]]) -> Path:
            folder = self.folder / version
            folder.mkdir()
            (folder / f"ecr-guard-{version}-modules.tar.gz").touch()
            for program, parts in bills.items():
                document = {"components": [{"name": name, "version": number} for name, number in parts]}
                (folder / f"ecr-guard-{version}-{program}.cdx.json").write_text(json.dumps(document), encoding="utf-8")
            return folder

        serde = ("serde", "1.0.1")
        one = made("1.4.0-rc.1", {"gate": [serde, ("http", "0.2.1"), ("http", "1.0.0")], "on-scan": [serde, ("hex", "0.4.3")]})
        other = made("1.4.0", {"gate": [("serde", "1.0.2"), ("http", "1.0.0")], "on-scan": [("serde", "1.0.2"), ("ring", "0.17.0")]})
        self.assertEqual(
            release.changed_crates(one, other),
            [
                "added    ring 0.17.0 (on-scan)",
                "changed  http 0.2.1 and 1.0.0 to 1.0.0 (gate)",
                "changed  serde 1.0.1 to 1.0.2 (gate, on-scan)",
                "removed  hex 0.4.3 (on-scan)",
            ],
        )
        self.assertEqual(release.changed_crates(one, one), [])
        with self.assertRaisesRegex(release.Refused, "is no release"):
            release.changed_crates(one, self.folder)


if __name__ == "__main__":
    unittest.main()
