# A registry in production with copies in a second region. Both regions are guarded, under the policy in policy.json, and share a ledger.

provider "aws" {
  region = local.region

  default_tags {
    tags = { Project = "pipeops", Environment = "prod" }
  }
}

locals {
  region    = "us-west-2"
  dr_region = "us-east-1"

  guard = {
    policy_file = "${path.module}/policy.json"
    # Only these repositories: others in the account are somebody else's.
    repositories = ["pipeops-prod-*"]
    routes = {
      default  = [{ protocol = "email", endpoint = "security@example.com" }]
      platform = [{ protocol = "email", endpoint = "platform@example.com" }]
    }
    alarm_subscriptions = [{ protocol = "email", endpoint = "oncall@example.com" }]
    # So that a flood of events leaves the account's concurrency to others. A new account has ten in all, and Lambda reserves none of them:
    # ask for more first, and then say { on-push = 10, on-scan = 10 }.
    reserved_concurrency = {}
  }
}

module "ecr" {
  source = "../../modules/ecr"

  project_name         = "pipeops"
  environment          = "prod"
  aws_region           = local.region
  dr_region            = local.dr_region
  ecr_repository_names = ["frontend", "backend", "api", "worker"]
  enable_replication   = true
  replication_regions  = [local.dr_region]

  create_github_actions_policy = true
}

module "guard" {
  source = "../../modules/guard"

  region                 = local.region
  policy_file            = local.guard.policy_file
  repositories           = local.guard.repositories
  routes                 = local.guard.routes
  alarm_subscriptions    = local.guard.alarm_subscriptions
  reserved_concurrency   = local.guard.reserved_concurrency
  lambda_directory       = var.lambda_directory
  other_regions          = [local.dr_region]
  ledger_replica_regions = [local.dr_region]
}

module "guard_dr" {
  source = "../../modules/guard"

  region               = local.dr_region
  ledger               = module.guard.ledgers[local.dr_region]
  other_regions        = [local.region]
  policy_file          = local.guard.policy_file
  repositories         = local.guard.repositories
  routes               = local.guard.routes
  alarm_subscriptions  = local.guard.alarm_subscriptions
  reserved_concurrency = local.guard.reserved_concurrency
  lambda_directory     = var.lambda_directory
}
