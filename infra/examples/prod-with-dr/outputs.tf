output "repository_urls" {
  description = "Addresses of the repositories."
  value       = module.ecr.repository_urls
}

output "topic_arns" {
  description = "Alert topics by region and route."
  value       = { (local.region) = module.guard.topic_arns, (local.dr_region) = module.guard_dr.topic_arns }
}

output "policies" {
  description = "The policy document as the functions get it, JSON, by region."
  value       = { (local.region) = module.guard.policy, (local.dr_region) = module.guard_dr.policy }
}
