# Encrypted paths and resource policies, edge by edge: who hands what to whom, and what must be allowed for it. Emulators check none
# of this, and AWS reports a missing one by silence.
#
# | from | to | resource policy | key |
# |---|---|---|---|
# | EventBridge | function | permission: exactly the rule | – |
# | EventBridge | findings | queue policy: exactly the rule | key policy: this queue |
# | EventBridge | undelivered-events | queue policy: exactly the rules | key policy: this queue |
# | EventBridge (role) | other regions | role policy: exactly their buses | – |
# | schedule (role) | sweep | role policy | role policy: this schedule |
# | schedule (role) | undelivered-events | role policy | role policy: this queue |
# | sweep, worker (role) | work, findings | role policy | role policy, by SQS |
# | work, findings (role) | worker | role policy | role policy, by SQS |
# | work, findings | failed-work | redrive policy and redrive allow policy: these queues | the same key |
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
  target = aws_sqs_queue.this["work"]
  values = {
    arn = "arn:aws:sqs:us-west-2:123456789012:ecr-guard-work"
    url = "https://sqs.us-west-2.amazonaws.com/123456789012/ecr-guard-work"
  }
}

override_resource {
  target = aws_sqs_queue.this["findings"]
  values = {
    arn = "arn:aws:sqs:us-west-2:123456789012:ecr-guard-findings"
    url = "https://sqs.us-west-2.amazonaws.com/123456789012/ecr-guard-findings"
  }
}

override_resource {
  target = aws_sqs_queue.this["failed-work"]
  values = {
    arn = "arn:aws:sqs:us-west-2:123456789012:ecr-guard-failed-work"
    url = "https://sqs.us-west-2.amazonaws.com/123456789012/ecr-guard-failed-work"
  }
}

override_resource {
  target = aws_lambda_alias.live["sweep"]
  values = { arn = "arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-sweep:live" }
}

override_resource {
  target = aws_lambda_alias.live["worker"]
  values = { arn = "arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-worker:live" }
}

override_resource {
  target = aws_iam_role.schedule
  values = { arn = "arn:aws:iam::123456789012:role/ecr-guard-sweep-schedule-us-west-2" }
}

override_resource {
  target = aws_sqs_queue.this["undelivered-events"]
  values = { arn = "arn:aws:sqs:us-west-2:123456789012:ecr-guard-undelivered-events" }
}

variables {
  # The function that keeps the index is in workloads.tftest.hcl.
  workloads        = null
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
    condition = { for name, p in aws_lambda_permission.events : name => [p.action, p.qualifier, p.principal, p.source_arn, p.source_account] } == {
      on-push        = ["lambda:InvokeFunction", "live", "events.amazonaws.com", "arn:aws:events:us-west-2:123456789012:rule/ecr-guard-on-push", "123456789012"]
      on-replication = ["lambda:InvokeFunction", "live", "events.amazonaws.com", "arn:aws:events:us-west-2:123456789012:rule/ecr-guard-on-replication", "123456789012"]
      on-scan        = ["lambda:InvokeFunction", "live", "events.amazonaws.com", "arn:aws:events:us-west-2:123456789012:rule/ecr-guard-on-scan", "123456789012"]
    }
    error_message = "EventBridge may invoke a function for its own rule and for no other."
  }
  assert {
    condition     = alltrue([for name in ["on-push", "on-replication", "on-scan"] : aws_cloudwatch_event_target.this[name].arn == aws_lambda_alias.live[name].arn])
    error_message = "A rule leads to its function."
  }
  assert {
    condition     = { for name, t in aws_cloudwatch_event_target.this : name => t.rule } == { on-push = "ecr-guard-on-push", on-replication = "ecr-guard-on-replication", on-scan = "ecr-guard-on-scan", worker = "ecr-guard-worker" }
    error_message = "Every rule leads somewhere."
  }
}

