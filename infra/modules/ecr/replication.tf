# Replication copies images, tags and referrers. It does not copy the settings of a repository: where the copy arrives first,
# ECR creates a repository with mutable tags, AES256 and no policy, unless a creation template says otherwise, and a template
# counts only in that moment. So the repositories in the replication regions are created here, with the settings of their
# sources and kept that way; the templates are for the repositories that ECR creates by itself in addition.

locals {
  replicas = { for pair in setproduct(local.replica_regions, keys(local.repositories)) :
    "${pair[0]}/${pair[1]}" => { region = pair[0], name = pair[1], repository = local.repositories[pair[1]] }
  }

  replica_template_prefixes = toset(var.replica_template_prefixes == null ? values(local.repositories) : var.replica_template_prefixes)
  replica_templates = { for pair in setproduct(local.replica_regions, local.replica_template_prefixes) :
    "${pair[0]}/${pair[1]}" => {
      region = pair[0]
      prefix = pair[1]
      # The repository that it is called after, whose settings it has.
      name = one([for name, repository in merge({ "" = "" }, local.repositories) : name if repository == pair[1] || (name == "" && !contains(values(local.repositories), pair[1]))])
    }
  }

  # A filter is the beginning of a name. With the whole names, `pipeops-prod` does not take `pipeops-prod-eu-api` along. A rule takes 100
  # filters, a configuration 10 rules (ECR user guide, "Amazon ECR service quotas").
  replication_rules = [for repositories in chunklist(values(local.repositories), 100) : {
    destinations = [for region in local.replica_regions : { region = region, registry_id = local.account_id }]
    filters      = [for repository in repositories : { filter = repository, filter_type = "PREFIX_MATCH" }]
  }]
}

# The conditions on copies, whatever owner their keys and the replication configuration have.
resource "terraform_data" "replica" {
  for_each = local.replica_regions

  input = each.value

  lifecycle {
    precondition {
      condition     = var.environment == "prod" || var.allow_replication_outside_prod
      error_message = "Replication is for environment \"prod\", and this is \"${var.environment}\": each copy is stored and paid for again. Set enable_replication to false, or allow_replication_outside_prod to true if this environment really needs copies."
    }
    precondition {
      condition     = each.value != local.region
      error_message = "The repositories are in ${local.region}, which is also among the regions to replicate to: take it out of replication_regions (or dr_region)."
    }
    precondition {
      condition     = var.create_kms_keys || contains(keys(var.replica_kms_key_arns), each.value)
      error_message = "create_kms_keys is false, and replica_kms_key_arns has no key for ${each.value}."
    }
  }
}

resource "aws_kms_key" "replica" {
  for_each = var.create_kms_keys ? local.replica_regions : toset([])

  region                  = each.value
  description             = "Images of ${local.prefix}, copies of those in ${local.region}"
  enable_key_rotation     = true
  deletion_window_in_days = var.kms_deletion_window_days
  tags                    = local.tags
  policy                  = local.key_policies[each.value]
}

resource "aws_kms_alias" "replica" {
  for_each = aws_kms_key.replica

  region        = each.key
  name          = "alias/${local.prefix}-ecr${var.name_suffix}"
  target_key_id = each.value.key_id
}

resource "aws_ecr_repository" "replica" {
  for_each = var.create_replica_repositories ? local.replicas : {}

  region               = each.value.region
  name                 = each.value.repository
  image_tag_mutability = local.settings[each.value.name].image_tag_mutability
  force_delete         = var.force_delete
  tags                 = local.tags

  dynamic "image_tag_mutability_exclusion_filter" {
    for_each = local.settings[each.value.name].image_tag_mutability_exclusion_filters
    content {
      filter      = image_tag_mutability_exclusion_filter.value
      filter_type = "WILDCARD"
    }
  }

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = local.key_arns[each.value.region]
  }

  image_scanning_configuration {
    scan_on_push = local.settings[each.value.name].scan_on_push
  }
}

resource "aws_ecr_lifecycle_policy" "replica" {
  for_each = aws_ecr_repository.replica

  region     = each.value.region
  repository = each.value.name
  policy     = local.lifecycle_policies[local.replicas[each.key].name]
}

resource "aws_ecr_repository_policy" "replica" {
  for_each = local.repository_policy == null ? {} : aws_ecr_repository.replica

  region     = each.value.region
  repository = each.value.name
  policy     = local.repository_policy
}

