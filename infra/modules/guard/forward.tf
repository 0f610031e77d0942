# What is archived, restored or deleted here is told to the guards of other regions, which may have copies: a block follows within
# seconds. What gets lost on the way, their sweeps find.

locals {
  forwards         = length(var.other_regions) > 0
  forward_name     = "${var.name}-forward"
  forward_rule_arn = "arn:${local.partition}:events:${local.region}:${local.account}:rule/${local.forward_name}"
  other_buses = {
    for region in var.other_regions : region => "arn:${local.partition}:events:${region}:${local.account}:event-bus/default"
  }
  forward_pattern = jsondecode(file("${path.module}/event-patterns/forward.json"))
}

resource "aws_cloudwatch_event_rule" "forward" {
  count = local.forwards ? 1 : 0

  region      = var.region
  name        = local.forward_name
  description = "Events for the guards of other regions"
  tags        = var.tags

  lifecycle {
    precondition {
      condition     = !contains(var.other_regions, local.region)
      error_message = "The guard is in ${local.region}, which is also among `other_regions`: take it out."
    }
  }

  event_pattern = jsonencode(merge(
    local.forward_pattern,
    # Only what happened here: what was forwarded to here would go round in circles.
    { region = [local.region] },
    { detail = merge(local.forward_pattern.detail, jsondecode(local.every_repository ? "{}" : jsonencode({ repository-name = local.by_name }))) }
  ))
}

resource "aws_cloudwatch_event_target" "forward" {
  for_each = local.other_buses

  region    = var.region
  rule      = aws_cloudwatch_event_rule.forward[0].name
  target_id = each.key
  arn       = each.value
  role_arn  = aws_iam_role.forward[0].arn

  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }

  dead_letter_config {
    arn = aws_sqs_queue.this["undelivered-events"].arn
  }

  depends_on = [aws_iam_role_policy.forward, aws_sqs_queue_policy.this]
}

resource "aws_iam_role" "forward" {
  count = local.forwards ? 1 : 0

  name                 = "${local.forward_name}-${local.region}"
  description          = "What the rule that forwards events from ${local.region} may do"
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "events.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account, "aws:SourceArn" = local.forward_rule_arn } }
    }]
  })
}

resource "aws_iam_role_policy" "forward" {
  count = local.forwards ? 1 : 0

  name = "forward"
  role = aws_iam_role.forward[0].name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "Buses"
      Effect   = "Allow"
      Action   = ["events:PutEvents"]
      Resource = values(local.other_buses)
    }]
  })
}
