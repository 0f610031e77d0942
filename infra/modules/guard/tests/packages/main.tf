# Stands in for `make package`: the zips of the functions, as far as Terraform looks at them.

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
  default     = ["on-push", "on-replication", "on-scan", "sweep", "worker"]
}

data "archive_file" "package" {
  for_each = toset(var.functions)

  type        = "zip"
  output_path = "${path.module}/lambda/${each.value}/bootstrap.zip"

  source {
    filename = "bootstrap"
    content  = each.value
  }
}

output "directory" {
  description = "What `lambda_directory` takes."
  value       = "${path.module}/lambda"

  depends_on = [data.archive_file.package]
}
