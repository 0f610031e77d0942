# The name of a registry

variable "project_name" {
  description = "First part of every name: `<project>-<environment>-<name>`."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]+(-[a-z0-9]+)*$", var.project_name)) && length(var.project_name) <= 24
    error_message = "project_name must be 1 to 24 lower case letters, digits and single hyphens, for example \"pipeops\"."
  }
}

variable "environment" {
  description = "Second part of every name. Only `prod` may replicate unless `allow_replication_outside_prod` is set."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9]+(-[a-z0-9]+)*$", var.environment)) && length(var.environment) <= 16
    error_message = "environment must be 1 to 16 lower case letters, digits and single hyphens, for example \"prod\"."
  }
}

variable "ecr_repository_names" {
  description = "Repositories to create, by the last part of their names: `frontend` becomes `pipeops-prod-frontend`."
  type        = list(string)

  validation {
    condition     = length(var.ecr_repository_names) > 0
    error_message = "ecr_repository_names needs at least one name."
  }
  validation {
    condition     = length(var.ecr_repository_names) <= 1000 || !var.enable_replication
    error_message = "ecr_repository_names has more than 1,000 names: a registry replicates by 10 rules of 100 filters, one for each repository. Divide them among several accounts, or leave replication to the owner of the registry (enable_replication = false)."
  }
  validation {
    condition     = length(distinct(var.ecr_repository_names)) == length(var.ecr_repository_names)
    error_message = "ecr_repository_names has a name twice."
  }
  validation {
    condition = alltrue([for name in var.ecr_repository_names :
      can(regex("^([a-z0-9]+([._-][a-z0-9]+)*/)*[a-z0-9]+([._-][a-z0-9]+)*$", name)) && length(name) <= 200
    ])
    error_message = "Names in ecr_repository_names are lower case letters and digits, separated by single . _ - or /, at most 200 characters; without the registry's address and without a tag."
  }
}

variable "tags" {
  description = "Tags of everything that the module creates, in addition to `Project` and `Environment`, which they may replace."
  type        = map(string)
  default     = {}

  validation {
    # The limits of AWS for an ECR repository, a key and a role (ECR user guide, "Tagging a private repository"); two more come
    # by themselves.
    condition = length(var.tags) <= 48 && alltrue([for key, value in var.tags :
      can(regex("^[\\p{L}\\p{N}\\p{Z}_.:/=+@-]{1,128}$", key)) && can(regex("^[\\p{L}\\p{N}\\p{Z}_.:/=+@-]{0,256}$", value)) && !startswith(lower(key), "aws:")
    ])
    error_message = "tags are at most 48, with keys of 1 to 128 and values of up to 256 letters, digits, spaces or _ . : / = + - @, and no key begins with aws:."
  }
}

variable "create" {
  description = "False: the module creates nothing, so that one configuration can leave it out somewhere."
  type        = bool
  default     = true
}

variable "name_suffix" {
  description = "End of the names of roles, IAM policies and key aliases, such as `-eu`: where the module is called more than once for a project and environment of an account, each call needs another."
  type        = string
  default     = ""

  validation {
    condition     = can(regex("^(-[a-z0-9]+)*$", var.name_suffix)) && length(var.name_suffix) <= 12
    error_message = "name_suffix is empty, or a hyphen and up to 11 lower case letters, digits and single hyphens, for example \"-eu\"."
  }
}

# Where it is

variable "aws_region" {
  description = "Region of the repositories. `null`: the provider's."
  type        = string
  default     = null

  validation {
    condition     = var.aws_region == null || can(regex("^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$", var.aws_region))
    error_message = "aws_region must be a region's code, for example \"us-west-2\" (not an availability zone)."
  }
}

variable "dr_region" {
  description = "Region for disaster recovery: where to replicate to when `replication_regions` is empty; otherwise it must be one of them. Nothing is made there while `enable_replication` is false."
  type        = string
  default     = null

  validation {
    condition     = var.dr_region == null || can(regex("^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$", var.dr_region))
    error_message = "dr_region must be a region's code, for example \"us-east-1\" (not an availability zone)."
  }
  validation {
    condition     = var.dr_region == null || length(var.replication_regions) == 0 || contains(var.replication_regions, coalesce(var.dr_region, "-"))
    error_message = "dr_region is not among replication_regions: add it there, or leave replication_regions empty to replicate to dr_region alone."
  }
}

# How an image is kept

