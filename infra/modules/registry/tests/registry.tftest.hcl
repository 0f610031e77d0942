# The settings of the registry. No account is needed: the provider plans without asking AWS.

provider "aws" {
  region                      = "us-west-2"
  access_key                  = "test"
  secret_key                  = "test"
  skip_credentials_validation = true
  skip_requesting_account_id  = true
  skip_metadata_api_check     = true
}

run "nothing_unless_asked_for" {
  command = plan

  assert {
    condition     = length(aws_ecr_registry_scanning_configuration.this) + length(aws_ecr_replication_configuration.this) == 0
    error_message = "what somebody else may own is left alone"
  }
}

run "scanning" {
  command = plan

  variables {
    region       = "eu-west-1"
    scan_type    = "ENHANCED"
    scan_regions = ["eu-west-1", "eu-central-1"]
  }

  assert {
    condition = { for region, configuration in aws_ecr_registry_scanning_configuration.this : region => [
      configuration.region, configuration.scan_type, one(configuration.rule).scan_frequency, one(one(configuration.rule).repository_filter).filter
    ] } == { for region in ["eu-central-1", "eu-west-1"] : region => [region, "ENHANCED", "CONTINUOUS_SCAN", "*"] }
    error_message = "every repository, in every region that is named"
  }
}

run "basic_scanning" {
  command = plan

  variables {
    scan_type = "BASIC"
  }

  assert {
    condition     = keys(aws_ecr_registry_scanning_configuration.this) == ["us-west-2"] && one(aws_ecr_registry_scanning_configuration.this["us-west-2"].rule).scan_frequency == "SCAN_ON_PUSH"
    error_message = "in the region of the registry, on push"
  }
}

run "no_scan_on_push" {
  command = plan

  variables {
    scan_type    = "BASIC"
    scan_on_push = false
  }

  assert {
    condition     = length(aws_ecr_registry_scanning_configuration.this["us-west-2"].rule) == 0
    error_message = "scans are started by hand"
  }
}

run "a_scan_type_that_nobody_knows" {
  command = plan

  variables {
    scan_type = "basic"
  }

  expect_failures = [var.scan_type]
}

run "rules_of_two_modules" {
  command = plan

  variables {
    replication_rules = [for name in ["pipeops-prod-api", "shop-prod-web", "shop-prod-web"] : {
      destinations = [{ region = "us-east-1", registry_id = "123456789012" }]
      filters      = [{ filter = name, filter_type = "PREFIX_MATCH" }]
    }]
  }

  assert {
    condition     = aws_ecr_replication_configuration.this[0].region == "us-west-2"
    error_message = "the registry of the sources replicates"
  }
  assert {
    condition = [for rule in aws_ecr_replication_configuration.this[0].replication_configuration[0].rule : [
      "${rule.destination[0].registry_id} ${rule.destination[0].region}", "${rule.repository_filter[0].filter_type} ${rule.repository_filter[0].filter}"
    ]] == [for name in ["pipeops-prod-api", "shop-prod-web"] : ["123456789012 us-east-1", "PREFIX_MATCH ${name}"]]
    error_message = "what each module wants, once"
  }
}

run "more_rules_than_a_registry_takes" {
  command = plan

  variables {
    replication_rules = [for n in range(11) : {
      destinations = [{ region = "us-east-1", registry_id = "123456789012" }]
      filters      = [{ filter = "team-${n}", filter_type = "PREFIX_MATCH" }]
    }]
  }

  expect_failures = [aws_ecr_replication_configuration.this]
}

run "more_filters_than_a_rule_takes" {
  command = plan

  variables {
    replication_rules = [{
      destinations = [{ region = "us-east-1", registry_id = "123456789012" }]
      filters      = [for n in range(101) : { filter = "team-${n}", filter_type = "PREFIX_MATCH" }]
    }]
  }

  expect_failures = [aws_ecr_replication_configuration.this]
}

run "more_destinations_than_a_registry_takes" {
  command = plan

  variables {
    replication_rules = [{
      destinations = [for n in range(26) : { region = "us-east-1", registry_id = format("%012d", n) }]
      filters      = [{ filter = "team", filter_type = "PREFIX_MATCH" }]
    }]
  }

  expect_failures = [aws_ecr_replication_configuration.this]
}
