# The example plans as it stands. No account is needed.

provider "aws" {
  region                      = "eu-central-1"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
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
    condition     = jsondecode(output.policies["eu-central-1"]).mode == "report"
    error_message = "It begins in report mode."
  }
  assert {
    condition     = keys(output.topic_arns) == ["default"]
    error_message = "One route."
  }
}