variable "image_tag_mutability" {
  description = "May a tag be moved to another image? `IMMUTABLE`, `MUTABLE`, or either with exclusions (`IMMUTABLE_WITH_EXCLUSION`, `MUTABLE_WITH_EXCLUSION`)."
  type        = string
  default     = "IMMUTABLE"

  validation {
    condition     = contains(["IMMUTABLE", "MUTABLE", "IMMUTABLE_WITH_EXCLUSION", "MUTABLE_WITH_EXCLUSION"], var.image_tag_mutability)
    error_message = "image_tag_mutability must be IMMUTABLE, MUTABLE, IMMUTABLE_WITH_EXCLUSION or MUTABLE_WITH_EXCLUSION."
  }
}

variable "image_tag_mutability_exclusion_filters" {
  description = "Tags that the rule of `image_tag_mutability` leaves out, 1 to 5 patterns with `*`; only with `…_WITH_EXCLUSION`. `[\"sha256-*\"]` is for cosign before OCI 1.1 referrers: it rewrites such tags."
  type        = list(string)
  default     = []

  validation {
    condition     = endswith(var.image_tag_mutability, "_WITH_EXCLUSION") == (length(var.image_tag_mutability_exclusion_filters) > 0)
    error_message = "image_tag_mutability_exclusion_filters belongs to IMMUTABLE_WITH_EXCLUSION and MUTABLE_WITH_EXCLUSION: these need at least one pattern, the others take none."
  }
  validation {
    condition = length(var.image_tag_mutability_exclusion_filters) <= 5 && alltrue([
      for filter in var.image_tag_mutability_exclusion_filters :
      can(regex("^[0-9a-zA-Z._*-]{1,128}$", filter)) && length(regexall("[*]", filter)) <= 2
    ])
    error_message = "At most 5 image_tag_mutability_exclusion_filters, each 1 to 128 letters, digits or . _ - *, with at most two *."
  }
}

variable "scan_on_push" {
  description = "Scan an image when it is pushed. While the registry scans with Inspector (ENHANCED), the registry's own rules decide and this does nothing."
  type        = bool
  default     = true
}

variable "lifecycle_keep_count" {
  description = "How many images to keep of those with a tag that begins with `v`; older ones expire."
  type        = number
  default     = 30

  validation {
    condition     = var.lifecycle_keep_count >= 1 && floor(var.lifecycle_keep_count) == var.lifecycle_keep_count
    error_message = "lifecycle_keep_count must be a whole number of images, at least 1."
  }
}

variable "lifecycle_expire_untagged_days" {
  description = "Days after its push that an image without a tag expires."
  type        = number
  default     = 7

  validation {
    condition     = var.lifecycle_expire_untagged_days >= 1 && floor(var.lifecycle_expire_untagged_days) == var.lifecycle_expire_untagged_days
    error_message = "lifecycle_expire_untagged_days must be a whole number of days, at least 1."
  }
}

variable "lifecycle_expire_tagged" {
  description = "More rules: tag pattern to days after its push that such an image expires, for example `{ \"pr-*\" = 14 }`. Never for an image with a `v` tag: the first rule alone decides on those. The narrowest pattern comes first and `*` last, unless `lifecycle_expire_order` says otherwise. `*` also takes what cosign (`sha256-….sig`) and the guard (`blocked-…`, `quarantine-…`) tag. ECR does not ask whether an image is in use."
  type        = map(number)
  default     = {}

  validation {
    condition     = length(var.lifecycle_expire_tagged) <= 48
    error_message = "At most 48 patterns in lifecycle_expire_tagged: a lifecycle policy has at most 50 rules, and two are taken."
  }
  validation {
    condition = alltrue([for pattern, days in var.lifecycle_expire_tagged :
      can(regex("^[0-9a-zA-Z._*-]{1,128}$", pattern)) && length(regexall("[*]", pattern)) <= 4 && days >= 1 && floor(days) == days
    ])
    error_message = "lifecycle_expire_tagged maps a tag pattern (letters, digits, . _ - and at most four *) to a whole number of days, at least 1."
  }
}

variable "lifecycle_expire_order" {
  description = "Patterns of `lifecycle_expire_tagged` in the order in which ECR applies them, before those that are not named here. It matters for an image with tags of two patterns: the first one decides alone, so that what must be kept longer comes first."
  type        = list(string)
  default     = []

  validation {
    condition     = length(distinct(var.lifecycle_expire_order)) == length(var.lifecycle_expire_order) && length(setsubtract(var.lifecycle_expire_order, keys(var.lifecycle_expire_tagged))) == 0
    error_message = "lifecycle_expire_order names patterns of lifecycle_expire_tagged, each once."
  }
}

