# One key of the customer for everything that this deployment keeps. AWS's own keys for SNS and SQS would not do: other services
# could not write through them, since their policies cannot be changed.

locals {
  kms_key_arn = var.create_kms_key ? aws_kms_key.this[0].arn : var.kms_key_arn

  # Whose use of the key is not a matter of the account's IAM policies. A key of somebody else needs these in its policy.
  key_statements = [
    {
      # The account's IAM policies decide, also for the functions' roles.
      Sid       = "Account"
      Effect    = "Allow"
      Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
      Action    = "kms:*"
      Resource  = "*"
    },
    {
      Sid       = "Logs"
      Effect    = "Allow"
      Principal = { Service = "logs.${local.region}.${local.dns_suffix}" }
      Action    = ["kms:Decrypt*", "kms:Describe*", "kms:Encrypt*", "kms:GenerateDataKey*", "kms:ReEncrypt*"]
      Resource  = "*"
      Condition = { ArnEquals = { "kms:EncryptionContext:aws:logs:arn" = values(local.log_group_arns) } }
    },
    {
      # An alarm publishes to its topic.
      Sid       = "Alarms"
      Effect    = "Allow"
      Principal = { Service = "cloudwatch.amazonaws.com" }
      Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
      Resource  = "*"
      Condition = { StringEquals = {
        "aws:SourceAccount"                      = local.account
        "kms:EncryptionContext:aws:sns:topicArn" = local.alarm_topic_arn
      } }
    },
    {
      # EventBridge sends to the dead letter queue of a rule. No `aws:SourceArn` and no `aws:SourceAccount`: EventBridge does not
      # give them with every use of a key (SNS developer guide, "Key management"), and events would be lost in silence. The queue's
      # own policy names the rules.
      Sid       = "UndeliveredEvents"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
      Resource  = "*"
      Condition = { StringEquals = { "kms:EncryptionContext:aws:sqs:arn" = local.queue_arns["undelivered-events"] } }
    },
    {
      # EventBridge sends Inspector's findings to their queue; no further condition, as above.
      Sid       = "Findings"
      Effect    = "Allow"
      Principal = { Service = "events.amazonaws.com" }
      Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
      Resource  = "*"
      Condition = { StringEquals = { "kms:EncryptionContext:aws:sqs:arn" = local.queue_arns["findings"] } }
    },
    {
      # SNS sends to the dead letter queue of a subscription.
      Sid       = "UndeliveredAlerts"
      Effect    = "Allow"
      Principal = { Service = "sns.amazonaws.com" }
      Action    = ["kms:Decrypt", "kms:GenerateDataKey*"]
      Resource  = "*"
      Condition = { StringEquals = { "kms:EncryptionContext:aws:sqs:arn" = local.queue_arns["undelivered-alerts"] } }
    },
  ]
}

resource "aws_kms_key" "this" {
  count = var.create_kms_key ? 1 : 0

  region                  = var.region
  description             = "${var.name}: topics, queues, logs, ledger and environment of the functions"
  enable_key_rotation     = true
  deletion_window_in_days = 30
  tags                    = var.tags

  policy = jsonencode({ Version = "2012-10-17", Statement = local.key_statements })
}

resource "aws_kms_alias" "this" {
  count = var.create_kms_key ? 1 : 0

  region        = var.region
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this[0].key_id
}

# Until the key could be one of somebody else.
moved {
  from = aws_kms_key.this
  to   = aws_kms_key.this[0]
}

moved {
  from = aws_kms_alias.this
  to   = aws_kms_alias.this[0]
}
