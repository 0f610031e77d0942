# The example plans as it stands: the ARN of the nodes' role is not known yet. No account is needed.

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

run "as_it_stands" {
  command = plan

  assert {
    condition     = module.ecr.repository_names == { for name in ["frontend", "backend", "api", "worker"] : name => "pipeops-prod-${name}" }
    error_message = "four repositories"
  }
  assert {
    condition     = keys(output.repository_urls) == ["api", "backend", "frontend", "worker"]
    error_message = "an address for each"
  }
  assert {
    condition     = [for destination in module.ecr.replication_rules[0].destinations : destination.region] == ["us-east-1"]
    error_message = "copies in us-east-1"
  }
  assert {
    condition     = output.docker_login_command == "aws ecr get-login-password --region us-west-2 | docker login --username AWS --password-stdin 123456789012.dkr.ecr.us-west-2.amazonaws.com"
    error_message = output.docker_login_command
  }
}
