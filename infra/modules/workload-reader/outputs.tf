output "role_arn" {
  description = "ARN of the role."
  value       = aws_iam_role.this.arn
}

output "account" {
  description = "The entry for `block.workloads.accounts` of the guard's policy."
  value       = { id = data.aws_caller_identity.current.account_id, role = aws_iam_role.this.name }
}
