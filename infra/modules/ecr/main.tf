# Every regional resource names its region. With provider 6 that works as an aliased provider did before, for a set of regions
# that is only known from a variable, and a caller of the module has one provider to pass on: none.

resource "aws_ecr_repository" "this" {
  for_each = local.repositories

  region               = local.region
  name                 = each.value
  image_tag_mutability = local.settings[each.key].image_tag_mutability
  force_delete         = var.force_delete
  tags                 = local.tags

  dynamic "image_tag_mutability_exclusion_filter" {
    for_each = local.settings[each.key].image_tag_mutability_exclusion_filters
    content {
      filter      = image_tag_mutability_exclusion_filter.value
      filter_type = "WILDCARD"
    }
  }

  encryption_configuration {
    encryption_type = "KMS"
    kms_key         = local.key_arns[local.region]
  }

  image_scanning_configuration {
    scan_on_push = local.settings[each.key].scan_on_push
  }

  lifecycle {
    precondition {
      condition     = length(each.value) <= 256
      error_message = "${each.value} is longer than the 256 characters that ECR allows."
    }
  }
}

resource "aws_ecr_lifecycle_policy" "this" {
  for_each = local.repositories

  region     = local.region
  repository = aws_ecr_repository.this[each.key].name
  policy     = local.lifecycle_policies[each.key]

  lifecycle {
    precondition {
      condition     = length(local.lifecycle_eaten) == 0
      error_message = "A pattern of lifecycle_expire_tagged would never act: ECR leaves an image to the first rule whose tags it has, and all images of one are taken by another: ${join(", ", local.lifecycle_eaten)}. (`v*` is the rule of lifecycle_keep_count.)"
    }
  }
}

resource "aws_ecr_repository_policy" "this" {
  for_each = local.repository_policy == null ? {} : local.repositories

  region     = local.region
  repository = aws_ecr_repository.this[each.key].name
  policy     = local.repository_policy

  lifecycle {
    precondition {
      # ECR API reference, `SetRepositoryPolicy`.
      condition     = length(local.repository_policy) <= 10240
      error_message = "The repositories' policy has ${length(local.repository_policy)} characters, and ECR takes 10240: name accounts in place of roles."
    }
  }
}
