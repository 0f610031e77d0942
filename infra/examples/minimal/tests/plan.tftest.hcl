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
    condition     = keys(output.repository_urls) == ["api"]
    error_message = "One repository."
  }
  assert {
    condition     = jsondecode(output.policies["us-west-2"]) == { version = 1, mode = "report", block = { workloads = {} }, routes = { default = "arn:aws:sns:us-west-2:123456789012:ecr-guard-alerts" } }
    error_message = "Report mode, and one topic."
  }
}
