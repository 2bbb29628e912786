"""What Datadog shows and watches, as data: one dashboard, monitors with runbooks, one SLO and a log-based metric.

    metrics (fleet/metrics.py, integrations.py) -> query.py -> widgets.py -> health, warmth, outlook, cost, trouble -> dashboard.py
                                                          -> watch.py -> callers, ground -> monitors.py; slo.py     -> files.py

Law: a query is made from a declared metric and takes only tags that the metric carries, so a board cannot show what nobody sends.
Pure: a fleet's description in, JSON documents out. They stand in terraform/datadog/, where Terraform and people take them from.
"""
