# The whole deployment in one terraform.tfvars. The variables of the registry are those of modules/ecr, those of the guard are those of
# modules/guard; both READMEs say more.

variable "project_name" {
  description = "First part of the repositories' names: `<project>-<environment>-<name>`."
  type        = string
}

variable "environment" {
  description = "Second part of the repositories' names, such as `prod`."
  type        = string
}

variable "aws_region" {
  description = "Region of the registry."
  type        = string
}

variable "tags" {
  description = "Tags of everything, in addition to `Project` and `Environment`."
  type        = map(string)
  default     = {}
}

# The registry: as in modules/ecr, which checks what is given.

variable "ecr_repository_names" {
  description = "Repositories to create, by the last part of their names. Empty: the repositories are there already, and only the guard is created."
  type        = list(string)
  default     = []
}

variable "name_suffix" {
  description = "End of the names of roles, IAM policies and key aliases, such as `-eu`: where the module is called more than once for a project and environment of an account, each call needs another."
  type        = string
  default     = ""
}

variable "dr_region" {
  description = "Region for disaster recovery: where to replicate to when `replication_regions` is empty; otherwise it must be one of them. Nothing is made there while `enable_replication` is false."
  type        = string
  default     = null
}

variable "image_tag_mutability" {
  description = "May a tag be moved to another image? `IMMUTABLE`, `MUTABLE`, or either with exclusions (`IMMUTABLE_WITH_EXCLUSION`, `MUTABLE_WITH_EXCLUSION`)."
  type        = string
  default     = "IMMUTABLE"
}

variable "image_tag_mutability_exclusion_filters" {
  description = "Tags that the rule of `image_tag_mutability` leaves out, 1 to 5 patterns with `*`; only with `…_WITH_EXCLUSION`. `[\"sha256-*\"]` is for cosign before OCI 1.1 referrers: it rewrites such tags."
  type        = list(string)
  default     = []
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
}

variable "lifecycle_expire_untagged_days" {
  description = "Days after its push that an image without a tag expires."
  type        = number
  default     = 7
}

variable "lifecycle_expire_tagged" {
  description = "More rules: tag pattern to days after its push that such an image expires, for example `{ \"pr-*\" = 14 }`. Never for an image with a `v` tag: the first rule alone decides on those. The narrowest pattern comes first and `*` last, unless `lifecycle_expire_order` says otherwise. `*` also takes what cosign (`sha256-….sig`) and the guard (`blocked-…`, `quarantine-…`) tag. ECR does not ask whether an image is in use."
  type        = map(number)
  default     = {}
}

variable "lifecycle_expire_order" {
  description = "Patterns of `lifecycle_expire_tagged` in the order in which ECR applies them, before those that are not named here. It matters for an image with tags of two patterns: the first one decides alone, so that what must be kept longer comes first."
  type        = list(string)
  default     = []
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
}

variable "registry_scan_type" {
  description = "`null`: the registry's scanning configuration belongs to somebody else and is left alone. `BASIC` (scan on push, free) or `ENHANCED` (Inspector, continuous, at its price): this module owns it, here and in the replication regions, for all repositories of the account. Writing it replaces what is there."
  type        = string
  default     = null
}

variable "enable_replication" {
  description = "Replicate the images to `replication_regions`."
  type        = bool
  default     = false
}

variable "replication_regions" {
  description = "Regions to replicate to, when `enable_replication` is true. Empty: `dr_region` alone."
  type        = list(string)
  default     = []
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
}

variable "create_github_actions_policy" {
  description = "Create the policy that lets a pipeline push to these repositories and read the results of their scans."
  type        = bool
  default     = false
}

variable "eks_node_role_arn" {
  description = "Role of the EKS nodes, to which the pull policy is attached; it may be a role of the same plan. `null`: the policy is attached to the role `<project>-<environment>-ecr-pull`, which the module makes, instead."
  type        = string
  default     = null
}

variable "attach_eks_node_pull_policy" {
  description = "`null`: attach the pull policy to `eks_node_role_arn`, or without it to a role that the module makes for that. `true`: only to `eks_node_role_arn`, and make no role. `false`: attach it to nothing, and make no role."
  type        = bool
  default     = null
}

variable "pull_principal_arns" {
  description = "Principals of other accounts that may pull, in the repository policies. Those of this account need none."
  type        = list(string)
  default     = []
}

variable "pull_organization_ids" {
  description = "Organisations (`o-…`) all of whose accounts may pull, in the repository policies."
  type        = list(string)
  default     = []
}

