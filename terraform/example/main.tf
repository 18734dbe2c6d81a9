# A relay for the whole network. Providers take their tokens from HCLOUD_TOKEN and AWS_….

terraform {
  required_version = ">= 1.8"
}

variable "binary_sha256" {
  description = "Of the release that is deployed."
  type        = string
}

module "relay" {
  source = "../"

  hostname       = "relay.example.com"
  ssh_keys       = ["operator"]
  admin_networks = ["203.0.113.0/28"]
  bucket         = "example-cistern-archive"
  volume_gib     = 400
  server_type    = "cpx41"
  binary_url     = "https://example.com/cistern-linux-amd64"
  binary_sha256  = var.binary_sha256
}

output "address" {
  description = "For the DNS entry."
  value       = module.relay.address
}
