# The permissions of each role. tests/it/infra.rs holds them to the calls of the code.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  # The function that keeps the index is in workloads.tftest.hcl.
  workloads        = null
  lambda_directory = "./tests/packages/lambda"
  # Whatever a policy can have the functions change (the last row).
  policy = merge({ version = 1 }, reverse(jsondecode(file("tests/changes.json")))[0].document, { block = { keep_release_of = ["quarantine-tag"] } })
}

run "packages" {
  module {
    source = "./tests/packages"
  }
}

run "exactly_these_actions" {
  assert {
    condition = sort(flatten([for s in jsondecode(aws_iam_role_policy.this["on-push"].policy).Statement : s.Action])) == tolist([
      "dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem",
      "ecr:BatchDeleteImage", "ecr:BatchGetImage", "ecr:BatchGetRepositoryScanningConfiguration", "ecr:DeleteRepositoryPolicy",
      "ecr:DescribeImageScanFindings", "ecr:DescribeImages", "ecr:DescribeRepositories", "ecr:GetLifecyclePolicy",
      "ecr:GetLifecyclePolicyPreview", "ecr:GetRegistryScanningConfiguration", "ecr:GetRepositoryPolicy", "ecr:ListTagsForResource",
      "ecr:PutImage", "ecr:PutImageScanningConfiguration", "ecr:PutImageTagMutability", "ecr:PutLifecyclePolicy",
      "ecr:SetRepositoryPolicy", "ecr:StartImageScan", "ecr:StartLifecyclePolicyPreview", "ecr:UpdateImageStorageClass",
      "inspector2:ListCoverage", "inspector2:ListFindings",
      "kms:Decrypt", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey", "kms:GetKeyRotationStatus",
      "logs:CreateLogStream", "logs:PutLogEvents", "sns:Publish", "sqs:SendMessage",
      "xray:PutTelemetryRecords", "xray:PutTraceSegments",
    ])
    error_message = "on-push: ${jsonencode(sort(flatten([for s in jsondecode(aws_iam_role_policy.this["on-push"].policy).Statement : s.Action])))}"
  }
  assert {
    condition = sort(flatten([for s in jsondecode(aws_iam_role_policy.this["on-scan"].policy).Statement : s.Action])) == tolist([
      "dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem",
      "ecr:BatchDeleteImage", "ecr:BatchGetImage", "ecr:DescribeImageScanFindings", "ecr:DescribeImages", "ecr:GetRepositoryPolicy", "ecr:PutImage",
      "ecr:UpdateImageStorageClass",
      "inspector2:ListCoverage", "inspector2:ListFindings",
      "kms:Decrypt", "kms:Decrypt", "kms:GenerateDataKey",
      "logs:CreateLogStream", "logs:PutLogEvents", "sns:Publish", "sqs:SendMessage",
      "xray:PutTelemetryRecords", "xray:PutTraceSegments",
    ])
    error_message = "on-scan: ${jsonencode(sort(flatten([for s in jsondecode(aws_iam_role_policy.this["on-scan"].policy).Statement : s.Action])))}"
  }
  assert {
    condition = sort(flatten([for s in jsondecode(aws_iam_role_policy.this["on-replication"].policy).Statement : s.Action])) == tolist([
      "dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem",
      "ecr:BatchDeleteImage", "ecr:BatchGetImage", "ecr:BatchGetRepositoryScanningConfiguration", "ecr:DeleteRepositoryPolicy",
      "ecr:DescribeImageReplicationStatus", "ecr:DescribeImageScanFindings", "ecr:DescribeImages", "ecr:DescribeImages",
      "ecr:DescribeRepositories", "ecr:GetLifecyclePolicy", "ecr:GetLifecyclePolicyPreview", "ecr:GetRegistryScanningConfiguration",
      "ecr:GetRepositoryPolicy", "ecr:ListTagsForResource", "ecr:PutImage", "ecr:PutImageScanningConfiguration",
      "ecr:PutImageTagMutability", "ecr:PutLifecyclePolicy", "ecr:SetRepositoryPolicy", "ecr:StartImageScan",
      "ecr:StartLifecyclePolicyPreview", "ecr:UpdateImageStorageClass",
      "inspector2:ListCoverage", "inspector2:ListFindings",
      "kms:Decrypt", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey", "kms:GetKeyRotationStatus",
      "logs:CreateLogStream", "logs:PutLogEvents", "sns:Publish", "sqs:SendMessage",
      "xray:PutTelemetryRecords", "xray:PutTraceSegments",
    ])
    error_message = "on-replication: ${jsonencode(sort(flatten([for s in jsondecode(aws_iam_role_policy.this["on-replication"].policy).Statement : s.Action])))}"
  }
  assert {
    condition = sort(flatten([for s in jsondecode(aws_iam_role_policy.this["sweep"].policy).Statement : s.Action])) == tolist([
      "dynamodb:DeleteItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem",
      "ecr:DescribeRegistry", "ecr:DescribeRepositories", "ecr:GetRegistryScanningConfiguration", "ecr:GetSigningConfiguration",
      "kms:Decrypt", "kms:Decrypt", "kms:GenerateDataKey",
      "logs:CreateLogStream", "logs:PutLogEvents", "sns:Publish", "sqs:GetQueueAttributes", "sqs:SendMessage", "sqs:SendMessage",
      "xray:PutTelemetryRecords", "xray:PutTraceSegments",
    ])
    error_message = "sweep: ${jsonencode(sort(flatten([for s in jsondecode(aws_iam_role_policy.this["sweep"].policy).Statement : s.Action])))}"
  }
  assert {
    condition = sort(flatten([for s in jsondecode(aws_iam_role_policy.this["worker"].policy).Statement : s.Action])) == tolist([
      "dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:UpdateItem",
      "ecr:BatchDeleteImage", "ecr:BatchGetImage", "ecr:BatchGetRepositoryScanningConfiguration", "ecr:DeleteRepositoryPolicy",
      "ecr:DescribeImageReplicationStatus", "ecr:DescribeImageScanFindings", "ecr:DescribeImages",
      "ecr:DescribeImages", "ecr:DescribeReplicationBackfillResults", "ecr:DescribeRepositories", "ecr:GetLifecyclePolicy",
      "ecr:GetLifecyclePolicyPreview", "ecr:GetRegistryScanningConfiguration", "ecr:GetRepositoryPolicy", "ecr:ListReplicationBackfills",
      "ecr:ListTagsForResource", "ecr:PutImage", "ecr:PutImageScanningConfiguration", "ecr:PutImageTagMutability",
      "ecr:PutLifecyclePolicy", "ecr:SetRepositoryPolicy", "ecr:StartImageScan", "ecr:StartLifecyclePolicyPreview",
      "ecr:StartReplicationBackfill", "ecr:UpdateImageStorageClass",
      "inspector2:ListCoverage", "inspector2:ListFindings",
      "kms:Decrypt", "kms:Decrypt", "kms:DescribeKey", "kms:GenerateDataKey", "kms:GetKeyRotationStatus",
      "logs:CreateLogStream", "logs:PutLogEvents", "sns:Publish",
      "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage", "sqs:SendMessage",
      "xray:PutTelemetryRecords", "xray:PutTraceSegments",
    ])
    error_message = "worker: ${jsonencode(sort(flatten([for s in jsondecode(aws_iam_role_policy.this["worker"].policy).Statement : s.Action])))}"
  }
  assert {
    condition     = alltrue(flatten([for p in aws_iam_role_policy.this : [for s in jsondecode(p.policy).Statement : s.Effect == "Allow" && !can(s.NotAction) && !can(s.NotResource)]]))
    error_message = "A role's policy is a list of what is allowed."
  }
}

