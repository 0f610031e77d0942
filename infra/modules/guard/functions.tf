# The functions: code, role, log group, and where failed events go.

locals {
  # `make package` and a release have the same layout: a folder for each architecture, in it one for each function, in it the zip and a note
  # of what it is (tests/infra/packages.py).
  lambda_directory = coalesce(var.lambda_directory, "${path.module}/../../../target/lambda")
  packages         = { for name in keys(local.functions) : name => "${local.lambda_directory}/${var.architecture}/${name}/bootstrap.zip" }
  package_notes    = { for name, package in local.packages : name => try(jsondecode(file(replace(package, "/[.]zip$/", ".json"))), {}) }
  is_local         = var.lambda_s3 == null

  # The invokers of the functions name this alias. It is the version that was published last, or an earlier one
  # (`function_versions`).
  alias      = "live"
  alias_arns = { for name, arn in local.function_arns : name => "${arn}:${local.alias}" }
}

resource "aws_cloudwatch_log_group" "this" {
  for_each = local.function_names

  region            = var.region
  name              = "/aws/lambda/${each.value}"
  retention_in_days = var.log_retention_days
  kms_key_id        = local.kms_key_arn
  tags              = var.tags
}

resource "aws_lambda_function" "this" {
  # checkov:skip=CKV_AWS_116: the failure destination (aws_lambda_function_event_invoke_config) takes failed events, and says why they failed; with a dead letter queue as well, each would arrive twice
  # checkov:skip=CKV_AWS_117: only AWS APIs are called, with IAM and TLS; who has to can set `vpc_config`
  for_each = local.functions

  region                         = var.region
  function_name                  = local.function_names[each.key]
  description                    = each.value.description
  role                           = aws_iam_role.this[each.key].arn
  runtime                        = "provided.al2023"
  handler                        = "bootstrap"
  architectures                  = [var.architecture]
  filename                       = local.is_local ? local.packages[each.key] : null
  source_code_hash               = local.is_local && fileexists(local.packages[each.key]) ? filebase64sha256(local.packages[each.key]) : null
  s3_bucket                      = local.is_local ? null : var.lambda_s3.bucket
  s3_key                         = local.is_local ? null : "${var.lambda_s3.prefix}${var.architecture}/${each.key}/bootstrap.zip"
  s3_object_version              = local.is_local ? null : lookup(var.lambda_s3.object_versions, each.key, null)
  publish                        = true
  memory_size                    = lookup(var.memory_size, each.key, each.value.memory_size)
  timeout                        = each.value.timeout
  reserved_concurrent_executions = lookup(var.reserved_concurrency, each.key, -1)
  kms_key_arn                    = local.kms_key_arn
  code_signing_config_arn        = one(aws_lambda_code_signing_config.this[*].arn)
  tags                           = var.tags

  environment {
    variables = merge(
      {
        ECR_GUARD_POLICY = "sha256:${local.policy_sha256}"
        ECR_GUARD_TABLE  = local.table_name
      },
      length(local.granted[each.key].queue) > 0 ? { ECR_GUARD_QUEUE_URL = aws_sqs_queue.this["work"].url } : {},
      each.value.invoked_by == "queue" ? { ECR_GUARD_FINDINGS_QUEUE_URL = aws_sqs_queue.this["findings"].url } : {},
      # Sweeps list all repositories, and must leave out those that the functions have no permission for. The start of others asks for one of these.
      !local.every_repository ? { ECR_GUARD_REPOSITORIES = join(" ", var.repositories) } : {},
      each.key == "workloads" && try(var.workloads.external_id, null) != null ? { ECR_GUARD_EXTERNAL_ID = var.workloads.external_id } : {}
    )
  }

  logging_config {
    log_format            = "JSON"
    log_group             = aws_cloudwatch_log_group.this[each.key].name
    application_log_level = var.log_level
    system_log_level      = "INFO"
  }

  tracing_config {
    mode = "Active"
  }

  dynamic "vpc_config" {
    for_each = var.vpc_config[*]
    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }

  lifecycle {
    precondition {
      condition     = !local.is_local || fileexists(local.packages[each.key])
      error_message = "There is no package ${local.packages[each.key]}. In this repository, `make package ARCH=${var.architecture}` builds it; elsewhere, take the packages of a release and say where they are, by `lambda_directory` or `lambda_s3`."
    }
    precondition {
      condition     = !local.is_local || !fileexists(local.packages[each.key]) || try(local.package_notes[each.key].architecture == var.architecture, false)
      error_message = "The package ${local.packages[each.key]} is for ${try(local.package_notes[each.key].architecture, "nobody knows which processor (there is no bootstrap.json next to it, see docs/deployment.md)")}, and `architecture` is ${var.architecture}."
    }
    precondition {
      condition     = !local.is_local || !fileexists(local.packages[each.key]) || try(local.package_notes[each.key].sha256 == filesha256(local.packages[each.key]), true)
      error_message = "The package ${local.packages[each.key]} is not the one that its bootstrap.json is about: one of them was replaced. Build or unpack both again."
    }
    precondition {
      # Said once.
      condition     = each.key != "sweep" || local.keeps_index || !local.asks_index
      error_message = "The policy has `block.workloads`, and `workloads` is null: without the function nobody would look up who uses images, and every block would be deferred. Set `workloads = {}`, or take `block.workloads` out of the policy."
    }
    precondition {
      # Who has claimed a step in the ledger is trusted to be at it for 45 seconds. Workers take many steps in an invocation, and end each
      # of them in time.
      condition     = each.value.timeout <= (each.value.invoked_by == "events" ? 30 : 300)
      error_message = "A function that takes a step may run for 30 seconds at most, or another invocation could overtake it."
    }
    precondition {
      condition     = length(setsubtract(concat(keys(var.reserved_concurrency), keys(var.memory_size)), keys(local.functions))) == 0
      error_message = "`reserved_concurrency` or `memory_size` names a function that does not exist; there are ${join(", ", keys(local.functions))}."
    }
    precondition {
      # Fewer, and Lambda would take work from the queue only to put it back; each time counts as a failure.
      condition     = each.value.invoked_by != "queue" || lookup(var.reserved_concurrency, each.key, local.concurrency_of_workers) >= local.concurrency_of_workers
      error_message = "At least ${local.concurrency_of_workers} for the workers: they handle that number of batches at the same time."
    }
  }

  # A function without its permissions fails on its first event, and without its policy it does not start.
  depends_on = [aws_iam_role_policy.this, aws_dynamodb_table_item.policy]
}

