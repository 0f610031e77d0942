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

run "report_mode_without_a_policy" {
  assert {
    condition     = jsondecode(output.policy) == { version = 1, mode = "report", block = { workloads = {} }, routes = { default = "arn:aws:sns:us-west-2:123456789012:ecr-guard-alerts" } }
    error_message = "Who says nothing gets a guard that changes nothing."
  }
}

run "the_ledger_holds_the_document_and_the_topics" {
  variables {
    policy = {
      version      = 1
      mode         = "enforce"
      severities   = { HIGH = "block" }
      repositories = [{ match = "pipeops-prod-*", route = "platform" }, { match = "*" }]
    }
    routes = { default = [], platform = [] }
  }

  assert {
    condition = jsondecode(jsondecode(aws_dynamodb_table_item.policy.item).document.S) == {
      version      = 1
      mode         = "enforce"
      severities   = { HIGH = "block" }
      repositories = [{ match = "pipeops-prod-*", route = "platform" }, { match = "*" }]
      routes = {
        default  = "arn:aws:sns:us-west-2:123456789012:ecr-guard-alerts"
        platform = "arn:aws:sns:us-west-2:123456789012:ecr-guard-alerts-platform"
      }
    }
    error_message = "The document as it was given, with the topics as routes."
  }
  assert {
    condition = { for member, value in jsondecode(aws_dynamodb_table_item.policy.item) : member => value.S } == {
      pk       = "policy#${sha256(output.policy)}"
      sk       = "deployed"
      document = output.policy
    }
    error_message = "It stands under its SHA-256, where the functions look (shared/aws/src/dynamodb.rs)."
  }
  assert {
    condition = (
      aws_dynamodb_table_item.policy.table_name == "ecr-guard-ledger"
      && aws_dynamodb_table_item.policy.hash_key == "pk" && aws_dynamodb_table_item.policy.range_key == "sk"
    )
    error_message = "In the ledger."
  }
  assert {
    condition     = alltrue([for f in aws_lambda_function.this : f.environment[0].variables.ECR_GUARD_POLICY == "sha256:${sha256(output.policy)}"])
    error_message = "Every function is told which document is its own."
  }
  assert {
    condition     = terraform_data.policy.output == output.policy && output.policy_sha256 == sha256(output.policy)
    error_message = "Who reads the plan sees the document."
  }
  assert {
    condition     = { for route, topic in aws_sns_topic.alerts : route => topic.name } == { default = "ecr-guard-alerts", platform = "ecr-guard-alerts-platform" }
    error_message = "The topics have the names that their ARNs in the document say."
  }
}

# The hash that the functions give to a document is that of this form: docs/policy.md. `tests/it/adapters/policies.rs` has the same text.
run "nothing_is_escaped_that_may_stand" {
  variables {
    policy = {
      version = 1
      mode    = "enforce"
      exceptions = [{
        vulnerability = "CVE-2026-1"
        repositories  = ["*"]
        owner         = "a&b"
        reason        = "\"x\" < y\\u003c"
        expires       = "2026-12-31"
      }]
    }
  }

  assert {
    condition = output.policy == join("", [
      "{\"exceptions\":[{\"expires\":\"2026-12-31\",\"owner\":\"a&b\",\"reason\":\"\\\"x\\\" < y\\\\u003c\",\"repositories\":[\"*\"],",
      "\"vulnerability\":\"CVE-2026-1\"}],\"mode\":\"enforce\",\"routes\":{\"default\":\"arn:aws:sns:us-west-2:123456789012:ecr-guard-alerts\"},\"version\":1}",
    ])
    error_message = output.policy
  }
}

run "as_large_as_it_may_be" {
  command = plan

  variables {
    policy = { version = 1, mode = "report", exceptions = [for n in range(1000) : { reason = format("%0260d", n) }] }
  }

  assert {
    condition     = length(output.policy) > 270000
    error_message = "${length(output.policy)} bytes"
  }
}

run "larger_than_it_may_be" {
  command = plan

  variables {
    policy = { version = 1, mode = "report", exceptions = [for n in range(1000) : { reason = format("%0300d", n) }] }
  }

  expect_failures = [terraform_data.policy]
}

# Characters are not bytes.
run "larger_than_it_may_be_in_bytes" {
  command = plan

  variables {
    policy = { version = 1, mode = "report", exceptions = [for n in range(1000) : { reason = join("", [for m in range(120) : "\u20ac"]) }] }
  }

  expect_failures = [terraform_data.policy]
}