run "on_these_resources_only" {
  assert {
    condition = alltrue(flatten([
      for name, p in aws_iam_role_policy.this : [
        for s in jsondecode(p.policy).Statement : s.Resource == {
          Repositories   = ["arn:aws:ecr:us-west-2:123456789012:repository/*"]
          Replicas       = ["arn:aws:ecr:*:123456789012:repository/*"]
          Registry       = ["*"]
          Scanner        = ["*"]
          RepositoryKeys = ["arn:aws:kms:us-west-2:123456789012:key/*"]
          Ledger         = ["arn:aws:dynamodb:us-west-2:123456789012:table/ecr-guard-ledger"]
          Topics         = ["arn:aws:sns:us-west-2:123456789012:ecr-guard-alerts"]
          Work = concat(
            name == "worker" ? ["arn:aws:sqs:us-west-2:123456789012:ecr-guard-findings"] : [],
            ["arn:aws:sqs:us-west-2:123456789012:ecr-guard-work"],
          )
          Keys         = [aws_kms_key.this[0].arn]
          Environment  = [aws_kms_key.this[0].arn]
          FailedEvents = ["arn:aws:sqs:us-west-2:123456789012:ecr-guard-failed-events"]
          Logs         = ["arn:aws:logs:us-west-2:123456789012:log-group:/aws/lambda/ecr-guard-${name}:*"]
          Traces       = ["*"]
        }[s.Sid]
      ]
    ]))
    error_message = "Every statement names its resources, but those of X-Ray, of Inspector and of the registry's own settings, which have none."
  }
}

