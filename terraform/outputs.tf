output "address" {
  description = "What the DNS entry of the relay's name must point to."
  value       = hcloud_server.relay.ipv4_address
}

output "archive" {
  description = "Where the archive is, as --archive takes it."
  value       = local.archive
}

output "admin_password" {
  description = "Of the operator's page and API, user admin."
  value       = random_password.admin.result
  sensitive   = true
}
