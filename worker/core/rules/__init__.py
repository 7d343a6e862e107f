"""What the core decides, without a database: limits and budgets, contact and quiet hours, reissues, look-ups."""
