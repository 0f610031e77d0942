# Copies in other regions: as well protected as their sources, made only where they are wanted.

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
  aws_region           = "us-west-2"
  dr_region            = "us-east-1"
  ecr_repository_names = ["frontend", "api"]
  enable_replication   = true
  replication_regions  = ["us-east-1"]
  tags                 = { Team = "platform" }
}

run "rule" {
  command = plan

  assert {
    condition     = module.registry[0].region == "us-west-2"
    error_message = "the registry of the sources replicates"
  }
  assert {
    condition = (
      length(module.registry[0].replication_rules) == 1
      && [for destination in module.registry[0].replication_rules[0].destinations : "${destination.registry_id} ${destination.region}"] == ["123456789012 us-east-1"]
    )
    error_message = "one rule, to the same account in us-east-1"
  }
  assert {
    condition = (
      [for filter in module.registry[0].replication_rules[0].filters : "${filter.filter_type} ${filter.filter}"]
      == ["PREFIX_MATCH pipeops-prod-api", "PREFIX_MATCH pipeops-prod-frontend"]
    )
    error_message = "only these repositories are replicated"
  }
  assert {
    condition = jsonencode(output.replication_rules) == jsonencode([{
      destinations = [{ region = "us-east-1", registry_id = "123456789012" }]
      filters      = [for name in ["api", "frontend"] : { filter = "pipeops-prod-${name}", filter_type = "PREFIX_MATCH" }]
    }])
    error_message = "the output says the same"
  }
}

run "copies_are_as_protected_as_their_sources" {
  command = plan

  variables {
    image_tag_mutability                   = "IMMUTABLE_WITH_EXCLUSION"
    image_tag_mutability_exclusion_filters = ["sha256-*"]
  }

  assert {
    condition = { for key, repository in aws_ecr_repository.replica : key => "${repository.region} ${repository.name}" } == {
      "us-east-1/api"      = "us-east-1 pipeops-prod-api"
      "us-east-1/frontend" = "us-east-1 pipeops-prod-frontend"
    }
    error_message = "a copy of each"
  }
  assert {
    condition = alltrue([for pair in setproduct(keys(aws_ecr_repository.replica), ["frontend", "api"]) : (
      aws_ecr_repository.replica[pair[0]].image_tag_mutability == aws_ecr_repository.this[pair[1]].image_tag_mutability
      && aws_ecr_repository.replica[pair[0]].image_tag_mutability_exclusion_filter == aws_ecr_repository.this[pair[1]].image_tag_mutability_exclusion_filter
      && aws_ecr_repository.replica[pair[0]].image_scanning_configuration == aws_ecr_repository.this[pair[1]].image_scanning_configuration
      && aws_ecr_repository.replica[pair[0]].encryption_configuration[0].encryption_type == aws_ecr_repository.this[pair[1]].encryption_configuration[0].encryption_type
      && aws_ecr_repository.replica[pair[0]].force_delete == aws_ecr_repository.this[pair[1]].force_delete
      && aws_ecr_repository.replica[pair[0]].tags == aws_ecr_repository.this[pair[1]].tags
    )])
    error_message = "mutability, exclusions, scanning, encryption, tags"
  }
  assert {
    condition = (
      length(aws_ecr_lifecycle_policy.replica) == 2 && length(aws_ecr_repository_policy.replica) == 2
      && alltrue([for policy in aws_ecr_lifecycle_policy.replica : policy.policy == output.lifecycle_policy && policy.region == "us-east-1"])
      && alltrue([for policy in aws_ecr_repository_policy.replica : policy.policy == output.repository_policy && policy.region == "us-east-1"])
    )
    error_message = "lifecycle policy and repository policy"
  }
  assert {
    condition     = alltrue([for repository in aws_ecr_repository.replica : repository.image_tag_mutability == "IMMUTABLE_WITH_EXCLUSION" && repository.image_scanning_configuration[0].scan_on_push && repository.encryption_configuration[0].encryption_type == "KMS"])
    error_message = "and these are not the defaults of ECR"
  }
}

