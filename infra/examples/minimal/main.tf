# One region, one repository, one address for alerts; the guard evaluates and alerts, and changes nothing.

provider "aws" {
  region = "us-west-2"
}

module "ecr" {
  source = "../../modules/ecr"

  project_name         = "pipeops"
  environment          = "dev"
  ecr_repository_names = ["api"]
}

module "guard" {
  source = "../../modules/guard"

  routes              = { default = [{ protocol = "email", endpoint = "security@example.com" }] }
  alarm_subscriptions = [{ protocol = "email", endpoint = "oncall@example.com" }]
  lambda_directory    = var.lambda_directory
}
