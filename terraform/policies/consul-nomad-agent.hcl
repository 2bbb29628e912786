# Consul, for the Nomad agents themselves (`consul { token = "..." }` in their configuration): they register services and their own health.
# Tasks do not get this token: each logs in with its own workload identity.

agent_prefix "" {
  policy = "read"
}

node_prefix "" {
  policy = "read"
}

service_prefix "" {
  policy = "write"
}
