# Encrypted paths and resource policies, edge by edge: who hands what to whom, and what must be allowed for it. Emulators check none
# of this, and AWS reports a missing one by silence.
#
# | from | to | resource policy | key |
# |---|---|---|---|
# | EventBridge | function | permission: exactly the rule | – |
# | EventBridge | undelivered-events | queue policy: exactly the rules | key policy: this queue |
# | Lambda (role) | failed-events | role policy | role policy, by SQS |
# | function (role) | alert topic | topic policy: exactly the roles | role policy, by SNS |
# | function (role) | ledger | role policy | role policy, by DynamoDB |
# | Lambda (role) | environment | – | role policy: this function |
# | CloudWatch | alarm topic | topic policy: our alarms | key policy: this topic |
# | SNS | undelivered-alerts | queue policy: exactly the topics | key policy: this queue |
# | CloudWatch Logs | log groups | – | key policy: exactly the groups |

mock_provider "aws" {
  source = "./tests/mocks"
}

override_resource {
  target = aws_sqs_queue.this["undelivered-events"]
  values = { arn = "arn:aws:sqs:us-west-2:123456789012:ecr-guard-undelivered-events" }
}

variables {
  lambda_directory = "./tests/packages/lambda"
  policy           = { version = 1, mode = "enforce" }
  routes           = { default = [], platform = [] }
}

run "packages" {
  module {
    source = "./tests/packages"
  }
}

run "eventbridge_to_function" {
  assert {
    condition = { for name, p in aws_lambda_permission.events : name => [p.action, p.principal, p.source_arn, p.source_account] } == {
      on-push = ["lambda:InvokeFunction", "events.amazonaws.com", "arn:aws:events:us-west-2:123456789012:rule/ecr-guard-on-push", "123456789012"]
      on-scan = ["lambda:InvokeFunction", "events.amazonaws.com", "arn:aws:events:us-west-2:123456789012:rule/ecr-guard-on-scan", "123456789012"]
    }
    error_message = "EventBridge may invoke a function for its own rule and for no other."
  }
  assert {
    condition     = alltrue([for name, t in aws_cloudwatch_event_target.this : t.rule == "ecr-guard-${name}" && t.arn == aws_lambda_function.this[name].arn])
    error_message = "A rule leads to its function."
  }
}

run "eventbridge_to_undelivered_events" {
  assert {
    condition     = alltrue([for t in aws_cloudwatch_event_target.this : t.dead_letter_config[0].arn == "arn:aws:sqs:us-west-2:123456789012:ecr-guard-undelivered-events"])
    error_message = "Every target has the dead letter queue."
  }
  assert {
    condition     = alltrue([for t in aws_cloudwatch_event_target.this : t.retry_policy[0].maximum_event_age_in_seconds == 86400 && t.retry_policy[0].maximum_retry_attempts == 185])
    error_message = "EventBridge tries for a day before it gives up."
  }
  assert {
    condition = [for s in jsondecode(aws_sqs_queue_policy.this["undelivered-events"].policy).Statement : s if s.Effect == "Allow"] == [{
      Sid       = "Sender"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = "arn:aws:sqs:us-west-2:123456789012:ecr-guard-undelivered-events"
      Condition = {
        ArnEquals = { "aws:SourceArn" = [
          "arn:aws:events:us-west-2:123456789012:rule/ecr-guard-on-push",
          "arn:aws:events:us-west-2:123456789012:rule/ecr-guard-on-scan",
        ] }
        StringEquals = { "aws:SourceAccount" = "123456789012" }
      }
    }]
    error_message = "Our rules may send to the queue, and no others."
  }
  assert {
    condition = [for s in jsondecode(aws_kms_key.this.policy).Statement : s if s.Sid == "UndeliveredEvents"] == [{
      Sid       = "UndeliveredEvents"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
      Resource  = "*"
      Condition = { StringEquals = { "kms:EncryptionContext:aws:sqs:arn" = "arn:aws:sqs:us-west-2:123456789012:ecr-guard-undelivered-events" } }
    }]
    error_message = "EventBridge may use the key for this queue; a condition on the source would lose events in silence."
  }
}

run "lambda_to_failed_events" {
  assert {
    condition     = [for s in jsondecode(aws_sqs_queue_policy.this["failed-events"].policy).Statement : s.Sid] == ["TlsOnly"]
    error_message = "Nobody but the functions' roles, by their own policies, sends to failed-events."
  }
  assert {
    condition = alltrue([
      for p in aws_iam_role_policy.this : [for s in jsondecode(p.policy).Statement : [s.Action, s.Resource] if s.Sid == "FailedEvents"] == [
        [["sqs:SendMessage"], ["arn:aws:sqs:us-west-2:123456789012:ecr-guard-failed-events"]]
      ]
    ])
    error_message = "Lambda sends failed events in the name of the role."
  }
}

