"""The router beside its peers: CPU per request and per stream, memory per stream, and a soak."""
