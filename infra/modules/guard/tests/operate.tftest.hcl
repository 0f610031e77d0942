# Releases by people: who may ask for them, and what the function may do.

mock_provider "aws" {
  source = "./tests/mocks"
}

override_resource {
  target = aws_lambda_alias.live["operate"]
  values = { arn = "arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-operate:live" }
}

variables {
  lambda_directory = "./tests/packages/lambda"
  policy           = { version = 1, mode = "enforce" }
  workloads        = null
  operate          = {}
}

run "packages" {
  module {
    source = "./tests/packages"
  }
}

run "it_is_asked_by_those_whose_policies_let_them" {
  assert {
    condition     = output.operate_arn == "arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-operate:live" && length(aws_lambda_permission.gate) == 0
    error_message = "Nobody but the account's own roles."
  }
  assert {
    condition     = [for s in jsondecode(output.operate_invoker_policy).Statement : [s.Effect, s.Action, s.Resource]] == [["Allow", ["lambda:InvokeFunction"], [output.operate_arn]]]
    error_message = "Who may ask may do nothing else."
  }
  assert {
    condition     = !contains(keys(aws_lambda_function_event_invoke_config.this), "operate") && contains(keys(aws_cloudwatch_metric_alarm.this), "operate-unavailable")
    error_message = "The person waits for the answer, and an alarm watches it."
  }
}

run "in_report_mode_it_changes_nothing" {
  variables {
    policy = { version = 1, mode = "report" }
  }
  assert {
    condition = alltrue([
      for action in flatten([for s in jsondecode(aws_iam_role_policy.this["operate"].policy).Statement : s.Action if startswith(s.Sid, "Repositories")]) :
      can(regex("^ecr:(BatchGet|Describe|Get)", action))
    ])
    error_message = "Nothing that is blocked can be released there."
  }
}

run "some_repositories" {
  variables {
    repositories = ["team/*"]
  }
  assert {
    condition     = aws_lambda_function.this["operate"].environment[0].variables["ECR_GUARD_REPOSITORIES"] == "team/*"
    error_message = "It releases none of the others."
  }
}

run "without_it" {
  variables {
    operate = null
  }
  assert {
    condition     = output.operate_arn == null && output.operate_invoker_policy == null && !contains(keys(aws_lambda_function.this), "operate")
    error_message = "There is no such function unless it is asked for."
  }
}

# The fixed costs that it adds to a region: docs/operations.md has them ("Costs").
run "what_it_costs" {
  command = plan

  assert {
    condition     = [for name in sort(keys(aws_cloudwatch_metric_alarm.this)) : name if startswith(name, "operate-")] == ["operate-throttles", "operate-unavailable"]
    error_message = jsonencode([for name in sort(keys(aws_cloudwatch_metric_alarm.this)) : name if startswith(name, "operate-")])
  }
}
