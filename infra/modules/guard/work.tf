# The queues that the function `worker` takes from: what a sweep leaves to the workers, and Inspector's findings. They are two, so that
# findings do not wait behind a sweep of hours. Never one queue with two mappings that filter: Lambda deletes what a filter does not match.

locals {
  # The batches of each queue at the same time (two is the least that Lambda takes): four workers leave the rest of ECR's quotas
  # to everybody else. The lowest quota is that of `PutImage`, ten a second in an account and region (ECR quotas, "Rate of
  # PutImage requests"), which a block by a tag calls. `reserved_concurrency` would not do in place of it: a message that Lambda
  # has taken from the queue and cannot invoke anything with counts as failed (Lambda developer guide, "Using Lambda with Amazon
  # SQS").
  workers = 2

  work_queues = {
    # An item is twenty images at most: a batch is done in one invocation at a second for each image, so that little is put back.
    work = { batch_size = 20, window = 2 }
    # Findings come in thousands, when Inspector learns of a vulnerability: the more of them in a batch, the fewer reconciles of
    # an image. More than ten messages need a window (Lambda API reference, `CreateEventSourceMapping`).
    findings = { batch_size = 1000, window = 20 }
  }
  concurrency_of_workers = local.workers * length(local.work_queues)
  # Lambda's advice: six times the function's timeout, and the window (Lambda developer guide, "Using Lambda with Amazon SQS").
  work_visibility_timeout = 6 * local.functions["worker"].timeout + max([for queue in local.work_queues : queue.window]...)
  # Four days: a broken deployment is found and repaired in them, and afterwards a new sweep finds what was lost.
  work_retention = 345600
  # So often is work tried that fails, some 30 minutes apart: what AWS has trouble with for some hours is not given up. Work that was only
  # put back is not counted (docs/work-at-scale.md says why 8 are too few).
  work_attempts = 20
}

resource "aws_sqs_queue_redrive_policy" "work" {
  for_each = local.work_queues

  region    = var.region
  queue_url = aws_sqs_queue.this[each.key].url

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
    sourceQueueArns   = [for queue in keys(local.work_queues) : local.queue_arns[queue]]
  })
}

resource "aws_lambda_event_source_mapping" "work" {
  for_each = { for pair in setproduct(keys(local.functions_by_queue), keys(local.work_queues)) : pair[1] => { function = pair[0] } }

  region                             = var.region
  event_source_arn                   = aws_sqs_queue.this[each.key].arn
  function_name                      = aws_lambda_alias.live[each.value.function].arn
  batch_size                         = local.work_queues[each.key].batch_size
  maximum_batching_window_in_seconds = local.work_queues[each.key].window
  # Only what failed comes again, and not the whole batch.
  function_response_types = ["ReportBatchItemFailures"]
  tags                    = var.tags

  scaling_config {
    maximum_concurrency = local.workers
  }

  # Without the redrive policy, what always fails would come back for four days.
  depends_on = [aws_sqs_queue_redrive_policy.work]
}

# A worker that has no time left puts work into the queue that invokes it. Lambda takes that for a loop and drops what has gone round about
# sixteen times, in silence (Lambda developer guide, "Use Lambda recursive loop detection to prevent infinite loops"). Items count their
# hops themselves: shared/core/src/work.rs has the bound, the alarms `worker-hops` and `worker-dropped` watch it.
resource "aws_lambda_function_recursion_config" "work" {
  for_each = local.functions_by_queue

  region         = var.region
  function_name  = aws_lambda_function.this[each.key].function_name
  recursive_loop = "Allow"
}

# Until the findings had a queue of their own, there was one queue, and one mapping for each function.
moved {
  from = aws_sqs_queue_redrive_policy.work
  to   = aws_sqs_queue_redrive_policy.work["work"]
}

moved {
  from = aws_lambda_event_source_mapping.work["worker"]
  to   = aws_lambda_event_source_mapping.work["work"]
}
