# The needs of organisations that have accounts, keys, functions and GitHub of their own.

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
  project_name         = "pipeops"
  environment          = "prod"
  ecr_repository_names = ["api", "cache"]
}

run "pull_for_an_organization" {
  command = plan

  variables {
    pull_organization_ids = ["o-a1b2c3d4e5"]
    deletion_protection   = false
  }

  assert {
    condition = jsondecode(output.repository_policy).Statement == [{
      Sid       = "PullForOrganization"
      Effect    = "Allow"
      Principal = "*"
      Action    = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      Condition = { StringEquals = { "aws:PrincipalOrgID" = ["o-a1b2c3d4e5"] } }
    }]
    error_message = output.repository_policy
  }
}

run "pull_for_lambda_functions" {
  command = plan

  variables {
    lambda_function_arns = ["arn:aws:lambda:us-west-2:123456789012:function:*", "arn:aws:lambda:us-west-2:210987654321:function:web-*"]
    deletion_protection  = false
    enable_replication   = true
    dr_region            = "us-east-1"
  }

  assert {
    condition = jsondecode(output.repository_policy).Statement == [{
      Sid       = "LambdaECRImageRetrievalPolicy"
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      Condition = {
        ArnLike      = { "aws:SourceArn" = ["arn:aws:lambda:us-west-2:123456789012:function:*", "arn:aws:lambda:us-west-2:210987654321:function:web-*"] }
        StringEquals = { "aws:SourceAccount" = ["123456789012", "210987654321"] }
      }
    }]
    error_message = output.repository_policy
  }
  assert {
    condition     = alltrue([for policy in merge(aws_ecr_repository_policy.this, aws_ecr_repository_policy.replica) : policy.policy == output.repository_policy]) && length(aws_ecr_repository_policy.replica) == 2
    error_message = "the copies too"
  }
}

run "pull_through_a_cache" {
  command = plan

  variables {
    pull_upstream_images = true
    pull_principal_arns  = ["arn:aws:iam::210987654321:root"]
  }

  assert {
    condition     = contains(jsondecode(aws_iam_policy.eks_node_pull[0].policy).Statement[1].Action, "ecr:BatchImportUpstreamImage") && contains(jsondecode(output.repository_policy).Statement[0].Action, "ecr:BatchImportUpstreamImage")
    error_message = "who pulls first brings the image here"
  }
}

run "further_statements" {
  command = plan

  variables {
    repository_policy_statements = [
      { Sid = "Audit", Effect = "Allow", Principal = { AWS = "arn:aws:iam::210987654321:root" }, Action = ["ecr:DescribeImages"] },
      { Sid = "OurNetworks", Effect = "Deny", Principal = "*", Action = "ecr:*", Condition = { StringNotEquals = { "aws:SourceVpc" = "vpc-1" } } },
    ]
  }

  assert {
    condition = [for statement in jsondecode(output.repository_policy).Statement : statement.Sid] == ["Audit", "OurNetworks", "KeepRepository"] && (
      jsondecode(output.repository_policy).Statement[1] == { Sid = "OurNetworks", Effect = "Deny", Principal = "*", Action = "ecr:*", Condition = { StringNotEquals = { "aws:SourceVpc" = "vpc-1" } } }
    )
    error_message = output.repository_policy
  }
}

run "statements_that_let_in_everybody" {
  command = plan

  variables {
    repository_policy_statements = [{ Effect = "Allow", Principal = { AWS = "*" }, Action = "ecr:BatchGetImage" }]
  }

  expect_failures = [var.repository_policy_statements]
}

run "statements_that_are_none" {
  command = plan

  variables {
    repository_policy_statements = [{ Effect = "Allow", Resource = "*" }]
    pull_organization_ids        = ["pipeops"]
    lambda_function_arns         = ["arn:aws:lambda:*:123456789012:function:web:live"]
    github_subjects              = ["repo:*"]
    github_issuer                = "https://token.actions.githubusercontent.com/"
    name_suffix                  = "_eu"
    repository_overrides         = { web = {} }
    tags                         = { "aws:owner" = "us" }
    kms_key_arn                  = "arn:aws:kms:us-west-2:123456789012:key/central"
  }

  expect_failures = [
    var.repository_policy_statements, var.pull_organization_ids, var.lambda_function_arns, var.github_subjects, var.github_issuer, var.name_suffix,
    var.repository_overrides, var.tags, var.kms_key_arn,
  ]
}

