#!/usr/bin/env python3
"""Plants one mistake after the other in a copy of the module, and sees that a test finds it.

    infra/modules/guard/tests/misconfigurations.py           plants all of them; fails if one is not found
    infra/modules/guard/tests/misconfigurations.py --list    prints the table of tests/README.md

Needs terraform.
"""

from __future__ import annotations

import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

MODULE = Path(__file__).resolve().parents[1]
REPOSITORY = MODULE.parents[2]


class Mistake(NamedTuple):
    """`old`, which `file` has once, becomes `new`; the run `run` of `tests/<test>.tftest.hcl` has to fail."""

    what: str
    file: str
    old: str
    new: str
    test: str
    run: str


MISTAKES = (
    Mistake("a role may do more than its function calls", "permissions/on-scan.json",
            '"ecr:DescribeImages"', '"ecr:DeleteRepository",\n    "ecr:DescribeImages"', "permissions", "exactly_these_actions"),
    Mistake("ECR may not ask Inspector in the name of a role", "permissions/on-scan.json",
            '["inspector2:ListCoverage", "inspector2:ListFindings"]', '["inspector2:ListCoverage"]', "permissions", "exactly_these_actions"),
    Mistake("a role may touch every resource", "functions.tf",
            "Resource = local.repository_arns", 'Resource = ["*"]', "permissions", "on_these_resources_only"),
    Mistake("report mode may change the registry", "policy.tf",
            "changes = length(local.enforced) == 0 ? [] :", "changes = length(local.entries) == 0 ? [] :", "permissions", "report_mode_cannot_change_the_registry"),
    Mistake("Lambda of any account takes a role", "functions.tf",
            '      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }\n', "", "permissions", "who_may_be_a_function"),
    Mistake("repositories that are not guarded send events", "events.tf",
            'local.every_repository ? "{}" :', 'true ? "{}" :', "events", "some_repositories"),
    Mistake("Inspector's events are looked for by a plain name", "events.tf",
            '{ wildcard = "${local.placeholders.arn}/${repository}" }', "{ wildcard = repository }", "events", "some_repositories"),
    Mistake("any rule may invoke a function", "events.tf",
            "  source_arn     = local.rule_arns[each.key]\n", "", "edges", "eventbridge_to_function"),
    Mistake("EventBridge drops what it cannot deliver", "events.tf",
            'dead_letter_config {\n    arn = aws_sqs_queue.this["undelivered-events"].arn',
            'dead_letter_config {\n    arn = aws_sqs_queue.this["failed-events"].arn', "edges", "eventbridge_to_undelivered_events"),
    Mistake("EventBridge may not send to its dead letter queue", "queues.tf",
            "sources = concat([for rule in concat(keys(local.rules_of_functions), keys(local.rules_to_forward)) : local.rule_arns[rule]], local.keeps_index ? [local.workloads_rule_arn] : [])",
            "sources = values(local.function_arns)", "edges", "eventbridge_to_undelivered_events"),
    Mistake("EventBridge may not use the key of its dead letter queue", "key.tf",
            '{ "kms:EncryptionContext:aws:sqs:arn" = local.queue_arns["undelivered-events"] }',
            '{ "kms:EncryptionContext:aws:sqs:arn" = local.queue_arns["failed-events"] }', "edges", "eventbridge_to_undelivered_events"),
    Mistake("a condition that EventBridge does not meet loses events", "key.tf",
            '{ "kms:EncryptionContext:aws:sqs:arn" = local.queue_arns["undelivered-events"] }',
            '{ "aws:SourceAccount" = local.account, "kms:EncryptionContext:aws:sqs:arn" = local.queue_arns["undelivered-events"] }',
            "edges", "eventbridge_to_undelivered_events"),
    Mistake("CloudWatch may not use the key of the alarm topic", "key.tf",
            'Principal = { Service = "cloudwatch.amazonaws.com" }', 'Principal = { Service = "events.amazonaws.com" }',
            "edges", "cloudwatch_to_alarm_topic"),
    Mistake("CloudWatch may not publish to the alarm topic", "topics.tf",
            "alarm:${var.name}-*", "alarm:${var.name}/*", "edges", "cloudwatch_to_alarm_topic"),
    Mistake("SNS may not use the key of its dead letter queue", "key.tf",
            'local.queue_arns["undelivered-alerts"]', 'local.queue_arns["undelivered-events"]', "edges", "sns_to_undelivered_alerts"),
    Mistake("anybody may publish an alert", "topics.tf",
            'Sid       = "FunctionsOnly"\n        Effect    = "Deny"', 'Sid       = "FunctionsOnly"\n        Effect    = "Allow"',
            "edges", "function_to_alert_topics"),
    Mistake("a function may not use the key through SNS", "functions.tf",
            '["dynamodb", "sns", "sqs"]', '["dynamodb", "sqs"]', "edges", "function_to_encrypted_services"),
    Mistake("any log group of the account may use the key", "key.tf",
            'ArnEquals = { "kms:EncryptionContext:aws:logs:arn" = values(local.log_group_arns) }',
            'ArnLike = { "kms:EncryptionContext:aws:logs:arn" = "arn:aws:logs:*:*:*" }', "edges", "cloudwatch_logs_to_log_groups"),
    Mistake("queues take what comes without TLS", "queues.tf",
            '"aws:SecureTransport" = "false"', '"aws:SecureTransport" = "true"', "edges", "tls_only"),
    Mistake("a queue is encrypted with AWS's own key", "queues.tf",
            "  kms_master_key_id          = local.kms_key_arn\n", '  kms_master_key_id          = "alias/aws/sqs"\n',
            "edges", "everything_is_encrypted_with_the_key"),
    Mistake("the key is not rotated", "key.tf",
            "enable_key_rotation     = true", "enable_key_rotation     = false", "edges", "the_key"),
    Mistake("a function outlives its lease in the ledger", "locals.tf",
            'its scan has ended"\n      invoked_by  = "events"\n      timeout     = 30', 'its scan has ended"\n      invoked_by  = "events"\n      timeout     = 60',
            "functions", "functions"),
    Mistake("logs are kept for ever", "functions.tf",
            "  retention_in_days = var.log_retention_days\n", "", "functions", "logs"),
    Mistake("failed events are lost", "functions.tf",
            'destination = aws_sqs_queue.this["failed-events"].arn', 'destination = aws_sqs_queue.this["undelivered-events"].arn',
            "functions", "failed_events_are_kept"),
    Mistake("unsigned code is deployed", "functions.tf",
            'var.code_signing.enforce ? "Enforce" : "Warn"', '"Warn"', "functions", "what_can_be_chosen"),
    Mistake("our own reads make an image look used", "functions.tf",
            'contains(lookup(permissions, "repositories", []), "ecr:BatchGetImage")', 'contains(lookup(permissions, "repositories", []), "ecr:PutImage")',
            "functions", "our_own_reads_do_not_make_an_image_look_used"),
    Mistake("findings of repositories that are not guarded are worked off", "events.tf",
            "/${repository}/sha256:*", "/${repository}", "events", "some_repositories"),
    Mistake("findings do not reach their queue", "events.tf",
            '"queue" ? local.queue_arns["findings"]', '"queue" ? local.queue_arns["failed-work"]', "edges", "eventbridge_to_findings"),
    Mistake("any rule may send to the queue of findings", "queues.tf",
            " if !contains(keys(local.functions_by_events), definition.of)]", "]", "edges", "eventbridge_to_findings"),
    Mistake("EventBridge may not use the key of the queue of findings", "key.tf",
            '{ "kms:EncryptionContext:aws:sqs:arn" = local.queue_arns["findings"] }',
            '{ "kms:EncryptionContext:aws:sqs:arn" = local.queue_arns["failed-work"] }', "edges", "eventbridge_to_findings"),
    Mistake("forwarded events go round in circles", "events.tf",
            "{ region = [local.placeholders.region] }", "{}", "edges", "eventbridge_to_other_regions"),
    Mistake("forwarding may put events on any bus", "forward.tf",
            "Resource = values(local.other_buses)", 'Resource = ["*"]', "edges", "eventbridge_to_other_regions"),
    Mistake("what cannot be forwarded is lost", "queues.tf",
            "concat(keys(local.rules_of_functions), keys(local.rules_to_forward))", "keys(local.rules_of_functions)", "edges", "eventbridge_to_other_regions"),
    Mistake("a region does not tell all others", "forward.tf",
            "for region in var.other_regions : region =>", "for region in slice(var.other_regions, 0, min(1, length(var.other_regions))) : region =>",
            "edges", "eventbridge_to_other_regions"),
    Mistake("the function of copies may change other regions", "permissions/on-replication.json",
            '"ecr:DescribeImageReplicationStatus", "ecr:DescribeImages"]', '"ecr:DescribeImageReplicationStatus", "ecr:PutImage"]',
            "permissions", "exactly_these_actions"),
    Mistake("the scheduler does not see that it has a time to fill in", "schedule.tf",
            'input = "{\\"time\\":\\"<aws.scheduler.scheduled-time>\\"}"', 'input = jsonencode({ time = "<aws.scheduler.scheduled-time>" })',
            "edges", "schedule_to_sweep"),
    Mistake("the schedule may invoke any function", "schedule.tf",
            'Resource = [for name in concat(["sweep"], local.keeps_index ? ["workloads"] : []) : local.alias_arns[name]]',
            "Resource = values(local.function_arns)", "edges", "schedule_to_sweep"),
    Mistake("the schedule is not let into its own role", "schedule.tf",
            '"aws:SourceArn" = local.schedule_group_arn', '"aws:SourceArn" = local.schedule_arn', "edges", "schedule_to_sweep"),
    Mistake("the schedule cannot read what it invokes with", "schedule.tf",
            '"kms:EncryptionContext:aws:scheduler:schedule:arn" = concat([local.schedule_arn], local.keeps_index ? [local.workloads_schedule_arn] : [])',
            '"kms:EncryptionContext:aws:scheduler:schedule:arn" = local.schedule_group_arn', "edges", "schedule_to_sweep"),
    Mistake("a sweep that cannot begin is forgotten", "schedule.tf",
            '      arn = aws_sqs_queue.this["undelivered-events"].arn', '      arn = aws_sqs_queue.this["failed-events"].arn',
            "edges", "schedule_to_undelivered_events"),
    Mistake("the schedule may not send to its dead letter queue", "schedule.tf",
            '        Action   = ["sqs:SendMessage"]\n        Resource = [local.queue_arns["undelivered-events"]]',
            '        Action   = ["sqs:SendMessage"]\n        Resource = [local.queue_arns["failed-events"]]',
            "edges", "schedule_to_undelivered_events"),
    Mistake("the schedule may not use the key of its dead letter queue", "schedule.tf",
            '["kms:Decrypt", "kms:GenerateDataKey"]', '["kms:Decrypt"]', "edges", "schedule_to_undelivered_events"),
    Mistake("the schedule is encrypted with AWS's own key", "schedule.tf",
            "  kms_key_arn         = local.kms_key_arn\n", "", "edges", "everything_is_encrypted_with_the_key"),
    Mistake("the sweep may not leave work", "permissions/sweep.json",
            '"sqs:SendMessage"', '"sqs:GetQueueUrl"', "edges", "functions_to_work"),
    Mistake("Lambda may not take work from the queue", "functions.tf",
            '["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]', '["sqs:DeleteMessage", "sqs:GetQueueAttributes"]',
            "edges", "functions_to_work"),
    Mistake("work comes again while it is worked on", "work.tf",
            'local.functions["worker"].timeout + max([for queue in local.work_queues : queue.window]...)', "30", "edges", "work_to_worker"),
    Mistake("one failure brings the whole batch back", "work.tf",
            '  function_response_types = ["ReportBatchItemFailures"]\n', "", "edges", "work_to_worker"),
    Mistake("Lambda takes what is put back for a loop", "work.tf",
            'recursive_loop = "Allow"', 'recursive_loop = "Terminate"', "edges", "work_to_worker"),
    Mistake("as many workers as there is work", "work.tf",
            "maximum_concurrency = local.workers", "maximum_concurrency = 1000", "edges", "work_to_worker"),
    Mistake("work that always fails comes back for days", "work.tf",
            "maxReceiveCount     = local.work_attempts", "maxReceiveCount     = 1000", "edges", "work_to_failed_work"),
    Mistake("any queue may put its failures where ours are", "work.tf",
            '"byQueue"\n    sourceQueueArns   = [for queue in keys(local.work_queues) : local.queue_arns[queue]]', '"allowAll"', "edges", "work_to_failed_work"),
    Mistake("so little concurrency that work fails for it", "functions.tf",
            "local.concurrency_of_workers) >= local.concurrency_of_workers", "local.concurrency_of_workers) >= 1", "functions", "fewer_workers_than_batches"),
    Mistake("rows of the ledger never go", "ledger.tf",
            'attribute_name = "expires_at"', 'attribute_name = "ttl"', "ledger", "the_table"),
    Mistake("a replica of the ledger is not protected", "ledger.tf",
            "      deletion_protection_enabled = var.ledger_deletion_protection\n", "", "ledger", "replicas"),
    Mistake("the policy lies where no function looks", "policy.tf",
            '{ S = "deployed" }', '{ S = "policy" }', "policy", "the_ledger_holds_the_document_and_the_topics"),
    Mistake("the policy stands under the hash of another text", "policy.tf",
            "policy_sha256 = sha256(local.policy)", "policy_sha256 = sha256(jsonencode(local.document))",
            "policy", "the_ledger_holds_the_document_and_the_topics"),
    Mistake("two deployments share a policy", "policy.tf",
            "merge(local.document, { routes = local.topic_arns })", "local.document", "two_accounts", "each_account_gets_its_own_policy"),
    Mistake("the hash of a policy is not that of its functions", "policy.tf",
            '"\\\\u0026", "&"', '"\\\\u0026", "\\\\u0026"', "policy", "nothing_is_escaped_that_may_stand"),
    Mistake("a policy that the ledger refuses is planned", "policy.tf",
            "local.policy_bytes <= 300 * 1024", "local.policy_bytes <= 3000 * 1024", "policy", "larger_than_it_may_be"),
    Mistake("the policy is written in another region", "policy.tf",
            "  region     = var.region\n  table_name", "  table_name", "policy", "a_replica_has_the_item_of_its_own_region"),
    Mistake("a pattern that EventBridge refuses is planned", "events.tf",
            "event_pattern_limit = 2048", "event_pattern_limit = 4096", "sizes", "more_names_than_an_event_pattern_takes"),
    Mistake("what does not fit into one rule is left out", "events.tf",
            "for n, pattern in patterns : n == 0", "for n, pattern in slice(patterns, 0, 1) : n == 0", "sizes", "more_names_than_an_event_pattern_takes"),
    Mistake("the further rules of a function may not invoke it", "events.tf",
            "if contains(keys(local.functions_by_events), definition.of) }", "if contains(keys(local.functions_by_events), rule) }",
            "sizes", "more_names_than_an_event_pattern_takes"),
    Mistake("what does not fit into one rule is not forwarded", "forward.tf",
            "for n, rule in local.forward_rules : {", "for n, rule in slice(local.forward_rules, 0, min(1, length(local.forward_rules))) : {",
            "sizes", "many_names_are_forwarded_by_several_rules"),
    Mistake("a key is made where one was given", "key.tf",
            'resource "aws_kms_key" "this" {\n  count = var.create_kms_key ? 1 : 0', 'resource "aws_kms_key" "this" {\n  count = 1', "edges", "a_key_of_somebody_else"),
    Mistake("a replica has a key of its own where one was given", "ledger.tf",
            "setsubtract(var.ledger_replica_regions, keys(var.ledger_replica_kms_key_arns))", "toset(var.ledger_replica_regions)", "edges", "a_key_of_somebody_else"),
    Mistake("a role's policy is longer than was said", "functions.tf", "      [2600, length", "      [1000, length", "sizes", "what_is_said_of_sizes_is_true"),
    Mistake("a package for another processor is deployed", "functions.tf",
            "try(local.package_notes[each.key].architecture == var.architecture, false)", "true", "functions", "a_package_of_another_architecture"),
    Mistake("a package of which nobody knows what it is, is deployed", "functions.tf",
            "try(local.package_notes[each.key].architecture == var.architecture, false)",
            "try(local.package_notes[each.key].architecture == var.architecture, true)", "functions", "a_package_of_which_nobody_knows_what_it_is"),
    Mistake("a rule invokes another version than the schedule", "events.tf",
            "aws_lambda_alias.live[each.value.of].arn", "aws_lambda_function.this[each.value.of].arn", "edges", "eventbridge_to_function"),
    Mistake("nothing goes back to an earlier version", "functions.tf",
            "lookup(var.function_versions, each.key, aws_lambda_function.this[each.key].version)", "aws_lambda_function.this[each.key].version",
            "functions", "back_to_a_version_from_before"),
    Mistake("an endpoint that is not known yet cannot be planned", "topics.tf",
            '"${route} ${coalesce(s.name, tostring(index))}"', '"${route} ${s.protocol} ${s.endpoint}"',
            "policy", "subscriptions_of_which_the_endpoint_is_not_known"),
    Mistake("a guard tells itself", "forward.tf",
            "!contains(var.other_regions, local.region)", "length(var.other_regions) >= 0", "ledger", "its_own_region_among_others"),
    Mistake("the routes of the document are kept", "policy.tf",
            "merge(local.document, { routes = local.topic_arns })", "merge({ routes = local.topic_arns }, local.document)",
            "policy", "from_a_file"),
    Mistake("an alarm hangs on a dimension that nobody writes", "alarms.tf",
            "              Function = name\n", "              Function = local.function_names[name]\n", "alarms", "what_is_watched"),
    Mistake("an alarm that can never fire", "alarms.tf",
            "each.value.definition.share_of_block_limit * local.max_blocks_per_hour", "15 + 0 * local.max_blocks_per_hour",
            "alarms", "the_threshold_follows_a_lower_limit"),
    Mistake("no alarm when no sweep comes", "alarms.tf",
            'lookup(each.value.definition, "missing", "notBreaching")', '"notBreaching"', "alarms", "what_is_watched"),
    Mistake("an alarm rings between two sweeps", "metrics.json",
            '"period": 7200, "threshold": 7200, "missing"', '"period": 300, "threshold": 7200, "missing"', "alarms", "sweeps"),
    Mistake("images miss their turn", "variables.tf",
            "[15, 20, 30, 60]", "[15, 20, 30, 60, 120]", "functions", "values_that_cannot_work"),
    Mistake("ages are added up", "alarms.tf",
            '? "Maximum" : "Sum"', '? "Sum" : "Sum"', "alarms", "the_dashboard"),
    Mistake("every outcome of every function is paid for", "variables.tf",
            "no graph of the dashboard needs them.\"\n  type        = bool\n  default     = false",
            "no graph of the dashboard needs them.\"\n  type        = bool\n  default     = true", "alarms", "outcomes_are_no_metric_unless_asked_for"),
    Mistake("a metric of each function that nobody writes is paid for", "alarms.tf",
            "lookup(local.metrics.written_by, metric, keys(local.functions))", "keys(local.functions)", "alarms", "the_dashboard"),
    Mistake("nobody is told of an alarm", "alarms.tf",
            "  alarm_actions      = [aws_sns_topic.alarms.arn]\n", "", "alarms", "what_is_watched"),
)