run "eventbridge_to_findings" {
  assert {
    condition     = aws_cloudwatch_event_target.this["worker"].arn == "arn:aws:sqs:us-west-2:123456789012:ecr-guard-findings"
    error_message = "Findings go to their queue, and not to the workers one by one."
  }
  assert {
    condition = [for s in jsondecode(aws_sqs_queue_policy.this["findings"].policy).Statement : s if s.Effect == "Allow"] == [{
      Sid       = "Sender"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = "sqs:SendMessage"
      Resource  = "arn:aws:sqs:us-west-2:123456789012:ecr-guard-findings"
      Condition = {
        ArnEquals    = { "aws:SourceArn" = ["arn:aws:events:us-west-2:123456789012:rule/ecr-guard-worker"] }
        StringEquals = { "aws:SourceAccount" = "123456789012" }
      }
    }]
    error_message = "The rule for findings may send to the work queue, and no other."
  }
  assert {
    condition = [for s in jsondecode(aws_kms_key.this[0].policy).Statement : s if s.Sid == "Findings"] == [{
      Sid       = "Findings"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
      Resource  = "*"
      Condition = { StringEquals = { "kms:EncryptionContext:aws:sqs:arn" = "arn:aws:sqs:us-west-2:123456789012:ecr-guard-findings" } }
    }]
    error_message = "EventBridge may use the key for this queue; a condition on the source would lose events in silence."
  }
}

run "eventbridge_to_other_regions" {
  variables {
    other_regions = ["eu-west-1", "us-east-1"]
    repositories  = ["pipeops-prod-*"]
  }

  assert {
    condition = jsondecode(aws_cloudwatch_event_rule.forward[0].event_pattern) == {
      source      = ["aws.ecr"]
      detail-type = ["ECR Image Action"]
      region      = ["us-west-2"]
      detail      = { action-type = ["UPDATE_STORAGE_CLASS", "DELETE"], result = ["SUCCESS"], repository-name = [{ wildcard = "pipeops-prod-*" }] }
    }
    error_message = "What happens here is told elsewhere, and nothing that was told from there: ${aws_cloudwatch_event_rule.forward[0].event_pattern}"
  }
  assert {
    condition = { for region, t in aws_cloudwatch_event_target.forward : region => [t.rule, t.arn, t.dead_letter_config[0].arn] } == {
      eu-west-1 = ["ecr-guard-forward", "arn:aws:events:eu-west-1:123456789012:event-bus/default", "arn:aws:sqs:us-west-2:123456789012:ecr-guard-undelivered-events"]
      us-east-1 = ["ecr-guard-forward", "arn:aws:events:us-east-1:123456789012:event-bus/default", "arn:aws:sqs:us-west-2:123456789012:ecr-guard-undelivered-events"]
    }
    error_message = "The buses of the other regions, with the dead letter queue."
  }
  assert {
    condition = jsondecode(aws_iam_role_policy.forward[0].policy).Statement == [{
      Sid      = "Buses"
      Effect   = "Allow"
      Action   = ["events:PutEvents"]
      Resource = ["arn:aws:events:eu-west-1:123456789012:event-bus/default", "arn:aws:events:us-east-1:123456789012:event-bus/default"]
    }]
    error_message = "The role puts events on these buses, and on no others."
  }
  assert {
    condition = jsondecode(aws_iam_role.forward[0].assume_role_policy).Statement == [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "events.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = "123456789012", "aws:SourceArn" = ["arn:aws:events:us-west-2:123456789012:rule/ecr-guard-forward"] } }
    }]
    error_message = "For our rule, and for no other."
  }
  assert {
    condition     = alltrue([for t in aws_cloudwatch_event_target.forward : t.role_arn == aws_iam_role.forward[0].arn])
    error_message = "The rule has the role."
  }
  assert {
    condition = contains(flatten([
      for s in jsondecode(aws_sqs_queue_policy.this["undelivered-events"].policy).Statement : s.Condition.ArnEquals["aws:SourceArn"] if s.Effect == "Allow"
    ]), "arn:aws:events:us-west-2:123456789012:rule/ecr-guard-forward")
    error_message = "The rule may send to the dead letter queue."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["forward-undelivered-lost"].dimensions == tomap({ RuleName = "ecr-guard-forward" })
    error_message = "An alarm when it must."
  }
}

run "one_region_forwards_nothing" {
  assert {
    condition     = length(aws_cloudwatch_event_rule.forward) == 0 && length(aws_iam_role.forward) == 0 && length(aws_cloudwatch_event_target.forward) == 0
    error_message = "Without other regions there is nothing to forward to."
  }
}

