# Consul, for whoever runs `warmfleet deploy`, `rollback`, `scale`, `reload`, `pause`, `resume` and `explain`.
# It looks for replicas, to see when they are warm, and for routers and the autoscaler, to ask them. A pause and the description are its to write.

service "${fleet}-model" {
  policy = "read"
}

service "${fleet}-router" {
  policy = "read"
}

service "${fleet}-autoscaler" {
  policy = "read"
}

node_prefix "" {
  policy = "read"
}

key_prefix "warmfleet/${fleet}/models/" {
  policy = "read"
}

key "warmfleet/${fleet}/pause" {
  policy = "write"
}

key "warmfleet/${fleet}/spec" {
  policy = "write"
}
