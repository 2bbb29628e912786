"""Delivery: jobs from the fleet description into Nomad, warm before they get traffic, and back again."""
