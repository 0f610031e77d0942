variable "region" {
  description = "Region of the registry. `null`: the provider's."
  type        = string
  default     = null
}

variable "scan_type" {
  description = "`BASIC` (scan on push, free) or `ENHANCED` (Inspector, continuous, at its price), for all repositories. `null`: left alone."
  type        = string
  default     = null

  validation {
    condition     = var.scan_type == null || contains(["BASIC", "ENHANCED"], coalesce(var.scan_type, "-"))
    error_message = "scan_type must be null, \"BASIC\" or \"ENHANCED\"."
  }
}

variable "scan_regions" {
  description = "Regions whose registries scan like this, such as those that are replicated to. `null`: `region` alone."
  type        = list(string)
  default     = null
}

variable "scan_on_push" {
  description = "Whether every image is scanned, when it is pushed or, with Inspector, all the time. False: scans are started by hand."
  type        = bool
  default     = true
}

variable "replication_rules" {
  description = "Replication rules, at most 10: the outputs `replication_rules` of all modules `ecr` of the account and region, together. Empty: left alone."
  type = list(object({
    destinations = list(object({ region = string, registry_id = string }))
    filters      = list(object({ filter = string, filter_type = string }))
  }))
  default = []
}
