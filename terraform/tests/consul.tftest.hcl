# What Terraform prepares in Consul. The providers are mocked: nothing is reached, nothing is changed.

mock_provider "nomad" {}
mock_provider "consul" {}
mock_provider "datadog" {}

variables {
  namespace     = "llm"
  nomad_address = "http://nomad.example.com:4646"
  datadog       = false
}

run "workloads_log_in_with_what_nomad_signs" {
  command = plan

  assert {
    condition     = consul_acl_auth_method.workloads[0].name == "nomad-workloads" && consul_acl_auth_method.workloads[0].max_token_ttl == null
    error_message = "The method must have the name that Nomad asks for, and its tokens no end."
  }

  assert {
    condition     = jsondecode(consul_acl_auth_method.workloads[0].config_json).JWKSURL == "http://nomad.example.com:4646/.well-known/jwks.json"
    error_message = "Consul must ask this Nomad for its keys."
  }

  assert {
    condition     = jsondecode(consul_acl_auth_method.workloads[0].config_json).BoundAudiences == ["consul.io"]
    error_message = "Only identities that are made for Consul may log in."
  }

  assert {
    condition     = !can(jsondecode(consul_acl_auth_method.workloads[0].config_json).JWKSCACert)
    error_message = "Without a certificate of one's own the system's are trusted."
  }
}

run "another_address_and_certificate_for_the_keys" {
  command = plan

  variables {
    consul_auth_method = {
      jwks_url = "https://keys.example.com/.well-known/jwks.json"
      jwks_ca  = "-----BEGIN CERTIFICATE-----"
    }
  }

  assert {
    condition     = jsondecode(consul_acl_auth_method.workloads[0].config_json).JWKSURL == "https://keys.example.com/.well-known/jwks.json"
    error_message = "Consul's servers may reach Nomad under another address than Terraform does."
  }

  assert {
    condition     = jsondecode(consul_acl_auth_method.workloads[0].config_json).JWKSCACert == "-----BEGIN CERTIFICATE-----"
    error_message = "The certificate must be handed on."
  }
}

run "a_method_of_the_cluster_is_used_and_not_made" {
  command = plan

  variables {
    consul_auth_method = { make = false, name = "nomad-prod" }
  }

  assert {
    condition     = length(consul_acl_auth_method.workloads) + length(consul_acl_policy.nomad_agent) == 0
    error_message = "What is the cluster's must be left alone."
  }

  assert {
    condition     = alltrue([for rule in concat(values(consul_acl_binding_rule.task), consul_acl_binding_rule.service) : rule.auth_method == "nomad-prod"])
    error_message = "The rules of the fleet must hang on the method that is there."
  }
}

run "a_task_gets_its_own_role_only" {
  command = plan

  assert {
    condition     = keys(consul_acl_role.task) == ["autoscaler", "router"] && consul_acl_role.task["router"].name == "warmfleet-router"
    error_message = "Router and autoscaler need a right in Consul, and no other task does."
  }

  assert {
    condition = consul_acl_binding_rule.task["router"].selector == join(" and ", [
      "\"nomad_service\" not in value",
      "value.nomad_namespace == \"llm\"",
      "value.nomad_job_id == \"warmfleet-router\"",
      "value.nomad_task == \"router\"",
    ])
    error_message = "The role is for one task of one job in one namespace."
  }

  assert {
    condition     = consul_acl_binding_rule.task["autoscaler"].bind_name == "warmfleet-autoscaler" && consul_acl_binding_rule.task["autoscaler"].bind_type == "role"
    error_message = "The rule must give the role of its task."
  }

  assert {
    condition     = strcontains(consul_acl_policy.task["autoscaler"].rules, "key \"warmfleet/warmfleet/leader\"") && !strcontains(consul_acl_policy.task["router"].rules, "\"write\"")
    error_message = "The autoscaler holds the lock; the router writes nothing."
  }
}

run "a_job_registers_services_of_its_own_fleet_only" {
  command = plan

  variables {
    fleet = "blue"
  }

  assert {
    condition     = consul_acl_binding_rule.service[0].bind_name == "$${value.nomad_service}" && consul_acl_binding_rule.service[0].bind_type == "service"
    error_message = "A service gets the right to register itself, under the name that Nomad vouches for."
  }

  assert {
    condition     = strcontains(consul_acl_binding_rule.service[0].selector, "value.nomad_service matches \"^blue-(model|") && strcontains(consul_acl_binding_rule.service[0].selector, "value.nomad_job_id matches \"^blue-\"")
    error_message = "Jobs of another fleet must not register this one's services, nor this one's jobs another's."
  }
}

run "without_acls_consul_is_left_alone" {
  command = plan

  variables {
    acl = false
  }

  assert {
    condition     = length(consul_acl_auth_method.workloads) + length(consul_acl_role.task) + length(consul_acl_binding_rule.service) + length(consul_acl_role.deployer) == 0
    error_message = "A Consul without ACLs refuses them."
  }
}

run "intentions_only_on_demand" {
  command = plan

  assert {
    condition     = length(consul_config_entry_service_intentions.fleet) == 0
    error_message = "An intention that no mesh enforces looks like a protection and is none."
  }
}

run "in_a_mesh_only_the_router_and_the_autoscaler_reach_models" {
  command = plan

  variables {
    intentions = true
  }

  assert {
    condition     = [for source in consul_config_entry_service_intentions.fleet["warmfleet-model"].sources : "${source.action} ${source.name}"] == ["allow warmfleet-router", "allow warmfleet-autoscaler", "deny *"]
    error_message = "Models answer the routers, are scraped by the autoscaler, and nobody else."
  }

  assert {
    condition     = [for source in consul_config_entry_service_intentions.fleet["warmfleet-redis"].sources : "${source.action} ${source.name}"] == ["allow warmfleet-router", "deny *"]
    error_message = "Sessions are the routers'."
  }
}