variable "repository_overrides" {
  description = "Exceptions for single repositories, by their names in `ecr_repository_names`: `{ cache = { image_tag_mutability = \"MUTABLE\", lifecycle_keep_count = 5 } }`. `image_tag_mutability_exclusion_filters` belong to the `image_tag_mutability` of the same entry."
  type = map(object({
    image_tag_mutability                   = optional(string)
    image_tag_mutability_exclusion_filters = optional(list(string), [])
    scan_on_push                           = optional(bool)
    lifecycle_keep_count                   = optional(number)
    lifecycle_expire_untagged_days         = optional(number)
  }))
  default = {}

  validation {
    condition     = length(setsubtract(keys(var.repository_overrides), var.ecr_repository_names)) == 0
    error_message = "repository_overrides names repositories that ecr_repository_names does not have: ${join(", ", setsubtract(keys(var.repository_overrides), var.ecr_repository_names))}."
  }
  validation {
    condition = alltrue([for override in values(var.repository_overrides) :
      contains(["IMMUTABLE", "MUTABLE", "IMMUTABLE_WITH_EXCLUSION", "MUTABLE_WITH_EXCLUSION"], coalesce(override.image_tag_mutability, "MUTABLE"))
      && endswith(coalesce(override.image_tag_mutability, "-"), "_WITH_EXCLUSION") == (length(override.image_tag_mutability_exclusion_filters) > 0)
    ])
    error_message = "In repository_overrides, image_tag_mutability is IMMUTABLE, MUTABLE, or either with _WITH_EXCLUSION, which needs image_tag_mutability_exclusion_filters."
  }
  validation {
    condition = alltrue(flatten([for override in values(var.repository_overrides) : [
      for number in [override.lifecycle_keep_count, override.lifecycle_expire_untagged_days] : number == null ? true : number >= 1 && floor(number) == number
    ]]))
    error_message = "In repository_overrides, lifecycle_keep_count and lifecycle_expire_untagged_days are whole numbers, at least 1."
  }
}

variable "create_kms_keys" {
  description = "False: the images are encrypted with `kms_key_arn` and `replica_kms_key_arns`, keys of somebody else. They must let the account use them through ECR, as kms.tf shows; who may delete them may end all images."
  type        = bool
  default     = true
}

variable "kms_key_arn" {
  description = "Key of the region, when `create_kms_keys` is false; it may be a key of the same plan. ECR cannot change the key of a repository that is there."
  type        = string
  default     = null

  validation {
    condition     = var.create_kms_keys || !var.create || var.kms_key_arn != null
    error_message = "create_kms_keys is false: give kms_key_arn."
  }
  validation {
    condition     = !var.create_kms_keys || (var.kms_key_arn == null && length(var.replica_kms_key_arns) == 0)
    error_message = "kms_key_arn and replica_kms_key_arns are used when create_kms_keys is false."
  }
}

variable "replica_kms_key_arns" {
  description = "Keys of the replication regions, by region, when `create_kms_keys` is false."
  type        = map(string)
  default     = {}
}

variable "kms_deletion_window_days" {
  description = "Days between the order to delete a key and its end, 7 to 30. Without the key no image can be read again: a repository that is left when the module goes needs its key left too (`terraform state rm`)."
  type        = number
  default     = 30

  validation {
    condition     = var.kms_deletion_window_days >= 7 && var.kms_deletion_window_days <= 30
    error_message = "kms_deletion_window_days must be 7 to 30."
  }
}

variable "registry_scan_type" {
  description = "`null`: the registry's scanning configuration belongs to somebody else and is left alone. `BASIC` (scan on push, free) or `ENHANCED` (Inspector, continuous, at its price): this module owns it, here and in the replication regions, for all repositories of the account. Writing it replaces what is there."
  type        = string
  default     = null

  validation {
    condition     = var.registry_scan_type == null || contains(["BASIC", "ENHANCED"], coalesce(var.registry_scan_type, "-"))
    error_message = "registry_scan_type must be null, \"BASIC\" or \"ENHANCED\"."
  }
}

# Copies in other regions

variable "enable_replication" {
  description = "Replicate the images to `replication_regions`."
  type        = bool
  default     = false

  validation {
    condition     = !var.enable_replication || length(var.replication_regions) > 0 || var.dr_region != null
    error_message = "enable_replication needs a place to replicate to: set replication_regions or dr_region."
  }
}

