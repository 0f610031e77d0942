# The example plans as it stands. No account is needed.

provider "aws" {
  region                      = "us-west-2"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

override_data {
  target = module.ecr.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.guard.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_data {
  target = module.guard_dr.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

variables {
  lambda_directory = "../../modules/guard/tests/packages/lambda"
}

run "packages" {
  module {
    source = "../../modules/guard/tests/packages"
  }
}

run "as_it_stands" {
  command = plan

  assert {
    condition     = keys(output.repository_urls) == ["api", "backend", "frontend", "worker"]
    error_message = "The repositories."
  }
  assert {
    condition     = { for region, policy in output.policies : region => jsondecode(policy).mode } == { us-east-1 = "enforce", us-west-2 = "enforce" }
    error_message = "Both regions enforce the policy."
  }
  assert {
    condition     = jsondecode(output.policies["us-east-1"]).routes == { default = "arn:aws:sns:us-east-1:123456789012:ecr-guard-alerts", platform = "arn:aws:sns:us-east-1:123456789012:ecr-guard-alerts-platform" }
    error_message = "Alerts of a region go to its own topics."
  }
  assert {
    condition     = keys(module.guard.ledgers) == ["us-east-1"] && module.guard_dr.table_name == "ecr-guard-ledger"
    error_message = "One ledger, with a replica."
  }
  assert {
    condition     = join(" ", module.guard.forwards_to) == "us-east-1" && join(" ", module.guard_dr.forwards_to) == "us-west-2"
    error_message = "Each region tells the other."
  }
}
