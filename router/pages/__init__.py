"""Every endpoint that is not relayed, as FastAPI serves it, and its OpenAPI document."""