variable "lambda_function_arns" {
  description = "Lambda functions that run these images, in the repository policies: ARNs, with `*` in the name of the function at most, such as `arn:aws:lambda:us-west-2:123456789012:function:*`. Lambda fetches an image again long after the function was made; Terraform owns the policy, and what Lambda adds to it is gone with the next apply."
  type        = list(string)
  default     = []
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
}

variable "image_removal_principal_arns" {
  description = "Who may delete and archive images: `null`, everybody with the IAM permission; a list, these principals and the guard."
  type        = list(string)
  default     = null
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of all roles, those of the guard too."
  type        = string
  default     = null
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
}

variable "github_subjects" {
  description = "Further subjects that the role for workflows trusts, word for word, where they are customised: `repository_owner:pipeops:environment:prod`."
  type        = list(string)
  default     = []
}

variable "github_issuer" {
  description = "Who signs the tokens of workflows, without `https://`: GitHub Enterprise has issuers of its own, such as `token.actions.githubusercontent.com/pipeops`, `token.actions.pipeops.ghe.com` or `github.example.com/_services/token`."
  type        = string
  default     = "token.actions.githubusercontent.com"
}

variable "github_subject_formats" {
  description = "Which forms of a subject the push role trusts: `name` (`repo:owner/name:…`), `id` (`repo:owner@1/name@2:…`). An id is never given to somebody else, as a name can be: say `[\"id\"]` once all workflows send it."
  type        = list(string)
  default     = ["name", "id"]
}

variable "github_oidc_provider_arn" {
  description = "The account's identity provider for `github_issuer`, when it exists already."
  type        = string
  default     = null
}

variable "create_github_oidc_provider" {
  description = "Create the account's identity provider for GitHub. An account has one: only where there is none yet."
  type        = bool
  default     = false
}

variable "github_asks_gate" {
  description = "Whether the role for workflows may ask the gate of each region (`gate`)."
  type        = bool
  default     = false

  validation {
    condition     = !var.github_asks_gate || var.gate != null && length(var.ecr_repository_names) > 0
    error_message = "github_asks_gate lets the role for workflows invoke the gate: it needs gate = {}, ecr_repository_names, and github_repositories or github_subjects."
  }
}

# The guard

variable "guard_name" {
  description = "Name of the guard; all names of its resources begin with it."
  type        = string
  default     = "ecr-guard"
}

variable "guard_regions" {
  description = "Regions that are guarded in addition to `aws_region`. Without it, those that are replicated to."
  type        = list(string)
  default     = null

  validation {
    condition     = !contains(coalesce(var.guard_regions, ["-"]), var.aws_region)
    error_message = "guard_regions has ${var.aws_region}, which is aws_region and guarded anyway: take it out."
  }
  validation {
    condition     = length(distinct(coalesce(var.guard_regions, ["-"]))) == length(coalesce(var.guard_regions, ["-"]))
    error_message = "guard_regions has a region twice."
  }
}

variable "policy_file" {
  description = "Path of the policy document, from the folder that `terraform` runs in. Without it, the guard reports and changes nothing."
  type        = string
  default     = null
}

variable "guarded_repositories" {
  description = "Names of the repositories that are guarded; `*` stands for any characters."
  type        = list(string)
  default     = ["*"]
}

variable "routes" {
  description = "Topics that alerts go to, by the name that the policy gives them, each with its subscriptions (`email`, `https`, `lambda`, `sms`, `sqs`). `default` must be there. A subscription's resource is called by its `name` or, without one, by its place in the list: with names, one can be taken out without the others being made anew."
  type = map(list(object({
    name     = optional(string)
    protocol = string
    endpoint = string
  })))
  default = { default = [] }
}

variable "alarm_subscriptions" {
  description = "Subscriptions of the alarm topic, for the people who must know when the guard itself does not work, with names as in `routes`."
  type = list(object({
    name     = optional(string)
    protocol = string
    endpoint = string
  }))
  default = []
}

variable "lambda_directory" {
  description = "Folder with the packages that `make package` builds and a release has: `<architecture>/<function>/bootstrap.zip` and `bootstrap.json`. Without it, `target/lambda` of this repository."
  type        = string
  default     = null
}

variable "architecture" {
  description = "Processor of the functions, as the packages were built: `arm64` or `x86_64`."
  type        = string
  default     = "arm64"
}

variable "reserved_concurrency" {
  description = "Reserved concurrency by function, such as `{ on-scan = 10 }`."
  type        = map(number)
  default     = {}
}

variable "memory_size" {
  description = "Memory by function, in MB, such as `{ worker = 1024 }`."
  type        = map(number)
  default     = {}
}