run "a_replica_has_the_item_of_its_own_region" {
  command = plan

  variables {
    region = "us-east-1"
    ledger = { table_name = "ecr-guard-ledger", kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/replica" }
  }

  assert {
    condition     = aws_dynamodb_table_item.policy.region == "us-east-1" && aws_dynamodb_table_item.policy.table_name == "ecr-guard-ledger"
    error_message = "Nobody waits until an item comes from another region."
  }
}

run "from_a_file" {
  variables {
    policy_file = "../../../docs/policy.example.json"
    routes      = { default = [], platform = [] }
  }

  assert {
    condition = { for k, v in jsondecode(output.policy) : k => jsonencode(v) if k != "routes" } == {
      for k, v in jsondecode(file("../../../docs/policy.example.json")) : k => jsonencode(v) if k != "routes"
    }
    error_message = "The file's document."
  }
  assert {
    condition = jsondecode(output.policy).routes == {
      default  = "arn:aws:sns:us-west-2:123456789012:ecr-guard-alerts"
      platform = "arn:aws:sns:us-west-2:123456789012:ecr-guard-alerts-platform"
    }
    error_message = "The file's routes are replaced by the topics."
  }
}

run "subscriptions" {
  variables {
    routes = {
      default = [
        { protocol = "email", endpoint = "security@example.com" },
        { name = "chat", protocol = "https", endpoint = "https://global.sns-api.chatbot.amazonaws.com" },
      ]
      platform = [{ name = "queue", protocol = "sqs", endpoint = "arn:aws:sqs:us-west-2:123456789012:alerts" }]
    }
    alarm_subscriptions = [{ protocol = "email", endpoint = "oncall@example.com" }, { name = "pager", protocol = "https", endpoint = "https://pager.example.com/key" }]
  }

  assert {
    condition = { for key, s in aws_sns_topic_subscription.alerts : key => [s.protocol, s.endpoint, s.raw_message_delivery] } == {
      "default 0"      = ["email", "security@example.com", false]
      "default chat"   = ["https", "https://global.sns-api.chatbot.amazonaws.com", false]
      "platform queue" = ["sqs", "arn:aws:sqs:us-west-2:123456789012:alerts", true]
    }
    error_message = "Queues get the alert itself; Amazon Q Developer needs the envelope. No endpoint is in an address."
  }
  assert {
    condition = { for key, s in aws_sns_topic_subscription.alarms : key => [s.endpoint, s.topic_arn] } == {
      "0"     = ["oncall@example.com", aws_sns_topic.alarms.arn]
      "pager" = ["https://pager.example.com/key", aws_sns_topic.alarms.arn]
    }
    error_message = "Alarms go to those who run the guard."
  }
}

# A queue that is made in the same plan, and a secret.
run "subscriptions_of_which_the_endpoint_is_not_known" {
  command = plan

  module {
    source = "./tests/fixtures/queue-in-the-same-plan"
  }

  assert {
    condition     = output.topics == { default = "arn:aws:sns:us-west-2:123456789012:ecr-guard-alerts" }
    error_message = "planned"
  }
}

run "two_subscriptions_of_a_name" {
  command = plan

  variables {
    routes              = { default = [for n in range(2) : { name = "chat", protocol = "email", endpoint = "${n}@example.com" }] }
    alarm_subscriptions = [for n in range(2) : { name = "chat", protocol = "email", endpoint = "${n}@example.com" }]
  }

  expect_failures = [var.routes, var.alarm_subscriptions]
}

run "a_version_that_nobody_knows" {
  command = plan

  variables {
    policy = { version = 2, mode = "report" }
  }

  expect_failures = [terraform_data.policy]
}

run "a_mode_that_nobody_knows" {
  command = plan

  variables {
    policy = { version = 1, mode = "dry-run" }
  }

  expect_failures = [terraform_data.policy]
}

run "a_route_that_nobody_knows" {
  command = plan

  variables {
    policy = { version = 1, mode = "report", repositories = [{ match = "*", route = "platform" }] }
  }

  expect_failures = [terraform_data.policy]
}

run "no_default_route" {
  command = plan

  variables {
    routes = { platform = [] }
  }

  expect_failures = [var.routes]
}

run "a_protocol_that_nobody_knows" {
  command = plan

  variables {
    routes = { default = [{ protocol = "http", endpoint = "http://example.com" }] }
  }

  expect_failures = [var.routes]
}

run "a_policy_twice" {
  command = plan

  variables {
    policy      = { version = 1, mode = "enforce" }
    policy_file = "../../../docs/policy.example.json"
    routes      = { default = [], platform = [] }
  }

  expect_failures = [var.policy_file]
}

run "copies_that_would_be_archived" {
  command = plan

  variables {
    policy = {
      version = 1
      mode    = "report"
      repositories = [
        { match = "a*", lifecycle = { archive_unpulled_days = 30 } },
        { match = "b*", replication = { regions = ["us-east-1"], max_lag_minutes = 30 }, lifecycle = { archive_unpulled_days = 30 } },
      ]
    }
  }

  expect_failures = [terraform_data.policy]
}

run "copies_that_would_be_archived_by_a_rule" {
  command = plan

  variables {
    policy = {
      version = 1
      mode    = "report"
      repositories = [{
        match       = "b*"
        replication = { regions = ["us-east-1"], max_lag_minutes = 30 }
        lifecycle   = { rules = [{ rulePriority = 1, selection = { tagStatus = "any", countType = "sinceImagePulled", countUnit = "days", countNumber = 30 }, action = { type = "transition", targetStorageClass = "archive" } }] }
      }]
    }
  }

  expect_failures = [terraform_data.policy]
}

run "archives_only_what_has_no_copies" {
  command = plan

  variables {
    policy = {
      version = 1
      mode    = "report"
      repositories = [
        { match = "a*", lifecycle = { archive_unpulled_days = 30 } },
        { match = "b*", replication = { regions = ["us-east-1"], max_lag_minutes = 30 }, lifecycle = { expire_untagged_days = 7 } },
      ]
    }
  }

  assert {
    condition     = length(jsondecode(output.policy).repositories) == 2
    error_message = "planned"
  }
}
