# What people read after an apply, with what the mocked providers would have computed.

mock_provider "consul" {}

mock_provider "nomad" {
  override_during = plan

  mock_resource "nomad_dynamic_host_volume" {
    defaults = {
      host_path = "/opt/nomad/host_volumes/0a1b2c3d"
    }
  }
}

mock_provider "datadog" {
  override_during = plan

  mock_resource "datadog_monitor" {
    defaults = {
      id = "1234"
    }
  }
}

run "people_are_told_where_things_are" {
  command = plan

  variables {
    weights_nodes = { gpu = ["0a1b2c3d-0000-4000-8000-000000000001"] }
  }

  assert {
    condition     = output.weights["models/0a1b2c3d-0000-4000-8000-000000000001"] == "/opt/nomad/host_volumes/0a1b2c3d"
    error_message = "Weights are copied into a folder that only Nomad knows."
  }

  assert {
    condition     = output.monitors["cold-model"] == "1234" && length(output.monitors) == length(datadog_monitor.fleet)
    error_message = "Every monitor must be found."
  }

  assert {
    condition     = output.api == "warmfleet-api.service.consul" && output.nomad_agent_policy == "nomad-agents"
    error_message = "Callers need the name of the API, and Nomad's agents their policy."
  }

  assert {
    condition     = output.deployer.auth_method == null && strcontains(output.deployer.commands[0], "-role-name=warmfleet-deployer")
    error_message = "Without a login of a pipeline, people must be told how to make a token."
  }

  assert {
    condition     = output.workloads.consul_roles == { autoscaler = "warmfleet-autoscaler", router = "warmfleet-router" }
    error_message = "Each task must be shown with its role."
  }
}

run "a_pipeline_is_told_where_to_log_in" {
  command = plan

  variables {
    deployer_login = { discovery_url = "https://ci.example.com", audience = "nomad", claim = "repository", value = "example/warmfleet" }
  }

  assert {
    condition     = output.deployer.auth_method == "warmfleet-deployer"
    error_message = "The method has the same name in Nomad and in Consul."
  }
}
