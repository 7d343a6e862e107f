"""How fast calls may be made: limits, budgets, leases and permits, and what answers show."""
