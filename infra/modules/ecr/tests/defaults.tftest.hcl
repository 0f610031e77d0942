# The defaults of the module with the required settings alone, and the changes by its other settings.

provider "aws" {
  region                      = "eu-west-1"
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
  environment          = "dev"
  ecr_repository_names = ["api", "team/web"]
}

run "defaults" {
  command = plan

  assert {
    condition     = { for name, repository in aws_ecr_repository.this : name => repository.name } == { api = "pipeops-dev-api", "team/web" = "pipeops-dev-team/web" }
    error_message = "names, also with a namespace"
  }
  assert {
    condition = alltrue([for repository in aws_ecr_repository.this :
      repository.image_tag_mutability == "IMMUTABLE" && repository.image_scanning_configuration[0].scan_on_push && repository.region == "eu-west-1"
    ])
    error_message = "immutable, scanned, in the provider's region"
  }
  assert {
    condition     = alltrue([for policy in aws_ecr_lifecycle_policy.this : policy.policy == trimspace(file("tests/fixtures/lifecycle/seed.json"))])
    error_message = "keep 30, 7 days"
  }
  assert {
    condition = (
      length(aws_kms_key.replica) + length(aws_ecr_repository.replica) + length(aws_ecr_repository_creation_template.replica)
      + length(aws_iam_role.replica_templates) + length(module.registry) == 0
    )
    error_message = "no replication, and nothing made for it"
  }
  assert {
    condition     = length(module.registry) == 0
    error_message = "the registry's scanning configuration is left alone"
  }
  assert {
    condition = (
      length(aws_iam_policy.github_actions_push) + length(aws_iam_role.github_actions_push)
      + length(aws_iam_openid_connect_provider.github) == 0
    )
    error_message = "no policy for pushing, no role for workflows"
  }
  assert {
    condition = (
      aws_iam_role_policy_attachment.eks_node_pull[0].role == "pipeops-dev-ecr-pull" && aws_iam_role.pull[0].name == "pipeops-dev-ecr-pull"
      && !output.eks_node_pull_policy_attached
    )
    error_message = "without the nodes' role, the pull policy is attached to a role of the module"
  }
  assert {
    condition = jsondecode(aws_iam_role.pull[0].assume_role_policy).Statement == [
      { Sid = "Account", Effect = "Allow", Principal = { AWS = "arn:aws:iam::123456789012:root" }, Action = "sts:AssumeRole" },
    ]
    error_message = "who may take that role, the account's own IAM policies say"
  }
  assert {
    condition     = output.github_actions_push_policy_arn == null && output.github_actions_role_arn == null && length(output.replication_rules) == 0
    error_message = "outputs of what is not there are null, or empty"
  }
  assert {
    condition = jsondecode(aws_iam_policy.eks_node_pull[0].policy).Statement[1].Resource == [
      "arn:aws:ecr:eu-west-1:123456789012:repository/pipeops-dev-api", "arn:aws:ecr:eu-west-1:123456789012:repository/pipeops-dev-team/web",
    ]
    error_message = "pull policy: this region's repositories alone"
  }
}

run "cosign_may_rewrite_its_tags" {
  command = plan

  variables {
    image_tag_mutability                   = "IMMUTABLE_WITH_EXCLUSION"
    image_tag_mutability_exclusion_filters = ["sha256-*"]
  }

  assert {
    condition = alltrue([for repository in aws_ecr_repository.this :
      repository.image_tag_mutability == "IMMUTABLE_WITH_EXCLUSION"
      && [for filter in repository.image_tag_mutability_exclusion_filter : "${filter.filter_type} ${filter.filter}"] == ["WILDCARD sha256-*"]
    ])
    error_message = "immutable but for sha256-*"
  }
}

run "basic_registry_scanning" {
  command = plan

  variables {
    registry_scan_type = "BASIC"
  }

  assert {
    condition     = module.registry[0].scanning == { eu-west-1 = { scan_type = "BASIC", frequencies = ["SCAN_ON_PUSH"] } }
    error_message = "every repository of the registry is scanned on push"
  }
}

