# Consul, for the workload identity of the task `router`: it looks for replicas and Redis and reads what the autoscaler and people publish.
# It writes nothing.

service "${fleet}-model" {
  policy = "read"
}

service "${fleet}-redis" {
  policy = "read"
}

node_prefix "" {
  policy = "read"
}

key_prefix "warmfleet/${fleet}/models/" {
  policy = "read"
}

key "warmfleet/${fleet}/spec" {
  policy = "read"
}