run "key_of_the_copies" {
  command = plan

  assert {
    condition = (
      keys(aws_kms_key.replica) == ["us-east-1"] && aws_kms_key.replica["us-east-1"].region == "us-east-1"
      && aws_kms_key.replica["us-east-1"].enable_key_rotation && aws_kms_key.replica["us-east-1"].deletion_window_in_days == 30
    )
    error_message = "a key of its own, which rotates"
  }
  assert {
    condition = (
      [for statement in jsondecode(aws_kms_key.replica["us-east-1"].policy).Statement : statement.Principal] == [for _ in range(2) : { AWS = "arn:aws:iam::123456789012:root" }]
      && jsondecode(aws_kms_key.replica["us-east-1"].policy).Statement[1].Action == ["kms:CreateGrant", "kms:DescribeKey", "kms:RetireGrant"]
      && jsondecode(aws_kms_key.replica["us-east-1"].policy).Statement[1].Condition == { StringEquals = { "kms:CallerAccount" = "123456789012", "kms:ViaService" = "ecr.us-east-1.amazonaws.com" } }
    )
    error_message = aws_kms_key.replica["us-east-1"].policy
  }
  assert {
    condition     = aws_kms_alias.replica["us-east-1"].name == "alias/pipeops-prod-ecr" && aws_kms_alias.replica["us-east-1"].region == "us-east-1"
    error_message = "found by the same alias as in the first region"
  }
}

run "templates" {
  command = plan

  assert {
    condition = { for key, template in aws_ecr_repository_creation_template.replica : key => "${template.region} ${template.prefix}" } == {
      "us-east-1/pipeops-prod-api"      = "us-east-1 pipeops-prod-api"
      "us-east-1/pipeops-prod-frontend" = "us-east-1 pipeops-prod-frontend"
    }
    error_message = "one for each repository"
  }
  assert {
    condition = alltrue([for template in aws_ecr_repository_creation_template.replica : (
      template.applied_for == toset(["REPLICATION"])
      && template.image_tag_mutability == "IMMUTABLE"
      && template.encryption_configuration[0].encryption_type == "KMS"
      && template.lifecycle_policy == trimspace(file("tests/fixtures/lifecycle/seed.json"))
      && template.repository_policy == output.repository_policy
      && template.resource_tags == tomap({ Project = "pipeops", Environment = "prod", Team = "platform" })
    )])
    error_message = "for replication, with the settings of the sources"
  }
}

run "templates_leave_out_the_same_tags" {
  command = plan

  variables {
    image_tag_mutability                   = "IMMUTABLE_WITH_EXCLUSION"
    image_tag_mutability_exclusion_filters = ["sha256-*", "latest"]
  }

  assert {
    condition = alltrue([for template in aws_ecr_repository_creation_template.replica : (
      template.image_tag_mutability == "IMMUTABLE_WITH_EXCLUSION"
      && [for filter in template.image_tag_mutability_exclusion_filter : filter.filter] == ["sha256-*", "latest"]
    )])
    error_message = "exclusions"
  }
}

