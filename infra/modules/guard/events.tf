# The rules that hand events to the functions, or to the queue of findings. Their patterns are files, so that the local run uses the same.

locals {
  event_pattern_limit = 2048

  patterns = { for name in keys(local.functions_with_rules) : name => jsondecode(file("${path.module}/event-patterns/${name}.json")) }

  # Where only some repositories are guarded, the others' events are left out: the functions may not look at them. Where a repository is
  # named depends on the kind of event: by its name, or, in Inspector's, by its ARN or by that of the image.
  every_repository = contains(var.repositories, "*")
  event_patterns = {
    for name, pattern in local.patterns : name => merge(
      pattern,
      { source = var.event_sources },
      # Through JSON, because the branches need not have the same type.
      jsondecode(
        local.every_repository ? "{}" :
        can(pattern["$or"]) ? jsonencode({ "$or" = [for branch in pattern["$or"] : merge(branch, { detail = merge(branch.detail, jsondecode(
          can(branch.detail.repository-name) ? jsonencode({ repository-name = local.by_arn }) :
          jsonencode({ repository-name = local.by_name })
        )) })] }) :
        jsonencode({ detail = merge(pattern.detail, jsondecode(
          can(pattern.detail.resources) ? jsonencode({ resources = merge(pattern.detail.resources, { id = local.by_image_arn }) }) :
          jsonencode({ repository-name = local.by_name })
        )) })
      )
    )
  }
  by_name      = [for name in var.repositories : { wildcard = name }]
  by_arn       = [for arn in local.repository_arns : { wildcard = arn }]
  by_image_arn = [for arn in local.repository_arns : { wildcard = "${arn}/sha256:*" }]
}

resource "aws_cloudwatch_event_rule" "this" {
  for_each = local.functions_with_rules

  region        = var.region
  name          = local.function_names[each.key]
  description   = "Events for ${local.function_names[each.key]}"
  event_pattern = jsonencode(local.event_patterns[each.key])
  tags          = var.tags

  lifecycle {
    precondition {
      # EventBridge quotas, "Event pattern size".
      condition     = length(jsonencode(local.event_patterns[each.key])) <= local.event_pattern_limit
      error_message = "The rule for ${each.key} would have ${length(jsonencode(local.event_patterns[each.key]))} characters, and EventBridge takes ${local.event_pattern_limit}: name fewer `repositories`, such as \"team/*\" in place of each."
    }
  }
}

resource "aws_cloudwatch_event_target" "this" {
  for_each = local.functions_with_rules

  region = var.region
  rule   = aws_cloudwatch_event_rule.this[each.key].name
  # It keeps its name, so that a deployment moves it to another queue without a moment in which there is no target.
  target_id = each.value.invoked_by == "queue" ? "work" : "function"
  # A deployed system has a million findings a day: their queue gathers them, so that an image is looked at once for all of them.
  arn = each.value.invoked_by == "queue" ? local.queue_arns["findings"] : aws_lambda_alias.live[each.key].arn

  # EventBridge's own limits and defaults.
  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }

  # Without it, EventBridge drops what it cannot hand over.
  dead_letter_config {
    arn = aws_sqs_queue.this["undelivered-events"].arn
  }

  depends_on = [aws_lambda_permission.events, aws_sqs_queue_policy.this]
}

resource "aws_lambda_permission" "events" {
  for_each = local.functions_by_events

  region         = var.region
  statement_id   = "events"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.this[each.key].function_name
  qualifier      = aws_lambda_alias.live[each.key].name
  principal      = "events.amazonaws.com"
  source_arn     = local.rule_arns[each.key]
  source_account = local.account
}
