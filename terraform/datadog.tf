# Datadog: what is in datadog/*.json, which `warmfleet boards` makes from the description of the fleet. Edit neither here nor in Datadog's
# pages: the next apply takes it back.

locals {
  datadog   = "${path.module}/datadog"
  slo       = jsondecode(file("${local.datadog}/slo.json"))
  log_lines = jsondecode(file("${local.datadog}/log_metric.json")).data

  monitors = {
    for name in fileset(local.datadog, "monitors/*.json") :
    trimsuffix(basename(name), ".json") => jsondecode(file("${local.datadog}/${name}")) if var.datadog
  }

  distributions = {
    for name, tags in jsondecode(file("${local.datadog}/distributions.json")) : name => tags if var.datadog && var.percentiles
  }

  notify = length(var.notify) == 0 ? "" : "\n\n${join(" ", var.notify)}"
}

resource "datadog_dashboard_json" "fleet" {
  count = var.datadog ? 1 : 0

  dashboard = file("${local.datadog}/dashboard.json")
}

resource "datadog_monitor" "fleet" {
  for_each = local.monitors

  name     = each.value.name
  type     = each.value.type
  query    = each.value.query
  message  = "${each.value.message}${local.notify}"
  tags     = each.value.tags
  priority = each.value.priority

  on_missing_data     = each.value.options.on_missing_data
  require_full_window = each.value.options.require_full_window
  new_group_delay     = each.value.options.new_group_delay
  include_tags        = each.value.options.include_tags
  notify_audit        = each.value.options.notify_audit

  monitor_thresholds {
    critical = each.value.options.thresholds.critical
    warning  = try(each.value.options.thresholds.warning, null)
  }
}

resource "datadog_service_level_objective" "answers" {
  count = var.datadog ? 1 : 0

  name        = local.slo.name
  description = local.slo.description
  type        = local.slo.type
  tags        = local.slo.tags

  query {
    numerator   = local.slo.query.numerator
    denominator = local.slo.query.denominator
  }

  dynamic "thresholds" {
    for_each = local.slo.thresholds

    content {
      timeframe = thresholds.value.timeframe
      target    = thresholds.value.target
      warning   = thresholds.value.warning
    }
  }
}

# The log volume, counted before any of it is thrown away or kept.
resource "datadog_logs_metric" "lines" {
  count = var.datadog ? 1 : 0

  name = local.log_lines.id

  compute {
    aggregation_type = local.log_lines.attributes.compute.aggregation_type
  }

  filter {
    query = local.log_lines.attributes.filter.query
  }

  dynamic "group_by" {
    for_each = local.log_lines.attributes.group_by

    content {
      path     = group_by.value.path
      tag_name = group_by.value.tag_name
    }
  }
}

# Percentiles are computed by Datadog, where it is told to. It takes that for metrics only that it has seen.
resource "datadog_metric_tag_configuration" "distribution" {
  for_each = local.distributions

  metric_name         = each.key
  metric_type         = "distribution"
  tags                = each.value
  include_percentiles = true
}
