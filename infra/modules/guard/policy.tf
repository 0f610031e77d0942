# The policy document: the given one, with the topics of this deployment as its routes. It is an item of the ledger under its
# SHA-256, and the functions get that hash: so a function gets the document that it was planned with, whatever was planned since
# and wherever the plan is applied, and two deployments in one account cannot mix theirs.

locals {
  # Through JSON, because the two need not have the same type.
  document = jsondecode(var.policy_file == null ? jsonencode(var.policy) : file(var.policy_file))
  # As the functions hash it, to say in the ledger under which policy something was decided: members in alphabetical order, no white
  # space, and nothing escaped that JSON lets stand. A backslash that is itself escaped begins no escape: so the text is taken apart there.
  policy = join("\\\\", [
    for part in split("\\\\", jsonencode(merge(local.document, { routes = local.topic_arns }))) :
    replace(replace(replace(replace(replace(part, "\\u003c", "<"), "\\u003e", ">"), "\\u0026", "&"), "\\u2028", "\u2028"), "\\u2029", "\u2029")
  ])
  policy_sha256 = sha256(local.policy)
  policy_bytes  = length(base64encode(local.policy)) / 4 * 3
  mode          = try(local.document.mode, null)
  # The modes of the entries of `repositories` that choose one of their own.
  modes_of_entries = compact([for entry in try(local.document.repositories, []) : try(entry.mode, null)])

  # The changes that the document has the functions make, in words that `permissions/` has too: a role may make these and
  # nothing more. Each entry of `repositories` counts with the mode and the method that hold for it, and the document itself for
  # the repositories without an entry. A member that is null is one that is not there.
  entries  = concat([{}], try([for entry in local.document.repositories : entry], []))
  enforced = [for entry in local.entries : entry if try(coalesce(try(entry.mode, null), local.mode), null) == "enforce"]
  repaired = [for entry in local.enforced : entry.posture if try(entry.posture.repair, false)]
  methods  = distinct([for entry in local.enforced : coalesce(try(entry.block.method, null), try(local.document.block.method, null), "archive")])
  # Methods of blocking of which blocks are still undone. Which one there was before, no plan can see. Not said, what people pull can be given
  # back whatever it was, but for the last step of it, which takes the one permission that can delete an image.
  keeps_release_of = try(tolist([for method in local.document.block.keep_release_of : tostring(method)]), null)
  releases         = local.keeps_release_of == null ? tolist(["archive", "quarantine-tag"]) : local.keeps_release_of
  changes = length(local.enforced) == 0 ? [] : sort([
    for change, is_needed in {
      access         = length(local.repaired) > 0
      archive        = contains(local.methods, "archive")
      backfill       = anytrue([for entry in local.enforced : try(entry.replication.backfill, false)])
      give-tags-back = contains(local.releases, "quarantine-tag")
      lifecycle      = anytrue([for entry in local.enforced : try(entry.lifecycle, null) != null])
      quarantine     = contains(local.methods, "quarantine-tag")
      remove-marks   = try(contains(local.keeps_release_of, "quarantine-tag"), false)
      restore        = contains(local.releases, "archive")
      scan           = true
      scan-on-push   = anytrue([for posture in local.repaired : try(posture.scan_on_push, false)])
      tag-mutability = anytrue([for posture in local.repaired : try(posture.tag_mutability, null) != null])
      untag          = anytrue([for entry in local.enforced : try(entry.tags.on_violation, "flag") == "untag"])
    } : change if is_needed
  ])

  # `block.max_blocks_per_hour`, or what the functions take without it.
  max_blocks_per_hour = try(local.document.block.max_blocks_per_hour, 20)
  archived_copies = [
    for index, entry in try(local.document.repositories, []) : "repositories[${index}]"
    if try(entry.replication, null) != null && (
      try(entry.lifecycle.archive_unpulled_days, null) != null ||
      length(try([for rule in entry.lifecycle.rules : rule if try(rule.selection.countType, null) == "sinceImagePulled"], [])) > 0
    )
  ]
  unknown_routes = setsubtract(
    compact([for entry in try(local.document.repositories, []) : try(entry.route, null)]),
    keys(var.routes)
  )
}

# For people who read a plan: what changes in the document, member by member. The item below, JSON within JSON, does not show it.
resource "terraform_data" "policy" {
  input = local.policy

  lifecycle {
    # The settings that decide about permissions and topics are checked here. `make plan` has the whole document checked by the
    # functions' own code, and a function does not start with a document that is not valid.
    precondition {
      condition     = try(local.document.version, null) == 1
      error_message = "The policy's `version` must be 1."
    }
    precondition {
      condition     = try(contains(["enforce", "report"], local.mode), false)
      error_message = "The policy's `mode` must be `enforce` or `report`."
    }
    precondition {
      condition     = length(setsubtract(local.modes_of_entries, ["enforce", "report"])) == 0
      error_message = "The `mode` of an entry of the policy's `repositories` must be `enforce` or `report`."
    }
    precondition {
      condition     = length(local.unknown_routes) == 0
      error_message = "The policy names routes that `routes` does not have: ${join(", ", local.unknown_routes)}."
    }
    precondition {
      # Nobody pulls copies: all of them would be archived, and could not be pulled when they are needed.
      condition     = length(local.archived_copies) == 0
      error_message = "The policy archives what nobody pulls where copies are kept (`replication`), and nobody pulls copies: ${join(", ", local.archived_copies)}. Leave `archive_unpulled_days` (or the rule with `sinceImagePulled`) out there."
    }
    precondition {
      # An item of DynamoDB has 400 KB at most (DynamoDB developer guide, "Service, account, and table quotas").
      condition     = local.policy_bytes <= 300 * 1024
      error_message = "The policy has ${ceil(local.policy_bytes / 1024)} KB, and may have 300: exceptions that have ended can go, and patterns with * stand for many."
    }
  }
}

# In this region, also where the ledger was created in another one: nobody waits until it is copied. A sweep keeps a copy of its own for 90
# days (shared/lambda/src/config.rs), so that a function that is taken back to an earlier version finds the policy of that version.
resource "aws_dynamodb_table_item" "policy" {
  region     = var.region
  table_name = local.creates_ledger ? aws_dynamodb_table.ledger[0].name : local.table_name
  hash_key   = "pk"
  range_key  = "sk"
  item = jsonencode({
    pk       = { S = "policy#${local.policy_sha256}" }
    sk       = { S = "deployed" }
    document = { S = local.policy }
  })

  lifecycle {
    # Functions change over to the new item before the old one goes.
    create_before_destroy = true
    replace_triggered_by  = [terraform_data.policy]
  }
}