run "schedule_to_sweep" {
  assert {
    condition     = aws_scheduler_schedule.sweep.schedule_expression == "rate(60 minutes)" && aws_scheduler_schedule.sweep.flexible_time_window[0].mode == "OFF"
    error_message = "A sweep every hour."
  }
  assert {
    condition     = aws_scheduler_schedule.sweep.target[0].arn == "arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-sweep:live"
    error_message = "The schedule invokes the function `sweep`."
  }
  assert {
    condition     = aws_scheduler_schedule.sweep.target[0].input == "{\"time\":\"<aws.scheduler.scheduled-time>\"}"
    error_message = "The scheduler fills in the time, which it finds by its < and >: ${aws_scheduler_schedule.sweep.target[0].input}"
  }
  assert {
    condition     = aws_scheduler_schedule.sweep.target[0].role_arn == aws_iam_role.schedule.arn
    error_message = "In the name of its role."
  }
  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.schedule.policy).Statement : [s.Action, s.Resource] if s.Sid == "Function"] == [
      [["lambda:InvokeFunction"], ["arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-sweep:live"]]
    ]
    error_message = "The role may invoke this function, and no other."
  }
  assert {
    condition = jsondecode(aws_iam_role.schedule.assume_role_policy).Statement == [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "scheduler.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = "123456789012", "aws:SourceArn" = "arn:aws:scheduler:us-west-2:123456789012:schedule-group/ecr-guard" } }
    }]
    error_message = "Only our group of schedules takes the role; the ARN of a schedule would let nobody in."
  }
  assert {
    condition     = aws_scheduler_schedule.sweep.group_name == "ecr-guard" && aws_scheduler_schedule_group.this.name == "ecr-guard" && aws_iam_role.schedule.name == "ecr-guard-sweep-schedule-us-west-2"
    error_message = "The schedule is in the group, and has the role."
  }
  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.schedule.policy).Statement : [s.Action, s.Resource, s.Condition] if s.Sid == "ScheduleKey"] == [[
      ["kms:Decrypt"], [aws_kms_key.this[0].arn],
      { StringEquals = { "kms:EncryptionContext:aws:scheduler:schedule:arn" = ["arn:aws:scheduler:us-west-2:123456789012:schedule/ecr-guard/ecr-guard-sweep"] } },
    ]]
    error_message = "The role decrypts what its schedule invokes with."
  }
  assert {
    condition     = [for s in jsondecode(aws_iam_role_policy.schedule.policy).Statement : s.Sid] == ["Function", "UndeliveredEvents", "UndeliveredEventsKey", "ScheduleKey"]
    error_message = "And nothing else."
  }
}

run "schedule_to_undelivered_events" {
  assert {
    condition     = aws_scheduler_schedule.sweep.target[0].dead_letter_config[0].arn == "arn:aws:sqs:us-west-2:123456789012:ecr-guard-undelivered-events"
    error_message = "What the schedule cannot begin is kept."
  }
  assert {
    condition     = aws_scheduler_schedule.sweep.target[0].retry_policy[0].maximum_event_age_in_seconds == 3600 && aws_scheduler_schedule.sweep.target[0].retry_policy[0].maximum_retry_attempts == 185
    error_message = "It is tried for an hour: then the next sweep comes."
  }
  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.schedule.policy).Statement : [s.Action, s.Resource] if s.Sid == "UndeliveredEvents"] == [
      [["sqs:SendMessage"], ["arn:aws:sqs:us-west-2:123456789012:ecr-guard-undelivered-events"]]
    ]
    error_message = "The role may send to the queue."
  }
  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.schedule.policy).Statement : [s.Action, s.Resource, s.Condition] if s.Sid == "UndeliveredEventsKey"] == [[
      ["kms:Decrypt", "kms:GenerateDataKey"], [aws_kms_key.this[0].arn],
      { StringEquals = { "kms:EncryptionContext:aws:sqs:arn" = "arn:aws:sqs:us-west-2:123456789012:ecr-guard-undelivered-events" } },
    ]]
    error_message = "And use the key for it."
  }
}

run "functions_to_work" {
  assert {
    condition = { for name, p in aws_iam_role_policy.this : name => [for s in jsondecode(p.policy).Statement : [s.Action, s.Resource] if s.Sid == "Work"] } == {
      on-push        = []
      on-replication = []
      on-scan        = []
      sweep          = [[["sqs:GetQueueAttributes", "sqs:SendMessage"], ["arn:aws:sqs:us-west-2:123456789012:ecr-guard-work"]]]
      worker = [[
        ["sqs:SendMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"],
        ["arn:aws:sqs:us-west-2:123456789012:ecr-guard-findings", "arn:aws:sqs:us-west-2:123456789012:ecr-guard-work"],
      ]]
    }
    error_message = "Sweep and worker leave work; only for the worker is it taken out."
  }
}

