"""Keeps the data plane in step with what is outside: Consul, the published description, engines' queues, providers."""
