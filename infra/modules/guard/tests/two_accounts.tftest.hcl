# Two guards in one root: the provider plans as it does for an account, and which account it is, is said here.

override_data {
  target = module.one.data.aws_caller_identity.current
  values = { account_id = "111111111111" }
}

override_data {
  target = module.two.data.aws_caller_identity.current
  values = { account_id = "222222222222" }
}

run "packages" {
  module {
    source = "./tests/packages"
  }
}

run "each_account_gets_its_own_policy" {
  command = plan

  module {
    source = "./tests/fixtures/two-accounts"
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