run "work_to_worker" {
  assert {
    condition = { for name, m in aws_lambda_event_source_mapping.work : name => [m.event_source_arn, m.function_name] } == {
      work     = ["arn:aws:sqs:us-west-2:123456789012:ecr-guard-work", "arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-worker:live"]
      findings = ["arn:aws:sqs:us-west-2:123456789012:ecr-guard-findings", "arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-worker:live"]
    }
    error_message = "Lambda hands both queues to the worker."
  }
  assert {
    condition     = { for name, m in aws_lambda_event_source_mapping.work : name => [m.batch_size, m.maximum_batching_window_in_seconds] } == { work = [20, 2], findings = [1000, 20] }
    error_message = "Work in batches that one invocation can do; findings gathered, for 20 seconds."
  }
  assert {
    condition     = alltrue([for m in aws_lambda_event_source_mapping.work : length(coalesce(m.filter_criteria, [])) == 0])
    error_message = "Lambda deletes what a filter does not match."
  }
  assert {
    condition     = { for name, c in aws_lambda_function_recursion_config.work : name => c.recursive_loop } == { worker = "Allow" }
    error_message = "Lambda takes work that is put back for a loop, and drops it after sixteen times."
  }
  assert {
    condition     = alltrue([for m in aws_lambda_event_source_mapping.work : m.function_response_types == toset(["ReportBatchItemFailures"])])
    error_message = "What failed comes again, and not the whole batch."
  }
  assert {
    condition     = alltrue([for m in aws_lambda_event_source_mapping.work : m.scaling_config[0].maximum_concurrency == 2])
    error_message = "Two workers: ECR takes ten `PutImage` a second from an account."
  }
  assert {
    condition     = alltrue([for name, m in aws_lambda_event_source_mapping.work : aws_sqs_queue.this[name].visibility_timeout_seconds >= 6 * aws_lambda_function.this["worker"].timeout + m.maximum_batching_window_in_seconds])
    error_message = "No message comes again while it is worked on."
  }
  assert {
    condition     = alltrue([for name in ["work", "findings"] : aws_sqs_queue.this[name].message_retention_seconds == 345600])
    error_message = "Work is kept for four days."
  }
}

