# The guards of other regions, which may have copies, get an event when an image is archived, restored or deleted here: a block
# follows within seconds. Their sweeps find the events that are lost on the way.

locals {
  forwards     = length(var.other_regions) > 0
  forward_name = "${var.name}-forward"
  # The first rule is the one that there always is; more of them, where the names of repositories do not fit into one.
  forward_rules     = keys(local.rules_to_forward)
  forward_rule_arns = [for rule in local.forward_rules : local.rule_arns[rule]]
  forward_targets = merge([
    for n, rule in local.forward_rules : { for region, bus in local.other_buses : n == 0 ? region : "${region} ${rule}" => { place = n, region = region, bus = bus } }
  ]...)
  other_buses = {
    for region in var.other_regions : region => "arn:${local.partition}:events:${region}:${local.account}:event-bus/default"
  }
}

resource "aws_cloudwatch_event_rule" "forward" {
  count = length(local.forward_rules)

  region        = var.region
  name          = local.rules[local.forward_rules[count.index]].name
  description   = "Events for the guards of other regions"
  event_pattern = local.rules[local.forward_rules[count.index]].pattern
  tags          = var.tags

  lifecycle {
    precondition {
      condition     = !contains(var.other_regions, local.region)
      error_message = "The guard is in ${local.region}, which is also among `other_regions`: take it out."
    }
    precondition {
      condition     = local.rules[local.forward_rules[count.index]].size <= local.event_pattern_limit
      error_message = format(local.too_long, local.forward_rules[count.index], local.rules[local.forward_rules[count.index]].size)
    }
  }
}

resource "aws_cloudwatch_event_target" "forward" {
  for_each = local.forward_targets

  region    = var.region
  rule      = aws_cloudwatch_event_rule.forward[each.value.place].name
  target_id = each.value.region
  arn       = each.value.bus
  role_arn  = aws_iam_role.forward[0].arn

  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }

  dead_letter_config {
    arn = aws_sqs_queue.this["undelivered-events"].arn
  }

  depends_on = [aws_iam_role_policy.forward, aws_sqs_queue_policy.this, aws_kms_key.this]
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
      Condition = { StringEquals = { "aws:SourceAccount" = local.account, "aws:SourceArn" = local.forward_rule_arns } }
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
