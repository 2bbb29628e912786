# Nomad, for whoever runs `warmfleet plan`, `deploy`, `rollback`, `scale` and `jobs`: a person or a pipeline.
# It delivers into its own namespace. It neither stops or purges jobs, nor enters tasks, nor reads what is in variables.

namespace "${namespace}" {
  capabilities = [
    "list-jobs",
    "parse-job",
    "plan-job",
    "read-job",
    "read-logs", # of a new version that does not start
    "register-job",
    "scale-job",
    "tag-job-version",
    "promote-deployment",
    "fail-deployment",
    "set-alloc-health-deployment",
  ]

  # Whether the secrets that jobs wait for are there; not what is in them.
  variables {
    path "nomad/jobs/${fleet}-*" {
      capabilities = ["list"]
    }
  }
}

# The jobs name host volumes: weights, read only, and that of the sessions.
host_volume "*" {
  policy = "write"
}
