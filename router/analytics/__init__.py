"""What requests used, failed and cost, by hour: kept in SQLite or PostgreSQL, so that it survives a restart, and shown to whoever asks.

    Answered ─► Kept (sums of this process, not yet written) ─► Database (sums of all routers) ─► GET /routing/analytics

Law: no request waits for a database, and none is lost by one that is away: its sums wait here, bounded, and are added later.
"""
