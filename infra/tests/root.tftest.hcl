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
    condition     = output.function_names == { for name in ["on-push", "on-replication", "on-scan", "sweep", "worker"] : name => "ecr-guard-${name}" }
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
