data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {}

locals {
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  region     = coalesce(var.aws_region, data.aws_region.current.region)
  prefix     = "${var.project_name}-${var.environment}"
  tags       = merge({ Project = var.project_name, Environment = var.environment }, var.tags)

  # Name in the variable => name in the registry.
  repositories = { for name in var.ecr_repository_names : name => "${local.prefix}-${name}" if var.create }

  # How a repository is kept, by its name in the variable; under an empty name, how one is that is not named.
  settings = { for name in concat([""], keys(local.repositories)) : name => {
    image_tag_mutability = coalesce(try(var.repository_overrides[name].image_tag_mutability, null), var.image_tag_mutability)
    image_tag_mutability_exclusion_filters = (
      try(var.repository_overrides[name].image_tag_mutability, null) == null ? var.image_tag_mutability_exclusion_filters
      : var.repository_overrides[name].image_tag_mutability_exclusion_filters
    )
    scan_on_push                   = try(coalesce(var.repository_overrides[name].scan_on_push, var.scan_on_push), var.scan_on_push)
    lifecycle_keep_count           = try(coalesce(var.repository_overrides[name].lifecycle_keep_count, var.lifecycle_keep_count), var.lifecycle_keep_count)
    lifecycle_expire_untagged_days = try(coalesce(var.repository_overrides[name].lifecycle_expire_untagged_days, var.lifecycle_expire_untagged_days), var.lifecycle_expire_untagged_days)
  } }

  replica_regions = toset(!var.enable_replication || !var.create ? [] : length(var.replication_regions) > 0 ? var.replication_regions : [var.dr_region])

  # The ARNs are put together here, not read from the resources: so a plan shows the policies as they will be.
  repository_arns = { for region in setunion([local.region], local.replica_regions) : region => {
    for name, repository in local.repositories : name => "arn:${local.partition}:ecr:${region}:${local.account_id}:repository/${repository}"
  } }

  # The registry's host, as in an image's name.
  registries = { for region in setunion([local.region], local.replica_regions) :
    region => "${local.account_id}.dkr.ecr.${region}.${data.aws_partition.current.dns_suffix}"
  }

  # ECR leaves an image to the first rule whose tags it has, so that a pattern must stand before those that contain it. A
  # pattern that contains another has no more characters apart from `*`, and with the same number, more `*`: by that, the
  # narrowest pattern comes first, and `*` last. The author's order comes before it.
  lifecycle_expire_by_width = [
    for key in sort([for pattern in keys(var.lifecycle_expire_tagged) : format("%03d %d %s", 128 - length(replace(pattern, "*", "")), length(regexall("[*]", pattern)), pattern)]) :
    split(" ", key)[2]
  ]
  lifecycle_expire_order = concat(
    var.lifecycle_expire_order,
    [for pattern in local.lifecycle_expire_by_width : pattern if !contains(var.lifecycle_expire_order, pattern)]
  )

  # Rules that could never act, each with the earlier one that takes all its images. `v*` is the first rule. A pattern contains another if it
  # matches its text: a `*` in a text is only matched by a `*`.
  lifecycle_patterns = concat(["v*"], local.lifecycle_expire_order)
  lifecycle_eaten = flatten([for index, later in local.lifecycle_patterns : [
    for earlier in slice(local.lifecycle_patterns, 0, index) : "`${later}` by `${earlier}`"
    if length(regexall("^${replace(replace(earlier, ".", "\\."), "*", ".*")}$", later)) > 0
  ]])

  # Two rules, as `tests/fixtures/lifecycle` has them; jsonencode writes members in alphabetical order and without spaces.
  # ECR evaluates all rules and then applies them by priority: an image with a v tag is never subject to a later rule, even
  # while the first one keeps it. Several prefixes in one rule would mean an image that has tags with all of them.
  lifecycle_policy = local.lifecycle_policies[""]
  lifecycle_policies = { for name, settings in local.settings : name => jsonencode({
    rules = concat(
      [
        {
          rulePriority = 1
          description  = "Keep the newest ${settings.lifecycle_keep_count} images with a v tag"
          selection = {
            tagStatus     = "tagged"
            tagPrefixList = ["v"]
            countType     = "imageCountMoreThan"
            countNumber   = settings.lifecycle_keep_count
          }
          action = { type = "expire" }
        },
        {
          rulePriority = 2
          description  = "Expire untagged images ${settings.lifecycle_expire_untagged_days} days after their push"
          selection = {
            tagStatus   = "untagged"
            countType   = "sinceImagePushed"
            countUnit   = "days"
            countNumber = settings.lifecycle_expire_untagged_days
          }
          action = { type = "expire" }
        },
      ],
      [
        for index, pattern in local.lifecycle_expire_order : {
          rulePriority = index + 3
          description  = "Expire images tagged ${pattern} ${var.lifecycle_expire_tagged[pattern]} days after their push"
          selection = {
            tagStatus      = "tagged"
            tagPatternList = [pattern]
            countType      = "sinceImagePushed"
            countUnit      = "days"
            countNumber    = var.lifecycle_expire_tagged[pattern]
          }
          action = { type = "expire" }
        }
      ],
    )
  }) }

  # The actions that a client needs in order to pull, and no more. A referrer is read with the same actions: there is no other
  # for it.
  pull_actions = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
  # The first pull through a cache brings the image here.
  node_pull_actions = concat(local.pull_actions, var.pull_upstream_images ? ["ecr:BatchImportUpstreamImage"] : [])

  # A repository policy speaks of its own repository: it has no Resource.
  repository_policy_statements = concat(
    length(var.pull_principal_arns) == 0 ? [] : [jsonencode({
      Sid       = "Pull"
      Effect    = "Allow"
      Principal = { AWS = var.pull_principal_arns }
      Action    = local.node_pull_actions
    })],
    length(var.pull_organization_ids) == 0 ? [] : [jsonencode({
      Sid       = "PullForOrganization"
      Effect    = "Allow"
      Principal = "*"
      Action    = local.node_pull_actions
      Condition = { StringEquals = { "aws:PrincipalOrgID" = var.pull_organization_ids } }
    })],
    # Lambda fetches the image itself, when a function is made and again and again later (Lambda developer guide, "Amazon ECR permissions").
    length(var.lambda_function_arns) == 0 ? [] : [jsonencode({
      Sid       = "LambdaECRImageRetrievalPolicy"
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      Condition = {
        ArnLike      = { "aws:SourceArn" = var.lambda_function_arns }
        StringEquals = { "aws:SourceAccount" = distinct([for arn in var.lambda_function_arns : split(":", arn)[4]]) }
      }
    })],
    [for statement in var.repository_policy_statements : jsonencode(statement)],
    !var.deletion_protection ? [] : [jsonencode({
      Sid       = "KeepRepository"
      Effect    = "Deny"
      Principal = "*"
      Action    = ["ecr:DeleteRepository"]
    })],
    var.image_removal_principal_arns == null ? [] : [jsonencode(merge(
      {
        Sid       = "KeepImages"
        Effect    = "Deny"
        Principal = "*"
        Action    = ["ecr:BatchDeleteImage", "ecr:UpdateImageStorageClass"]
      },
      length(coalesce(var.image_removal_principal_arns, [])) == 0 ? {} : {
        Condition = { ArnNotEquals = { "aws:PrincipalArn" = var.image_removal_principal_arns } }
      },
    ))],
  )
  repository_policy = length(local.repository_policy_statements) == 0 ? null : jsonencode({
    Version   = "2012-10-17"
    Statement = [for statement in local.repository_policy_statements : jsondecode(statement)]
  })
}