run "role_of_the_templates" {
  command = plan

  override_resource {
    target          = aws_kms_key.replica["us-east-1"]
    override_during = plan
    values          = { arn = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555" }
  }

  assert {
    condition = jsondecode(aws_iam_role.replica_templates[0].assume_role_policy).Statement == [
      { Sid = "Ecr", Effect = "Allow", Principal = { Service = "ecr.amazonaws.com" }, Action = "sts:AssumeRole" },
    ]
    error_message = "only ECR takes it"
  }
  assert {
    condition = jsondecode(aws_iam_role_policy.replica_templates[0].policy).Statement == [
      {
        Sid    = "Repositories"
        Effect = "Allow"
        Action = ["ecr:CreateRepository", "ecr:ReplicateImage", "ecr:TagResource"]
        Resource = [for name in ["api", "api/*", "frontend", "frontend/*"] :
          "arn:aws:ecr:us-east-1:123456789012:repository/pipeops-prod-${name}"
        ]
      },
      {
        Sid      = "Keys"
        Effect   = "Allow"
        Action   = ["kms:CreateGrant", "kms:DescribeKey", "kms:RetireGrant"]
        Resource = ["arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555"]
      },
    ]
    error_message = "creates these repositories, with this key"
  }
}

run "a_template_for_every_repository_of_the_region" {
  command = plan

  variables {
    replica_template_prefixes = ["ROOT"]
  }

  override_resource {
    target          = aws_kms_key.replica["us-east-1"]
    override_during = plan
    values          = { arn = "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555" }
  }

  assert {
    condition     = [for template in values(aws_ecr_repository_creation_template.replica) : template.prefix] == ["ROOT"]
    error_message = "one, for what has no other"
  }
  assert {
    condition     = jsondecode(aws_iam_role_policy.replica_templates[0].policy).Statement[0].Resource == ["arn:aws:ecr:us-east-1:123456789012:repository/*"]
    error_message = "it has to be able to create any repository there"
  }
}

run "no_templates" {
  command = plan

  variables {
    replica_template_prefixes = []
  }

  assert {
    condition     = length(aws_ecr_repository_creation_template.replica) + length(aws_iam_role.replica_templates) + length(aws_iam_role_policy.replica_templates) == 0
    error_message = "neither templates nor a role for them"
  }
  assert {
    condition     = length(aws_ecr_repository.replica) == 2 && length(module.registry) == 1
    error_message = "all else is there"
  }
}

run "copies_that_ecr_creates" {
  command = plan

  variables {
    create_replica_repositories = false
  }

  assert {
    condition     = length(aws_ecr_repository.replica) + length(aws_ecr_lifecycle_policy.replica) + length(aws_ecr_repository_policy.replica) == 0
    error_message = "no repository in us-east-1"
  }
  assert {
    condition     = length(aws_ecr_repository_creation_template.replica) == 2
    error_message = "the templates are there"
  }
}

run "somebody_else_owns_the_replication_configuration" {
  command = plan

  variables {
    manage_replication_configuration = false
  }

  assert {
    condition     = length(module.registry) == 0
    error_message = "not written"
  }
  assert {
    condition     = length(output.replication_rules[0].filters) == 2 && length(aws_ecr_repository.replica) == 2
    error_message = "but the owner is told the rule, and everything is ready for it"
  }
}

run "dr_region_alone_is_enough" {
  command = plan

  variables {
    replication_regions = []
  }

  assert {
    condition     = [for destination in module.registry[0].replication_rules[0].destinations : destination.region] == ["us-east-1"]
    error_message = "replicates to dr_region"
  }
}

run "two_regions" {
  command = plan

  variables {
    replication_regions = ["us-east-1", "eu-west-1"]
  }

  assert {
    condition     = toset([for repository in aws_ecr_repository.replica : "${repository.region} ${repository.name}"]) == toset([for pair in setproduct(["us-east-1", "eu-west-1"], ["api", "frontend"]) : "${pair[0]} pipeops-prod-${pair[1]}"])
    error_message = "both repositories in both"
  }
  assert {
    condition     = [for key in values(aws_kms_key.replica) : key.region] == ["eu-west-1", "us-east-1"]
    error_message = "a key in both"
  }
  assert {
    condition     = length(module.registry[0].replication_rules[0].destinations) == 2
    error_message = "two destinations"
  }
}

run "off" {
  command = plan

  variables {
    enable_replication = false
  }

  assert {
    condition = (
      length(aws_kms_key.replica) + length(aws_ecr_repository.replica) + length(aws_ecr_repository_creation_template.replica)
      + length(module.registry) == 0
    )
    error_message = "regions alone do nothing"
  }
}

run "not_outside_prod" {
  command = plan

  variables {
    environment = "staging"
  }

  expect_failures = [terraform_data.replica]
}

run "not_outside_prod_whoever_owns_the_configuration" {
  command = plan

  variables {
    environment                      = "staging"
    manage_replication_configuration = false
  }

  expect_failures = [terraform_data.replica]
}

run "outside_prod_when_allowed" {
  command = plan

  variables {
    environment                    = "staging"
    allow_replication_outside_prod = true
  }

  assert {
    condition     = length(module.registry) == 1
    error_message = "replicates"
  }
}

run "not_to_itself" {
  command = plan

  variables {
    dr_region           = null
    replication_regions = ["us-west-2"]
  }

  expect_failures = [terraform_data.replica]
}