def found(module: Path, mistake: Mistake) -> str | None:
    """Plants a mistake, runs the test, takes the mistake out again; gives what was printed if it was not found."""
    path = module / mistake.file
    before = path.read_text(encoding="utf-8")
    if before.count(mistake.old) != 1:
        return f"`{mistake.file}` has {before.count(mistake.old)} times: {mistake.old}"
    path.write_text(before.replace(mistake.old, mistake.new), encoding="utf-8")
    done = subprocess.run(
        ["terraform", "test", "-no-color", f"-filter=tests/{mistake.test}.tftest.hcl"],
        cwd=module, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )
    path.write_text(before, encoding="utf-8")
    return None if re.search(rf'run "{mistake.run}"\.\.\. fail', done.stdout) else done.stdout


def copy(folder: Path) -> Path:
    """A copy of the module, ready for tests. They read the example of a policy, by its place in the repository."""
    module = folder / MODULE.relative_to(REPOSITORY)
    shutil.copytree(MODULE, module, ignore=shutil.ignore_patterns(".terraform*"))
    shutil.copytree(REPOSITORY / "docs", folder / "docs")
    subprocess.run(["terraform", "init", "-backend=false", "-input=false"], cwd=module, stdout=subprocess.DEVNULL, check=True)
    return module


def main() -> int:
    """Plants all mistakes; gives the exit code."""
    if sys.argv[1:] == ["--list"]:
        print("| mistake | in | found by |\n|---|---|---|")
        for mistake in MISTAKES:
            print(f"| {mistake.what} | `{mistake.file}` | `{mistake.test}`: `{mistake.run}` |")
        return 0
    with tempfile.TemporaryDirectory() as directory, ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:
        # A copy for each worker.
        copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for worker in range(os.cpu_count() or 1):
            copies.put(copy(Path(directory) / str(worker)))

        def look(mistake: Mistake) -> str | None:
            module = copies.get()
            try:
                return found(module, mistake)
            finally:
                copies.put(module)

        missed = 0
        for mistake, output in zip(MISTAKES, workers.map(look, MISTAKES), strict=True):
            if output is not None:
                missed += 1
                print(f"NOT FOUND: {mistake.what}\n{output}")
    print(f"{len(MISTAKES) - missed} of {len(MISTAKES)} planted mistakes are found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
