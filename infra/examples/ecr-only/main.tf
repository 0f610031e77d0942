# The repositories of one environment, with copies in a second region, as the module's README shows them. `module.eks` stands in for
# yours: any module that has the role of its nodes as an output.

provider "aws" {
  region = "us-west-2"
}

module "eks" {
  source = "./eks"
}

module "ecr" {
  source = "../../modules/ecr"

  project_name         = "pipeops"
  environment          = "prod"
  aws_region           = "us-west-2"
  dr_region            = "us-east-1"
  ecr_repository_names = ["frontend", "backend", "api", "worker"]

  image_tag_mutability           = "IMMUTABLE"
  scan_on_push                   = true
  lifecycle_keep_count           = 30
  lifecycle_expire_untagged_days = 7

  enable_replication  = true
  replication_regions = ["us-east-1"]

  create_github_actions_policy = true
  eks_node_role_arn            = module.eks.node_role_arn

  tags = {
    Environment = "prod"
    ManagedBy   = "terraform"
  }
}
