# Workflows take a role by OpenID Connect: no key is stored anywhere. A job sends who it is as its subject, and the role trusts
# a list of subjects, word for word.

locals {
  github_issuer = var.github_issuer

  # For example repo:pipeops/api:ref:refs/heads/main, and with ids repo:pipeops@1/api@2:ref:refs/heads/main.
  github_subjects = sort(concat(var.github_subjects, flatten([
    for repository in var.github_repositories : [
      for origin in concat(
        contains(var.github_subject_formats, "name") ? ["repo:${repository.owner}/${repository.name}"] : [],
        contains(var.github_subject_formats, "id") && repository.owner_id != null
        ? ["repo:${repository.owner}@${coalesce(repository.owner_id, "-")}/${repository.name}@${coalesce(repository.repository_id, "-")}"] : [],
        ) : concat(
        [for branch in repository.branches : "${origin}:ref:refs/heads/${branch}"],
        [for tag in repository.tags : "${origin}:ref:refs/tags/${tag}"],
        [for environment in repository.environments : "${origin}:environment:${environment}"],
      )
    ]
  ])))
  create_github_role = var.create && length(var.github_repositories) + length(var.github_subjects) > 0

  github_trust = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Workflows"
      Effect    = "Allow"
      Principal = { Federated = var.create && var.create_github_oidc_provider ? aws_iam_openid_connect_provider.github[0].arn : var.github_oidc_provider_arn }
      Action    = "sts:AssumeRoleWithWebIdentity"
      Condition = {
        StringEquals = {
          "${local.github_issuer}:aud" = "sts.amazonaws.com"
          "${local.github_issuer}:sub" = local.github_subjects
        }
      }
    }]
  })
}

# Without thumbprints: AWS verifies GitHub's certificate by its own list of authorities.
resource "aws_iam_openid_connect_provider" "github" {
  count = var.create && var.create_github_oidc_provider ? 1 : 0

  url            = "https://${local.github_issuer}"
  client_id_list = ["sts.amazonaws.com"]
  tags           = local.tags
}

resource "aws_iam_role" "github_actions_push" {
  count = local.create_github_role ? 1 : 0

  name                 = "${local.prefix}-ecr-github${var.name_suffix}"
  description          = "Workflows on GitHub push images of ${local.prefix} as this role"
  max_session_duration = 3600
  permissions_boundary = var.permissions_boundary_arn
  tags                 = local.tags

  assume_role_policy = local.github_trust

  lifecycle {
    precondition {
      # IAM user guide, "IAM and AWS STS quotas"; AWS raises it to 4,096 on request, and only then.
      condition     = try(length(local.github_trust) <= 2048, true)
      error_message = "The role for workflows would trust ${length(local.github_subjects)} subjects, more than fit into the 2,048 characters of a trust policy. Name fewer of github_repositories, or only one form of subject (github_subject_formats)."
    }
  }
}

resource "aws_iam_role_policy_attachment" "github_actions_push" {
  count = local.create_github_role ? 1 : 0

  role       = aws_iam_role.github_actions_push[0].name
  policy_arn = aws_iam_policy.github_actions_push[0].arn
}

# Nothing but the question: the gate itself reads what it needs.
resource "aws_iam_role_policy" "github_actions_gate" {
  count = local.create_github_role && length(var.github_gate_arns) > 0 ? 1 : 0

  name = "ask-the-gate"
  role = aws_iam_role.github_actions_push[0].name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "AskTheGate"
      Effect   = "Allow"
      Action   = ["lambda:InvokeFunction"]
      Resource = var.github_gate_arns
    }]
  })
}