variable "replication_regions" {
  description = "Regions to replicate to, when `enable_replication` is true. Empty: `dr_region` alone."
  type        = list(string)
  default     = []

  validation {
    condition     = length(var.replication_regions) <= 25 && length(distinct(var.replication_regions)) == length(var.replication_regions)
    error_message = "replication_regions takes up to 25 regions, each once."
  }
  validation {
    condition     = alltrue([for region in var.replication_regions : can(regex("^[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}$", region))])
    error_message = "replication_regions must be regions' codes, for example [\"us-east-1\"]."
  }
}

variable "allow_replication_outside_prod" {
  description = "Let an environment other than `prod` replicate. Every copy is stored, transferred and paid for again."
  type        = bool
  default     = false
}

variable "manage_replication_configuration" {
  description = "Write the registry's replication configuration. An account has one for each region, and writing it replaces what is there: set this to false where another stack owns it, and give that stack the output `replication_rules`."
  type        = bool
  default     = true
}

variable "create_replica_repositories" {
  description = "Create the repositories in the replication regions before ECR does, with all settings of their sources, and keep them so. False: leave it to the creation templates, whose settings count only in the moment of creation."
  type        = bool
  default     = true
}

variable "replica_template_prefixes" {
  description = "Prefixes of the creation templates in the replication regions. ECR adds a `/`: `a` is for `a/b`, not for `a` or `a-b`; `ROOT` is for every repository without a template of its own, also those of others. `null`: a template for each repository, which is for what is nested below it. `[]`: none."
  type        = list(string)
  default     = null

  validation {
    condition = alltrue([for prefix in coalesce(var.replica_template_prefixes, []) :
      prefix == "ROOT" || can(regex("^([a-z0-9]+([._-][a-z0-9]+)*/)*[a-z0-9]+([._-][a-z0-9]+)*$", prefix))
    ])
    error_message = "A prefix in replica_template_prefixes is \"ROOT\" or the beginning of repository names up to a /, without that /."
  }
}

# Who may do what

variable "create_github_actions_policy" {
  description = "Create the policy that lets a pipeline push to these repositories and read the results of their scans."
  type        = bool
  default     = false
}

variable "eks_node_role_arn" {
  description = "Role of the EKS nodes, to which the pull policy is attached; it may be a role of the same plan. `null`: the policy is attached to the role `<project>-<environment>-ecr-pull`, which the module makes, instead."
  type        = string
  default     = null

  validation {
    condition     = var.eks_node_role_arn == null || can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$", var.eks_node_role_arn))
    error_message = "eks_node_role_arn must be the ARN of an IAM role, for example \"arn:aws:iam::123456789012:role/eks-node\" (not that of an instance profile)."
  }
}

variable "attach_eks_node_pull_policy" {
  description = "`null`: attach the pull policy to `eks_node_role_arn`, or without it to a role that the module makes for that. `true`: only to `eks_node_role_arn`, and make no role. `false`: attach it to nothing, and make no role."
  type        = bool
  default     = null

  validation {
    condition     = var.attach_eks_node_pull_policy != true || var.eks_node_role_arn != null
    error_message = "attach_eks_node_pull_policy is true, but eks_node_role_arn is not given."
  }
}

variable "pull_principal_arns" {
  description = "Principals of other accounts that may pull, in the repository policies. Those of this account need none."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.pull_principal_arns : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(root|role/[A-Za-z0-9+=,.@_/-]+|user/[A-Za-z0-9+=,.@_/-]+)$", arn))])
    error_message = "pull_principal_arns are ARNs of IAM roles, users or accounts (…:root). A wildcard would open the repositories to everybody."
  }
}

variable "pull_organization_ids" {
  description = "Organisations (`o-…`) all of whose accounts may pull, in the repository policies."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for id in var.pull_organization_ids : can(regex("^o-[a-z0-9]{10,32}$", id))])
    error_message = "pull_organization_ids are ids of organisations, for example \"o-a1b2c3d4e5\"."
  }
}

variable "lambda_function_arns" {
  description = "Lambda functions that run these images, in the repository policies: ARNs, with `*` in the name of the function at most, such as `arn:aws:lambda:us-west-2:123456789012:function:*`. Lambda fetches an image again long after the function was made; Terraform owns the policy, and what Lambda adds to it is gone with the next apply."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.lambda_function_arns : can(regex("^arn:aws[a-z-]*:lambda:[a-z0-9-]+:[0-9]{12}:function:[A-Za-z0-9_*-]+$", arn))])
    error_message = "lambda_function_arns are ARNs of functions with region and account, for example \"arn:aws:lambda:us-west-2:123456789012:function:*\"; no version or alias."
  }
}

