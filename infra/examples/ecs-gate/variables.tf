variable "lambda_directory" {
  description = "Folder with the functions' packages. Without it, where `make package` puts them."
  type        = string
  default     = null
}

variable "image" {
  description = "The image, by the digest that the gate gave to the pipeline: `ACCOUNT.dkr.ecr.us-west-2.amazonaws.com/api@sha256:…`."
  type        = string
}

variable "cluster_arn" {
  description = "The cluster."
  type        = string
}

variable "execution_role_arn" {
  description = "The role by which ECS pulls the image and writes logs."
  type        = string
}

variable "subnet_ids" {
  description = "Private subnets of the tasks."
  type        = list(string)
}

variable "security_group_ids" {
  description = "Security groups of the tasks."
  type        = list(string)
}