run "tags_that_aws_refuses" {
  command = plan

  variables {
    tags = { "bad!*" = "value" }
  }

  expect_failures = [var.tags]
}

run "github_enterprise_with_customised_subjects" {
  command = plan

  variables {
    create_github_actions_policy = true
    github_issuer                = "token.actions.githubusercontent.com/pipeops"
    github_oidc_provider_arn     = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com/pipeops"
    github_subjects              = ["repository_owner:pipeops:environment:prod"]
  }

  assert {
    condition = jsondecode(aws_iam_role.github_actions_push[0].assume_role_policy).Statement[0].Condition == { StringEquals = {
      "token.actions.githubusercontent.com/pipeops:aud" = "sts.amazonaws.com"
      "token.actions.githubusercontent.com/pipeops:sub" = ["repository_owner:pipeops:environment:prod"]
    } }
    error_message = aws_iam_role.github_actions_push[0].assume_role_policy
  }
}

run "a_provider_of_another_issuer" {
  command = plan

  variables {
    create_github_actions_policy = true
    github_issuer                = "token.actions.githubusercontent.com/pipeops"
    github_oidc_provider_arn     = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
    github_subjects              = ["repository_owner:pipeops:environment:prod"]
  }

  expect_failures = [var.github_oidc_provider_arn]
}

run "keys_of_somebody_else" {
  command = plan

  variables {
    create_kms_keys      = false
    kms_key_arn          = "arn:aws:kms:us-west-2:210987654321:key/central"
    replica_kms_key_arns = { us-east-1 = "arn:aws:kms:us-east-1:210987654321:key/central" }
    enable_replication   = true
    dr_region            = "us-east-1"
  }

  assert {
    condition     = length(aws_kms_key.this) + length(aws_kms_key.replica) + length(aws_kms_alias.this) + length(aws_kms_alias.replica) == 0
    error_message = "no key is made"
  }
  assert {
    condition = (
      alltrue([for repository in aws_ecr_repository.this : repository.encryption_configuration[0].kms_key == "arn:aws:kms:us-west-2:210987654321:key/central"])
      && alltrue([for repository in aws_ecr_repository.replica : repository.encryption_configuration[0].kms_key == "arn:aws:kms:us-east-1:210987654321:key/central"])
      && alltrue([for template in aws_ecr_repository_creation_template.replica : template.encryption_configuration[0].kms_key == "arn:aws:kms:us-east-1:210987654321:key/central"])
    )
    error_message = "images are encrypted with the key of their region"
  }
  assert {
    condition     = output.kms_key_arn == "arn:aws:kms:us-west-2:210987654321:key/central" && output.replica_kms_key_arns == { us-east-1 = "arn:aws:kms:us-east-1:210987654321:key/central" }
    error_message = "the outputs say so"
  }
}

run "a_region_without_a_key" {
  command = plan

  variables {
    create_kms_keys    = false
    kms_key_arn        = "arn:aws:kms:us-west-2:210987654321:key/central"
    enable_replication = true
    dr_region          = "us-east-1"
  }

  expect_failures = [terraform_data.replica]
}

run "no_key_at_all" {
  command = plan

  variables {
    create_kms_keys = false
  }

  expect_failures = [var.kms_key_arn]
}

run "called_twice" {
  command = plan

  variables {
    name_suffix                  = "-eu"
    aws_region                   = "eu-west-1"
    create_github_actions_policy = true
    create_github_oidc_provider  = true
    github_repositories          = [{ owner = "pipeops", name = "api", branches = ["main"] }]
    enable_replication           = true
    dr_region                    = "eu-central-1"
  }

  assert {
    condition = [
      aws_iam_policy.github_actions_push[0].name, aws_iam_policy.eks_node_pull[0].name, aws_iam_role.pull[0].name, aws_iam_role.github_actions_push[0].name,
      aws_iam_role.replica_templates[0].name, aws_kms_alias.this[0].name, aws_kms_alias.replica["eu-central-1"].name
      ] == [
      "pipeops-prod-ecr-push-eu", "pipeops-prod-ecr-pull-eu", "pipeops-prod-ecr-pull-eu", "pipeops-prod-ecr-github-eu",
      "pipeops-prod-ecr-templates-eu", "alias/pipeops-prod-ecr-eu", "alias/pipeops-prod-ecr-eu"
    ]
    error_message = "what has a name in the whole account has another"
  }
  assert {
    condition     = aws_ecr_repository.this["api"].name == "pipeops-prod-api"
    error_message = "a repository's name is its region's"
  }
}

