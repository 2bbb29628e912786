"""The choice between models for one request: values in, an order and its reasons out. Router and library use the same functions.

    text ─► classify ─► filter (bounds) ─► rank (a strategy) ─► boost (who is good at it goes first) ─► fallback (the rest of the order)

Pure: no I/O, no clock, no randomness. What is live (load, latency, success) comes in as facts of a candidate.
"""
