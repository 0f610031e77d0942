# The settings that an account has once in each region: how the registry scans, and how it replicates.

# A basic scan is made once, at the push; Inspector looks again whenever it learns of a vulnerability, and knows what is in use.
resource "aws_ecr_registry_scanning_configuration" "this" {
  for_each = toset(var.scan_type == null ? [] : coalesce(var.scan_regions, [local.region]))

  region    = each.value
  scan_type = var.scan_type

  dynamic "rule" {
    for_each = !var.scan_on_push ? [] : [var.scan_type == "ENHANCED" ? "CONTINUOUS_SCAN" : "SCAN_ON_PUSH"]
    content {
      scan_frequency = rule.value
      repository_filter {
        filter      = "*"
        filter_type = "WILDCARD"
      }
    }
  }
}

data "aws_region" "current" {}

locals {
  region = coalesce(var.region, data.aws_region.current.region)
  # Rules of two modules may say the same.
  replication_rules = distinct(var.replication_rules)
}

resource "aws_ecr_replication_configuration" "this" {
  count = length(local.replication_rules) > 0 ? 1 : 0

  region = local.region

  replication_configuration {
    dynamic "rule" {
      for_each = local.replication_rules
      content {
        dynamic "destination" {
          for_each = rule.value.destinations
          content {
            region      = destination.value.region
            registry_id = destination.value.registry_id
          }
        }
        dynamic "repository_filter" {
          for_each = rule.value.filters
          content {
            filter      = repository_filter.value.filter
            filter_type = repository_filter.value.filter_type
          }
        }
      }
    }
  }

  lifecycle {
    precondition {
      # ECR user guide, "Amazon ECR service quotas".
      condition     = length(local.replication_rules) <= 10 && alltrue([for rule in local.replication_rules : length(rule.filters) <= 100])
      error_message = "A registry replicates by at most 10 rules of 100 filters each, and these are ${length(local.replication_rules)} rules."
    }
    precondition {
      condition     = length(distinct(flatten([for rule in local.replication_rules : [for to in rule.destinations : "${to.region} ${to.registry_id}"]]))) <= 25
      error_message = "A registry replicates to at most 25 destinations."
    }
  }

  # The first image that is replicated is scanned where it arrives.
  depends_on = [aws_ecr_registry_scanning_configuration.this]
}
