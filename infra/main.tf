locals {
  tags = merge({ Project = var.project_name, Environment = var.environment }, var.tags)

  replication_regions = !var.enable_replication ? [] : length(var.replication_regions) > 0 ? var.replication_regions : compact([var.dr_region])
  other_regions       = toset(coalesce(var.guard_regions, local.replication_regions))

  guard_role_arns = concat(values(module.guard.role_arns), flatten([for guard in module.guard_elsewhere : values(guard.role_arns)]))
}

module "ecr" {
  source = "./modules/ecr"
  count  = length(var.ecr_repository_names) > 0 ? 1 : 0

  project_name                   = var.project_name
  environment                    = var.environment
  aws_region                     = var.aws_region
  ecr_repository_names           = var.ecr_repository_names
  image_tag_mutability           = var.image_tag_mutability
  scan_on_push                   = var.scan_on_push
  lifecycle_keep_count           = var.lifecycle_keep_count
  lifecycle_expire_untagged_days = var.lifecycle_expire_untagged_days
  enable_replication             = var.enable_replication
  replication_regions            = var.replication_regions
  dr_region                      = var.dr_region
  create_github_actions_policy   = var.create_github_actions_policy
  eks_node_role_arn              = var.eks_node_role_arn
  tags                           = var.tags
  # Who may not archive cannot block.
  image_removal_principal_arns = var.image_removal_principal_arns == null ? null : concat(var.image_removal_principal_arns, local.guard_role_arns)
}

# The guard of the registry, with the ledger of all regions.
module "guard" {
  source = "./modules/guard"

  name                       = var.guard_name
  region                     = var.aws_region
  policy_file                = var.policy_file
  repositories               = var.guarded_repositories
  routes                     = var.routes
  alarm_subscriptions        = var.alarm_subscriptions
  lambda_directory           = var.lambda_directory
  architecture               = var.architecture
  memory_size                = var.memory_size
  reserved_concurrency       = var.reserved_concurrency
  sweep_interval_minutes     = var.sweep_interval_minutes
  event_sources              = var.event_sources
  log_retention_days         = var.log_retention_days
  other_regions              = sort(local.other_regions)
  ledger_replica_regions     = sort(local.other_regions)
  ledger_deletion_protection = var.ledger_deletion_protection
}

# The same in every other region: a block in one region does not reach the copies in another.
module "guard_elsewhere" {
  source   = "./modules/guard"
  for_each = local.other_regions

  name                   = var.guard_name
  region                 = each.value
  ledger                 = module.guard.ledgers[each.value]
  other_regions          = sort(setsubtract(concat([var.aws_region], tolist(local.other_regions)), [each.value]))
  policy_file            = var.policy_file
  repositories           = var.guarded_repositories
  routes                 = var.routes
  alarm_subscriptions    = var.alarm_subscriptions
  lambda_directory       = var.lambda_directory
  architecture           = var.architecture
  memory_size            = var.memory_size
  reserved_concurrency   = var.reserved_concurrency
  sweep_interval_minutes = var.sweep_interval_minutes
  event_sources          = var.event_sources
  log_retention_days     = var.log_retention_days
}
