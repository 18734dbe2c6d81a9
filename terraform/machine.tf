# One machine, a volume for its data, and a firewall.

data "hcloud_ssh_keys" "all" {}

locals {
  keys    = [for k in data.hcloud_ssh_keys.all.ssh_keys : k.id if contains(var.ssh_keys, k.name)]
  archive = "s3://${aws_s3_bucket.archive.id}/log?region=${var.bucket_region}"
  upstream = (length(var.upstream_relays) > 0
    ? "CISTERN_UPSTREAM_RELAY=${join(",", var.upstream_relays)}"
  : "CISTERN_PULL_HOSTS_FROM=${var.pull_hosts_from}")
}

resource "random_password" "admin" {
  length  = 40
  special = false
}

resource "hcloud_volume" "data" {
  name              = var.name
  size              = var.volume_gib
  location          = var.location
  format            = "ext4"
  delete_protection = true
}

resource "hcloud_firewall" "relay" {
  name = var.name

  rule {
    description = "HTTPS, and HTTP for certificates"
    direction   = "in"
    protocol    = "tcp"
    port        = "80"
    source_ips  = ["0.0.0.0/0", "::/0"]
  }
  rule {
    direction  = "in"
    protocol   = "tcp"
    port       = "443"
    source_ips = ["0.0.0.0/0", "::/0"]
  }
  rule {
    description = "SSH"
    direction   = "in"
    protocol    = "tcp"
    port        = "22"
    source_ips  = var.admin_networks
  }
  rule {
    description = "metrics"
    direction   = "in"
    protocol    = "tcp"
    port        = "2471"
    source_ips  = var.admin_networks
  }
}

resource "hcloud_server" "relay" {
  name         = var.name
  server_type  = var.server_type
  location     = var.location
  image        = "debian-12"
  ssh_keys     = local.keys
  firewall_ids = [hcloud_firewall.relay.id]

  user_data = templatefile("${path.module}/cloud-init.yaml.tftpl", {
    unit          = indent(6, file("${path.module}/../contrib/systemd/cistern.service"))
    device        = hcloud_volume.data.linux_device
    hostname      = var.hostname
    binary_url    = var.binary_url
    binary_sha256 = var.binary_sha256
    environment = indent(6, join("\n", [
      "CISTERN_BIND=127.0.0.1:2470",
      "CISTERN_METRICS_LISTEN=:2471",
      local.upstream,
      "CISTERN_ARCHIVE=${local.archive}",
      "CISTERN_NEW_STREAM=true",
      "CISTERN_DISK_BUDGET=${floor(var.volume_gib * 0.9)}GiB",
      "CISTERN_ADMIN_PASSWORD=${random_password.admin.result}",
      "AWS_ACCESS_KEY_ID=${aws_iam_access_key.relay.id}",
      "AWS_SECRET_ACCESS_KEY=${aws_iam_access_key.relay.secret}",
    ]))
  })

  lifecycle {
    precondition {
      condition     = length(local.keys) == length(var.ssh_keys)
      error_message = "Not every SSH key of var.ssh_keys is known to the project."
    }
    # A changed setting must not replace the machine by itself.
    ignore_changes = [user_data, image]
  }
}

resource "hcloud_volume_attachment" "data" {
  volume_id = hcloud_volume.data.id
  server_id = hcloud_server.relay.id
  automount = false
}
