# The limits of AWS are known before anything is made: 200 repositories with two copies, and a plan that does not fit is refused
# with a sentence.

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
  aws_region                   = "us-west-2"
  create_github_actions_policy = true
}

run "two_hundred_repositories_with_two_copies" {
  command = plan

  variables {
    ecr_repository_names = [for n in range(200) : format("team-%03d/a-service-with-a-name-of-some-length-%03d", n, n)]
    enable_replication   = true
    replication_regions  = ["us-east-1", "eu-west-1"]
  }

  override_resource {
    target          = aws_kms_key.replica["us-east-1"]
    override_during = plan
    values          = { arn = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555" }
  }
  override_resource {
    target          = aws_kms_key.replica["eu-west-1"]
    override_during = plan
    values          = { arn = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555" }
  }

  assert {
    condition     = length(aws_ecr_repository.this) == 200 && length(aws_ecr_repository.replica) == 400
    error_message = "all of them"
  }
  assert {
    condition     = length(aws_iam_policy.github_actions_push[0].policy) <= 6144 && length(aws_iam_policy.eks_node_pull[0].policy) <= 6144
    error_message = "IAM takes 6,144 characters of a managed policy"
  }
  assert {
    condition     = length(aws_iam_role_policy.replica_templates[0].policy) <= 10240
    error_message = "and 10,240 of the policies of a role"
  }
  assert {
    condition     = [for rule in module.registry[0].replication_rules : length(rule.filters)] == [100, 100]
    error_message = "a rule takes 100 filters"
  }
  assert {
    condition = toset(flatten([for rule in module.registry[0].replication_rules : [
      for filter in rule.filters : filter.filter
    ]])) == toset([for repository in aws_ecr_repository.this : repository.name])
    error_message = "every repository is replicated"
  }
  assert {
    condition = alltrue([for rule in module.registry[0].replication_rules :
      toset([for destination in rule.destinations : destination.region]) == toset(["us-east-1", "eu-west-1"])
    ])
    error_message = "to both regions"
  }
  assert {
    condition = [for statement in slice(jsondecode(aws_iam_policy.github_actions_push[0].policy).Statement, 1, 3) : [statement.Resource, statement.Condition]] == [
      for _ in range(2) : [
        ["arn:aws:ecr:us-west-2:123456789012:repository/pipeops-prod-*"],
        { StringEquals = { "aws:ResourceTag/Environment" = "prod", "aws:ResourceTag/Project" = "pipeops" } },
      ]
    ]
    error_message = aws_iam_policy.github_actions_push[0].policy
  }
  assert {
    condition = jsondecode(aws_iam_policy.eks_node_pull[0].policy).Statement[1] == {
      Sid    = "Pull"
      Effect = "Allow"
      Action = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      Resource = [for region in ["eu-west-1", "us-east-1", "us-west-2"] :
        "arn:aws:ecr:${region}:123456789012:repository/pipeops-prod-*"
      ]
      Condition = { StringEquals = { "aws:ResourceTag/Environment" = "prod", "aws:ResourceTag/Project" = "pipeops" } }
    }
    error_message = aws_iam_policy.eks_node_pull[0].policy
  }
  assert {
    condition     = alltrue([for repository in merge(aws_ecr_repository.this, aws_ecr_repository.replica) : repository.tags.Project == "pipeops" && repository.tags.Environment == "prod"])
    error_message = "every repository has the tags that the policies go by"
  }
  assert {
    condition = jsondecode(aws_iam_role_policy.replica_templates[0].policy).Statement[0].Resource == [
      "arn:aws:ecr:eu-west-1:123456789012:repository/pipeops-prod-*", "arn:aws:ecr:us-east-1:123456789012:repository/pipeops-prod-*",
    ]
    error_message = "the templates' role may create what begins like ours, in the replication regions"
  }
}

run "the_policies_go_by_the_tags_that_the_repositories_have" {
  command = plan

  variables {
    ecr_repository_names = [for n in range(100) : format("service-%02d", n)]
    tags                 = { Project = "renamed" }
  }

  assert {
    condition = jsondecode(aws_iam_policy.eks_node_pull[0].policy).Statement[1].Condition == { StringEquals = {
      "aws:ResourceTag/Environment" = "prod", "aws:ResourceTag/Project" = aws_ecr_repository.this["service-00"].tags.Project
    } }
    error_message = aws_iam_policy.eks_node_pull[0].policy
  }
}

# How many names fit is a matter of characters, and of each policy for itself.
run "as_many_as_fit_are_named" {
  command = plan

  variables {
    ecr_repository_names = [for n in range(60) : format("service-%02d", n)]
  }

  assert {
    condition     = length(jsondecode(aws_iam_policy.eks_node_pull[0].policy).Statement[1].Resource) == 60 && length(aws_iam_policy.eks_node_pull[0].policy) > 4000
    error_message = "the pull policy names them"
  }
  assert {
    condition     = length(jsondecode(aws_iam_policy.github_actions_push[0].policy).Statement[1].Resource) == 1
    error_message = "the push policy, which would name each twice, does not"
  }
}

run "one_more_than_can_be_replicated" {
  command = plan

  variables {
    ecr_repository_names = [for n in range(1001) : format("service-%04d", n)]
    enable_replication   = true
    replication_regions  = ["us-east-1"]
  }

  expect_failures = [var.ecr_repository_names]
}

run "copies_without_tags_cannot_be_told_apart" {
  command = plan

  variables {
    ecr_repository_names        = [for n in range(200) : format("service-%03d", n)]
    enable_replication          = true
    replication_regions         = ["us-east-1"]
    create_replica_repositories = false
  }

  expect_failures = [aws_iam_policy.eks_node_pull]
}

run "more_templates_than_fit" {
  command = plan

  variables {
    ecr_repository_names      = ["api"]
    enable_replication        = true
    replication_regions       = ["us-east-1"]
    replica_template_prefixes = [for n in range(100) : format("somebody-elses-team-%03d", n)]
  }

  expect_failures = [aws_iam_role_policy.replica_templates]
}

run "more_principals_than_fit" {
  command = plan

  variables {
    ecr_repository_names = ["api"]
    pull_principal_arns  = [for n in range(200) : format("arn:aws:iam::%012d:role/a-role-that-pulls-images", n)]
  }

  expect_failures = [aws_ecr_repository_policy.this]
}

run "more_subjects_than_fit" {
  command = plan

  variables {
    ecr_repository_names     = ["api"]
    github_oidc_provider_arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
    github_repositories      = [for n in range(50) : { owner = "pipeops", name = "service-${n}", branches = ["main"] }]
  }

  expect_failures = [aws_iam_role.github_actions_push]
}
