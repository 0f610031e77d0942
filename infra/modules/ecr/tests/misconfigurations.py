#!/usr/bin/env python3
"""Plant one misconfiguration after the other in a copy of the module, and see that a test finds it.

    infra/modules/ecr/tests/misconfigurations.py           plant all of them; fails if one is not found
    infra/modules/ecr/tests/misconfigurations.py --list    print the table for tests/README.md

Needs terraform. Where checkov is installed as well, those that it can find have to be found by it, too.
"""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
from typing import NamedTuple

MODULE = pathlib.Path(__file__).resolve().parent.parent


class Planted(NamedTuple):
    """A misconfiguration: `old` in `file`, where it is found once, becomes `new`."""

    what: str
    file: str
    old: str
    new: str
    test: str  # <file in tests/ without .tftest.hcl>: <run that fails>
    checkov: str = ""  # the check that fails, if one does


SOURCE_KEY = '  description             = "Images of ${local.prefix}"\n'
COPY_KEY = '  description             = "Images of ${local.prefix}, copies of those in ${local.region}"\n'
ROTATES = "  enable_key_rotation     = true\n"
ROTATES_NOT = "  enable_key_rotation     = false\n"
EXCLUSIONS = """
  dynamic "image_tag_mutability_exclusion_filter" {
    for_each = local.settings[each.value.name].image_tag_mutability_exclusion_filters
    content {
      filter      = image_tag_mutability_exclusion_filter.value
      filter_type = "WILDCARD"
    }
  }
"""