resource "aws_lambda_alias" "live" {
  for_each = local.functions

  region           = var.region
  name             = local.alias
  description      = "What is invoked"
  function_name    = aws_lambda_function.this[each.key].function_name
  function_version = lookup(var.function_versions, each.key, aws_lambda_function.this[each.key].version)

  lifecycle {
    precondition {
      condition     = length(setsubtract(keys(var.function_versions), keys(local.functions))) == 0
      error_message = "`function_versions` names a function that does not exist; there are ${join(", ", keys(local.functions))}."
    }
  }

  # The policy of the version before goes when nothing invokes that version any more.
  depends_on = [aws_dynamodb_table_item.policy]
}

resource "aws_lambda_function_event_invoke_config" "this" {
  for_each = local.functions_asynchronous

  region        = var.region
  function_name = aws_lambda_function.this[each.key].function_name
  qualifier     = aws_lambda_alias.live[each.key].name
  # Lambda's own limits and defaults: 6 hours, two more attempts.
  maximum_event_age_in_seconds = 21600
  maximum_retry_attempts       = 2

  destination_config {
    on_failure {
      destination = aws_sqs_queue.this["failed-events"].arn
    }
  }
}

# Roles are the account's, not the region's: their names say for which region they are.
resource "aws_iam_role" "this" {
  for_each = local.functions

  name                 = local.role_names[each.key]
  description          = "What ${local.function_names[each.key]} in ${local.region} may do"
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  for_each = local.functions

  name   = each.key
  role   = aws_iam_role.this[each.key].name
  policy = local.role_policies[each.key]

  lifecycle {
    precondition {
      # IAM user guide, "IAM and AWS STS quotas": the policies in a role.
      condition     = local.role_policy_sizes[each.key] <= 10240
      error_message = "The policy of ${each.key}'s role would have some ${local.role_policy_sizes[each.key]} characters, and IAM takes 10240: name fewer `repositories`, such as \"team/*\" in place of each, or fewer `routes`."
    }
  }
}

