"""Replicas as this router knows them, and the choice among them: breaker, slow start, affinity, least of two."""
