# Where events, work and alerts end that nobody took, and the queues of the workers (work.tf). An alarm watches each: somebody has to look.

resource "aws_sqs_queue" "this" {
  for_each = local.queue_names

  region                     = var.region
  name                       = each.value
  message_retention_seconds  = contains(keys(local.work_queues), each.key) ? local.work_retention : 1209600 # 14 days, the most that SQS offers
  visibility_timeout_seconds = contains(keys(local.work_queues), each.key) ? local.work_visibility_timeout : null
  kms_master_key_id          = local.kms_key_arn
  tags                       = var.tags
}

locals {
  # The senders of a queue, in addition to the functions' roles, which have it in their own policies.
  queue_senders = {
    findings           = { service = "events.amazonaws.com", sources = [for rule, definition in local.rules_of_functions : local.rule_arns[rule] if !contains(keys(local.functions_by_events), definition.of)] }
    undelivered-events = { service = "events.amazonaws.com", sources = concat([for rule in concat(keys(local.rules_of_functions), keys(local.rules_to_forward)) : local.rule_arns[rule]], local.keeps_index ? [local.workloads_rule_arn] : []) }
    undelivered-alerts = { service = "sns.amazonaws.com", sources = concat(values(local.topic_arns), [local.alarm_topic_arn]) }
  }
}

resource "aws_sqs_queue_policy" "this" {
  for_each = local.queue_arns

  region    = var.region
  queue_url = aws_sqs_queue.this[each.key].url

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat(
      [for sender in [lookup(local.queue_senders, each.key, null)] : {
        Sid       = "Sender"
        Effect    = "Allow"
        Principal = { Service = sender.service }
        Action    = "sqs:SendMessage"
        Resource  = each.value
        Condition = {
          ArnEquals    = { "aws:SourceArn" = sender.sources }
          StringEquals = { "aws:SourceAccount" = local.account }
        }
      } if sender != null],
      [{
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "sqs:*"
        Resource  = each.value
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      }]
    )
  })
}
