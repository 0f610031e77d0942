# The role of another account: who may take it, and what it may do.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "222222222222" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
}

variables {
  guard_role_arns = ["arn:aws:iam::123456789012:role/ecr-guard-workloads-us-west-2"]
  external_id     = "ecr-guard-42"
  functions       = ["shop-*", "thumbs"]
}

run "only_the_guard_with_the_external_id" {
  command = plan

  assert {
    condition = jsondecode(aws_iam_role.this.assume_role_policy).Statement == [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { AWS = ["arn:aws:iam::123456789012:role/ecr-guard-workloads-us-west-2"] }
      Condition = { StringEquals = { "sts:ExternalId" = "ecr-guard-42" } }
    }]
    error_message = "Nobody else takes the role."
  }
}

run "it_reads_what_the_function_reads" {
  command = plan

  assert {
    condition = toset(flatten([for s in jsondecode(aws_iam_role_policy.this.policy).Statement : s.Action])) == toset(concat(
      jsondecode(file("../guard/permissions/workloads.json")).workloads, jsondecode(file("../guard/permissions/workloads.json")).lambda_functions
    ))
    error_message = "What lists workloads in the guard's own account lists them here, and nothing else does."
  }
  assert {
    condition     = [for s in jsondecode(aws_iam_role_policy.this.policy).Statement : s.Resource if s.Sid == "LambdaFunctions"] == [[for name in ["shop-*", "thumbs", "thumbs:*"] : "arn:aws:lambda:*:222222222222:function:${name}"]]
    error_message = "Only these functions, with their versions."
  }
}

run "no_external_id" {
  command = plan

  variables {
    external_id = ""
  }

  expect_failures = [var.external_id]
}
