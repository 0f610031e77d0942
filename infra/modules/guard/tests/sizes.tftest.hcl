# What AWS takes is known before anything is made.

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
    repositories = [for n in range(30) : "team/a-service-${n}"]
  }

  expect_failures = [aws_cloudwatch_event_rule.this]
}

run "more_routes_than_the_role_of_a_function_takes" {
  command = plan

  variables {
    routes = merge({ default = [] }, { for n in range(80) : "a-team-with-a-long-name-${n}" => [] })
  }

  expect_failures = [aws_iam_role_policy.this]
}