locals {
  # The calls of each function: a test holds these files to the calls that its code makes.
  permissions = { for name in keys(local.functions) : name => jsondecode(file("${path.module}/permissions/${name}.json")) }
  # A role has those permissions to change the registry that the policy document has its function use (policy.tf); in report
  # mode, none. The document decides which permissions are granted, and never whether some are: it need not be known when the
  # plan is made.
  granted = {
    for name, permissions in local.permissions : name => {
      for resource in [
        "repositories", "replicas", "registry", "scanner", "repository_keys", "ledger", "ledger_index", "ledger_alerts", "queue", "topics",
        "workloads",
        "lambda_functions", "reader_roles",
      ] :
      resource => sort(distinct(concat(
        lookup(permissions, resource, []),
        flatten([for change in local.changes : try(permissions["${resource}_when"][change], [])])
      )))
    }
  }

  # How long the policies below will be, at most: the ARNs of keys in them are not known when the plan is made. A test holds it to them.
  role_policy_sizes = {
    for name, granted in local.granted : name => sum(concat(
      [2600, length(jsonencode(granted)), length(jsonencode(values(local.topic_arns)))],
      length(granted.repositories) > 0 ? [length(jsonencode(local.repository_arns))] : [],
      length(granted.replicas) > 0 ? [length(jsonencode(local.replica_arns))] : [],
      length(granted.lambda_functions) > 0 ? [400, length(jsonencode(local.listed_function_arns))] : [],
      length(granted.reader_roles) > 0 ? [length(jsonencode(local.reader_role_arns))] : [],
    ))
  }

  role_policies = {
    for name, granted in local.granted :
    name => jsonencode({
      Version = "2012-10-17"
      # A function that does not read a kind of resource has no statement for it.
      Statement = [for statement in [
        {
          Sid      = "Repositories"
          Effect   = "Allow"
          Action   = granted.repositories
          Resource = local.repository_arns
        },
        {
          # Only to read: what changes a registry is the function's of its own region.
          Sid      = "Replicas"
          Effect   = "Allow"
          Action   = granted.replicas
          Resource = local.replica_arns
        },
        {
          # The registry's own settings have no resource to name.
          Sid      = "Registry"
          Effect   = "Allow"
          Action   = granted.registry
          Resource = ["*"]
        },
        {
          # Under enhanced scanning ECR asks Amazon Inspector for the findings in the name of the role. These actions take no resource.
          Sid      = "Scanner"
          Effect   = "Allow"
          Action   = granted.scanner
          Resource = ["*"]
        },
        {
          # The keys that repositories are encrypted with, to read: only the repositories name them.
          Sid      = "RepositoryKeys"
          Effect   = "Allow"
          Action   = granted.repository_keys
          Resource = ["arn:${local.partition}:kms:${local.region}:${local.account}:key/*"]
        },
        {
          Sid      = "Ledger"
          Effect   = "Allow"
          Action   = granted.ledger
          Resource = [local.table_arn]
        },
        {
          # The function that keeps the index writes nothing else of the ledger.
          Sid       = "LedgerIndex"
          Effect    = "Allow"
          Action    = granted.ledger_index
          Resource  = [local.table_arn]
          Condition = { "ForAllValues:StringEquals" = { "dynamodb:LeadingKeys" = ["uses#${local.account}", "workloads#${local.account}"] } }
        },
        {
          # Its alerts count against the budget of a topic, and wait for the summary beyond that. Both are items of the account.
          Sid       = "LedgerAlerts"
          Effect    = "Allow"
          Action    = granted.ledger_alerts
          Resource  = [local.table_arn]
          Condition = { "ForAllValues:StringEquals" = { "dynamodb:LeadingKeys" = [local.account] } }
        },
        {
          # The calls that list workloads: most of them take no resource, and the others any cluster.
          Sid      = "Workloads"
          Effect   = "Allow"
          Action   = granted.workloads
          Resource = ["*"]
        },
        {
          # The call that says which image a function is made of also says where the code of a function of a zip lies.
          Sid      = "LambdaFunctions"
          Effect   = "Allow"
          Action   = granted.lambda_functions
          Resource = local.listed_function_arns
        },
        {
          # Only where the policy names other accounts.
          Sid      = "ReaderRoles"
          Effect   = "Allow"
          Action   = length(local.reader_role_arns) > 0 ? granted.reader_roles : []
          Resource = local.reader_role_arns
        },
        {
          # Lambda takes from the queues in the name of the role of the function that it then invokes.
          Sid    = "Work"
          Effect = "Allow"
          Action = concat(
            granted.queue,
            contains(keys(local.functions_by_queue), name) ? ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"] : []
          )
          Resource = [for queue in contains(keys(local.functions_by_queue), name) ? sort(keys(local.work_queues)) : ["work"] : local.queue_arns[queue]]
        },
        {
          Sid      = "Topics"
          Effect   = "Allow"
          Action   = granted.topics
          Resource = values(local.topic_arns)
        },
        {
          # The table, the topics and the queues are encrypted: these services use the keys in the name of the role.
          Sid       = "Keys"
          Effect    = "Allow"
          Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
          Resource  = distinct([local.kms_key_arn, local.ledger_key_arn])
          Condition = { StringEquals = { "kms:ViaService" = [for service in ["dynamodb", "sns", "sqs"] : "${service}.${local.region}.${local.dns_suffix}"] } }
        },
        {
          # So are the variables of the environment, which Lambda decrypts when a function starts.
          Sid      = "Environment"
          Effect   = "Allow"
          Action   = ["kms:Decrypt"]
          Resource = [local.kms_key_arn]
          # The context is the function's ARN; whether a version's has its number, AWS does not say.
          Condition = { StringLike = { "kms:EncryptionContext:aws:lambda:FunctionArn" = [local.function_arns[name], "${local.function_arns[name]}:*"] } }
        },
        {
          # Lambda sends failed events in the name of the role.
          Sid      = "FailedEvents"
          Effect   = "Allow"
          Action   = contains(keys(local.functions_asynchronous), name) ? ["sqs:SendMessage"] : []
          Resource = [local.queue_arns["failed-events"]]
        },
        {
          Sid      = "Logs"
          Effect   = "Allow"
          Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
          Resource = ["${local.log_group_arns[name]}:*"]
        },
        {
          # Lambda makes the network interfaces in the name of the role; they have no ARN before they are there.
          Sid    = "Network"
          Effect = "Allow"
          Action = var.vpc_config == null ? [] : [
            "ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces",
            "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses",
          ]
          Resource = ["*"]
        },
        {
          # X-Ray has no resources to name.
          Sid      = "Traces"
          Effect   = "Allow"
          Action   = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
          Resource = ["*"]
        },
      ] : statement if length(statement.Action) > 0]
    })
  }
}

# A function that reads a manifest pulls the image, as far as ECR is concerned: it would look used, and images in use are not blocked
# (ECR user guide, "Pull time update exclusions").
resource "aws_ecr_pull_time_update_exclusion" "this" {
  for_each = { for name, permissions in local.permissions : name => local.role_arns[name] if contains(lookup(permissions, "repositories", []), "ecr:BatchGetImage") }

  region        = var.region
  principal_arn = each.value

  depends_on = [aws_iam_role.this]
}

resource "aws_lambda_code_signing_config" "this" {
  count = var.code_signing == null ? 0 : 1

  region      = var.region
  description = "${var.name}: who may sign the functions"
  tags        = var.tags

  allowed_publishers {
    signing_profile_version_arns = var.code_signing.profile_version_arns
  }

  policies {
    untrusted_artifact_on_deployment = var.code_signing.enforce ? "Enforce" : "Warn"
  }
}
