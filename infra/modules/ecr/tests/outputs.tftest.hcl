# The values that are known only after an apply: here the provider is mocked, so nothing is created anywhere.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws", dns_suffix = "amazonaws.com" }
  }
  mock_data "aws_region" {
    defaults = { region = "us-west-2" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/mock" }
  }
}

override_resource {
  target = aws_kms_key.this[0]
  values = { arn = "arn:aws:kms:us-west-2:123456789012:key/source" }
}

override_resource {
  target = aws_kms_key.replica["us-east-1"]
  values = { arn = "arn:aws:kms:us-east-1:123456789012:key/copy" }
}

override_resource {
  target = aws_ecr_repository.this["api"]
  values = {
    arn            = "arn:aws:ecr:us-west-2:123456789012:repository/pipeops-prod-api"
    repository_url = "123456789012.dkr.ecr.us-west-2.amazonaws.com/pipeops-prod-api"
  }
}

override_resource {
  target = aws_ecr_repository.this["worker"]
  values = {
    arn            = "arn:aws:ecr:us-west-2:123456789012:repository/pipeops-prod-worker"
    repository_url = "123456789012.dkr.ecr.us-west-2.amazonaws.com/pipeops-prod-worker"
  }
}

override_resource {
  target = aws_iam_policy.github_actions_push
  values = { arn = "arn:aws:iam::123456789012:policy/pipeops-prod-ecr-push" }
}

override_resource {
  target = aws_iam_policy.eks_node_pull[0]
  values = { arn = "arn:aws:iam::123456789012:policy/pipeops-prod-ecr-pull" }
}

override_resource {
  target = aws_iam_role.replica_templates
  values = { arn = "arn:aws:iam::123456789012:role/pipeops-prod-ecr-templates" }
}

override_resource {
  target = aws_iam_role.github_actions_push
  values = { arn = "arn:aws:iam::123456789012:role/pipeops-prod-ecr-github" }
}

override_resource {
  target = aws_iam_openid_connect_provider.github
  values = { arn = "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com" }
}

variables {
  project_name                 = "pipeops"
  environment                  = "prod"
  aws_region                   = "us-west-2"
  ecr_repository_names         = ["api", "worker"]
  enable_replication           = true
  replication_regions          = ["us-east-1"]
  create_github_actions_policy = true
  create_github_oidc_provider  = true
  eks_node_role_arn            = "arn:aws:iam::123456789012:role/eks-node"
  github_repositories          = [{ owner = "pipeops", name = "api", branches = ["main"] }]
}

run "outputs" {
  command = apply

  assert {
    condition = output.repository_urls == {
      api    = "123456789012.dkr.ecr.us-west-2.amazonaws.com/pipeops-prod-api"
      worker = "123456789012.dkr.ecr.us-west-2.amazonaws.com/pipeops-prod-worker"
    }
    error_message = "repository_urls"
  }
  assert {
    condition = output.repository_arns == {
      api    = "arn:aws:ecr:us-west-2:123456789012:repository/pipeops-prod-api"
      worker = "arn:aws:ecr:us-west-2:123456789012:repository/pipeops-prod-worker"
    }
    error_message = "repository_arns"
  }
  assert {
    condition     = output.repository_arns == local.repository_arns["us-west-2"] && alltrue([for url in values(output.repository_urls) : startswith(url, "${output.registry}/")])
    error_message = "the ARNs and the host that the module puts together are those that ECR gives"
  }
  assert {
    condition     = output.kms_key_arn == "arn:aws:kms:us-west-2:123456789012:key/source"
    error_message = "kms_key_arn"
  }
  assert {
    condition     = output.replica_kms_key_arns == { us-east-1 = "arn:aws:kms:us-east-1:123456789012:key/copy" }
    error_message = "replica_kms_key_arns"
  }
  assert {
    condition     = output.replica_repository_urls["us-east-1"]["api"] == "123456789012.dkr.ecr.us-east-1.amazonaws.com/pipeops-prod-api"
    error_message = "replica_repository_urls"
  }
  assert {
    condition = (
      output.github_actions_push_policy_arn == "arn:aws:iam::123456789012:policy/pipeops-prod-ecr-push"
      && output.eks_node_pull_policy_arn == "arn:aws:iam::123456789012:policy/pipeops-prod-ecr-pull"
      && output.github_actions_role_arn == "arn:aws:iam::123456789012:role/pipeops-prod-ecr-github"
    )
    error_message = "policies and role"
  }
}

run "everything_is_wired_to_what_it_belongs_to" {
  command = apply

  assert {
    condition     = alltrue([for repository in aws_ecr_repository.this : repository.encryption_configuration[0].kms_key == "arn:aws:kms:us-west-2:123456789012:key/source"])
    error_message = "images are encrypted with the key of their region"
  }
  assert {
    condition     = alltrue([for repository in aws_ecr_repository.replica : repository.encryption_configuration[0].kms_key == "arn:aws:kms:us-east-1:123456789012:key/copy"])
    error_message = "copies are encrypted with the key of theirs"
  }
  assert {
    condition = alltrue([for template in aws_ecr_repository_creation_template.replica : (
      template.encryption_configuration[0].kms_key == "arn:aws:kms:us-east-1:123456789012:key/copy"
      && template.custom_role_arn == "arn:aws:iam::123456789012:role/pipeops-prod-ecr-templates"
    )])
    error_message = "and so are those that ECR creates, as the role that may use the key"
  }
  assert {
    condition     = aws_iam_role_policy_attachment.eks_node_pull[0].policy_arn == output.eks_node_pull_policy_arn
    error_message = "nodes pull"
  }
  assert {
    condition     = aws_iam_role_policy_attachment.github_actions_push[0].policy_arn == output.github_actions_push_policy_arn
    error_message = "workflows push"
  }
  assert {
    condition     = jsondecode(aws_iam_role.github_actions_push[0].assume_role_policy).Statement[0].Principal.Federated == "arn:aws:iam::123456789012:oidc-provider/token.actions.githubusercontent.com"
    error_message = "the role trusts the provider"
  }
}
