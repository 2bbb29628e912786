# Made by `warmfleet render` from the fleet description and templates/model.nomad.hcl.j2.
# Edit those, not this file; then run `make render`.

job "warmfleet-small-model" {
  region      = "global"
  namespace   = "default"
  datacenters = ["dc1"]

  meta = {
    "warmfleet.fleet"  = "warmfleet"
    "warmfleet.source" = "a00a0cd41ce1"
  }

  node_pool = "gpu"

  group "main" {
    count          = 2
    shutdown_delay = "2s"

    # The bounds of our own autoscaler. The policy has no checks, so that nobody else scales by it.
    scaling {
      enabled = true
      min     = 2
      max     = 8

      policy {
        owner = "warmfleet"
        fleet = "warmfleet"
      }
    }

    # The check is ignored for deployments, so that one ends in a moment and the next scaling is not refused for a whole cold start.
    # A new version starts as a canary, which is promoted when Consul says that it is warm.
    update {
      max_parallel      = 8
      min_healthy_time  = "0s"
      healthy_deadline  = "15m"
      progress_deadline = "20m"
      canary            = 1
      auto_promote      = false
    }

    restart {
      attempts = 2
      interval = "1h"
      delay    = "5s"
      mode     = "fail"
    }

    reschedule {
      delay          = "15s"
      delay_function = "exponential"
      max_delay      = "15m"
      unlimited      = true
    }

    # A drained node gives its replicas up one by one, each a cold start after the one before.
    migrate {
      max_parallel     = 1
      min_healthy_time = "10m"
      healthy_deadline = "15m"
    }

    # A node that Nomad cannot reach still serves: no second copy is started on scarce devices.
    disconnect {
      lost_after = "1h"
      replace    = false
      reconcile  = "keep_original"
    }

    network {
      port "http" {}

    }

    service {
      name     = "warmfleet-model"
      provider = "consul"
      port     = "http"
      tags     = ["small-model"]

      meta {
        model       = "small-model"
        engine      = "vllm"
        alloc_id    = "${NOMAD_ALLOC_ID}"
        alloc_index = "${NOMAD_ALLOC_INDEX}"
        version     = "a00a0cd41ce1"
      }

      # A replica of a new version does not say `model` before it is promoted: nobody sends it requests or counts on it.
      canary_tags = ["canary"]

      canary_meta {
        canary      = "small-model"
        engine      = "vllm"
        alloc_id    = "${NOMAD_ALLOC_ID}"
        alloc_index = "${NOMAD_ALLOC_INDEX}"
        version     = "a00a0cd41ce1"
      }

      check {
        type      = "http"
        path      = "/health"
        interval  = "2s"
        timeout   = "5s"
        on_update = "ignore"

        failures_before_critical = 3
      }
    }

    volume "weights" {
      type      = "host"
      source    = "models"
      read_only = true
    }

    task "small-model" {
      driver = "docker"

      config {
        image              = "vllm/vllm-openai:v0.30.0"
        image_pull_timeout = "1h" # an engine is large; the deadlines above judge it
        network_mode       = "host"
        shm_size           = 2147483648
        entrypoint         = ["vllm", "serve"]

        args = [
          "/weights/small-model",
          "--served-model-name", "small-model",
          "--host", "${NOMAD_IP_http}",
          "--port", "${NOMAD_PORT_http}",
          "--max-model-len", "8192",
          "--tensor-parallel-size", "1",
          "--shutdown-timeout", "120",
          "--gpu-memory-utilization",
          "0.90",
        ]

        labels = [{
          "com.datadoghq.tags.service" = "warmfleet-small-model"
          "com.datadoghq.tags.env"     = "production"
          "com.datadoghq.tags.version" = "a00a0cd41ce1"
          "com.datadoghq.ad.logs"      = jsonencode([{ source = "vllm", service = "warmfleet-small-model" }])

          "com.datadoghq.ad.checks" = jsonencode({
            vllm = {
              init_config = {}
              instances = [{
                openmetrics_endpoint = "http://$${NOMAD_IP_http}:$${NOMAD_PORT_http}/metrics"
                tags                 = ["model:small-model"]
              }]
            }
          })
        }]
      }

      volume_mount {
        volume      = "weights"
        destination = "/weights"
        read_only   = true
      }

      # Weights come from the volume only, and the engine reports to nobody.
      env {
        HF_HUB_OFFLINE       = "1"
        TRANSFORMERS_OFFLINE = "1"
        VLLM_NO_USAGE_STATS  = "1"
        VLLM_DO_NOT_TRACK    = "1"
        DO_NOT_TRACK         = "1"
      }

      kill_signal  = "SIGTERM"
      kill_timeout = "125s"

      resources {
        cpu    = 8000
        memory = 32768

        device "nvidia/gpu" {
          count = 1

          constraint {
            attribute = "${device.attr.memory}"
            operator  = ">="
            value     = "20 GiB"
          }
        }
      }
    }
  }
}
