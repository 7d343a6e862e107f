"""How fast calls may be made: rate limits, budgets, concurrency, what answers show, failover."""
