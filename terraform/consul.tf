# Consul: what the tasks of the fleet may read and write there, and how they log in. Keys and their values are the autoscaler's and people's:
# there is no consul_keys here.

# Tasks and services log in with identities that Nomad signs; Consul asks Nomad for the keys. One method serves all fleets of a cluster.
resource "consul_acl_auth_method" "workloads" {
  count = var.acl && var.consul_auth_method.make ? 1 : 0

  name           = var.consul_auth_method.name
  display_name   = var.consul_auth_method.name
  description    = "Workloads of Nomad"
  type           = "jwt"
  token_locality = "local"

  # No lifetime of tokens: Nomad revokes them itself, and a service that outlives its token would vanish.
  config_json = jsonencode(merge(
    {
      JWKSURL          = coalesce(var.consul_auth_method.jwks_url, "${var.nomad_address}/.well-known/jwks.json")
      JWTSupportedAlgs = ["RS256"]
      BoundAudiences   = ["consul.io"]

      ClaimMappings = {
        nomad_namespace = "nomad_namespace"
        nomad_job_id    = "nomad_job_id"
        nomad_task      = "nomad_task"
        nomad_service   = "nomad_service"
      }
    },
    var.consul_auth_method.jwks_ca == null ? {} : { JWKSCACert = var.consul_auth_method.jwks_ca },
  ))
}

locals {
  # Tasks with a right of their own in Consul, each named like its part.
  consul_tasks = var.acl ? toset(["router", "autoscaler"]) : []
}

resource "consul_acl_policy" "task" {
  for_each = local.consul_tasks

  name        = local.jobs[each.key]
  description = "The task ${each.key} of ${var.fleet}"
  rules       = templatefile("${local.policies}/consul-${each.key}.hcl", local.templated)
}

resource "consul_acl_role" "task" {
  for_each = local.consul_tasks

  name        = local.jobs[each.key]
  description = "The task ${each.key} of ${var.fleet}"
  policies    = [consul_acl_policy.task[each.key].id]
}

resource "consul_acl_binding_rule" "task" {
  for_each = local.consul_tasks

  auth_method = var.consul_auth_method.name
  description = "The task ${each.key} of ${var.fleet}"
  bind_type   = "role"
  bind_name   = consul_acl_role.task[each.key].name
  selector    = "\"nomad_service\" not in value and value.nomad_namespace == \"${var.namespace}\" and value.nomad_job_id == \"${var.fleet}-${each.key}\" and value.nomad_task == \"${each.key}\""

  depends_on = [consul_acl_auth_method.workloads]
}

# A job registers the service that it names, and only while both are this fleet's.
resource "consul_acl_binding_rule" "service" {
  count = var.acl ? 1 : 0

  auth_method = var.consul_auth_method.name
  description = "Services of ${var.fleet}"
  selector    = "\"nomad_service\" in value and value.nomad_service matches \"^${var.fleet}-(model|router|api|autoscaler|redis|datadog-agent)$\" and value.nomad_namespace == \"${var.namespace}\" and value.nomad_job_id matches \"^${var.fleet}-\""
  bind_type   = "service"
  bind_name   = "$${value.nomad_service}"

  depends_on = [consul_acl_auth_method.workloads]
}

# Whoever deploys: looks for replicas, pauses, publishes the description.

resource "consul_acl_policy" "deployer" {
  count = var.acl ? 1 : 0

  name        = "${var.fleet}-deployer"
  description = "Whoever runs warmfleet deploy, reload, pause and explain"
  rules       = templatefile("${local.policies}/consul-deployer.hcl", local.templated)
}

resource "consul_acl_role" "deployer" {
  count = var.acl ? 1 : 0

  name        = "${var.fleet}-deployer"
  description = "Delivers the jobs of ${var.fleet}"
  policies    = [consul_acl_policy.deployer[0].id]
}

resource "consul_acl_auth_method" "deployer" {
  count = var.acl && var.deployer_login != null ? 1 : 0

  name           = "${var.fleet}-deployer"
  display_name   = "${var.fleet}-deployer"
  description    = "The pipeline of ${var.fleet}"
  type           = "jwt"
  token_locality = "local"
  max_token_ttl  = "1h0m0s"

  config_json = jsonencode({
    OIDCDiscoveryURL = var.deployer_login.discovery_url
    BoundAudiences   = [var.deployer_login.audience]
    ClaimMappings    = { (var.deployer_login.claim) = var.deployer_login.claim }
  })
}

resource "consul_acl_binding_rule" "deployer" {
  count = var.acl && var.deployer_login != null ? 1 : 0

  auth_method = consul_acl_auth_method.deployer[0].name
  description = "Tokens of the pipeline of ${var.fleet}"
  selector    = "value.${var.deployer_login.claim} == \"${var.deployer_login.value}\""
  bind_type   = "role"
  bind_name   = consul_acl_role.deployer[0].name
}

# For the agents of Nomad: a token with this policy goes into their configuration, made by whoever sets up the nodes.
resource "consul_acl_policy" "nomad_agent" {
  count = var.acl && var.consul_auth_method.make ? 1 : 0

  name        = "nomad-agents"
  description = "Agents of Nomad"
  rules       = templatefile("${local.policies}/consul-nomad-agent.hcl", local.templated)
}

# Who may call whom, in a mesh. Callers of the API come from outside of it, through a gateway of yours.
locals {
  callers = {
    (local.services.model)      = [local.services.router, local.services.autoscaler]
    (local.services.redis)      = [local.services.router]
    (local.services.router)     = [local.services.autoscaler]
    (local.services.autoscaler) = []
  }
}

resource "consul_config_entry_service_intentions" "fleet" {
  for_each = var.intentions ? local.callers : {}

  name = each.key

  dynamic "sources" {
    for_each = each.value

    content {
      name   = sources.value
      type   = "consul"
      action = "allow"
    }
  }

  sources {
    name   = "*"
    type   = "consul"
    action = "deny"
  }
}
