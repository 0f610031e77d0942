# The ledger: what is known of every image. One table for all regions, with a replica in each.

locals {
  creates_ledger = var.ledger == null
  ledger_replica_key_arns = merge({ for region, key in aws_kms_key.ledger_replica : region => key.arn }, {
    for region, key in var.ledger_replica_kms_key_arns : region => key if contains(var.ledger_replica_regions, region)
  })
  ledger_key_arn = local.creates_ledger ? local.kms_key_arn : var.ledger.kms_key_arn
}

resource "aws_dynamodb_table" "ledger" {
  count = local.creates_ledger ? 1 : 0

  region                      = var.region
  name                        = local.table_name
  billing_mode                = "PAY_PER_REQUEST"
  hash_key                    = "pk"
  range_key                   = "sk"
  deletion_protection_enabled = var.ledger_deletion_protection

  lifecycle {
    precondition {
      condition     = !contains(var.ledger_replica_regions, local.region)
      error_message = "The ledger is in ${local.region}, which is also among `ledger_replica_regions`: take it out."
    }
  }

  # The stream that replicas are made of.
  stream_enabled   = length(var.ledger_replica_regions) > 0
  stream_view_type = length(var.ledger_replica_regions) > 0 ? "NEW_AND_OLD_IMAGES" : null
  tags             = var.tags

  attribute {
    name = "pk"
    type = "S"
  }

  attribute {
    name = "sk"
    type = "S"
  }

  # Rows of deleted images and counters have it; the row of a blocked image never does.
  ttl {
    attribute_name = "expires_at"
    enabled        = true
  }

  point_in_time_recovery {
    enabled = true
  }

  server_side_encryption {
    enabled     = true
    kms_key_arn = local.kms_key_arn
  }

  dynamic "replica" {
    for_each = toset(var.ledger_replica_regions)

    content {
      region_name                 = replica.value
      kms_key_arn                 = local.ledger_replica_key_arns[replica.value]
      point_in_time_recovery      = true
      deletion_protection_enabled = var.ledger_deletion_protection
      propagate_tags              = true
    }
  }
}

# A replica is encrypted with a key of its own region.
resource "aws_kms_key" "ledger_replica" {
  for_each = setsubtract(var.ledger_replica_regions, keys(var.ledger_replica_kms_key_arns))

  region                  = each.value
  description             = "${var.name}: the ledger's replica"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  tags                    = var.tags

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Account"
      Effect    = "Allow"
      Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
      Action    = "kms:*"
      Resource  = "*"
    }]
  })
}
