# Made by `warmfleet render` from the fleet description and templates/datadog-agent.nomad.hcl.j2.
# Edit those, not this file; then run `make render`.

job "warmfleet-datadog-agent" {
  type = "system"

  region      = "global"
  namespace   = "default"
  datacenters = ["dc1"]

  meta = {
    "warmfleet.fleet"  = "warmfleet"
    "warmfleet.source" = "59d9db07e725"
  }

  # Every node, those with GPUs too.
  node_pool = "all"

  group "main" {
    # It is restarted where it is, for as long as it takes: a system job has nowhere else to go.
    restart {
      attempts = 3
      interval = "1m"
      delay    = "5s"
      mode     = "delay"
    }

    network {
      port "dogstatsd" {
        static = 8125
      }

      port "apm" {
        static = 8126
      }

      port "http" {}

    }

    service {
      name     = "warmfleet-datadog-agent"
      provider = "consul"
      port     = "http"

      check {
        type     = "http"
        path     = "/live"
        interval = "2s"
        timeout  = "5s"
      }
    }

    task "datadog-agent" {
      driver = "docker"

      config {
        image        = "datadog/agent:7.72.4"
        network_mode = "host"
        pid_mode     = "host"

        volumes = [
          "/var/run/docker.sock:/var/run/docker.sock:ro",
          "/var/lib/docker/containers:/var/lib/docker/containers:ro", # logs
          "/proc:/host/proc:ro",
          "/sys/fs/cgroup:/host/sys/fs/cgroup:ro",
          "local/consul.yaml:/etc/datadog-agent/conf.d/consul.d/conf.yaml:ro",
        ]
      }

      # Services by their checks. Every agent asks its own Consul; the one beside Consul's leader reports.
      template {
        destination     = "local/consul.yaml"
        left_delimiter  = "<<<"
        right_delimiter = ">>>"

        data = <<CONSUL
init_config: {}
instances:
  - url: "http://127.0.0.1:8500"
    catalog_checks: true
CONSUL
      }

      # The API key is in the Nomad variable of this job, put there once by hand; this job's identity may read it.
      template {
        destination = "secrets/datadog.env"
        env         = true

        data = <<KEY
{{ with nomadVar "nomad/jobs/warmfleet-datadog-agent" }}DD_API_KEY={{ .api_key }}{{ end }}
KEY
      }

      env {
        DD_SITE = "datadoghq.com"
        DD_ENV  = "production"
        DD_TAGS = "fleet:warmfleet"

        DD_HOSTNAME                          = "${node.unique.name}"
        DD_HEALTH_PORT                       = "${NOMAD_PORT_http}"
        DD_DOGSTATSD_NON_LOCAL_TRAFFIC       = "true"
        DD_APM_NON_LOCAL_TRAFFIC             = "true"
        DD_LOGS_ENABLED                      = "true"
        DD_LOGS_CONFIG_CONTAINER_COLLECT_ALL = "true"
      }

      resources {
        cpu    = 200
        memory = 512
      }
    }
  }
}
