# Exactly the versions whose arguments tests/terraform/schemas/ holds: raise both together.
terraform {
  required_version = ">= 1.11" # write-only arguments, so that no secret is in the state

  required_providers {
    nomad = {
      source  = "hashicorp/nomad"
      version = "2.6.1"
    }

    consul = {
      source  = "hashicorp/consul"
      version = "2.22.1"
    }

    datadog = {
      source  = "DataDog/datadog"
      version = "4.25.0"
    }
  }
}

# Whoever applies says who they are in the environment: NOMAD_TOKEN, CONSUL_HTTP_TOKEN, DD_API_KEY, DD_APP_KEY. Not here, not in variables.

provider "nomad" {
  address = var.nomad_address
  region  = var.region
}

provider "consul" {
  address = split("://", var.consul_address)[1]
  scheme  = split("://", var.consul_address)[0]
}

provider "datadog" {
  api_url  = "https://api.${var.datadog_site}/"
  validate = var.datadog # without it nobody is asked for keys
}
