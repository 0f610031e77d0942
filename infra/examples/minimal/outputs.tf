output "repository_urls" {
  description = "Addresses of the repositories."
  value       = module.ecr.repository_urls
}

output "topic_arns" {
  description = "Alert topics by route."
  value       = module.guard.topic_arns
}

output "policies" {
  description = "The policy document as the functions get it, JSON, by region."
  value       = { us-west-2 = module.guard.policy }
}