run "function_to_encrypted_services" {
  assert {
    condition = alltrue([
      for p in aws_iam_role_policy.this : [for s in jsondecode(p.policy).Statement : [s.Action, s.Condition] if s.Sid == "Keys"] == [[
        ["kms:Decrypt", "kms:GenerateDataKey"],
        { StringEquals = { "kms:ViaService" = ["dynamodb.us-west-2.amazonaws.com", "sns.us-west-2.amazonaws.com", "sqs.us-west-2.amazonaws.com"] } },
      ]]
    ])
    error_message = "The key is used through DynamoDB, SNS and SQS only."
  }
  assert {
    condition = alltrue([
      for name, p in aws_iam_role_policy.this : [for s in jsondecode(p.policy).Statement : [s.Action, s.Condition] if s.Sid == "Environment"] == [[
        ["kms:Decrypt"],
        { StringEquals = { "kms:EncryptionContext:aws:lambda:FunctionArn" = "arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-${name}" } },
      ]]
    ])
    error_message = "A role decrypts the environment of its own function."
  }
}

run "function_to_alert_topics" {
  assert {
    condition = alltrue([
      for policy in aws_sns_topic_policy.alerts : [
        for s in jsondecode(policy.policy).Statement : [s.Effect, s.Principal.AWS, s.Action, s.Condition] if s.Sid != "TlsOnly"
        ] == [
        ["Allow", "arn:aws:iam::123456789012:root", "sns:Publish", { ArnEquals = { "aws:PrincipalArn" = [
          "arn:aws:iam::123456789012:role/ecr-guard-on-push-us-west-2",
          "arn:aws:iam::123456789012:role/ecr-guard-on-scan-us-west-2",
        ] } }],
        ["Deny", "*", "sns:Publish", { ArnNotEquals = { "aws:PrincipalArn" = [
          "arn:aws:iam::123456789012:role/ecr-guard-on-push-us-west-2",
          "arn:aws:iam::123456789012:role/ecr-guard-on-scan-us-west-2",
        ] } }],
      ]
    ])
    error_message = "The functions publish alerts, and nobody else can."
  }
  assert {
    condition = { for route, policy in aws_sns_topic_policy.alerts : route => join(" ", distinct([for s in jsondecode(policy.policy).Statement : s.Resource])) } == {
      default  = "arn:aws:sns:us-west-2:123456789012:ecr-guard-alerts"
      platform = "arn:aws:sns:us-west-2:123456789012:ecr-guard-alerts-platform"
    }
    error_message = "Each policy is about its own topic."
  }
}

run "cloudwatch_to_alarm_topic" {
  assert {
    condition = [for s in jsondecode(aws_sns_topic_policy.alarms.policy).Statement : s if s.Effect == "Allow"] == [{
      Sid       = "Alarms"
      Effect    = "Allow"
      Principal = { Service = "cloudwatch.amazonaws.com" }
      Action    = "sns:Publish"
      Resource  = "arn:aws:sns:us-west-2:123456789012:ecr-guard-alarms"
      Condition = {
        ArnLike      = { "aws:SourceArn" = "arn:aws:cloudwatch:us-west-2:123456789012:alarm:ecr-guard-*" }
        StringEquals = { "aws:SourceAccount" = "123456789012" }
      }
    }]
    error_message = "Our alarms publish to the alarm topic, and no others."
  }
  assert {
    condition = [for s in jsondecode(aws_kms_key.this.policy).Statement : s if s.Sid == "Alarms"] == [{
      Sid       = "Alarms"
      Effect    = "Allow"
      Principal = { Service = "cloudwatch.amazonaws.com" }
      Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
      Resource  = "*"
      Condition = { StringEquals = {
        "aws:SourceAccount"                      = "123456789012"
        "kms:EncryptionContext:aws:sns:topicArn" = "arn:aws:sns:us-west-2:123456789012:ecr-guard-alarms"
      } }
    }]
    error_message = "CloudWatch may use the key for the alarm topic."
  }
}

