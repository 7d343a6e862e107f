"""The rows of budgets and permits: the rules of `domain.limits`, applied under a lock."""
