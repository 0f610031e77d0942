# Values that are refused, each with a message that says what to write instead.

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
  ecr_repository_names = ["api"]
}

run "project_name_in_upper_case" {
  command = plan
  variables {
    project_name = "PipeOps"
  }
  expect_failures = [var.project_name]
}

run "project_name_too_long" {
  command = plan
  variables {
    project_name = "pipeops-pipeops-pipeops-pi"
  }
  expect_failures = [var.project_name]
}

run "environment_with_an_underscore" {
  command = plan
  variables {
    environment = "prod_eu"
  }
  expect_failures = [var.environment]
}

run "no_repository" {
  command = plan
  variables {
    ecr_repository_names = []
  }
  expect_failures = [var.ecr_repository_names]
}

run "a_repository_twice" {
  command = plan
  variables {
    ecr_repository_names = ["api", "api"]
  }
  expect_failures = [var.ecr_repository_names]
}

run "a_repository_with_a_tag" {
  command = plan
  variables {
    ecr_repository_names = ["api:latest"]
  }
  expect_failures = [var.ecr_repository_names]
}

run "a_repository_in_upper_case" {
  command = plan
  variables {
    ecr_repository_names = ["API"]
  }
  expect_failures = [var.ecr_repository_names]
}

run "an_availability_zone" {
  command = plan
  variables {
    aws_region = "us-west-2a"
  }
  expect_failures = [var.aws_region]
}

run "dr_in_an_availability_zone" {
  command = plan
  variables {
    dr_region = "us-east-1a"
  }
  expect_failures = [var.dr_region]
}

run "dr_region_that_gets_no_copy" {
  command = plan
  variables {
    dr_region           = "us-east-1"
    replication_regions = ["eu-west-1"]
  }
  expect_failures = [var.dr_region]
}

run "mutability_in_lower_case" {
  command = plan
  variables {
    image_tag_mutability = "immutable"
  }
  expect_failures = [var.image_tag_mutability]
}

run "exclusions_without_their_rule" {
  command = plan
  variables {
    image_tag_mutability_exclusion_filters = ["sha256-*"]
  }
  expect_failures = [var.image_tag_mutability_exclusion_filters]
}

run "a_rule_without_its_exclusions" {
  command = plan
  variables {
    image_tag_mutability = "IMMUTABLE_WITH_EXCLUSION"
  }
  expect_failures = [var.image_tag_mutability_exclusion_filters]
}

run "three_wildcards_in_an_exclusion" {
  command = plan
  variables {
    image_tag_mutability                   = "IMMUTABLE_WITH_EXCLUSION"
    image_tag_mutability_exclusion_filters = ["*a*b*"]
  }
  expect_failures = [var.image_tag_mutability_exclusion_filters]
}

run "keep_nothing" {
  command = plan
  variables {
    lifecycle_keep_count = 0
  }
  expect_failures = [var.lifecycle_keep_count]
}

run "keep_half_an_image" {
  command = plan
  variables {
    lifecycle_keep_count = 0.5
  }
  expect_failures = [var.lifecycle_keep_count]
}

run "untagged_expire_at_once" {
  command = plan
  variables {
    lifecycle_expire_untagged_days = 0
  }
  expect_failures = [var.lifecycle_expire_untagged_days]
}

run "other_tags_expire_at_once" {
  command = plan
  variables {
    lifecycle_expire_tagged = { "pr-*" = 0 }
  }
  expect_failures = [var.lifecycle_expire_tagged]
}

run "a_pattern_whose_images_the_first_rule_takes" {
  command = plan
  variables {
    lifecycle_expire_tagged = { "v*-rc*" = 14 }
  }
  expect_failures = [aws_ecr_lifecycle_policy.this]
}

run "two_patterns_for_the_same_images" {
  command = plan
  variables {
    lifecycle_expire_tagged = { "*" = 14, "**" = 30 }
  }
  expect_failures = [aws_ecr_lifecycle_policy.this]
}

run "an_order_in_which_a_pattern_never_acts" {
  command = plan
  variables {
    lifecycle_expire_tagged = { "main-*" = 30, "main-release-*" = 365 }
    lifecycle_expire_order  = ["main-*", "main-release-*"]
  }
  expect_failures = [aws_ecr_lifecycle_policy.this]
}

run "an_order_of_patterns_that_have_no_rule" {
  command = plan
  variables {
    lifecycle_expire_tagged = { "main-*" = 30 }
    lifecycle_expire_order  = ["main"]
  }
  expect_failures = [var.lifecycle_expire_order]
}

run "a_key_that_is_deleted_soon" {
  command = plan
  variables {
    kms_deletion_window_days = 1
  }
  expect_failures = [var.kms_deletion_window_days]
}

run "scan_type_in_lower_case" {
  command = plan
  variables {
    registry_scan_type = "enhanced"
  }
  expect_failures = [var.registry_scan_type]
}

run "replication_to_nowhere" {
  command = plan
  variables {
    enable_replication = true
  }
  expect_failures = [var.enable_replication]
}

run "a_replication_region_twice" {
  command = plan
  variables {
    replication_regions = ["us-east-1", "us-east-1"]
  }
  expect_failures = [var.replication_regions]
}

run "a_replication_region_by_its_name" {
  command = plan
  variables {
    replication_regions = ["N. Virginia"]
  }
  expect_failures = [var.replication_regions]
}

run "a_template_prefix_with_a_slash" {
  command = plan
  variables {
    replica_template_prefixes = ["pipeops/"]
  }
  expect_failures = [var.replica_template_prefixes]
}

run "an_instance_profile" {
  command = plan
  variables {
    eks_node_role_arn = "arn:aws:iam::123456789012:instance-profile/eks-node"
  }
  expect_failures = [var.eks_node_role_arn]
}

run "attach_to_nothing" {
  command = plan
  variables {
    attach_eks_node_pull_policy = true
  }
  expect_failures = [var.attach_eks_node_pull_policy]
}

run "anybody_may_pull" {
  command = plan
  variables {
    pull_principal_arns = ["*"]
  }
  expect_failures = [var.pull_principal_arns]
}

run "force_delete_in_prod" {
  command = plan
  variables {
    force_delete = true
  }
  expect_failures = [var.force_delete]
}

run "anybody_may_remove" {
  command = plan
  variables {
    image_removal_principal_arns = ["arn:aws:iam::123456789012:role/*"]
  }
  expect_failures = [var.image_removal_principal_arns]
}

run "a_boundary_that_is_a_role" {
  command = plan
  variables {
    permissions_boundary_arn = "arn:aws:iam::123456789012:role/boundary"
  }
  expect_failures = [var.permissions_boundary_arn]
}

run "a_provider_of_somebody_else" {
  command = plan
  variables {
    github_oidc_provider_arn = "arn:aws:iam::123456789012:oidc-provider/gitlab.com"
  }
  expect_failures = [var.github_oidc_provider_arn]
}

run "no_subject_format" {
  command = plan
  variables {
    github_subject_formats = []
  }
  expect_failures = [var.github_subject_formats]
}

run "a_role_of_another_account" {
  command = plan
  variables {
    eks_node_role_arn = "arn:aws:iam::210987654321:role/eks-node"
  }
  expect_failures = [aws_iam_role_policy_attachment.eks_node_pull]
}
