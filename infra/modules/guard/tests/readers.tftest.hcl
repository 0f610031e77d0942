# The policy for operators: it reads, and nothing else.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  lambda_directory = "./tests/packages/lambda"
  policy           = { version = 1, mode = "enforce" }
  workloads        = null
}

run "packages" {
  module {
    source = "./tests/packages"
  }
}

run "an_operator_reads_the_ledger_and_the_registry" {
  assert {
    condition = [for s in jsondecode(output.reader_policy).Statement : [s.Effect, s.Action]] == [
      ["Allow", ["dynamodb:Query", "dynamodb:Scan"]],
      ["Allow", ["ecr:DescribeImages", "ecr:GetRepositoryPolicy"]],
      ["Allow", ["kms:Decrypt"]],
    ]
    error_message = "An operator reads, and changes nothing."
  }
  assert {
    condition     = alltrue([for s in jsondecode(output.reader_policy).Statement : !contains(s.Resource, "*")])
    error_message = "Each statement names what it is for."
  }
}