run "work_to_failed_work" {
  assert {
    condition = { for name, p in aws_sqs_queue_redrive_policy.work : name => [p.queue_url, jsondecode(p.redrive_policy)] } == {
      for name in ["work", "findings"] : name => ["https://sqs.us-west-2.amazonaws.com/123456789012/ecr-guard-${name}", {
        deadLetterTargetArn = "arn:aws:sqs:us-west-2:123456789012:ecr-guard-failed-work"
        maxReceiveCount     = 20
      }]
    }
    error_message = "Work that fails twenty times is put aside."
  }
  assert {
    condition = aws_sqs_queue_redrive_allow_policy.failed_work.queue_url == "https://sqs.us-west-2.amazonaws.com/123456789012/ecr-guard-failed-work" && jsondecode(aws_sqs_queue_redrive_allow_policy.failed_work.redrive_allow_policy) == {
      redrivePermission = "byQueue"
      sourceQueueArns   = ["arn:aws:sqs:us-west-2:123456789012:ecr-guard-findings", "arn:aws:sqs:us-west-2:123456789012:ecr-guard-work"]
    }
    error_message = "That of these queues, and of no other."
  }
  assert {
    condition     = [for s in jsondecode(aws_sqs_queue_policy.this["failed-work"].policy).Statement : s.Sid] == ["TlsOnly"]
    error_message = "Nobody sends to failed-work."
  }
  assert {
    condition     = aws_sqs_queue.this["failed-work"].message_retention_seconds > aws_sqs_queue.this["work"].message_retention_seconds
    error_message = "A message keeps its age when it is put aside: it would be gone at once."
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
          "arn:aws:events:us-west-2:123456789012:rule/ecr-guard-on-replication",
          "arn:aws:events:us-west-2:123456789012:rule/ecr-guard-on-scan",
          "arn:aws:events:us-west-2:123456789012:rule/ecr-guard-worker",
        ] }
        StringEquals = { "aws:SourceAccount" = "123456789012" }
      }
    }]
    error_message = "Our rules may send to the queue, and no others."
  }
  assert {
    condition = [for s in jsondecode(aws_kms_key.this[0].policy).Statement : s if s.Sid == "UndeliveredEvents"] == [{
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
    condition = { for name, p in aws_iam_role_policy.this : name => [for s in jsondecode(p.policy).Statement : [s.Action, s.Resource] if s.Sid == "FailedEvents"] } == {
      on-replication = [[["sqs:SendMessage"], ["arn:aws:sqs:us-west-2:123456789012:ecr-guard-failed-events"]]]
      on-push        = [[["sqs:SendMessage"], ["arn:aws:sqs:us-west-2:123456789012:ecr-guard-failed-events"]]]
      on-scan        = [[["sqs:SendMessage"], ["arn:aws:sqs:us-west-2:123456789012:ecr-guard-failed-events"]]]
      sweep          = [[["sqs:SendMessage"], ["arn:aws:sqs:us-west-2:123456789012:ecr-guard-failed-events"]]]
      worker         = []
    }
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
        { StringLike = { "kms:EncryptionContext:aws:lambda:FunctionArn" = [for version in ["", ":*"] : "arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-${name}${version}"] } },
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
          "arn:aws:iam::123456789012:role/ecr-guard-on-replication-us-west-2",
          "arn:aws:iam::123456789012:role/ecr-guard-on-scan-us-west-2",
          "arn:aws:iam::123456789012:role/ecr-guard-sweep-us-west-2",
          "arn:aws:iam::123456789012:role/ecr-guard-worker-us-west-2",
        ] } }],
        ["Deny", "*", "sns:Publish", { ArnNotEquals = { "aws:PrincipalArn" = [
          "arn:aws:iam::123456789012:role/ecr-guard-on-push-us-west-2",
          "arn:aws:iam::123456789012:role/ecr-guard-on-replication-us-west-2",
          "arn:aws:iam::123456789012:role/ecr-guard-on-scan-us-west-2",
          "arn:aws:iam::123456789012:role/ecr-guard-sweep-us-west-2",
          "arn:aws:iam::123456789012:role/ecr-guard-worker-us-west-2",
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
    condition = [for s in jsondecode(aws_kms_key.this[0].policy).Statement : s if s.Sid == "Alarms"] == [{
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
    condition = [for s in jsondecode(aws_kms_key.this[0].policy).Statement : [s.Principal, s.Action, s.Condition] if s.Sid == "UndeliveredAlerts"] == [[
      { Service = "sns.amazonaws.com" },
      ["kms:Decrypt", "kms:GenerateDataKey*"],
      { StringEquals = { "kms:EncryptionContext:aws:sqs:arn" = "arn:aws:sqs:us-west-2:123456789012:ecr-guard-undelivered-alerts" } },
    ]]
    error_message = "SNS may use the key for this queue."
  }
}

run "cloudwatch_logs_to_log_groups" {
  assert {
    condition = [for s in jsondecode(aws_kms_key.this[0].policy).Statement : [s.Principal, s.Condition] if s.Sid == "Logs"] == [[
      { Service = "logs.us-west-2.amazonaws.com" },
      { ArnEquals = { "kms:EncryptionContext:aws:logs:arn" = [
        "arn:aws:logs:us-west-2:123456789012:log-group:/aws/lambda/ecr-guard-on-push",
        "arn:aws:logs:us-west-2:123456789012:log-group:/aws/lambda/ecr-guard-on-replication",
        "arn:aws:logs:us-west-2:123456789012:log-group:/aws/lambda/ecr-guard-on-scan",
        "arn:aws:logs:us-west-2:123456789012:log-group:/aws/lambda/ecr-guard-sweep",
        "arn:aws:logs:us-west-2:123456789012:log-group:/aws/lambda/ecr-guard-worker",
      ] } },
    ]]
    error_message = "CloudWatch Logs may use the key for our log groups."
  }
}

run "the_key" {
  assert {
    condition     = aws_kms_key.this[0].enable_key_rotation && aws_kms_key.this[0].deletion_window_in_days == 30
    error_message = "The key is rotated, and can be saved for 30 days when somebody deletes it."
  }
  assert {
    condition     = [for s in jsondecode(aws_kms_key.this[0].policy).Statement : s.Sid] == ["Account", "Logs", "Alarms", "UndeliveredEvents", "Findings", "UndeliveredAlerts"]
    error_message = "Nobody else is let in by the key's policy."
  }
  assert {
    condition     = alltrue([for s in jsondecode(aws_kms_key.this[0].policy).Statement : can(s.Principal.Service) ? can(s.Condition) : s.Principal.AWS == "arn:aws:iam::123456789012:root"])
    error_message = "No service gets the key without a condition, and no account but this one."
  }
}

run "everything_is_encrypted_with_the_key" {
  assert {
    condition     = alltrue([for topic in concat(values(aws_sns_topic.alerts), [aws_sns_topic.alarms]) : topic.kms_master_key_id == aws_kms_key.this[0].arn])
    error_message = "Topics."
  }
  assert {
    condition     = alltrue([for queue in aws_sqs_queue.this : queue.kms_master_key_id == aws_kms_key.this[0].arn])
    error_message = "Queues."
  }
  assert {
    condition     = aws_scheduler_schedule.sweep.kms_key_arn == aws_kms_key.this[0].arn
    error_message = "Schedule."
  }
  assert {
    condition     = aws_dynamodb_table.ledger[0].server_side_encryption[0].enabled && aws_dynamodb_table.ledger[0].server_side_encryption[0].kms_key_arn == aws_kms_key.this[0].arn
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
    condition     = alltrue([for name, queue in aws_sqs_queue.this : contains(["work", "findings"], name) || queue.message_retention_seconds == 1209600])
    error_message = "14 days."
  }
}

# A key of somebody else, such as an organization's: the module makes none, uses it everywhere, and says what its policy needs.
run "a_key_of_somebody_else" {
  command = plan

  variables {
    create_kms_key              = false
    kms_key_arn                 = "arn:aws:kms:us-west-2:123456789012:key/44444444-2222-3333-4444-555555555555"
    ledger_replica_regions      = ["eu-west-1", "us-east-1"]
    ledger_replica_kms_key_arns = { eu-west-1 = "arn:aws:kms:eu-west-1:123456789012:key/55555555-2222-3333-4444-555555555555" }
  }

  assert {
    condition     = length(aws_kms_key.this) == 0 && length(aws_kms_alias.this) == 0 && keys(aws_kms_key.ledger_replica) == ["us-east-1"]
    error_message = "No key is made in its place."
  }
  assert {
    condition = toset(concat(
      [for queue in aws_sqs_queue.this : queue.kms_master_key_id],
      [for topic in concat(values(aws_sns_topic.alerts), [aws_sns_topic.alarms]) : topic.kms_master_key_id],
      [for group in aws_cloudwatch_log_group.this : group.kms_key_id],
      [for f in aws_lambda_function.this : f.kms_key_arn],
      [aws_scheduler_schedule.sweep.kms_key_arn, aws_dynamodb_table.ledger[0].server_side_encryption[0].kms_key_arn],
      flatten([for p in aws_iam_role_policy.this : [for s in jsondecode(p.policy).Statement : s.Resource if s.Sid == "Keys" || s.Sid == "Environment"]]),
    )) == toset(["arn:aws:kms:us-west-2:123456789012:key/44444444-2222-3333-4444-555555555555"])
    error_message = "It is used for everything."
  }
  assert {
    condition     = [for s in jsondecode(output.kms_key_statements) : s.Sid] == ["Account", "Logs", "Alarms", "UndeliveredEvents", "Findings", "UndeliveredAlerts"]
    error_message = "What its policy needs is said."
  }
  assert {
    condition     = output.ledgers["eu-west-1"].kms_key_arn == "arn:aws:kms:eu-west-1:123456789012:key/55555555-2222-3333-4444-555555555555"
    error_message = "The guard of the other region is told of the replica's key."
  }
}

run "a_key_that_is_not_given" {
  command = plan

  variables {
    create_kms_key = false
  }

  expect_failures = [var.kms_key_arn]
}

run "a_key_that_is_given_and_made" {
  command = plan

  variables {
    kms_key_arn                 = "alias/ecr-guard"
    ledger_replica_kms_key_arns = { eu-west-1 = "arn:aws:kms:eu-west-1:123456789012:key/55555555-2222-3333-4444-555555555555" }
  }

  expect_failures = [var.kms_key_arn, var.ledger_replica_kms_key_arns]
}
