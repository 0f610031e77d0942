# The function that keeps the index of who uses images: what invokes it, what it may do, and what rings when it does not come.

mock_provider "aws" {
  source = "./tests/mocks"
}

override_resource {
  target = aws_lambda_alias.live["workloads"]
  values = { arn = "arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-workloads:live" }
}

override_resource {
  target = aws_sqs_queue.this["undelivered-events"]
  values = { arn = "arn:aws:sqs:us-west-2:123456789012:ecr-guard-undelivered-events" }
}

variables {
  lambda_directory = "./tests/packages/lambda"
  policy           = { version = 1, mode = "enforce", block = { workloads = {} } }
}

run "packages" {
  module {
    source = "./tests/packages"
  }
}

run "a_schedule_and_a_rule_invoke_it" {
  assert {
    condition = [for s in aws_scheduler_schedule.workloads : [s.schedule_expression, s.state, s.target[0].arn, s.target[0].input, s.target[0].dead_letter_config[0].arn]] == [
      ["rate(30 minutes)", "ENABLED", aws_lambda_alias.live["workloads"].arn, "{}", "arn:aws:sqs:us-west-2:123456789012:ecr-guard-undelivered-events"]
    ]
    error_message = "Every half an hour all workloads are listed."
  }
  assert {
    condition = [for r in aws_cloudwatch_event_rule.workloads : [r.state, jsondecode(r.event_pattern)]] == [["ENABLED", {
      source = ["aws.ecs"]
      "$or" = [
        { detail-type = ["ECS Task State Change"], detail = { lastStatus = ["RUNNING"], desiredStatus = ["RUNNING"] } },
        { detail-type = ["ECS Task State Change"], detail = { lastStatus = ["STOPPED"], stopCode = ["TaskFailedToStart"] } },
      ]
    }]]
    error_message = "A task that begins to run, or cannot pull its image, is told at once."
  }
  assert {
    condition = [for p in aws_lambda_permission.workloads : [p.principal, p.source_arn, p.source_account, p.qualifier]] == [
      ["events.amazonaws.com", "arn:aws:events:us-west-2:123456789012:rule/ecr-guard-workloads", "123456789012", "live"]
    ]
    error_message = "This rule may invoke it, and no other."
  }
  assert {
    condition     = contains([for s in jsondecode(aws_sqs_queue_policy.this["undelivered-events"].policy).Statement : s if s.Sid == "Sender"][0].Condition.ArnEquals["aws:SourceArn"], "arn:aws:events:us-west-2:123456789012:rule/ecr-guard-workloads")
    error_message = "What the rule cannot hand over is kept."
  }
  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.schedule.policy).Statement : s.Resource if s.Sid == "Function"] == [[
      "arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-sweep:live", "arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-workloads:live"
    ]]
    error_message = "The schedules' role may invoke both functions, and no other."
  }
}

run "what_it_may_do" {
  variables {
    workloads = { functions = ["shop-*", "thumbs"], external_id = "ecr-guard-42" }
    policy = { version = 1, mode = "enforce", block = { workloads = { accounts = [
      { id = "222222222222", role = "ecr-guard-workload-reader" }
    ] } } }
  }

  assert {
    condition = sort(flatten([for s in jsondecode(aws_iam_role_policy.this["workloads"].policy).Statement : s.Action if contains(["Ledger", "LambdaFunctions", "LedgerIndex", "Queue", "ReaderRoles", "Replicas", "Repositories", "Topics", "Work", "Workloads"], s.Sid)])) == tolist([
      "batch:DescribeJobDefinitions", "dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:Query", "ecr:DescribeImages",
      "ecr:DescribeImages", "ecs:DescribeServiceDeployments", "ecs:DescribeServiceRevisions", "ecs:DescribeServices",
      "ecs:DescribeTaskDefinition", "ecs:DescribeTasks", "ecs:ListClusters", "ecs:ListServices", "ecs:ListTaskDefinitions", "ecs:ListTasks",
      "eks:ListClusters", "lambda:GetFunction", "lambda:ListAliases", "lambda:ListFunctions", "sns:Publish", "sqs:SendMessage", "sts:AssumeRole",
    ])
    error_message = "It reads workloads and tags, keeps the index, and leaves work to the workers. It changes no registry, and tells of refused pulls."
  }
  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.this["workloads"].policy).Statement : s.Resource if contains(["LambdaFunctions", "ReaderRoles"], s.Sid)] == [
      [for name in ["shop-*", "thumbs", "thumbs:*"] : "arn:aws:lambda:us-west-2:123456789012:function:${name}"], ["arn:aws:iam::222222222222:role/ecr-guard-workload-reader"]
    ]
    error_message = "Only these functions with their versions, and only these roles."
  }
  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.this["workloads"].policy).Statement : s.Condition if s.Sid == "LedgerIndex"] == [
      { "ForAllValues:StringEquals" = { "dynamodb:LeadingKeys" = ["uses#123456789012", "workloads#123456789012"] } }
    ]
    error_message = "It writes no other row of the ledger but the index."
  }
  assert {
    condition = [for s in jsondecode(aws_iam_role_policy.this["workloads"].policy).Statement : [s.Action, s.Condition] if s.Sid == "LedgerAlerts"] == [
      [["dynamodb:PutItem", "dynamodb:UpdateItem"], { "ForAllValues:StringEquals" = { "dynamodb:LeadingKeys" = ["123456789012"] } }]
    ]
    error_message = "And the budget of a topic, with the alerts beyond it."
  }
  assert {
    condition     = aws_lambda_function.this["workloads"].environment[0].variables["ECR_GUARD_EXTERNAL_ID"] == "ecr-guard-42"
    error_message = "What the roles ask for."
  }
}

