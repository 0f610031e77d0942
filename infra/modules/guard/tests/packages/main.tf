# Stands in for `make package`: the zips of the functions, as far as Terraform reads them, each with its note.

terraform {
  required_providers {
    archive = {
      source = "hashicorp/archive"
    }
  }
}

variable "functions" {
  description = "Folders of `functions/`."
  type        = list(string)
  default     = ["on-push", "on-replication", "on-scan", "sweep", "worker", "workloads", "gate", "operate"]
}

variable "directory" {
  description = "Folder to write to, in this one."
  type        = string
  default     = "lambda"
}

variable "notes" {
  description = "Architecture that the note says, by the folder's; `null`: no note."
  type        = map(string)
  default     = { arm64 = "arm64", x86_64 = "x86_64" }
}

locals {
  packages = { for pair in setproduct(keys(var.notes), var.functions) : "${pair[0]}/${pair[1]}" => { architecture = pair[0], function = pair[1] } }
}

data "archive_file" "package" {
  for_each = local.packages

  type        = "zip"
  output_path = "${path.module}/${var.directory}/${each.key}/bootstrap.zip"

  source {
    filename = "bootstrap"
    content  = each.key
  }
}

resource "terraform_data" "note" {
  for_each = { for key, package in local.packages : key => var.notes[package.architecture] if var.notes[package.architecture] != null }

  provisioner "local-exec" {
    command = "printf %s \"$NOTE\" > '${path.module}/${var.directory}/${each.key}/bootstrap.json'"
    environment = {
      NOTE = jsonencode({ architecture = each.value, sha256 = filesha256(data.archive_file.package[each.key].output_path) })
    }
  }
}