# The rows of changes.json, which hold the code (tests/it/infra.rs) and the local run (tests/local/test_iam.py) to them as well.
run "report_mode_changes_nothing" {
  command = plan

  variables {
    policy = merge({ version = 1 }, jsondecode(file("tests/changes.json"))[0].document)
  }

  assert {
    condition     = jsonencode(output.changes) == jsonencode(jsondecode(file("tests/changes.json"))[0].changes)
    error_message = "report mode changes nothing: ${jsonencode(output.changes)}"
  }
}

run "the_default_policy_cannot_delete_anything" {
  command = plan

  variables {
    policy = merge({ version = 1 }, jsondecode(file("tests/changes.json"))[1].document)
  }

  assert {
    condition     = jsonencode(output.changes) == jsonencode(jsondecode(file("tests/changes.json"))[1].changes)
    error_message = "the default policy cannot delete anything: ${jsonencode(output.changes)}"
  }
}

run "nothing_was_blocked_by_another_method_before" {
  command = plan

  variables {
    policy = merge({ version = 1 }, jsondecode(file("tests/changes.json"))[2].document)
  }

  assert {
    condition     = jsonencode(output.changes) == jsonencode(jsondecode(file("tests/changes.json"))[2].changes)
    error_message = "nothing was blocked by another method before: ${jsonencode(output.changes)}"
  }
}

run "what_was_archived_before_is_still_released" {
  command = plan

  variables {
    policy = merge({ version = 1 }, jsondecode(file("tests/changes.json"))[3].document)
  }

  assert {
    condition     = jsonencode(output.changes) == jsonencode(jsondecode(file("tests/changes.json"))[3].changes)
    error_message = "what was archived before is still released: ${jsonencode(output.changes)}"
  }
}

run "what_was_quarantined_before_is_still_released_with_its_mark" {
  command = plan

  variables {
    policy = merge({ version = 1 }, jsondecode(file("tests/changes.json"))[4].document)
  }

  assert {
    condition     = jsonencode(output.changes) == jsonencode(jsondecode(file("tests/changes.json"))[4].changes)
    error_message = "what was quarantined before is still released, with its mark: ${jsonencode(output.changes)}"
  }
}

run "nothing_is_blocked" {
  command = plan

  variables {
    policy = merge({ version = 1 }, jsondecode(file("tests/changes.json"))[5].document)
  }

  assert {
    condition     = jsonencode(output.changes) == jsonencode(jsondecode(file("tests/changes.json"))[5].changes)
    error_message = "nothing is blocked: ${jsonencode(output.changes)}"
  }
}

run "tags_are_removed" {
  command = plan

  variables {
    policy = merge({ version = 1 }, jsondecode(file("tests/changes.json"))[6].document)
  }

  assert {
    condition     = jsonencode(output.changes) == jsonencode(jsondecode(file("tests/changes.json"))[6].changes)
    error_message = "tags are removed: ${jsonencode(output.changes)}"
  }
}

run "settings_are_told_and_not_repaired" {
  command = plan

  variables {
    policy = merge({ version = 1 }, jsondecode(file("tests/changes.json"))[7].document)
  }

  assert {
    condition     = jsonencode(output.changes) == jsonencode(jsondecode(file("tests/changes.json"))[7].changes)
    error_message = "settings are told, and not repaired: ${jsonencode(output.changes)}"
  }
}

run "who_is_let_in_is_repaired" {
  command = plan

  variables {
    policy = merge({ version = 1 }, jsondecode(file("tests/changes.json"))[8].document)
  }

  assert {
    condition     = jsonencode(output.changes) == jsonencode(jsondecode(file("tests/changes.json"))[8].changes)
    error_message = "who is let in is repaired: ${jsonencode(output.changes)}"
  }
}

run "each_setting_is_repaired" {
  command = plan

  variables {
    policy = merge({ version = 1 }, jsondecode(file("tests/changes.json"))[9].document)
  }

  assert {
    condition     = jsonencode(output.changes) == jsonencode(jsondecode(file("tests/changes.json"))[9].changes)
    error_message = "each setting is repaired: ${jsonencode(output.changes)}"
  }
}

run "lifecycle_policies_are_set" {
  command = plan

  variables {
    policy = merge({ version = 1 }, jsondecode(file("tests/changes.json"))[10].document)
  }

  assert {
    condition     = jsonencode(output.changes) == jsonencode(jsondecode(file("tests/changes.json"))[10].changes)
    error_message = "lifecycle policies are set: ${jsonencode(output.changes)}"
  }
}

