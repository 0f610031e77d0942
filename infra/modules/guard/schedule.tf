# The schedule of sweeps.

locals {
  schedule_name      = "${var.name}-sweep"
  schedule_arn       = "arn:${local.partition}:scheduler:${local.region}:${local.account}:schedule/${var.name}/${local.schedule_name}"
  schedule_group_arn = "arn:${local.partition}:scheduler:${local.region}:${local.account}:schedule-group/${var.name}"
}

# A group of its own, because it is groups, and not schedules, that the role can be kept to.
resource "aws_scheduler_schedule_group" "this" {
  region = var.region
  name   = var.name
  tags   = var.tags
}

resource "aws_scheduler_schedule" "sweep" {
  region              = var.region
  name                = local.schedule_name
  group_name          = aws_scheduler_schedule_group.this.name
  description         = "Begins a sweep"
  schedule_expression = "rate(${var.sweep_interval_minutes} minutes)"
  kms_key_arn         = local.kms_key_arn

  flexible_time_window {
    mode = "OFF"
  }

  target {
    arn      = aws_lambda_alias.live["sweep"].arn
    role_arn = aws_iam_role.schedule.arn
    # As it is: `jsonencode` would write < and > as escapes, and the scheduler would not see that it has something to fill in.
    input = "{\"time\":\"<aws.scheduler.scheduled-time>\"}"

    # A sweep that is an hour late is the next one.
    retry_policy {
      maximum_event_age_in_seconds = 3600
      maximum_retry_attempts       = 185
    }

    dead_letter_config {
      arn = aws_sqs_queue.this["undelivered-events"].arn
    }
  }

  depends_on = [aws_iam_role_policy.schedule]
}

resource "aws_iam_role" "schedule" {
  name                 = "${local.schedule_name}-schedule-${local.region}"
  description          = "What the schedules of sweeps and workloads in ${local.region} may do"
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "scheduler.amazonaws.com" }
      # The source is the group: a schedule's own ARN would let nobody in (EventBridge Scheduler user guide, "Confused deputy prevention").
      Condition = { StringEquals = { "aws:SourceAccount" = local.account, "aws:SourceArn" = local.schedule_group_arn } }
    }]
  })
}

resource "aws_iam_role_policy" "schedule" {
  name = "schedule"
  role = aws_iam_role.schedule.name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Function"
        Effect   = "Allow"
        Action   = ["lambda:InvokeFunction"]
        Resource = [for name in concat(["sweep"], local.keeps_index ? ["workloads"] : []) : local.alias_arns[name]]
      },
      {
        # Unlike EventBridge's rules, its scheduler sends to a dead letter queue in the name of the role.
        Sid      = "UndeliveredEvents"
        Effect   = "Allow"
        Action   = ["sqs:SendMessage"]
        Resource = [local.queue_arns["undelivered-events"]]
      },
      {
        Sid       = "UndeliveredEventsKey"
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = [local.kms_key_arn]
        Condition = { StringEquals = { "kms:EncryptionContext:aws:sqs:arn" = local.queue_arns["undelivered-events"] } }
      },
      {
        # The payload of the function is encrypted (user guide, "Encryption at rest").
        Sid       = "ScheduleKey"
        Effect    = "Allow"
        Action    = ["kms:Decrypt"]
        Resource  = [local.kms_key_arn]
        Condition = { StringEquals = { "kms:EncryptionContext:aws:scheduler:schedule:arn" = concat([local.schedule_arn], local.keeps_index ? [local.workloads_schedule_arn] : []) } }
      },
    ]
  })
}