run "nothing" {
  command = plan

  variables {
    create                       = false
    create_github_actions_policy = true
    create_github_oidc_provider  = true
    github_repositories          = [{ owner = "pipeops", name = "api", branches = ["main"] }]
    enable_replication           = true
    dr_region                    = "us-east-1"
    registry_scan_type           = "BASIC"
  }

  assert {
    condition = 0 == sum([
      length(aws_ecr_repository.this), length(aws_ecr_lifecycle_policy.this), length(aws_ecr_repository_policy.this), length(aws_kms_key.this), length(aws_kms_alias.this),
      length(aws_iam_policy.github_actions_push), length(aws_iam_policy.eks_node_pull), length(aws_iam_role.pull), length(aws_iam_role_policy_attachment.eks_node_pull),
      length(aws_iam_role.github_actions_push), length(aws_iam_role_policy_attachment.github_actions_push), length(aws_iam_openid_connect_provider.github),
      length(aws_kms_key.replica), length(aws_ecr_repository.replica), length(aws_ecr_repository_creation_template.replica), length(aws_iam_role.replica_templates),
      length(terraform_data.replica), length(module.registry),
    ])
    error_message = "nothing is created"
  }
  assert {
    condition     = output.kms_key_arn == null && output.eks_node_pull_policy_arn == null && output.repository_urls == {} && !output.eks_node_pull_policy_attached
    error_message = "and the outputs say so"
  }
}

run "one_repository_is_different" {
  command = plan

  variables {
    enable_replication   = true
    dr_region            = "us-east-1"
    repository_overrides = { cache = { image_tag_mutability = "MUTABLE_WITH_EXCLUSION", image_tag_mutability_exclusion_filters = ["v*"], scan_on_push = false, lifecycle_keep_count = 5, lifecycle_expire_untagged_days = 1 } }
  }

  assert {
    condition = { for key, repository in merge(aws_ecr_repository.this, aws_ecr_repository.replica) : key => [
      repository.image_tag_mutability, repository.image_scanning_configuration[0].scan_on_push, length(repository.image_tag_mutability_exclusion_filter)
      ] } == {
      api               = ["IMMUTABLE", true, 0]
      cache             = ["MUTABLE_WITH_EXCLUSION", false, 1]
      "us-east-1/api"   = ["IMMUTABLE", true, 0]
      "us-east-1/cache" = ["MUTABLE_WITH_EXCLUSION", false, 1]
    }
    error_message = "mutability and scanning, of the copies too"
  }
  assert {
    condition = { for key, policy in merge(aws_ecr_lifecycle_policy.this, aws_ecr_lifecycle_policy.replica) : key => [
      for rule in jsondecode(policy.policy).rules : rule.selection.countNumber
    ] } == { api = [30, 7], cache = [5, 1], "us-east-1/api" = [30, 7], "us-east-1/cache" = [5, 1] }
    error_message = "what expires"
  }
  assert {
    condition = { for key, template in aws_ecr_repository_creation_template.replica : key => [template.image_tag_mutability, jsondecode(template.lifecycle_policy).rules[0].selection.countNumber] } == {
      "us-east-1/pipeops-prod-api"   = ["IMMUTABLE", 30]
      "us-east-1/pipeops-prod-cache" = ["MUTABLE_WITH_EXCLUSION", 5]
    }
    error_message = "what is nested below it"
  }
  assert {
    condition     = output.lifecycle_policies.cache == aws_ecr_lifecycle_policy.this["cache"].policy && output.lifecycle_policy == aws_ecr_lifecycle_policy.this["api"].policy
    error_message = "the outputs"
  }
}
