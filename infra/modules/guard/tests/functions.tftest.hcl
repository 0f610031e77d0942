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
  target = aws_sqs_queue.this["failed-events"]
  values = { arn = "arn:aws:sqs:us-west-2:123456789012:ecr-guard-failed-events" }
}

variables {
  # The function that keeps the index is in workloads.tftest.hcl.
  workloads        = null
  lambda_directory = "./tests/packages/lambda"
  policy           = { version = 1, mode = "enforce" }
}

run "packages" {
  module {
    source = "./tests/packages"
  }
}

run "functions" {
  assert {
    condition     = toset(keys(aws_lambda_function.this)) == toset(["on-push", "on-replication", "on-scan", "sweep", "worker"])
    error_message = "One Lambda function for each folder of functions/."
  }
  assert {
    condition     = alltrue([for f in aws_lambda_function.this : f.runtime == "provided.al2023" && f.handler == "bootstrap" && f.architectures == tolist(["arm64"])])
    error_message = "A function is an arm64 binary on provided.al2023."
  }
  assert {
    condition     = alltrue([for name, f in aws_lambda_function.this : f.function_name == "ecr-guard-${name}"])
    error_message = "A function is named after the deployment and its folder."
  }
  assert {
    condition     = { for name, f in aws_lambda_function.this : name => f.timeout } == { on-push = 30, on-replication = 30, on-scan = 30, sweep = 300, worker = 300 }
    error_message = "The lease in the ledger is 45 seconds: what an event invokes may not run for more than 30. A worker takes many steps, and bounds each."
  }
  assert {
    condition     = { for name, f in aws_lambda_function.this : name => f.memory_size } == { on-push = 256, on-replication = 256, on-scan = 256, sweep = 256, worker = 512 }
    error_message = "Memory."
  }
  assert {
    condition     = alltrue([for name, f in aws_lambda_function.this : f.source_code_hash == filebase64sha256("./tests/packages/lambda/arm64/${name}/bootstrap.zip")])
    error_message = "New code is deployed when the package changes, and only then."
  }
  assert {
    condition = alltrue([for name in ["on-push", "on-replication", "on-scan"] : aws_lambda_function.this[name].environment[0].variables == tomap({
      ECR_GUARD_POLICY = "sha256:${sha256(output.policy)}"
      ECR_GUARD_TABLE  = "ecr-guard-ledger"
    })])
    error_message = "The environment is the policy and the ledger, and nothing else."
  }
  assert {
    condition = aws_lambda_function.this["sweep"].environment[0].variables == tomap({
      ECR_GUARD_POLICY    = "sha256:${sha256(output.policy)}"
      ECR_GUARD_QUEUE_URL = "https://sqs.us-west-2.amazonaws.com/123456789012/ecr-guard-work"
      ECR_GUARD_TABLE     = "ecr-guard-ledger"
    })
    error_message = "Who leaves work to the workers knows their queue too."
  }
  assert {
    condition = aws_lambda_function.this["worker"].environment[0].variables == tomap({
      ECR_GUARD_FINDINGS_QUEUE_URL = "https://sqs.us-west-2.amazonaws.com/123456789012/ecr-guard-findings"
      ECR_GUARD_POLICY             = "sha256:${sha256(output.policy)}"
      ECR_GUARD_QUEUE_URL          = "https://sqs.us-west-2.amazonaws.com/123456789012/ecr-guard-work"
      ECR_GUARD_TABLE              = "ecr-guard-ledger"
    })
    error_message = "The workers put findings back into their queue."
  }
  assert {
    condition     = alltrue([for f in aws_lambda_function.this : f.kms_key_arn == aws_kms_key.this[0].arn])
    error_message = "The environment is encrypted with the deployment's key."
  }
  assert {
    condition     = alltrue([for f in aws_lambda_function.this : f.layers == null])
    error_message = "A function is its package, and nothing beside it."
  }
  assert {
    condition     = alltrue([for f in aws_lambda_function.this : f.tracing_config[0].mode == "Active"])
    error_message = "X-Ray traces every function."
  }
  assert {
    condition     = alltrue([for name, f in aws_lambda_function.this : f.logging_config[0].log_format == "JSON" && f.logging_config[0].log_group == "/aws/lambda/ecr-guard-${name}"])
    error_message = "Logs are JSON, in the function's own group."
  }
  assert {
    condition     = alltrue([for f in aws_lambda_function.this : f.reserved_concurrent_executions == -1])
    error_message = "No concurrency is reserved unless asked for: new accounts have none to spare."
  }
  assert {
    condition     = alltrue([for f in aws_lambda_function.this : f.code_signing_config_arn == null])
    error_message = "Signatures are not looked at unless asked for."
  }
}

