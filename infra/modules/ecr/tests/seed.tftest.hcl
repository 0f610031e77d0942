# The plan of the usage block of the README, once the nodes' role is known; examples/ecr-only plans and applies it word for
# word. No account is needed: the provider plans without asking AWS, and the answers that it would ask for are given here.

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
  project_name                   = "pipeops"
  environment                    = "prod"
  aws_region                     = "us-west-2"
  dr_region                      = "us-east-1"
  ecr_repository_names           = ["frontend", "backend", "api", "worker"]
  image_tag_mutability           = "IMMUTABLE"
  scan_on_push                   = true
  lifecycle_keep_count           = 30
  lifecycle_expire_untagged_days = 7
  enable_replication             = true
  replication_regions            = ["us-east-1"]
  create_github_actions_policy   = true
  eks_node_role_arn              = "arn:aws:iam::123456789012:role/eks-node"
  tags                           = { Environment = "prod", ManagedBy = "terraform" }
}

run "repositories" {
  command = plan

  assert {
    condition = { for name, repository in aws_ecr_repository.this : name => repository.name } == {
      frontend = "pipeops-prod-frontend"
      backend  = "pipeops-prod-backend"
      api      = "pipeops-prod-api"
      worker   = "pipeops-prod-worker"
    }
    error_message = "a repository is named <project>-<environment>-<name>"
  }
  assert {
    condition     = alltrue([for repository in aws_ecr_repository.this : repository.region == "us-west-2"])
    error_message = "the repositories are in aws_region"
  }
  assert {
    condition     = alltrue([for repository in aws_ecr_repository.this : repository.image_tag_mutability == "IMMUTABLE"])
    error_message = "tags are immutable"
  }
  assert {
    condition     = alltrue([for repository in aws_ecr_repository.this : repository.image_scanning_configuration[0].scan_on_push])
    error_message = "every image is scanned when it is pushed"
  }
  assert {
    condition     = alltrue([for repository in aws_ecr_repository.this : repository.encryption_configuration[0].encryption_type == "KMS"])
    error_message = "images are encrypted by KMS"
  }
  assert {
    condition     = alltrue([for repository in aws_ecr_repository.this : repository.force_delete == false])
    error_message = "a repository with images is not deleted"
  }
  assert {
    condition = alltrue([for repository in aws_ecr_repository.this :
      repository.tags == tomap({ Project = "pipeops", Environment = "prod", ManagedBy = "terraform" })
    ])
    error_message = "tags"
  }
}

