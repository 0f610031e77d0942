mock_provider "aws" {
  alias  = "one"
  source = "./tests/mocks"

  mock_data "aws_caller_identity" {
    defaults = { account_id = "111111111111" }
  }
}

mock_provider "aws" {
  alias  = "two"
  source = "./tests/mocks"

  mock_data "aws_caller_identity" {
    defaults = { account_id = "222222222222" }
  }
}

run "packages" {
  module {
    source = "./tests/packages"
  }
}

run "each_account_gets_its_own_policy" {
  module {
    source = "./tests/fixtures/two-accounts"
  }

  providers = {
    aws.one = aws.one
    aws.two = aws.two
  }

  variables {
    lambda_directory = "./tests/packages/lambda"
  }

  assert {
    condition     = { for name, policy in output.policies : name => jsondecode(policy).mode } == { one = "report", two = "enforce" }
    error_message = "Each its mode."
  }
  assert {
    condition = { for name, policy in output.policies : name => jsondecode(policy).routes.default } == {
      one = "arn:aws:sns:us-west-2:111111111111:ecr-guard-alerts"
      two = "arn:aws:sns:us-west-2:222222222222:ecr-guard-alerts"
    }
    error_message = "Each the topics of its account."
  }
  assert {
    condition     = output.hashes.one != output.hashes.two
    error_message = "Two documents, two names."
  }
}
