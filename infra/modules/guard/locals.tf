data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

data "aws_region" "current" {
  region = var.region
}

locals {
  # The functions. A key is a folder of `functions/`, and the name of a file in `permissions/`; unless a schedule invokes the function,
  # also of one in `event-patterns/`. To add a function is to add an entry here and these files. `invoked_by` is one of:
  #   events    a rule hands it events, one by one
  #   schedule  the schedule of sweeps (schedule.tf)
  #   callers   pipelines, deployments and people, who wait for the answer (gate.tf, operate.tf)
  #   queue     the queues of work (work.tf), of which the function's rule hands events to that of findings
  functions = merge({
    on-push = {
      description = "Takes note of images that are pushed, restored or deleted"
      invoked_by  = "events"
      timeout     = 30
      memory_size = 256
    }
    on-replication = {
      description = "Checks a copy that has arrived, or has failed, and lets it follow its source"
      invoked_by  = "events"
      timeout     = 30
      memory_size = 256
    }
    on-scan = {
      description = "Evaluates an image when its scan has ended"
      invoked_by  = "events"
      timeout     = 30
      memory_size = 256
    }
    sweep = {
      description = "Leaves every repository to the workers"
      invoked_by  = "schedule"
      timeout     = 300
      memory_size = 256
    }
    worker = {
      description = "Reconciles what a sweep leaves to it, and images that Inspector has found something in"
      invoked_by  = "queue"
      timeout     = 300
      memory_size = 512
    }
    }, !local.keeps_index ? {} : {
    # By a schedule and a rule of its own (workloads.tf), and by clusters of Kubernetes.
    workloads = {
      description = "Keeps the index of who uses images"
      invoked_by  = "schedule"
      timeout     = 300
      memory_size = 512
    }
    }, !local.has_gate ? {} : {
    # By the deploying role, and by ECS (gate.tf).
    gate = {
      description = "Says whether images may be deployed"
      invoked_by  = "callers"
      timeout     = 30
      memory_size = 256
    }
    }, !local.has_operate ? {} : {
    # By people (operate.tf).
    operate = {
      description = "Releases a blocked image for some hours, for those whom the policy lets"
      invoked_by  = "callers"
      timeout     = 30
      memory_size = 256
    }
  })

  functions_by_events  = { for name, function in local.functions : name => function if function.invoked_by == "events" }
  functions_by_queue   = { for name, function in local.functions : name => function if function.invoked_by == "queue" }
  functions_with_rules = { for name, function in local.functions : name => function if !contains(["schedule", "callers"], function.invoked_by) }
  # Lambda itself keeps what they are invoked with, until it has succeeded or failed three times.
  functions_asynchronous = { for name, function in local.functions : name => function if !contains(["queue", "callers"], function.invoked_by) }

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
    for rule, definition in local.rules :
    rule => "arn:${local.partition}:events:${local.region}:${local.account}:rule/${definition.name}"
  }
  log_group_arns = {
    for name, deployed in local.function_names :
    name => "arn:${local.partition}:logs:${local.region}:${local.account}:log-group:/aws/lambda/${deployed}"
  }
  repository_arns = [
    for repository in var.repositories :
    "arn:${local.partition}:ecr:${local.region}:${local.account}:repository/${repository}"
  ]

  # The same repositories in other regions: on-replication reads the sources of copies there.
  replica_arns = [
    for repository in var.repositories :
    "arn:${local.partition}:ecr:*:${local.account}:repository/${repository}"
  ]

  topic_names = { for route in keys(var.routes) : route => route == "default" ? "${var.name}-alerts" : "${var.name}-alerts-${route}" }
  topic_arns = {
    for route, topic in local.topic_names :
    route => "arn:${local.partition}:sns:${local.region}:${local.account}:${topic}"
  }
  alarm_topic_name = "${var.name}-alarms"
  alarm_topic_arn  = "arn:${local.partition}:sns:${local.region}:${local.account}:${local.alarm_topic_name}"

  queue_names = {
    # The work of the workers, and the findings of Inspector. The only queues that are emptied by themselves.
    work     = "${var.name}-work"
    findings = "${var.name}-findings"
    # Work that has failed again and again.
    failed-work = "${var.name}-failed-work"
    # Events that EventBridge could not hand to a function or to the queue of findings, and sweeps that its schedule could not begin.
    undelivered-events = "${var.name}-undelivered-events"
    # Events that a function failed on, three times.
    failed-events = "${var.name}-failed-events"
    # Alerts that a topic could not deliver to a subscriber.
    undelivered-alerts = "${var.name}-undelivered-alerts"
  }
  queues_of_what_nobody_took = { for queue, name in local.queue_names : queue => name if !contains(keys(local.work_queues), queue) }
  queue_arns = {
    for queue, name in local.queue_names :
    queue => "arn:${local.partition}:sqs:${local.region}:${local.account}:${name}"
  }

  table_name = coalesce(try(var.ledger.table_name, null), "${var.name}-ledger")
  table_arn  = "arn:${local.partition}:dynamodb:${local.region}:${local.account}:table/${local.table_name}"
}