run "failed_events_are_kept" {
  assert {
    condition = alltrue([
      for c in aws_lambda_function_event_invoke_config.this :
      c.maximum_retry_attempts == 2 && c.maximum_event_age_in_seconds == 21600 && c.destination_config[0].on_failure[0].destination == "arn:aws:sqs:us-west-2:123456789012:ecr-guard-failed-events"
    ])
    error_message = "What a function fails on three times goes to the queue failed-events."
  }
  assert {
    condition     = alltrue([for c in aws_lambda_function_event_invoke_config.this : c.qualifier == "live"])
    error_message = "Of the version that is invoked."
  }
  assert {
    condition     = keys(aws_lambda_function_event_invoke_config.this) == ["on-push", "on-replication", "on-scan", "sweep"]
    error_message = "Every function has a failure destination, but the workers: what they fail on stays in their queue."
  }
}

run "logs" {
  assert {
    condition = { for name, group in aws_cloudwatch_log_group.this : name => group.name } == {
      for name, f in aws_lambda_function.this : name => "/aws/lambda/ecr-guard-${name}"
    }
    error_message = "Every function has its log group before it runs."
  }
  assert {
    condition     = alltrue([for group in aws_cloudwatch_log_group.this : group.retention_in_days == 365])
    error_message = "Logs are kept for a year, and not for ever."
  }
  assert {
    condition     = alltrue([for group in aws_cloudwatch_log_group.this : group.kms_key_id == aws_kms_key.this[0].arn])
    error_message = "Logs are encrypted with the deployment's key."
  }
}

run "our_own_reads_do_not_make_an_image_look_used" {
  assert {
    condition = { for name, exclusion in aws_ecr_pull_time_update_exclusion.this : name => exclusion.principal_arn } == {
      on-push        = "arn:aws:iam::123456789012:role/ecr-guard-on-push-us-west-2"
      on-replication = "arn:aws:iam::123456789012:role/ecr-guard-on-replication-us-west-2"
      on-scan        = "arn:aws:iam::123456789012:role/ecr-guard-on-scan-us-west-2"
      worker         = "arn:aws:iam::123456789012:role/ecr-guard-worker-us-west-2"
    }
    error_message = "Roles that may read manifests are excluded from the recording of pull times."
  }
  assert {
    condition     = alltrue([for name, role in aws_iam_role.this : role.name == "ecr-guard-${name}-us-west-2"])
    error_message = "The excluded ARNs are those of the roles."
  }
}

run "what_can_be_chosen" {
  variables {
    name                     = "pipeops-prod-guard"
    architecture             = "x86_64"
    memory_size              = { on-scan = 512 }
    reserved_concurrency     = { on-scan = 10 }
    sweep_interval_minutes   = 15
    log_retention_days       = 731
    permissions_boundary_arn = "arn:aws:iam::123456789012:policy/boundary"
    code_signing             = { profile_version_arns = ["arn:aws:signer:us-west-2:123456789012:/signing-profiles/ecr_guard/abcdefghij"] }
  }

  assert {
    condition     = aws_lambda_function.this["on-scan"].function_name == "pipeops-prod-guard-on-scan"
    error_message = "Names begin with the deployment's."
  }
  assert {
    condition     = aws_lambda_function.this["on-scan"].architectures == tolist(["x86_64"]) && aws_lambda_function.this["on-scan"].memory_size == 512 && aws_lambda_function.this["on-push"].memory_size == 256
    error_message = "Architecture and memory."
  }
  assert {
    condition     = aws_lambda_function.this["on-scan"].reserved_concurrent_executions == 10 && aws_lambda_function.this["on-push"].reserved_concurrent_executions == -1
    error_message = "Concurrency is reserved for the function that is named."
  }
  assert {
    condition     = alltrue([for group in aws_cloudwatch_log_group.this : group.retention_in_days == 731])
    error_message = "Retention of logs."
  }
  assert {
    condition     = alltrue([for role in concat(values(aws_iam_role.this), [aws_iam_role.schedule]) : role.permissions_boundary == "arn:aws:iam::123456789012:policy/boundary"])
    error_message = "Permissions boundary of the roles."
  }
  assert {
    condition     = aws_lambda_code_signing_config.this[0].policies[0].untrusted_artifact_on_deployment == "Enforce"
    error_message = "Unsigned code is refused, and not only logged."
  }
  assert {
    condition     = alltrue([for f in aws_lambda_function.this : f.code_signing_config_arn == aws_lambda_code_signing_config.this[0].arn])
    error_message = "Every function has the code signing configuration."
  }
  assert {
    condition     = aws_scheduler_schedule.sweep.schedule_expression == "rate(15 minutes)"
    error_message = "The interval of sweeps."
  }
}

run "versions" {
  assert {
    condition     = alltrue([for f in aws_lambda_function.this : f.publish]) && { for name, alias in aws_lambda_alias.live : name => alias.name } == { for name, f in aws_lambda_function.this : name => "live" }
    error_message = "Every change is a version, and what is invoked has a name."
  }
  assert {
    condition     = alltrue([for name, alias in aws_lambda_alias.live : alias.function_version == aws_lambda_function.this[name].version && alias.function_name == "ecr-guard-${name}"])
    error_message = "It is the last."
  }
}