run "no_other_accounts" {
  assert {
    condition     = [for s in jsondecode(aws_iam_role_policy.this["workloads"].policy).Statement : s.Sid if s.Sid == "ReaderRoles"] == []
    error_message = "Without other accounts there is no role to take."
  }
}

run "what_rings" {
  assert {
    condition = { for key in ["workloads-overdue", "workloads-denied"] : key => [
      aws_cloudwatch_metric_alarm.this[key].metric_name, aws_cloudwatch_metric_alarm.this[key].comparison_operator, aws_cloudwatch_metric_alarm.this[key].treat_missing_data
      ] } == {
      workloads-overdue = ["WorkloadRuns", "LessThanThreshold", "breaching"]
      workloads-denied  = ["ListsDenied", "GreaterThanOrEqualToThreshold", "notBreaching"]
    }
    error_message = "That no run comes is an alarm, and so is a permission that is missing."
  }
}

# The fixed costs of a region with the function, in USD a month: as alarms.tftest.hcl counts them without.
run "what_a_region_costs_with_it" {
  variables {
    alarm_subscriptions = [{ protocol = "email", endpoint = "oncall@example.com" }]
  }

  assert {
    condition = 16 >= sum([
      0.10 * length(aws_cloudwatch_metric_alarm.this),
      0.30 * length(distinct(flatten([for w in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : [
        for m in try(w.properties.metrics, []) : join(" ", [for part in m : part if can(tostring(part))]) if m[0] == "ecr-guard"
      ]]))),
      1.00 * (length(aws_kms_key.this) + length(aws_kms_key.ledger_replica)),
      0.40,
    ])
    error_message = "${length(aws_cloudwatch_metric_alarm.this)} alarms"
  }
}

run "a_policy_that_does_not_ask_for_it" {
  variables {
    policy = { version = 1, mode = "enforce" }
  }

  assert {
    condition     = [for s in aws_scheduler_schedule.workloads : s.state] == ["DISABLED"] && [for r in aws_cloudwatch_event_rule.workloads : r.state] == ["DISABLED"]
    error_message = "Nothing is listed."
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["workloads-overdue"].treat_missing_data == "notBreaching"
    error_message = "Nobody misses what was not asked for."
  }
}

run "asked_for_without_the_function" {
  command = plan

  variables {
    workloads = null
    policy    = { version = 1, mode = "report", block = { workloads = {} } }
  }

  expect_failures = [aws_lambda_function.this["sweep"]]
}

run "without_the_function" {
  variables {
    workloads = null
    policy    = { version = 1, mode = "report" }
  }

  assert {
    condition     = !contains(keys(aws_lambda_function.this), "workloads") && length(aws_scheduler_schedule.workloads) == 0 && length(aws_cloudwatch_event_rule.workloads) == 0
    error_message = "There is nothing of it."
  }
}

run "names_of_functions_that_are_none" {
  command = plan

  variables {
    workloads = { functions = ["shop/*"] }
  }

  expect_failures = [var.workloads]
}
