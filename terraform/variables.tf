# From the description of the fleet: `warmfleet render` writes these to fleet.auto.tfvars.json. Change jobs/fleet.toml, not the file.

variable "fleet" {
  description = "Name of the fleet: the prefix of every job, service, policy and role."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", var.fleet))
    error_message = "fleet must be a DNS label: 1 to 63 lower-case letters, digits and inner hyphens, as fleet.name in jobs/fleet.toml."
  }
}

variable "region" {
  description = "Nomad region."
  type        = string
  nullable    = false
}

variable "namespace" {
  description = "Nomad namespace of the jobs. \"default\" is there already; any other is made."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-zA-Z0-9-]{1,128}$", var.namespace))
    error_message = "namespace must be 1 to 128 letters, digits and hyphens, as fleet.namespace in jobs/fleet.toml."
  }
}

variable "datacenters" {
  description = "Nomad datacenters in which the fleet runs."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.datacenters) > 0 && alltrue([for name in var.datacenters : can(regex("^[^\\s,]+$", name))])
    error_message = "datacenters must name at least one datacenter, each without spaces and commas, as fleet.datacenters in jobs/fleet.toml."
  }
}

variable "nomad_address" {
  description = "Nomad's HTTP API."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^https?://[^/\\s]+$", var.nomad_address))
    error_message = "nomad_address must be http(s)://host:port without a path, as fleet.nomad in jobs/fleet.toml."
  }
}

variable "consul_address" {
  description = "Consul's HTTP API."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^https?://[^/\\s]+$", var.consul_address))
    error_message = "consul_address must be http(s)://host:port without a path, as fleet.consul in jobs/fleet.toml."
  }
}

variable "node_pools" {
  description = "Node pools in which models run, without Nomad's own."
  type        = set(string)
  nullable    = false

  validation {
    condition     = alltrue([for name in var.node_pools : can(regex("^[a-zA-Z0-9_-]{1,128}$", name))])
    error_message = "node_pools must be names of 1 to 128 letters, digits, hyphens and underscores, as model.node_pool in jobs/fleet.toml."
  }

  validation {
    condition     = length(setintersection(var.node_pools, ["default", "all"])) == 0
    error_message = "node_pools must not name \"default\" or \"all\": every Nomad has these two, and they cannot be made."
  }
}

variable "weights_volumes" {
  description = "Host volumes with weights, and the pool whose nodes need them."
  nullable    = false

  type = list(object({
    name      = string
    node_pool = string
  }))

  validation {
    condition     = alltrue([for volume in var.weights_volumes : length(trimspace(volume.name)) > 0])
    error_message = "Each of weights_volumes needs a name, as model.volume in jobs/fleet.toml."
  }
}

variable "sessions_volume" {
  description = "Host volume in which Redis keeps the sessions; empty: in memory only."
  type        = string
  nullable    = false
}

variable "task_drivers" {
  description = "Task drivers that the jobs use; a namespace that is made here allows no others."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(setsubtract(var.task_drivers, ["docker", "raw_exec"])) == 0
    error_message = "task_drivers may be docker and raw_exec: no template makes a job for another."
  }
}

variable "router_key_names" {
  description = "Environment variables that routers read from their Nomad variable: keys of providers, and of whoever may switch models."
  type        = set(string)
  nullable    = false

  validation {
    condition     = alltrue([for name in var.router_key_names : can(regex("^[A-Z_][A-Z0-9_]*$", name))])
    error_message = "router_key_names must be names of environment variables, such as provider.key_env in jobs/fleet.toml."
  }
}

variable "datadog_agent" {
  description = "A Datadog agent runs on every node, so its API key is needed in Nomad."
  type        = bool
  nullable    = false
}

variable "datadog_site" {
  description = "Datadog site."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)+$", var.datadog_site))
    error_message = "datadog_site must be a host name such as datadoghq.eu, as datadog.site in jobs/fleet.toml."
  }
}

# Of this installation: what the description does not know.

variable "acl" {
  description = "Make ACL policies, roles and logins. Without ACLs in Nomad and Consul everybody who reaches them may do everything."
  type        = bool
  default     = true
  nullable    = false
}

variable "consul_auth_method" {
  description = "Consul's JWT auth method for Nomad's workloads: its name, and whether it is made here or by whoever runs the cluster."
  default     = {}
  nullable    = false

  type = object({
    name     = optional(string, "nomad-workloads")
    make     = optional(bool, true)
    jwks_url = optional(string) # as Consul's servers reach Nomad; without it, below nomad_address
    jwks_ca  = optional(string) # PEM, where that address has a certificate of your own authority
  })

  validation {
    condition     = can(regex("^[a-zA-Z0-9_-]{1,128}$", var.consul_auth_method.name))
    error_message = "consul_auth_method.name must be 1 to 128 letters, digits, hyphens and underscores."
  }

  validation {
    condition     = can(regex("^https?://\\S+$", coalesce(var.consul_auth_method.jwks_url, "https://unset")))
    error_message = "consul_auth_method.jwks_url must be an http(s) URL that ends in Nomad's /.well-known/jwks.json."
  }
}

