# The role that the function `workloads` of a guard takes in another account, to see which images run there. It reads, and changes nothing.

data "aws_caller_identity" "current" {}

data "aws_partition" "current" {}

resource "aws_iam_role" "this" {
  name                 = var.name
  description          = "Says which images run here, to ${join(", ", var.guard_role_arns)}"
  max_session_duration = 3600
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { AWS = var.guard_role_arns }
      # IAM user guide, "Access to AWS accounts owned by third parties": so that nobody has the guard look here for another.
      Condition = { StringEquals = { "sts:ExternalId" = var.external_id } }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  name = "workloads"
  role = aws_iam_role.this.name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        # Most of these calls take no resource, and the others any cluster.
        Sid    = "Workloads"
        Effect = "Allow"
        Action = [
          "batch:DescribeJobDefinitions", "ecs:DescribeServiceDeployments", "ecs:DescribeServiceRevisions", "ecs:DescribeServices",
          "ecs:DescribeTaskDefinition", "ecs:DescribeTasks", "ecs:ListClusters", "ecs:ListServices", "ecs:ListTaskDefinitions", "ecs:ListTasks",
          "eks:ListClusters", "lambda:ListFunctions",
        ]
        Resource = ["*"]
      },
      {
        # The call that says which image a function is made of also says where the code of a function of a zip lies.
        Sid    = "LambdaFunctions"
        Effect = "Allow"
        Action = ["lambda:GetFunction", "lambda:ListAliases"]
        # A version is asked about by its number, which makes it another resource than the function: a name needs both.
        Resource = flatten([for name in var.functions : [
          for version in endswith(name, "*") ? [""] : ["", ":*"] :
          "arn:${data.aws_partition.current.partition}:lambda:*:${data.aws_caller_identity.current.account_id}:function:${name}${version}"
        ]])
      },
    ]
  })
}
