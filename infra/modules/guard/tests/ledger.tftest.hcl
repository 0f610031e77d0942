mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  lambda_directory = "./tests/packages/lambda"
}

run "packages" {
  module {
    source = "./tests/packages"
  }
}

run "the_table" {
  assert {
    condition     = aws_dynamodb_table.ledger[0].name == "ecr-guard-ledger" && aws_dynamodb_table.ledger[0].hash_key == "pk" && aws_dynamodb_table.ledger[0].range_key == "sk"
    error_message = "Name and keys are those that shared/aws/src/dynamodb.rs uses."
  }
  assert {
    condition     = aws_dynamodb_table.ledger[0].billing_mode == "PAY_PER_REQUEST"
    error_message = "On demand: a flood of events must not be throttled."
  }
  assert {
    condition     = aws_dynamodb_table.ledger[0].ttl[0].enabled && aws_dynamodb_table.ledger[0].ttl[0].attribute_name == "expires_at"
    error_message = "Rows of deleted images go by themselves."
  }
  assert {
    condition     = aws_dynamodb_table.ledger[0].point_in_time_recovery[0].enabled
    error_message = "The ledger can be restored: it is the only memory of what was blocked."
  }
  assert {
    condition     = aws_dynamodb_table.ledger[0].deletion_protection_enabled
    error_message = "The ledger is not deleted by mistake."
  }
  assert {
    condition     = length(aws_dynamodb_table.ledger[0].replica) == 0 && !aws_dynamodb_table.ledger[0].stream_enabled
    error_message = "No replica unless asked for."
  }
}

run "replicas" {
  variables {
    ledger_replica_regions = ["us-east-1"]
  }

  override_resource {
    target = aws_kms_key.ledger_replica
    values = { arn = "arn:aws:kms:us-east-1:123456789012:key/99999999-2222-3333-4444-555555555555" }
  }

  assert {
    condition = [for r in aws_dynamodb_table.ledger[0].replica : [r.region_name, r.kms_key_arn, r.point_in_time_recovery, r.deletion_protection_enabled]] == [
      ["us-east-1", "arn:aws:kms:us-east-1:123456789012:key/99999999-2222-3333-4444-555555555555", true, true]
    ]
    error_message = "A replica is as protected as the table."
  }
  assert {
    condition     = aws_dynamodb_table.ledger[0].stream_enabled && aws_dynamodb_table.ledger[0].stream_view_type == "NEW_AND_OLD_IMAGES"
    error_message = "Replicas are made of the stream."
  }
  assert {
    condition     = aws_kms_key.ledger_replica["us-east-1"].region == "us-east-1" && aws_kms_key.ledger_replica["us-east-1"].enable_key_rotation
    error_message = "The replica's key is in its region, and rotated."
  }
  assert {
    condition = output.ledgers == {
      us-east-1 = { table_name = "ecr-guard-ledger", kms_key_arn = "arn:aws:kms:us-east-1:123456789012:key/99999999-2222-3333-4444-555555555555" }
    }
    error_message = "What the guard of that region needs."
  }
}

run "the_ledger_of_another_region" {
  variables {
    ledger = { table_name = "pipeops-ledger", kms_key_arn = "arn:aws:kms:us-west-2:123456789012:key/99999999-2222-3333-4444-555555555555" }
  }

  assert {
    condition     = length(aws_dynamodb_table.ledger) == 0 && output.table_name == "pipeops-ledger"
    error_message = "No table is created where one is given."
  }
  assert {
    condition     = alltrue([for f in aws_lambda_function.this : f.environment[0].variables.ECR_GUARD_TABLE == "pipeops-ledger"])
    error_message = "The functions use it."
  }
  assert {
    condition = alltrue([
      for p in aws_iam_role_policy.this : { for s in jsondecode(p.policy).Statement : s.Sid => s.Resource if contains(["Keys", "Ledger"], s.Sid) } == {
        Keys   = [aws_kms_key.this[0].arn, "arn:aws:kms:us-west-2:123456789012:key/99999999-2222-3333-4444-555555555555"]
        Ledger = ["arn:aws:dynamodb:us-west-2:123456789012:table/pipeops-ledger"]
      }
    ])
    error_message = "They may use it, and its key."
  }
}

run "replicas_of_a_ledger_that_is_not_ours" {
  command = plan

  variables {
    ledger                 = { table_name = "pipeops-ledger", kms_key_arn = "arn:aws:kms:us-west-2:123456789012:key/99999999-2222-3333-4444-555555555555" }
    ledger_replica_regions = ["us-east-1"]
  }

  expect_failures = [var.ledger_replica_regions]
}

run "its_own_region_among_others" {
  command = plan

  variables {
    region                 = "us-west-2"
    other_regions          = ["us-east-1", "us-west-2"]
    ledger_replica_regions = ["us-west-2"]
  }

  expect_failures = [aws_cloudwatch_event_rule.forward, aws_dynamodb_table.ledger]
}

run "a_region_twice" {
  command = plan

  variables {
    other_regions          = ["us-east-1", "us-east-1"]
    ledger_replica_regions = ["us-east-1", "us-east-1"]
  }

  expect_failures = [var.other_regions, var.ledger_replica_regions]
}
