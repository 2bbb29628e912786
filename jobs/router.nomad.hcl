# Made by `warmfleet render` from the fleet description and templates/router.nomad.hcl.j2.
# Edit those, not this file; then run `make render`.

job "warmfleet-router" {
  region      = "global"
  namespace   = "default"
  datacenters = ["dc1"]

  meta = {
    "warmfleet.fleet"   = "warmfleet"
    "warmfleet.version" = "0.1.0"
    "warmfleet.source"  = "c02e13a255a8"
  }

  group "main" {
    count          = 2
    shutdown_delay = "2s"

    # Two on a node are a router and its successor, while one takes over from the other.
    constraint {
      operator  = "distinct_property"
      attribute = "${node.unique.id}"
      value     = "2"
    }

    spread {
      attribute = "${node.unique.id}"
      weight    = 100
    }

    # Successors start beside the routers they replace and share their listening socket: nobody waits, nothing is reset.
    update {
      max_parallel     = 2
      canary           = 2
      auto_promote     = true
      min_healthy_time = "2s"
      auto_revert      = true
    }

    restart {
      attempts = 3
      interval = "1m"
      delay    = "2s"
      mode     = "fail"
    }

    reschedule {
      delay          = "5s"
      delay_function = "exponential"
      max_delay      = "2m"
      unlimited      = true
    }

    network {
      port "http" {}

    }

    service {
      name     = "warmfleet-router"
      provider = "consul"
      port     = "http"

      check {
        type     = "http"
        path     = "/health"
        interval = "2s"
        timeout  = "5s"
      }
    }

    service {
      name     = "warmfleet-api"
      provider = "consul"
      port     = "8000"

      check {
        type     = "http"
        path     = "/health"
        port     = "http"
        interval = "2s"
        timeout  = "5s"
      }
    }

    task "router" {
      driver = "docker"

      config {
        image        = "warmfleet/warmfleet:0.1.0"
        network_mode = "host"
        entrypoint   = []
        command      = "ddtrace-run"
        args         = ["python", "-m", "router"]
      }

      template {
        destination     = "local/fleet.json"
        left_delimiter  = "<<<"
        right_delimiter = ">>>"

        data = <<FLEET_JSON
{
  "autoscaler": {
    "cooldown_down": "5m",
    "cooldown_up": "30s",
    "count": 2,
    "drain": "2m",
    "interval": "10s",
    "window": "60s"
  },
  "check": {
    "interval": "2s"
  },
  "datadog": {
    "env": "production",
    "site": "datadoghq.com"
  },
  "fleet": {
    "consul": "http://127.0.0.1:8500",
    "datacenters": [
      "dc1"
    ],
    "max_kill_timeout": "10m",
    "name": "warmfleet",
    "nomad": "http://127.0.0.1:4646"
  },
  "model": [
    {
      "args": [
        "--gpu-memory-utilization",
        "0.90"
      ],
      "capacity": {
        "concurrency": 32,
        "requests_per_min": 120
      },
      "cold_start": "10m",
      "context": 8192,
      "cpu": 8000,
      "engine": "vllm",
      "gpu": {
        "count": 1,
        "device": "nvidia/gpu",
        "memory": "20 GiB"
      },
      "image": "vllm/vllm-openai:v0.30.0",
      "kill_timeout": "2m",
      "memory": "32GiB",
      "name": "small-model",
      "node_pool": "gpu",
      "policy": [
        {
          "kind": "forecast"
        },
        {
          "kind": "target",
          "signal": "concurrency",
          "target": 0.7
        }
      ],
      "replicas": {
        "max": 8,
        "min": 2
      },
      "slo": {
        "first_token_timeout": "20s",
        "idle_timeout": "15s",
        "ttft": "1s"
      },
      "volume": "models",
      "weights": "small-model"
    },
    {
      "args": [
        "--gpu-memory-utilization",
        "0.92"
      ],
      "capacity": {
        "concurrency": 16,
        "requests_per_min": 60
      },
      "cold_start": "15m",
      "context": 32768,
      "cpu": 16000,
      "engine": "vllm",
      "gpu": {
        "count": 4,
        "device": "nvidia/gpu",
        "memory": "75 GiB"
      },
      "image": "vllm/vllm-openai:v0.30.0",
      "kill_timeout": "5m",
      "memory": "192GiB",
      "name": "large-model",
      "node_pool": "gpu",
      "policy": [
        {
          "kind": "forecast"
        },
        {
          "kind": "target",
          "signal": "concurrency",
          "target": 0.7
        }
      ],
      "replicas": {
        "max": 4,
        "min": 1
      },
      "shm": "16GiB",
      "slo": {
        "first_token_timeout": "30s",
        "idle_timeout": "20s",
        "ttft": "2s"
      },
      "volume": "models",
      "weights": "large-model"
    }
  ],
  "redis": {
    "cpu": 500,
    "image": "valkey/valkey:8.1.4",
    "memory": "512MiB",
    "volume": "warmfleet-redis"
  },
  "route": [
    {
      "chain": [
        "large-model",
        "small-model"
      ],
      "name": "chat",
      "selector": 0
    },
    {
      "chain": [
        "small-model",
        "large-model"
      ],
      "name": "fast",
      "selector": 1
    }
  ],
  "router": {
    "allow_open": true,
    "count": 2,
    "cpu": 1000,
    "memory": "512MiB",
    "port": 8000
  },
  "runtime": {
    "driver": "docker",
    "image": "warmfleet/warmfleet:0.1.0",
    "python": "python"
  }
}
FLEET_JSON
      }

      env {
        WARMFLEET_SPEC   = "${NOMAD_TASK_DIR}/fleet.json"
        WARMFLEET_HOST   = "${NOMAD_IP_http}"
        WARMFLEET_PORT   = "${NOMAD_PORT_http}"
        WARMFLEET_PUBLIC = "8000"
        PYTHONUNBUFFERED = "1"
        DD_AGENT_HOST    = "${attr.unique.network.ip-address}"
        DD_SERVICE       = "warmfleet-router"
        DD_ENV           = "production"
        DD_VERSION       = "0.1.0"

        # Requests are traced by the relay itself, one in so many. Of the libraries only the API's own pages are left to ddtrace. Where a page
        # stands in our source helps nobody who runs it, and costs a thread.
        DD_CODE_ORIGIN_FOR_SPANS_ENABLED     = "false"
        DD_PATCH_MODULES                     = "aiohttp:false,asyncio:false,consul:false,redis:false"
        DD_TRACE_SAMPLING_RULES              = jsonencode([{ resource = "GET /health", sample_rate = 0 }, { resource = "GET /metrics", sample_rate = 0 }, { sample_rate = 0.01 }])
        DD_REMOTE_CONFIGURATION_ENABLED      = "false"
        DD_INSTRUMENTATION_TELEMETRY_ENABLED = "false"
      }

      # Its rights in Consul are those of the role for this task (CONSUL_HTTP_TOKEN).
      consul {}

      # Keys of providers and the admin's, from the Nomad variable of this job. What is not there yet is not set, and what needs it is left out.
      template {
        destination = "secrets/keys.env"
        env         = true
        change_mode = "noop"

        data = <<KEYS
{{ if nomadVarExists "nomad/jobs/warmfleet-router" }}{{ with nomadVar "nomad/jobs/warmfleet-router" }}
{{ with (index . "WARMFLEET_ADMIN_KEY").Value }}WARMFLEET_ADMIN_KEY={{ . | toJSON }}{{ end }}
{{ end }}{{ end }}
KEYS
      }

      # Keys of providers that are added while routers run: written anew whenever the variable changes, and read then.
      template {
        destination = "secrets/provider_keys"
        change_mode = "noop"

        data = <<KEYS
{{ if nomadVarExists "nomad/jobs/warmfleet-router" }}{{ with nomadVar "nomad/jobs/warmfleet-router" }}{{ range .Tuples }}
{{ if .K | regexMatch "_API_KEY$" }}{{ .K }}={{ .V | toJSON }}{{ end }}
{{ end }}{{ end }}{{ end }}
KEYS
      }

      kill_signal  = "SIGTERM"
      kill_timeout = "65s"

      resources {
        cpu    = 1000
        memory = 512
      }
    }
  }
}
