# Nomad: where the jobs run, what they may do, and what they must find. The jobs themselves are `warmfleet deploy`'s, and their counts the
# autoscaler's: there is no nomad_job here.

resource "nomad_namespace" "fleet" {
  count = var.namespace == "default" ? 0 : 1

  name        = var.namespace
  description = "LLM serving: ${var.fleet}"

  capabilities {
    enabled_task_drivers = var.task_drivers
  }
}

resource "nomad_node_pool" "models" {
  for_each = var.node_pools

  name        = each.key
  description = "Nodes for models of ${var.fleet}"
}

# Rights of workloads. A task's own identity is its login: no token is made, kept or rotated.

resource "nomad_acl_policy" "autoscaler" {
  count = var.acl ? 1 : 0

  name        = local.jobs.autoscaler
  description = "The task autoscaler of the job ${local.jobs.autoscaler} reads and scales jobs in ${var.namespace}."
  rules_hcl   = templatefile("${local.policies}/nomad-autoscaler.hcl", local.templated)

  job_acl {
    namespace = var.namespace
    job_id    = local.jobs.autoscaler
    group     = local.group
    task      = "autoscaler"
  }

  depends_on = [nomad_namespace.fleet]
}

# Rights of whoever deploys. A token made by Terraform would stand in its state in clear text, so none is: a pipeline logs in with the
# token of its own platform, and a person makes one with `nomad acl token create -role-name`.

resource "nomad_acl_policy" "deployer" {
  count = var.acl ? 1 : 0

  name        = "${var.fleet}-deployer"
  description = "Whoever runs warmfleet plan, deploy, rollback and scale in ${var.namespace}."
  rules_hcl   = templatefile("${local.policies}/nomad-deployer.hcl", local.templated)

  depends_on = [nomad_namespace.fleet]
}

resource "nomad_acl_role" "deployer" {
  count = var.acl ? 1 : 0

  name        = "${var.fleet}-deployer"
  description = "Delivers the jobs of ${var.fleet}."

  policy {
    name = nomad_acl_policy.deployer[0].name
  }
}

resource "nomad_acl_auth_method" "deployer" {
  count = var.acl && var.deployer_login != null ? 1 : 0

  name           = "${var.fleet}-deployer"
  type           = "JWT"
  token_locality = "local"
  max_token_ttl  = "1h0m0s" # as Nomad writes it back, so that no plan shows a change

  config {
    oidc_discovery_url = var.deployer_login.discovery_url
    bound_audiences    = [var.deployer_login.audience]
    claim_mappings     = { (var.deployer_login.claim) = var.deployer_login.claim }
  }
}

resource "nomad_acl_binding_rule" "deployer" {
  count = var.acl && var.deployer_login != null ? 1 : 0

  description = "Tokens of the pipeline of ${var.fleet}"
  auth_method = nomad_acl_auth_method.deployer[0].name
  selector    = "value.${var.deployer_login.claim} == \"${var.deployer_login.value}\""
  bind_type   = "role"
  bind_name   = nomad_acl_role.deployer[0].name
}

# Secrets of tasks. What is write-only goes to Nomad and nowhere else: not into the plan, not into the state.

resource "nomad_variable" "datadog_agent" {
  count = var.secret_versions.datadog_agent > 0 ? 1 : 0

  path             = local.variables.datadog_agent
  namespace        = var.namespace
  items_wo         = jsonencode({ api_key = var.datadog_agent_key })
  items_wo_version = var.secret_versions.datadog_agent

  depends_on = [nomad_namespace.fleet]
}

resource "nomad_variable" "autoscaler" {
  count = var.secret_versions.autoscaler > 0 ? 1 : 0

  path             = local.variables.autoscaler
  namespace        = var.namespace
  items_wo         = jsonencode(var.datadog_reader)
  items_wo_version = var.secret_versions.autoscaler

  depends_on = [nomad_namespace.fleet]
}

resource "nomad_variable" "router" {
  count = var.secret_versions.router > 0 ? 1 : 0

  path             = local.variables.router
  namespace        = var.namespace
  items_wo         = jsonencode(var.router_keys)
  items_wo_version = var.secret_versions.router

  depends_on = [nomad_namespace.fleet]
}
