# Push and pull are two policies: what builds images need not run them, and what runs them must not change them.

# For a pipeline. It can neither delete nor archive an image, nor change a repository. A repository's own results are all that it
# reads beside. GetAuthorizationToken knows no resource: the token lets nobody do more than their other permissions say.
resource "aws_iam_policy" "github_actions_push" {
  count = var.create_github_actions_policy ? 1 : 0

  name        = "${local.prefix}-ecr-push"
  description = "Push images to the repositories of ${local.prefix} and read what their scans found"
  tags        = local.tags

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "LogIn"
        Effect   = "Allow"
        Action   = ["ecr:GetAuthorizationToken"]
        Resource = "*"
      },
      {
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
        Resource = values(local.repository_arns[local.region])
      },
      {
        Sid      = "ReadScans"
        Effect   = "Allow"
        Action   = ["ecr:DescribeImageScanFindings", "ecr:DescribeImages"]
        Resource = values(local.repository_arns[local.region])
      },
    ]
  })
}

# For nodes, here and in the replication regions: after a disaster, nobody should have to write a policy first.
resource "aws_iam_policy" "eks_node_pull" {
  name        = "${local.prefix}-ecr-pull"
  description = "Pull images from the repositories of ${local.prefix} and their copies"
  tags        = local.tags

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "LogIn"
        Effect   = "Allow"
        Action   = ["ecr:GetAuthorizationToken"]
        Resource = "*"
      },
      {
        Sid      = "Pull"
        Effect   = "Allow"
        Action   = local.pull_actions
        Resource = sort(flatten([for arns in values(local.repository_arns) : values(arns)]))
      },
    ]
  })
}

locals {
  # With `null`, the policy is attached in any case: to the nodes' role, or to the role below in its place. Whether an ARN is given
  # cannot decide about a `count`, since the ARN of a role in the same plan is not known yet, and so not whether it is null.
  attaches_pull_policy = var.attach_eks_node_pull_policy != false
  has_stand_in         = var.attach_eks_node_pull_policy == null
}

# Pulls images in place of the nodes' role while that is not given; without the policy as soon as it is. Who may take it, the account's
# IAM policies say.
resource "aws_iam_role" "pull" {
  count = local.has_stand_in ? 1 : 0

  name                 = "${local.prefix}-ecr-pull"
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
  policy_arn = aws_iam_policy.eks_node_pull.arn

  lifecycle {
    precondition {
      condition     = var.eks_node_role_arn == null ? true : split(":", var.eks_node_role_arn)[4] == local.account_id
      error_message = "eks_node_role_arn is a role of another account, where this policy cannot be attached. Name the role in pull_principal_arns instead, and give it the permission to pull over there."
    }
  }
}
