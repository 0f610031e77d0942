# The topics: one for each route of the policy, which only the functions publish to, and one for the alarms of this deployment.

resource "aws_sns_topic" "alerts" {
  for_each = local.topic_names

  region            = var.region
  name              = each.value
  display_name      = "ecr-guard"
  kms_master_key_id = local.kms_key_arn
  signature_version = 2
  tags              = var.tags
}

resource "aws_sns_topic_policy" "alerts" {
  for_each = local.topic_arns

  region = var.region
  arn    = aws_sns_topic.alerts[each.key].arn

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Functions"
        Effect    = "Allow"
        Principal = { AWS = "arn:${local.partition}:iam::${local.account}:root" }
        Action    = "sns:Publish"
        Resource  = each.value
        Condition = { ArnEquals = { "aws:PrincipalArn" = values(local.role_arns) } }
      },
      {
        # People act on alerts, and so do machines: nobody else can write one, whatever their own permissions say.
        Sid       = "FunctionsOnly"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "sns:Publish"
        Resource  = each.value
        Condition = { ArnNotEquals = { "aws:PrincipalArn" = values(local.role_arns) } }
      },
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "sns:Publish"
        Resource  = each.value
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

resource "aws_sns_topic" "alarms" {
  region            = var.region
  name              = local.alarm_topic_name
  display_name      = "ecr-guard alarms"
  kms_master_key_id = local.kms_key_arn
  signature_version = 2
  tags              = var.tags
}

resource "aws_sns_topic_policy" "alarms" {
  region = var.region
  arn    = aws_sns_topic.alarms.arn

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Alarms"
        Effect    = "Allow"
        Principal = { Service = "cloudwatch.amazonaws.com" }
        Action    = "sns:Publish"
        Resource  = local.alarm_topic_arn
        Condition = {
          ArnLike      = { "aws:SourceArn" = "arn:${local.partition}:cloudwatch:${local.region}:${local.account}:alarm:${var.name}-*" }
          StringEquals = { "aws:SourceAccount" = local.account }
        }
      },
      {
        Sid       = "TlsOnly"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "sns:Publish"
        Resource  = local.alarm_topic_arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

locals {
  # By name or place, and not by endpoint: that of a queue in the same plan is not known yet, and that of a service on call is a secret.
  alert_subscriptions = merge([
    for route, subscriptions in var.routes : {
      for index, s in subscriptions : "${route} ${coalesce(s.name, tostring(index))}" => merge(s, { route = route })
    }
  ]...)
}

resource "aws_sns_topic_subscription" "alerts" {
  for_each = local.alert_subscriptions

  region    = var.region
  topic_arn = aws_sns_topic.alerts[each.value.route].arn
  protocol  = each.value.protocol
  endpoint  = each.value.endpoint
  # A queue gets the alert itself, and not an envelope around it.
  raw_message_delivery = each.value.protocol == "sqs"
  redrive_policy       = jsonencode({ deadLetterTargetArn = local.queue_arns["undelivered-alerts"] })

  depends_on = [aws_sqs_queue_policy.this]
}

resource "aws_sns_topic_subscription" "alarms" {
  for_each = { for index, s in var.alarm_subscriptions : coalesce(s.name, tostring(index)) => s }

  region         = var.region
  topic_arn      = aws_sns_topic.alarms.arn
  protocol       = each.value.protocol
  endpoint       = each.value.endpoint
  redrive_policy = jsonencode({ deadLetterTargetArn = local.queue_arns["undelivered-alerts"] })

  depends_on = [aws_sqs_queue_policy.this]
}
