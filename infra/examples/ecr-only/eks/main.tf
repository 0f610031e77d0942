# The part of a cluster that the example needs: the role of its nodes. It is made together with the repositories, so that nobody
# knows its ARN before the apply. Put your own module in its place.

resource "aws_iam_role" "node" {
  name = "pipeops-prod-eks-node"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ec2.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

output "node_role_arn" {
  description = "Role of the nodes."
  value       = aws_iam_role.node.arn
}
