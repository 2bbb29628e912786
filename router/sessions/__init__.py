"""Sessions: their ids, the bounded table that holds the recent ones, and their copy in Redis."""
