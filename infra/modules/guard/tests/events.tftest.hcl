mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  lambda_directory = "./tests/packages/lambda"
}

run "packages" {
  module {
    source = "./tests/packages"
  }
}

run "the_patterns_of_the_files" {
  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.this["on-push"].event_pattern) == {
      source = ["aws.ecr", "aws.inspector2"]
      "$or" = [
        {
          detail-type = ["ECR Image Action", "ECR Referrer Action"]
          detail      = { action-type = ["PUSH", "DELETE"], result = ["SUCCESS"] }
        },
        {
          detail-type = ["ECR Image Action", "ECR Referrer Action"]
          detail      = { action-type = ["UPDATE_STORAGE_CLASS"], target-storage-class = ["STANDARD"], result = ["SUCCESS"] }
        },
        { detail-type = ["ECR Pull Through Cache Action"], detail = { sync-status = ["SUCCESS"] } },
      ]
    }
    error_message = "on-push: pushes, deletions, returns from the archive, but not our own archiving; and what a pull through cache has fetched."
  }
  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.this["on-scan"].event_pattern) == {
      source = ["aws.ecr", "aws.inspector2"]
      "$or" = [
        { detail-type = ["ECR Image Scan"], detail = { scan-status = ["COMPLETE", "FAILED"] } },
        { detail-type = ["Inspector2 Scan"], detail = { scan-status = ["INITIAL_SCAN_COMPLETE"], repository-name = [{ prefix = "arn:" }] } },
      ]
    }
    error_message = "on-scan: the ends of scans."
  }
  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.this["worker"].event_pattern) == {
      source      = ["aws.ecr", "aws.inspector2"]
      detail-type = ["Inspector2 Finding"]
      detail      = { status = ["ACTIVE", "CLOSED", "SUPPRESSED"], resources = { type = ["AWS_ECR_CONTAINER_IMAGE"] } }
    }
    error_message = "worker: findings of images, when they come and when they go."
  }
  assert {
    condition     = keys(aws_cloudwatch_event_rule.this) == ["on-push", "on-replication", "on-scan", "worker"]
    error_message = "No rule for what a schedule invokes."
  }
  assert {
    condition = alltrue([
      for name, rule in aws_cloudwatch_event_rule.this :
      jsonencode({ for k, v in jsondecode(rule.event_pattern) : k => v if k != "source" }) == jsonencode({ for k, v in jsondecode(file("event-patterns/${name}.json")) : k => v if k != "source" })
    ])
    error_message = "Only the sources differ from the file, which the local run uses too."
  }
}

run "another_source" {
  variables {
    event_sources = ["aws.ecr", "aws.inspector2", "ecr-guard.smoke"]
  }

  assert {
    condition     = alltrue([for rule in aws_cloudwatch_event_rule.this : jsondecode(rule.event_pattern).source == ["aws.ecr", "aws.inspector2", "ecr-guard.smoke"]])
    error_message = "The rules accept the sources that are given."
  }
}

run "some_repositories" {
  variables {
    repositories = ["pipeops-prod-*", "shared/base"]
  }

  assert {
    condition = [for branch in jsondecode(aws_cloudwatch_event_rule.this["on-push"].event_pattern)["$or"] : branch.detail.repository-name] == [
      for branch in range(3) : [{ wildcard = "pipeops-prod-*" }, { wildcard = "shared/base" }]
    ]
    error_message = "Events of other repositories are left out."
  }
  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.this["on-scan"].event_pattern)["$or"] == [
      {
        detail-type = ["ECR Image Scan"]
        detail      = { scan-status = ["COMPLETE", "FAILED"], repository-name = [{ wildcard = "pipeops-prod-*" }, { wildcard = "shared/base" }] }
      },
      {
        detail-type = ["Inspector2 Scan"]
        detail = { scan-status = ["INITIAL_SCAN_COMPLETE"], repository-name = [
          { wildcard = "arn:aws:ecr:us-west-2:123456789012:repository/pipeops-prod-*" },
          { wildcard = "arn:aws:ecr:us-west-2:123456789012:repository/shared/base" },
        ] }
      },
    ]
    error_message = "Inspector names repositories by ARN."
  }
  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.this["worker"].event_pattern).detail == {
      status = ["ACTIVE", "CLOSED", "SUPPRESSED"]
      resources = {
        type = ["AWS_ECR_CONTAINER_IMAGE"]
        id = [
          { wildcard = "arn:aws:ecr:us-west-2:123456789012:repository/pipeops-prod-*/sha256:*" },
          { wildcard = "arn:aws:ecr:us-west-2:123456789012:repository/shared/base/sha256:*" },
        ]
      }
    }
    error_message = "Or images."
  }
}

run "without_ecr" {
  command = plan

  variables {
    event_sources = ["ecr-guard.smoke"]
  }

  expect_failures = [var.event_sources]
}
