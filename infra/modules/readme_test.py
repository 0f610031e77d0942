"""Tests of readme.py: python3 -B -m unittest infra/modules/readme_test.py"""

import pathlib
import tempfile
import unittest

import readme

CODE = '''
terraform {
  required_version = ">= 1.9"

  required_providers {
    # Why this one.
    aws = {
      source  = "hashicorp/aws"
      # The first with something.
      version = ">= 6.10, < 8.0"
    }
  }
}

data "aws_region" "current" {}

resource "aws_ecr_repository" "this" {
  name = "a"
}

resource "aws_ecr_repository" "replica" {
  name = "b"
}

module "registry" {
  source = "../registry"
}
# variable "no" { description = "a comment" }
variable "simple" {
  description = "Says \\"hello\\" | and ${upper("}")} { so on."
  type        = string
}

variable "object" {
  validation {
    condition     = length(var.object) > 0
    error_message = "description = \\"not this one\\""
  }
  type = map(object({
    # what it is called
    name  = string
    count = optional(number, 1) // how many
    more = optional(list(string), [
      "a",
    ])
  }))
  default = {
    a = { name = "{" }
  }
  description = <<-EOT
    Two lines,
    one sentence.
  EOT
  nullable = false # never null
}

output "url" {
  value       = { for name, repository in local.repositories : name => "${repository}/}" }
  description = "Where it is."
}
'''
README = """# Module

<!-- requirements -->
<!-- end of requirements -->

<!-- resources -->
<!-- end of resources -->

<!-- variables -->
<!-- end of variables -->

<!-- outputs -->
old
<!-- end of outputs -->

End.
"""


class Readme(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        (self.folder / "main.tf").write_text(CODE, encoding="utf-8")
        (self.folder / "README.md").write_text(README, encoding="utf-8")

    def test_tables_say_what_the_code_says(self) -> None:
        _, old, new = readme.rewritten(self.folder)
        self.assertEqual(old, README)
        self.assertEqual(
            new,
            """# Module

<!-- requirements -->
| needs | version |
|---|---|
| Terraform | `>= 1.9` |
| provider [aws](https://registry.terraform.io/providers/hashicorp/aws) | `>= 6.10, < 8.0` |
<!-- end of requirements -->

<!-- resources -->
| resource | kind | names |
|---|---|---|
| [`aws_ecr_repository`](https://registry.terraform.io/providers/hashicorp/aws/latest/docs/resources/ecr_repository) | resource | `this`, `replica` |
| [`aws_region`](https://registry.terraform.io/providers/hashicorp/aws/latest/docs/data-sources/region) | data source | `current` |
| – | module | `registry` |
<!-- end of resources -->

<!-- variables -->
| variable | what | type | default |
|---|---|---|---|
| `simple` | Says "hello" \\| and ${upper("}")} { so on. | `string` | **required** |
| `object` | Two lines, one sentence. | `map(object({ name = string, count = optional(number, 1), more = optional(list(string), ["a"]) }))` | `{ a = { name = "{" } }` |
<!-- end of variables -->

<!-- outputs -->
| output | what |
|---|---|
| `url` | Where it is. |
<!-- end of outputs -->

End.
""",
        )

    def test_a_second_time_changes_nothing(self) -> None:
        path, _, new = readme.rewritten(self.folder)
        path.write_text(new, encoding="utf-8")
        _, old, again = readme.rewritten(self.folder)
        self.assertEqual(old, again)

    def test_what_is_missing_is_named(self) -> None:
        cases = [
            ('variable "bare" {\n  type = string\n}\n', "variable bare has no description"),
            ('variable "any" {\n  description = "x"\n}\n', "variable any has no type"),
            ('output "bare" {\n  value = 1\n}\n', "output bare has no description"),
            ('variable "open" {\n  description = "x\n', "a string that does not end"),
            ('variable "open" {\n  type = string\n', "a bracket that is not closed"),
        ]
        for code, message in cases:
            with self.subTest(message):
                (self.folder / "main.tf").write_text(f'terraform {{\n  required_version = ">= 1.9"\n}}\n{code}', encoding="utf-8")
                with self.assertRaisesRegex(readme.Mistake, message):
                    readme.rewritten(self.folder)

    def test_a_readme_without_its_lines_is_an_error(self) -> None:
        (self.folder / "README.md").write_text("# Module\n", encoding="utf-8")
        with self.assertRaisesRegex(readme.Mistake, "needs the lines <!-- requirements -->"):
            readme.rewritten(self.folder)


if __name__ == "__main__":
    unittest.main()
