# Consul, for the workload identity of the task `autoscaler`: it looks for replicas and routers, holds the fleet's lock, and publishes.
# A pause and a published description are people's: it reads them.

service "${fleet}-model" {
  policy = "read"
}

service "${fleet}-router" {
  policy = "read"
}

node_prefix "" {
  policy = "read"
}

key_prefix "warmfleet/${fleet}/" {
  policy = "read"
}

key "warmfleet/${fleet}/leader" {
  policy = "write"
}

key_prefix "warmfleet/${fleet}/models/" {
  policy = "write"
}

key_prefix "warmfleet/${fleet}/memory/" {
  policy = "write"
}

# The lock belongs to a session, and a session to the node of whichever agent it was asked of.
session_prefix "" {
  policy = "write"
}