variable "sweep_interval_minutes" {
  description = "Minutes from one sweep to the next: 15, 20, 30 or 60."
  type        = number
  default     = 60
}

variable "event_sources" {
  description = "Sources of events that the rules accept. `make smoke` needs `ecr-guard.smoke` in addition to AWS's."
  type        = list(string)
  default     = ["aws.ecr", "aws.inspector2"]
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 365
}

variable "ledger_deletion_protection" {
  description = "Whether the ledger is protected from deletion. To destroy a deployment, apply `false` first."
  type        = bool
  default     = true
}

variable "log_level" {
  description = "Least level of the functions' log lines: `INFO` or `DEBUG`, which has a line for each step of a reconcile, one for every call to AWS (host, operation, status), and the SDK's own. Nothing above: the line of an event, which carries the metrics, is `INFO`."
  type        = string
  default     = "INFO"
}

variable "workloads" {
  description = "The function `workloads`, which looks up who uses images where the policy has `block.workloads`. `functions`: names of the Lambda functions that it may learn the image of, with `*`; the same call says where the code of other functions lies. `external_id`: what roles in other accounts ask for (module `workload-reader`). `null`: there is no such function."
  type = object({
    functions   = optional(list(string), ["*"])
    external_id = optional(string)
  })
  default = {}
}

variable "gate" {
  description = "The function `gate`, which says whether images may be deployed. `organization_id`: principals of this organization (`o-…`) may invoke it from other accounts, as far as their own policies let them. `null`: there is no such function. While nobody asks it, it costs its two alarms (0.20 USD a month)."
  type = object({
    organization_id = optional(string)
  })
  default = null
}

variable "operate" {
  description = "The function `operate`, through which people release a blocked image for some hours, as far as the policy's `release` lets them. `null`: there is no such function. While nobody asks it, it costs its two alarms (0.20 USD a month)."
  type        = object({})
  default     = null
}

variable "outcome_metrics" {
  description = "Whether there is a metric for each outcome of each function (`Outcomes`, by `Function` and `Outcome`). Each that occurs costs 0.30 USD a month; no alarm and no graph of the dashboard needs them."
  type        = bool
  default     = false
}

variable "lambda_s3" {
  description = "Packages in S3, by region: Lambda takes them from a bucket of its own region. `{ us-west-2 = { bucket = \"releases\", prefix = \"ecr-guard/1.4.0/\" } }`. In a region that is not named, those of `lambda_directory`."
  type = map(object({
    bucket          = string
    prefix          = optional(string, "")
    object_versions = optional(map(string), {})
  }))
  default = {}

  validation {
    condition     = length(setsubtract(keys(var.lambda_s3), local.guarded_regions)) == 0
    error_message = "lambda_s3 names regions that are not guarded: ${join(", ", setsubtract(keys(var.lambda_s3), local.guarded_regions))}."
  }
}

variable "function_versions" {
  description = "Versions to go back to, by region and function, such as `{ us-west-2 = { on-scan = \"12\" } }`. Without it, the last."
  type        = map(map(string))
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.function_versions), local.guarded_regions)) == 0
    error_message = "function_versions names regions that are not guarded: ${join(", ", setsubtract(keys(var.function_versions), local.guarded_regions))}."
  }
}

variable "guard_kms_key_arns" {
  description = "Keys of somebody else for what the guards keep (topics, queues, logs, ledger, environment), by region; in the other regions they make keys of their own. A key's policy needs what the output `kms_key_statements` says."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.guard_kms_key_arns), local.guarded_regions)) == 0
    error_message = "guard_kms_key_arns names regions that are not guarded: ${join(", ", setsubtract(keys(var.guard_kms_key_arns), local.guarded_regions))}."
  }
}

variable "vpc_config" {
  description = "Subnets and security groups of the functions, by region, where functions must be in a VPC."
  type = map(object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
  }))
  default = {}

  validation {
    condition     = length(setsubtract(keys(var.vpc_config), local.guarded_regions)) == 0
    error_message = "vpc_config names regions that are not guarded: ${join(", ", setsubtract(keys(var.vpc_config), local.guarded_regions))}."
  }
}

variable "code_signing" {
  description = "Signing profiles of the functions' code, by region: only what one of them signed is deployed."
  type = map(object({
    profile_version_arns = list(string)
    enforce              = optional(bool, true)
  }))
  default = {}

  validation {
    condition     = length(setsubtract(keys(var.code_signing), local.guarded_regions)) == 0
    error_message = "code_signing names regions that are not guarded: ${join(", ", setsubtract(keys(var.code_signing), local.guarded_regions))}."
  }
}
