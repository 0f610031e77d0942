terraform {
  # 1.9: a variable's validation may read other variables.
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source = "hashicorp/aws"
      # 6.28 is the first with exclusions from the record of pull times.
      version = ">= 6.28, < 8.0"
    }
  }
}
