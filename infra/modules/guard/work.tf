# The work queue: what a sweep leaves to the workers, and Inspector's findings. Lambda hands it to the function `worker` in batches.

locals {
  # So many batches at the same time, and no more: two workers leave to everybody else what ECR has of its quotas. Its lowest is that of
  # `PutImage`, ten a second in an account and region (ECR quotas, "Rate of PutImage requests"), which blocking by a tag calls.
  # `reserved_concurrency` would not do instead of it: what Lambda has taken from the queue and cannot invoke anything with counts as
  # failed (Lambda developer guide, "Using Lambda with Amazon SQS").
  workers = 2

  # Findings come in thousands, when Inspector learns of a vulnerability: the more of them in a batch, the fewer looks at an image.
  # More than ten messages need a window (Lambda API reference, `CreateEventSourceMapping`); work may wait for so long.
  work_batch_size   = 1000
  work_batch_window = 20
  # Lambda's advice: six times the function's timeout, and the window (Lambda developer guide, "Using Lambda with Amazon SQS").
  work_visibility_timeout = 6 * local.functions["worker"].timeout + local.work_batch_window
  # Four days: a broken deployment is found and repaired in them, and afterwards a new sweep finds what was lost.
  work_retention = 345600
  # So often is work tried, some 30 minutes apart: what AWS has trouble with for a few hours is not given up.
  work_attempts = 8
}

resource "aws_sqs_queue_redrive_policy" "work" {
  region    = var.region
  queue_url = aws_sqs_queue.this["work"].url

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.this["failed-work"].arn
    maxReceiveCount     = local.work_attempts
  })
}

resource "aws_sqs_queue_redrive_allow_policy" "failed_work" {
  region    = var.region
  queue_url = aws_sqs_queue.this["failed-work"].url

  redrive_allow_policy = jsonencode({
    redrivePermission = "byQueue"
    sourceQueueArns   = [local.queue_arns["work"]]
  })
}

resource "aws_lambda_event_source_mapping" "work" {
  for_each = local.functions_by_queue

  region                             = var.region
  event_source_arn                   = aws_sqs_queue.this["work"].arn
  function_name                      = aws_lambda_alias.live[each.key].arn
  batch_size                         = local.work_batch_size
  maximum_batching_window_in_seconds = local.work_batch_window
  # Only what failed comes again, and not the whole batch.
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = var.tags

  scaling_config {
    maximum_concurrency = local.workers
  }

  # Without the redrive policy, what always fails would come back for four days.
  depends_on = [aws_sqs_queue_redrive_policy.work]
}