PLANTED = [
    Planted("names leave out the environment", "locals.tf",
            'name => "${local.prefix}-${name}"', 'name => "${var.project_name}-${name}"', "seed: repositories"),
    Planted("tags are mutable by default", "variables.tf",
            'default     = "IMMUTABLE"', 'default     = "MUTABLE"', "defaults: defaults"),
    Planted("images are not scanned when pushed", "main.tf",
            "scan_on_push = local.settings[each.key].scan_on_push", "scan_on_push = false", "seed: repositories", "CKV_AWS_163"),
    Planted("images are encrypted with AES256", "main.tf",
            'encryption_type = "KMS"', 'encryption_type = "AES256"', "seed: repositories", "CKV_AWS_136"),
    Planted("a repository is deleted with its images", "main.tf",
            "force_delete         = var.force_delete", "force_delete         = true", "seed: repositories"),
    Planted("the registry's scanning configuration is replaced unasked", "variables.tf",
            'all repositories of the account. Writing it replaces what is there."\n  type        = string\n  default     = null',
            'all repositories of the account. Writing it replaces what is there."\n  type        = string\n  default     = "BASIC"',
            "defaults: defaults"),
    Planted("the key does not rotate", "kms.tf", SOURCE_KEY + ROTATES, SOURCE_KEY + ROTATES_NOT, "seed: key", "CKV_AWS_7"),
    Planted("anybody may use the key", "kms.tf",
            'Sid       = "GrantsThroughEcr"\n        Effect    = "Allow"\n'
            '        Principal = { AWS = "arn:${local.partition}:iam::${local.account_id}:root" }',
            'Sid       = "GrantsThroughEcr"\n        Effect    = "Allow"\n        Principal = { AWS = "*" }',
            "seed: key"),
    Planted("the key is gone after a week", "variables.tf", "default     = 30\n\n  validation {\n    condition     = var.kms",
            "default     = 7\n\n  validation {\n    condition     = var.kms", "seed: key"),
    Planted("the wrong images are kept", "locals.tf", 'tagPrefixList = ["v"]', 'tagPrefixList = ["release"]', "seed: lifecycle_policy"),
    Planted("images expire instead of their oldest", "locals.tf",
            'countType     = "imageCountMoreThan"', 'countType     = "sinceImagePushed"', "seed: lifecycle_policy"),
    Planted("rules for other tags come before that for v tags", "locals.tf",
            "rulePriority = index + 3", "rulePriority = index", "seed: lifecycle_rules_for_other_tags_come_after_the_two"),
    Planted("rules for other tags stand by the alphabet", "locals.tf", 'format("%03d %d %s", 128 - length(replace(pattern, "*", ""))',
            'format("%03d %d %s", 128 - length(pattern)', "seed: lifecycle_rules_for_other_tags_are_ordered_by_width"),
    Planted("a repository can be deleted", "locals.tf", "!var.deletion_protection ?", "var.deletion_protection ?",
            "seed: repository_policy_keeps_the_repository"),
    Planted("a pipeline may delete images", "iam.tf",
            '          "ecr:PutImage",\n', '          "ecr:PutImage",\n          "ecr:BatchDeleteImage",\n', "seed: push_policy"),
    Planted("a pipeline may push to every repository", "iam.tf",
            '          "ecr:UploadLayerPart",\n        ]\n        Resource = target.arns[local.region]',
            '          "ecr:UploadLayerPart",\n        ]\n        Resource = ["*"]', "seed: push_policy"),
    Planted("nodes may push", "locals.tf", '  pull_actions = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]',
            '  pull_actions = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:PutImage"]', "seed: pull_policy"),
    Planted("nodes may pull from every repository", "iam.tf",
            "Resource = sort(flatten(values(target.arns)))", 'Resource = "*"', "seed: pull_policy"),
    Planted("a long list of repositories is opened by the beginning of names alone", "iam.tf",
            "condition = { Condition = { StringEquals = {", "condition = { Conditions = { StringEquals = {",
            "sizes: two_hundred_repositories_with_two_copies"),
    Planted("a pull policy is longer than IAM takes", "iam.tf",
            "pull_policy = length(local.pull_policies.list) <= local.managed_policy_limit", "pull_policy = length(local.pull_policies.list) <= 100000",
            "sizes: two_hundred_repositories_with_two_copies"),
    Planted("a rule for replication has more filters than ECR takes", "replication.tf",
            "chunklist(values(local.repositories), 100)", "chunklist(values(local.repositories), 1000)",
            "sizes: two_hundred_repositories_with_two_copies"),
    Planted("copies without tags are looked for by their tags", "iam.tf",
            "|| length(local.replica_regions) == 0 || var.create_replica_repositories", "|| var.enable_replication",
            "sizes: copies_without_tags_cannot_be_told_apart"),
    Planted("a role's path is taken for its name", "iam.tf",
            'element(split("/", var.eks_node_role_arn), -1)', 'element(split("/", var.eks_node_role_arn), 1)', "defaults: a_role_with_a_path"),
    Planted("a role in the same plan does not plan", "iam.tf",
            "local.attaches_pull_policy ?", "local.attaches_pull_policy && var.eks_node_role_arn != null ?", "defaults: a_role_in_the_same_plan"),
    Planted("anybody may take the role that stands in", "iam.tf",
            'Sid       = "Account"\n      Effect    = "Allow"\n      Principal = { AWS = "arn:${local.partition}:iam::${local.account_id}:root" }',
            'Sid       = "Account"\n      Effect    = "Allow"\n      Principal = { AWS = "*" }', "defaults: defaults"),
    Planted("everybody of AWS's Lambda may fetch images", "locals.tf",
            '        ArnLike      = { "aws:SourceArn" = var.lambda_function_arns }\n', "", "adopters: pull_for_lambda_functions"),
    Planted("every organisation may pull", "locals.tf",
            '      Condition = { StringEquals = { "aws:PrincipalOrgID" = var.pull_organization_ids } }\n', "", "adopters: pull_for_an_organization"),
    Planted("a statement lets in everybody", "variables.tf",
            "statement.Effect != \"Allow\" || can(statement.Condition)", "statement.Effect != null || can(statement.Condition)",
            "adopters: statements_that_let_in_everybody"),
    Planted("two calls of the module make the same role", "replication.tf",
            '"${local.prefix}-ecr-templates${var.name_suffix}"', '"${local.prefix}-ecr-templates"', "adopters: called_twice"),
    Planted("something is created that was not to be", "iam.tf", "count = var.create ? 1 : 0", "count = 1", "adopters: nothing"),
    Planted("a copy is kept by other rules than its source", "replication.tf",
            "local.lifecycle_policies[local.replicas[each.key].name]", "local.lifecycle_policy", "adopters: one_repository_is_different"),
    Planted("every environment replicates", "replication.tf",
            'var.environment == "prod" || var.allow_replication_outside_prod', "var.enable_replication", "replication: not_outside_prod"),
    Planted("repositories of others are replicated", "replication.tf",
            'filter = repository, filter_type', 'filter = var.project_name, filter_type', "replication: rule"),
    Planted("another stack's replication configuration is replaced", "replication.tf",
            "length(local.replica_regions) > 0 && var.manage_replication_configuration", "length(local.replica_regions) > 0",
            "replication: somebody_else_owns_the_replication_configuration"),
    Planted("the key of the copies does not rotate", "replication.tf", COPY_KEY + ROTATES, COPY_KEY + ROTATES_NOT,
            "replication: key_of_the_copies", "CKV_AWS_7"),
    Planted("tags of copies are mutable", "replication.tf",
            "image_tag_mutability = local.settings[each.value.name].image_tag_mutability\n  force_delete", 'image_tag_mutability = "MUTABLE"\n  force_delete',
            "replication: copies_are_as_protected_as_their_sources"),
    Planted("copies are encrypted with the key of another region", "replication.tf",
            "kms_key         = local.key_arns[each.value.region]\n  }\n\n  image_scanning",
            "kms_key         = local.key_arns[local.region]\n  }\n\n  image_scanning", "outputs: everything_is_wired_to_what_it_belongs_to"),
    Planted("copies have no lifecycle policy", "replication.tf",
            'resource "aws_ecr_lifecycle_policy" "replica" {\n  for_each = aws_ecr_repository.replica',
            'resource "aws_ecr_lifecycle_policy" "replica" {\n  for_each = { for key, copy in aws_ecr_repository.replica : key => copy if false }',
            "replication: copies_are_as_protected_as_their_sources"),
    Planted("the template is for pull-through caches", "replication.tf", '["REPLICATION"]', '["PULL_THROUGH_CACHE"]', "replication: templates"),
    Planted("the template has no lifecycle policy", "replication.tf",
            "  lifecycle_policy     = local.lifecycle_policies[each.value.name]\n", "", "replication: templates"),
    Planted("the template has no repository policy", "replication.tf",
            "  repository_policy    = local.repository_policy\n", "", "replication: templates"),
    Planted("the template makes tags mutable", "replication.tf",
            "image_tag_mutability = local.settings[each.value.name].image_tag_mutability\n  lifecycle_policy", 'image_tag_mutability = "MUTABLE"\n  lifecycle_policy',
            "replication: templates"),
    Planted("the template leaves no tag out", "replication.tf",
            "  resource_tags        = local.tags\n" + EXCLUSIONS, "  resource_tags        = local.tags\n",
            "replication: templates_leave_out_the_same_tags"),
    Planted("the template is in the region of the sources", "replication.tf",
            "  region               = each.value.region\n  prefix", "  region               = local.region\n  prefix", "replication: templates"),
    Planted("the templates' role may create any repository", "replication.tf",
            'template.prefix == "ROOT"\n', "template.prefix != null\n", "replication: role_of_the_templates"),
    Planted("workflows of any repository take the role", "github.tf",
            '          "${local.github_issuer}:sub" = local.github_subjects\n', "", "github: trust"),
    Planted("subjects are patterns", "github.tf", "StringEquals = {", "StringLike = {", "github: trust"),
    Planted("tokens for others than AWS are taken", "github.tf",
            '          "${local.github_issuer}:aud" = "sts.amazonaws.com"\n', "", "github: trust"),
    Planted("every branch may push", "github.tf", ":ref:refs/heads/${branch}", ":*", "github: trust"),
    Planted("a pattern for a branch is not refused", "variables.tf", '"^[^*?:]+$"', '"^.+$"', "github: no_wildcard_in_a_branch"),
    Planted("workflows invoke any function", "github.tf", "Resource = var.github_gate_arns", 'Resource = "*"', "github: the_gate"),
    Planted("workflows change the gate", "github.tf", '["lambda:InvokeFunction"]', '["lambda:InvokeFunction", "lambda:UpdateFunctionCode"]',
            "github: the_gate"),
    Planted("a pattern for a gate is not refused", "variables.tf", ":function:[A-Za-z0-9_-]+:[A-Za-z0-9_-]+$", ":function:.+$",
            "github: no_wildcard_in_the_gate"),
    Planted("a wildcard may pull", "variables.tf",
            "[for arn in var.pull_principal_arns :", "[for arn in slice(var.pull_principal_arns, 0, 0) :", "refused: anybody_may_pull"),
]


