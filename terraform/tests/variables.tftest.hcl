# Wrong values are refused before anything is planned, each by the variable that it was given to.

mock_provider "nomad" {}
mock_provider "consul" {}
mock_provider "datadog" {}

run "a_fleet_that_is_no_dns_label" {
  command         = plan
  expect_failures = [var.fleet]

  variables {
    fleet = "Warm_Fleet"
  }
}

run "a_namespace_with_a_space" {
  command         = plan
  expect_failures = [var.namespace]

  variables {
    namespace = "two words"
  }
}

run "no_datacenter" {
  command         = plan
  expect_failures = [var.datacenters]

  variables {
    datacenters = []
  }
}

run "a_datacenter_with_a_comma" {
  command         = plan
  expect_failures = [var.datacenters]

  variables {
    datacenters = ["dc1,dc2"]
  }
}

run "an_address_without_a_scheme" {
  command         = plan
  expect_failures = [var.nomad_address]

  variables {
    nomad_address = "nomad.example.com:4646"
  }
}

run "an_address_with_a_path" {
  command         = plan
  expect_failures = [var.consul_address]

  variables {
    consul_address = "http://consul.example.com:8500/v1"
  }
}

run "a_pool_that_every_nomad_has" {
  command         = plan
  expect_failures = [var.node_pools]

  variables {
    node_pools = ["gpu", "default"]
  }
}

run "a_pool_with_a_dot" {
  command         = plan
  expect_failures = [var.node_pools]

  variables {
    node_pools = ["gpu.large"]
  }
}

run "weights_without_a_name" {
  command         = plan
  expect_failures = [var.weights_volumes]

  variables {
    weights_volumes = [{ name = " ", node_pool = "gpu" }]
  }
}

run "a_driver_that_no_job_uses" {
  command         = plan
  expect_failures = [var.task_drivers]

  variables {
    task_drivers = ["docker", "java"]
  }
}

run "a_site_that_is_a_url" {
  command         = plan
  expect_failures = [var.datadog_site]

  variables {
    datadog_site = "https://api.datadoghq.eu"
  }
}

run "a_method_with_a_space" {
  command         = plan
  expect_failures = [var.consul_auth_method]

  variables {
    consul_auth_method = { name = "nomad workloads" }
  }
}

run "keys_from_no_url" {
  command         = plan
  expect_failures = [var.consul_auth_method]

  variables {
    consul_auth_method = { jwks_url = "nomad.example.com" }
  }
}

run "an_issuer_without_tls" {
  command         = plan
  expect_failures = [var.deployer_login]

  variables {
    deployer_login = { discovery_url = "http://ci.example.com", audience = "nomad", claim = "repository", value = "a/b" }
  }
}

run "a_claim_that_is_an_expression" {
  command         = plan
  expect_failures = [var.deployer_login]

  variables {
    deployer_login = { discovery_url = "https://ci.example.com", audience = "nomad", claim = "a or b", value = "a/b" }
  }
}

run "a_claim_value_that_ends_its_quotes" {
  command         = plan
  expect_failures = [var.deployer_login]

  variables {
    deployer_login = { discovery_url = "https://ci.example.com", audience = "nomad", claim = "repository", value = "a\" or \"b" }
  }
}

run "nodes_of_a_pool_without_weights" {
  command         = plan
  expect_failures = [var.weights_nodes]

  variables {
    weights_nodes = { cpu = ["0a1b2c3d-0000-4000-8000-000000000001"] }
  }
}

run "a_node_by_its_name" {
  command         = plan
  expect_failures = [var.weights_nodes]

  variables {
    weights_nodes = { gpu = ["gpu-node-1"] }
  }
}

run "a_handle_without_its_sign" {
  command         = plan
  expect_failures = [var.notify]

  variables {
    notify = ["slack-oncall"]
  }
}

run "a_version_below_zero" {
  command         = plan
  expect_failures = [var.secret_versions]

  variables {
    secret_versions = { router = -1 }
  }
}

run "a_version_of_the_agents_key_without_the_key" {
  command         = plan
  expect_failures = [var.datadog_agent_key]

  variables {
    secret_versions = { datadog_agent = 1 }
  }
}

run "a_version_of_the_readers_keys_without_the_keys" {
  command         = plan
  expect_failures = [var.datadog_reader]

  variables {
    secret_versions = { autoscaler = 1 }
  }
}

run "a_version_of_the_routers_keys_without_a_key" {
  command         = plan
  expect_failures = [var.router_keys]

  variables {
    secret_versions = { router = 1 }
  }
}

run "a_key_that_is_no_environment_variable" {
  command         = plan
  expect_failures = [var.router_key_names]

  variables {
    router_key_names = ["groq-key"]
  }
}

run "a_key_that_no_router_looks_for" {
  command         = plan
  expect_failures = [var.router_keys]

  variables {
    router_key_names = ["GROQ_API_KEY"]
    router_keys      = { GROK_API_KEY = "x" }
  }
}

run "a_version_of_the_routers_keys_with_one_of_two" {
  command         = plan
  expect_failures = [var.router_keys]

  variables {
    secret_versions  = { router = 1 }
    router_key_names = ["GROQ_API_KEY", "OPENAI_API_KEY"]
    router_keys      = { GROQ_API_KEY = "x" }
  }
}
