# The whole deployment, planned as AWS's provider plans it. No account is needed.

provider "aws" {
  region                      = "us-west-2"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true

  default_tags {
    tags = { Project = "pipeops" }
  }
}

override_data {
  target = module.guard.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.guard_elsewhere.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.ecr.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

variables {
  project_name     = "pipeops"
  environment      = "prod"
  aws_region       = "us-west-2"
  lambda_directory = "./modules/guard/tests/packages/lambda"
}

run "packages" {
  module {
    source = "./modules/guard/tests/packages"
  }
}

run "registry_and_guard_in_two_regions" {
  command = plan

  variables {
    ecr_repository_names = ["frontend", "backend", "api", "worker"]
    enable_replication   = true
    dr_region            = "us-east-1"
    routes               = { default = [{ protocol = "email", endpoint = "security@example.com" }] }
  }

  assert {
    condition     = keys(output.repository_urls) == ["api", "backend", "frontend", "worker"]
    error_message = "The repositories."
  }
  assert {
    condition     = output.regions == ["us-west-2", "us-east-1"]
    error_message = "Where images are replicated to, they are guarded."
  }
  assert {
    condition = { for region, policy in output.policies : region => jsondecode(policy).routes.default } == {
      us-east-1 = "arn:aws:sns:us-east-1:123456789012:ecr-guard-alerts"
      us-west-2 = "arn:aws:sns:us-west-2:123456789012:ecr-guard-alerts"
    }
    error_message = "In each region, alerts go to the topics there."
  }
  assert {
    condition     = output.function_names == { for name in ["on-push", "on-replication", "on-scan", "sweep", "worker", "workloads"] : name => "ecr-guard-${name}" }
    error_message = "The functions."
  }
  assert {
    condition     = output.table_name == "ecr-guard-ledger" && module.guard_elsewhere["us-east-1"].table_name == "ecr-guard-ledger"
    error_message = "One ledger for both regions."
  }
  assert {
    condition     = keys(module.guard.ledgers) == ["us-east-1"]
    error_message = "The ledger has a replica in the other region."
  }
  assert {
    condition     = { for region, guard in merge({ us-west-2 = module.guard }, module.guard_elsewhere) : region => join(" ", guard.forwards_to) } == { us-east-1 = "us-west-2", us-west-2 = "us-east-1" }
    error_message = "Each region tells the other."
  }
  assert {
    condition = { for region, statements in output.kms_key_statements : region => join(" ", [for s in jsondecode(statements) : s.Principal.Service if s.Sid == "Logs"]) } == {
      us-east-1 = "logs.us-east-1.amazonaws.com", us-west-2 = "logs.us-west-2.amazonaws.com"
    }
    error_message = "What the policies of keys need is said for each region: ${jsonencode(output.kms_key_statements)}"
  }
  assert {
    condition     = output.dashboards == { us-east-1 = "ecr-guard-us-east-1", us-west-2 = "ecr-guard-us-west-2" }
    error_message = "A dashboard for each region."
  }
}

run "repositories_that_are_there_already" {
  command = plan

  variables {
    guarded_repositories = ["team/*"]
  }

  assert {
    condition     = length(module.ecr) == 0 && output.repository_urls == {}
    error_message = "No repository is created."
  }
  assert {
    condition     = output.regions == ["us-west-2"] && length(module.guard.ledgers) == 0
    error_message = "One region, no replica."
  }
  assert {
    condition     = jsondecode(output.policies["us-west-2"]).mode == "report"
    error_message = "Without a policy nothing is changed."
  }
}

run "guarded_where_another_stack_replicates_to" {
  command = plan

  variables {
    guard_regions = ["eu-west-1", "us-east-1"]
  }

  assert {
    condition     = output.regions == ["us-west-2", "eu-west-1", "us-east-1"]
    error_message = "The regions that are named."
  }
}

# Every variable with a value that is not its default: the modules' tests check the effect of each, and tests/infra/test_root.py
# that it gets there. Here the values plan, together and in both regions.
run "everything_is_said" {
  command = plan

  variables {
    tags                                   = { Team = "platform" }
    ecr_repository_names                   = ["api", "cache"]
    name_suffix                            = "-eu"
    dr_region                              = "us-east-1"
    image_tag_mutability                   = "IMMUTABLE_WITH_EXCLUSION"
    image_tag_mutability_exclusion_filters = ["sha256-*"]
    scan_on_push                           = false
    lifecycle_keep_count                   = 10
    lifecycle_expire_untagged_days         = 3
    lifecycle_expire_tagged                = { "pr-*" = 14, "pr-keep-*" = 90 }
    lifecycle_expire_order                 = ["pr-keep-*"]
    repository_overrides                   = { cache = { image_tag_mutability = "MUTABLE" } }
    create_kms_keys                        = false
    kms_key_arn                            = "arn:aws:kms:us-west-2:123456789012:key/central"
    replica_kms_key_arns                   = { us-east-1 = "arn:aws:kms:us-east-1:123456789012:key/central" }
    kms_deletion_window_days               = 14
    registry_scan_type                     = "ENHANCED"
    environment                            = "stage"
    enable_replication                     = true
    replication_regions                    = ["us-east-1"]
    allow_replication_outside_prod         = true
    manage_replication_configuration       = false
    create_replica_repositories            = false
    replica_template_prefixes              = ["pipeops-stage"]
    create_github_actions_policy           = true
    eks_node_role_arn                      = "arn:aws:iam::123456789012:role/node"
    attach_eks_node_pull_policy            = true
    pull_principal_arns                    = ["arn:aws:iam::210987654321:root"]
    pull_organization_ids                  = ["o-a1b2c3d4e5"]
    lambda_function_arns                   = ["arn:aws:lambda:us-west-2:123456789012:function:*"]
    pull_upstream_images                   = true
    repository_policy_statements           = [{ Sid = "Audit", Effect = "Allow", Principal = { AWS = "arn:aws:iam::210987654321:root" }, Action = "ecr:DescribeImages" }]
    deletion_protection                    = false
    force_delete                           = true
    image_removal_principal_arns           = ["arn:aws:iam::123456789012:role/admin"]
    permissions_boundary_arn               = "arn:aws:iam::123456789012:policy/boundary"
    github_repositories                    = [{ owner = "pipeops", name = "api", owner_id = "1", repository_id = "2", branches = ["main"] }]
    github_subjects                        = ["repository_owner:pipeops:environment:prod"]
    github_issuer                          = "token.actions.githubusercontent.com/pipeops"
    github_subject_formats                 = ["id"]
    create_github_oidc_provider            = true
    github_asks_gate                       = true
    guard_name                             = "guard"
    guard_regions                          = ["us-east-1"]
    policy_file                            = "./examples/prod-with-dr/policy.json"
    guarded_repositories                   = ["pipeops-stage-*"]
    routes                                 = { default = [{ name = "security", protocol = "email", endpoint = "security@example.com" }], platform = [] }
    alarm_subscriptions                    = [{ name = "oncall", protocol = "email", endpoint = "oncall@example.com" }]
    lambda_s3                              = { us-east-1 = { bucket = "releases", prefix = "1.0.0/" } }
    architecture                           = "x86_64"
    reserved_concurrency                   = { on-scan = 10 }
    memory_size                            = { on-scan = 512 }
    sweep_interval_minutes                 = 15
    event_sources                          = ["aws.ecr", "aws.inspector2", "ecr-guard.smoke"]
    workloads                              = { functions = ["app-*"], external_id = "ecr-guard" }
    gate                                   = { organization_id = "o-abcdefghij" }
    operate                                = {}
    log_level                              = "DEBUG"
    outcome_metrics                        = true
    log_retention_days                     = 30
    ledger_deletion_protection             = false
    function_versions                      = { us-east-1 = { on-scan = "12" } }
    vpc_config                             = { us-west-2 = { subnet_ids = ["subnet-0123456789abcdef0"], security_group_ids = ["sg-0123456789abcdef0"] } }
    guard_kms_key_arns                     = { us-east-1 = "arn:aws:kms:us-east-1:123456789012:key/44444444-2222-3333-4444-555555555555" }
    code_signing                           = { us-west-2 = { profile_version_arns = ["arn:aws:signer:us-west-2:123456789012:/signing-profiles/ecr_guard/abcdefghij"] } }
  }

  assert {
    condition     = output.regions == ["us-west-2", "us-east-1"] && output.architecture == "x86_64"
    error_message = "Two regions."
  }
  assert {
    condition     = { for region, policy in output.policies : region => jsondecode(policy).mode } == { us-east-1 = "enforce", us-west-2 = "enforce" }
    error_message = "The policy is that of the file, in both."
  }
  assert {
    condition     = output.policy_sha256 == { for region, policy in output.policies : region => sha256(policy) } && output.policy_sha256["us-east-1"] != output.policy_sha256["us-west-2"]
    error_message = "Each region has an item of its own."
  }
  assert {
    condition     = module.guard_elsewhere["us-east-1"].kms_key_arn == "arn:aws:kms:us-east-1:123456789012:key/44444444-2222-3333-4444-555555555555" && module.guard.ledgers["us-east-1"].kms_key_arn == module.guard_elsewhere["us-east-1"].kms_key_arn
    error_message = "The key that is given is that of the guard and of the ledger's replica there."
  }
  assert {
    condition     = output.function_names["on-scan"] == "guard-on-scan" && output.name == "guard"
    error_message = "Names."
  }
  assert {
    condition = toset([for statement in jsondecode(module.ecr[0].repository_policy).Statement : statement.Condition.ArnNotEquals["aws:PrincipalArn"] if statement.Sid == "KeepImages"][0]) == toset(concat(
      ["arn:aws:iam::123456789012:role/admin"],
      [for pair in setproduct(["on-push", "on-replication", "on-scan", "sweep", "worker", "workloads", "gate", "operate"], ["us-west-2", "us-east-1"]) : "arn:aws:iam::123456789012:role/guard-${pair[0]}-${pair[1]}"]
    ))
    error_message = module.ecr[0].repository_policy
  }
  assert {
    condition     = module.ecr[0].repository_names == { api = "pipeops-stage-api", cache = "pipeops-stage-cache" } && module.ecr[0].kms_key_arn == "arn:aws:kms:us-west-2:123456789012:key/central"
    error_message = "The repositories."
  }
}

run "no_gate_to_ask" {
  command = plan

  variables {
    github_asks_gate = true
  }

  expect_failures = [var.github_asks_gate]
}

run "its_own_region_among_others" {
  command = plan

  variables {
    guard_regions = ["us-west-2", "us-east-1"]
  }

  expect_failures = [var.guard_regions]
}

run "a_region_twice" {
  command = plan

  variables {
    guard_regions = ["us-east-1", "us-east-1"]
  }

  expect_failures = [var.guard_regions]
}

run "settings_of_a_region_that_is_not_guarded" {
  command = plan

  variables {
    lambda_s3          = { eu-west-1 = { bucket = "releases" } }
    function_versions  = { eu-west-1 = { on-scan = "12" } }
    vpc_config         = { eu-west-1 = { subnet_ids = ["subnet-0123456789abcdef0"], security_group_ids = ["sg-0123456789abcdef0"] } }
    guard_kms_key_arns = { eu-west-1 = "arn:aws:kms:eu-west-1:123456789012:key/44444444-2222-3333-4444-555555555555" }
    code_signing       = { eu-west-1 = { profile_version_arns = ["arn:aws:signer:eu-west-1:123456789012:/signing-profiles/ecr_guard/abcdefghij"] } }
  }

  expect_failures = [var.lambda_s3, var.function_versions, var.vpc_config, var.guard_kms_key_arns, var.code_signing]
}
