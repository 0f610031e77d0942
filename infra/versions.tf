terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.28, < 8.0"
    }
  }
}

# One provider for all regions: since version 6, every resource takes a `region`. Aliases would not do, since a module for a list of
# regions (`for_each`) cannot have a provider for each.
provider "aws" {
  region = var.aws_region

  default_tags {
    tags = local.tags
  }
}
