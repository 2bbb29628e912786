# The names that jobs, routers and autoscalers use, as fleet/names.py makes them; tests/terraform/test_names.py compares both.
locals {
  jobs = {
    router        = "${var.fleet}-router"
    autoscaler    = "${var.fleet}-autoscaler"
    redis         = "${var.fleet}-redis"
    datadog_agent = "${var.fleet}-datadog-agent"
  }

  services = {
    model      = "${var.fleet}-model"
    router     = "${var.fleet}-router"
    api        = "${var.fleet}-api"
    autoscaler = "${var.fleet}-autoscaler"
    redis      = "${var.fleet}-redis"
  }

  # A Nomad variable at this path may be read by the job of that name, and by no other job, without any policy.
  variables = { for part, job in local.jobs : part => "nomad/jobs/${job}" }

  group     = "main" # every job has one, and in it one task, named like the part
  policies  = "${path.module}/policies"
  templated = { fleet = var.fleet, namespace = var.namespace }
}
