# The rules that hand events to the functions, or to the queue of findings. Their patterns are files, so that the local run uses the same.

locals {
  # EventBridge quotas, "Event pattern size".
  event_pattern_limit = 2048
  # The most rules of a function, and of the rule that forwards events (EventBridge quotas, "Rules per event bus": 300 or 100).
  most_rules = 10

  patterns = merge(
    {
      for name in keys(local.functions_with_rules) :
      name => merge(jsondecode(file("${path.module}/event-patterns/${name}.json")), { source = var.event_sources })
    },
    # Only what happened here: what was forwarded to here would go round in circles.
    { forward = merge(jsondecode(file("${path.module}/event-patterns/forward.json")), { region = [local.placeholders.region] }) }
  )

  # Where only some repositories are guarded, the others' events are left out: the functions have no permission for them. Where
  # their names do not fit into one pattern, there are as few rules as possible, each for a part of them.
  every_repository = contains(var.repositories, "*")
  splits           = [for number in range(1, local.most_rules + 1) : chunklist(var.repositories, ceil(length(var.repositories) / number))]
  # How many rules there are must not depend on what is only known when the module is applied, such as the account where it waits for
  # something: sizes are those with the longest names of partition and region.
  placeholders = { region = "THE-LONGEST-REGION", arn = "arn:THE-PARTITION:ecr:THE-LONGEST-REGION:THE-ACCOUNT-:repository" }
  # Where a repository is named depends on the kind of event: by its name, or, in Inspector's, by its ARN or by that of the image.
  split_patterns = {
    for name, pattern in local.patterns : name => [
      for split in local.every_repository ? [[["*"]]] : local.splits : [
        for part in split : jsonencode(merge(
          pattern,
          # Through JSON, because the branches need not have the same type.
          jsondecode(
            local.every_repository ? "{}" :
            can(pattern["$or"]) ? jsonencode({ "$or" = [for branch in pattern["$or"] : merge(branch, { detail = merge(branch.detail, jsondecode(
              can(branch.detail.repository-name) ?
              jsonencode({ repository-name = [for repository in part : { wildcard = "${local.placeholders.arn}/${repository}" }] }) :
              jsonencode({ repository-name = [for repository in part : { wildcard = repository }] })
            )) })] }) :
            jsonencode({ detail = merge(pattern.detail, jsondecode(
              can(pattern.detail.resources) ?
              jsonencode({ resources = merge(pattern.detail.resources, { id = [for repository in part : { wildcard = "${local.placeholders.arn}/${repository}/sha256:*" }] }) }) :
              jsonencode({ repository-name = [for repository in part : { wildcard = repository }] })
            )) })
          )
        ))
      ]
    ]
  }
  # The first split of which all parts fit; the last, if none does, which is refused below.
  fitting = {
    for name, splits in local.split_patterns : name => concat(
      [for split in splits : split if alltrue([for pattern in split : length(pattern) <= local.event_pattern_limit])],
      [splits[length(splits) - 1]]
    )[0]
  }
  # The rules of a function: the first is called as it is, the others have a number.
  rules_with_places = merge([
    for name, patterns in local.fitting : { for n, pattern in patterns : n == 0 ? name : "${name}-${n + 1}" => { of = name, pattern = pattern } }
  ]...)
  repositories_arn = "arn:${local.partition}:ecr:${local.region}:${local.account}:repository"
  rules = {
    for rule, definition in local.rules_with_places : rule => {
      of      = definition.of
      size    = length(definition.pattern)
      name    = "${var.name}-${rule}"
      pattern = replace(replace(definition.pattern, local.placeholders.arn, local.repositories_arn), local.placeholders.region, local.region)
    }
  }
  rules_of_functions = { for rule, definition in local.rules : rule => definition if definition.of != "forward" }
  rules_to_functions = { for rule, definition in local.rules_of_functions : rule => definition if contains(keys(local.functions_by_events), definition.of) }
  rules_to_forward   = { for rule, definition in local.rules : rule => definition if definition.of == "forward" && local.forwards }

  too_long = "The rule for %s would have %d characters, and EventBridge takes ${local.event_pattern_limit}: ${local.most_rules} rules for ${length(var.repositories)} names are not enough. Name fewer `repositories`, such as \"team/*\" in place of each."
}

resource "aws_cloudwatch_event_rule" "this" {
  for_each = local.rules_of_functions

  region        = var.region
  name          = each.value.name
  description   = "Events for ${local.function_names[each.value.of]}"
  event_pattern = each.value.pattern
  tags          = var.tags

  lifecycle {
    precondition {
      condition     = each.value.size <= local.event_pattern_limit
      error_message = format(local.too_long, each.key, each.value.size)
    }
  }
}

resource "aws_cloudwatch_event_target" "this" {
  for_each = local.rules_of_functions

  region = var.region
  rule   = aws_cloudwatch_event_rule.this[each.key].name
  # It keeps its name, so that a deployment moves it to another queue without a moment in which there is no target.
  target_id = local.functions[each.value.of].invoked_by == "queue" ? "work" : "function"
  # A deployed system has a million findings a day: their queue gathers them, so that an image is reconciled once for all of
  # them.
  arn = local.functions[each.value.of].invoked_by == "queue" ? local.queue_arns["findings"] : aws_lambda_alias.live[each.value.of].arn

  # EventBridge's own limits and defaults.
  retry_policy {
    maximum_event_age_in_seconds = 86400
    maximum_retry_attempts       = 185
  }

  # Without it, EventBridge drops what it cannot hand over.
  dead_letter_config {
    arn = aws_sqs_queue.this["undelivered-events"].arn
  }

  # The target first gets its permission, and takes the events: after an upgrade that moves it, nothing ends in
  # `undelivered-events`.
  depends_on = [aws_lambda_permission.events, aws_sqs_queue_policy.this, aws_kms_key.this, aws_lambda_event_source_mapping.work]
}

resource "aws_lambda_permission" "events" {
  for_each = local.rules_to_functions

  region         = var.region
  statement_id   = each.key == each.value.of ? "events" : "events${trimprefix(each.key, each.value.of)}"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.this[each.value.of].function_name
  qualifier      = aws_lambda_alias.live[each.value.of].name
  principal      = "events.amazonaws.com"
  source_arn     = local.rule_arns[each.key]
  source_account = local.account
}
