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

      on-replication-errors             = "AWS/Lambda Errors {\"FunctionName\":\"ecr-guard-on-replication\"}"
      on-replication-throttles          = "AWS/Lambda Throttles {\"FunctionName\":\"ecr-guard-on-replication\"}"
      on-replication-failed-events-lost = "AWS/Lambda DestinationDeliveryFailures {\"FunctionName\":\"ecr-guard-on-replication\"}"
      on-replication-slow               = "AWS/Lambda Duration {\"FunctionName\":\"ecr-guard-on-replication\"}"
      on-replication-poison             = "ecr-guard PoisonEvents {\"Function\":\"on-replication\"}"
      on-replication-block-refused      = "ecr-guard Errors {\"Function\":\"on-replication\",\"Outcome\":\"BlockRefused\"}"
      on-replication-call-refused       = "ecr-guard Errors {\"Function\":\"on-replication\",\"Outcome\":\"CallRefused\"}"
      on-replication-many-blocks        = "ecr-guard Blocks {\"Function\":\"on-replication\"}"
      on-replication-undelivered        = "AWS/Events InvocationsSentToDlq {\"RuleName\":\"ecr-guard-on-replication\"}"
      on-replication-undelivered-lost   = "AWS/Events InvocationsFailedToBeSentToDlq {\"RuleName\":\"ecr-guard-on-replication\"}"

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

      sweep-errors             = "AWS/Lambda Errors {\"FunctionName\":\"ecr-guard-sweep\"}"
      sweep-throttles          = "AWS/Lambda Throttles {\"FunctionName\":\"ecr-guard-sweep\"}"
      sweep-failed-events-lost = "AWS/Lambda DestinationDeliveryFailures {\"FunctionName\":\"ecr-guard-sweep\"}"
      sweep-slow               = "AWS/Lambda Duration {\"FunctionName\":\"ecr-guard-sweep\"}"
      sweep-poison             = "ecr-guard PoisonEvents {\"Function\":\"sweep\"}"
      sweep-call-refused       = "ecr-guard Errors {\"Function\":\"sweep\",\"Outcome\":\"CallRefused\"}"
      sweep-overdue            = "ecr-guard sweep_age_seconds {\"Function\":\"sweep\"}"

      worker-errors           = "AWS/Lambda Errors {\"FunctionName\":\"ecr-guard-worker\"}"
      worker-throttles        = "AWS/Lambda Throttles {\"FunctionName\":\"ecr-guard-worker\"}"
      worker-slow             = "AWS/Lambda Duration {\"FunctionName\":\"ecr-guard-worker\"}"
      worker-poison           = "ecr-guard PoisonEvents {\"Function\":\"worker\"}"
      worker-block-refused    = "ecr-guard Errors {\"Function\":\"worker\",\"Outcome\":\"BlockRefused\"}"
      worker-call-refused     = "ecr-guard Errors {\"Function\":\"worker\",\"Outcome\":\"CallRefused\"}"
      worker-many-blocks      = "ecr-guard Blocks {\"Function\":\"worker\"}"
      worker-late             = "ecr-guard sweep_age_seconds {\"Function\":\"worker\"}"
      worker-undelivered      = "AWS/Events InvocationsSentToDlq {\"RuleName\":\"ecr-guard-worker\"}"
      worker-undelivered-lost = "AWS/Events InvocationsFailedToBeSentToDlq {\"RuleName\":\"ecr-guard-worker\"}"

      schedule-undelivered      = "AWS/Scheduler InvocationsSentToDeadLetterCount {\"ScheduleGroup\":\"ecr-guard\"}"
      schedule-undelivered-lost = "AWS/Scheduler InvocationsFailedToBeSentToDeadLetterCount {\"ScheduleGroup\":\"ecr-guard\"}"
      work-old                  = "AWS/SQS ApproximateAgeOfOldestMessage {\"QueueName\":\"ecr-guard-work\"}"

      undelivered-events-not-empty = "AWS/SQS ApproximateNumberOfMessagesVisible {\"QueueName\":\"ecr-guard-undelivered-events\"}"
      failed-work-not-empty        = "AWS/SQS ApproximateNumberOfMessagesVisible {\"QueueName\":\"ecr-guard-failed-work\"}"
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
    condition     = alltrue([for a in aws_cloudwatch_metric_alarm.this : a.comparison_operator == "GreaterThanOrEqualToThreshold" && a.evaluation_periods == 1])
    error_message = "One period at or above the threshold."
  }
  assert {
    condition     = [for key, a in aws_cloudwatch_metric_alarm.this : key if a.treat_missing_data != "notBreaching"] == ["sweep-overdue"] && aws_cloudwatch_metric_alarm.this["sweep-overdue"].treat_missing_data == "breaching"
    error_message = "No data is no alarm, but that no sweep comes is one."
  }
  assert {
    condition     = alltrue([for key, a in aws_cloudwatch_metric_alarm.this : a.threshold == 1 if !anytrue([for other in ["slow", "many-blocks", "overdue", "late", "old"] : endswith(key, "-${other}")])])
    error_message = "One is enough."
  }
  assert {
    condition     = alltrue([for name in ["on-push", "on-replication", "on-scan"] : aws_cloudwatch_metric_alarm.this["${name}-slow"].threshold == 800 * aws_lambda_function.this[name].timeout])
    error_message = "An alarm at 80 % of the time that an event has."
  }
  assert {
    condition     = alltrue([for name in ["sweep", "worker"] : aws_cloudwatch_metric_alarm.this["${name}-slow"].threshold == 950 * aws_lambda_function.this[name].timeout])
    error_message = "Sweep and worker begin nothing new in their last minute: an alarm only when that was not enough."
  }
}

run "sweeps" {
  assert {
    condition     = alltrue([for key in ["sweep-overdue", "worker-late", "work-old"] : aws_cloudwatch_metric_alarm.this[key].threshold == 7200])
    error_message = "Two hours."
  }
  assert {
    condition     = { for key in ["sweep-overdue", "worker-late", "work-old"] : key => aws_cloudwatch_metric_alarm.this[key].period } == { sweep-overdue = 7200, worker-late = 7200, work-old = 300 }
    error_message = "A sweep may come once in an hour; what waits is looked at every five minutes."
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
      [for name in ["on-push", "on-replication", "on-scan", "sweep", "worker"] : ["ecr-guard", "Blocks", "Function", name, { stat = "Sum" }]]
    ]
    error_message = "It shows our metrics by function."
  }
  assert {
    condition     = [for w in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : join(" ", distinct([for m in w.properties.metrics : m[4].stat])) if w.properties.title == "sweep_age_seconds by function"] == ["Maximum"]
    error_message = "Ages are not added up."
  }
  assert {
    condition = toset(flatten([for w in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : [for m in try(w.properties.metrics, []) : m[3] if m[0] == "AWS/SQS"]])) == toset([
      "ecr-guard-undelivered-events", "ecr-guard-failed-events", "ecr-guard-failed-work", "ecr-guard-undelivered-alerts", "ecr-guard-work"
    ])
    error_message = "It shows what waits for somebody to look."
  }
}
