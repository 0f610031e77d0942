output "repository_urls" {
  description = "Name in `ecr_repository_names` to the repository's address, as in `docker push <address>:<tag>`."
  value       = { for name, repository in aws_ecr_repository.this : name => repository.repository_url }
}

output "repository_arns" {
  description = "Name in `ecr_repository_names` to the repository's ARN."
  value       = { for name, repository in aws_ecr_repository.this : name => repository.arn }
}

output "kms_key_arn" {
  description = "Key that the images are encrypted with."
  value       = try(local.key_arns[local.region], null)
}

output "github_actions_push_policy_arn" {
  description = "Policy for pushing; `null` unless `create_github_actions_policy`."
  value       = one(aws_iam_policy.github_actions_push[*].arn)
}

output "eks_node_pull_policy_arn" {
  description = "Policy for pulling."
  value       = one(aws_iam_policy.eks_node_pull[*].arn)
}

output "docker_login_command" {
  description = "Command that logs docker in to the registry, for twelve hours."
  value       = "aws ecr get-login-password --region ${local.region} | docker login --username AWS --password-stdin ${local.registries[local.region]}"
}

output "repository_names" {
  description = "Name in `ecr_repository_names` to the repository's name in the registry."
  value       = local.repositories
}

output "registry" {
  description = "The registry's host, the beginning of every address."
  value       = local.registries[local.region]
}

output "replica_repository_urls" {
  description = "Replication region to the addresses of the copies, as `repository_urls`."
  value = { for region in local.replica_regions : region => {
    for name, repository in local.repositories : name => "${local.registries[region]}/${repository}"
  } }
}

output "replica_kms_key_arns" {
  description = "Replication region to the key that its images are encrypted with."
  value       = { for region in local.replica_regions : region => local.key_arns[region] }
}

output "replica_docker_login_commands" {
  description = "Replication region to the command that logs docker in there."
  value = { for region in local.replica_regions :
    region => "aws ecr get-login-password --region ${region} | docker login --username AWS --password-stdin ${local.registries[region]}"
  }
}

output "replication_rules" {
  description = "The replication rules of this module, for the stack that owns the replication configuration: rules with `destinations` and up to 100 `filters`; none when replication is off."
  value       = length(local.replica_regions) == 0 ? [] : local.replication_rules
}

output "lifecycle_policies" {
  description = "Name in `ecr_repository_names` to the repository's lifecycle policy, as JSON."
  value       = { for name in keys(local.repositories) : name => local.lifecycle_policies[name] }
}

output "lifecycle_policy" {
  description = "The lifecycle policy of every repository that `repository_overrides` does not name, as JSON."
  value       = local.lifecycle_policy
}

output "repository_policy" {
  description = "The policy of every repository, as JSON; `null` when there is none."
  value       = local.repository_policy
}

output "github_actions_role_arn" {
  description = "Role for workflows; `null` without `github_repositories`."
  value       = one(aws_iam_role.github_actions_push[*].arn)
}

output "eks_node_pull_policy_attached" {
  description = "Is the pull policy attached to `eks_node_role_arn`?"
  value       = local.attaches_pull_policy && var.eks_node_role_arn != null
}

output "pull_role_arn" {
  description = "Role that pulls in place of the nodes' role, which was not given; `null` unless `attach_eks_node_pull_policy` is `null`."
  value       = one(aws_iam_role.pull[*].arn)
}
