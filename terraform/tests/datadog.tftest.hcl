# What Terraform prepares in Datadog. The providers are mocked: nothing is reached, nothing is changed.

mock_provider "nomad" {}
mock_provider "consul" {}
mock_provider "datadog" {}

run "everything_that_is_described_is_made" {
  command = plan

  assert {
    condition     = jsondecode(datadog_dashboard_json.fleet[0].dashboard).layout_type == "ordered"
    error_message = "The dashboard must be the one in datadog/."
  }

  assert {
    condition     = length(datadog_monitor.fleet) == length(fileset(path.module, "datadog/monitors/*.json")) && length(datadog_monitor.fleet) > 0
    error_message = "Each file in datadog/monitors must be a monitor."
  }

  assert {
    condition     = alltrue([for monitor in datadog_monitor.fleet : length(monitor.query) > 0 && length(monitor.message) > 0 && monitor.monitor_thresholds[0].critical != null])
    error_message = "Each monitor needs a query, a message that says what to do, and a threshold."
  }

  assert {
    condition     = length(datadog_service_level_objective.answers[0].thresholds) > 0
    error_message = "The objective needs a target."
  }

  assert {
    condition     = datadog_logs_metric.lines[0].compute[0].aggregation_type == "count"
    error_message = "The log volume is a count of lines."
  }
}

run "monitors_tell_whom_they_are_told_to" {
  command = plan

  variables {
    notify = ["@slack-oncall", "@pagerduty"]
  }

  assert {
    condition     = alltrue([for monitor in datadog_monitor.fleet : endswith(monitor.message, "\n\n@slack-oncall @pagerduty")])
    error_message = "Every monitor must end with the handles."
  }
}

run "without_a_handle_nothing_is_added" {
  command = plan

  assert {
    condition     = alltrue([for name, monitor in datadog_monitor.fleet : monitor.message == jsondecode(file("${path.module}/datadog/monitors/${name}.json")).message])
    error_message = "The message must be the one in the file."
  }
}

run "percentiles_wait_for_the_first_metrics" {
  command = plan

  assert {
    condition     = length(datadog_metric_tag_configuration.distribution) == 0
    error_message = "Datadog refuses the setting for a metric that it has not seen."
  }
}

run "percentiles_are_asked_for_on_demand" {
  command = plan

  variables {
    percentiles = true
  }

  assert {
    condition     = datadog_metric_tag_configuration.distribution["warmfleet.router.ttft"].include_percentiles && contains(datadog_metric_tag_configuration.distribution["warmfleet.router.ttft"].tags, "model")
    error_message = "Percentiles of the time to first token, by model."
  }
}

run "without_datadog_nothing_is_made" {
  command = plan

  variables {
    datadog     = false
    percentiles = true
  }

  assert {
    condition     = length(datadog_monitor.fleet) + length(datadog_dashboard_json.fleet) + length(datadog_logs_metric.lines) + length(datadog_metric_tag_configuration.distribution) == 0
    error_message = "A fleet without Datadog needs no keys for it."
  }
}
