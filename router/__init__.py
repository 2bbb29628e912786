"""The data plane: resolves sessions to warm replicas and relays their requests."""
