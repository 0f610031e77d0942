# A key for each region: an image is encrypted with the key of the region that it is in. Somebody who disables one key makes the
# images of one region unreadable.
#
# ECR needs three calls from the role that creates or deletes a repository, and makes two grants by them. From then on it
# encrypts and decrypts by its grants: a role that pushes or pulls needs no permission on the key. The first statement leaves
# the key to the account's IAM policies; without it nobody could change or delete it any more. The second names the calls that
# ECR needs, and has to stay when somebody narrows the first.

locals {
  key_policies = { for region in setunion([local.region], local.replica_regions) : region => jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "AccountByIamPolicies"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account_id}:root" }
        Action    = "kms:*"
        Resource  = "*"
      },
      {
        Sid       = "GrantsThroughEcr"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account_id}:root" }
        Action    = ["kms:CreateGrant", "kms:DescribeKey", "kms:RetireGrant"]
        Resource  = "*"
        Condition = {
          StringEquals = {
            "kms:CallerAccount" = local.account_id
            "kms:ViaService"    = "ecr.${region}.${data.aws_partition.current.dns_suffix}"
          }
        }
      },
    ]
  }) }

  # The keys that the images are encrypted with, by region.
  key_arns = merge(
    var.create_kms_keys ? { for key in aws_kms_key.this : local.region => key.arn } : { (local.region) = var.kms_key_arn },
    var.create_kms_keys ? { for region, key in aws_kms_key.replica : region => key.arn } : { for region in local.replica_regions : region => lookup(var.replica_kms_key_arns, region, null) },
  )
}

resource "aws_kms_key" "this" {
  count = var.create && var.create_kms_keys ? 1 : 0

  region                  = local.region
  description             = "Images of ${local.prefix}"
  enable_key_rotation     = true
  deletion_window_in_days = var.kms_deletion_window_days
  tags                    = local.tags
  policy                  = local.key_policies[local.region]
}

resource "aws_kms_alias" "this" {
  count = var.create && var.create_kms_keys ? 1 : 0

  region        = local.region
  name          = "alias/${local.prefix}-ecr${var.name_suffix}"
  target_key_id = aws_kms_key.this[0].key_id
}