variable "deployer_login" {
  description = <<-TEXT
    How a pipeline logs in to Nomad and Consul to deploy, with a token of its own platform (OIDC) and no secret of ours: whose keys are
    asked (discovery_url), for whom the token must be made (audience), and which claim must have which value. Null: people make tokens.
  TEXT

  default = null

  type = object({
    discovery_url = string
    audience      = string
    claim         = string
    value         = string
  })

  validation {
    condition     = var.deployer_login == null || can(regex("^https://\\S+$", var.deployer_login.discovery_url))
    error_message = "deployer_login.discovery_url must be an https URL: the issuer of the tokens."
  }

  validation {
    condition     = var.deployer_login == null || can(regex("^[a-zA-Z0-9_]+$", var.deployer_login.claim))
    error_message = "deployer_login.claim must be the name of one claim, such as repository."
  }

  validation {
    condition     = var.deployer_login == null || can(regex("^[^\"\\\\]+$", var.deployer_login.value))
    error_message = "deployer_login.value must be the whole value of the claim, without quotes and backslashes."
  }
}

variable "weights_nodes" {
  description = "Ids of the nodes that get the weights volumes of their pool as dynamic host volumes. Empty: clients configure host_volume."
  type        = map(set(string))
  default     = {}
  nullable    = false

  validation {
    condition     = length(setsubtract(keys(var.weights_nodes), var.weights_volumes[*].node_pool)) == 0
    error_message = "weights_nodes must be keyed by node pools in which a model needs a volume with weights."
  }

  validation {
    condition     = alltrue([for id in flatten([for ids in var.weights_nodes : tolist(ids)]) : can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", id))])
    error_message = "weights_nodes must hold whole node ids (`nomad node status -verbose`), not names or short ids."
  }
}

variable "make_sessions_volume" {
  description = "Make the volume of the sessions as a dynamic host volume. False: a client configures host_volume."
  type        = bool
  default     = true
  nullable    = false
}

variable "intentions" {
  description = "Write Consul intentions: who may call whom. They hold only where the services are in a mesh, which the jobs do not bring about."
  type        = bool
  default     = false
  nullable    = false
}

variable "datadog" {
  description = "Make the dashboard, monitors, SLO and log metric."
  type        = bool
  default     = true
  nullable    = false
}

variable "percentiles" {
  description = "Let Datadog compute percentiles of the fleet's distributions. Turn it on once the fleet has sent metrics: not before."
  type        = bool
  default     = false
  nullable    = false
}

variable "notify" {
  description = "Whom monitors tell, in Datadog's words: [\"@slack-oncall\"]."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for who in var.notify : startswith(who, "@") && !strcontains(who, " ")])
    error_message = "Each of notify must be one Datadog handle that begins with @."
  }
}

# Secrets: never kept by Terraform. They are sent to Nomad when their version changes, and at no other time.

variable "secret_versions" {
  description = "Raise a number to send that secret anew; 0: Terraform leaves this Nomad variable alone, and somebody puts it there by hand."
  default     = {}
  nullable    = false

  type = object({
    datadog_agent = optional(number, 0)
    autoscaler    = optional(number, 0)
    router        = optional(number, 0)
  })

  validation {
    condition     = alltrue([for version in values(var.secret_versions) : version >= 0 && floor(version) == version])
    error_message = "secret_versions must be whole numbers from 0."
  }
}

variable "datadog_agent_key" {
  description = "Datadog API key of the agents."
  type        = string
  default     = null
  ephemeral   = true
  sensitive   = true

  validation {
    condition     = var.secret_versions.datadog_agent == 0 || can(regex("^\\S+$", var.datadog_agent_key))
    error_message = "secret_versions.datadog_agent is set: give datadog_agent_key too (TF_VAR_datadog_agent_key)."
  }
}

variable "datadog_reader" {
  description = "Datadog API key and application key (scopes timeseries_query and logs_read_data) with which the autoscaler reads."
  default     = null
  ephemeral   = true
  sensitive   = true

  type = object({
    api_key = string
    app_key = string
  })

  validation {
    condition     = var.secret_versions.autoscaler == 0 || can(regex("^\\S+ \\S+$", "${var.datadog_reader.api_key} ${var.datadog_reader.app_key}"))
    error_message = "secret_versions.autoscaler is set: give datadog_reader with api_key and app_key too (TF_VAR_datadog_reader)."
  }
}

variable "router_keys" {
  description = "Keys by the names in router_key_names; WARMFLEET_ADMIN_KEY may be left out, and nobody may switch models then."
  type        = map(string)
  default     = null
  ephemeral   = true
  sensitive   = true

  validation {
    condition     = length(setsubtract(keys(coalesce(var.router_keys, {})), var.router_key_names)) == 0
    error_message = "router_keys has a name that no router of jobs/fleet.toml looks for."
  }

  validation {
    condition     = var.secret_versions.router == 0 || length(coalesce(var.router_keys, {})) > 0
    error_message = "secret_versions.router is set: give router_keys too (TF_VAR_router_keys)."
  }

  validation {
    condition     = var.secret_versions.router == 0 || length(setsubtract(var.router_key_names, concat(["WARMFLEET_ADMIN_KEY"], keys(coalesce(var.router_keys, {}))))) == 0
    error_message = "secret_versions.router is set: router_keys must have the key of every provider, because all of them are sent anew."
  }
}
