variable "name" {
  description = "Name of this deployment; all names of resources begin with it. One guard is meant for an account and region."
  type        = string
  default     = "ecr-guard"

  validation {
    # A role is called `<name>-<function>-<region>`, at most 64 characters.
    condition     = can(regex("^[a-z][a-z0-9-]{1,30}[a-z0-9]$", var.name))
    error_message = "A name has 3 to 32 lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "region" {
  description = "Region that is guarded. Without it, the provider's region."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of every resource that takes tags."
  type        = map(string)
  default     = {}
}

variable "policy" {
  description = "The policy document as an object, see docs/policy.md, without `routes`: they are made of `var.routes`. Not together with `policy_file`."
  type        = any
  default     = { version = 1, mode = "report", block = { workloads = {} } }
}

variable "policy_file" {
  description = "Path of the policy document as a JSON file, instead of `policy`. Its `routes` are replaced by those of `var.routes`."
  type        = string
  default     = null

  validation {
    condition     = var.policy_file == null || can(jsondecode(file(var.policy_file)))
    error_message = "There is no JSON document at this path."
  }

  validation {
    condition     = var.policy_file == null || jsonencode(var.policy) == jsonencode({ version = 1, mode = "report", block = { workloads = {} } })
    error_message = "Give the policy by `policy` or by `policy_file`, not by both."
  }
}

variable "repositories" {
  description = "Names of the repositories that are guarded; `*` stands for any characters. Events and permissions of all others are left out."
  type        = list(string)
  default     = ["*"]

  validation {
    condition     = length(var.repositories) > 0 && alltrue([for name in var.repositories : can(regex("^[a-z0-9*][a-z0-9*._/-]*$", name))])
    error_message = "At least one name; names of repositories have lower-case letters, digits, and `._-/`."
  }
}

variable "routes" {
  description = "Topics that alerts go to, by the name that the policy gives them, each with its subscriptions (`email`, `https`, `lambda`, `sms`, `sqs`). `default` must be there. A subscription's resource is called by its `name` or, without one, by its place in the list: with names, one can be taken out without the others being made anew."
  type = map(list(object({
    name     = optional(string)
    protocol = string
    endpoint = string
  })))
  default = { default = [] }

  validation {
    condition     = contains(keys(var.routes), "default")
    error_message = "There must be a route `default`: alerts of repositories without a route of their own go there."
  }

  validation {
    condition     = alltrue([for route in keys(var.routes) : can(regex("^[a-z0-9][a-z0-9-]{0,30}$", route))])
    error_message = "A route has at most 31 lower-case letters, digits and hyphens."
  }

  validation {
    condition = alltrue(flatten([
      for subscriptions in values(var.routes) :
      [for s in subscriptions : contains(["email", "https", "lambda", "sms", "sqs"], s.protocol)]
    ]))
    error_message = "A subscription's protocol is one of email, https, lambda, sms, sqs."
  }

  validation {
    condition     = alltrue([for subscriptions in values(var.routes) : length(distinct(compact(subscriptions[*].name))) == length(compact(subscriptions[*].name))])
    error_message = "Two subscriptions of a route have the same name."
  }
}

variable "alarm_subscriptions" {
  description = "Subscriptions of the alarm topic, for the people who must know when the guard itself does not work, with names as in `routes`."
  type = list(object({
    name     = optional(string)
    protocol = string
    endpoint = string
  }))
  default = []

  validation {
    condition     = length(distinct(compact(var.alarm_subscriptions[*].name))) == length(compact(var.alarm_subscriptions[*].name))
    error_message = "Two subscriptions have the same name."
  }

  validation {
    condition     = alltrue([for s in var.alarm_subscriptions : contains(["email", "https", "lambda", "sms", "sqs"], s.protocol)])
    error_message = "A subscription's protocol is one of email, https, lambda, sms, sqs."
  }
}

variable "lambda_directory" {
  description = "Folder with the packages that `make package` builds and a release has: `<architecture>/<function>/bootstrap.zip` and `bootstrap.json`. Without it, `target/lambda` of this repository."
  type        = string
  default     = null

  validation {
    condition     = var.lambda_directory == null || var.lambda_s3 == null
    error_message = "The packages are in a folder (`lambda_directory`) or in S3 (`lambda_s3`), not in both."
  }
}

variable "lambda_s3" {
  description = "Packages in an S3 bucket of the guard's region, in place of a folder: `<prefix><architecture>/<function>/bootstrap.zip`. A prefix for each release, such as `ecr-guard/1.4.0/`, has Terraform see that the code is another; or give the versions of the objects, by function."
  type = object({
    bucket          = string
    prefix          = optional(string, "")
    object_versions = optional(map(string), {})
  })
  default = null

  validation {
    condition     = var.lambda_s3 == null || try(var.lambda_s3.prefix == "" || endswith(var.lambda_s3.prefix, "/"), false)
    error_message = "`lambda_s3.prefix` is empty or ends with a /."
  }
}

variable "function_versions" {
  description = "Versions to go back to, by function, such as `{ on-scan = \"12\" }`: what invokes the function invokes that version, with the code, settings and policy that it was published with. Without it, the last."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for version in values(var.function_versions) : can(regex("^[0-9]+$", version))])
    error_message = "A version is a number: `aws lambda list-versions-by-function` lists them."
  }
}

