output "topic_arns" {
  description = "Alert topics by route."
  value       = module.guard.topic_arns
}

output "policies" {
  description = "The policy document as the functions get it, JSON, by region."
  value       = { eu-central-1 = module.guard.policy }
}
