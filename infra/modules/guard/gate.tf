# The gate: the permission to ask it. It has no public address; a caller needs `lambda:InvokeFunction` on its alias.

locals {
  has_gate = var.gate != null

  gate_organization_id = try(var.gate.organization_id, null)

  # For the policies of roles in this account. ECS and pipelines name the alias.
  gate_invoker_policy = !local.has_gate ? null : jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "AskTheGate"
      Effect   = "Allow"
      Action   = ["lambda:InvokeFunction"]
      Resource = [local.alias_arns["gate"]]
    }]
  })
}

# Other accounts of the organization. In this account policies of roles are enough.
resource "aws_lambda_permission" "gate" {
  # checkov:skip=CKV_AWS_301: it is not public: every principal must be of the organization, which only this form of a permission can say
  count = local.has_gate && local.gate_organization_id != null ? 1 : 0

  region           = var.region
  statement_id     = "organization"
  action           = "lambda:InvokeFunction"
  function_name    = aws_lambda_function.this["gate"].function_name
  qualifier        = aws_lambda_alias.live["gate"].name
  principal        = "*"
  principal_org_id = local.gate_organization_id
}
