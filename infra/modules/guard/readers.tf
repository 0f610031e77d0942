# The command line (docs/cli.md): what the role of an operator needs to read the ledger, and the registry of this region. It changes nothing.

locals {
  reader_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "ReadTheLedger"
        Effect   = "Allow"
        Action   = ["dynamodb:Query", "dynamodb:Scan"]
        Resource = [local.table_arn]
      },
      {
        Sid      = "ReadTheRegistry"
        Effect   = "Allow"
        Action   = ["ecr:DescribeImages", "ecr:GetRepositoryPolicy"]
        Resource = ["arn:${local.partition}:ecr:${local.region}:${local.account}:repository/*"]
      },
      {
        Sid       = "ReadWithTheKey"
        Effect    = "Allow"
        Action    = ["kms:Decrypt"]
        Resource  = [local.ledger_key_arn]
        Condition = { StringEquals = { "kms:ViaService" = ["dynamodb.${local.region}.${local.dns_suffix}"] } }
      },
    ]
  })
}
