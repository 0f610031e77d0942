# Alarms and dashboard. They are data, in metrics.json: a test holds the names of our metrics there to those that the functions write.

locals {
  metrics = jsondecode(file("${path.module}/metrics.json"))

  # Which functions the alarms of these names are about. There is one alarm for what one person answers in one way: what lies in a queue
  # that nobody takes from rings by the queue, and not once more by each way that leads there.
  alarmed_functions = {
    functions              = keys(local.functions)
    functions_asynchronous = keys(local.functions_asynchronous)
    functions_by_schedule  = ["sweep"]
    functions_by_queue     = keys(local.functions_by_queue)
    functions_by_callers   = local.has_gate ? ["gate"] : []
    functions_by_people    = local.has_operate ? ["operate"] : []
    functions_by_index     = local.keeps_index ? ["workloads"] : []
  }

  # Every alarm, by the name that it has after the deployment's.
  alarms = merge(
    {
      # For all functions together: the log of each says more.
      for alarm, definition in local.metrics.alarms.whole : alarm => {
        definition = definition
        dimensions = tomap({})
      }
    },
    merge(flatten([
      for scope, names in local.alarmed_functions : [
        for name in names : {
          for alarm, definition in local.metrics.alarms[scope] : "${name}-${alarm}" => {
            definition = definition
            dimensions = definition.namespace == local.metrics.namespace ? tomap({
              # The form that shared/lambda/src/report.rs writes: the function's name in the repository, not the deployed one.
              Function = name
            }) : tomap({ FunctionName = local.function_names[name] })
          }
        }
      ]
    ])...),
    merge([
      for name in concat(keys(local.rules_of_functions), keys(local.rules_to_forward), local.keeps_index ? ["workloads"] : []) : {
        for alarm, definition in local.metrics.alarms.rules : "${name}-${alarm}" => {
          definition = definition
          dimensions = tomap({ RuleName = "${var.name}-${name}" })
        }
      }
    ]...),
    {
      for alarm, definition in local.metrics.alarms.schedule : "schedule-${alarm}" => {
        definition = definition
        dimensions = tomap({ ScheduleGroup = var.name })
      }
    },
    merge([
      for queue in keys(local.work_queues) : {
        for alarm, definition in local.metrics.alarms.work_queues : "${queue}-${alarm}" => {
          definition = definition
          dimensions = tomap({ QueueName = local.queue_names[queue] })
        }
      }
    ]...),
    merge([
      for queue, name in local.queues_of_what_nobody_took : {
        for alarm, definition in local.metrics.alarms.queues : "${queue}-${alarm}" => {
          definition = definition
          dimensions = tomap({ QueueName = name })
        }
      }
    ]...),
    merge([
      for route, name in local.topic_names : {
        for alarm, definition in local.metrics.alarms.topics : "route-${route}-${alarm}" => {
          definition = definition
          dimensions = tomap({ TopicName = name })
        }
      }
    ]...)
  )
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  region              = var.region
  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.definition.description
  namespace           = each.value.definition.namespace
  metric_name         = each.value.definition.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.definition.statistic
  period              = each.value.definition.period
  threshold           = try(each.value.definition.threshold, ceil(each.value.definition.share_of_block_limit * local.max_blocks_per_hour))
  comparison_operator = lookup(each.value.definition, "comparison", "GreaterThanOrEqualToThreshold")
  evaluation_periods  = 1
  # Where nothing happens there is no data, unless something must happen. Where the policy does not ask for the index, nobody keeps it.
  treat_missing_data = startswith(each.key, "workloads-") && !local.asks_index ? "notBreaching" : lookup(each.value.definition, "missing", "notBreaching")
  alarm_actions      = [aws_sns_topic.alarms.arn]
  ok_actions         = [aws_sns_topic.alarms.arn]
  tags               = var.tags
}

locals {
  dashboard_width = 8
  dashboard_graphs = concat(
    [
      for metric in local.metrics.dashboard : {
        title = "${metric} by function"
        metrics = [
          for name in lookup(local.metrics.written_by, metric, keys(local.functions)) : [
            local.metrics.namespace, metric, "Function", name, { stat = contains(local.metrics.dashboard_maximum, metric) ? "Maximum" : "Sum" }
          ]
        ]
      } if !contains(local.metrics.whole, metric)
    ],
    [{
      title   = "Blocks and trouble, of all functions"
      metrics = [for metric in local.metrics.whole : [local.metrics.namespace, metric, { stat = "Sum" }]]
    }],
    [
      {
        title = "Waiting for somebody to look"
        metrics = [
          for name in values(local.queues_of_what_nobody_took) : ["AWS/SQS", "ApproximateNumberOfMessagesVisible", "QueueName", name, { stat = "Maximum" }]
        ]
      },
      {
        title = "Waiting for the workers"
        metrics = [
          for pair in setproduct(
            keys(local.work_queues),
            ["ApproximateNumberOfMessagesVisible", "ApproximateNumberOfMessagesNotVisible", "ApproximateAgeOfOldestMessage"]
          ) : ["AWS/SQS", pair[1], "QueueName", local.queue_names[pair[0]], { stat = "Maximum" }]
        ]
      },
      {
        title   = "Duration, longest (ms)"
        metrics = [for name in values(local.function_names) : ["AWS/Lambda", "Duration", "FunctionName", name, { stat = "Maximum" }]]
      },
      {
        title   = "Alerts published"
        metrics = [for name in values(local.topic_names) : ["AWS/SNS", "NumberOfMessagesPublished", "TopicName", name]]
      },
    ]
  )
}

# How often each function came to each outcome, as a graph: a metric for each that occurs, at 0.30 USD a month. The log has it
# in any case (`stats count(*) by outcome`).
resource "aws_cloudwatch_log_metric_filter" "outcomes" {
  for_each = var.outcome_metrics ? local.function_names : {}

  region         = var.region
  name           = "outcomes"
  log_group_name = aws_cloudwatch_log_group.this[each.key].name
  pattern        = "{ $.outcome = \"*\" }"

  metric_transformation {
    namespace = local.metrics.namespace
    name      = "Outcomes"
    value     = "1"
    dimensions = {
      Function = "$.Function"
      Outcome  = "$.outcome"
    }
  }
}

# Dashboards are the account's, not the region's: its name says for which region it is.
resource "aws_cloudwatch_dashboard" "this" {
  region         = var.region
  dashboard_name = "${var.name}-${local.region}"

  dashboard_body = jsonencode({
    widgets = concat(
      [
        for index, graph in local.dashboard_graphs : {
          type   = "metric"
          width  = local.dashboard_width
          height = 6
          x      = local.dashboard_width * (index % 3)
          y      = 6 * floor(index / 3)
          properties = {
            title   = graph.title
            region  = local.region
            view    = "timeSeries"
            stat    = "Sum"
            period  = 300
            metrics = graph.metrics
          }
        }
      ],
      [{
        type   = "log"
        width  = 24
        height = 8
        x      = 0
        y      = 6 * ceil(length(local.dashboard_graphs) / 3)
        properties = {
          title  = "What was blocked, deferred and released"
          region = local.region
          view   = "table"
          query = join(" | ", concat(
            [for name in values(local.function_names) : "SOURCE '/aws/lambda/${name}'"],
            [
              "fields @timestamp, Function, repository, digest, state, effect, alert, reason",
              "filter ispresent(alert) or ispresent(effect)",
              "sort @timestamp desc",
              "limit 100",
            ]
          ))
        }
      }]
    )
  })
}