run "back_to_a_version_from_before" {
  variables {
    function_versions = { on-scan = "12" }
  }

  assert {
    condition     = aws_lambda_alias.live["on-scan"].function_version == "12" && aws_lambda_alias.live["on-push"].function_version == aws_lambda_function.this["on-push"].version
    error_message = "One function goes back, the others do not."
  }
}

run "versions_that_are_none" {
  command = plan

  variables {
    function_versions = { on-scan = "$LATEST" }
  }

  expect_failures = [var.function_versions]
}

run "a_version_of_a_function_that_does_not_exist" {
  command = plan

  variables {
    function_versions = { on-scam = "12" }
  }

  expect_failures = [aws_lambda_alias.live]
}

run "packages_in_s3" {
  variables {
    lambda_directory = null
    lambda_s3        = { bucket = "pipeops-releases", prefix = "ecr-guard/1.4.0/", object_versions = { on-scan = "abc" } }
    architecture     = "x86_64"
  }

  assert {
    condition = { for name, f in aws_lambda_function.this : name => [f.s3_bucket, f.s3_key] } == {
      for name, f in aws_lambda_function.this : name => ["pipeops-releases", "ecr-guard/1.4.0/x86_64/${name}/bootstrap.zip"]
    }
    error_message = "The layout is that of a release."
  }
  assert {
    condition     = aws_lambda_function.this["on-scan"].s3_object_version == "abc" && aws_lambda_function.this["on-push"].s3_object_version == null
    error_message = "The version of an object, where one is said."
  }
  assert {
    condition     = alltrue([for f in aws_lambda_function.this : f.filename == null])
    error_message = "No file is read: the plan may be applied anywhere."
  }
}

run "packages_in_two_places" {
  command = plan

  variables {
    lambda_s3 = { bucket = "pipeops-releases" }
  }

  expect_failures = [var.lambda_directory]
}

run "a_prefix_that_is_no_folder" {
  command = plan

  variables {
    lambda_directory = null
    lambda_s3        = { bucket = "pipeops-releases", prefix = "ecr-guard" }
  }

  expect_failures = [var.lambda_s3]
}

# As if x86_64 had been built into the folder for arm64, and as if nobody had said what it is.
run "packages_that_are_wrong" {
  module {
    source = "./tests/packages"
  }

  variables {
    directory = "wrong"
    notes     = { arm64 = "x86_64", x86_64 = null }
  }
}

run "a_package_of_another_architecture" {
  command = plan

  variables {
    lambda_directory = "./tests/packages/wrong"
  }

  expect_failures = [aws_lambda_function.this]
}

run "a_package_of_which_nobody_knows_what_it_is" {
  command = plan

  variables {
    lambda_directory = "./tests/packages/wrong"
    architecture     = "x86_64"
  }

  expect_failures = [aws_lambda_function.this]
}

run "no_vpc" {
  assert {
    condition     = alltrue([for f in aws_lambda_function.this : length(f.vpc_config) == 0])
    error_message = "In none unless asked for."
  }
}

run "in_a_vpc" {
  variables {
    vpc_config = { subnet_ids = ["subnet-0123456789abcdef0"], security_group_ids = ["sg-0123456789abcdef0"] }
  }

  assert {
    condition = alltrue([for f in aws_lambda_function.this :
      f.vpc_config[0].subnet_ids == toset(["subnet-0123456789abcdef0"]) && f.vpc_config[0].security_group_ids == toset(["sg-0123456789abcdef0"])
    ])
    error_message = "Every function."
  }
  assert {
    condition     = alltrue([for policy in aws_iam_role_policy.this : length([for s in jsondecode(policy.policy).Statement : s if s.Sid == "Network"]) == 1])
    error_message = "Lambda may make its network interfaces in the name of the role."
  }
}

run "a_missing_package_is_named" {
  command = plan

  variables {
    lambda_directory = "./tests/packages/nowhere"
  }

  expect_failures = [aws_lambda_function.this]
}

run "concurrency_of_a_function_that_does_not_exist" {
  command = plan

  variables {
    reserved_concurrency = { on-scam = 10 }
  }

  expect_failures = [aws_lambda_function.this]
}

run "memory_of_a_function_that_does_not_exist" {
  command = plan

  variables {
    memory_size = { wroker = 1024 }
  }

  expect_failures = [aws_lambda_function.this]
}

run "fewer_workers_than_batches" {
  command = plan

  variables {
    reserved_concurrency = { worker = 3 }
  }

  expect_failures = [aws_lambda_function.this]
}

run "values_that_cannot_work" {
  command = plan

  variables {
    name               = "Guard"
    architecture       = "riscv64"
    memory_size        = { worker = 64 }
    log_level          = "WARN"
    log_retention_days = 0
    # Images whose hour has no sweep would never have their turn.
    sweep_interval_minutes = 120
  }

  expect_failures = [var.name, var.architecture, var.memory_size, var.log_level, var.log_retention_days, var.sweep_interval_minutes]
}
