"""How fast calls may be made: limits, budgets, leases and permits, what answers show, failover."""
