# Dynamic host volumes: a folder that Nomad makes on a node and finds again. Deleting one deletes what is in it, hence prevent_destroy.
# A volume with weights is made empty: put the weights there before the first deployment (its folder is the output `weights`).

locals {
  weights = {
    for volume in flatten([
      for wanted in var.weights_volumes : [
        for node in try(var.weights_nodes[wanted.node_pool], []) : { name = wanted.name, pool = wanted.node_pool, node = node }
      ]
    ]) : "${volume.name}/${volume.node}" => volume
  }
}

# One on each node, all of the same name: a replica takes the one of the node where it is placed.
resource "nomad_dynamic_host_volume" "weights" {
  for_each = local.weights

  name      = each.value.name
  namespace = var.namespace
  plugin_id = "mkdir"
  node_pool = each.value.pool
  node_id   = each.value.node

  # What a job asks for with read_only = true: any number of replicas of the node.
  capability {
    access_mode     = "single-node-reader-only"
    attachment_mode = "file-system"
  }

  # For a job of yours that puts the weights there.
  capability {
    access_mode     = "single-node-writer"
    attachment_mode = "file-system"
  }

  lifecycle {
    prevent_destroy = true
  }

  depends_on = [nomad_namespace.fleet, nomad_node_pool.models]
}

resource "nomad_dynamic_host_volume" "sessions" {
  count = var.sessions_volume != "" && var.make_sessions_volume ? 1 : 0

  name      = var.sessions_volume
  namespace = var.namespace
  plugin_id = "mkdir"
  node_pool = "default" # where jobs without a pool run

  constraint {
    attribute = "$${node.datacenter}"
    operator  = "set_contains_any"
    value     = join(",", var.datacenters)
  }

  capability {
    access_mode     = "single-node-writer"
    attachment_mode = "file-system"
  }

  lifecycle {
    prevent_destroy = true
  }

  depends_on = [nomad_namespace.fleet]
}
