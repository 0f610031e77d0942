locals {
  tags = merge({ Project = var.project_name, Environment = var.environment }, var.tags)

  replication_regions = !var.enable_replication ? [] : length(var.replication_regions) > 0 ? var.replication_regions : compact([var.dr_region])
  other_regions       = toset(coalesce(var.guard_regions, local.replication_regions))
  guarded_regions     = concat([var.aws_region], sort(local.other_regions))

  guard_role_arns = concat(values(module.guard.role_arns), flatten([for guard in module.guard_elsewhere : values(guard.role_arns)]))
}

module "ecr" {
  source = "./modules/ecr"
  count  = length(var.ecr_repository_names) > 0 ? 1 : 0

  project_name                           = var.project_name
  environment                            = var.environment
  ecr_repository_names                   = var.ecr_repository_names
  tags                                   = var.tags
  name_suffix                            = var.name_suffix
  aws_region                             = var.aws_region
  dr_region                              = var.dr_region
  image_tag_mutability                   = var.image_tag_mutability
  image_tag_mutability_exclusion_filters = var.image_tag_mutability_exclusion_filters
  scan_on_push                           = var.scan_on_push
  lifecycle_keep_count                   = var.lifecycle_keep_count
  lifecycle_expire_untagged_days         = var.lifecycle_expire_untagged_days
  lifecycle_expire_tagged                = var.lifecycle_expire_tagged
  lifecycle_expire_order                 = var.lifecycle_expire_order
  repository_overrides                   = var.repository_overrides
  create_kms_keys                        = var.create_kms_keys
  kms_key_arn                            = var.kms_key_arn
  replica_kms_key_arns                   = var.replica_kms_key_arns
  kms_deletion_window_days               = var.kms_deletion_window_days
  registry_scan_type                     = var.registry_scan_type
  enable_replication                     = var.enable_replication
  replication_regions                    = var.replication_regions
  allow_replication_outside_prod         = var.allow_replication_outside_prod
  manage_replication_configuration       = var.manage_replication_configuration
  create_replica_repositories            = var.create_replica_repositories
  replica_template_prefixes              = var.replica_template_prefixes
  create_github_actions_policy           = var.create_github_actions_policy
  eks_node_role_arn                      = var.eks_node_role_arn
  attach_eks_node_pull_policy            = var.attach_eks_node_pull_policy
  pull_principal_arns                    = var.pull_principal_arns
  pull_organization_ids                  = var.pull_organization_ids
  lambda_function_arns                   = var.lambda_function_arns
  pull_upstream_images                   = var.pull_upstream_images
  repository_policy_statements           = var.repository_policy_statements
  deletion_protection                    = var.deletion_protection
  force_delete                           = var.force_delete
  # Who may not archive cannot block.
  image_removal_principal_arns = var.image_removal_principal_arns == null ? null : concat(var.image_removal_principal_arns, local.guard_role_arns)
  permissions_boundary_arn     = var.permissions_boundary_arn
  github_repositories          = var.github_repositories
  github_subjects              = var.github_subjects
  github_issuer                = var.github_issuer
  github_subject_formats       = var.github_subject_formats
  github_oidc_provider_arn     = var.github_oidc_provider_arn
  create_github_oidc_provider  = var.create_github_oidc_provider
  github_gate_arns             = var.github_asks_gate ? [for guard in local.guards : guard.gate_arn] : []
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
  lambda_directory           = contains(keys(var.lambda_s3), var.aws_region) ? null : var.lambda_directory
  lambda_s3                  = lookup(var.lambda_s3, var.aws_region, null)
  function_versions          = lookup(var.function_versions, var.aws_region, {})
  vpc_config                 = lookup(var.vpc_config, var.aws_region, null)
  architecture               = var.architecture
  memory_size                = var.memory_size
  reserved_concurrency       = var.reserved_concurrency
  sweep_interval_minutes     = var.sweep_interval_minutes
  log_level                  = var.log_level
  log_retention_days         = var.log_retention_days
  outcome_metrics            = var.outcome_metrics
  workloads                  = var.workloads
  gate                       = var.gate
  operate                    = var.operate
  event_sources              = var.event_sources
  other_regions              = sort(local.other_regions)
  ledger_replica_regions     = sort(local.other_regions)
  ledger_deletion_protection = var.ledger_deletion_protection
  permissions_boundary_arn   = var.permissions_boundary_arn
  code_signing               = lookup(var.code_signing, var.aws_region, null)
  create_kms_key             = !contains(keys(var.guard_kms_key_arns), var.aws_region)
  kms_key_arn                = lookup(var.guard_kms_key_arns, var.aws_region, null)
  # A guard and the ledger's replica in its region have the same key where it is somebody else's.
  ledger_replica_kms_key_arns = { for region in local.other_regions : region => var.guard_kms_key_arns[region] if contains(keys(var.guard_kms_key_arns), region) }
}

# The same in every other region: a block in one region does not reach the copies in another.
module "guard_elsewhere" {
  source   = "./modules/guard"
  for_each = local.other_regions

  name                     = var.guard_name
  region                   = each.value
  policy_file              = var.policy_file
  repositories             = var.guarded_repositories
  routes                   = var.routes
  alarm_subscriptions      = var.alarm_subscriptions
  lambda_directory         = contains(keys(var.lambda_s3), each.value) ? null : var.lambda_directory
  lambda_s3                = lookup(var.lambda_s3, each.value, null)
  function_versions        = lookup(var.function_versions, each.value, {})
  vpc_config               = lookup(var.vpc_config, each.value, null)
  architecture             = var.architecture
  memory_size              = var.memory_size
  reserved_concurrency     = var.reserved_concurrency
  sweep_interval_minutes   = var.sweep_interval_minutes
  log_level                = var.log_level
  log_retention_days       = var.log_retention_days
  outcome_metrics          = var.outcome_metrics
  workloads                = var.workloads
  gate                     = var.gate
  operate                  = var.operate
  event_sources            = var.event_sources
  other_regions            = sort(setsubtract(local.guarded_regions, [each.value]))
  ledger                   = module.guard.ledgers[each.value]
  permissions_boundary_arn = var.permissions_boundary_arn
  code_signing             = lookup(var.code_signing, each.value, null)
  create_kms_key           = !contains(keys(var.guard_kms_key_arns), each.value)
  kms_key_arn              = lookup(var.guard_kms_key_arns, each.value, null)
}
