# The role for workflows on GitHub: exact subjects, in both forms.

provider "aws" {
  region                      = "us-west-2"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

override_data {
  target = data.aws_caller_identity.current
  values = { account_id = "123456789012" }
}

variables {
  project_name                 = "pipeops"
  environment                  = "prod"
  ecr_repository_names         = ["api"]
  create_github_actions_policy = true
  github_oidc_provider_arn     = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
  github_repositories = [
    { owner = "pipeops", name = "api", owner_id = "1001", repository_id = "2002", branches = ["main"], environments = ["production"] },
    { owner = "pipeops", name = "old", branches = ["release/1"], tags = ["v1.2.3"] },
  ]
}

run "trust" {
  command = plan

  assert {
    condition = jsondecode(aws_iam_role.github_actions_push[0].assume_role_policy).Statement == [{
      Sid       = "Workflows"
      Effect    = "Allow"
      Principal = { Federated = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" }
      Action    = "sts:AssumeRoleWithWebIdentity"
      Condition = { StringEquals = {
        "token.actions.githubusercontent.com:aud" = "sts.amazonaws.com"
        "token.actions.githubusercontent.com:sub" = [
          "repo:pipeops/api:environment:production",
          "repo:pipeops/api:ref:refs/heads/main",
          "repo:pipeops/old:ref:refs/heads/release/1",
          "repo:pipeops/old:ref:refs/tags/v1.2.3",
          "repo:pipeops@1001/api@2002:environment:production",
          "repo:pipeops@1001/api@2002:ref:refs/heads/main",
        ]
      } }
    }]
    error_message = aws_iam_role.github_actions_push[0].assume_role_policy
  }
  assert {
    condition     = aws_iam_role.github_actions_push[0].name == "pipeops-prod-ecr-github" && aws_iam_role.github_actions_push[0].max_session_duration == 3600
    error_message = "its name, and an hour at most"
  }
  assert {
    condition     = aws_iam_role_policy_attachment.github_actions_push[0].role == "pipeops-prod-ecr-github" && length(aws_iam_openid_connect_provider.github) == 0
    error_message = "it may push; the provider is there already"
  }
}

run "no_gate_unless_it_is_named" {
  command = plan

  assert {
    condition     = length(aws_iam_role_policy.github_actions_gate) == 0
    error_message = "nobody is asked"
  }
}

run "the_gate" {
  command = plan

  variables {
    github_gate_arns = ["arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-gate:live"]
  }

  assert {
    condition = jsondecode(aws_iam_role_policy.github_actions_gate[0].policy).Statement == [{
      Sid      = "AskTheGate"
      Effect   = "Allow"
      Action   = ["lambda:InvokeFunction"]
      Resource = ["arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-gate:live"]
    }]
    error_message = aws_iam_role_policy.github_actions_gate[0].policy
  }
  assert {
    condition     = aws_iam_role_policy.github_actions_gate[0].role == "pipeops-prod-ecr-github"
    error_message = "the role that pushes asks"
  }
}

run "no_wildcard_in_the_gate" {
  command = plan
  variables {
    github_gate_arns = ["arn:aws:lambda:us-west-2:123456789012:function:*"]
  }
  expect_failures = [var.github_gate_arns]
}

run "the_gate_by_its_alias" {
  command = plan
  variables {
    github_gate_arns = ["arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-gate"]
  }
  expect_failures = [var.github_gate_arns]
}

run "who_asks_the_gate_is_a_role" {
  command = plan
  variables {
    github_repositories = []
    github_gate_arns    = ["arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-gate:live"]
  }
  expect_failures = [var.github_gate_arns]
}

run "ids_alone" {
  command = plan

  variables {
    github_subject_formats = ["id"]
    github_repositories    = [{ owner = "pipeops", name = "api", owner_id = "1001", repository_id = "2002", branches = ["main"] }]
  }

  assert {
    condition     = jsondecode(aws_iam_role.github_actions_push[0].assume_role_policy).Statement[0].Condition.StringEquals["token.actions.githubusercontent.com:sub"] == ["repo:pipeops@1001/api@2002:ref:refs/heads/main"]
    error_message = aws_iam_role.github_actions_push[0].assume_role_policy
  }
}

run "own_provider" {
  command = plan

  variables {
    github_oidc_provider_arn    = null
    create_github_oidc_provider = true
    permissions_boundary_arn    = "arn:aws:iam::123456789012:policy/boundary"
  }

  assert {
    condition = (
      aws_iam_openid_connect_provider.github[0].url == "https://token.actions.githubusercontent.com"
      && aws_iam_openid_connect_provider.github[0].client_id_list == toset(["sts.amazonaws.com"])
    )
    error_message = "GitHub's issuer, for STS"
  }
  assert {
    condition     = aws_iam_role.github_actions_push[0].permissions_boundary == "arn:aws:iam::123456789012:policy/boundary"
    error_message = "boundary"
  }
}

run "no_wildcard_in_a_branch" {
  command = plan
  variables {
    github_repositories = [{ owner = "pipeops", name = "api", branches = ["*"] }]
  }
  expect_failures = [var.github_repositories]
}

run "no_wildcard_in_a_name" {
  command = plan
  variables {
    github_repositories = [{ owner = "pipeops", name = "*", branches = ["main"] }]
  }
  expect_failures = [var.github_repositories]
}

run "not_a_repository_as_a_whole" {
  command = plan
  variables {
    github_repositories = [{ owner = "pipeops", name = "api" }]
  }
  expect_failures = [var.github_repositories]
}

run "both_ids_or_none" {
  command = plan
  variables {
    github_repositories = [{ owner = "pipeops", name = "api", owner_id = "1001", branches = ["main"] }]
  }
  expect_failures = [var.github_repositories]
}

run "ids_are_numbers" {
  command = plan
  variables {
    github_repositories = [{ owner = "pipeops", name = "api", owner_id = "1001", repository_id = "*", branches = ["main"] }]
  }
  expect_failures = [var.github_repositories]
}

run "ids_alone_need_ids" {
  command = plan
  variables {
    github_subject_formats = ["id"]
  }
  expect_failures = [var.github_subject_formats]
}

run "a_role_needs_the_policy" {
  command = plan
  variables {
    create_github_actions_policy = false
  }
  expect_failures = [var.github_repositories]
}

run "a_role_needs_a_provider" {
  command = plan
  variables {
    github_oidc_provider_arn = null
  }
  expect_failures = [var.github_oidc_provider_arn]
}

run "not_two_providers" {
  command = plan
  variables {
    create_github_oidc_provider = true
  }
  expect_failures = [var.github_oidc_provider_arn]
}
