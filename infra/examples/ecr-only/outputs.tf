output "repository_urls" {
  description = "Where to push each image."
  value       = module.ecr.repository_urls
}

output "github_actions_push_policy_arn" {
  description = "Policy for the role that workflows take."
  value       = module.ecr.github_actions_push_policy_arn
}

output "docker_login_command" {
  description = "Command that logs docker in."
  value       = module.ecr.docker_login_command
}
