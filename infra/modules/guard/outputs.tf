output "function_names" {
  description = "Deployed names of the functions, by function."
  value       = local.function_names
}

output "role_arns" {
  description = "ARNs of the functions' roles, by function."
  # From their names: so that a plan shows policies that name them.
  value      = local.role_arns
  depends_on = [aws_iam_role.this]
}

output "topic_arns" {
  description = "ARNs of the alert topics, by route."
  value       = { for route, topic in aws_sns_topic.alerts : route => topic.arn }
}

output "alarm_topic_arn" {
  description = "ARN of the topic that alarms go to."
  value       = aws_sns_topic.alarms.arn
}

output "queue_urls" {
  description = "URLs of the queues: `work` and `findings`, and `undelivered-events`, `failed-events`, `failed-work` and `undelivered-alerts`, of what nobody took."
  value       = { for queue, resource in aws_sqs_queue.this : queue => resource.url }
}

output "table_name" {
  description = "Name of the ledger's table."
  value       = local.creates_ledger ? aws_dynamodb_table.ledger[0].name : local.table_name
}

output "ledgers" {
  description = "The ledger's replicas by region, to be given to the guards there as `ledger`."
  value = {
    for region in var.ledger_replica_regions : region => {
      table_name  = one(aws_dynamodb_table.ledger[*].name)
      kms_key_arn = local.ledger_replica_key_arns[region]
    }
  }
}

output "forwards_to" {
  description = "Regions that get an event when an image here is archived, restored or deleted."
  value       = sort(keys(local.other_buses))
}

output "kms_key_arn" {
  description = "ARN of the key of topics, queues, logs, ledger and environment."
  value       = local.kms_key_arn
}

output "dashboard_name" {
  description = "Name of the CloudWatch dashboard."
  value       = aws_cloudwatch_dashboard.this.dashboard_name
}

output "policy" {
  description = "The policy document as the functions get it, JSON."
  value       = local.policy
}

output "policy_sha256" {
  description = "SHA-256 of the policy document, under which the ledger has it. Rows of the ledger name it."
  value       = local.policy_sha256
}

output "changes" {
  description = "Changes that the policy document has the functions make, and that their roles permit: words of `permissions/`, such as `archive` or `lifecycle`. Empty in report mode."
  value       = local.changes
}

output "kms_key_statements" {
  description = "Statements that the policy of a key of somebody else needs (`kms_key_arn`), JSON: the services that write to topics, queues and logs. Known when the plan is made."
  value       = jsonencode(local.key_statements)
}

output "gate_arn" {
  description = "ARN of what pipelines and deployment hooks invoke: the alias of the function `gate`; `null` if there is none."
  # From its name: so that a plan shows policies that name it.
  value      = local.has_gate ? local.alias_arns["gate"] : null
  depends_on = [aws_lambda_alias.live]
}

output "gate_invoker_policy" {
  description = "Policy document for the roles that may ask the gate; `null` if there is none."
  value       = local.gate_invoker_policy
}

output "reader_policy" {
  description = "Policy document for the roles of operators that use the command line: to read the ledger and the registry, and to change nothing."
  value       = local.reader_policy
}

output "operate_arn" {
  description = "ARN of what `ecr-guard release` invokes: the alias of the function `operate`; `null` if there is none."
  # From its name, as above.
  value      = local.has_operate ? local.alias_arns["operate"] : null
  depends_on = [aws_lambda_alias.live]
}

output "operate_invoker_policy" {
  description = "Policy document for the roles that may ask for releases; `null` if there is none."
  value       = local.operate_invoker_policy
}