def plant(folder: pathlib.Path, planted: Planted) -> str:
    """Write the misconfiguration into the copy; gives what the file was before."""
    path = folder / planted.file
    before = path.read_text(encoding="utf-8")
    if before.count(planted.old) != 1:
        raise SystemExit(f"{planted.what}: {planted.file} has {before.count(planted.old)} times: {planted.old}")
    path.write_text(before.replace(planted.old, planted.new), encoding="utf-8")
    return before


def found_by_test(folder: pathlib.Path, planted: Planted) -> str | None:
    """Does the run that is named fail? Gives what was printed otherwise."""
    file, run = planted.test.split(": ")
    done = subprocess.run(
        ["terraform", "test", "-no-color", f"-filter=tests/{file}.tftest.hcl"],
        cwd=folder, capture_output=True, text=True, check=False,
    )
    return None if re.search(rf'run "{run}"\.\.\. fail', done.stdout) else done.stdout + done.stderr


def found_by_checkov(folder: pathlib.Path, planted: Planted) -> str | None:
    """Does the check that is named fail?"""
    done = subprocess.run(
        ["checkov", "--directory", ".", "--framework", "terraform", "--check", planted.checkov, "--compact", "--quiet"],
        cwd=folder, capture_output=True, text=True, check=False,
    )
    return None if f"Check: {planted.checkov}:" in done.stdout else done.stdout


