terraform {
  required_version = ">= 1.9"

  required_providers {
    # 6.10 is the first with exclusions from mutability in creation templates.
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.10, < 8.0"
    }
  }
}