run "sns_to_undelivered_alerts" {
  variables {
    routes              = { default = [{ protocol = "email", endpoint = "security@example.com" }], platform = [] }
    alarm_subscriptions = [{ protocol = "email", endpoint = "oncall@example.com" }]
  }

  assert {
    condition = alltrue([
      for s in concat(values(aws_sns_topic_subscription.alerts), values(aws_sns_topic_subscription.alarms)) :
      jsondecode(s.redrive_policy) == { deadLetterTargetArn = "arn:aws:sqs:us-west-2:123456789012:ecr-guard-undelivered-alerts" }
    ])
    error_message = "Every subscription has the dead letter queue."
  }
  assert {
    condition = [for s in jsondecode(aws_sqs_queue_policy.this["undelivered-alerts"].policy).Statement : [s.Principal, s.Action, s.Condition] if s.Effect == "Allow"] == [[
      { Service = "sns.amazonaws.com" },
      "sqs:SendMessage",
      {
        ArnEquals = { "aws:SourceArn" = [
          "arn:aws:sns:us-west-2:123456789012:ecr-guard-alerts",
          "arn:aws:sns:us-west-2:123456789012:ecr-guard-alerts-platform",
          "arn:aws:sns:us-west-2:123456789012:ecr-guard-alarms",
        ] }
        StringEquals = { "aws:SourceAccount" = "123456789012" }
      },
    ]]
    error_message = "Our topics may send to the queue, and no others."
  }
  assert {
    condition = [for s in jsondecode(aws_kms_key.this.policy).Statement : [s.Principal, s.Action, s.Condition] if s.Sid == "UndeliveredAlerts"] == [[
      { Service = "sns.amazonaws.com" },
      ["kms:Decrypt", "kms:GenerateDataKey*"],
      { StringEquals = { "kms:EncryptionContext:aws:sqs:arn" = "arn:aws:sqs:us-west-2:123456789012:ecr-guard-undelivered-alerts" } },
    ]]
    error_message = "SNS may use the key for this queue."
  }
}

run "cloudwatch_logs_to_log_groups" {
  assert {
    condition = [for s in jsondecode(aws_kms_key.this.policy).Statement : [s.Principal, s.Condition] if s.Sid == "Logs"] == [[
      { Service = "logs.us-west-2.amazonaws.com" },
      { ArnEquals = { "kms:EncryptionContext:aws:logs:arn" = [
        "arn:aws:logs:us-west-2:123456789012:log-group:/aws/lambda/ecr-guard-on-push",
        "arn:aws:logs:us-west-2:123456789012:log-group:/aws/lambda/ecr-guard-on-scan",
      ] } },
    ]]
    error_message = "CloudWatch Logs may use the key for our log groups."
  }
}

run "the_key" {
  assert {
    condition     = aws_kms_key.this.enable_key_rotation && aws_kms_key.this.deletion_window_in_days == 30
    error_message = "The key is rotated, and can be saved for 30 days when somebody deletes it."
  }
  assert {
    condition     = [for s in jsondecode(aws_kms_key.this.policy).Statement : s.Sid] == ["Account", "Logs", "Alarms", "UndeliveredEvents", "UndeliveredAlerts"]
    error_message = "Nobody else is let in by the key's policy."
  }
  assert {
    condition     = alltrue([for s in jsondecode(aws_kms_key.this.policy).Statement : can(s.Principal.Service) ? can(s.Condition) : s.Principal.AWS == "arn:aws:iam::123456789012:root"])
    error_message = "No service gets the key without a condition, and no account but this one."
  }
}

run "everything_is_encrypted_with_the_key" {
  assert {
    condition     = alltrue([for topic in concat(values(aws_sns_topic.alerts), [aws_sns_topic.alarms]) : topic.kms_master_key_id == aws_kms_key.this.arn])
    error_message = "Topics."
  }
  assert {
    condition     = alltrue([for queue in aws_sqs_queue.this : queue.kms_master_key_id == aws_kms_key.this.arn])
    error_message = "Queues."
  }
  assert {
    condition     = aws_dynamodb_table.ledger[0].server_side_encryption[0].enabled && aws_dynamodb_table.ledger[0].server_side_encryption[0].kms_key_arn == aws_kms_key.this.arn
    error_message = "Ledger."
  }
}

run "tls_only" {
  assert {
    condition = alltrue([
      for policy in concat(
        [for p in aws_sqs_queue_policy.this : p.policy], [for p in aws_sns_topic_policy.alerts : p.policy], [aws_sns_topic_policy.alarms.policy]
        ) : length([
          for s in jsondecode(policy).Statement : s
          if s.Effect == "Deny" && s.Principal == { AWS = "*" } && s.Condition == { Bool = { "aws:SecureTransport" = "false" } }
      ]) == 1
    ])
    error_message = "Topics and queues refuse what comes without TLS."
  }
  assert {
    condition = alltrue(flatten([
      for policy in concat(
        [for p in aws_sqs_queue_policy.this : p.policy], [for p in aws_sns_topic_policy.alerts : p.policy], [aws_sns_topic_policy.alarms.policy]
      ) : [for s in jsondecode(policy).Statement : s.Effect == "Deny" || (can(s.Condition) && try(s.Principal.AWS, "") != "*")]
    ]))
    error_message = "Nothing is allowed to everybody, or without a condition."
  }
}

run "messages_wait_as_long_as_they_can" {
  assert {
    condition     = alltrue([for queue in aws_sqs_queue.this : queue.message_retention_seconds == 1209600])
    error_message = "14 days."
  }
}