variable "vpc_config" {
  description = "Subnets and security groups of the functions, where functions must be in a VPC. They need ways to ECR, DynamoDB, SNS, SQS and KMS there, and to ECR in other regions where images are copied. Without it, they are in none."
  type = object({
    subnet_ids         = list(string)
    security_group_ids = list(string)
  })
  default = null

  validation {
    condition     = var.vpc_config == null || try(length(var.vpc_config.subnet_ids) > 0 && length(var.vpc_config.security_group_ids) > 0, false)
    error_message = "`vpc_config` needs at least one subnet and one security group."
  }
}

variable "architecture" {
  description = "Processor of the functions, as the packages were built: `arm64` or `x86_64`."
  type        = string
  default     = "arm64"

  validation {
    condition     = contains(["arm64", "x86_64"], var.architecture)
    error_message = "An architecture is arm64 or x86_64."
  }
}

variable "memory_size" {
  description = "Memory by function, in MB, such as `{ worker = 1024 }`. Lambda gives processor time in proportion. Not set, a function has 256, the worker 512."
  type        = map(number)
  default     = {}

  validation {
    condition     = alltrue([for memory in values(var.memory_size) : memory >= 128 && memory <= 10240])
    error_message = "128 to 10240 MB."
  }
}

variable "reserved_concurrency" {
  description = "Reserved concurrency by function, such as `{ on-scan = 10 }`. Not set, a function uses the account's; new accounts have too little to reserve any."
  type        = map(number)
  default     = {}
}

variable "sweep_interval_minutes" {
  description = "Minutes from one sweep to the next, at most 60: the delay of an alert whose event was lost."
  type        = number
  default     = 60

  validation {
    # Every image has an hour of the day in which it is its turn (shared/core/src/decide/due.rs): in each there must be a sweep.
    condition     = contains([15, 20, 30, 60], var.sweep_interval_minutes)
    error_message = "15, 20, 30 or 60 minutes: in an hour without a sweep, images would miss their turn."
  }
}

variable "workloads" {
  description = "The function `workloads`, which looks up who uses images where the policy has `block.workloads`. `functions`: names of the Lambda functions that it may learn the image of, with `*`; the same call says where the code of other functions lies. `external_id`: what roles in other accounts ask for (module `workload-reader`). `null`: there is no such function."
  type = object({
    functions   = optional(list(string), ["*"])
    external_id = optional(string)
  })
  default = {}

  validation {
    condition     = var.workloads == null || try(length(var.workloads.functions) > 0 && alltrue([for name in var.workloads.functions : can(regex("^[a-zA-Z0-9*_-]+$", name))]), false)
    error_message = "`functions` has at least one name: letters, digits, `*`, `_` and `-`."
  }

  validation {
    # STS API reference, `AssumeRole` (`ExternalId`).
    condition     = try(var.workloads.external_id, null) == null || try(can(regex("^[a-zA-Z0-9+=,.@:/_-]{2,}$", var.workloads.external_id)) && length(var.workloads.external_id) <= 1224, false)
    error_message = "`external_id` has 2 to 1224 letters, digits and `+=,.@:/_-`."
  }
}

variable "gate" {
  description = "The function `gate`, which says whether images may be deployed. `organization_id`: principals of this organization (`o-…`) may invoke it from other accounts, as far as their own policies let them. `null`: there is no such function. While nobody asks it, it costs its two alarms (0.20 USD a month)."
  type = object({
    organization_id = optional(string)
  })
  default = null

  validation {
    condition     = try(var.gate.organization_id, null) == null || can(regex("^o-[a-z0-9]{10,32}$", var.gate.organization_id))
    error_message = "`organization_id` is the id of an organization: `o-` and 10 to 32 letters and digits."
  }
}

variable "operate" {
  description = "The function `operate`, through which people release a blocked image for some hours, as far as the policy's `release` lets them. `null`: there is no such function. While nobody asks it, it costs its two alarms (0.20 USD a month)."
  type        = object({})
  default     = null
}

