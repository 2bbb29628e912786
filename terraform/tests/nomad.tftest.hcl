# What Terraform prepares in Nomad. The providers are mocked: nothing is reached, nothing is changed.

mock_provider "nomad" {}
mock_provider "consul" {}
mock_provider "datadog" {}

variables {
  namespace       = "llm"
  node_pools      = ["gpu"]
  weights_volumes = [{ name = "models", node_pool = "gpu" }]
  sessions_volume = "warmfleet-redis"
  task_drivers    = ["docker"]
  datadog         = false
}

run "a_namespace_of_its_own_allows_only_the_drivers_of_the_jobs" {
  command = plan

  assert {
    condition     = nomad_namespace.fleet[0].name == "llm" && nomad_namespace.fleet[0].capabilities[0].enabled_task_drivers == tolist(["docker"])
    error_message = "The namespace must be made, with the drivers that the description uses and no others."
  }

  assert {
    condition     = keys(nomad_node_pool.models) == ["gpu"] && nomad_node_pool.models["gpu"].name == "gpu"
    error_message = "The node pool of the models must be made."
  }
}

run "the_namespace_default_is_not_made" {
  command = plan

  variables {
    namespace = "default"
  }

  assert {
    condition     = length(nomad_namespace.fleet) == 0
    error_message = "Every Nomad has the namespace default."
  }
}

run "the_autoscaler_scales_by_its_identity" {
  command = plan

  assert {
    condition     = nomad_acl_policy.autoscaler[0].job_acl == tolist([{ namespace = "llm", job_id = "warmfleet-autoscaler", group = "main", task = "autoscaler" }])
    error_message = "The policy must hang on the task autoscaler of the job warmfleet-autoscaler and on nobody else."
  }

  assert {
    condition     = strcontains(nomad_acl_policy.autoscaler[0].rules_hcl, "scale-job") && strcontains(nomad_acl_policy.autoscaler[0].rules_hcl, "namespace \"llm\"")
    error_message = "It must allow scaling, in the namespace of the fleet."
  }

  assert {
    condition     = !strcontains(nomad_acl_policy.autoscaler[0].rules_hcl, "submit-job") && !can(regex("[$][{]", nomad_acl_policy.autoscaler[0].rules_hcl))
    error_message = "It must not allow deploying, and every placeholder must be filled in."
  }
}

run "without_a_login_of_a_pipeline_there_is_a_role_for_tokens_only" {
  command = plan

  assert {
    condition     = nomad_acl_role.deployer[0].name == "warmfleet-deployer" && length(nomad_acl_auth_method.deployer) == 0
    error_message = "A role must be there for the tokens that people make, and no login."
  }
}

run "a_pipeline_logs_in_with_the_token_of_its_platform" {
  command = plan

  variables {
    deployer_login = {
      discovery_url = "https://ci.example.com"
      audience      = "nomad.example.com"
      claim         = "repository"
      value         = "example/warmfleet"
    }
  }

  assert {
    condition     = nomad_acl_auth_method.deployer[0].config[0].bound_audiences == tolist(["nomad.example.com"])
    error_message = "Tokens made for somebody else must not be taken."
  }

  assert {
    condition     = nomad_acl_binding_rule.deployer[0].selector == "value.repository == \"example/warmfleet\""
    error_message = "Only the one repository may deploy."
  }

  assert {
    condition     = nomad_acl_binding_rule.deployer[0].bind_type == "role" && nomad_acl_binding_rule.deployer[0].bind_name == "warmfleet-deployer"
    error_message = "A login must give the deployer's role and no more."
  }
}

run "without_acls_there_are_no_policies" {
  command = plan

  variables {
    acl = false
  }

  assert {
    condition     = length(nomad_acl_policy.autoscaler) + length(nomad_acl_policy.deployer) + length(nomad_acl_role.deployer) == 0
    error_message = "A Nomad without ACLs refuses policies."
  }

  assert {
    condition     = output.deployer == null && output.workloads == null
    error_message = "The outputs must not speak of roles that are not there."
  }
}

