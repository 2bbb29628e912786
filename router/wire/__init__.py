"""Bytes, both ways: HTTP heads and bodies, event streams and their dialects, and the connections to replicas. Knows nothing of routing."""
