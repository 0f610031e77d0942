# That our metrics have these names is held by tests/it/infra.rs, which reads metrics.json.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  # The function that keeps the index is in workloads.tftest.hcl.
  workloads        = null
  policy           = { version = 1, mode = "report" }
  lambda_directory = "./tests/packages/lambda"
}

run "packages" {
  module {
    source = "./tests/packages"
  }
}

run "what_is_watched" {
  assert {
    condition = { for key, a in aws_cloudwatch_metric_alarm.this : key => "${a.namespace} ${a.metric_name} ${jsonencode(coalesce(a.dimensions, {}))}" } == {
      poison        = "ecr-guard PoisonEvents {}"
      call-refused  = "ecr-guard CallsRefused {}"
      block-refused = "ecr-guard BlocksRefused {}"
      many-blocks   = "ecr-guard Blocks {}"

      on-push-throttles          = "AWS/Lambda Throttles {\"FunctionName\":\"ecr-guard-on-push\"}"
      on-push-failed-events-lost = "AWS/Lambda DestinationDeliveryFailures {\"FunctionName\":\"ecr-guard-on-push\"}"
      on-push-undelivered-lost   = "AWS/Events InvocationsFailedToBeSentToDlq {\"RuleName\":\"ecr-guard-on-push\"}"

      on-replication-throttles          = "AWS/Lambda Throttles {\"FunctionName\":\"ecr-guard-on-replication\"}"
      on-replication-failed-events-lost = "AWS/Lambda DestinationDeliveryFailures {\"FunctionName\":\"ecr-guard-on-replication\"}"
      on-replication-undelivered-lost   = "AWS/Events InvocationsFailedToBeSentToDlq {\"RuleName\":\"ecr-guard-on-replication\"}"

      on-scan-throttles          = "AWS/Lambda Throttles {\"FunctionName\":\"ecr-guard-on-scan\"}"
      on-scan-failed-events-lost = "AWS/Lambda DestinationDeliveryFailures {\"FunctionName\":\"ecr-guard-on-scan\"}"
      on-scan-undelivered-lost   = "AWS/Events InvocationsFailedToBeSentToDlq {\"RuleName\":\"ecr-guard-on-scan\"}"

      sweep-throttles          = "AWS/Lambda Throttles {\"FunctionName\":\"ecr-guard-sweep\"}"
      sweep-failed-events-lost = "AWS/Lambda DestinationDeliveryFailures {\"FunctionName\":\"ecr-guard-sweep\"}"
      sweep-overdue            = "ecr-guard SweepAge {\"Function\":\"sweep\"}"

      worker-throttles        = "AWS/Lambda Throttles {\"FunctionName\":\"ecr-guard-worker\"}"
      worker-hops             = "ecr-guard ItemHops {\"Function\":\"worker\"}"
      worker-redelivered      = "ecr-guard ItemReceives {\"Function\":\"worker\"}"
      worker-dropped          = "AWS/Lambda RecursiveInvocationsDropped {\"FunctionName\":\"ecr-guard-worker\"}"
      worker-undelivered-lost = "AWS/Events InvocationsFailedToBeSentToDlq {\"RuleName\":\"ecr-guard-worker\"}"
      worker-errors           = "AWS/Lambda Errors {\"FunctionName\":\"ecr-guard-worker\"}"
      worker-late             = "ecr-guard SweepAge {\"Function\":\"worker\"}"

      schedule-undelivered-lost = "AWS/Scheduler InvocationsFailedToBeSentToDeadLetterCount {\"ScheduleGroup\":\"ecr-guard\"}"
      work-old                  = "AWS/SQS ApproximateAgeOfOldestMessage {\"QueueName\":\"ecr-guard-work\"}"
      work-backlog              = "AWS/SQS ApproximateNumberOfMessagesVisible {\"QueueName\":\"ecr-guard-work\"}"
      findings-old              = "AWS/SQS ApproximateAgeOfOldestMessage {\"QueueName\":\"ecr-guard-findings\"}"
      findings-backlog          = "AWS/SQS ApproximateNumberOfMessagesVisible {\"QueueName\":\"ecr-guard-findings\"}"

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
    condition     = alltrue([for key, a in aws_cloudwatch_metric_alarm.this : a.threshold == 1 if !anytrue([for other in ["blocks", "overdue", "late", "old", "hops", "redelivered"] : endswith(key, "-${other}")])])
    error_message = "One is enough."
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

run "what_putting_back_cannot_reset" {
  assert {
    condition = { for key in ["worker-hops", "worker-redelivered", "work-backlog", "findings-backlog"] : key => [aws_cloudwatch_metric_alarm.this[key].statistic, aws_cloudwatch_metric_alarm.this[key].threshold] } == {
      worker-hops = ["Maximum", 50], worker-redelivered = ["Maximum", 10], work-backlog = ["Minimum", 1], findings-backlog = ["Minimum", 1]
    }
    error_message = "Before an item is not put back any more (200 hops), before a message is given up (20 receives), and when a queue is never empty."
  }
}

run "the_threshold_follows_the_limit_of_blocks" {
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["many-blocks"].threshold == 15 && aws_cloudwatch_metric_alarm.this["many-blocks"].period == 3600
    error_message = "20 blocks in an hour are the default."
  }
}

run "the_threshold_follows_a_lower_limit" {
  variables {
    policy = { version = 1, mode = "enforce", block = { max_blocks_per_hour = 2 } }
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.this["many-blocks"].threshold == 2
    error_message = "An alarm above the limit could never fire."
  }
}

run "the_dashboard" {
  assert {
    condition     = aws_cloudwatch_dashboard.this.dashboard_name == "ecr-guard-us-west-2"
    error_message = "A dashboard for each region."
  }
  assert {
    condition = [for w in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : w.properties.metrics if w.properties.title == "Alerts by function"] == [
      [for name in ["on-push", "on-replication", "on-scan", "worker"] : ["ecr-guard", "Alerts", "Function", name, { stat = "Sum" }]]
    ]
    error_message = "It shows our metrics by the functions that write them."
  }
  assert {
    condition = [for w in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : w.properties.metrics if w.properties.title == "Blocks and trouble, of all functions"] == [
      [for metric in ["PoisonEvents", "Blocks", "BlocksRefused", "CallsRefused"] : ["ecr-guard", metric, { stat = "Sum" }]]
    ]
    error_message = "And those that are of all functions together."
  }
  assert {
    condition     = [for w in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : join(" ", distinct([for m in w.properties.metrics : m[4].stat])) if w.properties.title == "SweepAge by function"] == ["Maximum"]
    error_message = "Ages are not added up."
  }
  assert {
    condition = toset(flatten([for w in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : [for m in try(w.properties.metrics, []) : m[3] if m[0] == "AWS/SQS"]])) == toset([
      "ecr-guard-undelivered-events", "ecr-guard-failed-events", "ecr-guard-failed-work", "ecr-guard-undelivered-alerts", "ecr-guard-work", "ecr-guard-findings"
    ])
    error_message = "It shows what waits for somebody to look."
  }
}

run "outcomes_are_no_metric_unless_asked_for" {
  assert {
    condition     = length(aws_cloudwatch_log_metric_filter.outcomes) == 0
    error_message = "Each that occurs would cost something."
  }
}

run "outcomes" {
  variables {
    outcome_metrics = true
  }

  assert {
    condition = { for name, f in aws_cloudwatch_log_metric_filter.outcomes : name => [f.log_group_name, f.pattern, f.metric_transformation[0].namespace] } == {
      for name in ["on-push", "on-replication", "on-scan", "sweep", "worker"] : name => ["/aws/lambda/ecr-guard-${name}", "{ $.outcome = \"*\" }", "ecr-guard"]
    }
    error_message = "Every line that has an outcome, of every function."
  }
  assert {
    condition     = alltrue([for f in aws_cloudwatch_log_metric_filter.outcomes : f.metric_transformation[0].dimensions == tomap({ Function = "$.Function", Outcome = "$.outcome" })])
    error_message = "By function and outcome."
  }
}

# The fixed costs of a region, in USD a month: prices as docs/operations.md has them ("Costs"). The rest goes by use.
run "what_a_region_costs" {
  variables {
    alarm_subscriptions = [{ protocol = "email", endpoint = "oncall@example.com" }]
  }

  assert {
    condition = 15 >= sum([
      0.10 * length(aws_cloudwatch_metric_alarm.this),
      # As if every metric of ours had a value in every hour of the month.
      0.30 * length(distinct(flatten([for w in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : [
        for m in try(w.properties.metrics, []) : join(" ", [for part in m : part if can(tostring(part))]) if m[0] == "ecr-guard"
      ]]))),
      1.00 * (length(aws_kms_key.this) + length(aws_kms_key.ledger_replica)),
      # Requests to the key, and what the workers' queues are asked for all month: "Costs" has the arithmetic.
      0.40,
    ])
    error_message = "${length(aws_cloudwatch_metric_alarm.this)} alarms, and the metrics: ${jsonencode([for w in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : try(w.properties.title, "")])}"
  }
  assert {
    # Which of our metrics an alarm reads, the dashboard shows: no metric is left out of the sum.
    condition = alltrue([for a in aws_cloudwatch_metric_alarm.this : contains(
      flatten([for w in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : [for m in try(w.properties.metrics, []) : m[1]]]), a.metric_name
    ) if a.namespace == "ecr-guard"])
    error_message = "An alarm on a metric that the dashboard does not show."
  }
}
