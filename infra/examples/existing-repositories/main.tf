# The guard alone, for repositories that are there already. It begins in report mode: read what it would block for a while, then say
# `mode = "enforce"`.

provider "aws" {
  region = "eu-central-1"
}

module "guard" {
  source = "../../modules/guard"

  policy = {
    version   = 1
    mode      = "report"
    unfixable = { CRITICAL = "review" }
  }
  repositories = ["team/*", "shared-base"]
  routes = {
    default = [
      { protocol = "email", endpoint = "security@example.com" },
      # For machines: a queue gets the JSON document of docs/alerts.md as it is. Its own policy, and that of its key, must let the topic in.
      { protocol = "sqs", endpoint = "arn:aws:sqs:eu-central-1:123456789012:security-alerts" },
    ]
  }
  lambda_directory = var.lambda_directory
}