variable "log_level" {
  description = "Least level of the functions' log lines: `INFO` or `DEBUG`, which has a line for each step of a reconcile, one for every call to AWS (host, operation, status), and the SDK's own. Nothing above: the line of an event, which carries the metrics, is `INFO`."
  type        = string
  default     = "INFO"

  validation {
    condition     = contains(["DEBUG", "INFO"], var.log_level)
    error_message = "A level is DEBUG or INFO; above, Lambda would leave out the lines that carry the metrics."
  }
}

variable "log_retention_days" {
  description = "Days that logs are kept."
  type        = number
  default     = 365

  validation {
    # The values that CloudWatch Logs takes (API reference, `PutRetentionPolicy`), but for "never".
    condition = contains(
      [1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653],
      var.log_retention_days
    )
    error_message = "CloudWatch Logs takes 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288 or 3653 days."
  }
}

variable "outcome_metrics" {
  description = "Whether there is a metric for each outcome of each function (`Outcomes`, by `Function` and `Outcome`). Each that occurs costs 0.30 USD a month; no alarm and no graph of the dashboard needs them."
  type        = bool
  default     = false
}

variable "event_sources" {
  description = "Sources of events that the rules accept. One more, such as `ecr-guard.smoke`, lets `make smoke` send events: nobody can send them as `aws.ecr`."
  type        = list(string)
  default     = ["aws.ecr", "aws.inspector2"]

  validation {
    condition     = contains(var.event_sources, "aws.ecr")
    error_message = "Without `aws.ecr` nothing would ever be evaluated."
  }
}

variable "other_regions" {
  description = "Other regions with a guard of the same ledger. They get an event at once when an image here is archived, restored or deleted; without it, their sweeps find it."
  type        = list(string)
  default     = []

  validation {
    condition     = length(distinct(var.other_regions)) == length(var.other_regions)
    error_message = "A region stands twice in `other_regions`."
  }
}

variable "ledger" {
  description = "The ledger of a guard in another region, as its output `ledgers` gives it for this region. Without it, the ledger is created here."
  type = object({
    table_name  = string
    kms_key_arn = string
  })
  default = null
}

variable "ledger_replica_regions" {
  description = "Regions that get a replica of the ledger, for the guards there."
  type        = list(string)
  default     = []

  validation {
    condition     = var.ledger == null || length(var.ledger_replica_regions) == 0
    error_message = "Replicas belong to the guard that creates the ledger."
  }

  validation {
    condition     = length(distinct(var.ledger_replica_regions)) == length(var.ledger_replica_regions)
    error_message = "A region stands twice in `ledger_replica_regions`."
  }
}

variable "ledger_deletion_protection" {
  description = "Whether the ledger is protected from deletion. To destroy a deployment, apply `false` first."
  type        = bool
  default     = true
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of the functions' roles."
  type        = string
  default     = null
}

variable "code_signing" {
  description = "Only code that one of these signing profiles (versions, as ARNs) signed is deployed; with `enforce = false`, other code is deployed and logged. Without it, signatures are not checked."
  type = object({
    profile_version_arns = list(string)
    enforce              = optional(bool, true)
  })
  default = null
}

variable "create_kms_key" {
  description = "Create the key of topics, queues, logs, ledger and environment. `false`: `kms_key_arn` is."
  type        = bool
  default     = true
}

variable "kms_key_arn" {
  description = "A symmetric key of this region and account, in place of one that the module creates. Its policy must let the account's IAM policies decide for the functions' roles (`arn:aws:iam::<account>:root`), and needs the statements of the output `kms_key_statements`: without them, alarms, alerts and events are lost in silence."
  type        = string
  default     = null

  validation {
    condition     = var.create_kms_key == (var.kms_key_arn == null)
    error_message = "Give `kms_key_arn` together with `create_kms_key = false`, and neither of them alone."
  }

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/[a-zA-Z0-9-]+$", var.kms_key_arn))
    error_message = "`kms_key_arn` is the ARN of a key, and not of an alias."
  }
}

variable "ledger_replica_kms_key_arns" {
  description = "Keys of somebody else for replicas of the ledger, by region. For the other replicas the module creates keys."
  type        = map(string)
  default     = {}

  validation {
    condition     = length(setsubtract(keys(var.ledger_replica_kms_key_arns), var.ledger_replica_regions)) == 0
    error_message = "`ledger_replica_kms_key_arns` names regions without a replica: ${join(", ", setsubtract(keys(var.ledger_replica_kms_key_arns), var.ledger_replica_regions))}."
  }
}
