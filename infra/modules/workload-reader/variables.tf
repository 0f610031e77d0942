variable "guard_role_arns" {
  description = "ARNs of the roles of the function `workloads`, one for each region with a guard: output `role_arns` of module `guard`."
  type        = list(string)

  validation {
    condition     = length(var.guard_role_arns) > 0 && alltrue([for arn in var.guard_role_arns : can(regex("^arn:[a-z-]+:iam::[0-9]{12}:role/.+$", arn))])
    error_message = "At least one ARN of a role."
  }
}

variable "external_id" {
  description = "External id that the guard gives when it takes the role: its variable `workloads.external_id`."
  type        = string

  validation {
    condition     = can(regex("^[a-zA-Z0-9+=,.@:/_-]{2,}$", var.external_id))
    error_message = "`external_id` has 2 or more letters, digits and `+=,.@:/_-`."
  }
}

variable "name" {
  description = "Name of the role, as the policy of the guard has it (`block.workloads.accounts[].role`)."
  type        = string
  default     = "ecr-guard-workload-reader"
}

variable "functions" {
  description = "Names of the Lambda functions that the guard may learn the image of, with `*`. The same call says where the code of other functions lies."
  type        = list(string)
  default     = ["*"]

  validation {
    condition     = length(var.functions) > 0 && alltrue([for name in var.functions : can(regex("^[a-zA-Z0-9*_-]+$", name))])
    error_message = "At least one name: letters, digits, `*`, `_` and `-`."
  }
}

variable "permissions_boundary_arn" {
  description = "Permissions boundary of the role."
  type        = string
  default     = null
}

variable "tags" {
  description = "Tags of the role."
  type        = map(string)
  default     = {}
}