resource "aws_ecr_repository_creation_template" "replica" {
  for_each = local.replica_templates

  region               = each.value.region
  prefix               = each.value.prefix
  description          = "Copies of ${local.prefix} from ${local.region}"
  applied_for          = ["REPLICATION"]
  custom_role_arn      = aws_iam_role.replica_templates[0].arn
  image_tag_mutability = local.settings[each.value.name].image_tag_mutability
  lifecycle_policy     = local.lifecycle_policies[each.value.name]
  repository_policy    = local.repository_policy
  resource_tags        = local.tags

  dynamic "image_tag_mutability_exclusion_filter" {
    for_each = local.settings[each.value.name].image_tag_mutability_exclusion_filters
    content {
      filter      = image_tag_mutability_exclusion_filter.value
      filter_type = "WILDCARD"
    }
  }

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = local.key_arns[each.value.region]
  }

  depends_on = [aws_iam_role_policy.replica_templates]
}

# With a key of ours or with tags, ECR creates repositories as this role. Its trust has no condition on the account, because ECR
# documents none for it; a role can be put into a template only by who may pass it, and that is nobody of another account.
resource "aws_iam_role" "replica_templates" {
  count = length(local.replica_templates) > 0 ? 1 : 0

  name                 = "${local.prefix}-ecr-templates${var.name_suffix}"
  description          = "ECR creates the repositories of copies as this role"
  permissions_boundary = var.permissions_boundary_arn
  tags                 = local.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "Ecr"
      Effect    = "Allow"
      Principal = { Service = "ecr.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

locals {
  template_repositories = {
    list = sort(flatten([for template in values(local.replica_templates) :
      template.prefix == "ROOT"
      ? ["arn:${local.partition}:ecr:${template.region}:${local.account_id}:repository/*"]
      : [for name in [template.prefix, "${template.prefix}/*"] : "arn:${local.partition}:ecr:${template.region}:${local.account_id}:repository/${name}"]
    ]))
    # Where the list would be too long: every template of ours begins like this.
    pattern = sort([for region in local.replica_regions : "arn:${local.partition}:ecr:${region}:${local.account_id}:repository/${local.prefix}-*"])
  }
  template_policies = { for form, arns in local.template_repositories : form => {
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Repositories"
        Effect   = "Allow"
        Action   = ["ecr:CreateRepository", "ecr:ReplicateImage", "ecr:TagResource"]
        Resource = arns
      },
      {
        Sid      = "Keys"
        Effect   = "Allow"
        Action   = ["kms:CreateGrant", "kms:DescribeKey", "kms:RetireGrant"]
        Resource = [for region in local.replica_regions : local.key_arns[region]]
      },
    ]
  } }
  # The ARNs of keys are not known yet, but how long they are: 75 characters, or 80 in other partitions, and three for quotes and comma.
  template_policy_sizes = { for form, arns in local.template_repositories :
    form => length(jsonencode(arns)) + 83 * length(local.replica_regions) + 350
  }
  template_policy_form = local.template_policy_sizes.list <= local.role_policy_limit ? "list" : "pattern"
}

resource "aws_iam_role_policy" "replica_templates" {
  count = length(local.replica_templates) > 0 ? 1 : 0

  name   = "create-repositories"
  role   = aws_iam_role.replica_templates[0].name
  policy = jsonencode(local.template_policies[local.template_policy_form])

  lifecycle {
    precondition {
      condition     = local.template_policy_form == "list" || alltrue([for prefix in local.replica_template_prefixes : startswith(prefix, "${local.prefix}-")])
      error_message = "replica_template_prefixes are too many for the policy of the templates' role, which takes ${local.role_policy_limit} characters: name fewer, or only such that begin with ${local.prefix}-."
    }
    precondition {
      condition     = local.template_policy_sizes[local.template_policy_form] <= local.role_policy_limit
      error_message = "The policy of the templates' role would be longer than the ${local.role_policy_limit} characters that IAM takes: replicate to fewer regions."
    }
  }
}

# After everything that makes a copy as safe as its source: the first image replicated finds it all there.
module "registry" {
  source = "../registry"
  count  = var.create && (local.replicates || var.registry_scan_type != null) ? 1 : 0

  region            = local.region
  scan_type         = var.registry_scan_type
  scan_regions      = sort(setunion([local.region], local.replica_regions))
  scan_on_push      = var.scan_on_push
  replication_rules = local.replicates ? local.replication_rules : []

  depends_on = [
    aws_ecr_lifecycle_policy.replica,
    aws_ecr_repository_creation_template.replica,
    aws_ecr_repository_policy.replica,
  ]
}

locals {
  replicates = length(local.replica_regions) > 0 && var.manage_replication_configuration
}

moved {
  from = aws_ecr_replication_configuration.this[0]
  to   = module.registry[0].aws_ecr_replication_configuration.this[0]
}

moved {
  from = aws_ecr_registry_scanning_configuration.this
  to   = module.registry[0].aws_ecr_registry_scanning_configuration.this
}
