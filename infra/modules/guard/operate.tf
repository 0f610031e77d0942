# Releases by people: who may ask for one. The function has no public address; the policy document says who may release what
# (`release`), and the function proves who asks.

locals {
  has_operate = var.operate != null

  # For the policies of roles in this account.
  operate_invoker_policy = !local.has_operate ? null : jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid      = "ReleaseImages"
      Effect   = "Allow"
      Action   = ["lambda:InvokeFunction"]
      Resource = [local.alias_arns["operate"]]
    }]
  })
}
