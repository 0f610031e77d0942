"""The root hands on what it is given, to every guard the same: read from its code, without Terraform."""

from __future__ import annotations

import re
import sys
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
INFRA = ROOT / "infra"
sys.path.insert(0, str(INFRA / "modules"))

import readme  # noqa: E402  # its folder is no package

# The names that the root has otherwise than the module.
NAMES = {"name": "guard_name", "repositories": "guarded_repositories"}
# Variables that are not passed on as they are.
REPLACED = {
    "ecr": {
        "image_removal_principal_arns": "var.image_removal_principal_arns == null ? null : concat(var.image_removal_principal_arns, local.guard_role_arns)",
        "github_gate_arns": "var.github_asks_gate ? [for guard in local.guards : guard.gate_arn] : []",
    },
    "guard": {
        "region": "REGION",
        "other_regions": "sort(local.other_regions)",
        "ledger_replica_regions": "sort(local.other_regions)",
        "lambda_directory": "contains(keys(var.lambda_s3), REGION) ? null : var.lambda_directory",
        "function_versions": "lookup(var.function_versions, REGION, {})",
        "create_kms_key": "!contains(keys(var.guard_kms_key_arns), REGION)",
        "kms_key_arn": "lookup(var.guard_kms_key_arns, REGION, null)",
        "ledger_replica_kms_key_arns": "{ for region in local.other_regions : region => var.guard_kms_key_arns[region] if contains(keys(var.guard_kms_key_arns), region) }",
    }
    | {name: f"lookup(var.{name}, REGION, null)" for name in ("lambda_s3", "vpc_config", "code_signing")},
    "guard_elsewhere": {"other_regions": "sort(setsubtract(local.guarded_regions, [REGION]))", "ledger": "module.guard.ledgers[REGION]"},
}
# Variables that the root decides by itself.
LEFT_OUT = {"ecr": {"create"}, "guard": {"policy", "tags", "ledger"}, "guard_elsewhere": {"policy", "tags", "ledger_replica_regions", "ledger_replica_kms_key_arns", "ledger_deletion_protection"}}


def arguments(module: str) -> dict[str, str]:
    """The arguments of a module in the root: variable to expression."""
    text = (INFRA / "main.tf").read_text(encoding="utf-8")
    block = re.search(rf'^module "{module}" {{', text, re.MULTILINE)
    assert block, module
    found = readme.attributes(text, block.end(), readme.closing(text, block.end() - 1) - 1)
    return {name: " ".join(value.split()) for name, value in found.items() if name not in ("source", "count", "for_each")}


class Root(unittest.TestCase):
    def wired(self, module: str, source: str, region: str, replaced: dict[str, str]) -> None:
        variables = set(readme.blocks(INFRA / "modules" / source, "variable")) - LEFT_OUT[module]
        expected = {name: replaced.get(name, f"var.{NAMES.get(name, name) if source == 'guard' else name}") for name in variables}
        expected = {name: value.replace("REGION", region) for name, value in expected.items()}
        self.assertEqual(arguments(module), expected, module)

    def test_the_registry_gets_what_is_said(self) -> None:
        self.wired("ecr", "ecr", "", REPLACED["ecr"])

    def test_the_guard_gets_what_is_said(self) -> None:
        self.wired("guard", "guard", "var.aws_region", REPLACED["guard"])

    def test_every_other_guard_gets_the_same(self) -> None:
        self.wired("guard_elsewhere", "guard", "each.value", REPLACED["guard"] | REPLACED["guard_elsewhere"])

    def test_who_says_nothing_gets_what_the_modules_say(self) -> None:
        root = readme.blocks(INFRA, "variable")
        for source in ("ecr", "guard"):
            for name, block in readme.blocks(INFRA / "modules" / source, "variable").items():
                ours = root.get(NAMES.get(name, name) if source == "guard" else name)
                regional = (REPLACED["guard"] | {"name": ""}).get(name, "").startswith("lookup")
                if ours is None or name in ("region", "ecr_repository_names", "aws_region") or regional:
                    continue
                with self.subTest(f"{source}: {name}"):
                    self.assertEqual(readme.compact(ours.get("default", "")), readme.compact(block.get("default", "")))
                    self.assertEqual(readme.compact(ours["type"]), readme.compact(block["type"]))

    def test_every_variable_of_the_root_is_used(self) -> None:
        text = "".join(path.read_text(encoding="utf-8") for path in INFRA.glob("*.tf"))
        for name in readme.blocks(INFRA, "variable"):
            self.assertRegex(text.replace(f'variable "{name}"', ""), rf"var\.{name}\b", name)

    def test_one_plan_says_every_variable(self) -> None:
        text = (INFRA / "tests" / "root.tftest.hcl").read_text(encoding="utf-8")
        said = set(re.findall(r"^    (\w+)\s+=", text.split('run "everything_is_said"')[1].split("\nrun ")[0], re.MULTILINE))
        # Said for all runs, or the other way to the same.
        said |= {"project_name", "aws_region", "lambda_directory", "github_oidc_provider_arn"}
        self.assertLessEqual(set(readme.blocks(INFRA, "variable")), said)

    def test_what_the_documentation_sets_in_terraform_tfvars_is_there(self) -> None:
        known = set(readme.blocks(INFRA, "variable"))
        for path in [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]:
            for block in re.findall(r"```hcl\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL):
                if "{" in block.split("\n")[0] and not re.match(r"\w+\s*=", block):
                    continue
                for name in re.findall(r"^(\w+)\s*=", block, re.MULTILINE):
                    self.assertIn(name, known, f"{path.name}: {name}")
        tuning = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8").split("## Tuning")[-1].split("##")[0]
        for name in re.findall(r"^\| `(\w+)` \|", tuning, re.MULTILINE):
            self.assertIn(name, known, f"operations.md: {name}")

    def test_the_example_settings_are_variables(self) -> None:
        known = set(readme.blocks(INFRA, "variable"))
        for name in re.findall(r"^#? ?(\w+)\s+= ", (INFRA / "terraform.tfvars.example").read_text(encoding="utf-8"), re.MULTILINE):
            self.assertIn(name, known)


if __name__ == "__main__":
    unittest.main()
