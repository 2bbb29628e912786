"""Amounts that many processes share, kept in Redis and lent to each in slices, so that no request waits for a round trip."""
