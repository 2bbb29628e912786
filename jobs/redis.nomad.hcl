# Made by `warmfleet render` from the fleet description and templates/redis.nomad.hcl.j2.
# Edit those, not this file; then run `make render`.

job "warmfleet-redis" {
  region      = "global"
  namespace   = "default"
  datacenters = ["dc1"]

  meta = {
    "warmfleet.fleet"  = "warmfleet"
    "warmfleet.source" = "949f3b5bd6f4"
  }

  group "main" {
    count          = 1
    shutdown_delay = "2s"

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
      port "redis" {}

    }

    service {
      name     = "warmfleet-redis"
      provider = "consul"
      port     = "redis"

      check {
        type     = "tcp"
        interval = "2s"
        timeout  = "5s"
      }
    }

    volume "data" {
      type   = "host"
      source = "warmfleet-redis"
    }

    task "redis" {
      driver = "docker"

      config {
        image        = "valkey/valkey:8.1.4"
        network_mode = "host"

        labels = [{
          "com.datadoghq.tags.service" = "warmfleet-redis"
          "com.datadoghq.tags.env"     = "production"

          "com.datadoghq.ad.checks" = jsonencode({
            redisdb = {
              init_config = {}
              instances   = [{ host = "$${NOMAD_IP_redis}", port = "$${NOMAD_PORT_redis}" }]
            }
          })
        }]

        # Reachable by whoever reaches the allocation's address: a private network in production, loopback on one machine.
        args = [
          "--bind", "${NOMAD_IP_redis}",
          "--port", "${NOMAD_PORT_redis}",
          "--protected-mode", "no",
          "--maxmemory", "402653184",
          "--maxmemory-policy", "volatile-lru",
          "--save", "",
          "--appendonly", "yes",
          "--dir", "/data",
        ]
      }

      volume_mount {
        volume      = "data"
        destination = "/data"
      }

      kill_signal  = "SIGTERM"
      kill_timeout = "15s"

      resources {
        cpu    = 500
        memory = 512
      }
    }
  }
}
