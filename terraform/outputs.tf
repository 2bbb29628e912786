output "deployer" {
  description = "How to get the tokens of whoever deploys."

  value = !var.acl ? null : {
    nomad_role  = nomad_acl_role.deployer[0].name
    consul_role = consul_acl_role.deployer[0].name
    auth_method = one(nomad_acl_auth_method.deployer[*].name) # of Nomad and of Consul; null: a person makes tokens

    commands = [
      "nomad acl token create -name=deployer -role-name=${nomad_acl_role.deployer[0].name} -ttl=8h",
      "consul acl token create -description=deployer -role-name=${consul_acl_role.deployer[0].name} -expires-ttl=8h",
    ]
  }
}

output "workloads" {
  description = "What tasks may do without a token: the Nomad policy of their identity, and the Consul roles that they log in to."

  value = !var.acl ? null : {
    nomad_policies     = [nomad_acl_policy.autoscaler[0].name]
    consul_auth_method = var.consul_auth_method.name
    consul_roles       = { for task, role in consul_acl_role.task : task => role.name }
  }
}

output "nomad_agent_policy" {
  description = "Consul policy for the token in the configuration of Nomad's agents; null: whoever runs the cluster has one."
  value       = one(consul_acl_policy.nomad_agent[*].name)
}

output "variables" {
  description = "Nomad variables with secrets, and whether Terraform puts them there."

  value = {
    for part in ["datadog_agent", "autoscaler", "router"] : local.variables[part] => {
      namespace = var.namespace
      by        = var.secret_versions[part] > 0 ? "terraform, version ${var.secret_versions[part]}" : "hand: nomad var put"
    }
  }
}

output "weights" {
  description = "Folder of each volume with weights, by volume and node: copy the weights there before the first deployment."
  value       = { for key, volume in nomad_dynamic_host_volume.weights : key => volume.host_path }
}

output "static_host_volumes" {
  description = "Host volumes that the configuration of Nomad's clients must name, because no dynamic one is made here."

  value = concat(
    [for volume in var.weights_volumes : volume if length(try(var.weights_nodes[volume.node_pool], [])) == 0],
    [for name in [var.sessions_volume] : { name = name, node_pool = "default" } if name != "" && !var.make_sessions_volume],
  )
}

output "api" {
  description = "Name under which Consul's DNS knows the routers; their port is router.port in jobs/fleet.toml."
  value       = "${local.services.api}.service.consul"
}

output "dashboard_url" {
  description = "The dashboard; null without Datadog."
  value       = one(datadog_dashboard_json.fleet[*].url)
}

output "monitors" {
  description = "Ids of the monitors by the name of their file."
  value       = { for name, monitor in datadog_monitor.fleet : name => monitor.id }
}
