# tflint --init && tflint --recursive --config "$(pwd)/.tflint.hcl"

plugin "terraform" {
  enabled = true
  preset  = "recommended"
}

# Our modules are files by subject, and not one main.tf.
rule "terraform_standard_module_structure" {
  enabled = false
}
