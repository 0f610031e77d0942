# The example applies as it stands, too: here the provider is mocked, so nothing is created anywhere.

mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws", dns_suffix = "amazonaws.com" }
  }
  mock_data "aws_region" {
    defaults = { region = "us-west-2" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/mock" }
  }
  mock_resource "aws_iam_policy" {
    defaults = { arn = "arn:aws:iam::123456789012:policy/mock" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:us-west-2:123456789012:key/mock" }
  }
}

override_resource {
  target = module.eks.aws_iam_role.node
  values = { arn = "arn:aws:iam::123456789012:role/eks/pipeops-prod-eks-node" }
}

run "as_it_stands" {
  assert {
    condition     = module.ecr.eks_node_pull_policy_attached
    error_message = "the pull policy is attached to the nodes' role"
  }
  assert {
    condition     = output.github_actions_push_policy_arn == "arn:aws:iam::123456789012:policy/mock"
    error_message = "the policy for pushing"
  }
}
