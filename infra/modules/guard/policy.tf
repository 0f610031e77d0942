# The policy document: what was given, with the topics of this deployment as its routes, in a layer of every function.

locals {
  # Through JSON, because the two need not have the same type.
  document = jsondecode(var.policy_file == null ? jsonencode(var.policy) : file(var.policy_file))
  policy   = jsonencode(merge(local.document, { routes = local.topic_arns }))
  mode     = try(local.document.mode, null)
  # `block.max_blocks_per_hour`, or what the functions take without it.
  max_blocks_per_hour = try(local.document.block.max_blocks_per_hour, 20)
  unknown_routes = setsubtract(
    compact([for entry in try(local.document.repositories, []) : try(entry.route, null)]),
    keys(var.routes)
  )
}

data "archive_file" "policy" {
  type             = "zip"
  output_path      = "${path.module}/.build/${var.name}-${local.region}-policy.zip"
  output_file_mode = "0644"

  source {
    # Lambda unpacks a layer into /opt.
    filename = "ecr-guard/policy.json"
    content  = local.policy
  }
}

resource "aws_lambda_layer_version" "policy" {
  region                   = var.region
  layer_name               = "${var.name}-policy"
  description              = "The policy document, as /opt/ecr-guard/policy.json"
  filename                 = data.archive_file.policy.output_path
  source_code_hash         = data.archive_file.policy.output_base64sha256
  compatible_runtimes      = ["provided.al2023"]
  compatible_architectures = ["arm64", "x86_64"]

  lifecycle {
    # Functions change over to the new version before the old one goes.
    create_before_destroy = true

    # What decides about permissions and topics is checked here. `make plan` has the whole document checked by the functions' own
    # code, and a function does not start with a document that is not valid.
    precondition {
      condition     = try(local.document.version, null) == 1
      error_message = "The policy's `version` must be 1."
    }
    precondition {
      condition     = try(contains(["enforce", "report"], local.mode), false)
      error_message = "The policy's `mode` must be `enforce` or `report`."
    }
    precondition {
      condition     = length(local.unknown_routes) == 0
      error_message = "The policy names routes that `routes` does not have: ${join(", ", local.unknown_routes)}."
    }
  }
}
