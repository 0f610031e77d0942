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
  description = "Tags of everything, beside `Project` and `Environment`."
  type        = map(string)
  default     = {}
}

# The registry

variable "ecr_repository_names" {
  description = "Repositories to create, by the last part of their names. Empty: the repositories are there already, and only the guard is created."
  type        = list(string)
  default     = []
}

variable "image_tag_mutability" {
  description = "Whether a tag may be moved to another image."
  type        = string
  default     = "IMMUTABLE"
}

variable "scan_on_push" {
  description = "Whether images are scanned when they are pushed."
  type        = bool
  default     = true
}

variable "lifecycle_keep_count" {
  description = "How many images with a tag that begins with `v` are kept."
  type        = number
  default     = 30
}

variable "lifecycle_expire_untagged_days" {
  description = "Days after which an image without a tag expires."
  type        = number
  default     = 7
}

variable "enable_replication" {
  description = "Whether images are replicated to other regions."
  type        = bool
  default     = false
}

variable "replication_regions" {
  description = "Regions to replicate to. Empty: `dr_region` alone."
  type        = list(string)
  default     = []
}

variable "dr_region" {
  description = "Region for disaster recovery."
  type        = string
  default     = null
}

variable "create_github_actions_policy" {
  description = "Whether the policy for a pipeline that pushes is created."
  type        = bool
  default     = false
}

variable "eks_node_role_arn" {
  description = "Role of the EKS nodes, which gets the permission to pull."
  type        = string
  default     = null
}

variable "image_removal_principal_arns" {
  description = "Who may delete and archive images: `null`, whoever has the IAM permission; a list, these principals and the guard."
  type        = list(string)
  default     = null
}

# The guard

variable "guard_name" {
  description = "Name of the guard; all names of its resources begin with it."
  type        = string
  default     = "ecr-guard"
}

variable "guard_regions" {
  description = "Regions beside `aws_region` that are guarded too. Without it, those that are replicated to."
  type        = list(string)
  default     = null
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
  description = "Topics that alerts go to, by the name that the policy gives them, each with its subscriptions. `default` must be there."
  type = map(list(object({
    protocol = string
    endpoint = string
  })))
  default = { default = [] }
}

variable "alarm_subscriptions" {
  description = "Who is told when the guard itself does not work."
  type = list(object({
    protocol = string
    endpoint = string
  }))
  default = []
}

variable "lambda_directory" {
  description = "Folder with the functions' packages. Without it, where `make package` puts them."
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
  description = "Sources of events that the rules accept. `make smoke` needs `ecr-guard.smoke` beside AWS's."
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
