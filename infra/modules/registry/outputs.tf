output "scanning" {
  description = "Region to scan type and frequency; empty where it is left alone."
  value       = { for region, configuration in aws_ecr_registry_scanning_configuration.this : region => { scan_type = configuration.scan_type, frequencies = [for rule in configuration.rule : rule.scan_frequency] } }
}

output "replication_rules" {
  description = "The replication rules."
  value       = local.replication_rules
}

output "region" {
  description = "Region of the registry."
  value       = local.region
}
