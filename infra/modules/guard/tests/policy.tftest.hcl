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
    condition     = jsondecode(output.policy) == { version = 1, mode = "report", routes = { default = "arn:aws:sns:us-west-2:123456789012:ecr-guard-alerts" } }
    error_message = "Who says nothing gets a guard that changes nothing."
  }
}

run "the_layer_holds_the_document_and_the_topics" {
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
    condition = jsondecode(one(data.archive_file.policy.source).content) == {
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
    condition     = one(data.archive_file.policy.source).filename == "ecr-guard/policy.json"
    error_message = "In the layer it lies where the functions look: /opt/ecr-guard/policy.json."
  }
  assert {
    condition     = aws_lambda_layer_version.policy.filename == data.archive_file.policy.output_path && aws_lambda_layer_version.policy.source_code_hash == data.archive_file.policy.output_base64sha256
    error_message = "A change of the policy is a new version of the layer."
  }
  assert {
    condition     = { for route, topic in aws_sns_topic.alerts : route => topic.name } == { default = "ecr-guard-alerts", platform = "ecr-guard-alerts-platform" }
    error_message = "The topics have the names that their ARNs in the document say."
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
        { protocol = "https", endpoint = "https://global.sns-api.chatbot.amazonaws.com" },
      ]
      platform = [{ protocol = "sqs", endpoint = "arn:aws:sqs:us-west-2:123456789012:alerts" }]
    }
    alarm_subscriptions = [{ protocol = "email", endpoint = "oncall@example.com" }]
  }

  assert {
    condition = { for key, s in aws_sns_topic_subscription.alerts : key => [s.protocol, s.endpoint, s.raw_message_delivery] } == {
      "default email security@example.com"                         = ["email", "security@example.com", false]
      "default https https://global.sns-api.chatbot.amazonaws.com" = ["https", "https://global.sns-api.chatbot.amazonaws.com", false]
      "platform sqs arn:aws:sqs:us-west-2:123456789012:alerts"     = ["sqs", "arn:aws:sqs:us-west-2:123456789012:alerts", true]
    }
    error_message = "Queues get the alert itself; Amazon Q Developer needs the envelope."
  }
  assert {
    condition     = { for key, s in aws_sns_topic_subscription.alarms : key => s.topic_arn } == { "email oncall@example.com" = aws_sns_topic.alarms.arn }
    error_message = "Alarms go to those who run the guard."
  }
}

run "a_version_that_nobody_knows" {
  command = plan

  variables {
    policy = { version = 2, mode = "report" }
  }

  expect_failures = [aws_lambda_layer_version.policy]
}

run "a_mode_that_nobody_knows" {
  command = plan

  variables {
    policy = { version = 1, mode = "dry-run" }
  }

  expect_failures = [aws_lambda_layer_version.policy]
}

run "a_route_that_nobody_knows" {
  command = plan

  variables {
    policy = { version = 1, mode = "report", repositories = [{ match = "*", route = "platform" }] }
  }

  expect_failures = [aws_lambda_layer_version.policy]
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