run "inspector_also_where_the_copies_are" {
  command = plan

  variables {
    environment        = "prod"
    registry_scan_type = "ENHANCED"
    enable_replication = true
    dr_region          = "eu-central-1"
  }

  assert {
    condition     = module.registry[0].scanning == { for region in ["eu-central-1", "eu-west-1"] : region => { scan_type = "ENHANCED", frequencies = ["CONTINUOUS_SCAN"] } }
    error_message = "in both regions, Inspector looks again whenever it learns of a vulnerability"
  }
}

run "no_scan_on_push" {
  command = plan

  variables {
    scan_on_push       = false
    registry_scan_type = "BASIC"
  }

  assert {
    condition = (
      alltrue([for repository in aws_ecr_repository.this : !repository.image_scanning_configuration[0].scan_on_push])
      && length(module.registry[0].scanning["eu-west-1"].frequencies) == 0
    )
    error_message = "scans are started by hand"
  }
}

run "repository_policy" {
  command = plan

  variables {
    pull_principal_arns          = ["arn:aws:iam::210987654321:role/eks-node"]
    image_removal_principal_arns = ["arn:aws:iam::123456789012:role/ecr-guard-on-scan"]
  }

  assert {
    condition = jsondecode(output.repository_policy).Statement == [
      {
        Sid       = "Pull"
        Effect    = "Allow"
        Principal = { AWS = ["arn:aws:iam::210987654321:role/eks-node"] }
        Action    = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      },
      { Sid = "KeepRepository", Effect = "Deny", Principal = "*", Action = ["ecr:DeleteRepository"] },
      {
        Sid       = "KeepImages"
        Effect    = "Deny"
        Principal = "*"
        Action    = ["ecr:BatchDeleteImage", "ecr:UpdateImageStorageClass"]
        Condition = { ArnNotEquals = { "aws:PrincipalArn" = ["arn:aws:iam::123456789012:role/ecr-guard-on-scan"] } }
      },
    ]
    error_message = output.repository_policy
  }
}

run "nobody_removes_images" {
  command = plan

  variables {
    image_removal_principal_arns = []
    deletion_protection          = false
  }

  assert {
    condition = jsondecode(output.repository_policy).Statement == [
      { Sid = "KeepImages", Effect = "Deny", Principal = "*", Action = ["ecr:BatchDeleteImage", "ecr:UpdateImageStorageClass"] },
    ]
    error_message = output.repository_policy
  }
}

run "no_repository_policy" {
  command = plan

  variables {
    deletion_protection = false
    environment         = "prod"
    enable_replication  = true
    dr_region           = "eu-central-1"
  }

  assert {
    condition     = length(aws_ecr_repository_policy.this) == 0 && length(aws_ecr_repository_policy.replica) == 0 && output.repository_policy == null
    error_message = "a policy that says nothing is none"
  }
  assert {
    condition     = alltrue([for template in aws_ecr_repository_creation_template.replica : template.repository_policy == null])
    error_message = "neither in the templates"
  }
}

run "a_role_with_a_path" {
  command = plan

  variables {
    eks_node_role_arn           = "arn:aws:iam::123456789012:role/eks/blue/node"
    attach_eks_node_pull_policy = true
  }

  assert {
    condition     = aws_iam_role_policy_attachment.eks_node_pull[0].role == "node" && output.eks_node_pull_policy_attached
    error_message = "the path is no part of the name"
  }
  assert {
    condition     = length(aws_iam_role.pull) == 0 && output.pull_role_arn == null
    error_message = "no role beside it"
  }
}

run "a_role_that_somebody_else_attaches_to" {
  command = plan

  variables {
    eks_node_role_arn           = "arn:aws:iam::123456789012:role/node"
    attach_eks_node_pull_policy = false
  }

  assert {
    condition     = length(aws_iam_role_policy_attachment.eks_node_pull) + length(aws_iam_role.pull) == 0 && !output.eks_node_pull_policy_attached
    error_message = "not attached, and no role"
  }
}

# A count that depends on what is not known before the apply would be an error.
run "a_role_in_the_same_plan" {
  command = plan

  module {
    source = "./tests/fixtures/role-in-the-same-plan"
  }

  assert {
    condition     = output.repositories == { api = "pipeops-dev-api" }
    error_message = "planned"
  }
}