variable "pull_upstream_images" {
  description = "Whether who may pull may also have an image brought here for the first time, where a pull-through cache fills these repositories (`ecr:BatchImportUpstreamImage`)."
  type        = bool
  default     = false
}

variable "repository_policy_statements" {
  description = "Further statements of every repository policy, as objects: `[{ Sid = \"Audit\", Effect = \"Allow\", Principal = { AWS = \"…\" }, Action = [\"ecr:DescribeImages\"] }]`. Without `Resource`: a policy speaks of its own repository."
  type        = any
  default     = []

  validation {
    condition = can([for statement in var.repository_policy_statements : [statement.Effect, statement.Action, statement.Principal]]) && alltrue([
      for statement in var.repository_policy_statements : contains(["Allow", "Deny"], statement.Effect) && !can(statement.Resource)
    ])
    error_message = "Each of repository_policy_statements has Effect (Allow or Deny), Principal and Action, and no Resource."
  }
  validation {
    condition = alltrue([for statement in var.repository_policy_statements :
      try(statement.Effect != "Allow" || can(statement.Condition) || !contains(flatten([try(values(statement.Principal), statement.Principal)]), "*"), true)
    ])
    error_message = "One of repository_policy_statements lets in everybody: a Principal \"*\" that is allowed something needs a Condition."
  }
}

variable "deletion_protection" {
  description = "Deny everybody the deletion of a repository, by its policy. `terraform destroy` takes the policy away first."
  type        = bool
  default     = true
}

variable "force_delete" {
  description = "Let `terraform destroy` delete repositories that still hold images."
  type        = bool
  default     = false

  validation {
    condition     = !var.force_delete || var.environment != "prod"
    error_message = "force_delete would delete the images of prod together with their repositories: delete them by hand first, or leave the repositories together with their keys (docs/deployment.md, \"Take it down\")."
  }
}

variable "image_removal_principal_arns" {
  description = "`null`: everybody with the IAM permission may delete and archive images. A list: only these principals; `[]`: nobody. Who may delete an image can push another one under its tag, so that immutable tags hold only against those who may not. ecr-guard's own roles need to be listed."
  type        = list(string)
  default     = null

  validation {
    condition     = alltrue([for arn in coalesce(var.image_removal_principal_arns, []) : can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:(role|user)/[A-Za-z0-9+=,.@_/-]+$", arn))])
    error_message = "image_removal_principal_arns are ARNs of IAM roles or users, without wildcards."
  }
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of the roles that the module creates."
  type        = string
  default     = null

  validation {
    condition     = var.permissions_boundary_arn == null || can(regex("^arn:aws[a-z-]*:iam::([0-9]{12}|aws):policy/.+$", var.permissions_boundary_arn))
    error_message = "permissions_boundary_arn must be the ARN of an IAM policy."
  }
}

variable "github_repositories" {
  description = "GitHub repositories whose workflows may take the push role, on exactly these branches, tags and environments. A job with `environment:` sends its environment and not its branch. The ids are the numbers of `gh api repos/OWNER/NAME --jq '.owner.id, .id'`: repositories created or renamed since 15 July 2026 send them in their subject. Empty: no role."
  type = list(object({
    owner         = string
    name          = string
    owner_id      = optional(string)
    repository_id = optional(string)
    branches      = optional(list(string), [])
    tags          = optional(list(string), [])
    environments  = optional(list(string), [])
  }))
  default = []

  validation {
    condition = alltrue([for repository in var.github_repositories :
      can(regex("^[A-Za-z0-9-]+$", repository.owner)) && can(regex("^[A-Za-z0-9._-]+$", repository.name))
    ])
    error_message = "In github_repositories, owner and name are those of one GitHub repository, without wildcards and without a /."
  }
  validation {
    condition = alltrue([for repository in var.github_repositories :
      length(concat(repository.branches, repository.tags, repository.environments)) > 0
    ])
    error_message = "Each of github_repositories needs at least one branch, tag or environment: a repository as a whole would let any branch push, also that of a pull request."
  }
  validation {
    condition = alltrue(flatten([for repository in var.github_repositories : [
      for value in concat(repository.branches, repository.tags, repository.environments) : can(regex("^[^*?:]+$", value))
    ]]))
    error_message = "Branches, tags and environments in github_repositories are exact names: no * or ?, and no colon."
  }
  validation {
    condition = alltrue([for repository in var.github_repositories :
      (repository.owner_id == null) == (repository.repository_id == null)
      && can(regex("^[0-9]+$", coalesce(repository.owner_id, "0"))) && can(regex("^[0-9]+$", coalesce(repository.repository_id, "0")))
    ])
    error_message = "In github_repositories, owner_id and repository_id are numbers, and given both or not at all."
  }
  validation {
    condition     = length(var.github_repositories) == 0 || var.create_github_actions_policy
    error_message = "github_repositories makes a role for the push policy: set create_github_actions_policy to true."
  }
}

variable "github_subjects" {
  description = "Further subjects that the role for workflows trusts, word for word, where they are customised: `repository_owner:pipeops:environment:prod`."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for subject in var.github_subjects : can(regex("^[^*?]+:[^*?]+$", subject))])
    error_message = "github_subjects are exact subjects: no * or ?."
  }
  validation {
    condition     = length(var.github_subjects) == 0 || var.create_github_actions_policy
    error_message = "github_subjects makes a role for the push policy: set create_github_actions_policy to true."
  }
}

