variable "name" {
  description = "Name of the machine, the volume and the firewall."
  type        = string
  default     = "cistern"
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,30}$", var.name))
    error_message = "The name has lower-case letters, digits and hyphens, and begins with a letter."
  }
}

variable "location" {
  description = "Where the machine and the volume stand."
  type        = string
  default     = "fsn1"
}

variable "server_type" {
  description = "Type of the machine. docs/operations.md has a table of sizes."
  type        = string
  default     = "cpx31"
}

variable "volume_gib" {
  description = "Size of the data volume in GiB. The relay uses nine tenths of it."
  type        = number
  default     = 200
  validation {
    condition     = var.volume_gib >= 20 && var.volume_gib <= 10240 && floor(var.volume_gib) == var.volume_gib
    error_message = "A volume has 20 to 10240 GiB, in whole numbers."
  }
}

variable "ssh_keys" {
  description = "Names of SSH keys, known to the project, that may log in."
  type        = list(string)
  validation {
    condition     = length(var.ssh_keys) > 0
    error_message = "Without a key nobody could log in."
  }
}

variable "admin_networks" {
  description = "Networks that may reach SSH and the metrics listener, as CIDRs."
  type        = list(string)
  validation {
    condition     = alltrue([for n in var.admin_networks : can(cidrhost(n, 0))]) && !contains(var.admin_networks, "0.0.0.0/0") && !contains(var.admin_networks, "::/0")
    error_message = "Name networks as CIDRs, and not the whole internet."
  }
}

variable "hostname" {
  description = "Public name of the relay, whose DNS entry points to the machine. Caddy gets a certificate for it."
  type        = string
}

variable "binary_url" {
  description = "Where the machine downloads the static binary (bin/image/cistern of `make image`) from."
  type        = string
}

variable "binary_sha256" {
  description = "SHA-256 of the binary, in hex. The machine does not run another one."
  type        = string
  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.binary_sha256))
    error_message = "A SHA-256 is 64 lower-case hex digits."
  }
}

variable "pull_hosts_from" {
  description = "A relay whose list of hosts is crawled; empty to crawl only who asks."
  type        = string
  default     = "https://relay1.us-east.bsky.network"
}

variable "upstream_relays" {
  description = "URLs of relays that are followed instead of crawling hosts. One: with its numbers. Several: merged, with numbers of this log. See docs/mirror.md."
  type        = list(string)
  default     = []
  validation {
    condition     = alltrue([for u in var.upstream_relays : can(regex("^https?://[^/,]+$", u))])
    error_message = "A relay is named as https://relay.example."
  }
}

variable "bucket" {
  description = "Name of the bucket for the archive. It is made."
  type        = string
}

variable "bucket_region" {
  description = "Region of the bucket."
  type        = string
  default     = "eu-central-1"
}

variable "noncurrent_days" {
  description = "After how many days a replaced or deleted version of an object is gone for good."
  type        = number
  default     = 30
  validation {
    condition     = var.noncurrent_days >= 1
    error_message = "At least a day: a mistake must be noticed first."
  }
}
