# Push and pull are two policies: what builds images need not run them, and what runs them must not change them.

locals {
  # The limits of IAM (IAM user guide, "IAM and AWS STS quotas"; white space is not counted, and jsonencode writes none).
  managed_policy_limit = 6144
  role_policy_limit    = 10240

  # A policy says which repositories it is about by their ARNs or, where that list would be too long, by the beginning that all of their
  # names have and by the tags that all of them have: `pipeops-prod-*` alone would also be for `pipeops-prod-eu-api`.
  targets = {
    list = {
      arns      = { for region, arns in local.repository_arns : region => values(arns) }
      condition = {}
    }
    pattern = {
      arns = { for region in keys(local.repository_arns) : region => ["arn:${local.partition}:ecr:${region}:${local.account_id}:repository/${local.prefix}-*"] }
      condition = { Condition = { StringEquals = {
        for tag in ["Environment", "Project"] : "aws:ResourceTag/${tag}" => local.tags[tag]
      } } }
    }
  }

  # GetAuthorizationToken knows no resource: the token lets nobody do more than their other permissions say.
  log_in = {
    Sid      = "LogIn"
    Effect   = "Allow"
    Action   = ["ecr:GetAuthorizationToken"]
    Resource = "*"
  }

  push_policies = { for form, target in local.targets : form => jsonencode({
    Version = "2012-10-17"
    Statement = [
      local.log_in,
      merge(target.condition, {
        Sid    = "Push"
        Effect = "Allow"
        Action = [
          "ecr:BatchCheckLayerAvailability",
          "ecr:BatchGetImage",
          "ecr:CompleteLayerUpload",
          "ecr:GetDownloadUrlForLayer",
          "ecr:InitiateLayerUpload",
          "ecr:PutImage",
          "ecr:UploadLayerPart",
        ]
        Resource = target.arns[local.region]
      }),
      merge(target.condition, {
        Sid      = "ReadScans"
        Effect   = "Allow"
        Action   = ["ecr:DescribeImageScanFindings", "ecr:DescribeImages"]
        Resource = target.arns[local.region]
      }),
    ]
  }) }

  pull_policies = { for form, target in local.targets : form => jsonencode({
    Version = "2012-10-17"
    Statement = [
      local.log_in,
      merge(target.condition, {
        Sid      = "Pull"
        Effect   = "Allow"
        Action   = local.node_pull_actions
        Resource = sort(flatten(values(target.arns)))
      }),
    ]
  }) }

  push_policy = length(local.push_policies.list) <= local.managed_policy_limit ? local.push_policies.list : local.push_policies.pattern
  pull_policy = length(local.pull_policies.list) <= local.managed_policy_limit ? local.pull_policies.list : local.pull_policies.pattern
}

# For a pipeline. It can neither delete nor archive an image, nor change a repository. Apart from that it reads a repository's
# own results only.
resource "aws_iam_policy" "github_actions_push" {
  count = var.create && var.create_github_actions_policy ? 1 : 0

  name        = "${local.prefix}-ecr-push${var.name_suffix}"
  description = "Push images to the repositories of ${local.prefix} and read what their scans found"
  tags        = local.tags
  policy      = local.push_policy
}

# For nodes, here and in the replication regions: after a disaster, nobody should have to write a policy first.
resource "aws_iam_policy" "eks_node_pull" {
  count = var.create ? 1 : 0

  name        = "${local.prefix}-ecr-pull${var.name_suffix}"
  description = "Pull images from the repositories of ${local.prefix} and their copies"
  tags        = local.tags
  policy      = local.pull_policy

  lifecycle {
    precondition {
      condition     = length(local.pull_policy) <= local.managed_policy_limit
      error_message = "The pull policy has ${length(local.pull_policy)} characters, and IAM takes ${local.managed_policy_limit}: replicate to fewer regions."
    }
    precondition {
      # A copy that ECR creates by itself has the tags of a template only where a template is for it.
      condition     = local.pull_policy == local.pull_policies.list || length(local.replica_regions) == 0 || var.create_replica_repositories
      error_message = "With this number of repositories, the pull policy goes by the tags of the copies, and those that ECR creates by itself have none: set create_replica_repositories to true."
    }
  }
}

locals {
  # With `null`, the policy is attached in any case: to the nodes' role, or to the role below in its place. Whether an ARN is given
  # cannot decide about a `count`, since the ARN of a role in the same plan is not known yet, and so not whether it is null.
  attaches_pull_policy = var.create && var.attach_eks_node_pull_policy != false
  has_stand_in         = var.create && var.attach_eks_node_pull_policy == null
}

# Pulls images in place of the nodes' role while that is not given; without the policy as soon as it is. Who may take it, the account's
# IAM policies say.
resource "aws_iam_role" "pull" {
  count = local.has_stand_in ? 1 : 0

  name                 = "${local.prefix}-ecr-pull${var.name_suffix}"
  description          = "Pulls images of ${local.prefix} while the nodes have no role"
  max_session_duration = 3600
  permissions_boundary = var.permissions_boundary_arn
  tags                 = local.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Account"
      Effect    = "Allow"
      Principal = { AWS = "arn:${local.partition}:iam::${local.account_id}:root" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy_attachment" "eks_node_pull" {
  count = local.attaches_pull_policy ? 1 : 0

  # The name is what follows the last /: a path is part of an ARN, not of a name.
  role       = var.eks_node_role_arn == null ? aws_iam_role.pull[0].name : element(split("/", var.eks_node_role_arn), -1)
  policy_arn = aws_iam_policy.eks_node_pull[0].arn

  lifecycle {
    precondition {
      condition     = var.eks_node_role_arn == null ? true : split(":", var.eks_node_role_arn)[4] == local.account_id
      error_message = "eks_node_role_arn is a role of another account, where this policy cannot be attached. Name the role in pull_principal_arns instead, and give it the permission to pull over there."
    }
  }
}
