# That our metrics have these names is held by tests/it/infra.rs, which reads metrics.json.

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

run "what_is_watched" {
  assert {
    condition = { for key, a in aws_cloudwatch_metric_alarm.this : key => "${a.namespace} ${a.metric_name} ${jsonencode(a.dimensions)}" } == {
      on-push-errors             = "AWS/Lambda Errors {\"FunctionName\":\"ecr-guard-on-push\"}"
      on-push-throttles          = "AWS/Lambda Throttles {\"FunctionName\":\"ecr-guard-on-push\"}"
      on-push-failed-events-lost = "AWS/Lambda DestinationDeliveryFailures {\"FunctionName\":\"ecr-guard-on-push\"}"
      on-push-slow               = "AWS/Lambda Duration {\"FunctionName\":\"ecr-guard-on-push\"}"
      on-push-poison             = "ecr-guard PoisonEvents {\"Function\":\"on-push\"}"
      on-push-block-refused      = "ecr-guard Errors {\"Function\":\"on-push\",\"Outcome\":\"BlockRefused\"}"
      on-push-call-refused       = "ecr-guard Errors {\"Function\":\"on-push\",\"Outcome\":\"CallRefused\"}"
      on-push-many-blocks        = "ecr-guard Blocks {\"Function\":\"on-push\"}"
      on-push-undelivered        = "AWS/Events InvocationsSentToDlq {\"RuleName\":\"ecr-guard-on-push\"}"
      on-push-undelivered-lost   = "AWS/Events InvocationsFailedToBeSentToDlq {\"RuleName\":\"ecr-guard-on-push\"}"
      on-scan-errors             = "AWS/Lambda Errors {\"FunctionName\":\"ecr-guard-on-scan\"}"
      on-scan-throttles          = "AWS/Lambda Throttles {\"FunctionName\":\"ecr-guard-on-scan\"}"
      on-scan-failed-events-lost = "AWS/Lambda DestinationDeliveryFailures {\"FunctionName\":\"ecr-guard-on-scan\"}"
      on-scan-slow               = "AWS/Lambda Duration {\"FunctionName\":\"ecr-guard-on-scan\"}"
      on-scan-poison             = "ecr-guard PoisonEvents {\"Function\":\"on-scan\"}"
      on-scan-block-refused      = "ecr-guard Errors {\"Function\":\"on-scan\",\"Outcome\":\"BlockRefused\"}"
      on-scan-call-refused       = "ecr-guard Errors {\"Function\":\"on-scan\",\"Outcome\":\"CallRefused\"}"
      on-scan-many-blocks        = "ecr-guard Blocks {\"Function\":\"on-scan\"}"
      on-scan-undelivered        = "AWS/Events InvocationsSentToDlq {\"RuleName\":\"ecr-guard-on-scan\"}"
      on-scan-undelivered-lost   = "AWS/Events InvocationsFailedToBeSentToDlq {\"RuleName\":\"ecr-guard-on-scan\"}"

      undelivered-events-not-empty = "AWS/SQS ApproximateNumberOfMessagesVisible {\"QueueName\":\"ecr-guard-undelivered-events\"}"
      failed-events-not-empty      = "AWS/SQS ApproximateNumberOfMessagesVisible {\"QueueName\":\"ecr-guard-failed-events\"}"
      undelivered-alerts-not-empty = "AWS/SQS ApproximateNumberOfMessagesVisible {\"QueueName\":\"ecr-guard-undelivered-alerts\"}"
      route-default-undelivered    = "AWS/SNS NumberOfNotificationsFailed {\"TopicName\":\"ecr-guard-alerts\"}"
    }
    error_message = jsonencode({ for key, a in aws_cloudwatch_metric_alarm.this : key => "${a.namespace} ${a.metric_name} ${jsonencode(a.dimensions)}" })
  }
  assert {
    condition     = alltrue([for key, a in aws_cloudwatch_metric_alarm.this : a.alarm_name == "ecr-guard-${key}"])
    error_message = "The topic's policy lets in alarms whose names begin with the deployment's."
  }
  assert {
    condition     = alltrue([for a in aws_cloudwatch_metric_alarm.this : a.alarm_actions == toset([aws_sns_topic.alarms.arn]) && a.ok_actions == toset([aws_sns_topic.alarms.arn])])
    error_message = "Every alarm is told, and its end too."
  }
  assert {
    condition     = alltrue([for a in aws_cloudwatch_metric_alarm.this : a.treat_missing_data == "notBreaching" && a.comparison_operator == "GreaterThanOrEqualToThreshold" && a.evaluation_periods == 1])
    error_message = "One period at or above the threshold; no data is no alarm."
  }
  assert {
    condition     = alltrue([for key, a in aws_cloudwatch_metric_alarm.this : a.threshold == 1 if !endswith(key, "-slow") && !endswith(key, "-many-blocks")])
    error_message = "One is enough."
  }
  assert {
    condition     = alltrue([for name, f in aws_lambda_function.this : aws_cloudwatch_metric_alarm.this["${name}-slow"].threshold == 800 * f.timeout])
    error_message = "An alarm at 80 % of the time that a function has."
  }
}

run "the_threshold_follows_the_limit_of_blocks" {
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["on-scan-many-blocks"].threshold == 15 && aws_cloudwatch_metric_alarm.this["on-scan-many-blocks"].period == 3600
    error_message = "20 blocks in an hour are the default."
  }
}

run "the_threshold_follows_a_lower_limit" {
  variables {
    policy = { version = 1, mode = "enforce", block = { max_blocks_per_hour = 2 } }
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["on-scan-many-blocks"].threshold == 2
    error_message = "An alarm above the limit could never fire."
  }
}

run "the_dashboard" {
  assert {
    condition     = aws_cloudwatch_dashboard.this.dashboard_name == "ecr-guard-us-west-2"
    error_message = "A dashboard for each region."
  }
  assert {
    condition = [for w in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : w.properties.metrics if w.properties.title == "Blocks by function"] == [
      [["ecr-guard", "Blocks", "Function", "on-push"], ["ecr-guard", "Blocks", "Function", "on-scan"]]
    ]
    error_message = "It shows our metrics by function."
  }
  assert {
    condition = toset(flatten([for w in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : [for m in try(w.properties.metrics, []) : m[3] if m[0] == "AWS/SQS"]])) == toset([
      "ecr-guard-undelivered-events", "ecr-guard-failed-events", "ecr-guard-undelivered-alerts"
    ])
    error_message = "It shows what waits for somebody to look."
  }
}
