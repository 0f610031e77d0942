locals {
  guards = merge({ (var.aws_region) = module.guard }, module.guard_elsewhere)
}

output "repository_urls" {
  description = "Addresses of the repositories, by name."
  value       = merge(module.ecr[*].repository_urls...)
}

output "docker_login_command" {
  description = "Command that logs docker in to the registry."
  value       = one(module.ecr[*].docker_login_command)
}

output "github_actions_push_policy_arn" {
  description = "Policy for a pipeline that pushes."
  value       = one(module.ecr[*].github_actions_push_policy_arn)
}

output "eks_node_pull_policy_arn" {
  description = "Policy for pulling."
  value       = one(module.ecr[*].eks_node_pull_policy_arn)
}

output "name" {
  description = "Name of the guard."
  value       = var.guard_name
}

output "region" {
  description = "Region of the registry."
  value       = var.aws_region
}

output "regions" {
  description = "Regions that are guarded; the registry's first."
  value       = concat([var.aws_region], sort(local.other_regions))
}

output "function_names" {
  description = "Deployed names of the functions, the same in every region."
  value       = module.guard.function_names
}

output "table_name" {
  description = "Name of the ledger's table, the same in every region."
  value       = module.guard.table_name
}

output "topic_arns" {
  description = "Alert topics by region and route."
  value       = { for region, guard in local.guards : region => guard.topic_arns }
}

output "alarm_topic_arns" {
  description = "Alarm topics by region."
  value       = { for region, guard in local.guards : region => guard.alarm_topic_arn }
}

output "gate_arns" {
  description = "ARNs that pipelines and deployment hooks invoke, by region; empty without `gate`."
  value       = { for region, guard in local.guards : region => guard.gate_arn if guard.gate_arn != null }
}

output "gate_invoker_policies" {
  description = "Policy documents for the roles that may ask the gate, by region; empty without `gate`."
  value       = { for region, guard in local.guards : region => guard.gate_invoker_policy if guard.gate_invoker_policy != null }
}

output "reader_policies" {
  description = "Policy documents for the roles of operators that use the command line, by region: to read the ledger and the registry, and to change nothing."
  value       = { for region, guard in local.guards : region => guard.reader_policy }
}

output "operate_arns" {
  description = "ARNs that `ecr-guard release` invokes, by region; empty without `operate`."
  value       = { for region, guard in local.guards : region => guard.operate_arn if guard.operate_arn != null }
}

output "operate_invoker_policies" {
  description = "Policy documents for the roles that may ask for releases, by region; empty without `operate`."
  value       = { for region, guard in local.guards : region => guard.operate_invoker_policy if guard.operate_invoker_policy != null }
}

output "queue_urls" {
  description = "Queues of what nobody took, by region."
  value       = { for region, guard in local.guards : region => guard.queue_urls }
}

output "dashboards" {
  description = "Names of the CloudWatch dashboards, by region."
  value       = { for region, guard in local.guards : region => guard.dashboard_name }
}

output "policies" {
  description = "The policy document as the functions get it, JSON, by region. `make plan` has it checked."
  value       = { for region, guard in local.guards : region => guard.policy }
}

output "kms_key_statements" {
  description = "Statements that the policy of a key in `guard_kms_key_arns` needs, JSON, by region. The plan shows them before anything is made."
  value       = { for region, guard in local.guards : region => guard.kms_key_statements }
}

output "architecture" {
  description = "Processor that the functions are built for."
  value       = var.architecture
}

output "policy_sha256" {
  description = "SHA-256 of the policy document, by region: rows of the ledger name it."
  value       = { for region, guard in local.guards : region => guard.policy_sha256 }
}

output "github_actions_role_arn" {
  description = "Role for workflows on GitHub."
  value       = one(module.ecr[*].github_actions_role_arn)
}
