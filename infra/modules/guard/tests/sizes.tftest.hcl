# The limits of AWS are known before anything is made.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  lambda_directory = "./tests/packages/lambda"
  policy           = { version = 1, mode = "enforce" }
}

run "packages" {
  module {
    source = "./tests/packages"
  }
}

run "what_is_said_of_sizes_is_true" {
  assert {
    condition     = alltrue([for name, size in local.role_policy_sizes : length(aws_iam_role_policy.this[name].policy) <= size])
    error_message = jsonencode({ for name, size in local.role_policy_sizes : name => [length(aws_iam_role_policy.this[name].policy), size] })
  }
  assert {
    condition     = alltrue([for name, size in local.role_policy_sizes : size <= 10240])
    error_message = jsonencode(local.role_policy_sizes)
  }
}

run "sixteen_names_and_ten_routes" {
  variables {
    repositories = [for n in range(16) : "team/a-service-${n}"]
    routes       = merge({ default = [] }, { for n in range(9) : "team-${n}" => [] })
  }

  assert {
    condition     = alltrue([for rule in aws_cloudwatch_event_rule.this : length(rule.event_pattern) <= 2048])
    error_message = jsonencode({ for name, rule in aws_cloudwatch_event_rule.this : name => length(rule.event_pattern) })
  }
  assert {
    condition     = alltrue([for name, size in local.role_policy_sizes : length(aws_iam_role_policy.this[name].policy) <= size && size <= 10240])
    error_message = jsonencode({ for name, size in local.role_policy_sizes : name => [length(aws_iam_role_policy.this[name].policy), size] })
  }
}

run "more_names_than_an_event_pattern_takes" {
  command = plan

  variables {
    repositories  = [for n in range(40) : "team/a-service-${n}"]
    other_regions = ["us-east-1", "eu-west-1"]
  }

  assert {
    condition     = length(aws_cloudwatch_event_rule.this) > 4 && length(aws_cloudwatch_event_rule.forward) == 1
    error_message = jsonencode(keys(aws_cloudwatch_event_rule.this))
  }
  assert {
    condition     = alltrue([for rule in concat(values(aws_cloudwatch_event_rule.this), aws_cloudwatch_event_rule.forward) : length(rule.event_pattern) <= 2048])
    error_message = jsonencode({ for name, rule in aws_cloudwatch_event_rule.this : name => length(rule.event_pattern) })
  }
  assert {
    condition = {
      for function in ["on-push", "on-replication", "on-scan", "worker"] : function => sort(flatten([
        for name, rule in aws_cloudwatch_event_rule.this :
        distinct(flatten(regexall("(team/a-service-[0-9]+)", rule.event_pattern))) if startswith(name, function)
      ]))
    } == { for function in ["on-push", "on-replication", "on-scan", "worker"] : function => sort([for n in range(40) : "team/a-service-${n}"]) }
    error_message = "Each repository is in one rule of each function."
  }
  assert {
    condition     = { for name, t in aws_cloudwatch_event_target.this : name => t.rule } == { for name, rule in aws_cloudwatch_event_rule.this : name => rule.name }
    error_message = "Each rule leads somewhere."
  }
  assert {
    condition     = keys(aws_lambda_permission.events) == [for name in keys(aws_cloudwatch_event_rule.this) : name if !startswith(name, "worker")]
    error_message = "Each rule may invoke its function."
  }
  assert {
    condition = toset(flatten([for s in jsondecode(aws_sqs_queue_policy.this["findings"].policy).Statement : s.Condition.ArnEquals["aws:SourceArn"] if s.Sid == "Sender"])) == toset([
      for name in keys(aws_cloudwatch_event_rule.this) : "arn:aws:events:us-west-2:123456789012:rule/ecr-guard-${name}" if startswith(name, "worker")
    ])
    error_message = "Each rule of findings may send them."
  }
  assert {
    condition     = alltrue([for name, rule in aws_cloudwatch_event_rule.this : anytrue([for alarm in aws_cloudwatch_metric_alarm.this : lookup(alarm.dimensions, "RuleName", "") == rule.name])])
    error_message = "An alarm watches each rule."
  }
}

run "many_names_are_forwarded_by_several_rules" {
  command = plan

  variables {
    repositories  = [for n in range(30) : "a-team-with-a-long-name/and-a-service-with-one-${n}"]
    other_regions = ["us-east-1", "eu-west-1"]
    policy        = { version = 1, mode = "report" }
  }

  assert {
    condition     = length(aws_cloudwatch_event_rule.forward) == 2 && alltrue([for rule in aws_cloudwatch_event_rule.forward : length(rule.event_pattern) <= 2048])
    error_message = jsonencode([for rule in aws_cloudwatch_event_rule.forward : length(rule.event_pattern)])
  }
  assert {
    condition     = toset([for t in aws_cloudwatch_event_target.forward : "${t.rule} ${t.target_id}"]) == toset(flatten([for rule in ["ecr-guard-forward", "ecr-guard-forward-2"] : ["${rule} us-east-1", "${rule} eu-west-1"]]))
    error_message = jsonencode([for t in aws_cloudwatch_event_target.forward : "${t.rule} ${t.target_id}"])
  }
  assert {
    condition     = alltrue([for rule in aws_cloudwatch_event_rule.forward : jsondecode(rule.event_pattern).region == ["us-west-2"]])
    error_message = "What was forwarded to here does not go round."
  }
}

run "more_names_than_all_rules_take" {
  command = plan

  variables {
    repositories = [for n in range(300) : "a-team-with-a-long-name/and-a-service-with-one-${n}"]
  }

  expect_failures = [aws_cloudwatch_event_rule.this, aws_iam_role_policy.this]
}

run "more_routes_than_the_role_of_a_function_takes" {
  command = plan

  variables {
    routes = merge({ default = [] }, { for n in range(110) : "a-team-with-a-long-name-${n}" => [] })
  }

  expect_failures = [aws_iam_role_policy.this]
}