def main() -> int:
    """Plant all; the exit code is 1 when one is not found."""
    if sys.argv[1:] == ["--list"]:
        print("| misconfiguration | test that finds it | checkov |\n|---|---|---|")
        for planted in PLANTED:
            print(f"| {planted.what} | `{planted.test}` | {planted.checkov} |")
        return 0

    checkov = shutil.which("checkov")
    if not checkov:
        print("NOT CHECKED: what checkov finds, since it is not installed")
    missed = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary) / MODULE.name
        for module in (MODULE, MODULE.with_name("registry")):
            shutil.copytree(module, pathlib.Path(temporary) / module.name, ignore=shutil.ignore_patterns(".terraform*"))
        init = ["terraform", "init", "-backend=false", "-input=false"]
        if subprocess.run(init, cwd=folder, check=False, stdout=subprocess.DEVNULL).returncode:
            raise SystemExit("terraform init failed")
        for planted in PLANTED:
            before = plant(folder, planted)
            why = found_by_test(folder, planted)
            if why is None and checkov and planted.checkov:
                why = found_by_checkov(folder, planted)
            (folder / planted.file).write_text(before, encoding="utf-8")
            print(f"{'found ' if why is None else 'MISSED'} {planted.what}", flush=True)
            if why is not None:
                missed += 1
                print(why)
    print(f"{len(PLANTED) - missed} of {len(PLANTED)} misconfigurations found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
