# Made by `warmfleet render` from the fleet description and templates/model.nomad.hcl.j2.
# Edit those, not this file; then run `make render`.

job "warmfleet-large-model" {
  region      = "global"
  namespace   = "default"
  datacenters = ["dc1"]

  meta = {
    "warmfleet.fleet"  = "warmfleet"
    "warmfleet.source" = "3cbe7a9286e9"
  }

  node_pool = "gpu"

  group "main" {
    count          = 1
    shutdown_delay = "2s"

    # The bounds of our own autoscaler. The policy has no checks, so that nobody else scales by it.
    scaling {
      enabled = true
      min     = 1
      max     = 4

      policy {
        owner = "warmfleet"
        fleet = "warmfleet"
      }
    }

    # The check is ignored for deployments, so that one ends in a moment and the next scaling is not refused for a whole cold start.
    # A new version starts as a canary, which is promoted when Consul says that it is warm.
    update {
      max_parallel      = 4
      min_healthy_time  = "0s"
      healthy_deadline  = "20m"
      progress_deadline = "25m"
      canary            = 1
      auto_promote      = false
    }

    restart {
      attempts = 2
      interval = "80m"
      delay    = "5s"
      mode     = "fail"
    }

    reschedule {
      delay          = "15s"
      delay_function = "exponential"
      max_delay      = "20m"
      unlimited      = true
    }

    # A drained node gives its replicas up one by one, each a cold start after the one before.
    migrate {
      max_parallel     = 1
      min_healthy_time = "15m"
      healthy_deadline = "20m"
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
      tags     = ["large-model"]

      meta {
        model       = "large-model"
        engine      = "vllm"
        alloc_id    = "${NOMAD_ALLOC_ID}"
        alloc_index = "${NOMAD_ALLOC_INDEX}"
        version     = "3cbe7a9286e9"
      }

      # A replica of a new version does not say `model` before it is promoted: nobody sends it requests or counts on it.
      canary_tags = ["canary"]

      canary_meta {
        canary      = "large-model"
        engine      = "vllm"
        alloc_id    = "${NOMAD_ALLOC_ID}"
        alloc_index = "${NOMAD_ALLOC_INDEX}"
        version     = "3cbe7a9286e9"
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

    task "large-model" {
      driver = "docker"

      config {
        image              = "vllm/vllm-openai:v0.30.0"
        image_pull_timeout = "1h" # an engine is large; the deadlines above judge it
        network_mode       = "host"
        shm_size           = 17179869184
        entrypoint         = ["vllm", "serve"]

        args = [
          "/weights/large-model",
          "--served-model-name", "large-model",
          "--host", "${NOMAD_IP_http}",
          "--port", "${NOMAD_PORT_http}",
          "--max-model-len", "32768",
          "--tensor-parallel-size", "4",
          "--shutdown-timeout", "300",
          "--gpu-memory-utilization",
          "0.92",
        ]

        labels = [{
          "com.datadoghq.tags.service" = "warmfleet-large-model"
          "com.datadoghq.tags.env"     = "production"
          "com.datadoghq.tags.version" = "3cbe7a9286e9"
          "com.datadoghq.ad.logs"      = jsonencode([{ source = "vllm", service = "warmfleet-large-model" }])

          "com.datadoghq.ad.checks" = jsonencode({
            vllm = {
              init_config = {}
              instances = [{
                openmetrics_endpoint = "http://$${NOMAD_IP_http}:$${NOMAD_PORT_http}/metrics"
                tags                 = ["model:large-model"]
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
      kill_timeout = "305s"

      resources {
        cpu    = 16000
        memory = 196608

        device "nvidia/gpu" {
          count = 4

          constraint {
            attribute = "${device.attr.memory}"
            operator  = ">="
            value     = "75 GiB"
          }
        }
      }
    }
  }
}
