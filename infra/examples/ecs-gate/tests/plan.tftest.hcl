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
  target = module.guard.data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

override_resource {
  target          = module.guard.aws_lambda_alias.live["gate"]
  override_during = plan
  values          = { arn = "arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-gate:live" }
}

variables {
  lambda_directory   = "../../modules/guard/tests/packages/lambda"
  image              = "123456789012.dkr.ecr.us-west-2.amazonaws.com/api@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
  cluster_arn        = "arn:aws:ecs:us-west-2:123456789012:cluster/prod"
  execution_role_arn = "arn:aws:iam::123456789012:role/api-execution"
  subnet_ids         = ["subnet-0123456789abcdef0"]
  security_group_ids = ["sg-0123456789abcdef0"]
}

run "packages" {
  module {
    source = "../../modules/guard/tests/packages"
  }
}

run "as_it_stands" {
  command = plan

  assert {
    condition     = [for hook in aws_ecs_service.api.deployment_configuration[0].lifecycle_hook : [hook.hook_target_arn, hook.lifecycle_stages]] == [["arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-gate:live", tolist(["PRE_SCALE_UP", "POST_SCALE_UP"])]]
    error_message = "ECS asks the gate in the two stages that it answers."
  }
  assert {
    condition     = jsondecode(output.hook.details) == { give_up_minutes = 10, on_unavailable = "CONTINUE" }
    error_message = "A wait ends long before ECS's own timeout."
  }
  assert {
    condition     = [for s in jsondecode(output.hook_policy).Statement : [s.Effect, s.Action, s.Resource]] == [["Allow", ["lambda:InvokeFunction"], [output.gate_arn]]]
    error_message = output.hook_policy
  }
  assert {
    condition     = [for s in jsondecode(aws_iam_role.hook.assume_role_policy).Statement : s.Principal] == [{ Service = "ecs.amazonaws.com" }]
    error_message = "Only ECS takes the role."
  }
}
