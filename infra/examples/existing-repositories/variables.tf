variable "lambda_directory" {
  description = "Folder with the functions' packages. Without it, where `make package` puts them."
  type        = string
  default     = null
}