run "secrets_are_left_to_people_unless_a_version_is_given" {
  command = plan

  assert {
    condition     = length(nomad_variable.datadog_agent) + length(nomad_variable.autoscaler) + length(nomad_variable.router) == 0
    error_message = "Without a version no Nomad variable may be touched."
  }

  assert {
    condition     = output.variables["nomad/jobs/warmfleet-router"].by == "hand: nomad var put"
    error_message = "The output must say who puts the secret there."
  }
}

run "secrets_are_sent_and_not_kept" {
  command = plan

  variables {
    router_key_names  = ["GROQ_API_KEY", "WARMFLEET_ADMIN_KEY"]
    secret_versions   = { datadog_agent = 3, autoscaler = 1, router = 2 }
    datadog_agent_key = "agent-key"
    datadog_reader    = { api_key = "api-key", app_key = "app-key" }
    router_keys       = { GROQ_API_KEY = "groq-key" }
  }

  assert {
    condition     = nomad_variable.datadog_agent[0].path == "nomad/jobs/warmfleet-datadog-agent" && nomad_variable.datadog_agent[0].items_wo_version == 3
    error_message = "The agents' key belongs to the variable that their job may read."
  }

  assert {
    condition     = nomad_variable.autoscaler[0].path == "nomad/jobs/warmfleet-autoscaler" && nomad_variable.router[0].path == "nomad/jobs/warmfleet-router"
    error_message = "Each secret belongs to the variable that its job may read."
  }

  assert {
    condition     = alltrue([for one in [nomad_variable.datadog_agent[0], nomad_variable.autoscaler[0], nomad_variable.router[0]] : one.items_wo == null && one.namespace == "llm"])
    error_message = "What was sent must not be in the plan or the state."
  }
}

run "weights_are_on_every_node_that_is_named" {
  command = plan

  variables {
    weights_nodes = {
      gpu = ["0a1b2c3d-0000-4000-8000-000000000001", "0a1b2c3d-0000-4000-8000-000000000002"]
    }
  }

  assert {
    condition     = length(nomad_dynamic_host_volume.weights) == 2 && alltrue([for volume in nomad_dynamic_host_volume.weights : volume.name == "models" && volume.node_pool == "gpu"])
    error_message = "Each node must get a volume of the name that the jobs ask for."
  }

  assert {
    condition     = nomad_dynamic_host_volume.weights["models/0a1b2c3d-0000-4000-8000-000000000002"].node_id == "0a1b2c3d-0000-4000-8000-000000000002"
    error_message = "A volume must be on the node that it is for."
  }

  assert {
    condition     = length(output.static_host_volumes) == 0
    error_message = "Nothing is left to the configuration of the clients."
  }
}

run "what_is_not_dynamic_is_left_to_the_clients" {
  command = plan

  variables {
    make_sessions_volume = false
  }

  assert {
    condition     = length(nomad_dynamic_host_volume.weights) + length(nomad_dynamic_host_volume.sessions) == 0
    error_message = "Without nodes, and where it is turned off, no volume may be made."
  }

  assert {
    condition     = output.static_host_volumes[*].name == ["models", "warmfleet-redis"]
    error_message = "The output must say what the clients have to offer."
  }
}

run "sessions_are_kept_in_a_datacenter_of_the_fleet" {
  command = plan

  variables {
    datacenters = ["dc1", "dc2"]
  }

  assert {
    condition     = nomad_dynamic_host_volume.sessions[0].name == "warmfleet-redis" && nomad_dynamic_host_volume.sessions[0].constraint[0].value == "dc1,dc2"
    error_message = "The volume must be where the job of Redis may run."
  }
}

run "sessions_in_memory_need_no_volume" {
  command = plan

  variables {
    sessions_volume = ""
  }

  assert {
    condition     = length(nomad_dynamic_host_volume.sessions) == 0
    error_message = "redis.volume = \"\" means memory only."
  }
}