variable "github_issuer" {
  description = "Who signs the tokens of workflows, without `https://`: GitHub Enterprise has issuers of its own, such as `token.actions.githubusercontent.com/pipeops`, `token.actions.pipeops.ghe.com` or `github.example.com/_services/token`."
  type        = string
  default     = "token.actions.githubusercontent.com"

  validation {
    condition     = can(regex("^[a-z0-9.-]+\\.[a-z]+(/[A-Za-z0-9._-]+)*$", var.github_issuer))
    error_message = "github_issuer is a host and perhaps a path, without https:// and without a / at the end."
  }
}

variable "github_subject_formats" {
  description = "Which forms of a subject the push role trusts: `name` (`repo:owner/name:…`), `id` (`repo:owner@1/name@2:…`). An id is never given to somebody else, as a name can be: say `[\"id\"]` once all workflows send it."
  type        = list(string)
  default     = ["name", "id"]

  validation {
    condition     = length(var.github_subject_formats) > 0 && alltrue([for format in var.github_subject_formats : contains(["name", "id"], format)])
    error_message = "github_subject_formats must be [\"name\"], [\"id\"] or both."
  }
  validation {
    condition     = contains(var.github_subject_formats, "name") || alltrue([for repository in var.github_repositories : repository.owner_id != null])
    error_message = "github_subject_formats is [\"id\"]: give every one of github_repositories its owner_id and repository_id."
  }
}

variable "github_oidc_provider_arn" {
  description = "The account's identity provider for `github_issuer`, when it exists already."
  type        = string
  default     = null

  validation {
    condition     = var.github_oidc_provider_arn == null || can(regex("^arn:aws[a-z-]*:iam::[0-9]{12}:oidc-provider/", var.github_oidc_provider_arn)) && endswith(coalesce(var.github_oidc_provider_arn, "-"), ":oidc-provider/${var.github_issuer}")
    error_message = "github_oidc_provider_arn must be the ARN …:oidc-provider/${var.github_issuer}."
  }
  validation {
    condition     = length(var.github_repositories) + length(var.github_subjects) == 0 || (var.github_oidc_provider_arn != null) != var.create_github_oidc_provider
    error_message = "github_repositories needs the identity provider of GitHub, of which an account has one: give github_oidc_provider_arn if it is there, or set create_github_oidc_provider."
  }
}

variable "create_github_oidc_provider" {
  description = "Create the account's identity provider for GitHub. An account has one: only where there is none yet."
  type        = bool
  default     = false
}

variable "github_gate_arns" {
  description = "Gates that the role for workflows may ask, by the ARNs of their aliases: the output `gate_arn` of the module `guard`. Empty: none."
  type        = list(string)
  default     = []

  validation {
    condition     = alltrue([for arn in var.github_gate_arns : can(regex("^arn:aws[a-z-]*:lambda:[a-z0-9-]+:[0-9]{12}:function:[A-Za-z0-9_-]+:[A-Za-z0-9_-]+$", arn))])
    error_message = "github_gate_arns are ARNs of aliases, without wildcards, for example \"arn:aws:lambda:us-west-2:123456789012:function:ecr-guard-gate:live\"."
  }
  validation {
    condition     = length(var.github_gate_arns) == 0 || length(var.github_repositories) + length(var.github_subjects) > 0
    error_message = "github_gate_arns is for the role for workflows, which is made with github_repositories or github_subjects."
  }
}