run "backfills_are_begun" {
  command = plan

  variables {
    policy = merge({ version = 1 }, jsondecode(file("tests/changes.json"))[11].document)
  }

  assert {
    condition     = jsonencode(output.changes) == jsonencode(jsondecode(file("tests/changes.json"))[11].changes)
    error_message = "backfills are begun: ${jsonencode(output.changes)}"
  }
}

run "only_one_repository_enforces_with_a_method_of_its_own" {
  command = plan

  variables {
    policy = merge({ version = 1 }, jsondecode(file("tests/changes.json"))[12].document)
  }

  assert {
    condition     = jsonencode(output.changes) == jsonencode(jsondecode(file("tests/changes.json"))[12].changes)
    error_message = "only one repository enforces, with a method of its own: ${jsonencode(output.changes)}"
  }
}

run "everything" {
  command = plan

  variables {
    policy = merge({ version = 1 }, jsondecode(file("tests/changes.json"))[13].document)
  }

  assert {
    condition     = jsonencode(output.changes) == jsonencode(jsondecode(file("tests/changes.json"))[13].changes)
    error_message = "everything: ${jsonencode(output.changes)}"
  }
}

run "the_default_policy_has_no_permission_that_deletes" {
  command = plan

  variables {
    policy = { version = 1, mode = "enforce" }
  }

  assert {
    condition = jsonencode({
      for name, p in aws_iam_role_policy.this : name => setintersection(
        flatten([for s in jsondecode(p.policy).Statement : s.Action]),
        [
          "ecr:BatchDeleteImage", "ecr:DeleteRepositoryPolicy", "ecr:PutImage", "ecr:PutImageScanningConfiguration",
          "ecr:PutImageTagMutability", "ecr:PutLifecyclePolicy", "ecr:SetRepositoryPolicy", "ecr:StartImageScan",
          "ecr:StartLifecyclePolicyPreview", "ecr:StartReplicationBackfill", "ecr:UpdateImageStorageClass",
        ]
      )
      }) == jsonencode({
      "on-push"        = ["ecr:PutImage", "ecr:StartImageScan", "ecr:UpdateImageStorageClass"]
      "on-replication" = ["ecr:PutImage", "ecr:StartImageScan", "ecr:UpdateImageStorageClass"]
      "on-scan"        = ["ecr:PutImage", "ecr:UpdateImageStorageClass"]
      "sweep"          = []
      "worker"         = ["ecr:PutImage", "ecr:StartImageScan", "ecr:UpdateImageStorageClass"]
    })
    error_message = "Blocking by the archive takes no more, and giving back what an earlier quarantine took."
  }
}

run "a_policy_that_is_not_known_yet" {
  module {
    source = "./tests/fixtures/policy-in-the-same-plan"
  }

  command = plan

  variables {
    lambda_directory = "./tests/packages/lambda"
  }

  assert {
    condition     = length(output.functions) == 6
    error_message = "What a policy says decides what roles may do, and never how many of anything there are."
  }
}

run "report_mode_cannot_change_the_registry" {
  variables {
    policy = { version = 1, mode = "report" }
  }

  assert {
    condition = alltrue([
      for p in aws_iam_role_policy.this : length(setintersection(
        flatten([for s in jsondecode(p.policy).Statement : s.Action]),
        [
          "ecr:BatchDeleteImage", "ecr:DeleteRepositoryPolicy", "ecr:PutImage", "ecr:PutImageScanningConfiguration",
          "ecr:PutImageTagMutability", "ecr:PutLifecyclePolicy", "ecr:SetRepositoryPolicy", "ecr:StartImageScan",
          "ecr:StartLifecyclePolicyPreview", "ecr:StartReplicationBackfill", "ecr:UpdateImageStorageClass",
        ]
      )) == 0
    ])
    error_message = "In report mode no role may change anything in the registry."
  }
  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.this["on-scan"].policy).Statement : s.Action if s.Sid == "Repositories"] == [
      ["ecr:BatchGetImage", "ecr:DescribeImageScanFindings", "ecr:DescribeImages", "ecr:GetRepositoryPolicy"]
    ]
    error_message = "In report mode it may look."
  }
  assert {
    condition = {
      for name, p in aws_iam_role_policy.this : name => flatten([for s in jsondecode(p.policy).Statement : s.Action if s.Sid == "Scanner"])
      } == {
      "on-push"        = ["inspector2:ListCoverage", "inspector2:ListFindings"]
      "on-replication" = ["inspector2:ListCoverage", "inspector2:ListFindings"]
      "on-scan"        = ["inspector2:ListCoverage", "inspector2:ListFindings"]
      "sweep"          = []
      "worker"         = ["inspector2:ListCoverage", "inspector2:ListFindings"]
    }
    error_message = "Who reads findings may read those of Inspector, in report mode too."
  }
}

