output "gate_arn" {
  description = "What deployments and pipelines ask."
  value       = module.guard.gate_arn
}

output "hook" {
  description = "The hook of the service: its stages and its details, JSON."
  value       = one([for hook in aws_ecs_service.api.deployment_configuration[0].lifecycle_hook : { stages = hook.lifecycle_stages, details = hook.hook_details }])
}

output "hook_policy" {
  description = "What ECS may do by the role of the hook, JSON."
  value       = aws_iam_role_policy.hook.policy
}