run "key" {
  command = plan

  assert {
    condition     = aws_kms_key.this[0].enable_key_rotation && aws_kms_key.this[0].deletion_window_in_days == 30 && aws_kms_key.this[0].region == "us-west-2"
    error_message = "the key rotates, is deleted as late as can be, and is in the region of the repositories"
  }
  assert {
    condition = jsondecode(aws_kms_key.this[0].policy).Statement == [
      {
        Sid       = "AccountByIamPolicies"
        Effect    = "Allow"
        Principal = { AWS = "arn:aws:iam::123456789012:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        Sid       = "GrantsThroughEcr"
        Effect    = "Allow"
        Principal = { AWS = "arn:aws:iam::123456789012:root" }
        Action    = ["kms:CreateGrant", "kms:DescribeKey", "kms:RetireGrant"]
        Resource  = "*"
        Condition = { StringEquals = { "kms:CallerAccount" = "123456789012", "kms:ViaService" = "ecr.us-west-2.amazonaws.com" } }
      },
    ]
    error_message = "key policy: ${aws_kms_key.this[0].policy}"
  }
  assert {
    condition     = aws_kms_alias.this[0].name == "alias/pipeops-prod-ecr" && aws_kms_alias.this[0].region == "us-west-2"
    error_message = "the key is found by its alias"
  }
}

run "lifecycle_policy" {
  command = plan

  assert {
    condition     = toset(keys(aws_ecr_lifecycle_policy.this)) == toset(["frontend", "backend", "api", "worker"])
    error_message = "every repository has a lifecycle policy"
  }
  assert {
    condition = alltrue([for policy in aws_ecr_lifecycle_policy.this :
      policy.policy == trimspace(file("tests/fixtures/lifecycle/seed.json")) && policy.region == "us-west-2"
    ])
    error_message = "byte for byte as in the fixture: ${output.lifecycle_policy}"
  }
}

run "lifecycle_policy_follows_its_variables" {
  command = plan

  variables {
    lifecycle_keep_count           = 100
    lifecycle_expire_untagged_days = 14
  }

  assert {
    condition     = alltrue([for policy in aws_ecr_lifecycle_policy.this : policy.policy == trimspace(file("tests/fixtures/lifecycle/keep-100-untagged-14.json"))])
    error_message = output.lifecycle_policy
  }
}

run "lifecycle_rules_for_other_tags_come_after_the_two" {
  command = plan

  variables {
    lifecycle_expire_tagged = { "pr-*" = 14, "nightly-*" = 30 }
  }

  assert {
    condition     = [for rule in jsondecode(output.lifecycle_policy).rules : rule.rulePriority] == [1, 2, 3, 4]
    error_message = output.lifecycle_policy
  }
  assert {
    condition = [for rule in slice(jsondecode(output.lifecycle_policy).rules, 2, 4) : rule.selection] == [
      { tagStatus = "tagged", tagPatternList = ["nightly-*"], countType = "sinceImagePushed", countUnit = "days", countNumber = 30 },
      { tagStatus = "tagged", tagPatternList = ["pr-*"], countType = "sinceImagePushed", countUnit = "days", countNumber = 14 },
    ]
    error_message = output.lifecycle_policy
  }
  assert {
    condition     = slice(jsondecode(output.lifecycle_policy).rules, 0, 2) == jsondecode(file("tests/fixtures/lifecycle/seed.json")).rules
    error_message = "the first two are what they are without them"
  }
}

# The narrowest pattern first, `*` last, whatever the alphabet says.
run "lifecycle_rules_for_other_tags_are_ordered_by_width" {
  command = plan

  variables {
    lifecycle_expire_tagged = { "*" = 7, "release-*" = 365, "main-*" = 30, "main-release-*" = 365, "*a*" = 8, "a*" = 9, "a" = 10 }
  }

  assert {
    condition = [for rule in slice(jsondecode(output.lifecycle_policy).rules, 2, 9) : [rule.selection.tagPatternList[0], rule.selection.countNumber]] == [
      ["main-release-*", 365], ["release-*", 365], ["main-*", 30], ["a", 10], ["a*", 9], ["*a*", 8], ["*", 7],
    ]
    error_message = output.lifecycle_policy
  }
}

run "lifecycle_rules_for_other_tags_are_in_the_order_of_the_author" {
  command = plan

  variables {
    lifecycle_expire_tagged = { "main-*" = 365, "release-*" = 30, "*" = 7 }
    lifecycle_expire_order  = ["main-*"]
  }

  assert {
    condition     = [for rule in slice(jsondecode(output.lifecycle_policy).rules, 2, 5) : rule.selection.tagPatternList[0]] == ["main-*", "release-*", "*"]
    error_message = output.lifecycle_policy
  }
}

run "repository_policy_keeps_the_repository" {
  command = plan

  assert {
    condition = alltrue([for policy in aws_ecr_repository_policy.this : jsondecode(policy.policy) == {
      Version   = "2012-10-17"
      Statement = [{ Sid = "KeepRepository", Effect = "Deny", Principal = "*", Action = ["ecr:DeleteRepository"] }]
    }])
    error_message = output.repository_policy
  }
  assert {
    condition     = length(aws_ecr_repository_policy.this) == 4
    error_message = "every repository has the policy"
  }
}

run "push_policy" {
  command = plan

  assert {
    condition     = aws_iam_policy.github_actions_push[0].name == "pipeops-prod-ecr-push"
    error_message = "name"
  }
  assert {
    condition = jsondecode(aws_iam_policy.github_actions_push[0].policy).Statement == [
      { Sid = "LogIn", Effect = "Allow", Action = ["ecr:GetAuthorizationToken"], Resource = "*" },
      {
        Sid    = "Push"
        Effect = "Allow"
        Action = [
          "ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:CompleteLayerUpload", "ecr:GetDownloadUrlForLayer",
          "ecr:InitiateLayerUpload", "ecr:PutImage", "ecr:UploadLayerPart",
        ]
        Resource = [for name in ["api", "backend", "frontend", "worker"] : "arn:aws:ecr:us-west-2:123456789012:repository/pipeops-prod-${name}"]
      },
      {
        Sid      = "ReadScans"
        Effect   = "Allow"
        Action   = ["ecr:DescribeImageScanFindings", "ecr:DescribeImages"]
        Resource = [for name in ["api", "backend", "frontend", "worker"] : "arn:aws:ecr:us-west-2:123456789012:repository/pipeops-prod-${name}"]
      },
    ]
    error_message = aws_iam_policy.github_actions_push[0].policy
  }
}

run "pull_policy" {
  command = plan

  assert {
    condition = jsondecode(aws_iam_policy.eks_node_pull[0].policy).Statement == [
      { Sid = "LogIn", Effect = "Allow", Action = ["ecr:GetAuthorizationToken"], Resource = "*" },
      {
        Sid    = "Pull"
        Effect = "Allow"
        Action = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = [for pair in setproduct(["us-east-1", "us-west-2"], ["api", "backend", "frontend", "worker"]) :
          "arn:aws:ecr:${pair[0]}:123456789012:repository/pipeops-prod-${pair[1]}"
        ]
      },
    ]
    error_message = aws_iam_policy.eks_node_pull[0].policy
  }
  assert {
    condition     = aws_iam_role_policy_attachment.eks_node_pull[0].role == "eks-node"
    error_message = "the policy is attached to the nodes' role"
  }
}

run "login" {
  command = plan

  assert {
    condition     = output.docker_login_command == "aws ecr get-login-password --region us-west-2 | docker login --username AWS --password-stdin 123456789012.dkr.ecr.us-west-2.amazonaws.com"
    error_message = output.docker_login_command
  }
  assert {
    condition     = output.replica_docker_login_commands["us-east-1"] == "aws ecr get-login-password --region us-east-1 | docker login --username AWS --password-stdin 123456789012.dkr.ecr.us-east-1.amazonaws.com"
    error_message = output.replica_docker_login_commands["us-east-1"]
  }
}