run "report_mode_of_every_entry_cannot_change_the_registry_either" {
  variables {
    policy = { version = 1, mode = "report", repositories = [{ match = "a", mode = "report" }, { match = "b" }] }
  }

  assert {
    condition     = !strcontains(join("", [for p in aws_iam_role_policy.this : p.policy]), "ecr:UpdateImageStorageClass")
    error_message = "Where no entry enforces, no role may change anything in the registry."
  }
}

run "an_entry_that_enforces_needs_the_permissions" {
  variables {
    policy = { version = 1, mode = "report", repositories = [{ match = "a" }, { match = "b", mode = "enforce" }] }
  }

  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.this["on-scan"].policy).Statement : contains(s.Action, "ecr:UpdateImageStorageClass") if s.Sid == "Repositories"] == [
      true
    ]
    error_message = "Where an entry enforces, the roles may do what it takes."
  }
}

run "a_mode_of_an_entry_that_is_none" {
  command = plan

  variables {
    policy = { version = 1, mode = "report", repositories = [{ match = "a", mode = "Enforce" }] }
  }

  expect_failures = [terraform_data.policy]
}

run "only_these_repositories_and_topics" {
  variables {
    repositories = ["pipeops-prod-*", "shared/base"]
    routes       = { default = [], platform = [] }
  }

  assert {
    condition = alltrue([
      for name, p in aws_iam_role_policy.this : name == "sweep" || [for s in jsondecode(p.policy).Statement : s.Resource if s.Sid == "Repositories"] == [[
        "arn:aws:ecr:us-west-2:123456789012:repository/pipeops-prod-*",
        "arn:aws:ecr:us-west-2:123456789012:repository/shared/base",
      ]]
    ])
    error_message = "Repositories that are not guarded cannot be touched."
  }
  assert {
    condition = { for name, f in aws_lambda_function.this : name => lookup(f.environment[0].variables, "ECR_GUARD_REPOSITORIES", "all") } == {
      "on-push"        = "pipeops-prod-* shared/base"
      "on-replication" = "pipeops-prod-* shared/base"
      "on-scan"        = "pipeops-prod-* shared/base"
      "sweep"          = "pipeops-prod-* shared/base"
      "worker"         = "pipeops-prod-* shared/base"
    }
    error_message = "Sweeps list the guarded repositories only, and a start asks for one of these; events of the others do not come."
  }
  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.this["on-replication"].policy).Statement : s.Resource if s.Sid == "Replicas"] == [
      ["arn:aws:ecr:*:123456789012:repository/pipeops-prod-*", "arn:aws:ecr:*:123456789012:repository/shared/base"]
    ]
    error_message = "Nor looked at in other regions."
  }
  assert {
    condition = alltrue([
      for p in aws_iam_role_policy.this : [for s in jsondecode(p.policy).Statement : s.Resource if s.Sid == "Topics"] == [[
        "arn:aws:sns:us-west-2:123456789012:ecr-guard-alerts",
        "arn:aws:sns:us-west-2:123456789012:ecr-guard-alerts-platform",
      ]]
    ])
    error_message = "Alerts go to the topics of the routes."
  }
}

run "who_may_be_a_function" {
  assert {
    condition = alltrue([
      for role in aws_iam_role.this : jsondecode(role.assume_role_policy).Statement == [{
        Effect    = "Allow"
        Action    = "sts:AssumeRole"
        Principal = { Service = "lambda.amazonaws.com" }
        Condition = { StringEquals = { "aws:SourceAccount" = "123456789012" } }
      }]
    ])
    error_message = "Only Lambda takes the roles, and only for this account."
  }
  assert {
    condition     = alltrue([for name, p in aws_iam_role_policy.this : p.role == aws_iam_role.this[name].name])
    error_message = "Every function has a role of its own."
  }
}

run "repositories_that_are_no_names" {
  command = plan

  variables {
    repositories = ["arn:aws:ecr:us-west-2:123456789012:repository/app"]
  }

  expect_failures = [var.repositories]
}

run "no_repositories" {
  command = plan

  variables {
    repositories = []
  }

  expect_failures = [var.repositories]
}
