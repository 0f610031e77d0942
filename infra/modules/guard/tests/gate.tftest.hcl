# The gate: who may ask it, and what it may do.

mock_provider "aws" {
  source = "./tests/mocks"
}

override_resource {
  target = aws_lambda_alias.live["gate"]
  values = { arn = "arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-gate:live" }
}

variables {
  lambda_directory = "./tests/packages/lambda"
  policy           = { version = 1, mode = "enforce" }
  workloads        = null
  gate             = {}
}

run "packages" {
  module {
    source = "./tests/packages"
  }
}

run "it_is_asked_by_those_whose_policies_let_them" {
  assert {
    condition     = output.gate_arn == "arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-gate:live" && length(aws_lambda_permission.gate) == 0
    error_message = "Nobody but the account's own roles."
  }
  assert {
    condition     = [for s in jsondecode(output.gate_invoker_policy).Statement : [s.Effect, s.Action, s.Resource]] == [["Allow", ["lambda:InvokeFunction"], [output.gate_arn]]]
    error_message = "Who may ask may do nothing else."
  }
  assert {
    condition     = aws_lambda_function.this["gate"].reserved_concurrent_executions == -1 && !contains(keys(aws_lambda_function_event_invoke_config.this), "gate")
    error_message = "Nothing is reserved, and whoever asks waits for the answer."
  }
  assert {
    condition = alltrue([
      for action in flatten([for s in jsondecode(aws_iam_role_policy.this["gate"].policy).Statement : s.Action if !contains(["Logs", "Traces", "Keys"], s.Sid)]) :
      can(regex("^(ecr|ecs|inspector2|dynamodb):(BatchGet|Describe|Get|List)|^sns:Publish$|^(kms|logs|xray|sqs|ec2):", action))
    ])
    error_message = "It reads, and tells of refused deployments."
  }
  assert {
    condition     = contains(keys(aws_ecr_pull_time_update_exclusion.this), "gate") && contains(keys(aws_cloudwatch_metric_alarm.this), "gate-unavailable")
    error_message = "Its reads of manifests are no pulls, and an alarm watches it."
  }
}

run "accounts_of_an_organization" {
  variables {
    gate = { organization_id = "o-abcdefghij" }
  }
  assert {
    condition     = [for p in aws_lambda_permission.gate : [p.action, p.principal, p.principal_org_id, p.qualifier]] == [["lambda:InvokeFunction", "*", "o-abcdefghij", "live"]]
    error_message = "Only those of the organization."
  }
}

run "some_repositories" {
  variables {
    repositories = ["team/*"]
  }
  assert {
    condition     = aws_lambda_function.this["gate"].environment[0].variables["ECR_GUARD_REPOSITORIES"] == "team/*"
    error_message = "It says of the others that they are not guarded."
  }
}

run "an_id_that_is_none" {
  command = plan
  variables {
    gate = { organization_id = "*" }
  }
  expect_failures = [var.gate]
}

run "without_it" {
  variables {
    gate = null
  }
  assert {
    condition     = output.gate_arn == null && output.gate_invoker_policy == null && !contains(keys(aws_lambda_function.this), "gate")
    error_message = "There is no gate unless it is asked for."
  }
}

# The fixed costs that the gate adds to a region: docs/operations.md has them ("Costs").
run "what_the_gate_costs" {
  command = plan

  assert {
    condition     = [for name in sort(keys(aws_cloudwatch_metric_alarm.this)) : name if startswith(name, "gate-")] == ["gate-throttles", "gate-unavailable"]
    error_message = jsonencode([for name in sort(keys(aws_cloudwatch_metric_alarm.this)) : name if startswith(name, "gate-")])
  }
  assert {
    condition = join(" ", distinct(flatten([for w in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : [
      for m in try(w.properties.metrics, []) : m[1] if try(m[0] == "ecr-guard" && m[3] == "gate", false)
    ]]))) == "Events Errors"
    error_message = "The gate has two metrics."
  }
}
