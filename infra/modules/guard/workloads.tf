# The index of who uses images: the schedule of its runs, and the rule that hands it tasks of ECS that begin to run. Both are off where the
# policy has no `block.workloads`: the function would do nothing.

locals {
  keeps_index = var.workloads != null
  asks_index  = try(local.document.block.workloads, null) != null

  workloads_schedule_name = "${var.name}-workloads"
  workloads_schedule_arn  = "arn:${local.partition}:scheduler:${local.region}:${local.account}:schedule/${var.name}/${local.workloads_schedule_name}"
  workloads_rule_name     = "${var.name}-workloads"
  workloads_rule_arn      = "arn:${local.partition}:events:${local.region}:${local.account}:rule/${local.workloads_rule_name}"

  # The roles in other accounts that the function takes, as the policy names them. (The account of a role is not always known when the plan is
  # made, but how many there are is.)
  reader_role_arns = [
    for account in try(tolist(local.document.block.workloads.accounts), [for account in local.document.block.workloads.accounts : account], []) :
    "arn:${local.partition}:iam::${account.id}:role/${account.role}"
  ]
  # A version is asked about by its number, which makes it another resource than the function: a name needs both, and what ends with `*` has both.
  listed_function_arns = flatten([
    for pattern in try(coalesce(var.workloads.functions, ["*"]), ["*"]) : [
      for version in endswith(pattern, "*") ? [""] : ["", ":*"] :
      "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${pattern}${version}"
    ]
  ])
}

resource "aws_scheduler_schedule" "workloads" {
  count = local.keeps_index ? 1 : 0

  region              = var.region
  name                = local.workloads_schedule_name
  group_name          = aws_scheduler_schedule_group.this.name
  description         = "Has all workloads listed"
  schedule_expression = "rate(30 minutes)"
  state               = local.asks_index ? "ENABLED" : "DISABLED"
  kms_key_arn         = local.kms_key_arn

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_lambda_alias.live["workloads"].arn
    role_arn = aws_iam_role.schedule.arn
    input    = "{}"

    # A run that is half an hour late is the next one.
    retry_policy {
      maximum_event_age_in_seconds = 1800
      maximum_retry_attempts       = 185
    }

    dead_letter_config {
      arn = aws_sqs_queue.this["undelivered-events"].arn
    }
  }

  depends_on = [aws_iam_role_policy.schedule]
}

resource "aws_cloudwatch_event_rule" "workloads" {
  count = local.keeps_index ? 1 : 0

  region        = var.region
  name          = local.workloads_rule_name
  description   = "Tasks that begin to run or fail to start, for ${local.function_names["workloads"]}"
  event_pattern = file("${path.module}/event-patterns/workloads.json")
  state         = local.asks_index ? "ENABLED" : "DISABLED"
  tags          = var.tags
}

resource "aws_cloudwatch_event_target" "workloads" {
  count = local.keeps_index ? 1 : 0

  region    = var.region
  rule      = aws_cloudwatch_event_rule.workloads[0].name
  target_id = "function"
  arn       = aws_lambda_alias.live["workloads"].arn

  # The next run sees what an event of an hour ago would say.
  retry_policy {
    maximum_event_age_in_seconds = 3600
    maximum_retry_attempts       = 185
  }

  dead_letter_config {
    arn = aws_sqs_queue.this["undelivered-events"].arn
  }

  depends_on = [aws_lambda_permission.workloads, aws_sqs_queue_policy.this, aws_kms_key.this]
}

resource "aws_lambda_permission" "workloads" {
  count = local.keeps_index ? 1 : 0

  region         = var.region
  statement_id   = "events"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.this["workloads"].function_name
  qualifier      = aws_lambda_alias.live["workloads"].name
  principal      = "events.amazonaws.com"
  source_arn     = local.workloads_rule_arn
  source_account = local.account
}
