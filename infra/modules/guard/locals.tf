data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {
  region = var.region
}

locals {
  # The functions. A key is a folder of `functions/`, and the name of a file in `event-patterns/` and in `permissions/`: to add a
  # function is to add an entry here and these files.
  functions = {
    on-push = {
      description = "Takes note of images that are pushed, restored or deleted"
      timeout     = 30
    }
    on-scan = {
      description = "Judges an image when its scan has ended"
      timeout     = 30
    }
  }

  account    = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition
  dns_suffix = data.aws_partition.current.dns_suffix
  region     = data.aws_region.current.region

  function_names = { for name in keys(local.functions) : name => "${var.name}-${name}" }

  # ARNs are put together from names. Like this, policies of resources that point at each other need no order, and the policy
  # document, which names the topics, is known when the plan is made.
  function_arns = {
    for name, deployed in local.function_names :
    name => "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${deployed}"
  }
  role_names = { for name, deployed in local.function_names : name => "${deployed}-${local.region}" }
  role_arns  = { for name, role in local.role_names : name => "arn:${local.partition}:iam::${local.account}:role/${role}" }
  rule_arns = {
    for name, deployed in local.function_names :
    name => "arn:${local.partition}:events:${local.region}:${local.account}:rule/${deployed}"
  }
  log_group_arns = {
    for name, deployed in local.function_names :
    name => "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:/aws/lambda/${deployed}"
  }
  repository_arns = [
    for repository in var.repositories :
    "arn:${local.partition}:ecr:${local.region}:${local.account}:repository/${repository}"
  ]

  topic_names = { for route in keys(var.routes) : route => route == "default" ? "${var.name}-alerts" : "${var.name}-alerts-${route}" }
  topic_arns = {
    for route, topic in local.topic_names :
    route => "arn:${local.partition}:sns:${local.region}:${local.account}:${topic}"
  }
  alarm_topic_name = "${var.name}-alarms"
  alarm_topic_arn  = "arn:${local.partition}:sns:${local.region}:${local.account}:${local.alarm_topic_name}"

  queue_names = {
    # Events that EventBridge could not hand to a function.
    undelivered-events = "${var.name}-undelivered-events"
    # Events that a function failed on, three times.
    failed-events = "${var.name}-failed-events"
    # Alerts that a topic could not deliver to a subscriber.
    undelivered-alerts = "${var.name}-undelivered-alerts"
  }
  queue_arns = {
    for queue, name in local.queue_names :
    queue => "arn:${local.partition}:sqs:${local.region}:${local.account}:${name}"
  }

  table_name = coalesce(try(var.ledger.table_name, null), "${var.name}-ledger")
  table_arn  = "arn:${local.partition}:dynamodb:${local.region}:${local.account}:table/${local.table_name}"
}
